//! Slots as batches that build them elsewhere, and what changes in them meanwhile: how slots move between nodes that
//! have them in memory alone.
//!
//! Slots are copied one after the other, a few entries at a time, so that no lock is held for long. What changes in a
//! slot that was copied is passed on, in the order in which it was evaluated: its last entries are copied and the
//! passing on begins under one lock of its stripe. While a slot is being copied, keys that are touched in it are only
//! noted, and copied once more. What changes in a slot whose turn has not come is in the copy anyway.
//!
//! Bound: more than [`WAITING_BYTES_MAX`] of changes does not wait. Whoever does not fetch them in time has to begin
//! anew.

use super::{Key, Keyspace, View};
use crate::clock::UnixMs;
use crate::effect::{Batch, Cause, DbIndex, Effect, Former, KeyEffect, bytes_about};
use crate::entry::EntryRef;
use crate::slot::{Slot, SlotSet, StripeSet};
use crate::table::ScanCursor;
use crate::value::{Str, Value};
use hashbrown::HashSet;
use parking_lot::Mutex;
use std::collections::VecDeque;

const WAITING_BYTES_MAX: usize = 64 << 20;

/// Entries that are copied under one lock, about.
const STEP_ENTRIES: usize = 64;

/// A slot in which keys are touched faster than they are copied gets the rest of them under one lock after so many
/// steps.
const TOUCHED_STEPS_MAX: usize = 1000;

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
    walked: Option<(Slot, HashSet<Box<[u8]>>)>,
    waiting: VecDeque<Change>,
    bytes: usize,
    lost: Option<Lost>,
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
            let is_told = match effect {
                Effect::Key { db, key, .. } if *db == self.db => state.is_told(&self.slots, &[key]),
                Effect::Rename { from, to, .. } => state.is_told(&self.slots, &[from, to]),
                Effect::Flush { db } if *db == self.db => {
                    ours.clear();
                    if state.is_complete {
                        state.push(Change::Flushed, 0);
                    } else {
                        state.lost = Some(Lost::Flushed);
                    }
                    false
                }
                _ => false,
            };
            if is_told {
                ours.push(effect.clone());
            }
        }
        if !ours.is_empty() {
            let bytes = bytes_about(&ours);
            state.push(Change::Batch(ours), bytes);
        }
    }

    /// What has changed next in slots that were copied. Everything that was copied so far has to be sent before.
    pub fn next(&self) -> Result<Option<Change>, Lost> {
        let mut state = self.state.lock();
        if let Some(lost) = state.lost {
            return Err(lost);
        }
        let change = state.waiting.pop_front();
        if let Some(Change::Batch(batch)) = &change {
            state.bytes -= bytes_about(batch);
        }
        Ok(change)
    }

    /// Hands out a slot as effects that make it where it is empty. They are whole after the last call of `sink`, which
    /// holds up nobody.
    ///
    /// # Errors
    /// What `sink` returns, which ends the copying.
    pub fn copy<E>(
        &self,
        keyspace: &Keyspace,
        slot: Slot,
        now: impl Fn() -> UnixMs,
        mut sink: impl FnMut(Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        self.state.lock().walked = Some((slot, HashSet::new()));
        let mut cursor = Some(ScanCursor::START);
        let mut steps = 0;
        loop {
            let mut batch = Batch::new();
            let is_whole = {
                let mut view = keyspace.lock(StripeSet::of(slot.stripe()), now());
                view.stop_expiring();
                cursor = cursor.and_then(|cursor| view.copy_entries(self.db, slot, cursor, &mut batch));
                cursor.is_none() && {
                    steps += 1;
                    self.copy_touched(&mut view, slot, steps, &mut batch)
                }
            };
            if !batch.is_empty() {
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

    /// Copies keys that were touched since the slot's walk began; whether these were all. If so, what changes from now
    /// on is passed on.
    fn copy_touched(&self, view: &mut View<'_>, slot: Slot, steps: usize, batch: &mut Batch) -> bool {
        let state = &mut *self.state.lock();
        let (_, touched) = state.walked.as_mut().expect("the slot that is copied is walked");
        let count = if steps > TOUCHED_STEPS_MAX { usize::MAX } else { STEP_ENTRIES };
        let keys: Vec<Box<[u8]>> = touched.iter().take(count).cloned().collect();
        for key in keys {
            touched.remove(&key);
            view.copy_key(self.db, &Key::new(&key), batch);
        }
        if !touched.is_empty() {
            return false;
        }
        state.walked = None;
        state.copied.insert(slot);
        true
    }
}

impl State {
    /// Whether a change of these keys, which are of one slot, is passed on.
    fn is_told(&mut self, slots: &SlotSet, keys: &[&[u8]]) -> bool {
        let slot = Slot::of_key(keys[0]);
        if !slots.contains(slot) {
            return false;
        }
        if let Some((walked, touched)) = &mut self.walked
            && *walked == slot
        {
            touched.extend(keys.iter().map(|key| Box::from(*key)));
        }
        self.copied.contains(slot)
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

impl View<'_> {
    /// Adds some entries from a cursor on; returns where to go on, if there are more.
    fn copy_entries(&self, db: DbIndex, slot: Slot, cursor: ScanCursor, batch: &mut Batch) -> Option<ScanCursor> {
        let next = self.scan_slot(db, slot, cursor, STEP_ENTRIES, |entry| batch.push(whole(db, entry)));
        (!next.is_end()).then_some(next)
    }

    /// Makes a key there as it is here. Nobody knows what is there.
    fn copy_key(&mut self, db: DbIndex, key: &Key<'_>, batch: &mut Batch) {
        match self.revisit(db, key) {
            Some(entry) => batch.push(whole(db, entry)),
            None => {
                // A deletion is only for what is there.
                let effect = |change| Effect::Key { db, key: key.bytes.into(), change };
                let value = Value::Str(Str::Int(0));
                batch.push(effect(KeyEffect::Put { value, expiry: None, former: Former::Unknown }));
                batch.push(effect(KeyEffect::Delete(Cause::Deleted)));
            }
        }
    }
}

fn whole(db: DbIndex, entry: EntryRef<'_>) -> Effect {
    let (value, expiry) = (entry.to_value(), entry.expiry());
    Effect::Key { db, key: entry.key().into(), change: KeyEffect::Put { value, expiry, former: Former::Unknown } }
}

#[cfg(test)]
mod tests {
    use super::super::{BatchSink, NewExpiry};
    use super::*;
    use crate::rng::Rng;
    use crate::seq::Seq;
    use crate::types::{End, Hash, List};
    use crate::value::StrForm;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    const DB: DbIndex = DbIndex(0);

    struct Teller(Arc<Followed>);

    impl BatchSink for Teller {
        fn propose(&self, batch: Batch) -> Seq {
            self.0.note(&batch);
            Seq::NONE
        }
    }

    /// Most keys share two slots, one of which is walked in many steps.
    fn name(rng: &mut Rng) -> String {
        match rng.below(8) {
            0 => format!("{{small}}{}", rng.below(20)),
            1 => format!("key{}", rng.below(300)),
            _ => format!("{{tag}}{}", rng.below(500)),
        }
    }

    fn change(keyspace: &Keyspace, rng: &mut Rng, now: UnixMs) {
        let (name, other) = (name(rng), format!("{{tag}}{}", rng.below(500)));
        let (key, other) = (Key::new(name.as_bytes()), Key::new(other.as_bytes()));
        let mut view = keyspace.lock(StripeSet::of(key.slot.stripe()).union(StripeSet::of(other.slot.stripe())), now);
        match rng.below(20) {
            0..4 => drop(view.delete(DB, &key)),
            4 if key.slot == other.slot => drop(view.rename(DB, &key, DB, &other)),
            5 => drop(view.put_expiry(DB, &key, Some(UnixMs(now.0 + 5)))),
            6..10 => {
                if let Ok(mut list) = view.existing_or_new::<List>(DB, &key) {
                    list.push(End::Back, std::iter::once(&b"element"[..]));
                }
            }
            10..12 => {
                if let Ok(mut hash) = view.existing_or_new::<Hash>(DB, &key) {
                    hash.put([(&rng.next_u64().to_be_bytes()[..], &b"value"[..])].into_iter());
                }
            }
            _ => view.put_string(DB, &key, &rng.next_u64().to_be_bytes(), NewExpiry::Clear),
        }
    }

    fn contents(keyspace: &Keyspace, slots: &SlotSet) -> BTreeMap<Box<[u8]>, (String, Option<UnixMs>)> {
        let mut found = BTreeMap::new();
        keyspace.lock(StripeSet::ALL, UnixMs(0)).for_each_entry(DB, |entry| {
            if slots.contains(Slot::of_key(entry.key())) {
                let mut bytes = Vec::new();
                crate::effect::encode(&[whole(DB, entry)], &mut bytes);
                found.insert(entry.key().into(), (format!("{bytes:?}"), entry.expiry()));
            }
        });
        found
    }

    fn follow(keyspace: &Keyspace, slots: &SlotSet) -> Arc<Followed> {
        let followed = Arc::new(Followed::new(DB, slots.iter().collect()));
        keyspace.offer_to(Arc::new(Teller(followed.clone())));
        keyspace.start_recording();
        followed
    }

    /// Whatever is changed meanwhile, the copy is what was there at the end.
    #[test]
    fn a_copy_with_what_has_changed_meanwhile_is_the_same() {
        for seed in 0..15 {
            let mut rng = Rng::seeded(seed);
            let (keyspace, now) = (Keyspace::new(1), std::cell::Cell::new(0));
            let tick = || UnixMs(now.get());
            (0..2000).for_each(|_| change(&keyspace, &mut rng, tick()));
            let slots: SlotSet = Slot::all().filter(|slot| slot.number() % 3 != 1).collect();
            let followed = follow(&keyspace, &slots);
            let there = keyspace.beside();
            let changes = |followed: &Followed| {
                while let Some(change) = followed.next().unwrap() {
                    let Change::Batch(batch) = change else { panic!("nothing was flushed") };
                    there.apply(batch, UnixMs(0));
                }
            };
            for slot in slots.iter() {
                let copied = followed.copy(&keyspace, slot, tick, |batch| {
                    there.apply(batch, UnixMs(0));
                    for _ in 0..rng.below(200) {
                        now.set(now.get() + 1);
                        change(&keyspace, &mut rng, tick());
                    }
                    Ok::<(), ()>(())
                });
                copied.unwrap();
                changes(&followed);
            }
            followed.note_complete();
            (0..500).for_each(|_| change(&keyspace, &mut rng, tick()));
            changes(&followed);
            assert_eq!(contents(&there, &slots), contents(&keyspace, &slots), "seed {seed}");
            assert_eq!(there.key_count(DB), contents(&keyspace, &slots).len() as u64);
            keyspace.stop_recording();
            change(&keyspace, &mut rng, tick());
            assert!(followed.next().unwrap().is_none());
        }
    }

    #[test]
    fn a_flush_ends_a_copying_and_is_passed_on_after_it() {
        let keyspace = Keyspace::new(1);
        let slot = Slot::of_key(b"key");
        let slots: SlotSet = [slot].into_iter().collect();
        let put = || {
            let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
            view.put_string(DB, &Key::new(b"key"), b"value", NewExpiry::Clear);
        };
        let followed = follow(&keyspace, &slots);
        followed.copy(&keyspace, slot, || UnixMs(0), |_| Ok::<(), ()>(())).unwrap();
        followed.note_complete();
        put();
        keyspace.lock(StripeSet::ALL, UnixMs(0)).flush(DB);
        put();
        assert!(matches!(followed.next(), Ok(Some(Change::Batch(_)))));
        assert!(matches!(followed.next(), Ok(Some(Change::Flushed))));
        assert!(matches!(followed.next(), Ok(Some(Change::Batch(_)))));
        assert!(matches!(followed.next(), Ok(None)));
        let other = Followed::new(DB, slots);
        other.note(&[Effect::Flush { db: DB }]);
        assert_eq!(other.next().err(), Some(Lost::Flushed));
    }

    #[test]
    fn what_nobody_fetches_is_lost_and_not_kept() {
        let slot = Slot::of_key(b"key");
        let followed = Followed::new(DB, [slot].into_iter().collect());
        let keyspace = Keyspace::new(1);
        followed.copy(&keyspace, slot, || UnixMs(0), |_| Ok::<(), ()>(())).unwrap();
        let value = Value::Str(Str::Bytes(vec![b'x'; 1 << 20], StrForm::Plain));
        let put = KeyEffect::Put { value, expiry: None, former: Former::Unknown };
        let batch = vec![Effect::Key { db: DB, key: b"key"[..].into(), change: put }];
        (0..=WAITING_BYTES_MAX >> 20).for_each(|_| followed.note(&batch));
        assert_eq!(followed.next().err(), Some(Lost::Overflow));
        assert!(followed.state.lock().waiting.is_empty());
    }
}
