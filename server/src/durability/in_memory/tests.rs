//! A leader that evaluates and a follower that applies: whatever becomes of slots and of the lead, both have the same.

use super::*;
use basalt_cluster::group;
use basalt_storage::effect::{Cause, Former, KeyEffect, encode};
use basalt_storage::keyspace::{BatchSink, Key, NewExpiry};
use basalt_storage::rng::Rng;
use basalt_storage::types::{End, List};
use basalt_storage::value::{Str, Value};

const NOW: UnixMs = UnixMs(0);

/// Everything that was evaluated, in order.
#[derive(Default)]
struct Recorded(Mutex<Vec<Batch>>);

impl BatchSink for Recorded {
    fn propose(&self, batch: Batch) -> Seq {
        self.0.lock().push(batch);
        Seq::NONE
    }
}

/// A group of two replicas, the first of which leads, and its log.
struct Pair {
    keyspace: Keyspace,
    recorded: Arc<Recorded>,
    leader: InMemory,
    follower: InMemory,
    /// What is proposed, and the leader has not applied.
    waiting: Vec<CommittedEntry>,
    proposed: u64,
    index: u64,
}

impl Pair {
    fn new(shown: &[Slot]) -> Pair {
        let (keyspace, recorded) = (Keyspace::new(1), Arc::new(Recorded::default()));
        keyspace.offer_to(recorded.clone());
        keyspace.start_recording();
        let replica = || InMemory::new(Memory::alone(), Arc::new(MemoryLog::new()));
        let pair = Pair {
            keyspace,
            recorded,
            leader: replica(),
            follower: replica(),
            waiting: Vec::new(),
            proposed: 0,
            index: 0,
        };
        pair.leader.show(&mut pair.keyspace.lock(StripeSet::ALL, NOW), shown);
        pair
    }

    /// Makes an entry of all that was evaluated, and of `told`.
    fn propose(&mut self, told: Option<Batch>) {
        let batches = std::mem::take(&mut *self.recorded.0.lock()).into_iter().chain(told);
        let written: Vec<Vec<u8>> = batches.map(|batch| written(&batch)).collect();
        self.proposed += written.len() as u64;
        self.index += 1;
        let own = (!written.is_empty()).then_some(group::Seq(self.proposed));
        self.waiting.push(CommittedEntry::of(LogIndex(self.index), own, &written));
        let others = CommittedEntry::of(LogIndex(self.index), None, &written);
        self.follower.apply(&[others]).unwrap();
    }

    /// The leader gets to apply so many entries.
    fn apply(&mut self, count: usize) {
        let count = count.min(self.waiting.len());
        let entries: Vec<CommittedEntry> = self.waiting.drain(..count).collect();
        self.leader.apply(&entries).unwrap();
    }

    fn last(&self) -> Seq {
        Seq(self.proposed)
    }
}

fn written(batch: &Batch) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(batch, &mut bytes);
    bytes
}

fn contents(replica: &InMemory) -> BTreeMap<Box<[u8]>, String> {
    let state = replica.state.lock();
    let mut found = BTreeMap::new();
    state.hidden.lock(StripeSet::ALL, NOW).for_each_entry(DB, |entry| {
        let change = KeyEffect::Put { value: entry.to_value(), expiry: entry.expiry(), former: Former::Unknown };
        let batch = vec![Effect::Key { db: DB, key: entry.key().into(), change }];
        found.insert(entry.key().into(), format!("{:?}", written(&batch)));
    });
    found
}

fn clear(slot: Slot) -> Effect {
    Effect::Clear { db: DB, slot, hashes: (0, u32::MAX) }
}

/// Changes a key of one of these slots.
fn evaluate(keyspace: &Keyspace, rng: &mut Rng, names: &[String]) {
    let name = &names[rng.below(names.len() as u64) as usize];
    let key = Key::new(name.as_bytes());
    let mut view = keyspace.lock(StripeSet::of(key.slot.stripe()), NOW);
    match rng.below(6) {
        0 => drop(view.delete(DB, &key)),
        1 => drop(view.put_expiry(DB, &key, Some(UnixMs(1_000_000 + rng.below(9) as i64)))),
        2 | 3 => {
            if let Ok(mut list) = view.existing_or_new::<List>(DB, &key) {
                list.push(End::Back, std::iter::once(&b"element"[..]));
            }
        }
        _ => view.put_string(DB, &key, &rng.next_u64().to_be_bytes(), NewExpiry::Clear),
    }
}

fn slots_of(names: &[String]) -> Vec<Slot> {
    let slots: SlotSet = names.iter().map(|name| Slot::of_key(name.as_bytes())).collect();
    slots.iter().collect()
}

#[test]
fn who_has_led_has_what_those_have_who_followed() {
    for seed in 0..30 {
        let mut rng = Rng::seeded(seed);
        let names: Vec<String> = (0..40).map(|number| format!("{{{}}}:{number}", number % 7)).collect();
        let slots = slots_of(&names);
        let mut pair = Pair::new(&slots);
        let mut shown = slots.clone();
        for _ in 0..300 {
            let served: Vec<String> =
                names.iter().filter(|name| shown.contains(&Slot::of_key(name.as_bytes()))).cloned().collect();
            match rng.below(40) {
                // A slot goes to another group, and is cleared by the log.
                0 if shown.len() > 1 => {
                    let gone = shown.swap_remove(rng.below(shown.len() as u64) as usize);
                    pair.keyspace.lock(StripeSet::ALL, NOW).abandon(&[gone]);
                    pair.propose(Some(vec![clear(gone)]));
                    pair.leader.let_go(&[gone], pair.last());
                }
                // Another one arrives with a key, and is shown when all of that is applied.
                1 if shown.len() < slots.len() => {
                    let slot = *slots.iter().find(|slot| !shown.contains(slot)).unwrap();
                    let mark = Mark {
                        passage: Passage::Arriving,
                        name: [7; Mark::NAME_BYTES],
                        version: 1,
                        slots: vec![(slot, slot)],
                    };
                    pair.propose(Some(vec![Effect::Mark(mark)]));
                    pair.apply(usize::MAX);
                    let name = names.iter().find(|name| Slot::of_key(name.as_bytes()) == slot).unwrap();
                    let change =
                        KeyEffect::Put { value: Value::Str(Str::Int(5)), expiry: None, former: Former::Unknown };
                    pair.propose(Some(vec![Effect::Key { db: DB, key: name.as_bytes().into(), change }]));
                    pair.apply(usize::MAX);
                    assert!(!pair.leader.is_all_shown());
                    pair.leader.show(&mut pair.keyspace.lock(StripeSet::ALL, NOW), &[slot]);
                    shown.push(slot);
                    pair.propose(Some(vec![Effect::Unmark {
                        passage: Passage::Arriving,
                        name: [7; Mark::NAME_BYTES],
                    }]));
                }
                2 => drop(pair.keyspace.lock(StripeSet::ALL, NOW).flush(DB)),
                3..10 => pair.propose(None),
                10..15 => pair.apply(rng.below(4) as usize),
                _ => evaluate(&pair.keyspace, &mut rng, &served),
            }
        }
        pair.propose(None);
        // The lead changes while what was committed is still being applied.
        let last = pair.last();
        pair.leader.take_back(&mut pair.keyspace.lock(StripeSet::ALL, NOW), &shown, last);
        assert_eq!(pair.keyspace.key_count(DB), 0);
        pair.apply(usize::MAX);
        assert_eq!(contents(&pair.leader), contents(&pair.follower), "seed {seed}");
        // And both go on behind the next leader.
        let change = KeyEffect::Put { value: Value::Str(Str::Int(6)), expiry: None, former: Former::Unknown };
        let put = Effect::Key { db: DB, key: names[0].as_bytes().into(), change };
        let delete = Effect::Key { db: DB, key: names[0].as_bytes().into(), change: KeyEffect::Delete(Cause::Deleted) };
        for batch in [vec![put.clone()], vec![delete, put]] {
            let entry = CommittedEntry::of(LogIndex(pair.index + 1), None, &[written(&batch)]);
            pair.leader.apply(std::slice::from_ref(&entry)).unwrap();
            pair.follower.apply(&[entry]).unwrap();
        }
        assert_eq!(contents(&pair.leader), contents(&pair.follower), "seed {seed}");
    }
}

#[test]
fn a_copy_ends_at_its_entry_and_not_while_slots_arrive() {
    let mut pair = Pair::new(&slots_of(&["key".to_owned()]));
    let (name, other) = ([1; Mark::NAME_BYTES], [2; Mark::NAME_BYTES]);
    let end = |name| Some(vec![Effect::Unmark { passage: Passage::Arriving, name }]);
    pair.leader.await_cut(name);
    pair.propose(end(other));
    pair.apply(1);
    assert!(pair.leader.take_cut(name).is_none());
    pair.leader.await_cut(name);
    pair.propose(end(name));
    pair.apply(1);
    assert_eq!(pair.leader.take_cut(name).map(|cut| cut.index), Some(LogIndex(2)));
    let slots = vec![(Slot::of_key(b"other"), Slot::of_key(b"other"))];
    let mark = Mark { passage: Passage::Arriving, name: other, version: 1, slots };
    pair.propose(Some(vec![Effect::Mark(mark)]));
    pair.leader.await_cut(name);
    pair.propose(end(name));
    pair.apply(2);
    assert!(pair.leader.take_cut(name).is_none());
}

#[test]
fn nothing_is_applied_to_a_replica_that_is_spoiled() {
    let pair = Pair::new(&[]);
    let change = KeyEffect::Put { value: Value::Str(Str::Int(1)), expiry: None, former: Former::Unknown };
    let batch = written(&vec![Effect::Key { db: DB, key: b"key"[..].into(), change }]);
    pair.follower.spoil();
    pair.follower.apply(&[CommittedEntry::of(LogIndex(1), None, &[batch])]).unwrap();
    assert!(pair.follower.is_spoiled() && contents(&pair.follower).is_empty());
    assert_eq!(pair.follower.applied(), LogIndex(1));
    pair.follower.leave();
    assert!(!pair.follower.is_spoiled(), "it has gone, and need not be ended");
}
