//! Slots that this node stops to hold, or holds from now on, as a whole: a leader steps down, a slot moves away.
//!
//! Nothing is recorded: no entry changes for anybody, it is only no longer held here. Whoever watches a key of such a
//! slot cannot know what becomes of it, so watches fail; whoever waits for one is the server's concern.

use super::database::SlotTable;
use super::key::Key;
use super::slots::Slots;
use super::view::View;
use crate::effect::DbIndex;
use crate::slot::{Slot, StripeIndex};
use std::sync::atomic::Ordering::Relaxed;

impl View<'_> {
    /// Forgets all entries of these slots, in memory and cold, in all databases, and what is known of batches on their
    /// way. Returns how many entries there were. What takes long to free is freed elsewhere.
    ///
    /// The caller has seen to it that no batch of the slots is told to be applied later.
    ///
    /// # Panics
    /// If the view does not hold their stripes, or while a dump is being made of them in memory.
    pub fn abandon(&mut self, slots: &[Slot]) -> u64 {
        let mut stripes: Vec<StripeIndex> = slots.iter().map(|slot| slot.stripe()).collect();
        stripes.dedup();
        let mut forgotten = 0;
        for stripe in stripes {
            let of_stripe: Vec<Slot> = slots.iter().copied().filter(|slot| slot.stripe() == stripe).collect();
            for db in (0..self.keyspace().databases()).map(DbIndex) {
                self.fail_watches(db, stripe, &of_stripe);
                forgotten += self.abandon_in(db, stripe, &of_stripe);
            }
            if let Some(pending) = self.stripe_mut(stripe).0.pending.as_deref_mut() {
                pending.forget(&of_stripe);
            }
        }
        forgotten
    }

    fn fail_watches(&mut self, db: DbIndex, stripe: StripeIndex, slots: &[Slot]) {
        let (stripe, core) = self.stripe_mut(stripe);
        let watched: Vec<Box<[u8]>> = stripe.interests.keys_of(db).map(|(key, _)| key.into()).collect();
        for key in watched.iter().map(|bytes| Key::new(bytes)).filter(|key| slots.contains(&key.slot)) {
            core.key_changed(&mut stripe.interests, db, &key);
        }
    }

    fn abandon_in(&mut self, db: DbIndex, index: StripeIndex, slots: &[Slot]) -> u64 {
        let keyspace = self.keyspace();
        let (stripe, _) = self.stripe_mut(index);
        let Some(database) = stripe.databases[db.0 as usize].as_deref_mut() else { return 0 };
        assert!(database.dump.is_none(), "slots are not handed over while a dump is being made");
        let mut forgotten = 0;
        let mut gone = Slots::default();
        for slot in slots {
            let within = slot.within_stripe();
            let Some(place) = database.slots.slot_mut(within) else { continue };
            let table = std::mem::replace(place, SlotTable::EMPTY);
            database.slots.release(within);
            let (resident, cold) = (table.table.len() as u64, u64::from(table.cold));
            database.entries -= resident;
            database.volatile -= u64::from(table.volatile);
            database.cold -= cold;
            database.cold_volatile -= u64::from(table.cold_volatile);
            keyspace.residency().cold.fetch_sub(cold, Relaxed);
            forgotten += resident + cold;
            *gone.make(within) = table;
        }
        database.publish(&keyspace.counts[index.number()][db.0 as usize]);
        keyspace.reaper().discard_some_tables(Box::new(gone), database.sizes.clone());
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMs;
    use crate::keyspace::{Keyspace, NewExpiry, WatchFlag};
    use crate::slot::StripeSet;
    use crate::value::Type;

    fn put(keyspace: &Keyspace, key: &str) {
        let key = Key::new(key.as_bytes());
        let mut view = keyspace.lock(StripeSet::of(key.slot.stripe()), UnixMs(0));
        view.put_string(DbIndex(0), &key, b"value", NewExpiry::Clear);
    }

    #[test]
    fn abandoned_slots_are_empty_and_others_untouched() {
        let keyspace = Keyspace::new(2);
        let names: Vec<String> = (0..2000).map(|number| format!("key{number}")).collect();
        names.iter().for_each(|name| put(&keyspace, name));
        let gone: Vec<Slot> = Slot::all().filter(|slot| slot.number() % 3 == 0).collect();
        let is_gone = |name: &str| gone.contains(&Slot::of_key(name.as_bytes()));
        let (left, lost) = names.iter().partition::<Vec<_>, _>(|name| !is_gone(name));
        let flags = [&left[0], &lost[0]].map(|name| {
            let (key, flag) = (Key::new(name.as_bytes()), WatchFlag::default());
            keyspace.lock(StripeSet::of(key.slot.stripe()), UnixMs(0)).watch(DbIndex(0), &key, flag.clone());
            flag
        });
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
        assert_eq!(view.abandon(&gone), lost.len() as u64);
        assert_eq!(view.abandon(&gone), 0);
        drop(view);
        assert_eq!(flags.map(|flag| flag.is_raised()), [false, true]);
        assert_eq!(keyspace.key_count(DbIndex(0)), left.len() as u64);
        while keyspace.reaper().pending() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(keyspace.size_distributions(DbIndex(0)), [(Type::String, vec![(4, left.len() as u64)])]);
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
        for name in &names {
            assert_eq!(view.peek(DbIndex(0), &Key::new(name.as_bytes())).is_none(), is_gone(name));
        }
    }
}
