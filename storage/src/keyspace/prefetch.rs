//! Bringing a pipeline's keys into the cache before they are needed.
//!
//! Finding a key touches three places that nothing connects: the slot's table, its buckets, the entry. For one command
//! that is three waits for memory, one after the other. For all commands of a pipeline the same waits can happen at
//! once: step by step, every key's next place is asked for before the first is looked at. Nothing is decided here, so a
//! stripe that is busy is passed over, and what changes in between costs time only.
//!
//! Requests in a row that name the same key are taken for requests about its members: those are prefetched instead.

use super::database::SlotTable;
use super::key::Key;
use super::{Keyspace, Stripe};
use crate::cache_line::prefetch;
use crate::effect::DbIndex;
use crate::entry::ValueRef;
use parking_lot::MutexGuard;

/// A request that is about to be evaluated.
#[derive(Clone, Copy)]
pub struct Upcoming<'a> {
    pub key: Key<'a>,
    /// The two arguments behind the key, as far as there are any: one of them may be a member or field.
    pub arguments: [Option<&'a [u8]>; 2],
}

impl Keyspace {
    /// Asks the processor for what evaluating these requests will look at.
    pub fn prefetch(&self, db: DbIndex, requests: &[Upcoming<'_>]) {
        let runs = || requests.chunk_by(|one, next| one.key.hash == next.key.hash);
        for run in runs() {
            let key = &run[0].key;
            self.step(key, |stripe| {
                if let Some(slot) = slot(stripe, db, key) {
                    prefetch(&raw const *slot);
                }
            });
        }
        for run in runs() {
            let key = &run[0].key;
            self.step(key, |stripe| {
                if let Some(slot) = slot(stripe, db, key) {
                    slot.table.prefetch_buckets(key.hash);
                }
            });
        }
        for run in runs() {
            let key = &run[0].key;
            self.step(key, |stripe| {
                if let Some(slot) = slot(stripe, db, key) {
                    slot.table.prefetch_item(key.hash);
                }
            });
        }
        for run in runs().filter(|run| run.len() > 1) {
            self.step(&run[0].key, |stripe| prefetch_members(stripe, db, run));
        }
    }

    #[inline]
    fn step(&self, key: &Key<'_>, look: impl FnOnce(&MutexGuard<'_, Stripe>)) {
        if let Some(stripe) = self.stripes[key.slot.stripe().number()].try_lock() {
            look(&stripe);
        }
    }
}

#[inline]
fn slot<'s>(stripe: &'s Stripe, db: DbIndex, key: &Key<'_>) -> Option<&'s SlotTable> {
    stripe.databases[db.0 as usize].as_deref()?.slots.slot(key.slot.within_stripe())
}

/// Asks for the members that requests about one key name.
fn prefetch_members(stripe: &Stripe, db: DbIndex, run: &[Upcoming<'_>]) {
    let Some(database) = stripe.databases[db.0 as usize].as_deref() else { return };
    let Some(loc) = database.find(&run[0].key) else { return };
    let first = run.iter().filter_map(|request| request.arguments[0]);
    match database.entry(&run[0].key, loc).value() {
        ValueRef::Set(set) => set.prefetch(first),
        ValueRef::Hash(hash) => hash.prefetch(first),
        // ZADD's member stands behind its score; all others have it right behind the key.
        ValueRef::Zset(zset) => zset.prefetch(run.iter().filter_map(|r| r.arguments[1].or(r.arguments[0]))),
        ValueRef::Int(_) | ValueRef::Str(_) | ValueRef::List(_) => {}
    }
}
