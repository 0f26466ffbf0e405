//! Cold entries: those that the engine has and memory has not.
//!
//! A key that is not in its table is absent if its slot has no cold entries, or if it is buried (deleted in a batch
//! that the engine has not applied). Otherwise the engine is asked. What it finds becomes resident under the lock, so
//! an evaluation sees one keyspace and never knows which entries were cold.
//!
//! [`View::find`] may ask the disk itself; that is the last resort. Whoever evaluates commands calls [`View::prepare`]
//! for their keys first, and has [`Loading`]s done on other threads.
//!
//! Invariants: an entry becomes cold only when its slot's last batch is applied; a loaded entry is taken only if its
//! slot has not changed since the load began; total counts do not change when entries become cold or resident.

use super::database::Database;
use super::key::Key;
use super::sampling::Fate;
use super::view::View;
use super::walk::{Drawn, Met, Place};
use super::{Keyspace, Stripe};
use crate::clock::UnixMs;
use crate::effect::DbIndex;
use crate::engine::rocks::key_hash;
use crate::engine::{Extent, Found, Loaded, Lookup, Part, PartName, PhysicalDb, Summary, Tier};
use crate::entry::Entry;
use crate::eviction::{self, Candidate, Policy};
use crate::outline::Outline;
use crate::rng::Rng;
use crate::seq::Seq;
use crate::slot::{Slot, StripeIndex, StripeSet};
use crate::table::Loc;
use crate::value::{Type, Value};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// An entry that the engine has, and cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored data of a key cannot be read: {0}")]
pub struct Unreadable(pub String);

/// What a walk through the engine shows of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub key: &'a [u8],
    pub value_type: Type,
    pub expiry: Option<UnixMs>,
}

/// Where cold entries come from.
pub trait ColdStore: Send + Sync {
    /// The entry of a key, as of the last batch that the engine has applied.
    fn load(&self, db: PhysicalDb, key: &Key<'_>, tier: Tier, extent: Extent) -> Result<Lookup, Unreadable>;

    /// Type, length and expiry of the entry of a key.
    fn summary(&self, db: PhysicalDb, key: &Key<'_>, tier: Tier) -> Result<Found<Summary>, Unreadable>;

    /// A part of a value of this slot that was loaded as an outline.
    fn part(&self, slot: Slot, outline: &Outline, name: PartName<'_>, tier: Tier) -> Result<Found<Part>, Unreadable>;

    /// All of it, from disk if need be. Nothing changes it meanwhile.
    fn value(&self, slot: Slot, outline: &Outline) -> Result<Value, Unreadable>;

    /// Shows about `count` keys of a slot in the order of [`key_hash`], from a hash on; returns where to go on, if the
    /// slot is not at its end. Keys of one hash are shown together.
    fn walk_slot(
        &self,
        db: PhysicalDb,
        slot: Slot,
        from: u32,
        count: usize,
        visit: &mut dyn FnMut(Stored<'_>),
    ) -> Result<Option<u32>, Unreadable>;
}

/// Number of cold entries of a slot, and how many of them have an expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColdCount {
    pub entries: u32,
    pub volatile: u32,
}

/// The engine's side of the keyspace.
pub(super) struct Cold {
    store: OnceLock<Arc<dyn ColdStore>>,
    physical: Box<[AtomicU32]>,
    next_physical: AtomicU32,
    pub(super) stats: ResidencyStats,
}

/// What INFO shows of residency.
#[derive(Default)]
pub struct ResidencyStats {
    /// Cold entries in all databases.
    pub cold: AtomicU64,
    /// Entries that became resident.
    pub loaded: AtomicU64,
    /// Those of them that were read from disk in the middle of an evaluation.
    pub loaded_in_place: AtomicU64,
    /// Keys that commands which only read had to wait for.
    pub awaited_by_reads: AtomicU64,
    /// Resident copies that were dropped.
    pub cooled: AtomicU64,
}

/// What has to be read from disk for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loading {
    pub db: DbIndex,
    pub key: Box<[u8]>,
    what: What,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The entry, to become resident. `as_of` is the slot's last batch when it was asked for.
    Entry { physical: PhysicalDb, extent: Extent, as_of: Seq },
    /// The value of an entry that has an outline.
    Value { physical: PhysicalDb, as_of: Seq },
    /// The record of the key, so that the engine has it in its memory.
    Summary { physical: PhysicalDb },
    /// Parts of a value, so that the engine has them in its memory.
    Parts { outline: Outline, names: Vec<OwnedName> },
}

/// A [`PartName`] that outlives the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum OwnedName {
    Named(Box<[u8]>),
    Index(i64),
    Range { start: u64, len: u64 },
    Page { from: u32, count: usize },
}

impl From<PartName<'_>> for OwnedName {
    fn from(name: PartName<'_>) -> OwnedName {
        match name {
            PartName::Named(name) => OwnedName::Named(name.into()),
            PartName::Index(index) => OwnedName::Index(index),
            PartName::Range { start, len } => OwnedName::Range { start, len },
            PartName::Page { from, count } => OwnedName::Page { from, count },
        }
    }
}

impl OwnedName {
    fn borrow(&self) -> PartName<'_> {
        match self {
            OwnedName::Named(name) => PartName::Named(name),
            OwnedName::Index(index) => PartName::Index(*index),
            OwnedName::Range { start, len } => PartName::Range { start: *start, len: *len },
            OwnedName::Page { from, count } => PartName::Page { from: *from, count: *count },
        }
    }
}

impl Loading {
    pub(super) fn new(db: DbIndex, key: &Key<'_>, what: What) -> Loading {
        Loading { db, key: key.bytes.into(), what }
    }

    /// The batch that the engine should have applied before the read, if it has not: an entry that was renamed is
    /// elsewhere until then.
    pub fn awaited(&self, keyspace: &Keyspace) -> Option<Seq> {
        match self.what {
            What::Value { as_of, .. } => Some(as_of).filter(|seq| *seq > keyspace.applied.load()),
            What::Entry { .. } | What::Summary { .. } | What::Parts { .. } => None,
        }
    }
}

impl Cold {
    pub(super) fn new(databases: u16) -> Cold {
        Cold {
            store: OnceLock::new(),
            physical: (0..u32::from(databases)).map(AtomicU32::new).collect(),
            next_physical: AtomicU32::new(u32::from(databases)),
            stats: ResidencyStats::default(),
        }
    }

    pub(super) fn store(&self) -> &dyn ColdStore {
        &**self.store.get().expect("only an engine has cold keys")
    }

    /// The database was emptied: what the engine has of it lies under the old number. Called under all locks, and the
    /// engine counts alike when it applies the flush.
    pub(super) fn renew(&self, db: DbIndex) {
        self.physical[db.0 as usize].store(self.next_physical.fetch_add(1, Relaxed), Relaxed);
    }

    /// Called under all locks.
    pub(super) fn swap(&self, one: DbIndex, other: DbIndex) {
        let (one, other) = (&self.physical[one.0 as usize], &self.physical[other.0 as usize]);
        let moved = one.load(Relaxed);
        one.store(other.load(Relaxed), Relaxed);
        other.store(moved, Relaxed);
    }
}

impl Keyspace {
    /// From now on, what is not in memory may be in `store`, with the databases under these numbers. Called once,
    /// before anything is evaluated.
    pub fn read_through(&self, store: Arc<dyn ColdStore>, physical: &[PhysicalDb], next: PhysicalDb) {
        assert!(self.cold.store.set(store).is_ok(), "there is one engine");
        assert_eq!(physical.len(), self.cold.physical.len(), "every database has a number");
        for (place, number) in self.cold.physical.iter().zip(physical) {
            place.store(number.0, Relaxed);
        }
        self.cold.next_physical.store(next.0, Relaxed);
    }

    /// The engine has these entries of a slot, none of which is in memory.
    pub fn note_cold(&self, db: DbIndex, slot: Slot, count: ColdCount) {
        self.lock(StripeSet::of(slot.stripe()), UnixMs(0)).note_cold(db, slot, count);
    }
    /// The number under which the engine has a database. Steady while a stripe is locked.
    pub fn physical(&self, db: DbIndex) -> PhysicalDb {
        PhysicalDb(self.cold.physical[db.0 as usize].load(Relaxed))
    }

    /// Whether there are cold entries at all.
    #[inline]
    pub fn has_cold(&self) -> bool {
        self.cold.stats.cold.load(Relaxed) != 0
    }

    /// Whether all values are in memory, so that nobody need look for what is missing.
    #[inline]
    pub fn is_whole(&self) -> bool {
        !self.has_cold() && (Outline::alive() == 0 || self.cold.store.get().is_none())
    }

    /// Reads from disk what a walk from this place on will look at, so that it finds that in memory. Holds no lock.
    pub fn read_ahead(&self, db: DbIndex, slot: Slot, place: Place, count: usize) -> Result<(), Unreadable> {
        let from = match place {
            Place::Engine(from) => from,
            Place::Table(_) => 0,
        };
        let is_cold = |db: DbIndex| self.lock(StripeSet::of(slot.stripe()), UnixMs(0)).is_partly_cold(db, slot);
        if self.has_cold() && is_cold(db) {
            self.cold.store().walk_slot(self.physical(db), slot, from, count, &mut |_| {})?;
        }
        Ok(())
    }

    /// For whoever can do with an outline.
    pub(super) fn outline_extent(&self) -> Extent {
        Extent::Outline { above: self.settings.outline_above.load(Relaxed) as u64 }
    }

    pub fn residency(&self) -> &ResidencyStats {
        &self.cold.stats
    }

    /// Reads what is asked for from disk, and makes an entry resident unless somebody was faster. Holds no lock while
    /// it reads.
    pub fn load(&self, loading: &Loading, now: UnixMs) -> Result<(), Unreadable> {
        let key = Key::new(&loading.key);
        let store = self.cold.store();
        let (physical, extent, as_of) = match &loading.what {
            What::Summary { physical } => return store.summary(*physical, &key, Tier::Disk).map(drop),
            What::Parts { outline, names } => {
                return names
                    .iter()
                    .try_for_each(|name| store.part(key.slot, outline, name.borrow(), Tier::Disk).map(drop));
            }
            What::Entry { physical, extent, as_of } => (*physical, *extent, *as_of),
            // The entry may have come here by a rename that the engine does not know of yet.
            What::Value { as_of, .. } if self.applied.load() < *as_of => return Ok(()),
            What::Value { physical, as_of } => (*physical, Extent::Whole, *as_of),
        };
        let Found::Found(loaded) = store.load(physical, &key, Tier::Disk, extent)? else { return Ok(()) };
        let mut view = self.lock(StripeSet::of(key.slot.stripe()), now);
        if self.physical(loading.db) != physical || view.last_of(key.slot) != as_of {
            return Ok(());
        }
        if view.is_cold(loading.db, &key) {
            view.insert_loaded(loading.db, &key, loaded);
        } else if matches!(loading.what, What::Value { .. }) && view.outline_at(loading.db, &key).is_some() {
            view.put_completed(loading.db, &key, loaded.value);
        }
        Ok(())
    }
}

impl View<'_> {
    /// The engine has these entries of a slot, none of which is in memory.
    pub fn note_cold(&mut self, db: DbIndex, slot: Slot, count: ColdCount) {
        let (stripe, core) = self.stripe_mut(slot.stripe());
        let database = stripe.databases[db.0 as usize].get_or_insert_with(|| Box::new(Database::new()));
        let table = database.slots.make(slot.within_stripe());
        assert!(table.is_vacant(), "cold entries are counted before there are others");
        (table.cold, table.cold_volatile) = (count.entries, count.volatile);
        database.cold += u64::from(count.entries);
        database.cold_volatile += u64::from(count.volatile);
        core.keyspace.cold.stats.cold.fetch_add(u64::from(count.entries), Relaxed);
        database.publish(&core.keyspace.counts[slot.stripe().number()][db.0 as usize]);
    }

    /// Whether the engine may have an entry that memory has not.
    pub(super) fn is_cold(&self, db: DbIndex, key: &Key<'_>) -> bool {
        let stripe = self.stripe(key.slot.stripe());
        let Some(database) = stripe.databases[db.0 as usize].as_deref() else { return false };
        if !database.has_cold(key.slot) || database.find(key).is_some() {
            return false;
        }
        let keyspace = self.keyspace();
        let pending = stripe.pending.as_ref().expect("cold keys are those of a keyspace that records");
        !pending.is_buried(keyspace.physical(db), key, keyspace.applied.load())
    }

    /// Finds a key that is not in its table, by way of the engine.
    #[cold]
    pub(super) fn find_cold(&mut self, db: DbIndex, key: &Key<'_>) -> Option<Loc> {
        if !self.is_cold(db, key) {
            return None;
        }
        let loaded = self.peek_cold(db, key)?;
        let loc = self.insert_loaded(db, key, loaded);
        self.unless_due(db, key, loc)
    }

    /// The entry of a cold key, from disk if need be; the outline of a large value.
    fn peek_cold(&self, db: DbIndex, key: &Key<'_>) -> Option<Loaded> {
        let keyspace = self.keyspace();
        let (store, physical, extent) = (keyspace.cold.store(), keyspace.physical(db), keyspace.outline_extent());
        let mut looked = store.load(physical, key, Tier::Memory, extent);
        if matches!(looked, Ok(Found::NeedsDisk)) {
            keyspace.cold.stats.loaded_in_place.fetch_add(1, Relaxed);
            looked = store.load(physical, key, Tier::Disk, extent);
        }
        match looked {
            Ok(Found::Found(loaded)) => Some(loaded),
            Ok(Found::Absent) => None,
            Ok(Found::NeedsDisk) => unreachable!("the disk was allowed"),
            // An evaluation that has begun can neither go on without the entry nor be taken back.
            Err(unreadable) => panic!("{unreadable}"),
        }
    }

    /// Whether a cold key is due.
    pub(super) fn is_cold_due(&self, db: DbIndex, key: &Key<'_>) -> bool {
        let due = |loaded: Loaded| loaded.expiry.is_some_and(|at| at.is_due(self.now()));
        self.is_cold(db, key) && self.peek_cold(db, key).is_some_and(due)
    }

    /// Makes the keys of one stripe resident that somebody watches or waits for: what happens to a whole database has
    /// to know whether they are there.
    pub(super) fn load_interesting(&mut self, db: DbIndex, stripe: StripeIndex) {
        if !self.keyspace().has_cold() {
            return;
        }
        let interesting: Vec<Box<[u8]>> =
            self.stripe(stripe).interests.keys_of(db).map(|(key, _)| key.into()).collect();
        for bytes in interesting {
            let key = Key::new(&bytes);
            if self.is_cold(db, &key)
                && let Some(loaded) = self.peek_cold(db, &key)
            {
                self.insert_loaded(db, &key, loaded);
            }
        }
    }

    pub(super) fn insert_loaded(&mut self, db: DbIndex, key: &Key<'_>, loaded: Loaded) -> Loc {
        let Loaded { value, expiry } = loaded;
        let entry = Entry::new(key.bytes, value, expiry, self.core.fresh_stamp());
        let (Stripe { databases, .. }, core) = self.stripe_mut(key.slot.stripe());
        let database = databases[db.0 as usize].as_deref_mut().expect("a slot with cold entries has a database");
        let loc = database.insert(key, entry);
        database.count_cold(key.slot, -1, expiry);
        database.publish(&core.keyspace.counts[key.slot.stripe().number()][db.0 as usize]);
        let stats = &core.keyspace.cold.stats;
        stats.cold.fetch_sub(1, Relaxed);
        stats.loaded.fetch_add(1, Relaxed);
        loc
    }

    /// Shows about `count` keys of a slot that has cold entries, from a hash on; returns where to go on.
    ///
    /// While batches of the slot are on their way to the engine, its resident entries of the same range are looked at
    /// too: all of them at each call, which is much only in a slot that is as large as it is busy.
    pub(super) fn walk_cold_slot(
        &self,
        db: DbIndex,
        slot: Slot,
        from: u32,
        count: usize,
        mut visit: impl FnMut(Met<'_>),
    ) -> Result<Option<u32>, Unreadable> {
        let keyspace = self.keyspace();
        let store = keyspace.cold.store();
        let applied = keyspace.applied.load();
        let stripe = self.stripe(slot.stripe());
        let pending = stripe.pending.as_ref().expect("cold keys are those of a keyspace that records");
        let is_dirty = pending.last_of(slot) > applied;
        let database = stripe.databases[db.0 as usize].as_deref();
        let physical = keyspace.physical(db);
        let is_due = |expiry: Option<UnixMs>| expiry.is_some_and(|at| at.is_due(self.now()));
        let next = store.walk_slot(physical, slot, from, count, &mut |stored| {
            let Stored { key: bytes, value_type, expiry } = stored;
            let key = Key::new(bytes);
            let is_in_table = || database.is_some_and(|database| database.find(&key).is_some());
            if pending.is_buried(physical, &key, applied) || is_dirty && is_in_table() {
                return;
            }
            visit(Met { key: bytes, value_type, is_due: is_due(expiry) });
        })?;
        if is_dirty && let Some(table) = database.and_then(|database| database.slots.slot(slot.within_stripe())) {
            let is_in_range = |key: &[u8]| (from..next.unwrap_or(u32::MAX)).contains(&key_hash(key));
            let is_last = |key: &[u8]| next.is_none() && key_hash(key) == u32::MAX;
            table.table.iter().for_each(|entry| {
                let met = Met::of(entry.as_ref(), self.now());
                if is_in_range(met.key) || is_last(met.key) {
                    visit(met);
                }
            });
        }
        Ok(next)
    }

    /// Any cold key of a stripe: one behind a hash that is drawn, in a slot that is drawn by the number of cold entries
    /// before it.
    pub(super) fn random_cold_place(&self, db: DbIndex, stripe: StripeIndex, rng: &mut Rng) -> Option<Drawn> {
        let database = self.stripe(stripe).databases[db.0 as usize].as_deref()?;
        let mut rank = database.cold.checked_sub(1).map(|last| rng.below(last + 1))?;
        let slot = stripe.slots().find(|slot| {
            let cold = database.slots.slot(slot.within_stripe()).map_or(0, |table| u64::from(table.cold));
            let is_here = rank < cold;
            rank = rank.saturating_sub(cold);
            is_here
        })?;
        Some(Drawn::Cold { slot, from: rng.below(1 << 32) as u32 })
    }

    /// Drops the resident copy of a candidate if the engine has the same, and if it asks for it as much as when it was
    /// chosen.
    pub fn cool(&mut self, candidate: &Candidate, policy: Policy) -> Fate {
        let (db, key) = (candidate.db, Key::new(&candidate.key));
        let score = |entry| eviction::score(policy.rank, entry, &self.keyspace().settings, self.now());
        let is_wanted = self.revisit(db, &key).is_some_and(|entry| score(entry) >= candidate.score);
        if is_wanted { self.drop_copy(db, &key) } else { Fate::Spared }
    }

    /// Drops all resident copies that the engine has as well, of all databases, in the stripes that the view holds.
    pub fn cool_all(&mut self) {
        for db in (0..self.keyspace().databases()).map(DbIndex) {
            let mut keys: Vec<Box<[u8]>> = Vec::new();
            self.for_each_entry(db, |entry| keys.push(entry.key().into()));
            for key in keys {
                self.drop_copy(db, &Key::new(&key));
            }
        }
    }

    /// Makes all entries of a database resident that are in the stripes that the view holds. For debugging: they may be
    /// more than fits.
    pub fn load_all(&mut self, db: DbIndex) -> Result<(), Unreadable> {
        for slot in self.stripes().iter().flat_map(StripeIndex::slots) {
            let mut keys: Vec<Box<[u8]>> = Vec::new();
            let mut from = self.is_partly_cold(db, slot).then_some(0);
            while let Some(hash) = from {
                from = self.walk_cold_slot(db, slot, hash, usize::MAX, |met| keys.push(met.key.into()))?;
            }
            for bytes in keys {
                let key = Key::new(&bytes);
                if self.is_cold(db, &key)
                    && let Some(loaded) = self.peek_cold(db, &key)
                {
                    self.insert_loaded(db, &key, loaded);
                }
            }
        }
        let mut outlines: Vec<Box<[u8]>> = Vec::new();
        self.for_each_entry(db, |entry| {
            if entry.is_outline() {
                outlines.push(entry.key().into());
            }
        });
        for bytes in outlines {
            self.complete(db, &Key::new(&bytes));
        }
        Ok(())
    }

    fn is_partly_cold(&self, db: DbIndex, slot: Slot) -> bool {
        self.stripe(slot.stripe()).databases[db.0 as usize].as_deref().is_some_and(|database| database.has_cold(slot))
    }

    fn drop_copy(&mut self, db: DbIndex, key: &Key<'_>) -> Fate {
        let is_changing = self.core.changes_slot(key.slot);
        if is_changing || self.last_of(key.slot) > self.keyspace().applied.load() {
            return Fate::Spared;
        }
        let (Stripe { databases, .. }, core) = self.stripe_mut(key.slot.stripe());
        let Some(database) = databases[db.0 as usize].as_deref_mut() else { return Fate::Spared };
        let Some(loc) = database.find(key) else { return Fate::Spared };
        let expiry = database.entry(key, loc).expiry();
        // Counted first: the place of a slot must not go away in between.
        database.count_cold(key.slot, 1, expiry);
        let entry = database.remove(key, loc);
        database.publish(&core.keyspace.counts[key.slot.stripe().number()][db.0 as usize]);
        let stats = &core.keyspace.cold.stats;
        stats.cold.fetch_add(1, Relaxed);
        stats.cooled.fetch_add(1, Relaxed);
        core.keyspace.reaper().discard(entry);
        Fate::Evicted
    }

    /// The last batch that changed something in a slot.
    pub fn last_of(&self, slot: Slot) -> Seq {
        self.stripe(slot.stripe()).pending.as_ref().map_or(Seq::NONE, |pending| pending.last_of(slot))
    }
}

impl Database {
    #[inline]
    pub(super) fn has_cold(&self, slot: Slot) -> bool {
        self.cold != 0 && self.slots.slot(slot.within_stripe()).is_some_and(|table| table.cold != 0)
    }

    /// An entry with this expiry became cold (1) or resident (-1).
    fn count_cold(&mut self, slot: Slot, change: i32, expiry: Option<UnixMs>) {
        let volatile = if expiry.is_some() { change } else { 0 };
        let table = self.slots.at_mut(slot.within_stripe());
        table.cold = table.cold.checked_add_signed(change).expect("cold entries are counted exactly");
        table.cold_volatile = table.cold_volatile.checked_add_signed(volatile).expect("and those with an expiry");
        self.cold = self.cold.checked_add_signed(change.into()).expect("a stripe has as many as its slots");
        self.cold_volatile = self.cold_volatile.checked_add_signed(volatile.into()).expect("as many as its slots");
    }
}
