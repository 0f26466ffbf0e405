//! Effects back into changes: how followers, restarts and migrations build the same data.

use super::Keyspace;
use super::key::Key;
use super::strings::NewExpiry;
use super::view::View;
use super::walk::Place;
use crate::clock::UnixMs;
use crate::effect::{Batch, Cause, DbIndex, Effect, KeyEffect};
use crate::engine::key_hash;
use crate::slot::{Slot, StripeSet};
use crate::types::{Hash, List, Set, Zset};
use crate::value::{Str, Value};

impl Keyspace {
    /// Applies a batch whole: all its stripes are locked before its first effect.
    ///
    /// # Panics
    /// If an effect does not fit the data it meets: this replica has then diverged and must not go on.
    pub fn apply(&self, batch: Batch, now: UnixMs) {
        let stripes = batch.iter().map(Effect::stripes).fold(StripeSet::EMPTY, StripeSet::union);
        let mut view = View::open_to_apply(self, stripes, now);
        for effect in batch {
            view.apply(effect);
        }
    }
}

impl Effect {
    /// The stripes that applying the effect needs.
    fn stripes(&self) -> StripeSet {
        let of = |key: &[u8]| StripeSet::of(Slot::of_key(key).stripe());
        match self {
            Effect::Key { key, .. } => of(key),
            Effect::Rename { from, to, .. } => of(from).union(of(to)),
            Effect::Flush { .. } | Effect::SwapDb { .. } => StripeSet::ALL,
            Effect::Clear { slot, .. } => StripeSet::of(slot.stripe()),
            Effect::Mark(_) | Effect::Unmark { .. } => StripeSet::EMPTY,
        }
    }
}

impl<'k> View<'k> {
    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Key { db, key, change } => self.apply_to_key(db, &Key::new(&key), change),
            Effect::Rename { from_db, from, to_db, to } => {
                let there = self.rename(from_db, &Key::new(&from), to_db, &Key::new(&to));
                assert!(there, "a renamed entry exists on every replica");
            }
            Effect::Flush { db } => drop(self.flush(db)),
            Effect::SwapDb { one, other } => self.swap_databases(one, other),
            Effect::Clear { db, slot, hashes } => self.clear(db, slot, hashes),
            // That is for whoever leads.
            Effect::Mark(_) | Effect::Unmark { .. } => {}
        }
    }

    fn clear(&mut self, db: DbIndex, slot: Slot, (first, last): (u32, u32)) {
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        let walked = self.walk_slot(db, slot, Place::START, usize::MAX, |met| {
            if (first..=last).contains(&key_hash(met.key)) {
                keys.push(met.key.into());
            }
        });
        walked.expect("what effects are applied to is in memory");
        for key in keys {
            self.delete_for(db, &Key::new(&key), Cause::Deleted);
        }
    }

    fn apply_to_key(&mut self, db: DbIndex, key: &Key<'_>, change: KeyEffect) {
        match change {
            KeyEffect::Put { value: Value::Str(Str::Int(number)), expiry, .. } => {
                self.put_int(db, key, number, expiry.map_or(NewExpiry::Clear, NewExpiry::At));
            }
            KeyEffect::Put { value, expiry, .. } => self.put(db, key, value, expiry),
            KeyEffect::Delete(cause) => {
                let there = self.delete_for(db, key, cause);
                assert!(there, "a deleted entry exists on every replica");
            }
            KeyEffect::SetExpiry(expiry) => {
                let there = self.put_expiry(db, key, expiry);
                assert!(there, "an entry whose expiry changes exists on every replica");
            }
            KeyEffect::Splice { offset, bytes } => self.splice_string(db, key, offset, &bytes),
            KeyEffect::ListPush { .. }
            | KeyEffect::ListPop { .. }
            | KeyEffect::ListSet { .. }
            | KeyEffect::ListInsert { .. }
            | KeyEffect::ListRemove { .. }
            | KeyEffect::ListTrim { .. } => self.handle_to_apply::<List>(db, key).apply(change),
            KeyEffect::SetAdd { .. } | KeyEffect::SetRemove { .. } => {
                self.handle_to_apply::<Set>(db, key).apply(change);
            }
            KeyEffect::HashPut { .. } | KeyEffect::HashRemove { .. } => {
                self.handle_to_apply::<Hash>(db, key).apply(change);
            }
            KeyEffect::ZsetPut { .. } | KeyEffect::ZsetRemove { .. } => {
                self.handle_to_apply::<Zset>(db, key).apply(change);
            }
        }
    }

    fn handle_to_apply<'v, T: super::Collection>(&'v mut self, db: DbIndex, key: &Key<'v>) -> super::Handle<'v, 'k, T> {
        self.existing_or_new(db, key).expect("an effect meets the type that it was recorded for")
    }
}

/// References to all elements, as the methods of handles take them.
pub(super) fn slices(elements: &[Box<[u8]>]) -> Vec<&[u8]> {
    elements.iter().map(|element| &element[..]).collect()
}
