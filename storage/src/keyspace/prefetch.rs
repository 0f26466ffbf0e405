//! Bringing a pipeline's keys into the cache before they are needed.
//!
//! Finding a key touches three places that nothing connects: the slot's table, its buckets, the entry. For one command
//! that is three waits for memory, one after the other. For all commands of a pipeline the same waits can happen at
//! once: step by step, every key's next place is asked for before the first is looked at. Nothing is decided here, so a
//! stripe that is busy is passed over, and what changes in between costs time only.
//!
//! Requests in a row that name the same key are taken for requests about its members: those are prefetched too.

use super::database::SlotTable;
use super::key::{HashedKey, Key};
use super::{Keyspace, Stripe};
use crate::cache_line::prefetch;
use crate::effect::DbIndex;
use crate::entry::ValueRef;
use crate::slot::Slot;
use parking_lot::MutexGuard;

/// What an upcoming request names behind its key: two arguments, as far as there are any. One of them may be a member
/// or field.
pub type Upcoming<'a> = [Option<&'a [u8]>; 2];

impl Keyspace {
    /// Asks the processor for what finding these keys will look at. A single one has nobody to wait beside.
    pub fn prefetch(&self, db: DbIndex, keys: &[HashedKey]) {
        if keys.len() < 2 {
            return;
        }
        self.step(db, keys, |slot, _| prefetch(&raw const *slot));
        self.step(db, keys, |slot, hash| slot.table.prefetch_buckets(hash));
        self.step(db, keys, |slot, hash| slot.table.prefetch_item(hash));
    }

    #[inline]
    fn step(&self, db: DbIndex, keys: &[HashedKey], look: impl Fn(&SlotTable, u64)) {
        for key in keys {
            if let Some(stripe) = self.try_lock(key.slot)
                && let Some(slot) = slot(&stripe, db, key.slot)
            {
                look(slot, key.hash);
            }
        }
    }

    /// Asks for the members that requests about one key name; the key was asked for before.
    pub fn prefetch_members<'a>(&self, db: DbIndex, key: &Key<'_>, requests: impl Iterator<Item = Upcoming<'a>>) {
        let Some(stripe) = self.try_lock(key.slot) else { return };
        let Some(database) = stripe.databases[db.0 as usize].as_deref() else { return };
        let Some(loc) = database.find(key) else { return };
        match database.entry(key, loc).value() {
            ValueRef::Set(set) => set.prefetch(requests.filter_map(|[first, _]| first)),
            ValueRef::Hash(hash) => hash.prefetch(requests.filter_map(|[first, _]| first)),
            // ZADD's member stands behind its score; all others have it right behind the key.
            ValueRef::Zset(zset) => zset.prefetch(requests.filter_map(|[first, second]| second.or(first))),
            ValueRef::Int(_) | ValueRef::Str(_) | ValueRef::List(_) | ValueRef::Outline(_) => {}
        }
    }

    #[inline]
    fn try_lock(&self, slot: Slot) -> Option<MutexGuard<'_, Stripe>> {
        self.stripes[slot.stripe().number()].try_lock()
    }
}

#[inline]
fn slot(stripe: &Stripe, db: DbIndex, slot: Slot) -> Option<&SlotTable> {
    stripe.databases[db.0 as usize].as_deref()?.slots.slot(slot.within_stripe())
}
