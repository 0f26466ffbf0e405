//! Jobs in the order in which they came, and the threads that wait for them.
//!
//! Bound: every connection has at most one job, so a queue is bounded by `maxclients`.

use crate::server::Server;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// The queue in front of some threads.
pub struct Jobs<J> {
    queue: Arc<Queue<J>>,
}

struct Queue<J> {
    jobs: Mutex<VecDeque<J>>,
    more: Condvar,
}

impl<J: Send + 'static> Jobs<J> {
    /// Starts threads that run what is submitted; they end with the process.
    pub fn start(server: &Arc<Server>, name: &str, threads: usize, run: fn(&Server, J)) -> std::io::Result<Jobs<J>> {
        let queue = Arc::new(Queue { jobs: Mutex::default(), more: Condvar::new() });
        for number in 0..threads {
            let (queue, server) = (queue.clone(), Arc::downgrade(server));
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            thread.spawn(move || serve(&queue, &server, run))?;
        }
        Ok(Jobs { queue })
    }

    pub fn submit(&self, job: J) {
        self.queue.jobs.lock().push_back(job);
        self.queue.more.notify_one();
    }
}

fn serve<J>(queue: &Queue<J>, server: &Weak<Server>, run: fn(&Server, J)) {
    loop {
        let job = queue.next();
        let Some(server) = server.upgrade() else { return };
        run(&server, job);
    }
}

impl<J> Queue<J> {
    fn next(&self) -> J {
        let mut jobs = self.jobs.lock();
        loop {
            match jobs.pop_front() {
                Some(job) => return job,
                None => self.more.wait(&mut jobs),
            }
        }
    }
}
