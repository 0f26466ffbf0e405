//! What one call of `apply` is about to write, readable as if it had been written.
//!
//! Records and parts that effects touch are read once, changed here, and written at the end in one batch: a key that
//! many effects change is written once. Changes take a record out, work on it, and put it back.

use super::engine::Engine;
use super::layout::{
    self, Garbage, KEYS, MetaId, PARTS, PhysicalDb, SLOT_PREFIX, Version, meta_key, part_key, position_name,
};
use super::meta::{Data, DataRef, Large, Meta, MetaRef};
use super::{corrupt, failed};
use crate::clock::UnixMs;
use crate::effect::Former;
use crate::engine::{EngineError, LogIndex};
use crate::keyspace::Key;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use rocksdb::{ColumnFamily, ReadOptions};
use std::ops::Range;

/// From this many on, parts are deleted as a range.
const RANGE_MIN: u64 = 512;

pub(super) struct Staged<'e> {
    pub engine: &'e Engine,
    /// The log entry whose effects are being applied.
    pub index: LogIndex,
    pub next_version: u64,
    /// Versions from here on were made by this call, and have nothing on disk.
    first_version: u64,
    pub records: HashMap<Box<[u8]>, Record>,
    pub parts: HashMap<Version, Parts>,
    pub garbage: Vec<(Garbage, u64)>,
    /// Looked up once, not for each of many reads.
    keys: &'e ColumnFamily,
    options: ReadOptions,
}

/// A record of `keys`.
pub(super) struct Record {
    /// What is on disk: whether there is an entry, and its expiry.
    pub before: Option<Option<UnixMs>>,
    pub now: Option<Meta>,
}

/// Parts of one version.
#[derive(Default)]
pub(super) struct Parts {
    /// By name; none for what is deleted.
    pub changed: HashMap<Box<[u8]>, Option<Box<[u8]>>>,
    /// Names of which nothing is left that is not in `changed`.
    pub dropped: Vec<Range<[u8; 8]>>,
}

impl<'e> Staged<'e> {
    pub fn new(engine: &'e Engine, next_version: u64) -> Staged<'e> {
        Staged {
            engine,
            index: LogIndex(0),
            next_version,
            first_version: next_version,
            records: HashMap::new(),
            parts: HashMap::new(),
            garbage: Vec::new(),
            keys: engine.rocks.family(KEYS),
            options: ReadOptions::default(),
        }
    }

    pub fn id(&self, db: PhysicalDb, key: &Key<'_>) -> MetaId {
        meta_key(self.engine.group, db, key.slot, key.bytes)
    }

    /// Takes the entry out, to be put back or not.
    pub fn take(&mut self, id: &[u8]) -> Result<Option<Meta>, EngineError> {
        if let Some(record) = self.records.get_mut(id) {
            return Ok(record.now.take());
        }
        let found = self.read(id)?;
        let meta = found.as_deref().map(parse).transpose()?;
        let (before, meta) = (meta.map(|meta| meta.expiry), meta.map(MetaRef::to_meta));
        self.records.insert(id.into(), Record { before, now: None });
        Ok(meta)
    }

    /// Drops what is known to be an entry without parts or expiry, or no entry, without reading anything.
    pub fn discard_known(&mut self, id: &[u8], former: Former) -> Result<(), EngineError> {
        let before = match former {
            Former::Nothing => None,
            Former::Plain => Some(None),
            Former::Unknown => return self.discard(id).map(drop),
        };
        match self.records.get_mut(id) {
            Some(record) => {
                let old = record.now.take();
                assert!(
                    !matches!(old, Some(Meta { data: Data::Parts(_), .. })),
                    "{former:?} is said of a value in parts"
                );
            }
            None => {
                self.check_former(id, Some(before))?;
                self.records.insert(id.into(), Record { before, now: None });
            }
        }
        Ok(())
    }

    /// In tests, looks whether what is said of an entry on disk is true, if anything is said.
    fn check_former(&self, id: &[u8], said: Option<Option<Option<UnixMs>>>) -> Result<(), EngineError> {
        if let Some(before) = said.filter(|_| cfg!(test) && !self.records.contains_key(id)) {
            let found = self.read(id)?;
            let found = found.as_deref().map(parse).transpose()?;
            assert!(found.is_none_or(|meta| matches!(meta.data, DataRef::Whole(_))), "{before:?}: {found:?}");
            assert_eq!(found.map(|meta| meta.expiry), before, "what was there is not what was said");
        }
        Ok(())
    }

    /// Makes a string the entry, in place of what is known of the one before. `body` lies whole in its record.
    pub fn put_string(
        &mut self,
        id: &[u8],
        former: Former,
        expiry: Option<UnixMs>,
        body: &[u8],
    ) -> Result<(), EngineError> {
        let before = match former {
            Former::Nothing => Some(None),
            Former::Plain => Some(Some(None)),
            Former::Unknown => None,
        };
        self.check_former(id, before)?;
        match (self.records.entry_ref(id), before) {
            (EntryRef::Occupied(mut record), _) => {
                if let Some(Meta { expiry: old_expiry, data: Data::Whole(old) }) = &mut record.get_mut().now {
                    old.clear();
                    old.extend_from_slice(body);
                    *old_expiry = expiry;
                    return Ok(());
                }
            }
            (EntryRef::Vacant(place), Some(before)) => {
                let now = Some(Meta { expiry, data: Data::Whole(body.into()) });
                place.insert(Record { before, now });
                return Ok(());
            }
            (EntryRef::Vacant(_), None) => {}
        }
        self.discard_known(id, former)?;
        self.put(id, Meta { expiry, data: Data::Whole(body.into()) });
        Ok(())
    }

    /// Drops the entry with its parts, without reading the value; returns whether there was one.
    pub fn discard(&mut self, id: &[u8]) -> Result<bool, EngineError> {
        let (is_there, large) = match self.records.get_mut(id) {
            Some(record) => match record.now.take() {
                Some(Meta { data: Data::Parts(large), .. }) => (true, Some(large)),
                found => (found.is_some(), None),
            },
            None => {
                let found = self.read(id)?;
                let meta = found.as_deref().map(parse).transpose()?;
                self.discard_found(id, meta);
                return Ok(meta.is_some());
            }
        };
        if let Some(large) = large {
            self.discard_parts(&large);
        }
        Ok(is_there)
    }

    /// Drops an entry of which this was found, and nothing was known before.
    fn discard_found(&mut self, id: &[u8], found: Option<MetaRef<'_>>) {
        self.records.insert(id.into(), Record { before: found.map(|meta| meta.expiry), now: None });
        if let Some(MetaRef { data: DataRef::Parts(large), .. }) = found {
            self.discard_parts(&large);
        }
    }

    /// Drops the entries of a slot whose hashes lie from one to another, with their parts. Each is read once.
    pub fn discard_hashes(&mut self, slot: &[u8; SLOT_PREFIX], (first, last): (u32, u32)) -> Result<(), EngineError> {
        let is_meant = |id: &[u8]| {
            let hash = id.strip_prefix(slot).and_then(|rest| rest.first_chunk()).map(|hash| u32::from_be_bytes(*hash));
            hash.is_some_and(|hash| (first..=last).contains(&hash))
        };
        let staged = self.records.iter().filter(|(id, record)| record.now.is_some() && is_meant(id));
        for id in staged.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.discard(&id)?;
        }
        let engine = self.engine;
        let mut rows = engine.rocks.prefix_iterator(KEYS, slot, None);
        rows.seek([&slot[..], &first.to_be_bytes()].concat());
        while let Some((id, value)) = rows.item().filter(|(id, _)| is_meant(id)) {
            if !self.records.contains_key(id) {
                self.discard_found(id, Some(parse(value)?));
            }
            rows.next();
        }
        rows.status().map_err(failed("clearing a slot"))
    }

    /// Makes this the entry. It was taken or discarded before.
    pub fn put(&mut self, id: &[u8], meta: Meta) {
        let record = self.records.get_mut(id).expect("an entry is taken out before another is put in");
        assert!(record.now.is_none(), "an entry is taken out before another is put in");
        record.now = Some(meta);
    }

    fn read(&self, id: &[u8]) -> Result<Option<rocksdb::DBPinnableSlice<'e>>, EngineError> {
        let found = self.engine.rocks.db.get_pinned_cf_opt(self.keys, id, &self.options);
        found.map_err(failed("reading what an effect changes"))
    }

    pub fn diverged<T>(&self, detail: &str) -> Result<T, EngineError> {
        Err(EngineError::Diverged { index: self.index, detail: detail.to_owned() })
    }

    pub fn new_version(&mut self) -> Version {
        self.next_version += 1;
        Version(self.next_version - 1)
    }

    fn is_fresh(&self, version: Version) -> bool {
        version.0 >= self.first_version
    }

    /// Whether anything of these parts has been changed here.
    pub fn is_touched(&self, version: Version) -> bool {
        self.is_fresh(version) || self.parts.contains_key(&version)
    }

    pub fn part(&self, version: Version, name: &[u8]) -> Result<Option<Box<[u8]>>, EngineError> {
        if let Some(parts) = self.parts.get(&version) {
            if let Some(changed) = parts.changed.get(name) {
                return Ok(changed.clone());
            }
            if parts.dropped.iter().any(|range| range.start[..] <= *name && *name < range.end[..]) {
                return Ok(None);
            }
        }
        if self.is_fresh(version) {
            return Ok(None);
        }
        let rocks = &self.engine.rocks;
        let key = part_key(self.engine.group, version, name);
        let found =
            rocks.db.get_pinned_cf(rocks.family(PARTS), key).map_err(failed("reading what an effect changes"))?;
        Ok(found.map(|bytes| bytes[..].into()))
    }

    pub fn put_part(&mut self, version: Version, name: &[u8], value: Box<[u8]>) {
        self.parts.entry(version).or_default().changed.insert(name.into(), Some(value));
    }

    pub fn delete_part(&mut self, version: Version, name: &[u8]) {
        let is_fresh = self.is_fresh(version);
        let changed = &mut self.parts.entry(version).or_default().changed;
        if is_fresh {
            changed.remove(name);
        } else {
            changed.insert(name.into(), None);
        }
    }

    /// Deletes what is at these positions.
    pub fn delete_positions(&mut self, version: Version, positions: Range<i64>) {
        if positions.is_empty() {
            return;
        }
        if positions.end.abs_diff(positions.start) < RANGE_MIN {
            return positions.for_each(|position| self.delete_part(version, &position_name(position)));
        }
        let range = position_name(positions.start)..position_name(positions.end);
        let parts = self.parts.entry(version).or_default();
        parts.changed.retain(|name, _| **name < range.start[..] || range.end[..] <= **name);
        parts.dropped.push(range);
    }

    /// Leaves all parts to the cleaner. What was staged of them is not written.
    pub fn discard_parts(&mut self, large: &Large) {
        self.parts.remove(&large.version);
        if !self.is_fresh(large.version) {
            self.garbage.push((Garbage::Parts(large.version), large.len));
        }
    }
}

fn parse(bytes: &[u8]) -> Result<MetaRef<'_>, EngineError> {
    MetaRef::parse(bytes).map_err(corrupt("the record of a key"))
}

/// The key of a record taken apart.
pub(super) fn parse_id(id: &[u8]) -> layout::MetaKey<'_> {
    layout::MetaKey::parse(id).expect("the key of a record was put together here")
}
