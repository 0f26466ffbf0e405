//! Bringing a pipeline's keys into the cache before they are needed.
//!
//! Finding a key touches three places that nothing connects: the slot's table, its buckets, the entry. For one command
//! that is three waits for memory, one after the other. For all commands of a pipeline the same waits can happen at
//! once: step by step, every key's next place is asked for before the first is looked at. Nothing is decided here, so a
//! stripe that is busy is passed over, and what changes in between costs time only.

use super::key::Key;
use super::{Keyspace, Stripe};
use crate::cache_line::prefetch;
use crate::effect::DbIndex;
use parking_lot::MutexGuard;

impl Keyspace {
    /// Asks the processor for what [`super::View::find`] will look at.
    pub fn prefetch<'a>(&self, db: DbIndex, keys: impl Iterator<Item = Key<'a>> + Clone) {
        for key in keys.clone() {
            self.step(&key, |stripe| {
                if let Some(database) = stripe.databases[db.0 as usize].as_deref() {
                    prefetch(&raw const database.slots[key.slot.within_stripe()]);
                }
            });
        }
        for key in keys.clone() {
            self.step(&key, |stripe| {
                if let Some(database) = stripe.databases[db.0 as usize].as_deref() {
                    database.slots[key.slot.within_stripe()].table.prefetch_buckets(key.hash);
                }
            });
        }
        for key in keys {
            self.step(&key, |stripe| {
                if let Some(database) = stripe.databases[db.0 as usize].as_deref() {
                    database.slots[key.slot.within_stripe()].table.prefetch_item(key.hash);
                }
            });
        }
    }

    #[inline]
    fn step(&self, key: &Key<'_>, look: impl FnOnce(&MutexGuard<'_, Stripe>)) {
        if let Some(stripe) = self.stripes[key.slot.stripe().number()].try_lock() {
            look(&stripe);
        }
    }
}
