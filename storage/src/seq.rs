//! The order of batches: which one a reply, a slot or a resident copy has to wait for.

use std::sync::atomic::{AtomicU64, Ordering};

/// Position of a batch in the order in which batches are proposed: from one, anew with each start of the process. Zero
/// stands before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Before every batch: whoever waits for it waits for nothing.
    pub const NONE: Seq = Seq(0);
    /// Behind every batch: that of an evaluation that has not been proposed yet.
    pub const UNPROPOSED: Seq = Seq(u64::MAX);
}

/// A [`Seq`] that only grows, written by one side and read by many.
#[derive(Debug, Default)]
pub struct SeqMark(AtomicU64);

impl SeqMark {
    #[inline]
    pub fn load(&self) -> Seq {
        Seq(self.0.load(Ordering::Acquire))
    }

    /// Moves the mark forward; one that is further already stays.
    #[inline]
    pub fn advance(&self, seq: Seq) {
        self.0.fetch_max(seq.0, Ordering::AcqRel);
    }
}
