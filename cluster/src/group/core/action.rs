//! What a core asks its surroundings to do. Everything is to be done in the order in which it is handed out.

use std::ops::RangeInclusive;
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use crate::group::entry::CommittedEntry;
use crate::group::ids::{LogIndex, ReplicaId, Seq};
use crate::group::log::{Durability, LogWrite};
use crate::group::role::Role;
use crate::group::state::LogState;

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
    /// Who leads has changed. Said before anything that follows from it, and after batches of unknown fate.
    Role(Role),
    /// Until when nobody else can have become the leader, by the clock of [`super::Core::begin_lease_round`];
    /// [`Duration::MAX`] for a replica that decides alone. Has to take effect before the next action.
    Lease { until: Option<Duration> },
    /// All that had been committed anywhere at the moment `since`, by the clock of [`super::Core::begin_proof`], ends
    /// at this entry: whoever has applied it is not older than that.
    Proven { since: Duration, index: LogIndex },
    /// Make a copy of the data, complete this message by [`super::Core::describe_snapshot`], and send both. What became
    /// of it is to be told by [`super::Core::on_shipped`], always.
    Ship(PeerMessage),
    /// When all that was committed before is applied: make the data that was received the data of this replica, empty
    /// its log, and write this state: all in one synced write. Then say so with [`super::Core::on_written`], before
    /// any other input.
    Install { state: LogState, number: WriteNumber },
}

/// Which way a message goes. Those of one lane to one replica keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Heartbeats and votes: small, and nothing long may be in their way.
    Control,
    /// Log entries, and what is said about them.
    Append,
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

    pub fn lane(&self) -> Lane {
        match self.0.get_msg_type() {
            MessageType::MsgAppend | MessageType::MsgAppendResponse => Lane::Append,
            _ => Lane::Control,
        }
    }

    /// Asks for a vote: even a replica that takes itself for no member has to get it.
    pub fn asks_for_vote(&self) -> bool {
        matches!(self.0.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote)
    }

    /// The entry up to which a snapshot goes; none for other messages.
    pub fn snapshot_index(&self) -> Option<LogIndex> {
        let is_snapshot = self.0.get_msg_type() == MessageType::MsgSnapshot;
        is_snapshot.then(|| LogIndex(self.0.get_snapshot().get_metadata().index))
    }

    pub fn encode(&self) -> Vec<u8> {
        self.0.write_to_bytes().expect("all fields of a message are optional")
    }

    /// None for what is not a message. What it says is checked when a core gets it.
    pub fn decode(bytes: &[u8]) -> Option<PeerMessage> {
        Message::parse_from_bytes(bytes).ok().map(PeerMessage)
    }
}
