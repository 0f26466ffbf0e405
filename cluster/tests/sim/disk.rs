//! A disk that forgets: one order of writes for the log, of which the synced part survives, and of the rest what chance
//! leaves; and data that is in memory until it is flushed.
//!
//! The loss of power keeps everything synced and a random prefix of the writes after it, each whole or not at all. The
//! end of a process keeps all writes, but of the data only what was flushed. A flush takes all data that was there when
//! it began, and syncs what was written to the log before that. Cutting the log is worse than any real database: it is
//! on the disk at once, before writes made earlier. After a failed sync, what was not synced by then never will be,
//! though it can still be read until the machine goes down.

use std::collections::{BTreeSet, HashSet};
use std::ops::{Range, RangeInclusive};

use basalt_cluster::group::log::{Durability, LogRecord, LogWrite};
use basalt_cluster::group::memory_log::LogImage;
use basalt_cluster::group::state::LogState;
use basalt_cluster::group::{LogError, LogIndex, LogStore};
use parking_lot::Mutex;

use crate::planted::Planted;
use crate::rng::Rng;

/// What a client sent: its place among all that was ever proposed, and its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    pub id: u64,
    pub slot: u16,
}

impl Item {
    pub fn encode(self) -> Vec<u8> {
        [&self.id.to_be_bytes()[..], &self.slot.to_be_bytes()].concat()
    }

    pub fn decode(bytes: &[u8]) -> Item {
        let (id, slot) = bytes.split_at(8);
        Item { id: u64::from_be_bytes(id.try_into().unwrap()), slot: u16::from_be_bytes(slot.try_into().unwrap()) }
    }
}

/// One write, to the log or to the data.
#[derive(Clone, Debug)]
pub enum Op {
    Log(LogWrite),
    Data {
        items: Vec<Item>,
        applied: Option<LogIndex>,
    },
    /// Everything from a snapshot: the data, and with `state` a log without entries.
    Install {
        items: Vec<Item>,
        applied: LogIndex,
        state: Option<LogState>,
    },
}

/// What can be read.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pub log: LogImage,
    pub items: Vec<Item>,
    pub applied: LogIndex,
}

impl Image {
    fn write(&mut self, op: &Op) {
        match op {
            Op::Log(write) => self.log.write(write),
            Op::Data { items, applied } => {
                self.items.extend(items);
                self.applied = applied.unwrap_or(self.applied);
            }
            Op::Install { items, applied, state } => {
                self.items.clone_from(items);
                self.applied = *applied;
                if state.is_some() {
                    self.log = LogImage { state: state.clone(), ..LogImage::default() };
                }
            }
        }
    }

    pub fn last_index(&self) -> LogIndex {
        let truncated = self.log.state.as_ref().map_or(LogIndex(0), |state| state.truncated.index);
        self.log.entries.last_key_value().map_or(truncated, |(index, _)| LogIndex(*index).max(truncated))
    }
}

#[derive(Default)]
pub struct Contents {
    /// What a reader sees now.
    pub seen: Image,
    /// What would be left if the power failed and nothing else made it.
    pub durable: Image,
    /// What lies between them, but for data.
    unsynced: Vec<Op>,
    /// Data that is not flushed.
    memory: Vec<Op>,
    /// What of the data the next process would find.
    flushed: (Vec<Item>, LogIndex),
    damaged: BTreeSet<u64>,
    /// A sync has failed, so something that can be read may not be on the disk, and is not among the unsynced.
    has_lied: bool,
    /// All items whose log entry ever was synced.
    pub synced_items: HashSet<u64>,
}

/// What a flush that has begun covers.
pub struct Flush {
    data: usize,
    log: usize,
    pub applied: LogIndex,
}

pub struct Disk {
    pub contents: Mutex<Contents>,
    planted: Planted,
}

impl Disk {
    pub fn new(planted: Planted) -> Disk {
        Disk { contents: Mutex::default(), planted }
    }

    pub fn append(&self, op: Op) {
        let mut contents = self.contents.lock();
        contents.seen.write(&op);
        match &op {
            Op::Data { .. } => return contents.memory.push(op),
            Op::Install { items, applied, .. } => {
                contents.memory.clear();
                contents.flushed = (items.clone(), *applied);
            }
            Op::Log(_) => (),
        }
        contents.unsynced.push(op);
    }

    /// A flush begins: what it will cover.
    pub fn begin_flush(&self) -> Flush {
        let contents = self.contents.lock();
        Flush { data: contents.memory.len(), log: contents.unsynced.len(), applied: contents.seen.applied }
    }

    /// It ends. Nothing else may have flushed meanwhile, or replaced the data.
    pub fn end_flush(&self, flush: Flush) {
        if self.planted != Planted::StateInItsOwnOrder {
            self.sync_first(flush.log);
        }
        let contents = &mut *self.contents.lock();
        for op in contents.memory.drain(..flush.data) {
            contents.durable.write(&op);
        }
        contents.flushed = (contents.durable.items.clone(), contents.durable.applied);
    }

    /// How many writes a sync that begins now would cover.
    pub fn unsynced(&self) -> usize {
        self.contents.lock().unsynced.len()
    }

    /// A sync that began when `count` writes were not synced ends.
    pub fn sync_first(&self, count: usize) {
        let contents = &mut *self.contents.lock();
        // Another one may have ended meanwhile.
        let count = count.min(contents.unsynced.len());
        for op in contents.unsynced.drain(..count) {
            contents.durable.write(&op);
            if let Op::Log(write) = &op {
                let items = write.entries.iter().flat_map(|record| items_of(&record.bytes));
                contents.synced_items.extend(items.map(|item| item.id));
            }
        }
    }

    /// The kernel could not write its pages, says so once, and takes them for clean from then on.
    pub fn fail_sync(&self) {
        let mut contents = self.contents.lock();
        contents.unsynced.clear();
        contents.has_lied = true;
    }

    /// What a database does when a process opens it. The memory of the process before is gone. What it can read, it
    /// writes anew, which matters after a failed sync only: otherwise the next sync covers what the last process has
    /// written.
    pub fn open(&self) {
        let contents = &mut *self.contents.lock();
        contents.memory.clear();
        (contents.seen.items, contents.seen.applied) = contents.flushed.clone();
        if std::mem::take(&mut contents.has_lied) {
            contents.unsynced.clear();
            contents.durable = contents.seen.clone();
            let items = contents.seen.log.entries.values().flat_map(|entry| items_of(entry));
            contents.synced_items.extend(items.map(|item| item.id));
        }
    }

    pub fn lose_power(&self, rng: &mut Rng) {
        let contents = &mut *self.contents.lock();
        let kept = rng.below(contents.unsynced.len() as u64 + 1) as usize;
        let mut torn = contents.unsynced.get(kept).cloned();
        for op in contents.unsynced.drain(..).take(kept) {
            contents.durable.write(&op);
        }
        if let (Planted::TornWriteKept, Some(Op::Log(write))) = (self.planted, &mut torn) {
            write.state = None;
            contents.durable.write(&Op::Log(write.clone()));
        }
        contents.seen = contents.durable.clone();
        contents.memory.clear();
        contents.flushed = (contents.durable.items.clone(), contents.durable.applied);
        contents.has_lied = false;
    }

    /// A bit flips in an entry that was synced long ago. Says whether there was one.
    pub fn damage(&self, rng: &mut Rng) -> bool {
        let contents = &mut *self.contents.lock();
        let truncated = contents.durable.log.state.as_ref().map_or(0, |state| state.truncated.index.0);
        let candidates: Vec<u64> =
            contents.durable.log.entries.range(truncated + 1..).map(|(index, _)| *index).collect();
        let Some(last) = candidates.len().checked_sub(1) else { return false };
        contents.damaged.insert(candidates[rng.below(last as u64 + 1) as usize]);
        true
    }
}

impl LogStore for Disk {
    fn state(&self) -> Result<Option<LogState>, LogError> {
        Ok(self.contents.lock().seen.log.state.clone())
    }

    fn bounds(&self) -> Result<Option<RangeInclusive<u64>>, LogError> {
        let contents = self.contents.lock();
        let bounds = contents.seen.log.bounds();
        let first_damaged = contents.damaged.first().filter(|_| self.planted == Planted::DamageEndsLog);
        Ok(bounds.map(|bounds| *bounds.start()..=first_damaged.map_or(*bounds.end(), |index| index - 1)))
    }

    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<LogRecord>, LogError> {
        let contents = self.contents.lock();
        let mut records = Vec::new();
        let mut bytes = 0;
        for (index, entry) in contents.seen.log.entries.range(range.start.0..range.end.0) {
            let index = LogIndex(*index);
            if contents.damaged.contains(&index.0) {
                return Err(LogError::Corrupt { index, what: "its checksum is wrong".to_owned() });
            }
            bytes += entry.len();
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push(LogRecord { index, bytes: entry.clone() });
        }
        Ok(records)
    }

    fn write(&self, write: &LogWrite, durability: Durability) -> Result<(), LogError> {
        self.append(Op::Log(write.clone()));
        if durability == Durability::Synced { self.sync() } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), LogError> {
        self.sync_first(usize::MAX);
        Ok(())
    }

    fn compact(&self, before: LogIndex) -> Result<(), LogError> {
        let mut contents = self.contents.lock();
        contents.seen.log.compact(before);
        contents.durable.log.compact(before);
        Ok(())
    }
}

/// Reads the form of an entry on the disk: kind, term, version, clock, then batches after their lengths. Written here
/// once more, so that a change of the form is noticed.
fn items_of(entry: &[u8]) -> Vec<Item> {
    let mut left = entry.get(1 + 8 + 1 + 8..).unwrap_or_default();
    let mut items = Vec::new();
    while let Some((length, rest)) = left.split_first_chunk() {
        let (batch, after) = rest.split_at(u32::from_be_bytes(*length) as usize);
        items.push(Item::decode(batch));
        left = after;
    }
    items
}
