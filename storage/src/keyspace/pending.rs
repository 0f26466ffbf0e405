//! What one stripe knows of batches that are evaluated and not applied yet: the last batch of each slot, and the keys
//! whose deletion the engine does not know of.
//!
//! A reader of a slot depends on the slot's last batch. An entry may become cold only when that batch is applied. A key
//! that was deleted would come back from the engine if nobody remembered: its tombstone stays until the engine has
//! applied the delete. Tombstones are needed only in slots that have cold keys: in others nobody asks the engine, and a
//! slot gets its first cold key when all its batches are applied.
//!
//! Bound: tombstones are as many as deletes in batches that are not applied, which the group bounds.

use super::key::Key;
use crate::engine::PhysicalDb;
use crate::seq::Seq;
use crate::slot::{SLOTS_PER_STRIPE, Slot};
use hashbrown::HashMap;
use std::collections::VecDeque;

type Name = (PhysicalDb, Box<[u8]>);

pub(super) struct Pending {
    /// The last batch of each slot of the stripe.
    written: Box<[Seq; SLOTS_PER_STRIPE]>,
    tombstones: HashMap<Name, Seq>,
    /// The tombstones by age; one that was set again is in it twice.
    by_age: VecDeque<(Seq, Name)>,
    /// Set by the evaluation that goes on.
    fresh: Vec<Name>,
}

impl Default for Pending {
    fn default() -> Pending {
        Pending {
            written: Box::new([Seq::NONE; SLOTS_PER_STRIPE]),
            tombstones: HashMap::new(),
            by_age: VecDeque::new(),
            fresh: Vec::new(),
        }
    }
}

impl Pending {
    #[inline]
    pub(super) fn last_of(&self, slot: Slot) -> Seq {
        self.written[slot.within_stripe()]
    }

    /// The evaluation that goes on has deleted a key that the engine may have.
    pub(super) fn bury(&mut self, db: PhysicalDb, key: &Key<'_>) {
        let name = (db, Box::from(key.bytes));
        self.tombstones.insert(name.clone(), Seq::UNPROPOSED);
        self.fresh.push(name);
    }

    /// Whether the engine may still show a key that is deleted.
    pub(super) fn is_buried(&self, db: PhysicalDb, key: &Key<'_>, applied: Seq) -> bool {
        !self.tombstones.is_empty()
            && self.tombstones.get(&(db, Box::from(key.bytes))).is_some_and(|deleted| *deleted > applied)
    }

    /// The last batch that changes a slot is now this one.
    #[inline]
    pub(super) fn note_written(&mut self, slot: Slot, seq: Seq) {
        self.written[slot.within_stripe()] = seq;
    }

    /// Nothing is known of these slots any more.
    pub(super) fn forget(&mut self, slots: &[Slot]) {
        slots.iter().for_each(|slot| self.written[slot.within_stripe()] = Seq::NONE);
        // The queue keeps the names, and drops them when their time has come.
        self.tombstones.retain(|(_, key), _| !slots.contains(&Slot::of_key(key)));
    }

    /// The evaluation that goes on has its place in the order.
    #[inline]
    pub(super) fn note_proposed(&mut self, seq: Seq, applied: Seq) {
        for name in self.fresh.drain(..) {
            self.tombstones.insert(name.clone(), seq);
            self.by_age.push_back((seq, name));
        }
        while self.by_age.front().is_some_and(|(deleted, _)| *deleted <= applied) {
            let (deleted, name) = self.by_age.pop_front().expect("the front was just looked at");
            if self.tombstones.get(&name) == Some(&deleted) {
                self.tombstones.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_key_stays_buried_until_its_last_delete_is_applied() {
        let (db, key) = (PhysicalDb(0), Key::new(b"key"));
        let mut pending = Pending::default();
        pending.bury(db, &key);
        assert!(pending.is_buried(db, &key, Seq(9)), "the delete has no place yet");
        pending.note_written(key.slot, Seq(10));
        pending.note_proposed(Seq(10), Seq(9));
        assert_eq!(pending.last_of(key.slot), Seq(10));
        pending.bury(db, &key);
        pending.note_proposed(Seq(12), Seq(10));
        assert!(pending.is_buried(db, &key, Seq(11)) && !pending.is_buried(db, &key, Seq(12)));
        assert!(!pending.is_buried(PhysicalDb(1), &key, Seq(11)), "another database has another key of this name");
        pending.note_proposed(Seq(13), Seq(12));
        assert!(pending.tombstones.is_empty() && pending.by_age.is_empty());
    }
}
