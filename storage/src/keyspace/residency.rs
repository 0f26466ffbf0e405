//! Cold entries: those that the engine has and memory has not.
//!
//! A key that is not in its table is absent if its slot has no cold entries, or if it is buried (deleted in a batch
//! that the engine has not applied). Otherwise the engine is asked. What it finds becomes resident under the lock, so
//! an evaluation sees one keyspace and never knows which entries were cold.
//!
//! [`View::find`] may ask the disk itself; that is the last resort. Whoever evaluates commands calls [`View::warm`]
//! for their keys first, and has [`Loading`]s done on other threads.
//!
//! Invariants: an entry becomes cold only when its slot's last batch is applied; a loaded entry is taken only if its
//! slot has not changed since the load began; total counts do not change when entries become cold or resident.

use super::database::Database;
use super::key::Key;
use super::pending::PhysicalDb;
use super::sampling::Fate;
use super::view::View;
use super::{Keyspace, Stripe};
use crate::clock::UnixMs;
use crate::effect::DbIndex;
use crate::entry::Entry;
use crate::eviction::{self, Candidate, Policy};
use crate::seq::Seq;
use crate::slot::{Slot, StripeIndex, StripeSet};
use crate::table::Loc;
use crate::value::Value;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// How far a look into the engine may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Only what needs no disk: memtables, bloom filters, the block cache.
    Memory,
    Disk,
}

/// What the engine knows of a key.
pub enum Lookup {
    Found(Loaded),
    Absent,
    /// The answer takes a disk read, which was not allowed.
    NeedsDisk,
}

/// A cold entry's value, as the engine had it.
pub struct Loaded {
    pub value: Value,
    pub expiry: Option<UnixMs>,
}

/// An entry that the engine has, and cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored data of a key cannot be read: {0}")]
pub struct Unreadable(pub String);

/// Where cold entries come from.
pub trait ColdStore: Send + Sync {
    /// The entry of a key, as of the last batch that the engine has applied.
    fn load(&self, db: PhysicalDb, key: &Key<'_>, tier: Tier) -> Result<Lookup, Unreadable>;
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
    /// Resident copies that were dropped.
    pub cooled: AtomicU64,
}

/// A cold key on its way into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loading {
    pub db: DbIndex,
    pub key: Box<[u8]>,
    physical: PhysicalDb,
    /// The slot's last batch when the load was asked for.
    as_of: Seq,
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
    /// From now on, what is not in memory may be in `store`, with the databases under these numbers. Called once, before
    /// anything is evaluated.
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
        let mut view = self.lock(StripeSet::of(slot.stripe()), UnixMs(0));
        let (stripe, core) = view.stripe_mut(slot.stripe());
        let database = stripe.databases[db.0 as usize].get_or_insert_with(|| Box::new(Database::new()));
        let table = database.slots.make(slot.within_stripe());
        assert!(table.is_vacant(), "cold entries are counted before there are others");
        (table.cold, table.cold_volatile) = (count.entries, count.volatile);
        database.cold += u64::from(count.entries);
        database.cold_volatile += u64::from(count.volatile);
        core.keyspace.cold.stats.cold.fetch_add(u64::from(count.entries), Relaxed);
        database.publish(&core.keyspace.counts[slot.stripe().number()][db.0 as usize]);
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

    pub fn residency(&self) -> &ResidencyStats {
        &self.cold.stats
    }

    /// Reads a cold key from disk and makes it resident, unless somebody was faster. Holds no lock while it reads.
    pub fn load(&self, loading: &Loading, now: UnixMs) -> Result<(), Unreadable> {
        let key = Key::new(&loading.key);
        let store = self.cold.store.get().expect("only an engine has cold keys");
        let Lookup::Found(loaded) = store.load(loading.physical, &key, Tier::Disk)? else { return Ok(()) };
        let mut view = self.lock(StripeSet::of(key.slot.stripe()), now);
        let is_current = self.physical(loading.db) == loading.physical && view.last_of(key.slot) == loading.as_of;
        if is_current && view.is_cold(loading.db, &key) {
            view.insert_loaded(loading.db, &key, loaded);
        }
        Ok(())
    }
}

impl View<'_> {
    /// Makes a key known without the disk, if possible; else says what has to be loaded.
    pub fn warm(&mut self, db: DbIndex, key: &Key<'_>) -> Result<Option<Loading>, Unreadable> {
        if !self.is_cold(db, key) {
            return Ok(None);
        }
        let keyspace = self.keyspace();
        let store = keyspace.cold.store.get().expect("only an engine has cold keys");
        let physical = keyspace.physical(db);
        Ok(match store.load(physical, key, Tier::Memory)? {
            Lookup::Found(loaded) => {
                self.insert_loaded(db, key, loaded);
                None
            }
            Lookup::Absent => None,
            Lookup::NeedsDisk => Some(Loading { db, key: key.bytes.into(), physical, as_of: self.last_of(key.slot) }),
        })
    }

    /// Whether the engine may have an entry that memory has not.
    fn is_cold(&self, db: DbIndex, key: &Key<'_>) -> bool {
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

    /// The entry of a cold key, from disk if need be.
    fn peek_cold(&self, db: DbIndex, key: &Key<'_>) -> Option<Loaded> {
        let keyspace = self.keyspace();
        let store = keyspace.cold.store.get().expect("only an engine has cold keys");
        let physical = keyspace.physical(db);
        let mut looked = store.load(physical, key, Tier::Memory);
        if matches!(looked, Ok(Lookup::NeedsDisk)) {
            keyspace.cold.stats.loaded_in_place.fetch_add(1, Relaxed);
            looked = store.load(physical, key, Tier::Disk);
        }
        match looked {
            Ok(Lookup::Found(loaded)) => Some(loaded),
            Ok(Lookup::Absent) => None,
            Ok(Lookup::NeedsDisk) => unreachable!("the disk was allowed"),
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

    fn insert_loaded(&mut self, db: DbIndex, key: &Key<'_>, loaded: Loaded) -> Loc {
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

    /// Drops the resident copy of a candidate if the engine has the same, and if it asks for it as much as when it was
    /// chosen.
    pub fn cool(&mut self, candidate: &Candidate, policy: Policy) -> Fate {
        let (db, key) = (candidate.db, Key::new(&candidate.key));
        let now = self.now();
        if self.last_of(key.slot) > self.keyspace().applied.load() {
            return Fate::Spared;
        }
        let (Stripe { databases, .. }, core) = self.stripe_mut(key.slot.stripe());
        let Some(database) = databases[db.0 as usize].as_deref_mut() else { return Fate::Spared };
        let Some(loc) = database.find(&key) else { return Fate::Spared };
        if eviction::score(policy.rank, database.entry(&key, loc), &core.keyspace.settings, now) < candidate.score {
            return Fate::Spared;
        }
        let expiry = database.entry(&key, loc).expiry();
        // Counted first: the place of a slot must not go away in between.
        database.count_cold(key.slot, 1, expiry);
        let entry = database.remove(&key, loc);
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
