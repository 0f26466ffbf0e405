//! Commands that look at so many cold keys that they run on a thread of their own, while their clients wait.
//!
//! SCAN, KEYS and RANDOMKEY read pages of keys from disk, without a lock, and then look at each page under the lock of
//! its stripe. The reply leaves like that to a client that has waited: when what it depends on is committed.

use super::release::{Delivery, Release};
use crate::client::Client;
use crate::commands::ctx::Outcome;
use crate::commands::scan::Walk;
use crate::error::CommandResult;
use crate::jobs::Jobs;
use crate::resp::{Args, OwnedArgs, ReplyBuf};
use crate::server::Server;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::high_water;
use std::sync::Arc;

/// Threads that run errands. They are apart from those that load keys, which are not to wait behind a long walk.
const THREADS: usize = 2;

/// What is run: it answers into the buffer of the walk.
pub type Errand = for<'a, 'c, 'k> fn(&mut Walk<'c, 'k>, Args<'a>) -> CommandResult;

/// A command whose client waits.
pub struct Job {
    pub client: Arc<Client>,
    pub errand: Errand,
    pub args: Arc<OwnedArgs>,
    pub db: DbIndex,
}

/// The queue in front of the threads.
pub type Errands = Jobs<Job>;

/// Starts the threads.
pub fn start(server: &Arc<Server>) -> std::io::Result<Errands> {
    let errands = Jobs::default();
    errands.serve(server, "errands", THREADS, run)?;
    Ok(errands)
}

fn run(server: &Server, job: Job) {
    let Job { client, errand, args, db } = job;
    let mut out = ReplyBuf::new(client.protocol());
    out.limit(server.client_limits.output_max(client.kind()));
    let mut outcome = Outcome::default();
    let mut walk = Walk::new(server, db, server.now(), &mut out, None, &mut outcome);
    let result = errand(&mut walk, args.as_args());
    if let Err(error) = &result {
        out.clear();
        out.error(error);
    }
    outcome.release(server);
    let depends_on = high_water::take();
    if out.is_excessive() {
        return client.close("its output is beyond client-output-buffer-limit");
    }
    let release = Release { deliveries: vec![Delivery { client, reply: out, result }], announcements: Vec::new() };
    server.gate.release(server, depends_on, release);
}
