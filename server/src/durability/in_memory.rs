//! What one replica of a group has in cache mode.
//!
//! Its keys lie in one of two places: what clients see of the slots that the group holds here is in the node's
//! keyspace; all else (everything of a follower, and slots that are arriving) in a keyspace of the replica's own, that
//! no client sees. When this node comes to lead, the tables of its slots change over ([`InMemory::show`]), and back
//! again when another leads ([`InMemory::take_back`]).
//!
//! A group with further replicas *keeps a log*: every batch that is evaluated for it is proposed, and applied by those
//! who follow. Who leads has evaluated it already, so of the entries that this process has proposed, what concerns
//! slots that clients see is passed over. What a leader proposes without having evaluated it (marks, slots that arrive)
//! is applied everywhere.
//!
//! Invariants: what is evaluated is ahead of what is committed, so if this node stops leading before all of it is, the
//! replica is *spoiled*: it ends, and another is filled in its place. A replica never restarts; its log and what it has
//! end together. What is let go while this node leads is cleared by the log, so that every replica has the same.

use super::memory::Memory;
use super::replicas::DB;
use basalt_cluster::group::memory_log::MemoryLog;
use basalt_cluster::group::state::LogState;
use basalt_cluster::group::{CommittedEntry, LogIndex};
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::codec::{self, CodecError, Decoded};
use basalt_storage::effect::{Batch, Effect, Mark, Passage, decode};
use basalt_storage::engine::Sample;
use basalt_storage::keyspace::{Keyspace, View};
use basalt_storage::seq::Seq;
use basalt_storage::slot::{SLOT_COUNT, Slot, SlotSet, StripeIndex, StripeSet};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The name of an entry at which a copy ends: that of a mark which nobody has.
pub type CutName = [u8; Mark::NAME_BYTES];

/// What a group has at the entry at which a copy of it ends, besides the keys that clients see.
pub struct Cut {
    pub index: LogIndex,
    pub passages: Passages,
}

/// What a group remembers of slots that come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passages {
    pub marks: Vec<Mark>,
    /// The newest version of the cluster's map by which slots were ever sealed.
    pub sealed_version: u64,
}

impl Passages {
    fn mark(&mut self, mark: Mark) {
        self.unmark(mark.passage, &mark.name);
        if mark.passage == Passage::Sealed {
            self.sealed_version = self.sealed_version.max(mark.version);
        }
        self.marks.push(mark);
    }

    fn unmark(&mut self, passage: Passage, name: &[u8; Mark::NAME_BYTES]) {
        self.marks.retain(|mark| mark.passage != passage || mark.name != *name);
    }
}

pub struct InMemory {
    memory: Arc<Memory>,
    log: Arc<MemoryLog>,
    /// The last entry of the group's log that is in it.
    applied: AtomicU64,
    keeps_log: AtomicBool,
    /// Locked after the stripes of the keyspace that clients see, never before.
    state: Mutex<State>,
}

struct State {
    condition: Condition,
    hidden: Keyspace,
    passages: Passages,
    /// Slots whose keys are in the keyspace that clients see.
    shown: SlotSet,
    /// Slots that were, with the last batch that was evaluated in them and is not applied yet.
    let_go: BTreeMap<Slot, Seq>,
    /// The last batch of this process that was applied.
    own_applied: Seq,
    cut: AwaitedCut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Sound,
    /// It has evaluated what may never be committed.
    Spoiled,
    /// It has left this node: nothing is applied to it any more.
    Left,
}

enum AwaitedCut {
    None,
    At(CutName),
    Made(CutName, Cut),
}

impl InMemory {
    pub fn new(memory: Arc<Memory>, log: Arc<MemoryLog>) -> InMemory {
        let state = State {
            condition: Condition::Sound,
            hidden: memory.beside(),
            passages: Passages::default(),
            shown: SlotSet::default(),
            let_go: BTreeMap::new(),
            own_applied: Seq::NONE,
            cut: AwaitedCut::None,
        };
        let (applied, keeps_log) = (AtomicU64::new(0), AtomicBool::new(false));
        InMemory { memory, log, applied, keeps_log, state: Mutex::new(state) }
    }

    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Whether what is evaluated for the group goes into its log.
    #[inline]
    pub fn keeps_log(&self) -> bool {
        self.keeps_log.load(Ordering::Acquire)
    }

    /// From now on it does: everything that is evaluated under a lock that is taken after this has returned.
    pub fn keep_log(&self) {
        self.memory.begin_logs();
        self.keeps_log.store(true, Ordering::Release);
    }

    pub fn marks(&self) -> Vec<Mark> {
        self.state.lock().passages.marks.clone()
    }

    pub fn sealed_version(&self) -> u64 {
        self.state.lock().passages.sealed_version
    }

    /// Slots whose keys clients see.
    pub fn shown(&self) -> SlotSet {
        self.state.lock().shown.clone()
    }

    /// What it has is worth nothing any more.
    pub fn spoil(&self) {
        let mut state = self.state.lock();
        if state.condition == Condition::Sound {
            state.condition = Condition::Spoiled;
        }
    }

    pub fn is_spoiled(&self) -> bool {
        self.state.lock().condition == Condition::Spoiled
    }

    /// Clients see these slots from now on, which `view` has locked and has nothing of.
    pub fn show(&self, view: &mut View<'_>, slots: &[Slot]) {
        let state = &mut *self.state.lock();
        state.shown.extend(slots.iter().copied());
        if state.hidden.key_count(DB) > 0 {
            view.adopt(&mut state.hidden.lock(view.stripes(), view.now()), slots);
        }
    }

    /// Another node leads, and all that was evaluated is committed: what clients have seen of these slots is this
    /// follower's. The last batch of the group was `last`.
    pub fn take_back(&self, view: &mut View<'_>, slots: &[Slot], last: Seq) {
        let state = &mut *self.state.lock();
        view.yield_to(&mut state.hidden.lock(view.stripes(), view.now()), slots);
        state.let_go(slots, last);
    }

    /// Clients do not see these slots any more, and the keyspace has forgotten them. What was evaluated in them up to
    /// the batch `last` may not be applied yet.
    pub fn let_go(&self, slots: &[Slot], last: Seq) {
        self.state.lock().let_go(slots, last);
    }

    /// How many keys of each slot clients see.
    pub fn entries_by_slot(&self) -> Vec<u64> {
        let Some(server) = self.memory.server() else { return vec![0; SLOT_COUNT] };
        let of_stripe = |stripe: StripeIndex| -> Vec<u64> {
            let view = server.keyspace.lock(StripeSet::of(stripe), server.now());
            stripe.slots().map(|slot| view.slot_len(DB, slot) as u64).collect()
        };
        StripeIndex::all().flat_map(of_stripe).collect()
    }

    /// Looks at some entries of a slot that clients see.
    pub fn sample_slot(&self, slot: Slot, max: u64) -> Sample {
        let Some(server) = self.memory.server() else { return Sample::default() };
        let view = server.keyspace.lock(StripeSet::of(slot.stripe()), server.now());
        let (entries, bytes) = view.sample_slot(DB, slot, max as usize);
        Sample { entries, bytes }
    }

    /// Whether clients see keys in a slot.
    pub fn has_keys(&self, slot: Slot) -> bool {
        let Some(server) = self.memory.server() else { return false };
        let view = server.keyspace.lock(StripeSet::of(slot.stripe()), server.now());
        view.slot_len(DB, slot) > 0
    }

    pub fn applied(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    /// Applies committed entries, as far as that was not done by evaluating them.
    pub fn apply(&self, entries: &[CommittedEntry]) -> Result<(), CodecError> {
        let now = self.memory.now();
        for entry in entries {
            // For each of them: who shows slots or lets them go holds locks that clients wait for.
            let mut state = self.state.lock();
            if state.condition == Condition::Sound {
                state.apply(entry, now)?;
            }
            self.applied.store(entry.index.0, Ordering::Release);
        }
        Ok(())
    }

    /// Whether clients see all that it has, but for what an entry on its way may bring.
    pub fn is_all_shown(&self) -> bool {
        self.state.lock().is_all_shown()
    }

    /// The entry of this name is to be looked out for, at which a copy ends.
    pub fn await_cut(&self, name: CutName) {
        self.state.lock().cut = AwaitedCut::At(name);
    }

    /// What the group had at the entry of this name, if that was applied, and if there was nothing that clients do not
    /// see.
    pub fn take_cut(&self, name: CutName) -> Option<Cut> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.cut, AwaitedCut::None) {
            AwaitedCut::Made(made, cut) if made == name => Some(cut),
            _ => None,
        }
    }

    /// Takes over a copy of another replica's, as it was after the last entry that `log` stands for.
    pub fn install(&self, copy: Keyspace, passages: Passages, log: &LogState) {
        let mut state = self.state.lock();
        let former = std::mem::replace(&mut state.hidden, copy);
        state.passages = passages;
        state.let_go.clear();
        self.applied.store(log.truncated.index.0, Ordering::Release);
        self.log.begin_at(log);
        drop(state);
        discard(&former);
    }

    /// The group leaves this node, with all that it has here.
    pub fn leave(&self) {
        let mut state = self.state.lock();
        state.condition = Condition::Left;
        state.passages = Passages::default();
        discard(&state.hidden);
    }
}

impl State {
    fn let_go(&mut self, slots: &[Slot], last: Seq) {
        for slot in slots {
            self.shown.remove(*slot);
            if last > self.own_applied {
                self.let_go.insert(*slot, last);
            }
        }
    }

    fn apply(&mut self, entry: &CommittedEntry, now: UnixMs) -> Result<(), CodecError> {
        let is_evaluated = entry.own().is_some() && self.let_go.is_empty() && self.is_all_shown();
        for batch in entry.batches() {
            if !is_evaluated || is_told(batch)? {
                self.apply_batch(decode(batch)?, entry, now);
            }
        }
        if let Some(seq) = entry.own().map(|seq| Seq(seq.0)) {
            self.own_applied = seq;
            self.let_go.retain(|_, last| *last > seq);
        }
        Ok(())
    }

    fn apply_batch(&mut self, batch: Batch, entry: &CommittedEntry, now: UnixMs) {
        let is_own = entry.own().is_some();
        let mut changes = Batch::new();
        for effect in batch {
            match effect {
                Effect::Mark(mark) => self.passages.mark(mark),
                Effect::Unmark { passage, name } => {
                    self.passages.unmark(passage, &name);
                    self.note_cut(name, entry.index);
                }
                Effect::Clear { slot, .. } => {
                    self.hidden.apply(std::mem::take(&mut changes), now);
                    self.hidden.lock(StripeSet::of(slot.stripe()), now).abandon(&[slot]);
                }
                Effect::Flush { db } if is_own => {
                    // In what was evaluated here it is done.
                    self.hidden.apply(std::mem::take(&mut changes), now);
                    let slots: Vec<Slot> = Slot::all().filter(|slot| !self.let_go.contains_key(slot)).collect();
                    debug_assert_eq!(db, DB, "a cluster has one database");
                    self.hidden.lock(StripeSet::ALL, now).abandon(&slots);
                }
                Effect::Key { ref key, .. } | Effect::Rename { from: ref key, .. }
                    if is_own && self.was_evaluated(Slot::of_key(key)) => {}
                change => changes.push(change),
            }
        }
        self.hidden.apply(changes, now);
    }

    fn is_all_shown(&self) -> bool {
        let arrives = self.passages.marks.iter().any(|mark| mark.passage == Passage::Arriving);
        !arrives && self.hidden.key_count(DB) == 0
    }

    /// Whether what this process has proposed for a slot was evaluated here before.
    fn was_evaluated(&self, slot: Slot) -> bool {
        self.shown.contains(slot) || self.let_go.contains_key(&slot)
    }

    fn note_cut(&mut self, name: CutName, index: LogIndex) {
        if matches!(self.cut, AwaitedCut::At(awaited) if awaited == name) {
            self.cut = match self.is_all_shown() {
                true => AwaitedCut::Made(name, Cut { index, passages: self.passages.clone() }),
                false => AwaitedCut::None,
            };
        }
    }
}

/// Whether a batch says something that nobody evaluates.
fn is_told(batch: &[u8]) -> Result<bool, CodecError> {
    let is_told = |effect: Decoded<'_>| {
        matches!(effect, Decoded::Other(Effect::Mark(_) | Effect::Unmark { .. } | Effect::Clear { .. }))
    };
    codec::effects(batch)?.next().map_or(Ok(false), |first| first.map(is_told))
}

/// Frees all keys, elsewhere.
fn discard(keyspace: &Keyspace) {
    if keyspace.key_count(DB) > 0 {
        keyspace.lock(StripeSet::ALL, UnixMs(0)).abandon(&Slot::all().collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests;
