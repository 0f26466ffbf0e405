//! Slots as batches that build them elsewhere, and what changes in them meanwhile: how slots move between nodes that
//! have them in memory alone.
//!
//! Slots are copied one after the other, a few entries at a time, so that no lock is held for long. What changes in a
//! slot that was copied is passed on, in the order in which it was evaluated: its last entries are copied and the
//! passing on begins under one lock of its stripe. While a slot is being copied, keys that are touched in it are only
//! noted, and copied once more. What changes in a slot whose turn has not come is in the copy anyway.
//!
//! Large collections are left for the end of their slot as well, and copied in pieces (`large`). From the first piece
//! on, what changes in one is passed on. What is passed on and what is copied comes in one order, that of the locks.
//!
//! Bound: more than [`WAITING_BYTES_MAX`] of changes does not wait. Whoever does not fetch them in time has to begin
//! anew.

mod large;
#[cfg(test)]
mod tests;

use super::{Key, Keyspace, View};
use crate::clock::UnixMs;
use crate::effect::{Batch, DbIndex, Effect, Former, KeyEffect, bytes_about};
use crate::entry::EntryRef;
use crate::slot::{Slot, SlotSet, StripeSet};
use crate::table::ScanCursor;
use hashbrown::HashSet;
use large::{Partial, Piece, Response};
use parking_lot::Mutex;
use std::collections::VecDeque;

const WAITING_BYTES_MAX: usize = 64 << 20;

/// Entries that are copied under one lock, about.
const STEP_ENTRIES: usize = 64;

/// A slot in which keys are touched faster than they are copied gets the rest of them under one lock after so many
/// steps.
const TOUCHED_STEPS_MAX: usize = 1000;

/// When large collections had to be copied anew so often in one slot, the rest of them is copied whole.
const RESTARTS_MAX: usize = 16;

/// Why what was followed cannot be built elsewhere any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("writes come faster than they can be copied")]
    Overflow,
    #[error("all keys were deleted at once while they were copied")]
    Flushed,
}

/// What has changed in slots that were copied.
pub enum Change {
    Batch(Batch),
    /// All of them were emptied.
    Flushed,
}

/// Slots of one database that are followed.
pub struct Followed {
    db: DbIndex,
    slots: SlotSet,
    /// Its lock is taken after a stripe's, never before.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    copied: SlotSet,
    is_complete: bool,
    walk: Option<Walk>,
    waiting: VecDeque<Change>,
    bytes: usize,
    lost: Option<Lost>,
}

/// The slot that is being copied.
struct Walk {
    slot: Slot,
    /// Keys that were touched since, or are large: they are copied behind the others.
    left: HashSet<Box<[u8]>>,
    /// Large ones whose copy has begun: what changes in them is passed on.
    told: HashSet<Box<[u8]>>,
    /// The one of them that is on its way.
    partial: Option<(Box<[u8]>, Partial)>,
    steps: usize,
    restarts: usize,
}

impl Followed {
    /// Slots of which nothing is copied yet.
    pub fn new(db: DbIndex, slots: SlotSet) -> Followed {
        Followed { db, slots, state: Mutex::default() }
    }

    /// A batch was recorded; the locks of its stripes are held. All batches of the keyspace have to come by here from
    /// before the first slot is copied.
    pub fn note(&self, batch: &[Effect]) {
        let state = &mut *self.state.lock();
        let mut ours = Batch::new();
        for effect in batch {
            match effect {
                Effect::Key { db, key, .. } if *db == self.db => state.note_change(&self.slots, key, effect, &mut ours),
                // Both names are of one slot, or nobody could have renamed.
                Effect::Rename { from, .. } => state.note_change(&self.slots, from, effect, &mut ours),
                Effect::Flush { db } if *db == self.db => {
                    ours.clear();
                    if state.is_complete {
                        state.push(Change::Flushed, 0);
                    } else {
                        state.lost = Some(Lost::Flushed);
                    }
                }
                _ => {}
            }
        }
        if !ours.is_empty() {
            let bytes = bytes_about(&ours);
            state.push(Change::Batch(ours), bytes);
        }
    }

    /// What has changed next since the last slot was copied.
    pub fn next(&self) -> Result<Option<Change>, Lost> {
        self.state.lock().next()
    }

    /// Hands out a slot as effects that make it where it is empty, and what has changed in those that were copied
    /// before, in the order in which it has to be applied. The slot is whole after the last call of `sink`, which holds
    /// up nobody.
    ///
    /// # Errors
    /// If something was lost, and what `sink` returns, which ends the copying.
    pub fn copy<E: From<Lost>>(
        &self,
        keyspace: &Keyspace,
        slot: Slot,
        now: impl Fn() -> UnixMs,
        mut sink: impl FnMut(Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        self.state.lock().walk = Some(Walk::of(slot));
        let mut cursor = Some(ScanCursor::START);
        loop {
            let mut batch = Batch::new();
            let (before, is_whole) = {
                let mut view = keyspace.lock(StripeSet::of(slot.stripe()), now());
                view.stop_expiring();
                let before = self.state.lock().take_waiting()?;
                let is_whole = match cursor {
                    Some(from) => {
                        cursor = self.copy_entries(&view, slot, from, &mut batch);
                        false
                    }
                    None => self.copy_left(&view, &mut batch),
                };
                (before, is_whole)
            };
            for batch in before.into_iter().chain([batch]).filter(|batch| !batch.is_empty()) {
                sink(batch)?;
            }
            if is_whole {
                return Ok(());
            }
        }
    }

    /// All slots were copied. From now on they may be emptied at once.
    pub fn note_complete(&self) {
        self.state.lock().is_complete = true;
    }

    /// Adds some entries from a cursor on; returns where to go on, if there are more. Large ones are left.
    fn copy_entries(&self, view: &View<'_>, slot: Slot, cursor: ScanCursor, batch: &mut Batch) -> Option<ScanCursor> {
        let mut large = Vec::new();
        let next = view.scan_slot(self.db, slot, cursor, STEP_ENTRIES, |entry| match large::is_large(entry) {
            true => large.push(Box::from(entry.key())),
            false => batch.push(whole(self.db, entry)),
        });
        self.state.lock().walk().left.extend(large);
        (!next.is_end()).then_some(next)
    }

    /// Adds a piece of the large collection that is on its way, or some keys that were left; whether these were all. If
    /// so, what changes from now on is passed on.
    fn copy_left(&self, view: &View<'_>, batch: &mut Batch) -> bool {
        let state = &mut *self.state.lock();
        let walk = state.walk();
        match walk.partial.take() {
            Some((key, partial)) => walk.copy_piece(view, self.db, key, partial, batch),
            None => walk.copy_keys(view, self.db, batch),
        }
        if walk.partial.is_some() || !walk.left.is_empty() {
            return false;
        }
        let slot = walk.slot;
        state.walk = None;
        state.copied.insert(slot);
        true
    }
}

impl Walk {
    fn of(slot: Slot) -> Walk {
        Walk { slot, left: HashSet::new(), told: HashSet::new(), partial: None, steps: 0, restarts: 0 }
    }

    fn copy_piece(&mut self, view: &View<'_>, db: DbIndex, key: Box<[u8]>, mut partial: Partial, batch: &mut Batch) {
        // If it has become empty since, so has what was copied.
        let Some(entry) = view.revisit(db, &Key::new(&key)) else { return };
        match partial.next(entry) {
            Piece::More(change) => {
                batch.push(Effect::Key { db, key: key.clone(), change });
                self.partial = Some((key, partial));
            }
            Piece::Last(changes) => batch.extend(changes.into_iter().map(|change| of_key(db, &key, change))),
        }
    }

    /// Up to a large one, whose pieces come next.
    fn copy_keys(&mut self, view: &View<'_>, db: DbIndex, batch: &mut Batch) {
        self.steps += 1;
        let count = if self.steps > TOUCHED_STEPS_MAX { usize::MAX } else { STEP_ENTRIES };
        let keys: Vec<Box<[u8]>> = self.left.iter().take(count).cloned().collect();
        for key in keys {
            self.left.remove(&key);
            match view.revisit(db, &Key::new(&key)) {
                Some(entry) if large::is_large(entry) && self.restarts <= RESTARTS_MAX => {
                    // Nobody knows what is there: what it was before it was touched, or a part of that.
                    batch.extend(large::absence().into_iter().map(|change| of_key(db, &key, change)));
                    self.told.insert(key.clone());
                    self.partial = Some((key, Partial::of(entry)));
                    return;
                }
                Some(entry) => batch.push(whole(db, entry)),
                None => batch.extend(large::absence().into_iter().map(|change| of_key(db, &key, change))),
            }
        }
    }

    fn note_change(&mut self, effect: &Effect, ours: &mut Batch) {
        let (db, key, change) = match effect {
            Effect::Key { db, key, change } => (*db, key, change),
            Effect::Rename { from, to, .. } => return [from, to].into_iter().for_each(|name| self.leave(name)),
            _ => unreachable!("what has a key is a change of it or a new name"),
        };
        if !self.told.contains(key) {
            self.left.insert(key.clone());
            return;
        }
        let Some((_, partial)) = self.partial.as_mut().filter(|(copied, _)| copied == key) else {
            ours.push(effect.clone());
            return;
        };
        match partial.follow(change) {
            Response::Goes(changes) => ours.extend(changes.into_iter().map(|change| of_key(db, key, change))),
            Response::IsWhole(changes) => {
                self.partial = None;
                ours.extend(changes.into_iter().map(|change| of_key(db, key, change)));
            }
            Response::BeginsAnew => self.leave(key),
        }
    }

    /// Has a key copied at the end, whatever of it was copied or passed on before.
    fn leave(&mut self, key: &[u8]) {
        self.left.insert(key.into());
        if self.told.remove(key) {
            self.restarts += 1;
        }
        self.partial.take_if(|(copied, _)| **copied == *key);
    }
}

impl State {
    fn walk(&mut self) -> &mut Walk {
        self.walk.as_mut().expect("the slot that is copied is walked")
    }

    /// A key has changed.
    fn note_change(&mut self, slots: &SlotSet, key: &[u8], effect: &Effect, ours: &mut Batch) {
        let slot = Slot::of_key(key);
        if !slots.contains(slot) {
            return;
        }
        match &mut self.walk {
            Some(walk) if walk.slot == slot => walk.note_change(effect, ours),
            _ if self.copied.contains(slot) => ours.push(effect.clone()),
            _ => {}
        }
    }

    fn next(&mut self) -> Result<Option<Change>, Lost> {
        if let Some(lost) = self.lost {
            return Err(lost);
        }
        let change = self.waiting.pop_front();
        if let Some(Change::Batch(batch)) = &change {
            self.bytes -= bytes_about(batch);
        }
        Ok(change)
    }

    /// All that waits while slots are copied, when nothing may be flushed.
    fn take_waiting(&mut self) -> Result<Vec<Batch>, Lost> {
        let mut batches = Vec::new();
        while let Some(change) = self.next()? {
            match change {
                Change::Batch(batch) => batches.push(batch),
                Change::Flushed => unreachable!("a flush while slots are copied ends the copying"),
            }
        }
        Ok(batches)
    }

    fn push(&mut self, change: Change, bytes: usize) {
        self.bytes += bytes;
        self.waiting.push_back(change);
        if self.bytes > WAITING_BYTES_MAX {
            self.lost = Some(Lost::Overflow);
            self.waiting.clear();
        }
    }
}

fn of_key(db: DbIndex, key: &[u8], change: KeyEffect) -> Effect {
    Effect::Key { db, key: key.into(), change }
}

fn whole(db: DbIndex, entry: EntryRef<'_>) -> Effect {
    let (value, expiry) = (entry.to_value(), entry.expiry());
    Effect::Key { db, key: entry.key().into(), change: KeyEffect::Put { value, expiry, former: Former::Unknown } }
}
