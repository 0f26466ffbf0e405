//! What all replicas together must never contradict. Told about everything that happens, by whoever it happens to.

use std::collections::BTreeMap;

use basalt_cluster::group::log::LogRecord;
use basalt_cluster::group::{CommittedEntry, LogIndex, Term};

use crate::checkers::{Checked, Violation};
use crate::disk::{Contents, Item};

#[derive(Default)]
pub struct Truth {
    leaders: BTreeMap<Term, u64>,
    /// What was written for an entry of an index and a term, by whomever.
    written: BTreeMap<(u64, u64), u64>,
    /// What is committed, by index.
    committed: BTreeMap<u64, Committed>,
    index_by_id: BTreeMap<u64, u64>,
    /// The last index at which something was acknowledged.
    acked: u64,
    pub acks: u64,
    /// A digest of all that was said here.
    pub events: u64,
}

struct Committed {
    digest: u64,
    term: Option<u64>,
    time: i64,
    /// Of all data up to and with this entry.
    state: u64,
}

/// The digest of no data.
pub const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

pub fn fold(digest: u64, number: u64) -> u64 {
    (digest ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(7)
}

pub fn fold_items(digest: u64, items: &[Item]) -> u64 {
    items.iter().fold(digest, |digest, item| fold(fold(digest, item.id), u64::from(item.slot)))
}

fn require(holds: bool, checker: &'static str, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { checker, what: what() }) }
}

impl Truth {
    pub fn note(&mut self, number: u64) {
        self.events = fold(self.events, number);
    }

    /// Election safety: one leader in a term. Leader completeness: it has all that was committed in earlier terms.
    pub fn on_lead(&mut self, replica: u64, process: u64, term: Term, log: &Contents) -> Checked {
        let leader = *self.leaders.entry(term).or_insert(process);
        require(leader == process, "ElectionSafety", || format!("{leader} and {process} ({replica}) lead in {term}"))?;
        let earlier = |committed: &Committed| committed.term.is_some_and(|earlier| earlier < term.0);
        let needed = self.committed.iter().rev().find(|(_, committed)| earlier(committed));
        let Some((index, committed)) = needed else { return Ok(()) };
        let truncated = log.seen.log.state.as_ref().map_or(0, |state| state.truncated.index.0);
        let has = *index <= truncated || log.seen.log.entries.get(index).map(|entry| term_of(entry)) == committed.term;
        require(has, "LeaderCompleteness", || format!("{replica} leads in {term} without committed entry {index}"))
    }

    /// Log matching: an index and a term name one entry.
    pub fn on_write(&mut self, entries: &[LogRecord]) -> Checked {
        for record in entries {
            let digest = record.bytes.iter().fold(EMPTY, |digest, byte| fold(digest, u64::from(*byte)));
            let key = (record.index.0, term_of(&record.bytes));
            let known = *self.written.entry(key).or_insert(digest);
            require(known == digest, "LogMatching", || format!("two entries with index and term {key:?}"))?;
        }
        Ok(())
    }

    /// State machine safety: at an index, all replicas apply the same.
    pub fn on_commit(&mut self, replica: u64, entry: &CommittedEntry, log: &Contents) -> Checked {
        let index = entry.index.0;
        let items: Vec<Item> = entry.batches().map(Item::decode).collect();
        let time = entry.time.map_or(i64::MIN, |time| time.0);
        let digest = fold_items(fold(EMPTY, time as u64), &items);
        if let Some(known) = self.committed.get(&index) {
            let same = known.digest == digest;
            return require(same, "StateMachineSafety", || format!("{replica} commits something else at {index}"));
        }
        let before = self.committed.get(&(index - 1));
        require(before.is_some() || self.committed.is_empty(), "NoGaps", || format!("{index} without the one before"))?;
        let (state, latest) = before.map_or((EMPTY, i64::MIN), |before| (before.state, before.time));
        require(entry.time.is_none() || time >= latest, "ClockGoesOn", || format!("the clock falls at {index}"))?;
        for item in &items {
            let twice = self.index_by_id.insert(item.id, index);
            require(twice.is_none(), "CommittedOnce", || format!("{item:?} at {index} and at {twice:?}"))?;
        }
        let term = log.seen.log.entries.get(&index).map(|entry| term_of(entry));
        let committed = Committed { digest, term, time: time.max(latest), state: fold_items(state, &items) };
        self.committed.insert(index, committed);
        self.note(digest);
        Ok(())
    }

    /// What is acknowledged is committed.
    pub fn on_ack(&mut self, id: u64) -> Checked {
        let index = self.index_by_id.get(&id).copied();
        require(index.is_some(), "NothingFalseAcked", || format!("{id} is acknowledged, and not committed"))?;
        self.acked = self.acked.max(index.unwrap_or(0));
        self.acks += 1;
        Ok(())
    }

    /// The data of a replica is what the log says, whether it was applied or came in a snapshot or after a restart.
    pub fn check_state(&self, replica: u64, applied: LogIndex, state: u64) -> Checked {
        let expected = self.committed.get(&applied.0).map_or(EMPTY, |committed| committed.state);
        require(state == expected, "SameState", || format!("{replica} has other data at {applied}"))
    }

    /// Linearizability of reads that a leader serves from a lease: it knows of everything that was acknowledged.
    pub fn on_read(&self, replica: u64, delivered: LogIndex) -> Checked {
        let acked = self.acked;
        require(acked <= delivered.0, "FreshReads", || {
            format!("{replica} reads at {delivered}, {acked} is acknowledged")
        })
    }

    /// A follower that has applied up to `index` shows all that was acknowledged when it began to ask.
    pub fn on_proof(&self, replica: u64, acked_before: LogIndex, index: LogIndex) -> Checked {
        require(acked_before <= index, "FreshCopies", || {
            format!("{replica} is told of {index}, {acked_before} was acknowledged before it asked")
        })
    }

    /// The last entry of which something was acknowledged.
    pub fn last_acked(&self) -> LogIndex {
        LogIndex(self.acked)
    }

    pub fn last_committed(&self) -> LogIndex {
        LogIndex(self.committed.last_key_value().map_or(1, |(index, _)| *index))
    }
}

/// Reads the form of an entry on the disk, written here once more so that a change of the form is noticed.
fn term_of(entry: &[u8]) -> u64 {
    entry.get(1..9).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}
