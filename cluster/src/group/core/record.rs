//! Translation between what raft-rs works with and what lies on the disk.

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState};

use crate::group::ids::{LogIndex, ReplicaId, Term};
use crate::group::log::{LogError, LogRecord};
use crate::group::state::{LogState, Members};

const NORMAL: u8 = 0;
const CONF_CHANGE: u8 = 1;
const CONF_CHANGE_V2: u8 = 2;

/// Kind and term stand before the data.
const HEADER_BYTES: usize = 1 + 8;

pub(super) fn record_of(entry: &Entry) -> LogRecord {
    assert!(entry.context.is_empty(), "nobody here gives an entry a context");
    let kind = match entry.entry_type {
        EntryType::EntryNormal => NORMAL,
        EntryType::EntryConfChange => CONF_CHANGE,
        EntryType::EntryConfChangeV2 => CONF_CHANGE_V2,
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + entry.data.len());
    bytes.push(kind);
    bytes.extend_from_slice(&entry.term.to_be_bytes());
    bytes.extend_from_slice(&entry.data);
    LogRecord { index: LogIndex(entry.index), bytes }
}

pub(super) fn entry_of(record: LogRecord) -> Result<Entry, LogError> {
    let index = record.index;
    let corrupt = |what: &str| LogError::Corrupt { index, what: what.to_owned() };
    let bytes = Bytes::from(record.bytes);
    let (&kind, rest) = bytes.split_first().ok_or_else(|| corrupt("it is empty"))?;
    let term = rest.first_chunk().ok_or_else(|| corrupt("it is cut off"))?;
    let entry_type = match kind {
        NORMAL => EntryType::EntryNormal,
        CONF_CHANGE => EntryType::EntryConfChange,
        CONF_CHANGE_V2 => EntryType::EntryConfChangeV2,
        _ => return Err(corrupt("its kind is unknown")),
    };
    Ok(Entry {
        entry_type,
        term: u64::from_be_bytes(*term),
        index: index.0,
        data: bytes.slice(HEADER_BYTES..),
        ..Entry::default()
    })
}

pub(super) fn hard_state_of(state: &LogState) -> HardState {
    HardState {
        term: state.term.0,
        vote: state.vote.map_or(0, |replica| replica.0),
        commit: state.commit.0,
        ..HardState::default()
    }
}

pub(super) fn keep_hard_state(state: &mut LogState, hard: &HardState) {
    state.term = Term(hard.term);
    state.vote = Some(ReplicaId(hard.vote)).filter(|replica| replica.0 != 0);
    state.commit = LogIndex(hard.commit);
}

pub(super) fn conf_state_of(members: &Members) -> ConfState {
    let ids = |replicas: &[ReplicaId]| replicas.iter().map(|replica| replica.0).collect();
    ConfState {
        voters: ids(&members.voters),
        learners: ids(&members.learners),
        voters_outgoing: ids(&members.outgoing_voters),
        learners_next: ids(&members.next_learners),
        auto_leave: members.leaves_by_itself,
        ..ConfState::default()
    }
}

pub(super) fn members_of(conf: &ConfState) -> Members {
    // raft-rs keeps sets of them: sorted, so that equal members have equal bytes.
    let replicas = |ids: &[u64]| {
        let mut sorted: Vec<_> = ids.iter().copied().map(ReplicaId).collect();
        sorted.sort();
        sorted
    };
    Members {
        voters: replicas(&conf.voters),
        learners: replicas(&conf.learners),
        outgoing_voters: replicas(&conf.voters_outgoing),
        next_learners: replicas(&conf.learners_next),
        leaves_by_itself: conf.auto_leave,
    }
}
