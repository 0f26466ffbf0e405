//! The active side of expiry: finds entries that are due without anybody asking for them.
//!
//! Every slot, and every stripe, knows a time before which nothing in it is due, so a sweep passes over what cannot
//! have anything for it. A slot that may have something is walked by its marks; the walk also finds out the slot's next
//! time. Where a sweep stands is kept beside the tables, under their lock: it follows them through SWAPDB and goes away
//! with them. How much is swept when is the caller's decision (the server's cron).

use super::Keyspace;
use super::database::{Database, NEVER};
use super::key::Key;
use super::sizes::Class;
use super::view::View;
use crate::clock::UnixMs;
use crate::effect::{Cause, DbIndex, KeyEffect};
use crate::entry::Entry;
use crate::slot::{SLOTS_PER_STRIPE, StripeIndex};
use crate::table::ScanCursor;
use std::sync::atomic::Ordering;

/// How far the sweep of one stripe has come.
#[derive(Default)]
pub(super) struct SweepPosition {
    /// Position of the slot within the stripe.
    slot: usize,
    cursor: ScanCursor,
}

/// What one step of a sweep has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Entries with an expiry that were looked at.
    pub examined: usize,
    /// Those of them that were due, and are gone.
    pub expired: usize,
    /// The step came to the end of the stripe.
    pub is_complete: bool,
}

impl Keyspace {
    /// A time before which nothing is due in this stripe; read without its lock.
    #[inline]
    pub fn stripe_next_due(&self, db: DbIndex, stripe: StripeIndex) -> UnixMs {
        UnixMs(self.counts[stripe.number()][db.0 as usize].next_due.load(Ordering::Relaxed))
    }
}

impl View<'_> {
    /// Goes on with the sweep of one stripe, deleting what is due, until it has walked over about `max_walked` entries
    /// or is at the end. What was deleted is then in [`View::take_news`].
    pub fn sweep_expired(&mut self, db: DbIndex, stripe: StripeIndex, max_walked: usize) -> Swept {
        let (mut swept, mut walked) = (Swept::default(), 0);
        let mut taken = Vec::new();
        while walked < max_walked && !swept.is_complete {
            let now = self.now();
            let Some(database) = self.stripe_mut(stripe).0.databases[db.0 as usize].as_deref_mut() else {
                return Swept { is_complete: true, ..swept };
            };
            let slot = database.skip_to_due(now);
            if slot == SLOTS_PER_STRIPE {
                database.end_sweep();
                swept.is_complete = true;
            } else {
                let step = database.sweep_slot(slot, now, max_walked - walked, &mut taken);
                walked += step.walked;
                swept.examined += step.examined;
                swept.expired += taken.len();
                self.account_for_expired(db, stripe, slot, &mut taken);
            }
        }
        let (guarded, core) = self.stripe_mut(stripe);
        if let Some(database) = guarded.databases[db.0 as usize].as_deref() {
            database.publish(&core.keyspace.counts[stripe.number()][db.0 as usize]);
        }
        swept
    }

    fn account_for_expired(&mut self, db: DbIndex, stripe: StripeIndex, within: usize, taken: &mut Vec<Entry>) {
        let (guarded, core) = self.stripe_mut(stripe);
        let database = guarded.databases[db.0 as usize].as_deref();
        let has_cold = database.is_some_and(|database| database.has_cold(stripe.slot(within)));
        core.keyspace.stats.expired.fetch_add(taken.len() as u64, Ordering::Relaxed);
        for entry in taken.drain(..) {
            // Nobody looks this key up any more, so its hash is of no use.
            let key = Key { bytes: entry.as_ref().key(), slot: stripe.slot(within), hash: 0 };
            core.changed(&mut guarded.interests, db, &key, || KeyEffect::Delete(Cause::Expired));
            core.note_expired(db, key.bytes);
            if has_cold && let Some(pending) = &mut guarded.pending {
                pending.bury(core.keyspace.physical(db), &key);
            }
            core.keyspace.reaper.discard(entry);
        }
    }
}

/// What a step within one slot has cost and found.
struct SlotStep {
    walked: usize,
    examined: usize,
}

impl Database {
    /// Moves the sweep to the next slot in which something may be due; [`SLOTS_PER_STRIPE`] if there is none.
    fn skip_to_due(&mut self, now: UnixMs) -> usize {
        if self.sweep.cursor == ScanCursor::START {
            let mut rest = self.slots.iter_from(self.sweep.slot);
            let due = rest.find(|(_, slot)| slot.next_due.is_due(now));
            self.sweep.slot = due.map_or(SLOTS_PER_STRIPE, |(within, _)| within);
        }
        self.sweep.slot
    }

    /// Walks over a part of a slot and moves what is due to `taken`.
    fn sweep_slot(&mut self, within: usize, now: UnixMs, max_walked: usize, taken: &mut Vec<Entry>) -> SlotStep {
        let Some(slot) = self.slots.slot_mut(within) else {
            // All that was left of it went away since the last step.
            self.sweep = SweepPosition { slot: within + 1, cursor: ScanCursor::START };
            return SlotStep { walked: 0, examined: 0 };
        };
        let from = self.sweep.cursor;
        let before = slot.table.len();
        if from == ScanCursor::START {
            // The walk finds the true time; what arrives between two steps of it lowers the time by itself.
            slot.next_due = NEVER;
        }
        let mut examined = 0;
        let mut next_due = slot.next_due;
        let is_due = |entry: &Entry| {
            examined += 1;
            let at = entry.as_ref().expiry().expect("an entry is marked if and only if it has an expiry");
            if !at.is_due(now) {
                next_due = next_due.min(at);
            }
            at.is_due(now)
        };
        let next = slot.table.take_marked(from, max_walked, is_due, taken);
        taken.iter().for_each(|entry| self.sizes.take(Class::of(entry.as_ref())));
        slot.volatile -= taken.len() as u32;
        slot.next_due = if slot.volatile == 0 { NEVER } else { next_due };
        self.volatile -= taken.len() as u64;
        self.entries -= taken.len() as u64;
        self.sweep.cursor = next;
        if next.is_end() {
            self.sweep.slot += 1;
        }
        self.slots.release(within);
        SlotStep { walked: before.clamp(1, max_walked), examined }
    }

    /// All slots have been passed, so their times together are the stripe's.
    fn end_sweep(&mut self) {
        self.sweep = SweepPosition::default();
        self.next_due = self.slots.iter().map(|slot| slot.next_due).min().unwrap_or(NEVER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::slot::StripeSet;
    use crate::value::{Str, Value};
    use std::collections::BTreeMap;

    const DB: DbIndex = DbIndex(0);

    fn put(keyspace: &Keyspace, name: &[u8], expiry: Option<UnixMs>) {
        let key = Key::new(name);
        let mut view = keyspace.lock(StripeSet::of(key.slot.stripe()), UnixMs(0));
        view.put(DB, &key, Value::Str(Str::Int(1)), expiry);
    }

    fn sweep(keyspace: &Keyspace, now: UnixMs, step: usize) -> Vec<Box<[u8]>> {
        let mut gone = Vec::new();
        for stripe in StripeIndex::all() {
            loop {
                let mut view = keyspace.lock(StripeSet::of(stripe), now);
                let swept = view.sweep_expired(DB, stripe, step);
                gone.extend(view.take_news().into_iter().map(|news| news.key));
                if swept.is_complete {
                    break;
                }
            }
        }
        gone.sort();
        gone
    }

    /// Whatever is put, put again and deleted, a sweep finds exactly what a map of expiries says is due.
    #[test]
    fn a_sweep_finds_what_is_due_and_nothing_else() {
        let keyspace = Keyspace::new(1);
        let mut rng = Rng::seeded(7);
        let mut expected: BTreeMap<Box<[u8]>, UnixMs> = BTreeMap::new();
        for now in (0..3000).step_by(100) {
            for _ in 0..300 {
                // Half of the keys share a slot, which is then walked in several steps.
                let name = match rng.below(2) {
                    0 => format!("{{tag}}{}", rng.below(400)),
                    _ => format!("key{}", rng.below(400)),
                };
                let expiry = (rng.below(3) > 0).then(|| UnixMs(now + rng.below(1000) as i64));
                put(&keyspace, name.as_bytes(), expiry);
                match expiry {
                    Some(at) => expected.insert(name.as_bytes().into(), at),
                    None => expected.remove(name.as_bytes()),
                };
            }
            let due: Vec<_> =
                expected.iter().filter(|(_, at)| at.is_due(UnixMs(now))).map(|(key, _)| key.clone()).collect();
            expected.retain(|_, at| !at.is_due(UnixMs(now)));
            assert_eq!(sweep(&keyspace, UnixMs(now), 1 + rng.below(50) as usize), due, "at {now}");
            assert_eq!(keyspace.volatile_count(DB), expected.len() as u64);
            let next = StripeIndex::all().map(|stripe| keyspace.stripe_next_due(DB, stripe)).min();
            assert!(next.is_some_and(|next| expected.values().all(|at| next <= *at)), "a key was forgotten at {now}");
        }
    }

    /// What comes due in a slot while its walk is halfway is found by the next sweep.
    #[test]
    fn an_entry_that_arrives_behind_the_sweep_is_not_forgotten() {
        let keyspace = Keyspace::new(1);
        let stripe = Key::new(b"{tag}").slot.stripe();
        for number in 0..100 {
            put(&keyspace, format!("{{tag}}{number}").as_bytes(), Some(UnixMs(10)));
        }
        let step = |now: i64| {
            let mut view = keyspace.lock(StripeSet::of(stripe), UnixMs(now));
            view.sweep_expired(DB, stripe, 10)
        };
        assert!(!step(11).is_complete);
        for number in 100..200 {
            put(&keyspace, format!("{{tag}}{number}").as_bytes(), Some(UnixMs(20)));
        }
        while !step(11).is_complete {}
        assert_eq!(keyspace.key_count(DB), 100);
        assert_eq!(keyspace.stripe_next_due(DB, stripe), UnixMs(20));
        while !step(21).is_complete {}
        assert_eq!((keyspace.key_count(DB), keyspace.stripe_next_due(DB, stripe)), (0, NEVER));
    }
}
