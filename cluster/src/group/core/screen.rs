//! Which messages of other replicas are let in. raft-rs panics at some that no correct peer sends, so they are dropped
//! here: a peer may be misled, of another time, or broken.

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, Entry, EntryType, Message, MessageType};

use super::proof;
use crate::group::entry::CommittedEntry;
use crate::group::ids::{LogIndex, ReplicaId};

/// Proposals are never forwarded, and snapshots come with their data, another way.
const KINDS: [MessageType; 11] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
];

pub(super) fn is_welcome(message: &Message, me: ReplicaId, last_index: u64) -> bool {
    let kind = message.get_msg_type();
    let is_for_me = message.to == me.0 && message.from != me.0 && message.from != 0;
    // A leader never tells more than it knows the other to have.
    let is_beyond = kind == MessageType::MsgHeartbeat && message.commit > last_index;
    // Term zero is raft-rs's word for a message from itself, and for a question, which any leader may answer.
    let has_term = (message.term != 0) != (kind == MessageType::MsgReadIndex);
    is_for_me && has_term && KINDS.contains(&kind) && !is_beyond && content_is_sound(message, me)
}

fn content_is_sound(message: &Message, me: ReplicaId) -> bool {
    match message.get_msg_type() {
        MessageType::MsgReadIndex => proof::is_sound(message, message.from),
        MessageType::MsgReadIndexResp => proof::is_sound(message, me.0),
        _ => entries_are_sound(message),
    }
}

fn entries_are_sound(message: &Message) -> bool {
    let expected = message.index.saturating_add(1)..;
    message.entries.iter().zip(expected).all(|(entry, index)| entry.index == index && is_sound(entry))
}

fn is_sound(entry: &Entry) -> bool {
    let reads = match entry.entry_type {
        EntryType::EntryNormal => CommittedEntry::new(LogIndex(entry.index), entry.data.clone()).is_ok(),
        EntryType::EntryConfChange => ConfChange::parse_from_bytes(&entry.data).is_ok(),
        EntryType::EntryConfChangeV2 => ConfChangeV2::parse_from_bytes(&entry.data).is_ok(),
    };
    reads && entry.context.is_empty()
}
