//! What this node counts about slots that come and go, for metrics.

use basalt_cluster::group::figures::Latency;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub struct Figures {
    /// Migrations from groups that this node led at their commit.
    pub departed: AtomicU64,
    /// Attempts that came to nothing: taken back, or to be made again.
    pub hitches: AtomicU64,
    /// Bytes of batches of migrating slots, to other groups and from other groups.
    pub sent_bytes: AtomicU64,
    pub received_bytes: AtomicU64,
    /// For how long slots were sealed: requests for them waited.
    pub sealed: Latency,
}

pub(super) fn count(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Relaxed);
}
