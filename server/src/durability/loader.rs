//! Reads cold keys from disk on threads of its own, so that no network thread waits for a disk.
//!
//! A connection whose request needs cold keys leaves them here and goes on with nothing; when they are resident it gets
//! mail and tries the request again. If a key was cooled or changed in the meantime, it asks again.

use crate::client::Client;
use crate::jobs::Jobs;
use crate::server::Server;
use basalt_storage::keyspace::{Loading, Unreadable};
use std::sync::Arc;

/// Threads that read. Reads wait for the disk, so there are more of them than cores.
const THREADS: usize = 8;

/// Keys that one client waits for.
struct Job {
    client: Arc<Client>,
    loadings: Vec<Loading>,
}

/// The queue in front of the reading threads.
pub struct Loader {
    jobs: Jobs<Job>,
}

impl Loader {
    /// Starts the threads.
    pub fn start(server: &Arc<Server>) -> std::io::Result<Loader> {
        let jobs = Jobs::default();
        jobs.serve(server, "loader", THREADS, run)?;
        Ok(Loader { jobs })
    }

    /// Has keys loaded; the client gets mail when that is done.
    pub fn submit(&self, client: Arc<Client>, loadings: Vec<Loading>) {
        self.jobs.submit(Job { client, loadings });
    }
}

fn run(server: &Server, job: Job) {
    let loaded: Result<(), Unreadable> = job.loadings.iter().try_for_each(|loading| load(server, loading));
    job.client.post(|inbox| inbox.loaded = Some(loaded));
}

/// Blocks until what is asked for was read.
pub(crate) fn load(server: &Server, loading: &Loading) -> Result<(), Unreadable> {
    let durability = server.durability().expect("only durable mode loads");
    if let Some(as_of) = loading.awaited(&server.keyspace)
        && durability.wait_applied(as_of).is_err()
    {
        // The node stops: nobody will be answered any more.
        return Ok(());
    }
    server.keyspace.load(loading, server.now())
}
