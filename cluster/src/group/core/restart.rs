//! What a replica finds when it starts: either nothing at all, or a log that fits its state machine.
//!
//! Reads the log once from end to end (it is short, compaction sees to that), because damage must be found before
//! anything is served: a damaged entry in the middle is refused here, never taken for the end of the log.

use std::sync::Arc;

use basalt_storage::clock::UnixMs;
use raft::eraftpb::EntryType;
use thiserror::Error;

use super::record;
use super::view::LogView;
use crate::group::entry::{CommittedEntry, PayloadError};
use crate::group::ids::{LogIndex, ReplicaId, Term};
use crate::group::log::{LogError, LogRecord, LogStore};
use crate::group::options::Start;
use crate::group::state::{LogState, Members, Truncated};

/// Where a log begins. raft-rs wants a group's first members to be the work of an entry that all of them have.
pub const BOOTSTRAP: Truncated = Truncated { index: LogIndex(1), term: Term(1) };

/// As much of the log as is read at once.
const READ_BYTES_MAX: usize = 4 << 20;

/// Why a replica does not start. None of these goes away by trying again.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("data is applied up to log entry {applied}, but the log ends at {last}: a part of the log is lost")]
    StateAheadOfLog { applied: LogIndex, last: LogIndex },
    #[error(
        "data is applied up to log entry {applied}, but the log begins after {truncated}: a part of the data is lost"
    )]
    StateBehindLog { applied: LogIndex, truncated: LogIndex },
    #[error("log entry {index} cannot be read: {source}")]
    Payload { index: LogIndex, source: PayloadError },
    #[error("the terms of the log fall at entry {index}")]
    TermsFall { index: LogIndex },
    #[error("there is no log of this replica")]
    NothingThere,
    #[error("replica {replica:?} is not a member of the group")]
    NotAMember { replica: ReplicaId },
    #[error("the consensus library refuses to start: {0}")]
    Refused(String),
    #[error("a thread could not be started: {0}")]
    Thread(#[source] std::io::Error),
    #[error("the group stopped before it was ready: {0}")]
    Stopped(String),
}

/// What was found.
pub(super) struct Found {
    pub view: LogView,
    pub applied: LogIndex,
    /// The clock in the last entry that has one.
    pub time: Option<UnixMs>,
    /// How large the entries are, in order.
    pub sizes: Vec<(LogIndex, usize)>,
    /// The state has to be written before anything else.
    pub is_new: IsNew,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IsNew {
    Yes,
    No,
}

pub(super) fn find(
    store: Arc<dyn LogStore>,
    me: ReplicaId,
    start: &Start,
    applied: LogIndex,
) -> Result<Found, StartError> {
    let Some(mut state) = store.state()? else { return found_nothing(store, me, start, applied) };
    let truncated = state.truncated;
    // Elsewhere a replica may have been removed, or wait for its first snapshot.
    if *start == Start::Alone && !state.members.contain(me) {
        return Err(StartError::NotAMember { replica: me });
    }
    // A state machine that has never seen an entry has, by definition, seen the one that is in no log.
    let applied = if applied == LogIndex(0) && truncated == BOOTSTRAP { BOOTSTRAP.index } else { applied };
    if applied < truncated.index {
        return Err(StartError::StateBehindLog { applied, truncated: truncated.index });
    }
    let last = store.bounds()?.map_or(truncated.index, |bounds| LogIndex(*bounds.end()).max(truncated.index));
    if applied > last {
        return Err(StartError::StateAheadOfLog { applied, last });
    }
    if state.commit > last {
        return Err(LogError::Missing { index: last.next() }.into());
    }
    // The commit index is written with the next entry only. What is applied was committed.
    state.commit = state.commit.max(applied);
    let mut view = LogView::new(store.clone(), state);
    view.note_applied(applied);
    let mut found = Found { view, applied, time: None, sizes: Vec::new(), is_new: IsNew::No };
    let mut next = truncated.index.next();
    while next <= last {
        let records = store.read(next..last.next(), READ_BYTES_MAX)?;
        if records.is_empty() {
            return Err(LogError::Missing { index: next }.into());
        }
        for record in records {
            if record.index != next {
                return Err(LogError::Missing { index: next }.into());
            }
            found.take(record)?;
            next = next.next();
        }
    }
    let (state, last) = (&found.view.state, found.view.last());
    if (truncated.term == Term(0)) != (truncated.index == LogIndex(0)) {
        return Err(
            LogError::CorruptState { what: "the term of the last truncated entry is missing".to_owned() }.into()
        );
    }
    if found.view.term_at(last.0).is_some_and(|term| term > state.term.0) {
        let what = format!("its term is {}, the last entry has a later one", state.term);
        return Err(LogError::CorruptState { what }.into());
    }
    Ok(found)
}

/// A replica that has never been here begins as it is told to.
fn found_nothing(
    store: Arc<dyn LogStore>,
    me: ReplicaId,
    start: &Start,
    applied: LogIndex,
) -> Result<Found, StartError> {
    if applied > LogIndex(0) {
        return Err(StartError::StateAheadOfLog { applied, last: LogIndex(0) });
    }
    if let Some(bounds) = store.bounds()? {
        let what = format!("it is missing, but there are entries from {} to {}", bounds.start(), bounds.end());
        return Err(LogError::CorruptState { what }.into());
    }
    let mut voters = match start {
        Start::Alone => vec![me],
        Start::Found { voters } => voters.clone(),
        Start::Empty => Vec::new(),
        Start::Resume => return Err(StartError::NothingThere),
    };
    voters.sort();
    // Those who found a group together begin with the same state to the byte. One that waits for a snapshot has nothing
    // that anybody else has, and so begins before all of them.
    let begin = if voters.is_empty() { Truncated::default() } else { BOOTSTRAP };
    let state = LogState {
        term: begin.term,
        vote: None,
        commit: begin.index,
        members: Members { voters, ..Members::default() },
        members_index: begin.index,
        truncated: begin,
    };
    let view = LogView::new(store, state);
    Ok(Found { view, applied: begin.index, time: None, sizes: Vec::new(), is_new: IsNew::Yes })
}

impl Found {
    fn take(&mut self, record: LogRecord) -> Result<(), StartError> {
        let (index, size) = (record.index, record.bytes.len());
        let entry = record::entry_of(record)?;
        let term = Term(entry.term);
        if self.view.term_at(self.view.last().0).is_some_and(|newest| term.0 < newest) {
            return Err(StartError::TermsFall { index });
        }
        if entry.entry_type == EntryType::EntryNormal {
            let carried = CommittedEntry::new(index, entry.data);
            let carried = carried.map_err(|source| StartError::Payload { index, source })?;
            self.time = self.time.max(carried.time);
        }
        self.view.found(index, term);
        self.sizes.push((index, size));
        Ok(())
    }
}
