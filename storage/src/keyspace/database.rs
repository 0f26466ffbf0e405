//! One database's part of one stripe: a table per slot, with counts that are kept exact.

use super::dump::Progress;
use super::expiry::SweepPosition;
use super::handle::Collection;
use super::key::Key;
use super::sizes::{Class, Sizes};
use super::slots::Slots;
use crate::clock::UnixMs;
use crate::entry::{Entry, EntryRef};
use crate::table::{Loc, Mark, Table};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The entries of one slot.
pub struct SlotTable {
    pub(crate) table: Table<Entry>,
    /// How many entries have an expiry.
    pub(crate) volatile: u32,
    /// No entry is due before this; `i64::MAX` if none has an expiry.
    pub(crate) next_due: UnixMs,
    /// Entries that only the engine has, and how many of them have an expiry.
    pub(crate) cold: u32,
    pub(crate) cold_volatile: u32,
}

pub(super) const NEVER: UnixMs = UnixMs(i64::MAX);

impl SlotTable {
    pub(super) const EMPTY: SlotTable =
        SlotTable { table: Table::new(), volatile: 0, next_due: NEVER, cold: 0, cold_volatile: 0 };

    /// Whether nothing is lost with this slot's place.
    pub(super) fn is_vacant(&self) -> bool {
        self.table.is_empty() && self.cold == 0
    }
}

/// Entry counts that others read without the stripe's lock; only whoever holds the lock changes them.
pub(super) struct Counts {
    pub(super) entries: AtomicU64,
    pub(super) volatile: AtomicU64,
    pub(super) next_due: AtomicI64,
    /// Those of the entries that are in memory.
    pub(super) resident: AtomicU64,
    pub(super) resident_volatile: AtomicU64,
}

impl Default for Counts {
    fn default() -> Counts {
        let zero = || AtomicU64::new(0);
        let next_due = AtomicI64::new(NEVER.0);
        Counts { entries: zero(), volatile: zero(), next_due, resident: zero(), resident_volatile: zero() }
    }
}

/// The slots of one stripe in one database. Allocated when the first key arrives.
pub struct Database {
    pub(super) slots: Slots,
    /// Entries in memory.
    pub(super) entries: u64,
    pub(super) volatile: u64,
    /// Entries that only the engine has.
    pub(super) cold: u64,
    pub(super) cold_volatile: u64,
    /// No entry is due before this.
    pub(super) next_due: UnixMs,
    pub(super) sweep: SweepPosition,
    /// Of the entries in memory.
    pub(super) sizes: Arc<Sizes>,
    /// While a dump is being made that has not got through all entries.
    pub(super) dump: Option<Box<Progress>>,
}

impl Database {
    pub(super) fn new() -> Database {
        Database {
            slots: Slots::default(),
            entries: 0,
            volatile: 0,
            cold: 0,
            cold_volatile: 0,
            next_due: NEVER,
            sweep: SweepPosition::default(),
            sizes: Arc::new(Sizes::new()),
            dump: None,
        }
    }

    #[inline]
    pub(super) fn find(&self, key: &Key<'_>) -> Option<Loc> {
        self.slots.slot(key.slot.within_stripe())?.table.find(key.hash, key.bytes)
    }

    #[inline]
    pub(super) fn entry(&self, key: &Key<'_>, loc: Loc) -> EntryRef<'_> {
        EntryRef::of(&self.slots.at(key.slot.within_stripe()).table, loc)
    }

    /// Whether the entry is logically gone. Only entries that have an expiry are looked at.
    #[inline]
    pub(super) fn is_due(&self, key: &Key<'_>, loc: Loc, now: UnixMs) -> bool {
        let slot = self.slots.at(key.slot.within_stripe());
        slot.table.is_marked(loc) && EntryRef::of(&slot.table, loc).expiry().is_some_and(|at| at.is_due(now))
    }

    /// To be called before anything changes: lets a dump that is being made have the entry as it is.
    #[inline]
    fn before_change(&mut self, key: &Key<'_>, loc: Option<Loc>) {
        if let Some(progress) = &mut self.dump {
            let slots = &self.slots;
            let entry = loc.map(|loc| EntryRef::of(&slots.at(key.slot.within_stripe()).table, loc));
            progress.before_change(key, entry);
        }
    }

    pub(super) fn insert(&mut self, key: &Key<'_>, entry: Entry) -> Loc {
        self.before_change(key, None);
        let expiry = entry.as_ref().expiry();
        self.sizes.add(Class::of(entry.as_ref()));
        let slot = self.slots.make(key.slot.within_stripe());
        let loc = slot.table.insert_new(key.hash, entry);
        self.entries += 1;
        if expiry.is_some() {
            self.note_expiry(key, loc, expiry);
        }
        loc
    }

    /// Changes an entry in place; whatever happens to its expiry is taken into account.
    #[inline]
    pub(super) fn update<R>(&mut self, key: &Key<'_>, loc: Loc, change: impl FnOnce(&mut Entry) -> R) -> R {
        self.before_change(key, Some(loc));
        let (slot, sizes) = (self.slots.at_mut(key.slot.within_stripe()), &self.sizes);
        let (result, expiry) = slot.table.update(loc, |entry| {
            let result = sizes.change(entry, change);
            (result, entry.as_ref().expiry())
        });
        if expiry.is_some() || slot.table.is_marked(loc) {
            self.note_expiry(key, loc, expiry);
        }
        result
    }

    /// Changes the collection inside an entry; its expiry stays.
    #[inline]
    pub(super) fn update_value<R>(&mut self, key: &Key<'_>, loc: Loc, change: impl FnOnce(&mut Entry) -> R) -> R {
        self.before_change(key, Some(loc));
        let sizes = &self.sizes;
        self.slots.at_mut(key.slot.within_stripe()).table.update(loc, |entry| sizes.change(entry, change))
    }

    /// Changes the collection of a type that is known.
    #[inline]
    pub(super) fn update_collection<T: Collection, R>(
        &mut self,
        key: &Key<'_>,
        loc: Loc,
        change: impl FnOnce(&mut T) -> R,
    ) -> R {
        self.before_change(key, Some(loc));
        let sizes = &self.sizes;
        self.slots.at_mut(key.slot.within_stripe()).table.update(loc, |entry| {
            let collection = entry.collection_mut().and_then(T::of_mut);
            let collection = collection.expect("the type was checked when the handle was made");
            let before = Class::new(T::TYPE, collection.size() as u64);
            let result = change(collection);
            sizes.pass(before, Class::new(T::TYPE, collection.size() as u64));
            result
        })
    }

    /// Takes over the entries of a slot that has none, at its position in the stripe.
    pub(super) fn take_in(&mut self, within: usize, table: SlotTable) {
        let place = self.slots.make(within);
        assert!(place.is_vacant(), "a slot is taken in where it was not held");
        self.entries += table.table.len() as u64;
        self.volatile += u64::from(table.volatile);
        self.next_due = self.next_due.min(table.next_due);
        *place = table;
        if let Some(progress) = &mut self.dump {
            progress.leave_out(within);
        }
    }

    pub(super) fn remove(&mut self, key: &Key<'_>, loc: Loc) -> Entry {
        self.before_change(key, Some(loc));
        let slot = self.slots.at_mut(key.slot.within_stripe());
        if slot.table.is_marked(loc) {
            self.note_expiry(key, loc, None);
        }
        self.entries -= 1;
        let within = key.slot.within_stripe();
        let entry = self.slots.at_mut(within).table.remove(loc);
        self.sizes.take(Class::of(entry.as_ref()));
        self.slots.release(within);
        entry
    }

    /// Lets go of the counts of sizes, for a database in which nothing is left. Tables that have left before may still
    /// have to be taken off them.
    pub(super) fn begin_counting_anew(&mut self) -> Arc<Sizes> {
        assert!(self.entries == 0, "what is left is counted");
        std::mem::replace(&mut self.sizes, Arc::new(Sizes::new()))
    }

    fn note_expiry(&mut self, key: &Key<'_>, loc: Loc, expiry: Option<UnixMs>) {
        let slot = self.slots.at_mut(key.slot.within_stripe());
        match (slot.table.is_marked(loc), expiry) {
            (false, Some(_)) => {
                slot.table.mark(loc, Mark::Set);
                slot.volatile += 1;
                self.volatile += 1;
            }
            (true, None) => {
                slot.table.mark(loc, Mark::Clear);
                slot.volatile -= 1;
                self.volatile -= 1;
            }
            _ => {}
        }
        if let Some(at) = expiry {
            slot.next_due = slot.next_due.min(at);
            self.next_due = self.next_due.min(at);
        }
        if slot.volatile == 0 {
            slot.next_due = NEVER;
        }
    }

    #[inline]
    pub(super) fn publish(&self, counts: &Counts) {
        counts.entries.store(self.entries + self.cold, Ordering::Relaxed);
        counts.volatile.store(self.volatile + self.cold_volatile, Ordering::Relaxed);
        counts.resident.store(self.entries, Ordering::Relaxed);
        counts.resident_volatile.store(self.volatile, Ordering::Relaxed);
        counts.next_due.store(self.next_due.0, Ordering::Relaxed);
    }
}
