//! About how many bytes the entries of a slot have, for whoever spreads slots over nodes.
//!
//! Nobody keeps that: what a write replaces is not always known when it is applied. But the entries are counted, and
//! they lie in the order of hashes, so any run of them is a fair sample. What counts are keys and values as they are
//! handed to RocksDB, whose files are smaller, and who can say little of a range as short as a slot.

use super::engine::Engine;
use super::layout::{KEYS, PARTS, VERSION_PREFIX, part_key, slot_prefix};
use super::meta::{DataRef, Large};
use super::read::parse;
use super::{failed, layout};
use crate::effect::DbIndex;
use crate::engine::EngineError;
use crate::slot::{SLOT_COUNT, Slot};
use crate::value::Type;
use rocksdb::{DBRawIterator, ReadOptions};

/// Parts of a large collection that are looked at.
const PARTS_SAMPLED: u64 = 16;

/// Some entries of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub entries: u64,
    pub bytes: u64,
}

impl Engine {
    /// How many entries each slot of a database has, as of [`Engine::applied`].
    pub fn entries_by_slot(&self, db: DbIndex) -> Vec<u64> {
        let databases = self.databases.read();
        match databases.of(db) {
            Some(counts) => counts.slots.iter().map(|counts| counts.entries).collect(),
            None => vec![0; SLOT_COUNT],
        }
    }

    /// Looks at up to `max` entries of a slot, those that follow on a hash, and then at its first ones. May wait for
    /// the disk, and pushes nothing out of the cache.
    pub fn sample_slot(&self, db: DbIndex, slot: Slot, from_hash: u32, max: u64) -> Result<Sample, EngineError> {
        self.with_database(db, |physical| {
            let prefix = slot_prefix(self.group, physical, slot);
            let mut entries = self.uncached(KEYS, &prefix);
            let start = [&prefix[..], &from_hash.to_be_bytes()].concat();
            entries.seek(&start);
            let mut sample = Sample::default();
            let mut has_wrapped = false;
            while sample.entries < max {
                let Some((key, value)) = entries.item() else {
                    entries.status().map_err(failed("looking at the entries of a slot"))?;
                    if has_wrapped {
                        break;
                    }
                    has_wrapped = true;
                    entries.seek_to_first();
                    continue;
                };
                if has_wrapped && key >= &start[..] {
                    break;
                }
                let parts = match parse(value)?.data {
                    DataRef::Whole(_) => 0,
                    DataRef::Parts(large) => self.bytes_of_parts(&large)?,
                };
                sample.entries += 1;
                sample.bytes += (key.len() + value.len()) as u64 + parts;
                entries.next();
            }
            Ok(sample)
        })
    }

    /// What a large value has besides its record: known for a string, and by its first parts for a collection.
    fn bytes_of_parts(&self, large: &Large) -> Result<u64, EngineError> {
        if large.kind.value_type() == Type::String {
            return Ok(large.len);
        }
        let mut parts = self.uncached(PARTS, &part_key(self.group, large.version, b""));
        parts.seek_to_first();
        let (mut count, mut bytes) = (0, 0);
        while count < PARTS_SAMPLED
            && let Some((key, value)) = parts.item()
        {
            count += 1;
            bytes += (key.len() - VERSION_PREFIX + value.len()) as u64;
            parts.next();
        }
        parts.status().map_err(failed("looking at a large value"))?;
        // It may just have been deleted.
        Ok(if count == 0 { 0 } else { (u128::from(bytes) * u128::from(large.len) / u128::from(count)) as u64 })
    }

    /// All that begins with `prefix`, read past the cache.
    fn uncached(&self, family: &str, prefix: &[u8]) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_total_order_seek(true);
        options.set_iterate_lower_bound(prefix);
        options.set_iterate_upper_bound(layout::end_of(prefix));
        self.rocks.db.raw_iterator_cf_opt(self.rocks.family(family), options)
    }
}
