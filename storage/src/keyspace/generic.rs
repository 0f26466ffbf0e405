//! Changes of whole keys and whole databases.

use super::database::Database;
use super::interest::Sight;
use super::key::Key;
use super::news::Happened;
use super::view::View;
use crate::clock::UnixMs;
use crate::effect::{self, Cause, DbIndex, Effect, KeyEffect};
use crate::entry::{Entry, Stamp};
use crate::slot::{Slot, StripeIndex, StripeSet};
use crate::value::Value;
use std::sync::atomic::Ordering;

/// What was at a key that was put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Former {
    None,
    Replaced,
}

impl View<'_> {
    /// Makes `key` hold exactly this, whatever was there.
    pub fn put(&mut self, db: DbIndex, key: &Key<'_>, value: Value, expiry: Option<UnixMs>) {
        let stamp = self.core.fresh_stamp();
        if self.put_in_place(db, key, value, expiry, stamp) == Former::None {
            self.core.tell(Happened::Created, db, key);
        }
    }

    /// Deletes what is at `key` and makes a new entry, with an access stamp of one's own (COPY, RESTORE).
    pub fn put_anew(&mut self, db: DbIndex, key: &Key<'_>, value: Value, expiry: Option<UnixMs>, stamp: Stamp) {
        self.put_in_place(db, key, value, expiry, stamp);
        self.core.tell(Happened::Created, db, key);
    }

    /// Like [`View::put_anew`], but tells nobody: the entry comes from a file and is not new.
    pub fn put_loaded(&mut self, db: DbIndex, key: &Key<'_>, value: Value, expiry: Option<UnixMs>, stamp: Stamp) {
        self.put_in_place(db, key, value, expiry, stamp);
    }

    fn put_in_place(
        &mut self,
        db: DbIndex,
        key: &Key<'_>,
        value: Value,
        expiry: Option<UnixMs>,
        stamp: Stamp,
    ) -> Former {
        let recorded = self.core.is_recording().then(|| value.clone());
        let former = match self.find(db, key) {
            Some(loc) => {
                let old = self.detach(db, key, loc);
                self.keyspace().reaper().discard(old);
                Former::Replaced
            }
            None => Former::None,
        };
        self.attach(db, key, Entry::new(key.bytes, value, expiry, stamp));
        let (stripe, core) = self.stripe_mut(key.slot.stripe());
        core.key_changed(&mut stripe.interests, db, key);
        if let Some(value) = recorded {
            let change = KeyEffect::Put { value, expiry, former: effect::Former::Unknown };
            core.record_key(db, key, || change);
        }
        former
    }

    /// Deletes `key`; returns whether it was there.
    pub fn delete(&mut self, db: DbIndex, key: &Key<'_>) -> bool {
        self.delete_for(db, key, Cause::Deleted)
    }

    /// Deletes `key` because it was chosen by eviction, or was due; returns whether it was there.
    pub fn delete_for(&mut self, db: DbIndex, key: &Key<'_>, cause: Cause) -> bool {
        match self.find(db, key) {
            Some(loc) => {
                self.remove_at(db, key, loc, cause);
                true
            }
            None => false,
        }
    }

    /// Sets or removes the expiry of `key`; returns whether the key is there.
    pub fn put_expiry(&mut self, db: DbIndex, key: &Key<'_>, expiry: Option<UnixMs>) -> bool {
        let Some(loc) = self.find(db, key) else { return false };
        self.update_at(db, key, loc, || KeyEffect::SetExpiry(expiry), |entry| entry.put_expiry(expiry));
        true
    }

    /// Moves an entry to another key or database, expiry and stamp included, replacing what is there. Costs the same
    /// whatever the size of the value. Returns whether the entry was there.
    pub fn rename(&mut self, from_db: DbIndex, from: &Key<'_>, to_db: DbIndex, to: &Key<'_>) -> bool {
        let Some(loc) = self.find(from_db, from) else { return false };
        if from_db == to_db && from.bytes == to.bytes {
            return true;
        }
        let entry = self.detach(from_db, from, loc);
        let (expiry, stamp) = (entry.as_ref().expiry(), entry.as_ref().stamp());
        if let Some(loc) = self.find(to_db, to) {
            let old = self.detach(to_db, to, loc);
            self.keyspace().reaper().discard(old);
        }
        self.attach(to_db, to, Entry::new(to.bytes, entry.into_value(), expiry, stamp));
        self.core.tell(Happened::Created, to_db, to);
        for (db, key) in [(from_db, from), (to_db, to)] {
            let (stripe, core) = self.stripe_mut(key.slot.stripe());
            core.key_changed(&mut stripe.interests, db, key);
        }
        self.core.record([from.slot, to.slot], || Effect::Rename {
            from_db,
            from: from.bytes.into(),
            to_db,
            to: to.bytes.into(),
        });
        true
    }

    /// Deletes all keys of a database; returns how many there were. What was in it is freed on the reaper's thread.
    ///
    /// # Panics
    /// If the view does not hold all stripes.
    pub fn flush(&mut self, db: DbIndex) -> u64 {
        self.assert_holds_all();
        let mut removed = 0;
        for stripe in StripeIndex::all() {
            removed += self.flush_stripe(db, stripe);
        }
        if removed > 0 {
            self.keyspace().cold.renew(db);
            self.core.record(Slot::all(), || Effect::Flush { db });
        }
        removed
    }

    fn flush_stripe(&mut self, db: DbIndex, index: StripeIndex) -> u64 {
        self.load_interesting(db, index);
        let keyspace = self.keyspace();
        let counts = &keyspace.counts[index.number()][db.0 as usize];
        let (stripe, core) = self.stripe_mut(index);
        let Some(database) = stripe.databases[db.0 as usize].take() else { return 0 };
        Database::new().publish(counts);
        // Only keys that were there have changed.
        let touched: Vec<Box<[u8]>> = stripe.interests.keys_of(db).map(|(key, _)| key.into()).collect();
        for bytes in touched {
            let key = Key::new(&bytes);
            if database.find(&key).is_some_and(|loc| !database.is_due(&key, loc, core.now)) {
                core.key_changed(&mut stripe.interests, db, &key);
            }
        }
        let removed = database.entries + database.cold;
        core.add_changes(removed);
        keyspace.residency().cold.fetch_sub(database.cold, Ordering::Relaxed);
        let slots = Box::new(database.slots);
        match database.dump {
            Some(progress) => progress.hand_over_tables(slots),
            None => keyspace.reaper.discard_tables(slots),
        }
        removed
    }

    /// Lets two databases change places.
    ///
    /// # Panics
    /// If the view does not hold all stripes.
    pub fn swap_databases(&mut self, one: DbIndex, other: DbIndex) {
        self.assert_holds_all();
        if one == other {
            return;
        }
        for index in StripeIndex::all() {
            self.swap_stripe(one, other, index);
        }
        self.keyspace().cold.swap(one, other);
        self.core.record(Slot::all(), || Effect::SwapDb { one, other });
    }

    fn swap_stripe(&mut self, one: DbIndex, other: DbIndex, index: StripeIndex) {
        self.load_interesting(one, index);
        self.load_interesting(other, index);
        let keyspace = self.keyspace();
        let (stripe, core) = self.stripe_mut(index);
        stripe.databases.swap(one.0 as usize, other.0 as usize);
        for db in [one, other] {
            let counts = &keyspace.counts[index.number()][db.0 as usize];
            match stripe.databases[db.0 as usize].as_deref() {
                Some(database) => database.publish(counts),
                None => Database::new().publish(counts),
            }
        }
        for (db, before) in [(one, other), (other, one)] {
            let touched: Vec<Box<[u8]>> = stripe.interests.keys_of(db).map(|(key, _)| key.into()).collect();
            for bytes in touched {
                let key = Key::new(&bytes);
                // An entry that is due is there for nobody.
                let place = |db: DbIndex, stripe: &super::Stripe| {
                    let database = stripe.databases[db.0 as usize].as_deref();
                    let found = database.and_then(|database| database.find(&key).map(|loc| (database, loc)));
                    found.map(|(database, loc)| database.is_due(&key, loc, core.now))
                };
                let (after, before) = (place(db, stripe), place(before, stripe));
                if after == Some(false) || before == Some(false) {
                    core.key_changed(&mut stripe.interests, db, &key);
                } else {
                    let by = if after == Some(true) { Sight::Due } else { Sight::Plain };
                    stripe.interests.replaced_unseen(db, &bytes, by);
                }
            }
        }
    }

    fn assert_holds_all(&self) {
        assert!(self.stripes() == StripeSet::ALL, "changing a whole database takes all stripes");
    }
}
