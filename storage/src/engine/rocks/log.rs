//! The raw log of a group: entries by index, and one record of the group's own state, as bytes.
//!
//! What the bytes mean is the business of whoever writes them (`basalt-cluster`). Here each record gets a checksum
//! over its place and its bytes, so that what comes back is what was written there. Invariant: the entries of a group
//! have no gap between them.

use super::failed;
use super::layout::{LOG, log_entry_index, log_entry_key, log_state_key};
use super::open::Rocks;
use crate::engine::{EngineError, GroupId};
use crate::rdb::crc64::crc64;
use rocksdb::{DBRawIterator, ReadOptions, WriteBatch, WriteOptions};
use std::ops::{Range, RangeInclusive};

/// What one group has to write. First the tail goes, then the entries come.
pub struct LogWrite<'a> {
    pub group: GroupId,
    /// Indexes and bytes, ascending without a gap.
    pub entries: &'a [(u64, &'a [u8])],
    /// Entries that are there and are valid no more.
    pub delete_tail: Range<u64>,
    /// The state of the group's core, if it has changed.
    pub state: Option<&'a [u8]>,
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It survives the loss of power.
    Synced,
    /// It survives the end of this process.
    Written,
}

/// From this many on, entries are deleted as a range: a tombstone that reads have to look at.
const RANGE_MIN: u64 = 64;
const CHECKSUM: usize = 8;

impl Rocks {
    /// Writes for any number of groups at once, whole or not at all. If it fails, nobody knows what is on disk.
    pub fn log_write(&self, writes: &[LogWrite<'_>], durability: Durability) -> Result<(), EngineError> {
        let log = self.family(LOG);
        let bytes = writes.iter().flat_map(|write| write.entries).map(|(_, bytes)| bytes.len() + 40).sum::<usize>();
        let (mut batch, number) = self.marked_batch(bytes);
        for write in writes {
            let tail = write.delete_tail.clone();
            if tail.end.saturating_sub(tail.start) >= RANGE_MIN {
                batch.delete_range_cf(
                    log,
                    log_entry_key(write.group, tail.start),
                    log_entry_key(write.group, tail.end),
                );
            } else {
                tail.for_each(|index| batch.delete_cf(log, log_entry_key(write.group, index)));
            }
            for (index, entry) in write.entries {
                let key = log_entry_key(write.group, *index);
                batch.put_cf(log, key, with_checksum(&key, entry));
            }
            if let Some(state) = write.state {
                let key = log_state_key(write.group);
                batch.put_cf(log, key, with_checksum(&key, state));
            }
        }
        self.write_marked(batch, number, durability, "writing the log")?;
        self.saving.note_log(bytes);
        Ok(())
    }

    /// The beginning of a write that goes to the write-ahead log, and the number that it gets there.
    pub(super) fn marked_batch(&self, capacity: usize) -> (WriteBatch, u64) {
        let mut batch = WriteBatch::with_capacity_bytes(capacity + 64);
        let (number, mark) = self.numbers.next();
        batch.put_log_data(mark);
        (batch, number)
    }

    pub(super) fn write_marked(
        &self,
        batch: WriteBatch,
        number: u64,
        durability: Durability,
        action: &'static str,
    ) -> Result<(), EngineError> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        let writing = self.saving.log_file.enter(batch.size_in_bytes(), durability);
        self.db.write_opt(batch, &options).map_err(failed(action))?;
        drop(writing);
        self.numbers.note_written(number, durability);
        Ok(())
    }

    /// Makes everything that was written so far survive the loss of power.
    pub fn log_sync(&self) -> Result<(), EngineError> {
        let written = self.numbers.written();
        self.db.flush_wal(true).map_err(failed("syncing the log"))?;
        self.numbers.note_written(written, Durability::Synced);
        Ok(())
    }

    /// What was last written as the group's state.
    pub fn log_state(&self, group: GroupId) -> Result<Option<Vec<u8>>, EngineError> {
        let key = log_state_key(group);
        let found = self.db.get_pinned_cf(self.family(LOG), key).map_err(failed("reading the log"))?;
        found.map(|bytes| checked(&key, &bytes, || format!("the state of group {}", group.0))).transpose()
    }

    /// The first and the last entry.
    pub fn log_bounds(&self, group: GroupId) -> Result<Option<RangeInclusive<u64>>, EngineError> {
        let mut entries = self.log_entries(group, 0..u64::MAX);
        entries.seek_to_first();
        let Some(first) = index_at(&entries)? else { return Ok(None) };
        entries.seek_to_last();
        let last = index_at(&entries)?.expect("an iterator that has a first entry has a last one");
        Ok(Some(first..=last))
    }

    /// The entries in `range`, as many as fit into `max_bytes`, but at least one.
    ///
    /// A missing entry, or one with a wrong checksum, is an error that names it: the caller knows what must be there.
    pub fn log_read(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, EngineError> {
        let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut bytes = 0;
        let mut entries = self.log_entries(group, range.clone());
        entries.seek_to_first();
        for index in range {
            if index_at(&entries)? != Some(index) {
                return Err(damaged(group, index, "it is missing"));
            }
            let (key, value) = entries.item().expect("there is an entry at this index");
            bytes += value.len() - value.len().min(CHECKSUM);
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            let name = || format!("entry {index} of the log of group {}", group.0);
            found.push((index, checked(key, value, name)?));
            entries.next();
        }
        Ok(found)
    }

    /// Forgets all entries before this index.
    pub fn log_compact(&self, group: GroupId, before: u64) -> Result<(), EngineError> {
        let (mut batch, number) = self.marked_batch(0);
        batch.delete_range_cf(self.family(LOG), log_entry_key(group, 0), log_entry_key(group, before));
        self.write_marked(batch, number, Durability::Written, "compacting the log")?;
        self.saving.note_cut();
        Ok(())
    }

    fn log_entries(&self, group: GroupId, range: Range<u64>) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(log_entry_key(group, range.start));
        // The last index that there could be is not used: raft counts from 1 upwards.
        options.set_iterate_upper_bound(log_entry_key(group, range.end));
        self.db.raw_iterator_cf_opt(self.family(LOG), options)
    }
}

fn index_at(entries: &DBRawIterator<'_>) -> Result<Option<u64>, EngineError> {
    entries.status().map_err(failed("reading the log"))?;
    Ok(entries.key().and_then(log_entry_index))
}

pub(super) fn with_checksum(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHECKSUM + bytes.len());
    out.extend_from_slice(&checksum(key, bytes).to_be_bytes());
    out.extend_from_slice(bytes);
    out
}

/// Never that of an empty record of zeros: it starts with the key, and ends with a bit of its own.
fn checksum(key: &[u8], bytes: &[u8]) -> u64 {
    !crc64(crc64(u64::MAX, key), bytes)
}

fn checked(key: &[u8], value: &[u8], name: impl Fn() -> String) -> Result<Vec<u8>, EngineError> {
    let corrupt = |detail: &str| EngineError::Corrupt { what: name(), detail: detail.to_owned() };
    let (sum, bytes) = value.split_first_chunk().ok_or_else(|| corrupt("it is too short"))?;
    if u64::from_be_bytes(*sum) != checksum(key, bytes) {
        return Err(corrupt("its checksum is wrong"));
    }
    Ok(bytes.to_vec())
}

fn damaged(group: GroupId, index: u64, detail: &str) -> EngineError {
    EngineError::Corrupt { what: format!("entry {index} of the log of group {}", group.0), detail: detail.to_owned() }
}
