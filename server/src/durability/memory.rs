//! Cache mode in a cluster: what groups have is in the keyspace, and nowhere else.
//!
//! A group has one replica, which leads, so evaluation is commit and nothing is recorded: no log, no sequence numbers,
//! no output that is held. Only while slots leave are changes listened to ([`Memory::follow`]). Slots that arrive are
//! built in a keyspace beside the one that clients see ([`Memory::hidden`]), and taken over from there when they are
//! this node's.

use super::replicas::DB;
use crate::server::Server;
use basalt_cluster::group::{CommittedEntry, LogIndex};
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::{Batch, Effect, Mark};
use basalt_storage::engine::Sample;
use basalt_storage::keyspace::follow::Followed;
use basalt_storage::keyspace::{BatchSink, Keyspace, View};
use basalt_storage::seq::Seq;
use basalt_storage::slot::{SLOT_COUNT, Slot, SlotSet, StripeIndex, StripeSet};
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// What the groups of a node have in common.
pub struct Memory {
    server: Weak<Server>,
    /// Slots that are arriving. Locked after the keyspace that clients see, never before.
    hidden: Keyspace,
    followers: Arc<Followers>,
}

impl Memory {
    pub fn new(server: &Arc<Server>) -> Arc<Memory> {
        let followers = Arc::new(Followers::default());
        server.keyspace.offer_to(followers.clone());
        Arc::new(Memory { server: Arc::downgrade(server), hidden: server.keyspace.beside(), followers })
    }

    /// Takes over what has arrived of slots, which `view` has locked and has nothing of.
    pub fn publish(&self, view: &mut View<'_>, slots: &[Slot]) {
        if slots.is_empty() || self.hidden.key_count(DB) == 0 {
            return;
        }
        let mut hidden = self.hidden.lock(view.stripes(), view.now());
        view.adopt(&mut hidden, slots);
    }

    /// Follows slots until what is returned is dropped.
    pub fn follow(self: &Arc<Self>, slots: SlotSet) -> Following {
        let followed = Arc::new(Followed::new(DB, slots));
        self.change_followers(|all| all.push(followed.clone()));
        Following { followed, memory: self.clone() }
    }

    fn change_followers(&self, change: impl FnOnce(&mut Vec<Arc<Followed>>)) {
        let mut all = self.followers.0.write();
        change(&mut all);
        let Some(server) = self.server.upgrade() else { return };
        match all.is_empty() {
            true => server.keyspace.stop_recording(),
            false => server.keyspace.start_recording(),
        }
    }

    fn now(&self) -> UnixMs {
        self.server.upgrade().map_or(UnixMs(0), |server| server.now())
    }

    /// Deletes what has arrived of a slot.
    fn clear(&self, slot: Slot) {
        self.hidden.lock(StripeSet::of(slot.stripe()), self.now()).abandon(&[slot]);
    }

    /// Number of keys in a slot that clients see.
    fn key_count(&self, slot: Slot) -> usize {
        let Some(server) = self.server.upgrade() else { return 0 };
        let view = server.keyspace.lock(StripeSet::of(slot.stripe()), server.now());
        view.slot_len(DB, slot)
    }
}

/// Told of all batches while there are any.
#[derive(Default)]
struct Followers(RwLock<Vec<Arc<Followed>>>);

impl BatchSink for Followers {
    fn propose(&self, batch: Batch) -> Seq {
        self.0.read().iter().for_each(|followed| followed.note(&batch));
        Seq::NONE
    }
}

/// Slots that are followed.
pub struct Following {
    pub followed: Arc<Followed>,
    memory: Arc<Memory>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.memory.change_followers(|all| all.retain(|other| !Arc::ptr_eq(other, &self.followed)));
    }
}

/// What one group has.
pub struct InMemory {
    memory: Arc<Memory>,
    /// The last entry of the group's own log, which carries nothing.
    applied: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    marks: Vec<Mark>,
    /// It has left this node: nothing is applied to it any more.
    has_left: bool,
}

impl InMemory {
    pub fn new(memory: Arc<Memory>) -> InMemory {
        InMemory { memory, applied: AtomicU64::new(0), state: Mutex::default() }
    }

    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    pub fn marks(&self) -> Vec<Mark> {
        self.state.lock().marks.clone()
    }

    /// How many keys of each slot clients see.
    pub fn entries_by_slot(&self) -> Vec<u64> {
        let Some(server) = self.memory.server.upgrade() else { return vec![0; SLOT_COUNT] };
        let of_stripe = |stripe: StripeIndex| -> Vec<u64> {
            let view = server.keyspace.lock(StripeSet::of(stripe), server.now());
            stripe.slots().map(|slot| view.slot_len(DB, slot) as u64).collect()
        };
        StripeIndex::all().flat_map(of_stripe).collect()
    }

    /// Looks at some entries of a slot that clients see.
    pub fn sample_slot(&self, slot: Slot, max: u64) -> Sample {
        let Some(server) = self.memory.server.upgrade() else { return Sample::default() };
        let view = server.keyspace.lock(StripeSet::of(slot.stripe()), server.now());
        let (entries, bytes) = view.sample_slot(DB, slot, max as usize);
        Sample { entries, bytes }
    }

    pub fn has_keys(&self, slot: Slot) -> bool {
        self.memory.key_count(slot) > 0
    }

    /// Does to the group what its leader wants: to what it remembers, and to slots that are arriving.
    pub fn apply(&self, batch: Batch) {
        // Held to the end, so that nothing comes to a group that has left.
        let mut state = self.state.lock();
        if state.has_left {
            return;
        }
        let mut changes = Batch::new();
        for effect in batch {
            match effect {
                Effect::Mark(mark) => {
                    state.forget(|known| known.passage == mark.passage && known.name == mark.name);
                    state.marks.push(mark);
                }
                Effect::Unmark { passage, name } => {
                    state.forget(|known| known.passage == passage && known.name == name);
                }
                // What clients see is given up when they are sent elsewhere.
                Effect::Clear { slot, .. } => self.memory.clear(slot),
                change => changes.push(change),
            }
        }
        if !changes.is_empty() {
            self.memory.hidden.apply(changes, self.memory.now());
        }
    }

    /// The group leaves this node, with what has arrived for it.
    pub fn leave(&self) {
        let mut state = self.state.lock();
        state.has_left = true;
        let marks = std::mem::take(&mut state.marks);
        let slots: SlotSet = marks.iter().flat_map(Mark::all_slots).collect();
        slots.iter().for_each(|slot| self.memory.clear(slot));
    }

    pub fn applied(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    /// Entries of the group's log were committed. They carry nothing, since nothing is proposed to it.
    pub fn note_entries(&self, entries: &[CommittedEntry]) {
        if let Some(last) = entries.last() {
            self.applied.store(last.index.0, Ordering::Release);
        }
    }
}

impl State {
    fn forget(&mut self, is_meant: impl Fn(&Mark) -> bool) {
        self.marks.retain(|mark| !is_meant(mark));
    }
}
