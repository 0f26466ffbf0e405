//! Effects into one write, which may be of several pieces: data, counts, index of expiries, garbage and the applied
//! index.

use super::counts::{self, Delta, Place};
use super::engine::{Engine, MAP, MARKS, PROGRESS, Progress, encode_map, encode_marks};
use super::layout::{self, DUE, GARBAGE, Garbage, KEYS, PARTS, PhysicalDb, due_key};
use super::meta::{Data, Large, Meta, STRING_BYTES_MAX, collection_bytes_max};
use super::saving::StateWrite;
use super::staged::{Staged, parse_id};
use crate::clock::UnixMs;
use crate::effect::body::{Kind, put_value, read_value};
use crate::effect::codec::{self, CodecError, Decoded};
use crate::effect::wire::{Reader, put_varint};
use crate::effect::{Batch, DbIndex, Effect, KeyEffect, Mark, Passage};
use crate::engine::{EngineError, LogIndex, SlotCounts};
use crate::keyspace::Key;
use crate::slot::Slot;
use crate::value::{Str, Type, Value};
use hashbrown::HashMap;
use rocksdb::WriteBatch;
use std::sync::atomic::Ordering;

impl Engine {
    /// Applies batches in the order of the log, all in one write. Batches of one log entry come in one call; an entry
    /// without effects is an empty batch. The applied index is then that of the last one.
    ///
    /// An error leaves disk and memory unchanged, unless the write itself failed: then nobody knows.
    ///
    /// # Panics
    /// If an entry has been applied before, or the order is wrong.
    pub fn apply(&self, batches: impl Iterator<Item = (LogIndex, Batch)>) -> Result<(), EngineError> {
        self.apply_all(batches, |applying, batch| batch.into_iter().try_for_each(|effect| applying.effect(effect)))
    }

    /// The same with batches as [`codec::encode`] writes them. None at all stand for an entry without effects.
    pub fn apply_encoded<'a>(
        &self,
        batches: impl Iterator<Item = (LogIndex, Option<&'a [u8]>)>,
    ) -> Result<(), EngineError> {
        self.apply_all(batches, |applying, batch| batch.map_or(Ok(()), |bytes| applying.encoded(bytes)))
    }

    fn apply_all<B>(
        &self,
        batches: impl Iterator<Item = (LogIndex, B)>,
        apply: impl Fn(&mut Applying<'_>, B) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.rocks.admit_state();
        let mut progress = self.progress.lock();
        let mut applying = Applying::new(self, *progress);
        for (index, batch) in batches {
            let last = applying.staged.index;
            assert!(
                index > progress.applied && index >= last,
                "entry {} after {}, and {} was applied",
                index.0,
                last.0,
                progress.applied.0
            );
            applying.staged.index = index;
            apply(&mut applying, batch)?;
        }
        if applying.staged.index > progress.applied {
            *progress = applying.finish()?;
        }
        Ok(())
    }
}

struct Applying<'e> {
    engine: &'e Engine,
    staged: Staged<'e>,
    map: Vec<PhysicalDb>,
    is_map_changed: bool,
    next_database: u32,
    flushed: Vec<PhysicalDb>,
    /// Those from now on, if they change.
    marks: Option<Vec<Mark>>,
    sealed_version: u64,
}

impl<'e> Applying<'e> {
    fn new(engine: &'e Engine, progress: Progress) -> Applying<'e> {
        let databases = engine.databases.read();
        Applying {
            engine,
            staged: Staged::new(engine, progress.next_version),
            map: databases.map.clone(),
            is_map_changed: !databases.is_saved,
            next_database: progress.next_database,
            flushed: Vec::new(),
            marks: None,
            sealed_version: progress.sealed_version,
        }
    }

    fn encoded(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let index = self.staged.index;
        let damaged = |error: CodecError| EngineError::Corrupt {
            what: format!("log entry {}", index.0),
            detail: error.to_string(),
        };
        for effect in codec::effects(bytes).map_err(damaged)? {
            match effect.map_err(damaged)? {
                Decoded::PutString { db, key, expiry, former, body } if body.len() <= STRING_BYTES_MAX => {
                    let id = self.staged.id(self.physical(db)?, &Key::new(key));
                    self.staged.put_string(&id, former, expiry, body)?;
                }
                Decoded::PutString { db, key, expiry, former, body } => {
                    let value = read_value(&mut Reader::new(body)).map_err(|error| damaged(error.into()))?;
                    self.effect(Effect::Key { db, key: key.into(), change: KeyEffect::Put { value, expiry, former } })?;
                }
                Decoded::Other(effect) => self.effect(effect)?,
            }
        }
        Ok(())
    }

    fn effect(&mut self, effect: Effect) -> Result<(), EngineError> {
        match effect {
            Effect::Key { db, key, change } => {
                let id = self.staged.id(self.physical(db)?, &Key::new(&key));
                self.change(&id, change)
            }
            Effect::Rename { from_db, from, to_db, to } => {
                let from = self.staged.id(self.physical(from_db)?, &Key::new(&from));
                let to = self.staged.id(self.physical(to_db)?, &Key::new(&to));
                self.rename(&from, &to)
            }
            Effect::Flush { db } => self.flush(db),
            Effect::SwapDb { one, other } => {
                self.physical(one)?;
                self.physical(other)?;
                self.map.swap(usize::from(one.0), usize::from(other.0));
                self.is_map_changed |= one != other;
                Ok(())
            }
            Effect::Clear { db, slot, hashes } => self.clear(db, slot, hashes),
            Effect::Mark(mark) => {
                if mark.passage == Passage::Sealed {
                    self.sealed_version = self.sealed_version.max(mark.version);
                }
                self.unmark(mark.passage, &mark.name).push(mark);
                Ok(())
            }
            Effect::Unmark { passage, name } => {
                self.unmark(passage, &name);
                Ok(())
            }
        }
    }

    fn physical(&self, db: DbIndex) -> Result<PhysicalDb, EngineError> {
        match self.map.get(usize::from(db.0)) {
            Some(physical) => Ok(*physical),
            None => self.staged.diverged("a database of this number does not exist here"),
        }
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), EngineError> {
        let Some(meta) = self.staged.take(from)? else { return self.staged.diverged("a renamed entry is not there") };
        if from != to {
            self.staged.discard(to)?;
        }
        self.staged.put(to, meta);
        Ok(())
    }

    fn flush(&mut self, db: DbIndex) -> Result<(), EngineError> {
        let old = self.physical(db)?;
        self.map[usize::from(db.0)] = PhysicalDb(self.next_database);
        self.next_database += 1;
        self.is_map_changed = true;
        self.flushed.push(old);
        self.staged.garbage.push((Garbage::Database(old), 0));
        Ok(())
    }

    fn clear(&mut self, db: DbIndex, slot: Slot, hashes: (u32, u32)) -> Result<(), EngineError> {
        let prefix = layout::slot_prefix(self.engine.group, self.physical(db)?, slot);
        self.staged.discard_hashes(&prefix, hashes)
    }

    /// Takes a mark away, if it is there; returns the others.
    fn unmark(&mut self, passage: Passage, name: &[u8; Mark::NAME_BYTES]) -> &mut Vec<Mark> {
        let marks = self.marks.get_or_insert_with(|| self.engine.marks());
        marks.retain(|mark| mark.passage != passage || mark.name != *name);
        marks
    }

    fn change(&mut self, id: &[u8], change: KeyEffect) -> Result<(), EngineError> {
        let staged = &mut self.staged;
        let changed = match change {
            KeyEffect::Put { value, expiry, former } => {
                staged.discard_known(id, former)?;
                let data = staged.data_of(&value);
                Some(Meta { expiry, data })
            }
            KeyEffect::Delete(_) => {
                if !staged.discard(id)? {
                    return staged.diverged("a deleted entry is not there");
                }
                None
            }
            KeyEffect::SetExpiry(expiry) => match staged.take(id)? {
                Some(meta) => Some(Meta { expiry, ..meta }),
                None => return staged.diverged("an entry whose expiry changes is not there"),
            },
            KeyEffect::Splice { offset, bytes } => {
                let meta = staged.take(id)?;
                Some(staged.splice(meta, offset, &bytes)?)
            }
            KeyEffect::ListPush { .. }
            | KeyEffect::ListPop { .. }
            | KeyEffect::ListSet { .. }
            | KeyEffect::ListInsert { .. }
            | KeyEffect::ListRemove { .. }
            | KeyEffect::ListTrim { .. } => {
                let meta = staged.take(id)?;
                staged.change_list(meta, &change)?
            }
            KeyEffect::SetAdd { members } => {
                let meta = staged.take(id)?;
                let added: Vec<_> = members.iter().map(|member| (&member[..], &[][..])).collect();
                staged.put_named(meta, Kind::SetInts, &added)?
            }
            KeyEffect::SetRemove { members } => {
                let meta = staged.take(id)?;
                staged.remove_named(meta, Type::Set, &members)?
            }
            KeyEffect::HashPut { fields } => {
                let meta = staged.take(id)?;
                let added: Vec<_> = fields.iter().map(|(field, value)| (&field[..], &value[..])).collect();
                staged.put_named(meta, Kind::HashPacked, &added)?
            }
            KeyEffect::HashRemove { fields } => {
                let meta = staged.take(id)?;
                staged.remove_named(meta, Type::Hash, &fields)?
            }
            KeyEffect::ZsetPut { members } => {
                let meta = staged.take(id)?;
                let scores: Vec<_> = members.iter().map(|(_, score)| score.to_le_bytes()).collect();
                let added: Vec<_> =
                    members.iter().zip(&scores).map(|((member, _), score)| (&member[..], &score[..])).collect();
                staged.put_named(meta, Kind::ZsetPacked, &added)?
            }
            KeyEffect::ZsetRemove { members } => {
                let meta = staged.take(id)?;
                staged.remove_named(meta, Type::Zset, &members)?
            }
        };
        if let Some(meta) = changed {
            self.staged.put(id, meta);
        }
        Ok(())
    }

    /// Writes it all.
    fn finish(self) -> Result<Progress, EngineError> {
        let progress = Progress {
            applied: self.staged.index,
            next_version: self.staged.next_version,
            next_database: self.next_database,
            sealed_version: self.sealed_version,
        };
        let mut write = self.engine.rocks.begin_state_write();
        let deltas = self.write_records(&mut write);
        self.write_parts(&mut write);
        let batch = &mut write.batch;
        self.write_garbage(batch);
        let changed = self.write_counts(batch, &deltas)?;
        let group = self.engine.group;
        batch.put(layout::group_property(group, PROGRESS), progress.encode());
        if self.is_map_changed {
            batch.put(layout::group_property(group, MAP), encode_map(&self.map));
        }
        if let Some(marks) = &self.marks {
            batch.put(layout::group_property(group, MARKS), encode_marks(marks));
        }
        let new_map = self.is_map_changed.then(|| self.map.clone());
        self.engine.commit(write, progress, new_map, |databases| {
            self.flushed.iter().for_each(|db| drop(databases.counts.remove(db)));
            for ((db, slot), counts) in changed {
                databases.counts.entry(db).or_default().put(slot, counts);
            }
        })?;
        if let Some(marks) = &self.marks {
            self.engine.marks.write().clone_from(marks);
        }
        if let Some(at) = self.earliest_due() {
            let mut floor = self.engine.due_floor.lock();
            floor.at = floor.at.min(at);
            floor.changes += 1;
        }
        self.engine.garbage.fetch_add(self.staged.garbage.len() as u64, Ordering::Relaxed);
        Ok(progress)
    }

    /// The earliest expiry that was written.
    fn earliest_due(&self) -> Option<UnixMs> {
        self.staged.records.values().filter_map(|record| record.now.as_ref()?.expiry).min()
    }

    fn write_records(&self, write: &mut StateWrite<'_>) -> HashMap<Place, Delta> {
        let rocks = &self.engine.rocks;
        let (keys, due, group) = (rocks.family(KEYS), rocks.family(DUE), self.engine.group);
        let mut deltas: HashMap<Place, Delta> = HashMap::new();
        let mut value = Vec::new();
        for (id, record) in sorted(&self.staged.records) {
            write.divide();
            let batch = &mut write.batch;
            match &record.now {
                Some(meta) => {
                    value.clear();
                    meta.encode(&mut value);
                    batch.put_cf(keys, id, &value);
                }
                None if record.before.is_some() => batch.delete_cf(keys, id),
                None => {}
            }
            let key = parse_id(id);
            let (before, now) = (record.before, record.now.as_ref().map(|meta| meta.expiry));
            let (old_due, new_due) = (before.flatten(), now.flatten());
            if old_due != new_due {
                if let Some(at) = old_due {
                    batch.delete_cf(due, due_key(group, at, key.db, key.slot, key.user_key));
                }
                if let Some(at) = new_due {
                    batch.put_cf(due, due_key(group, at, key.db, key.slot, key.user_key), b"");
                }
            }
            if before.is_some() != now.is_some() || old_due.is_some() != new_due.is_some() {
                let delta = deltas.entry((key.db, key.slot)).or_default();
                delta.entries += i64::from(now.is_some()) - i64::from(before.is_some());
                delta.volatile += i64::from(new_due.is_some()) - i64::from(old_due.is_some());
            }
        }
        deltas
    }

    fn write_parts(&self, write: &mut StateWrite<'_>) {
        let (family, group) = (self.engine.rocks.family(PARTS), self.engine.group);
        let mut key = Vec::new();
        for (version, parts) in &self.staged.parts {
            let prefix = layout::version_prefix(group, *version);
            for range in &parts.dropped {
                let (start, end) = (layout::part_key(group, *version, &range.start), &range.end);
                write.batch.delete_range_cf(family, start, layout::part_key(group, *version, end));
            }
            for (name, value) in sorted(&parts.changed) {
                write.divide();
                key.clear();
                key.extend_from_slice(&prefix);
                key.extend_from_slice(name);
                let batch = &mut write.batch;
                match value {
                    Some(value) => batch.put_cf(family, &key, value),
                    None => batch.delete_cf(family, &key),
                }
            }
        }
    }

    fn write_garbage(&self, batch: &mut WriteBatch) {
        let (family, group) = (self.engine.rocks.family(GARBAGE), self.engine.group);
        for (garbage, count) in &self.staged.garbage {
            let mut value = Vec::new();
            put_varint(&mut value, *count);
            match garbage {
                Garbage::Parts(version) => batch.put_cf(family, layout::garbage_parts_key(group, *version), value),
                Garbage::Database(db) => batch.put_cf(family, layout::garbage_database_key(group, *db), value),
            }
        }
    }

    /// Writes the counts that change, and returns them. What happened in a database before it was flushed is gone.
    fn write_counts(
        &self,
        batch: &mut WriteBatch,
        deltas: &HashMap<Place, Delta>,
    ) -> Result<HashMap<Place, SlotCounts>, EngineError> {
        let databases = self.engine.databases.read();
        let mut changed = HashMap::with_capacity(deltas.len());
        for (&place, delta) in deltas.iter().filter(|((db, _), _)| !self.flushed.contains(db)) {
            let there = databases.counts.get(&place.0).map(|counts| counts.slots[usize::from(place.1.number())]);
            changed.insert(place, counts::changed(place, there.unwrap_or_default(), *delta)?);
        }
        let target = (&*self.engine.rocks, self.engine.group, self.staged.index);
        let mut journal = self.engine.journal.lock();
        journal.write(batch, target, deltas, &changed, (&databases, &self.flushed));
        Ok(changed)
    }
}

/// Kind and length of a string, or an integer.
const HEAD_BYTES_MAX: usize = 11;

/// In the order of keys: each then finds its place in the memtable near that of the one before.
fn sorted<V>(rows: &HashMap<Box<[u8]>, V>) -> impl Iterator<Item = (&[u8], &V)> {
    let mut rows: Vec<_> = rows.iter().map(|(key, value)| (beginning(key), &key[..], value)).collect();
    rows.sort_unstable_by(|(one, key, _), (other, other_key, _)| one.cmp(other).then_with(|| key.cmp(other_key)));
    rows.into_iter().map(|(_, key, value)| (key, value))
}

/// The first bytes as a number that sorts like them: most comparisons need no more, and look nowhere else.
fn beginning(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let len = key.len().min(bytes.len());
    bytes[..len].copy_from_slice(&key[..len]);
    u128::from_be_bytes(bytes)
}

impl Staged<'_> {
    /// A value as it is kept: whole if it is small.
    fn data_of(&mut self, value: &Value) -> Data {
        let bytes_max = match value {
            Value::Str(_) => STRING_BYTES_MAX,
            _ => collection_bytes_max(),
        };
        // Memory is at least as large as the bytes, so what is far too large is not encoded in vain.
        let bytes = match value {
            Value::Str(Str::Bytes(bytes, _)) => bytes.len(),
            Value::Str(Str::Shared(bytes)) => bytes.len(),
            other => other.heap_bytes(),
        };
        if bytes <= 8 * bytes_max {
            let mut body = Vec::with_capacity(bytes + HEAD_BYTES_MAX);
            put_value(&mut body, value);
            if body.len() <= bytes_max {
                return Data::Whole(body);
            }
        }
        Data::Parts(self.parts_of(value))
    }

    fn parts_of(&mut self, value: &Value) -> Large {
        let kind = Kind::of(value);
        let elements: Vec<&[u8]> = match value {
            Value::Str(Str::Bytes(bytes, _)) => return self.chunks(kind, bytes),
            Value::Str(Str::Shared(bytes)) => return self.chunks(kind, bytes),
            Value::Str(Str::Int(_)) => unreachable!("an integer is small"),
            Value::List(list) => list.iter().collect(),
            Value::Set(_) | Value::Hash(_) | Value::Zset(_) => Vec::new(),
            Value::Outline(_) => unreachable!("effects have values"),
        };
        let mut large = self.split_list(kind, &elements);
        match value {
            Value::Str(_) | Value::List(_) | Value::Outline(_) => return large,
            Value::Set(set) => {
                large.len = set.len() as u64;
                set.iter()
                    .for_each(|member| self.put_part(large.version, &layout::field_name(&member), Box::default()));
            }
            Value::Hash(hash) => {
                large.len = hash.len() as u64;
                hash.iter().for_each(|field| {
                    self.put_part(large.version, &layout::field_name(field.name()), field.value().into());
                });
            }
            Value::Zset(zset) => {
                large.len = zset.len() as u64;
                zset.iter().for_each(|(member, score)| {
                    self.put_part(large.version, &layout::field_name(member), score.to_le_bytes().into());
                });
            }
        }
        large
    }
}
