//! What this node has forwarded, for INFO and the metrics. None of it counts as executed here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub struct Figures {
    /// Requests that were given to other nodes; a transaction is one.
    pub requests: AtomicU64,
    /// Groups of requests that have gone together.
    pub batches: AtomicU64,
    /// Requests that were tried again, at another node or later.
    pub retries: AtomicU64,
    /// Requests that were answered with an error, since no node has served them in time.
    pub unserved: AtomicU64,
    /// Connections of clients that were closed, since the fate of a request is unknown.
    pub unknown_fates: AtomicU64,
    /// Connections to other nodes that were opened.
    pub opened: AtomicU64,
    /// Attempts to do so that have failed.
    pub failed_openings: AtomicU64,
    /// Connections to other nodes that there are.
    pub open: AtomicU64,
    /// Those of them that carry something.
    pub in_use: AtomicU64,
}

/// One that is counted for as long as it lives.
#[derive(Debug)]
pub struct Counted(std::sync::Arc<Figures>, fn(&Figures) -> &AtomicU64);

impl Counted {
    pub fn new(figures: &std::sync::Arc<Figures>, gauge: fn(&Figures) -> &AtomicU64) -> Counted {
        gauge(figures).fetch_add(1, Relaxed);
        Counted(figures.clone(), gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1(&self.0).fetch_sub(1, Relaxed);
    }
}

pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
