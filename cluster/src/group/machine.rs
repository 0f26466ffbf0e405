//! The seams between a group and what it serves: the data below it, and those who wait above it.

use std::ops::RangeInclusive;

use thiserror::Error;

use super::entry::CommittedEntry;
use super::ids::{LogIndex, Seq};

/// Data that changes by applying committed entries, and by nothing else.
pub trait StateMachine: Send + Sync {
    /// The last entry that is applied. Zero for one that has never seen any.
    fn applied(&self) -> LogIndex;

    /// Applies all batches of these entries in order, and the last entry's index, in one write that a crash leaves
    /// whole or not at all. Each call goes on where the one before ended. An error ends the process.
    ///
    /// Not synced: the log is, and the write must lie behind those of the log in the same order of writes.
    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), ApplyError>;
}

/// Why entries could not be applied. There is no going on from here.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ApplyError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Told, by threads of the group and in order, what became of batches. Must return soon and never wait for the group.
pub trait Observer: Send + Sync {
    /// All batches up to this one are committed, but for those that were said to be unknown.
    fn committed(&self, up_to: Seq);

    /// All batches up to this one are in the state machine.
    fn applied(&self, up_to: Seq);

    /// This replica stopped leading before these were committed. They may be or may not be, and nobody who waits for
    /// them must be told either. Said before any later batch is committed.
    fn unknown(&self, batches: RangeInclusive<Seq>);

    /// All batches up to this one are on the disk and survive the loss of power.
    fn synced(&self, _up_to: Seq) {}
}
