//! Slots that this node stops to hold, or holds from now on, as a whole: a leader steps down, a slot moves away.
//!
//! Nothing is recorded: no entry changes for anybody, it is only no longer held here. Whoever watches a key of such a
//! slot cannot know what becomes of it, so watches fail; whoever waits for one is the server's concern.

use super::database::{Database, SlotTable};
use super::key::Key;
use super::slots::Slots;
use super::view::View;
use crate::effect::DbIndex;
use crate::slot::{Slot, StripeIndex};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

impl View<'_> {
    /// Forgets all entries of these slots, in memory and cold, in all databases, and what is known of batches on their
    /// way. Returns how many entries there were. What takes long to free is freed elsewhere.
    ///
    /// The caller has seen to it that no batch of the slots is told to be applied later.
    ///
    /// # Panics
    /// If the view does not hold their stripes.
    pub fn abandon(&mut self, slots: &[Slot]) -> u64 {
        let mut forgotten = 0;
        for (stripe, of_stripe) in by_stripe(slots) {
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

    /// Takes over all entries of these slots, of which this view has none, from another keyspace's view. Costs the same
    /// however many they are, unless others of their stripe are left there: then they are counted one by one. Returns
    /// how many.
    ///
    /// # Panics
    /// If a view does not hold their stripes, or this one has entries of them.
    pub fn adopt(&mut self, from: &mut View<'_>, slots: &[Slot]) -> u64 {
        let mut adopted = 0;
        for (stripe, of_stripe) in by_stripe(slots) {
            for db in (0..self.keyspace().databases()).map(DbIndex) {
                adopted += self.adopt_in(from, db, stripe, &of_stripe);
            }
        }
        adopted
    }

    /// Gives all entries of these slots to another keyspace's view, which has none of them: they are no longer held
    /// here, as after [`View::abandon`], but they are not gone. A dump that is just being made misses those that it has
    /// not come to.
    ///
    /// # Panics
    /// If a view does not hold their stripes, or the other one has entries of them.
    pub fn yield_to(&mut self, to: &mut View<'_>, slots: &[Slot]) -> u64 {
        for (stripe, of_stripe) in by_stripe(slots) {
            for db in (0..self.keyspace().databases()).map(DbIndex) {
                self.fail_watches(db, stripe, &of_stripe);
            }
            if let Some(pending) = self.stripe_mut(stripe).0.pending.as_deref_mut() {
                pending.forget(&of_stripe);
            }
        }
        to.adopt(self, slots)
    }

    fn adopt_in(&mut self, from: &mut View<'_>, db: DbIndex, index: StripeIndex, slots: &[Slot]) -> u64 {
        let keyspace = self.keyspace();
        let Some(mut tables) = from.detach_tables(db, index, slots) else { return 0 };
        if tables.iter().all(SlotTable::is_vacant) {
            return 0;
        }
        let source = from.stripe_mut(index).0.databases[db.0 as usize].as_deref_mut();
        let source = source.expect("tables were taken from there");
        let (stripe, _) = self.stripe_mut(index);
        let database = stripe.databases[db.0 as usize].get_or_insert_with(|| Box::new(Database::new()));
        match source.entries {
            // All that it counts is what goes.
            0 => database.sizes.add_all(&source.begin_counting_anew(), &tables),
            _ => source.sizes.pass_all(&tables, &database.sizes),
        }
        let mut adopted = 0;
        for within in slots.iter().map(|slot| slot.within_stripe()) {
            let Some(table) = tables.slot_mut(within).filter(|table| !table.is_vacant()) else { continue };
            adopted += table.table.len() as u64;
            database.take_in(within, std::mem::replace(table, SlotTable::EMPTY));
        }
        database.publish(&keyspace.counts[index.number()][db.0 as usize]);
        adopted
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
        let Some(gone) = self.detach_tables(db, index, slots) else { return 0 };
        let cold: u64 = gone.iter().map(|table| u64::from(table.cold)).sum();
        keyspace.residency().cold.fetch_sub(cold, Relaxed);
        let resident: u64 = gone.iter().map(|table| table.table.len() as u64).sum();
        let (stripe, _) = self.stripe_mut(index);
        let database = stripe.databases[db.0 as usize].as_deref_mut().expect("tables were taken from there");
        let counted_in = match database.entries {
            0 => {
                database.begin_counting_anew();
                None
            }
            _ => Some(database.sizes.clone()),
        };
        match (database.dump.as_deref(), counted_in) {
            (Some(progress), counted_in) => {
                counted_in.inspect(|sizes| sizes.take_all(&gone));
                progress.part().hand_over_tables(gone);
            }
            (None, None) => keyspace.reaper().discard_tables(gone),
            (None, Some(sizes)) => keyspace.reaper().discard_some_tables(gone, sizes),
        }
        resident + cold
    }

    /// Takes these slots of one stripe out of a database. None if there is no such database.
    fn detach_tables(&mut self, db: DbIndex, index: StripeIndex, slots: &[Slot]) -> Option<Box<Slots>> {
        let keyspace = self.keyspace();
        let (stripe, _) = self.stripe_mut(index);
        let database = stripe.databases[db.0 as usize].as_deref_mut()?;
        let mut gone = Box::new(Slots::default());
        for slot in slots {
            let within = slot.within_stripe();
            let Some(place) = database.slots.slot_mut(within) else { continue };
            let table = std::mem::replace(place, SlotTable::EMPTY);
            database.slots.release(within);
            database.entries -= table.table.len() as u64;
            database.volatile -= u64::from(table.volatile);
            database.cold -= u64::from(table.cold);
            database.cold_volatile -= u64::from(table.cold_volatile);
            *gone.make(within) = table;
        }
        database.publish(&keyspace.counts[index.number()][db.0 as usize]);
        Some(gone)
    }
}

/// The slots of each stripe.
fn by_stripe(slots: &[Slot]) -> BTreeMap<StripeIndex, Vec<Slot>> {
    let mut stripes = BTreeMap::<_, Vec<Slot>>::new();
    slots.iter().for_each(|slot| stripes.entry(slot.stripe()).or_default().push(*slot));
    stripes
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

    #[test]
    fn adopted_slots_are_as_they_were_and_their_entries_expire() {
        let (keyspace, db) = (Keyspace::new(1), DbIndex(0));
        let hidden = keyspace.beside();
        put(&keyspace, "{other}one");
        for number in 0..500i64 {
            let name = format!("{{tag}}{number}");
            let key = Key::new(name.as_bytes());
            let expiry = if number < 100 { NewExpiry::At(UnixMs(10 + number)) } else { NewExpiry::Clear };
            hidden.lock(StripeSet::ALL, UnixMs(0)).put_string(db, &key, b"value", expiry);
        }
        let slot = Slot::of_key(b"{tag}");
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(1));
        let mut from = hidden.lock(StripeSet::ALL, UnixMs(1));
        assert_eq!(view.adopt(&mut from, &[slot, Slot::of_key(b"{nothing}")]), 500);
        assert_eq!(view.adopt(&mut from, &[slot]), 0);
        drop((view, from));
        assert_eq!((keyspace.key_count(db), keyspace.volatile_count(db), hidden.key_count(db)), (501, 100, 0));
        assert_eq!(keyspace.stripe_next_due(db, slot.stripe()), UnixMs(10));
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(60));
        assert!(view.peek(db, &Key::new(b"{tag}0")).is_none() && view.peek(db, &Key::new(b"{tag}99")).is_some());
    }

    #[test]
    fn slots_that_are_given_back_are_there_and_nobody_who_watched_them_goes_on() {
        let (keyspace, db) = (Keyspace::new(1), DbIndex(0));
        let hidden = keyspace.beside();
        (0..2000).for_each(|number| put(&keyspace, &format!("key{number}")));
        let (key, flag) = (Key::new(b"key7"), WatchFlag::default());
        keyspace.lock(StripeSet::ALL, UnixMs(0)).watch(db, &key, flag.clone());
        let slots: Vec<Slot> = Slot::all().filter(|slot| *slot == key.slot || slot.number() % 2 == 0).collect();
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
        let given = view.yield_to(&mut hidden.lock(StripeSet::ALL, UnixMs(0)), &slots);
        drop(view);
        assert!(flag.is_raised());
        assert_eq!((hidden.key_count(db), keyspace.key_count(db)), (given, 2000 - given));
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
        assert!(view.peek(db, &key).is_none());
        view.adopt(&mut hidden.lock(StripeSet::ALL, UnixMs(0)), &slots);
        assert!(view.peek(db, &key).is_some());
        drop(view);
        assert_eq!((hidden.key_count(db), keyspace.key_count(db)), (0, 2000));
    }

    #[test]
    fn sizes_are_counted_where_the_slots_are() {
        let (keyspace, db) = (Keyspace::new(1), DbIndex(0));
        let hidden = keyspace.beside();
        (0..2000).for_each(|number| put(&hidden, &format!("key{number}")));
        let mut entries = 0;
        for rest in 0..3 {
            let slots: Vec<Slot> = Slot::all().filter(|slot| slot.number() % 3 == rest).collect();
            let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
            entries += view.adopt(&mut hidden.lock(StripeSet::ALL, UnixMs(0)), &slots);
            drop(view);
            let counted = |keyspace: &Keyspace| match &keyspace.size_distributions(db)[..] {
                [] => 0,
                [(Type::String, sizes)] if sizes.len() == 1 && sizes[0].0 == 4 => sizes[0].1,
                other => panic!("{other:?}"),
            };
            assert_eq!((counted(&keyspace), counted(&hidden)), (entries, 2000 - entries));
        }
        keyspace.lock(StripeSet::ALL, UnixMs(0)).abandon(&Slot::all().collect::<Vec<_>>());
        assert!(keyspace.size_distributions(db).is_empty());
    }
}
