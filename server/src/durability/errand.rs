//! Commands that look at so many cold keys that they run on a thread of their own, while their clients wait.
//!
//! SCAN, KEYS and RANDOMKEY read pages of keys from disk, without a lock, and then look at each page under the lock of
//! its stripe. The reply leaves like that to a client that has waited: when what it depends on is committed.
//!
//! Bound: every connection has at most one errand, so the queue is bounded by `maxclients`.

use super::release::{Delivery, Release};
use crate::client::Client;
use crate::commands::ctx::Outcome;
use crate::commands::scan::Walk;
use crate::error::CommandResult;
use crate::resp::{Args, OwnedArgs, ReplyBuf};
use crate::server::Server;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::high_water;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

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

#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    more: Condvar,
}

/// The queue in front of the threads.
#[derive(Default)]
pub struct Errands {
    queue: Arc<Queue>,
}

impl Errands {
    /// Starts the threads; they end with the process.
    pub fn start(&self, server: &Arc<Server>) -> std::io::Result<()> {
        for number in 0..THREADS {
            let (queue, server) = (self.queue.clone(), Arc::downgrade(server));
            let thread = std::thread::Builder::new().name(format!("errands-{number}"));
            thread.spawn(move || serve(&queue, &server))?;
        }
        Ok(())
    }

    /// Has a command run; its client gets the reply as one that has waited.
    pub fn submit(&self, job: Job) {
        self.queue.jobs.lock().push_back(job);
        self.queue.more.notify_one();
    }
}

fn serve(queue: &Queue, server: &Weak<Server>) {
    loop {
        let job = {
            let mut jobs = queue.jobs.lock();
            loop {
                match jobs.pop_front() {
                    Some(job) => break job,
                    None => queue.more.wait(&mut jobs),
                }
            }
        };
        let Some(server) = server.upgrade() else { return };
        run(&server, job);
    }
}

fn run(server: &Server, job: Job) {
    let Job { client, errand, args, db } = job;
    let mut out = ReplyBuf::new(client.protocol());
    out.limit(server.client_limits.output_max(client.kind()));
    let mut outcome = Outcome::default();
    let mut walk = Walk { server, db, out: &mut out, now: server.now(), held: None, outcome: &mut outcome };
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
