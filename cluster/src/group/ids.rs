//! The numbers by which a group tells replicas, entries and batches apart.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use basalt_storage::engine::{GroupId, LogIndex};

/// A group's copy on one node. Invariant: not zero, and never used again for another copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

/// A reign: at most one replica leads a group in a term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// The place of a batch in the order of proposals of a node, from one, anew with each start of the process. Zero is
/// "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// Numbers the batches of all groups of a node in one order, from one. Within a group they ascend.
#[derive(Clone, Debug, Default)]
pub struct SeqCounter {
    last: Arc<AtomicU64>,
}

impl SeqCounter {
    /// Only one thread at a time asks for a group.
    pub(super) fn next(&self) -> Seq {
        Seq(self.last.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The last number that was given to any batch.
    pub fn last(&self) -> Seq {
        Seq(self.last.load(Ordering::Acquire))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
