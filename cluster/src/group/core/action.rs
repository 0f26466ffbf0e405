//! What a core asks its surroundings to do. Everything is to be done in the order in which it is handed out.

use std::ops::RangeInclusive;

use raft::eraftpb::Message;

use crate::group::entry::CommittedEntry;
use crate::group::ids::{LogIndex, ReplicaId, Seq};
use crate::group::log::{Durability, LogWrite};

#[derive(Debug)]
pub enum Action {
    /// Send to another replica; it may be lost, but two to the same replica must not overtake each other.
    Send(PeerMessage),
    /// Write to the log, then say so with [`super::Core::on_written`]. Writes may be under way together, but end in
    /// order.
    Write { write: LogWrite, durability: Durability, number: WriteNumber },
    /// A majority holds these: batches up to `up_to` (if any are this process's own) are committed, and the entries go
    /// to the state machine, in order. [`super::Core::on_applied`] is to be called when they are applied.
    Commit { up_to: Option<Seq>, entries: Vec<CommittedEntry> },
    /// This replica stopped leading: these batches may be committed later, or never. Nobody must be told either.
    Unknown(RangeInclusive<Seq>),
    /// The entries before this one are of no use any more.
    Compact { before: LogIndex },
}

/// Names a write until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteNumber(pub(super) u64);

/// A message between replicas of one group, opaque to all but cores.
#[derive(Clone, Debug)]
pub struct PeerMessage(pub(super) Message);

impl PeerMessage {
    pub fn from(&self) -> ReplicaId {
        ReplicaId(self.0.from)
    }

    pub fn to(&self) -> ReplicaId {
        ReplicaId(self.0.to)
    }
}
