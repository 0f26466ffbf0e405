//! Reading entries: whole, or one part of a large one.
//!
//! A read sees one state, whatever is applied meanwhile: a record is one read, and parts are read together with their
//! record from a snapshot. [`Tier::Memory`] asks RocksDB for what is in memtables and block cache only; that a key is
//! absent is then mostly known from the filters.

use super::engine::Engine;
use super::layout::{
    KEYS, PARTS, PhysicalDb, VERSION_PREFIX, Version, end_of, field_name, meta_key, parse_field_name, part_key,
    position_name, position_of,
};
use super::lists::read_elements;
use super::meta::{DataRef, Large, MetaRef};
use super::open::Rocks;
use super::parts::read_named;
use super::strings::{CHUNK, read_string};
use super::{corrupt, failed};
use crate::effect::DbIndex;
use crate::effect::body::Kind;
use crate::effect::wire::{Malformed, Reader};
use crate::engine::{EngineError, Extent, Found, Loaded, Lookup, Summary, Tier};
use crate::keyspace::Key;
use crate::outline::Outline;
use crate::rdb::load::{Build, Shape};
use crate::rdb::values::{Builder, Limits};
use crate::value::{Str, StrForm, Type, Value};
use rocksdb::{DBPinnableSlice, DBRawIterator, ErrorKind, ReadOptions, ReadTier, Snapshot};

/// A large value is not assembled on a thread that must not wait, even if it is in memory.
const MEMORY_PARTS_MAX: u64 = 128;

/// A part of a value.
#[derive(Clone, Copy, Debug)]
pub enum PartName<'a> {
    /// The field of a hash, or the member of a set or sorted set.
    Named(&'a [u8]),
    /// The element of a list; negative numbers count from the end.
    Index(i64),
    /// Bytes of a string.
    Range { start: u64, len: u64 },
    /// About so many fields or members, from a hash on.
    Page { from: u32, count: usize },
}

/// What was found of a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// The value of a field, an element, a range of a string.
    Bytes(Vec<u8>),
    /// A member of a set.
    Member,
    Score(f64),
    /// Fields or members with what belongs to them, and where to go on. Those of one hash come together.
    Page {
        named: Vec<(Box<[u8]>, Part)>,
        next: Option<u32>,
    },
}

/// An entry and one part of it, if it has that.
#[derive(Clone, Debug, PartialEq)]
pub struct PartRead {
    pub summary: Summary,
    pub part: Option<Part>,
}

impl Engine {
    /// The whole entry, in the form that `limits` give it. Entries that are due are there until they are deleted.
    pub fn load(&self, db: DbIndex, key: &Key<'_>, tier: Tier, limits: &Limits) -> Result<Lookup, EngineError> {
        self.with_database(db, |physical| self.load_physical(physical, key, tier, Extent::Whole, limits))
    }

    /// Like [`Engine::load`], for a caller that knows what stands behind the database.
    pub fn load_physical(
        &self,
        db: PhysicalDb,
        key: &Key<'_>,
        tier: Tier,
        extent: Extent,
        limits: &Limits,
    ) -> Result<Lookup, EngineError> {
        self.read(db, key, tier, |meta, source| load_from(meta, source, extent, limits))
    }

    /// Type, length and expiry of an entry.
    pub fn peek(&self, db: DbIndex, key: &Key<'_>, tier: Tier) -> Result<Found<Summary>, EngineError> {
        self.with_database(db, |physical| self.peek_physical(physical, key, tier))
    }

    /// Like [`Engine::peek`], for a caller that knows what stands behind the database.
    pub fn peek_physical(&self, db: PhysicalDb, key: &Key<'_>, tier: Tier) -> Result<Found<Summary>, EngineError> {
        let id = meta_key(self.group, db, key.slot, key.bytes);
        match self.rocks.look_up(KEYS, &id, tier, None)? {
            Found::Found(bytes) => parse(&bytes)?.summary().map(Found::Found).map_err(corrupt("the record of a key")),
            Found::Absent => Ok(Found::Absent),
            Found::NeedsDisk => Ok(Found::NeedsDisk),
        }
    }

    /// One part of a value that `outline` stands for.
    pub fn part_of(&self, outline: &Outline, name: PartName<'_>, tier: Tier) -> Result<Found<Part>, EngineError> {
        Source { engine: self, snapshot: None, tier }.part_of(outline, name)
    }

    /// The value that `outline` stands for. To be called only while nobody can change it.
    pub fn value_of(&self, outline: &Outline, limits: &Limits) -> Result<Value, EngineError> {
        Source { engine: self, snapshot: None, tier: Tier::Disk }.value_of(outline, limits)
    }

    /// One part of an entry, without the rest of it. No part if the type has no parts of that name.
    pub fn part(
        &self,
        db: DbIndex,
        key: &Key<'_>,
        name: PartName<'_>,
        tier: Tier,
    ) -> Result<Found<PartRead>, EngineError> {
        self.with_database(db, |physical| self.part_physical(physical, key, name, tier))
    }

    /// Like [`Engine::part`], for a caller that knows what stands behind the database.
    pub fn part_physical(
        &self,
        db: PhysicalDb,
        key: &Key<'_>,
        name: PartName<'_>,
        tier: Tier,
    ) -> Result<Found<PartRead>, EngineError> {
        self.read(db, key, tier, |meta, source| {
            let summary = meta.summary().map_err(corrupt("the record of a key"))?;
            let part = match meta.data {
                DataRef::Whole(body) => Found::Found(part_of_whole(body, summary.value_type, name)?),
                DataRef::Parts(large) => source.part(&large, name)?,
            };
            Ok(match part {
                Found::Found(part) => Found::Found(PartRead { summary, part }),
                Found::Absent => Found::Found(PartRead { summary, part: None }),
                Found::NeedsDisk => Found::NeedsDisk,
            })
        })
    }

    /// Hands the record of a key over, together with where its parts can be read.
    fn read<T>(
        &self,
        db: PhysicalDb,
        key: &Key<'_>,
        tier: Tier,
        read: impl Fn(MetaRef<'_>, &Source<'_>) -> Result<Found<T>, EngineError>,
    ) -> Result<Found<T>, EngineError> {
        let id = meta_key(self.group, db, key.slot, key.bytes);
        let bytes = match self.rocks.look_up(KEYS, &id, tier, None)? {
            Found::Found(bytes) => bytes,
            Found::Absent => return Ok(Found::Absent),
            Found::NeedsDisk => return Ok(Found::NeedsDisk),
        };
        let meta = parse(&bytes)?;
        if let DataRef::Whole(_) = meta.data {
            return read(meta, &Source { engine: self, snapshot: None, tier });
        }
        // Again, so that record and parts are of one state.
        let snapshot = self.rocks.db.snapshot();
        match self.rocks.look_up(KEYS, &id, tier, Some(&snapshot))? {
            Found::Found(bytes) => read(parse(&bytes)?, &Source { engine: self, snapshot: Some(&snapshot), tier }),
            Found::Absent => Ok(Found::Absent),
            Found::NeedsDisk => Ok(Found::NeedsDisk),
        }
    }
}

/// Where the parts of a value are read.
pub(super) struct Source<'a> {
    pub engine: &'a Engine,
    pub snapshot: Option<&'a Snapshot<'a>>,
    pub tier: Tier,
}

/// The entry that a record tells of.
pub(super) fn load_from(
    meta: MetaRef<'_>,
    source: &Source<'_>,
    extent: Extent,
    limits: &Limits,
) -> Result<Lookup, EngineError> {
    if let (DataRef::Parts(large), Extent::Outline { above }) = (meta.data, extent)
        && is_above(&large, above)
    {
        let value = Value::Outline(Box::new(outline_of(&large)));
        return Ok(Found::Found(Loaded { value, expiry: meta.expiry }));
    }
    let is_large = matches!(meta.data, DataRef::Parts(large) if parts_count(&large) > MEMORY_PARTS_MAX);
    if is_large && source.tier == Tier::Memory {
        return Ok(Found::NeedsDisk);
    }
    let value = source.value(meta.data, limits)?;
    Ok(match value {
        Some(value) => Found::Found(Loaded { value, expiry: meta.expiry }),
        None => Found::NeedsDisk,
    })
}

impl Source<'_> {
    /// One part of a value that `outline` stands for.
    pub fn part_of(&self, outline: &Outline, name: PartName<'_>) -> Result<Found<Part>, EngineError> {
        Ok(match self.part(&large_of(outline), name)? {
            Found::Found(Some(part)) => Found::Found(part),
            Found::Found(None) | Found::Absent => Found::Absent,
            Found::NeedsDisk => Found::NeedsDisk,
        })
    }

    /// The value that `outline` stands for. Only where the disk is allowed.
    pub fn value_of(&self, outline: &Outline, limits: &Limits) -> Result<Value, EngineError> {
        Ok(self.value(DataRef::Parts(large_of(outline)), limits)?.expect("the disk was allowed"))
    }

    /// The value; none if that needs the disk and must not.
    pub fn value(&self, data: DataRef<'_>, limits: &Limits) -> Result<Option<Value>, EngineError> {
        match data {
            DataRef::Whole(body) => whole_value(body, limits).map(Some),
            DataRef::Parts(large) if large.kind.value_type() == Type::String => self.string(&large),
            DataRef::Parts(large) => self.collection(&large, limits),
        }
    }

    fn string(&self, large: &Large) -> Result<Option<Value>, EngineError> {
        let mut string = vec![0; large.len as usize];
        let mut is_sound = true;
        let is_complete = self.each_part(large, |name, chunk| {
            let place = position_of(name).and_then(|number| usize::try_from(number).ok());
            let place = place.and_then(|number| string.get_mut(number * CHUNK..)?.get_mut(..chunk.len()));
            is_sound &= place.map(|place| place.copy_from_slice(chunk)).is_some();
        })?;
        if !is_sound {
            return Err(corrupt("a string")(Malformed("a chunk lies beyond its end")));
        }
        let form = if large.kind == Kind::Plain { StrForm::Plain } else { StrForm::Modified };
        Ok(is_complete.then_some(Value::Str(Str::Bytes(string, form))))
    }

    fn collection(&self, large: &Large, limits: &Limits) -> Result<Option<Value>, EngineError> {
        let mut assembly = Assembly::new(large.kind, limits);
        let is_named = large.kind.value_type() != Type::List;
        let add = |name: &[u8], value: &[u8]| {
            let name = if is_named { parse_field_name(name).map_or(&[][..], |(_, name)| name) } else { name };
            assembly.add(name, value);
        };
        if !self.each_part(large, add)? {
            return Ok(None);
        }
        assembly.finish(large.len).map(Some).map_err(corrupt("a large collection"))
    }

    /// Visits all parts in the order of their names; false if that needs the disk and must not.
    pub fn each_part(&self, large: &Large, mut visit: impl FnMut(&[u8], &[u8])) -> Result<bool, EngineError> {
        let prefix = part_key(self.engine.group, large.version, b"");
        let mut options = self.options();
        options.set_iterate_upper_bound(end_of(&prefix));
        options.set_prefix_same_as_start(true);
        let rocks = &self.engine.rocks;
        let mut parts = rocks.db.raw_iterator_cf_opt(rocks.family(PARTS), options);
        parts.seek(&prefix);
        while let Some((key, value)) = parts.item() {
            visit(&key[VERSION_PREFIX..], value);
            parts.next();
        }
        match parts.status() {
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(false),
            status => status.map(|()| true).map_err(failed("reading a large value")),
        }
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if let Some(snapshot) = self.snapshot {
            options.set_snapshot(snapshot);
        }
        if self.tier == Tier::Memory {
            options.set_read_tier(ReadTier::BlockCache);
        }
        options
    }

    fn part(&self, large: &Large, name: PartName<'_>) -> Result<Found<Option<Part>>, EngineError> {
        let value_type = large.kind.value_type();
        let key = match (value_type, name) {
            (Type::Set | Type::Hash | Type::Zset, PartName::Named(name)) => field_name(name).to_vec(),
            (Type::List, PartName::Index(index)) => match index_of(index, large.len) {
                Some(index) => large.name(index).to_vec(),
                None => return Ok(Found::Absent),
            },
            (Type::String, PartName::Range { start, len }) => return self.range(large, start, len),
            (Type::Set | Type::Hash | Type::Zset, PartName::Page { from, count }) => {
                return self.page(large, from, count);
            }
            _ => return Ok(Found::Absent),
        };
        let key = part_key(self.engine.group, large.version, &key);
        Ok(match self.engine.rocks.look_up(PARTS, &key, self.tier, self.snapshot)? {
            Found::Found(bytes) => Found::Found(Some(part_from(value_type, &bytes)?)),
            Found::Absent => Found::Absent,
            Found::NeedsDisk => Found::NeedsDisk,
        })
    }

    fn page(&self, large: &Large, from: u32, count: usize) -> Result<Found<Option<Part>>, EngineError> {
        let prefix = part_key(self.engine.group, large.version, b"");
        let mut options = self.options();
        options.set_iterate_upper_bound(end_of(&prefix));
        options.set_prefix_same_as_start(true);
        let rocks = &self.engine.rocks;
        let mut parts = rocks.db.raw_iterator_cf_opt(rocks.family(PARTS), options);
        parts.seek(part_key(self.engine.group, large.version, &from.to_be_bytes()));
        let (mut named, mut last, mut next) = (Vec::new(), from, None);
        while let Some((key, value)) = parts.item() {
            let (hash, name) = parse_field_name(&key[VERSION_PREFIX..]).ok_or_else(|| corrupt("a part")(NO_NAME))?;
            if named.len() >= count.max(1) && hash != last {
                next = Some(hash);
                break;
            }
            last = hash;
            named.push((name.into(), part_from(large.kind.value_type(), value)?));
            parts.next();
        }
        match parts.status() {
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(Found::NeedsDisk),
            Err(error) => Err(failed("walking over a large value")(error)),
            Ok(()) => Ok(Found::Found(Some(Part::Page { named, next }))),
        }
    }

    fn range(&self, large: &Large, start: u64, len: u64) -> Result<Found<Option<Part>>, EngineError> {
        let end = start.saturating_add(len).min(large.len);
        let mut bytes = vec![0; end.saturating_sub(start) as usize];
        let chunk_bytes = CHUNK as u64;
        for number in start / chunk_bytes..end.div_ceil(chunk_bytes) {
            let key = part_key(self.engine.group, large.version, &position_name(number as i64));
            let chunk = match self.engine.rocks.look_up(PARTS, &key, self.tier, self.snapshot)? {
                Found::Found(chunk) => chunk,
                Found::Absent => continue,
                Found::NeedsDisk => return Ok(Found::NeedsDisk),
            };
            let chunk_start = number * chunk_bytes;
            let (from, to) = (start.max(chunk_start), end.min(chunk_start + chunk.len() as u64));
            if from < to {
                let part = &chunk[(from - chunk_start) as usize..(to - chunk_start) as usize];
                bytes[(from - start) as usize..][..part.len()].copy_from_slice(part);
            }
        }
        Ok(Found::Found(Some(Part::Bytes(bytes))))
    }
}

/// A collection that is put together.
struct Assembly {
    kind: Kind,
    builder: Builder,
    count: u64,
    problem: Option<Malformed>,
}

impl Assembly {
    fn new(kind: Kind, limits: &Limits) -> Assembly {
        let mut limits = *limits;
        if kind.is_large() {
            // It had left its small form, and would not go back by itself.
            limits.set.max_intset_entries = 0;
            limits.set.max_listpack_entries = 0;
            limits.hash.max_listpack_entries = 0;
            limits.zset.max_listpack_entries = 0;
        }
        let shape = match kind.value_type() {
            Type::String => Shape::String,
            Type::List => Shape::List,
            Type::Set => Shape::Set,
            Type::Hash => Shape::Hash,
            Type::Zset => Shape::Zset,
        };
        Assembly { kind, builder: Builder::start(shape, &limits), count: 0, problem: None }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        self.count += 1;
        let is_new = match self.kind.value_type() {
            Type::String => unreachable!("a string is not made of elements"),
            Type::List => {
                self.builder.list_item(value);
                Ok(())
            }
            Type::Set => self.builder.set_member(name),
            Type::Hash => self.builder.hash_field(name, value),
            Type::Zset => match Reader::new(value).score() {
                Ok(score) => self.builder.zset_member(name, score),
                Err(problem) => {
                    self.problem = Some(problem);
                    Ok(())
                }
            },
        };
        if is_new.is_err() {
            self.problem = Some(Malformed("the same member twice"));
        }
    }

    fn finish(self, len: u64) -> Result<Value, Malformed> {
        match self.problem {
            Some(problem) => Err(problem),
            None if self.count != len || len == 0 => Err(Malformed("it does not have as many elements as it says")),
            None => Ok(self.builder.finish()),
        }
    }
}

fn whole_value(body: &[u8], limits: &Limits) -> Result<Value, EngineError> {
    let mut reader = Reader::new(body);
    let kind = Kind::read(&mut reader).map_err(corrupt("the record of a key"))?;
    let mut assembly = Assembly::new(kind, limits);
    match kind.value_type() {
        Type::String => {
            return crate::effect::body::read_value(&mut Reader::new(body)).map_err(corrupt("a string"));
        }
        Type::List => read_elements(body)?.1.iter().for_each(|element| assembly.add(b"", element)),
        Type::Set | Type::Hash | Type::Zset => {
            read_named(body)?.1.iter().for_each(|(name, value)| assembly.add(name, value));
        }
    }
    let count = assembly.count;
    assembly.finish(count).map_err(corrupt("a small collection"))
}

fn part_of_whole(body: &[u8], value_type: Type, name: PartName<'_>) -> Result<Option<Part>, EngineError> {
    match (value_type, name) {
        (Type::Set | Type::Hash | Type::Zset, PartName::Named(name)) => {
            let (_, there) = read_named(body)?;
            let found = there.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| part_from(value_type, value)).transpose()
        }
        (Type::List, PartName::Index(index)) => {
            let (_, elements) = read_elements(body)?;
            let index = index_of(index, elements.len() as u64);
            Ok(index.map(|index| Part::Bytes(elements[index as usize].to_vec())))
        }
        (Type::String, PartName::Range { start, len }) => {
            let string = read_string(body).map_err(corrupt("a string"))?;
            let start = usize::try_from(start).unwrap_or(usize::MAX).min(string.len());
            let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)).min(string.len());
            Ok(Some(Part::Bytes(string[start..end].to_vec())))
        }
        _ => Ok(None),
    }
}

fn part_from(value_type: Type, bytes: &[u8]) -> Result<Part, EngineError> {
    match value_type {
        Type::Set => Ok(Part::Member),
        Type::Zset => Reader::new(bytes).score().map(Part::Score).map_err(corrupt("a score")),
        Type::String | Type::List | Type::Hash => Ok(Part::Bytes(bytes.to_vec())),
    }
}

const NO_NAME: Malformed = Malformed("it is not named like a field or member");

fn index_of(index: i64, len: u64) -> Option<u64> {
    let index = if index < 0 { len.checked_sub(index.unsigned_abs())? } else { index as u64 };
    (index < len).then_some(index)
}

/// A string is as quick to load as some elements.
const STRING_CHUNKS_MAX: u64 = 4;

fn is_above(large: &Large, above: u64) -> bool {
    let is_string = large.kind.value_type() == Type::String;
    parts_count(large) > if is_string { above.min(STRING_CHUNKS_MAX) } else { above }
}

fn outline_of(large: &Large) -> Outline {
    Outline::new(large.kind, large.version.0, large.len, large.head)
}

fn large_of(outline: &Outline) -> Large {
    Large { kind: outline.kind, version: Version(outline.version), len: outline.len, head: outline.head }
}

fn parts_count(large: &Large) -> u64 {
    if large.kind.value_type() == Type::String { large.len.div_ceil(CHUNK as u64) } else { large.len }
}

pub(super) fn parse(bytes: &[u8]) -> Result<MetaRef<'_>, EngineError> {
    MetaRef::parse(bytes).map_err(corrupt("the record of a key"))
}

impl Rocks {
    /// What is at this key.
    pub(super) fn look_up(
        &self,
        family: &str,
        key: &[u8],
        tier: Tier,
        snapshot: Option<&Snapshot<'_>>,
    ) -> Result<Found<DBPinnableSlice<'_>>, EngineError> {
        let mut options = ReadOptions::default();
        if tier == Tier::Memory {
            options.set_read_tier(ReadTier::BlockCache);
        }
        if let Some(snapshot) = snapshot {
            options.set_snapshot(snapshot);
        }
        match self.db.get_pinned_cf_opt(self.family(family), key, &options) {
            Ok(Some(bytes)) => Ok(Found::Found(bytes)),
            Ok(None) => Ok(Found::Absent),
            Err(error) if tier == Tier::Memory && error.kind() == ErrorKind::Incomplete => Ok(Found::NeedsDisk),
            Err(error) => Err(failed("reading an entry")(error)),
        }
    }

    /// All keys that begin with `prefix`; to be positioned first.
    pub(super) fn prefix_iterator(
        &self,
        family: &str,
        prefix: &[u8],
        snapshot: Option<&Snapshot<'_>>,
    ) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.set_iterate_lower_bound(prefix);
        options.set_iterate_upper_bound(end_of(prefix));
        if let Some(snapshot) = snapshot {
            options.set_snapshot(snapshot);
        }
        self.db.raw_iterator_cf_opt(self.family(family), options)
    }
}
