//! Large values of which memory knows only the outline.
//!
//! A cold entry whose value has many parts becomes resident as an outline if that is enough for the command that asks:
//! it can then be deleted, renamed, given an expiry. Single parts are read from the engine during the evaluation, from
//! what RocksDB has in memory; [`View::prepare`] finds out beforehand whether they are there, and has them read by
//! other threads if not. What wants the value as a whole, above all whatever changes it, completes the entry first.
//!
//! Invariant: what lies under an outline's version does not change while the outline is there, since a change has the
//! whole value in memory, and an entry becomes cold again only when its slot's last batch is applied.

#![expect(clippy::len_without_is_empty, reason = "nothing that is kept in parts is empty")]

use super::handle::Collection;
use super::key::Key;
use super::residency::{Cold, Loading, Unreadable, What};
use super::strings::StrRef;
use super::view::{View, WrongType};
use super::walk::Place;
use crate::effect::DbIndex;
use crate::engine::{Extent, Found, Part, PartName, Tier};
use crate::entry::{Entry, EntryRef, ValueRef};
use crate::number;
use crate::outline::Outline;
use crate::shared::SharedBytes;
use crate::slot::Slot;
use crate::table::ScanCursor;
use crate::types::{Hash, List, Set, Zset};
use crate::value::{Type, Value};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

/// Parts of a value of this many elements, or bytes.
pub type Select<'a> = &'a dyn Fn(u64) -> Option<Vec<PartName<'a>>>;

/// What a command needs of a key.
#[derive(Clone, Copy)]
pub enum Need<'a> {
    /// That it is there. It does not become resident.
    Presence,
    /// Its outline, if the value is large.
    Outline,
    /// These parts, if the value is large; all of it if none are named.
    Parts(Select<'a>),
    Value,
}

/// A collection to read, or what stands for it.
pub enum Partial<'v, T> {
    Whole(&'v T),
    Remote(Remote<'v>),
}

/// A string to read, or what stands for it.
pub enum PartialStr<'v> {
    Whole(StrRef<'v>),
    Remote(Remote<'v>),
}

/// A value whose parts are read one by one.
#[derive(Clone, Copy)]
pub struct Remote<'v> {
    slot: Slot,
    outline: &'v Outline,
    cold: &'v Cold,
}

/// Where an entry is.
pub enum Whereabouts<'v> {
    Resident(EntryRef<'v>),
    Cold,
    Nowhere,
}

impl Remote<'_> {
    pub fn len(&self) -> usize {
        self.outline.len() as usize
    }

    /// One part; from the disk if it must be, because an evaluation that has begun cannot be taken back.
    pub fn part(&self, name: PartName<'_>) -> Option<Part> {
        let store = self.cold.store();
        let mut looked = store.part(self.slot, self.outline, name, Tier::Memory);
        if matches!(looked, Ok(Found::NeedsDisk)) {
            self.cold.stats.loaded_in_place.fetch_add(1, Relaxed);
            looked = store.part(self.slot, self.outline, name, Tier::Disk);
        }
        match looked {
            Ok(Found::Found(part)) => Some(part),
            Ok(Found::Absent) => None,
            Ok(Found::NeedsDisk) => unreachable!("the disk was allowed"),
            Err(unreadable) => panic!("{unreadable}"),
        }
    }

    /// The bytes of a part that has some: an element, the value of a field, a range of a string.
    pub fn bytes(&self, name: PartName<'_>) -> Option<Vec<u8>> {
        match self.part(name)? {
            Part::Bytes(bytes) => Some(bytes),
            Part::Member | Part::Score(_) | Part::Page { .. } => None,
        }
    }
}

/// Most parts that one step of a walk looks at.
pub const PAGE_MAX: usize = 4096;

/// A collection that can be walked over in steps.
pub trait Scanned {
    /// Shows some elements in memory, each with what belongs to it.
    fn scan_table(&self, cursor: ScanCursor, count: usize, visit: &mut dyn FnMut(&[u8], Belongs<'_>)) -> ScanCursor;
}

/// What belongs to an element.
#[derive(Clone, Copy, Debug)]
pub enum Belongs<'a> {
    Nothing,
    Value(&'a [u8]),
    Score(f64),
}

impl Scanned for Set {
    fn scan_table(&self, cursor: ScanCursor, count: usize, visit: &mut dyn FnMut(&[u8], Belongs<'_>)) -> ScanCursor {
        self.scan(cursor, count, |member| visit(member, Belongs::Nothing))
    }
}

impl Scanned for Hash {
    fn scan_table(&self, cursor: ScanCursor, count: usize, visit: &mut dyn FnMut(&[u8], Belongs<'_>)) -> ScanCursor {
        self.scan(cursor, count, |name, value| visit(name, Belongs::Value(value)))
    }
}

impl Scanned for Zset {
    fn scan_table(&self, cursor: ScanCursor, count: usize, visit: &mut dyn FnMut(&[u8], Belongs<'_>)) -> ScanCursor {
        self.scan(cursor, count, |member, score| visit(member, Belongs::Score(score)))
    }
}

impl<T: Scanned> Partial<'_, T> {
    /// Visits about `count` elements from a place on, or all up to the end; returns where to go on, if it is not at the
    /// end. What is there from the first step of a walk to the last is visited at least once: if the collection came
    /// into memory or left it between two steps, the walk starts over where it is now.
    pub fn scan(&self, place: Place, count: usize, visit: &mut dyn FnMut(&[u8], Belongs<'_>)) -> Option<Place> {
        match self {
            Partial::Whole(collection) => {
                let cursor = if let Place::Table(cursor) = place { cursor } else { ScanCursor::START };
                let next = collection.scan_table(cursor, count, visit);
                (!next.is_end()).then_some(Place::Table(next))
            }
            Partial::Remote(remote) => {
                let found = remote.part(page_of(place, count));
                let Some(Part::Page { named, next }) = found else { return None };
                for (name, part) in &named {
                    match part {
                        Part::Bytes(value) => visit(name, Belongs::Value(value)),
                        Part::Score(score) => visit(name, Belongs::Score(*score)),
                        Part::Member | Part::Page { .. } => visit(name, Belongs::Nothing),
                    }
                }
                next.map(Place::Engine)
            }
        }
    }
}

/// What a step of a walk looks at, if the collection is not in memory.
pub fn page_of(place: Place, count: usize) -> PartName<'static> {
    let from = if let Place::Engine(from) = place { from } else { 0 };
    PartName::Page { from, count: count.min(PAGE_MAX) }
}

impl Partial<'_, Hash> {
    pub fn len(&self) -> usize {
        match self {
            Partial::Whole(hash) => hash.len(),
            Partial::Remote(remote) => remote.len(),
        }
    }

    /// Runs `f` on the value of a field, if the hash has it.
    #[inline]
    pub fn with_field<R>(&self, name: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        match self {
            Partial::Whole(hash) => f(hash.get(name).as_ref().map(|field| field.value())),
            Partial::Remote(remote) => f(remote.bytes(PartName::Named(name)).as_deref()),
        }
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        match self {
            Partial::Whole(hash) => hash.contains(name),
            Partial::Remote(remote) => remote.part(PartName::Named(name)).is_some(),
        }
    }

    pub fn value_len(&self, name: &[u8]) -> Option<usize> {
        match self {
            Partial::Whole(hash) => hash.value_len(name),
            Partial::Remote(remote) => remote.bytes(PartName::Named(name)).map(|value| value.len()),
        }
    }
}

impl Partial<'_, Set> {
    pub fn len(&self) -> usize {
        match self {
            Partial::Whole(set) => set.len(),
            Partial::Remote(remote) => remote.len(),
        }
    }

    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Partial::Whole(set) => set.contains(member),
            Partial::Remote(remote) => remote.part(PartName::Named(member)).is_some(),
        }
    }
}

impl Partial<'_, Zset> {
    pub fn len(&self) -> usize {
        match self {
            Partial::Whole(zset) => zset.len(),
            Partial::Remote(remote) => remote.len(),
        }
    }

    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Partial::Whole(zset) => zset.score(member),
            Partial::Remote(remote) => match remote.part(PartName::Named(member))? {
                Part::Score(score) => Some(score),
                Part::Bytes(_) | Part::Member | Part::Page { .. } => None,
            },
        }
    }
}

impl Partial<'_, List> {
    pub fn len(&self) -> usize {
        match self {
            Partial::Whole(list) => list.len(),
            Partial::Remote(remote) => remote.len(),
        }
    }

    /// Runs `f` on the element at an index, if there is one.
    #[inline]
    pub fn with_element<R>(&self, index: usize, f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        match self {
            Partial::Whole(list) => f(list.get(index)),
            Partial::Remote(remote) => f(remote.bytes(PartName::Index(index as i64)).as_deref()),
        }
    }
}

impl PartialStr<'_> {
    pub fn len(&self) -> usize {
        match self {
            PartialStr::Whole(string) => string.len(),
            PartialStr::Remote(remote) => remote.len(),
        }
    }

    /// The string, if it is in memory and may be held without being copied.
    pub fn shared(&self) -> Option<&SharedBytes> {
        match self {
            PartialStr::Whole(StrRef::Shared(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Runs `f` on the bytes of a range that lies within the string.
    #[inline]
    pub fn with_range<R>(&self, range: Range<usize>, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            PartialStr::Whole(string) => f(&string.bytes(&mut number::format_i64(0))[range]),
            PartialStr::Remote(remote) => {
                let name = PartName::Range { start: range.start as u64, len: range.len() as u64 };
                f(&remote.bytes(name).expect("the engine has all bytes of a string"))
            }
        }
    }
}

impl View<'_> {
    /// The collection at `key`, for a command that reads some parts of it: counts hit or miss.
    #[inline]
    pub fn partial<T: Collection>(&mut self, db: DbIndex, key: &Key<'_>) -> Result<Option<Partial<'_, T>>, WrongType> {
        let keyspace = self.keyspace();
        let Some(entry) = self.read_outline(db, key) else { return Ok(None) };
        match (T::of(entry.value()), entry.value()) {
            (Some(collection), _) => Ok(Some(Partial::Whole(collection))),
            (None, ValueRef::Outline(outline)) if outline.value_type() == T::TYPE => {
                Ok(Some(Partial::Remote(Remote { slot: key.slot, outline, cold: &keyspace.cold })))
            }
            _ => Err(WrongType),
        }
    }

    /// The string at `key`, for a command that reads some bytes of it: counts hit or miss.
    #[inline]
    pub fn partial_string(&mut self, db: DbIndex, key: &Key<'_>) -> Result<Option<PartialStr<'_>>, WrongType> {
        let keyspace = self.keyspace();
        let Some(entry) = self.read_outline(db, key) else { return Ok(None) };
        match entry.value() {
            ValueRef::Outline(outline) if outline.value_type() == Type::String => {
                Ok(Some(PartialStr::Remote(Remote { slot: key.slot, outline, cold: &keyspace.cold })))
            }
            _ => StrRef::of(entry).map(|string| Some(PartialStr::Whole(string))),
        }
    }

    /// Where the entry of a key is, without making it resident. What is due is nowhere.
    pub fn locate(&mut self, db: DbIndex, key: &Key<'_>) -> Whereabouts<'_> {
        if !self.is_cold(db, key) {
            return self.examine(db, key).map_or(Whereabouts::Nowhere, Whereabouts::Resident);
        }
        self.see(key.slot);
        let (cold, physical) = (&self.keyspace().cold, self.keyspace().physical(db));
        let mut looked = cold.store().summary(physical, key, Tier::Memory);
        if matches!(looked, Ok(Found::NeedsDisk)) {
            cold.stats.loaded_in_place.fetch_add(1, Relaxed);
            looked = cold.store().summary(physical, key, Tier::Disk);
        }
        let is_due = |expiry: Option<crate::clock::UnixMs>| expiry.is_some_and(|at| at.is_due(self.now()));
        let is_there = match looked {
            Ok(Found::Found(summary)) => !is_due(summary.expiry),
            Ok(Found::Absent) => false,
            Ok(Found::NeedsDisk) => unreachable!("the disk was allowed"),
            Err(unreadable) => panic!("{unreadable}"),
        };
        if is_there {
            self.count_hit();
            Whereabouts::Cold
        } else {
            self.count_miss();
            Whereabouts::Nowhere
        }
    }

    /// Has what a command needs of a key in memory, if that takes no disk; else says what has to be loaded.
    pub fn prepare(&mut self, db: DbIndex, key: &Key<'_>, need: Need<'_>) -> Result<Option<Loading>, Unreadable> {
        if self.revisit(db, key).is_some_and(|entry| !entry.is_outline()) {
            return Ok(None);
        }
        let cold = &self.keyspace().cold;
        if self.is_cold(db, key) {
            let physical = self.keyspace().physical(db);
            if let Need::Presence = need {
                let found = cold.store().summary(physical, key, Tier::Memory)?;
                let what = || What::Summary { physical };
                return Ok(matches!(found, Found::NeedsDisk).then(|| Loading::new(db, key, what())));
            }
            let extent = if let Need::Value = need { Extent::Whole } else { self.keyspace().outline_extent() };
            match cold.store().load(physical, key, Tier::Memory, extent)? {
                Found::Found(loaded) => drop(self.insert_loaded(db, key, loaded)),
                Found::Absent => return Ok(None),
                Found::NeedsDisk => {
                    let what = What::Entry { physical, extent, as_of: self.last_of(key.slot) };
                    return Ok(Some(Loading::new(db, key, what)));
                }
            }
        }
        let Some(outline) = self.outline_at(db, key) else { return Ok(None) };
        let whole = |view: &Self| {
            let (physical, as_of) = (view.keyspace().physical(db), view.last_of(key.slot));
            Ok(Some(Loading::new(db, key, What::Value { physical, as_of })))
        };
        match need {
            Need::Presence | Need::Outline => Ok(None),
            Need::Value => whole(self),
            Need::Parts(select) => {
                let Some(names) = select(outline.len()) else { return whole(self) };
                let mut missing = Vec::new();
                for name in names {
                    if let Found::NeedsDisk = cold.store().part(key.slot, outline, name, Tier::Memory)? {
                        missing.push(name.into());
                    }
                }
                Ok((!missing.is_empty())
                    .then(|| Loading::new(db, key, What::Parts { outline: outline.clone(), names: missing })))
            }
        }
    }

    /// The outline of a key that memory has no more of.
    pub(super) fn outline_at(&self, db: DbIndex, key: &Key<'_>) -> Option<&Outline> {
        match self.revisit(db, key)?.value() {
            ValueRef::Outline(outline) => Some(outline),
            _ => None,
        }
    }

    /// Puts the value where its outline was, reading it here and now: the last resort.
    #[cold]
    pub(super) fn complete(&mut self, db: DbIndex, key: &Key<'_>) {
        let Some(outline) = self.outline_at(db, key) else { return };
        let cold = &self.keyspace().cold;
        cold.stats.loaded_in_place.fetch_add(1, Relaxed);
        match cold.store().value(key.slot, outline) {
            Ok(value) => self.put_completed(db, key, value),
            // An evaluation that has begun can neither go on without the value nor be taken back.
            Err(unreadable) => panic!("{unreadable}"),
        }
    }

    /// Puts the value where its outline was.
    pub(super) fn put_completed(&mut self, db: DbIndex, key: &Key<'_>, value: Value) {
        let (stripe, core) = self.stripe_mut(key.slot.stripe());
        let database = stripe.databases[db.0 as usize].as_deref_mut().expect("an entry was found in this database");
        let loc = database.find(key).expect("its outline was just looked at");
        database.update_value(key, loc, |entry| {
            let (expiry, stamp) = (entry.as_ref().expiry(), entry.as_ref().stamp());
            *entry = Entry::new(key.bytes, value, expiry, stamp);
        });
        core.keyspace.cold.stats.loaded.fetch_add(1, Relaxed);
    }
}
