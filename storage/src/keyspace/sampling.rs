//! Drawing entries at random, and evicting: what eviction needs of the keyspace.
//!
//! A stripe is drawn by its number of keys, a slot within it likewise, and then the entries within that slot: so every
//! key has nearly the same chance, although one draw takes one lock and touches one table.

use super::Keyspace;
use super::database::{Counts, Database, SlotTable};
use super::key::Key;
use super::view::View;
use crate::effect::{Cause, DbIndex};
use crate::entry::EntryRef;
use crate::eviction::{self, Candidate, Policy, Scope};
use crate::rng::Rng;
use crate::slot::StripeIndex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Looks into a table for one entry with an expiry.
const PROBES_MAX: usize = 64;

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is gone now; evicted, or because it was due.
    Evicted,
    /// It was gone already, or is no longer a good choice.
    Spared,
}

impl Keyspace {
    /// Number of keys in memory that a policy of this scope may evict.
    pub fn evictable_count(&self, db: DbIndex, scope: Scope) -> u64 {
        self.sum(db, |counts| counts.evictable(scope))
    }

    /// A stripe of a database, drawn by the number of its keys; `None` if there are none.
    pub fn draw_stripe(&self, db: DbIndex, scope: Scope, rng: &mut Rng) -> Option<StripeIndex> {
        let count = |stripe: StripeIndex| self.counts[stripe.number()][db.0 as usize].evictable(scope).load(Relaxed);
        let total = self.evictable_count(db, scope);
        if total == 0 {
            return None;
        }
        let mut rank = rng.below(total);
        // Counts change while they are added up: whoever falls off the end takes the last stripe that has keys.
        let mut last = None;
        for stripe in StripeIndex::all() {
            let keys = count(stripe);
            if rank < keys {
                return Some(stripe);
            }
            rank -= keys;
            if keys > 0 {
                last = Some(stripe);
            }
        }
        last
    }
}

impl View<'_> {
    /// Shows up to `count` entries of a stripe that a policy of this scope may evict, drawn at random.
    pub fn draw_entries(
        &self,
        db: DbIndex,
        stripe: StripeIndex,
        scope: Scope,
        count: usize,
        rng: &mut Rng,
        mut visit: impl FnMut(EntryRef<'_>),
    ) {
        let Some(database) = self.stripe(stripe).databases[db.0 as usize].as_deref() else { return };
        let mut left = count;
        // Small slots yield less than `count`; several of them are looked at then.
        for _ in 0..count {
            let Some(slot) = database.draw_slot(scope, rng) else { return };
            left -= slot.draw(scope, left, rng, &mut visit);
            if left == 0 {
                return;
            }
        }
    }

    /// Evicts a candidate if it still asks for it as much as when it was chosen.
    pub fn evict(&mut self, candidate: &Candidate, policy: Policy) -> Fate {
        let (db, key) = (candidate.db, Key::new(&candidate.key));
        let (keyspace, now) = (self.keyspace(), self.now());
        let is_wanted = self.glance(db, &key).map(|entry| {
            let is_eligible = policy.scope == Scope::All || entry.expiry().is_some();
            is_eligible && eviction::score(policy.rank, entry, &keyspace.settings, now) >= candidate.score
        });
        if is_wanted.is_none() && self.has_key_news() {
            // It was due: that has made room as well.
            return Fate::Evicted;
        }
        let is_wanted = is_wanted == Some(true);
        if is_wanted && self.delete_for(db, &key, Cause::Evicted) { Fate::Evicted } else { Fate::Spared }
    }
}

impl Counts {
    fn evictable(&self, scope: Scope) -> &AtomicU64 {
        match scope {
            Scope::All => &self.resident,
            Scope::Volatile => &self.resident_volatile,
        }
    }
}

impl Database {
    /// A slot, drawn by the number of its entries.
    fn draw_slot(&self, scope: Scope, rng: &mut Rng) -> Option<&SlotTable> {
        let total = match scope {
            Scope::All => self.entries,
            Scope::Volatile => self.volatile,
        };
        if total == 0 {
            return None;
        }
        let mut rank = rng.below(total);
        self.slots.iter().find(|slot| {
            let entries = slot.evictable(scope);
            let is_here = rank < entries;
            rank = rank.saturating_sub(entries);
            is_here
        })
    }
}

impl SlotTable {
    fn evictable(&self, scope: Scope) -> u64 {
        match scope {
            Scope::All => self.table.len() as u64,
            Scope::Volatile => u64::from(self.volatile),
        }
    }

    /// Visits up to `count` entries: all, if there are no more; returns how many.
    fn draw(&self, scope: Scope, count: usize, rng: &mut Rng, visit: &mut impl FnMut(EntryRef<'_>)) -> usize {
        let mut visited = 0;
        let mut visit = |entry: EntryRef<'_>| {
            visited += 1;
            visit(entry);
        };
        if self.table.len() <= count {
            let wanted = |entry: &EntryRef<'_>| scope == Scope::All || entry.expiry().is_some();
            self.table.iter().for_each(|entry| Some(entry.as_ref()).filter(wanted).into_iter().for_each(&mut visit));
            return visited;
        }
        for _ in 0..count {
            let drawn = match scope {
                Scope::All => self.table.random(rng),
                Scope::Volatile => self.table.sample_marked(rng, PROBES_MAX),
            };
            if let Some(entry) = drawn {
                visit(entry.as_ref());
            }
        }
        visited
    }
}
