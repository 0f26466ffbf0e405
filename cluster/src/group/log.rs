//! What a group needs of the place where its log is kept: the seam between consensus and disks.
//!
//! A [`LogStore`] holds, for one group, entries of contiguous indexes and one [`LogState`]. It must keep three
//! promises: a write is whole or not at all after a crash; writes survive in the order in which they were made (what
//! a crash leaves is a prefix of them, and all that was synced belongs to it); and a damaged entry is an error, never
//! a gap that looks like an end.
//!
//! Implementations: [`super::rocks_log::RocksLog`], [`super::memory_log::MemoryLog`], and the simulator's disk.

use std::ops::{Range, RangeInclusive};

pub use basalt_storage::engine::Durability;
use thiserror::Error;

use super::ids::LogIndex;
use super::state::LogState;

pub trait LogStore: Send + Sync {
    /// The state that the last write left, or `None` for a group that has never been here.
    fn state(&self) -> Result<Option<LogState>, LogError>;

    /// The indexes of the first and the last entry. May start before what [`LogState::truncated`] says, when a crash
    /// came between the two steps of a compaction.
    fn bounds(&self) -> Result<Option<RangeInclusive<u64>>, LogError>;

    /// Whole entries from the start of the range, as many as fit into `bytes_max` but at least one.
    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<LogRecord>, LogError>;

    /// All or nothing; with [`Durability::Synced`] this and all earlier writes are on the disk when it returns.
    fn write(&self, write: &LogWrite, durability: Durability) -> Result<(), LogError>;

    /// Puts all earlier writes on the disk.
    fn sync(&self) -> Result<(), LogError>;

    /// Forgets the entries before this one. Only called when a synced state says that they are truncated.
    fn compact(&self, before: LogIndex) -> Result<(), LogError>;
}

/// One change of the log, made whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogWrite {
    /// New entries, without a gap between them, in place of any that are there.
    pub entries: Vec<LogRecord>,
    /// Entries of an overruled leader behind the new ones; they would reappear after a restart.
    pub delete_tail: Option<Range<u64>>,
    pub state: Option<LogState>,
}

/// An entry as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    pub index: LogIndex,
    pub bytes: Vec<u8>,
}

/// Whatever goes wrong with the log ends the process: a failed sync must not be tried again, because the kernel may
/// have dropped what it could not write and would say that all is well.
#[derive(Debug, Error)]
pub enum LogError {
    #[error("log entry {index} is damaged: {what}")]
    Corrupt { index: LogIndex, what: String },
    #[error("the state record of the log is damaged: {what}")]
    CorruptState { what: String },
    #[error("log entry {index} is missing")]
    Missing { index: LogIndex },
    #[error("the log could not be {action}: {source}")]
    Io {
        action: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl LogWrite {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.delete_tail.is_none() && self.state.is_none()
    }

    /// The payload bytes, for the accounts.
    pub fn entry_bytes(&self) -> usize {
        self.entries.iter().map(|record| record.bytes.len()).sum()
    }
}
