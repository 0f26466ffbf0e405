//! Jobs in the order in which they came, and the threads that wait for them.
//!
//! Bound: a connection waits for at most one job, so a queue is bounded by `maxclients`.

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

impl<J> Default for Jobs<J> {
    fn default() -> Jobs<J> {
        Jobs { queue: Arc::new(Queue { jobs: Mutex::default(), more: Condvar::new() }) }
    }
}

impl<J: Send + 'static> Jobs<J> {
    /// Starts threads that run what is submitted, with what they need for it; they end with the process, or when there
    /// is a job and what they need is gone.
    pub fn serve<C: Send + Sync + 'static>(
        &self,
        context: &Arc<C>,
        name: &str,
        threads: usize,
        run: fn(&C, J),
    ) -> std::io::Result<()> {
        for number in 0..threads {
            let (queue, context) = (self.queue.clone(), Arc::downgrade(context));
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            thread.spawn(move || queue.serve(&context, run))?;
        }
        Ok(())
    }

    pub fn submit(&self, job: J) {
        self.queue.jobs.lock().push_back(job);
        self.queue.more.notify_one();
    }
}

impl<J> Queue<J> {
    fn serve<C>(&self, context: &Weak<C>, run: fn(&C, J)) {
        loop {
            let job = self.next();
            let Some(context) = context.upgrade() else { return };
            run(&context, job);
        }
    }

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
