//! Deletes what nothing refers to any more: the parts of replaced values, and the keys of flushed databases.
//!
//! What is to be deleted is written down by whoever made it garbage, in the same write, so nothing is forgotten.
//! Nothing else ever looks at it, so the cleaner needs no lock against those who read or apply; snapshots keep seeing
//! it.

use super::engine::Engine;
use super::layout::{
    DUE, GARBAGE, Garbage, KEYS, MetaKey, PARTS, PhysicalDb, Version, database_prefix, due_key, end_of,
    garbage_database_key, garbage_parts_key, version_prefix,
};
use super::meta::DataRef;
use super::read::parse;
use super::{corrupt, failed};
use crate::effect::wire::{Malformed, Reader, put_varint};
use crate::engine::EngineError;
use rocksdb::WriteBatch;
use std::sync::atomic::Ordering;

/// Whether the cleaner has more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaning {
    More,
    Done,
}

/// Where the cleaner is. What lies before has been deleted already, and is not worth another look.
#[derive(Default)]
pub(super) struct Sweep {
    garbage: Option<Vec<u8>>,
    keys: Option<(PhysicalDb, Vec<u8>)>,
}

/// Up to this many parts are deleted one by one: a range of deletions is cheap to write, but reads have to look at it.
const POINTS_MAX: u64 = 512;

impl Engine {
    /// Deletes about `budget` things.
    pub fn clean_some(&self, budget: usize) -> Result<Cleaning, EngineError> {
        self.rocks.admit_state();
        let mut sweep = self.sweep.lock();
        let known = self.garbage.load(Ordering::Acquire);
        if known == 0 {
            return Ok(Cleaning::Done);
        }
        let mut batch = WriteBatch::default();
        let mut left = budget.max(1);
        while left > 0 {
            let Some((key, garbage, count)) = self.next_garbage(&mut sweep)? else {
                self.write_low(batch)?;
                if sweep.garbage.take().is_none() {
                    // A whole pass without anything: what is counted beyond this has come meanwhile.
                    self.garbage.fetch_sub(known, Ordering::AcqRel);
                    return Ok(Cleaning::Done);
                }
                return Ok(Cleaning::More);
            };
            match garbage {
                Garbage::Parts(version) => {
                    left = left.saturating_sub(self.clean_parts(&mut batch, version, count)?);
                    batch.delete_cf(self.rocks.family(GARBAGE), garbage_parts_key(self.group, version));
                    sweep.garbage = Some(after(&key));
                }
                Garbage::Database(db) => {
                    let (used, state) = self.clean_database(&mut batch, &mut sweep, db, left)?;
                    left = left.saturating_sub(used);
                    if state == Cleaning::Done {
                        batch.delete_cf(self.rocks.family(GARBAGE), garbage_database_key(self.group, db));
                        sweep.keys = None;
                        sweep.garbage = Some(after(&key));
                    }
                }
            }
        }
        self.write_low(batch)?;
        Ok(Cleaning::More)
    }

    fn next_garbage(&self, sweep: &mut Sweep) -> Result<Option<(Vec<u8>, Garbage, u64)>, EngineError> {
        let prefix = self.group.0.to_be_bytes();
        let mut rows = self.rocks.prefix_iterator(GARBAGE, &prefix, None);
        match &sweep.garbage {
            Some(from) => rows.seek(from),
            None => rows.seek_to_first(),
        }
        let Some((key, value)) = rows.item() else {
            rows.status().map_err(failed("cleaning"))?;
            return Ok(None);
        };
        let unknown = || corrupt("the list of garbage")(Malformed("an unknown kind of garbage"));
        let garbage = Garbage::parse(key).ok_or_else(unknown)?;
        let count = Reader::new(value).varint().map_err(corrupt("the list of garbage"))?;
        Ok(Some((key.to_vec(), garbage, count)))
    }

    /// Deletes all parts of a version, and says how much work that was.
    fn clean_parts(&self, batch: &mut WriteBatch, version: Version, count: u64) -> Result<usize, EngineError> {
        let (family, prefix) = (self.rocks.family(PARTS), version_prefix(self.group, version));
        if count > POINTS_MAX {
            batch.delete_range_cf(family, &prefix[..], &end_of(&prefix)[..]);
            return Ok(POINTS_MAX as usize);
        }
        let mut parts = self.rocks.prefix_iterator(PARTS, &prefix, None);
        parts.seek_to_first();
        let mut deleted = 0;
        while let Some(key) = parts.key() {
            batch.delete_cf(family, key);
            deleted += 1;
            parts.next();
        }
        parts.status().map_err(failed("cleaning"))?;
        Ok(deleted + 1)
    }

    /// Deletes some keys of a flushed database; their parts become garbage of their own.
    fn clean_database(
        &self,
        batch: &mut WriteBatch,
        sweep: &mut Sweep,
        db: PhysicalDb,
        budget: usize,
    ) -> Result<(usize, Cleaning), EngineError> {
        let (keys, garbage, due) = (self.rocks.family(KEYS), self.rocks.family(GARBAGE), self.rocks.family(DUE));
        let prefix = database_prefix(self.group, db);
        let start = match sweep.keys.take() {
            Some((of, from)) if of == db => from,
            _ => prefix.to_vec(),
        };
        let mut entries = self.rocks.prefix_iterator(KEYS, &prefix, None);
        entries.seek(&start);
        let mut deleted = 0;
        while let Some((bytes, value)) = entries.item() {
            if deleted == budget {
                batch.delete_range_cf(keys, &start[..], bytes);
                sweep.keys = Some((db, bytes.to_vec()));
                return Ok((deleted, Cleaning::More));
            }
            let no_key = || corrupt("the key of a record")(Malformed("it is too short"));
            let key = MetaKey::parse(bytes).ok_or_else(no_key)?;
            let meta = parse(value)?;
            if let DataRef::Parts(large) = meta.data {
                let mut count = Vec::new();
                put_varint(&mut count, large.len);
                batch.put_cf(garbage, garbage_parts_key(self.group, large.version), count);
                self.garbage.fetch_add(1, Ordering::AcqRel);
            }
            if let Some(at) = meta.expiry {
                batch.delete_cf(due, due_key(self.group, at, db, key.slot, key.user_key));
            }
            deleted += 1;
            entries.next();
        }
        entries.status().map_err(failed("cleaning"))?;
        batch.delete_range_cf(keys, &start[..], &end_of(&prefix)[..]);
        Ok((deleted + 1, Cleaning::Done))
    }

    fn write_low(&self, batch: WriteBatch) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        // If it is lost, so is the deletion of what says that it is to be done.
        self.rocks.write_state_low(batch, "cleaning")
    }
}

/// The first key behind this one.
fn after(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}
