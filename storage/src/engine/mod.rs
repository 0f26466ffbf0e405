//! What a node keeps on disk: the log of each group, and the state that applying it has built.
//!
//! [`rocks::Rocks`] is the node's one database; [`Engine`] is the state of one group in it. Batches of effects go in
//! through [`Engine::apply`], in the order of the log, each entry once; everything else reads. Cold keys are read by
//! whoever needs them, from any thread.
//!
//! Invariants: data, counts, index of expiries, garbage and the applied index get to the disk together, so that a
//! restart finds a state that is the log up to some entry, never half of one. [`Engine::saved`] says which entry that
//! would be. A collection on disk is never empty. Only [`rocks`] knows the database underneath.

pub mod rocks;
#[cfg(test)]
mod tests;

pub use rocks::{
    Backlog, Cleaning, Commitments, DueKey, Durability, Engine, EngineSnapshot, HOME_STORE, LogWrite, OpenError, Part,
    PartName, PartRead, ReplicaRecord, Rocks, RocksOptions, Sample, StateImport, Statistics, split_collections_above,
};

pub(crate) use rocks::key_hash;

use crate::clock::UnixMs;
use crate::slot::Slot;
use crate::value::{Type, Value};
use std::fmt;

/// A Raft group on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// The number behind a database on disk: SWAPDB exchanges two of them, a flush takes a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysicalDb(pub u32);

/// A position in the log of a group; the first entry has 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct LogIndex(pub u64);

impl LogIndex {
    pub fn next(self) -> LogIndex {
        LogIndex(self.0 + 1)
    }
}

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a read may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Only to what is in memory: the caller must not wait for a disk.
    Memory,
    Disk,
}

/// What a read found.
#[derive(Clone, Debug)]
pub enum Found<T> {
    Found(T),
    Absent,
    /// Only for [`Tier::Memory`].
    NeedsDisk,
}

/// How much of an entry a read is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// Of a value in more parts than this, only its outline.
    Outline {
        above: u64,
    },
}

/// What [`Engine::load`] found.
pub type Lookup = Found<Loaded>;

/// An entry as it is on disk, whether it is due or not.
#[derive(Clone)]
pub struct Loaded {
    pub value: Value,
    pub expiry: Option<UnixMs>,
}

/// What is known of an entry without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub value_type: Type,
    /// Bytes of a string, elements of a collection.
    pub len: u64,
    pub expiry: Option<UnixMs>,
}

/// How many entries a slot of a database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SlotCounts {
    pub entries: u64,
    /// Those with an expiry, due or not.
    pub volatile: u64,
}

/// What a replica has in some slots at one log entry, in short: see [`EngineSnapshot::digest`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StateDigest {
    /// Of each slot that has entries, in their order.
    pub slots: Vec<(Slot, u64)>,
    /// What the group remembers of slots on their way.
    pub marks: u64,
    /// That were read for it.
    pub bytes: u64,
}

/// Why the engine could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// What is on disk is not what was written. Going on would spread the damage.
    #[error("{what} on disk is damaged: {detail}")]
    Corrupt { what: String, detail: String },
    /// The volume has no room left.
    #[error("no space left while {action}: {detail}")]
    NoSpace { action: &'static str, detail: String },
    /// The disk or the database refuses. After a failed write nobody knows what is on disk: the process must stop.
    #[error("{action} failed: {detail}")]
    Io { action: &'static str, detail: String },
    /// An effect does not fit the data that it meets: this replica has diverged from the leader.
    #[error("log entry {index:?} does not fit the data on disk: {detail}", index = .index.0)]
    Diverged { index: LogIndex, detail: String },
    /// The other node keeps its data in another way. Nothing of it was written here.
    #[error(
        "a copy of layout {found} was sent, and this version knows layout {known}: run the same version on both nodes"
    )]
    ForeignLayout { found: u32, known: u32 },
}
