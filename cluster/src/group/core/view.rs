//! The log as raft-rs sees it: what the store holds, and before it what is on its way there.
//!
//! Owns the entries that are not yet both persisted and delivered (raft-rs wants to read an entry from here as soon as
//! a write of it begins, and again when it is committed), the terms of all entries in a few ranges, and the state
//! record as it will be after the writes under way. The store is only read where a restart, or a follower that lags
//! behind, asks for older entries.
//!
//! Invariant: `truncated.index < first <= last + 1`; the cached entries, if any, end at `last`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use raft::eraftpb::{Entry, Snapshot, SnapshotMetadata};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use super::record;
use crate::group::ids::{LogIndex, ReplicaId, Term};
use crate::group::log::{LogError, LogStore};
use crate::group::state::{LogState, Truncated};

pub(super) struct LogView {
    store: Arc<dyn LogStore>,
    pub(super) state: LogState,
    cache: VecDeque<Entry>,
    /// First indexes of runs of entries of one term, ascending; the first run begins at the truncated entry.
    terms: VecDeque<(u64, u64)>,
    last: u64,
    /// The last entry that the state machine holds: the one for which a snapshot can be had.
    applied: LogIndex,
    /// The replica that is being sent a snapshot. One at a time: it is a copy of everything.
    shipping: Cell<Option<ReplicaId>>,
}

impl LogView {
    /// `last` and the terms come from [`super::restart`], which has read the whole log.
    pub(super) fn new(store: Arc<dyn LogStore>, state: LogState) -> LogView {
        let Truncated { index, term } = state.truncated;
        LogView {
            store,
            cache: VecDeque::new(),
            terms: VecDeque::from([(index.0, term.0)]),
            last: index.0,
            applied: index,
            shipping: Cell::new(None),
            state,
        }
    }

    pub(super) fn last(&self) -> LogIndex {
        LogIndex(self.last)
    }

    /// Takes note of an entry that the store holds already, when a replica starts.
    pub(super) fn found(&mut self, index: LogIndex, term: Term) {
        assert!(index.0 == self.last + 1, "entry {index} follows entry {}", self.last);
        self.note_term(index.0, term.0);
        self.last = index.0;
    }

    /// Takes over entries that are about to be written. Returns the indexes of old ones behind them, which are void.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Option<std::ops::Range<u64>> {
        let (first, last) = (entries.first()?.index, entries.last()?.index);
        assert!(first > self.state.truncated.index.0, "entry {first} is truncated already");
        assert!(first <= self.last + 1, "entry {first} leaves a gap behind {}", self.last);
        let old_last = self.last;
        self.cut_from(first);
        for entry in entries {
            self.note_term(entry.index, entry.term);
            self.cache.push_back(entry.clone());
        }
        self.last = last;
        (old_last > last).then_some(last + 1..old_last + 1)
    }

    /// Forgets the entries up to here: they are in the store, and on their way to the state machine.
    pub(super) fn release(&mut self, up_to: LogIndex) {
        while self.cache.front().is_some_and(|entry| entry.index <= up_to.0) {
            self.cache.pop_front();
        }
    }

    pub(super) fn note_applied(&mut self, index: LogIndex) {
        self.applied = index;
    }

    /// Forgets everything: a snapshot stands for all entries up to this one, and there are no others.
    pub(super) fn begin_at(&mut self, truncated: Truncated) {
        self.cache.clear();
        self.terms = VecDeque::from([(truncated.index.0, truncated.term.0)]);
        self.last = truncated.index.0;
        self.state.truncated = truncated;
        self.state.commit = self.state.commit.max(truncated.index);
    }

    pub(super) fn end_shipping(&mut self, to: ReplicaId) {
        if self.shipping.get() == Some(to) {
            self.shipping.set(None);
        }
    }

    pub(super) fn truncate(&mut self, up_to: LogIndex) {
        let term = self.term_at(up_to.0).expect("only entries that are there are truncated");
        self.state.truncated = Truncated { index: up_to, term: Term(term) };
        while self.terms.get(1).is_some_and(|(first, _)| *first <= up_to.0) {
            self.terms.pop_front();
        }
        self.terms[0].0 = up_to.0;
    }

    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        if index < self.state.truncated.index.0 || index > self.last {
            return None;
        }
        self.terms.iter().rev().find(|(first, _)| *first <= index).map(|(_, term)| *term)
    }

    fn cut_from(&mut self, first: u64) {
        while self.cache.back().is_some_and(|entry| entry.index >= first) {
            self.cache.pop_back();
        }
        while self.terms.back().is_some_and(|(start, _)| *start >= first) {
            self.terms.pop_back();
        }
        self.last = first - 1;
    }

    fn note_term(&mut self, index: u64, term: u64) {
        let newest = self.terms.back().map_or(0, |(_, term)| *term);
        assert!(term >= newest, "the term of entry {index} is {term}, an earlier one has {newest}");
        if term > newest {
            self.terms.push_back((index, term));
        }
    }

    fn read_stored(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let records = self.store.read(LogIndex(low)..LogIndex(high), bytes_max)?;
        let mut entries = Vec::with_capacity(records.len());
        for (record, expected) in records.into_iter().zip(low..) {
            let entry = record::entry_of(record)?;
            let index = LogIndex(entry.index);
            if entry.index != expected || self.term_at(entry.index) != Some(entry.term) {
                return Err(LogError::Corrupt { index, what: format!("expected entry {expected} of its term") });
            }
            entries.push(entry);
        }
        if entries.is_empty() { Err(LogError::Missing { index: LogIndex(low) }) } else { Ok(entries) }
    }
}

impl Storage for LogView {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let conf = record::conf_state_of(&self.state.members);
        Ok(RaftState::new(record::hard_state_of(&self.state), conf))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        bytes_max: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.state.truncated.index.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last + 1, "entries up to {high} of {} asked for", self.last);
        let bytes_max = bytes_max.into().unwrap_or(u64::MAX);
        let cached_from = self.cache.front().map_or(self.last + 1, |entry| entry.index);
        if low < cached_from {
            // May be fewer than asked for, which is allowed; the rest is asked for next.
            let stored = self.read_stored(low, high.min(cached_from), bytes_max);
            return stored.map_err(|error| Error::Store(StorageError::Other(Box::new(error))));
        }
        let range = (low - cached_from) as usize..(high - cached_from) as usize;
        let mut bytes = 0;
        let wanted = self.cache.range(range).enumerate().take_while(|(place, entry)| {
            bytes += entry.data.len() as u64;
            *place == 0 || bytes <= bytes_max
        });
        Ok(wanted.map(|(_, entry)| entry.clone()).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        self.term_at(index).ok_or_else(|| {
            let compacted = index < self.state.truncated.index.0;
            Error::Store(if compacted { StorageError::Compacted } else { StorageError::Unavailable })
        })
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.state.truncated.index.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    /// What it says besides the data, for the last entry that is applied. Asked again later if it cannot be had.
    fn snapshot(&self, _request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let term = self.term_at(self.applied.0);
        let Some(term) = term.filter(|_| self.shipping.get().is_none() && self.applied != LogIndex(0)) else {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        };
        self.shipping.set(Some(ReplicaId(to)));
        let meta = SnapshotMetadata { index: self.applied.0, term, ..SnapshotMetadata::default() };
        let mut snapshot = Snapshot::default();
        snapshot.set_metadata(meta);
        snapshot.mut_metadata().set_conf_state(record::conf_state_of(&self.state.members));
        Ok(snapshot)
    }
}
