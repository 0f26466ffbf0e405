//! Reads cold keys from disk on threads of its own, so that no network thread waits for a disk.
//!
//! A connection whose request needs cold keys leaves them here and goes on with nothing; when they are resident it gets
//! mail and tries the request again. If a key was cooled or changed in the meantime, it asks again.
//!
//! Bound: every connection has at most one job, so the queue is bounded by `maxclients`.

use crate::client::Client;
use crate::server::Server;
use basalt_storage::keyspace::{Loading, Unreadable};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// Threads that read. Reads wait for the disk, so there are more of them than cores.
const THREADS: usize = 8;

/// Keys that one client waits for.
struct Job {
    client: Arc<Client>,
    loadings: Vec<Loading>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    more: Condvar,
}

/// The queue in front of the reading threads.
#[derive(Default)]
pub struct Loader {
    queue: Arc<Queue>,
}

impl Loader {
    /// Starts the threads; they end with the process.
    pub fn start(&self, server: &Arc<Server>) -> std::io::Result<()> {
        for number in 0..THREADS {
            let (queue, server) = (self.queue.clone(), Arc::downgrade(server));
            let thread = std::thread::Builder::new().name(format!("loader-{number}"));
            thread.spawn(move || serve(&queue, &server))?;
        }
        Ok(())
    }

    /// Has keys loaded; the client gets mail when that is done.
    pub fn submit(&self, client: Arc<Client>, loadings: Vec<Loading>) {
        self.queue.jobs.lock().push_back(Job { client, loadings });
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
        let loaded: Result<(), Unreadable> = job.loadings.iter().try_for_each(|loading| load(&server, loading));
        job.client.post(|inbox| inbox.loaded = Some(loaded));
    }
}

fn load(server: &Server, loading: &Loading) -> Result<(), Unreadable> {
    let durability = server.durability().expect("only durable mode loads");
    if let Some(as_of) = loading.awaited(&server.keyspace)
        && durability.wait_applied(as_of).is_err()
    {
        // The node stops: nobody will be answered any more.
        return Ok(());
    }
    server.keyspace.load(loading, server.now())
}
