//! Slots that move: copied as effects, cleared in pieces, and remembered to be on their way.

use super::Scratch;
use super::law::assert_same;
use super::steps::{DATABASES, batch, universe};
use crate::clock::UnixMs;
use crate::effect::{Batch, DbIndex, Effect, Mark, Passage};
use crate::engine::rocks::testing;
use crate::engine::{Cleaning, Engine, EngineError, GroupId, LogIndex};
use crate::keyspace::Keyspace;
use crate::rdb::values::Limits;
use crate::rng::Rng;
use crate::slot::Slot;
use std::collections::BTreeSet;

const SOURCE: GroupId = GroupId(1);
const TARGET: GroupId = GroupId(2);

/// An engine, and how far its log is.
struct Group {
    engine: Engine,
    index: u64,
}

impl Group {
    fn open(scratch: &Scratch, group: GroupId) -> Group {
        Group { engine: Engine::open(scratch.open(), group, DATABASES).unwrap(), index: 0 }
    }

    fn apply(&mut self, batch: Batch) {
        self.index += 1;
        self.engine.apply([(LogIndex(self.index), batch)].into_iter()).unwrap();
    }
}

fn slots() -> BTreeSet<Slot> {
    universe().iter().map(|key| Slot::of_key(key)).collect()
}

fn databases() -> impl Iterator<Item = DbIndex> {
    (0..DATABASES).map(DbIndex)
}

#[test]
fn a_copied_slot_is_the_same_elsewhere_and_stays_so() {
    for seed in 0..6 {
        let mut rng = Rng::seeded(seed);
        let keyspace = Keyspace::new(DATABASES);
        let (here, there) = (Scratch::new("copy-from"), Scratch::new("copy-to"));
        let (mut source, mut target) = (Group::open(&here, SOURCE), Group::open(&there, TARGET));
        for _ in 0..300 {
            source.apply(batch(&mut rng, &keyspace));
        }
        let snapshot = source.engine.snapshot();
        let batch_bytes = 1 + rng.below(20_000) as usize;
        for db in databases() {
            let copied = snapshot.copy_slots(db, slots().into_iter(), &Limits::default(), batch_bytes, |batch| {
                target.apply(batch);
                Ok::<(), EngineError>(())
            });
            copied.unwrap();
        }
        drop(snapshot);
        assert_same(&target.engine, &keyspace);
        for _ in 0..200 {
            let batch = batch(&mut rng, &keyspace);
            source.apply(batch.clone());
            target.apply(batch);
        }
        assert_same(&source.engine, &keyspace);
        assert_same(&target.engine, &keyspace);
        while target.engine.clean_some(1000).unwrap() == Cleaning::More {}
        testing::assert_tidy(&target.engine);
    }
}

#[test]
fn slots_are_cleared_in_pieces_alike_in_memory_and_on_disk() {
    for seed in 0..6 {
        let mut rng = Rng::seeded(seed);
        let keyspace = Keyspace::new(DATABASES);
        let scratch = Scratch::new("clear");
        let mut group = Group::open(&scratch, SOURCE);
        for _ in 0..20 {
            for _ in 0..10 {
                group.apply(batch(&mut rng, &keyspace));
            }
            // Together with what was just changed and is in the same write.
            let mut together = batch(&mut rng, &keyspace);
            for slot in slots() {
                let db = DbIndex(rng.below(DATABASES.into()) as u16);
                let (one, other) = (rng.next_u64() as u32, rng.next_u64() as u32);
                let clear = Effect::Clear { db, slot, hashes: (one.min(other), one.max(other)) };
                keyspace.apply(vec![clear.clone()], UnixMs(0));
                together.push(clear);
            }
            group.apply(together);
            assert_same(&group.engine, &keyspace);
        }
        while group.engine.clean_some(1000).unwrap() == Cleaning::More {}
        testing::assert_tidy(&group.engine);
    }
}

#[test]
fn what_is_known_of_slots_on_their_way_survives() {
    let scratch = Scratch::new("marks");
    let mut group = Group::open(&scratch, SOURCE);
    let slot = |number: u16| Slot::new(number).unwrap();
    let mark = |passage, name: u8, version, slots| Mark { passage, name: [name; Mark::NAME_BYTES], version, slots };
    let sealed = mark(Passage::Sealed, 1, 7, vec![(slot(3), slot(5)), (slot(9), slot(9))]);
    let arriving = mark(Passage::Arriving, 1, 8, vec![(slot(20), slot(30))]);
    group.apply(vec![Effect::Mark(sealed.clone()), Effect::Mark(arriving.clone())]);
    drop(group);
    let mut group = Group::open(&scratch, SOURCE);
    group.index = 1;
    assert_eq!(group.engine.marks(), [sealed.clone(), arriving.clone()]);
    let [sealed_slots, arriving_slots] = [Passage::Sealed, Passage::Arriving].map(|way| group.engine.marked(way));
    assert!(sealed_slots.contains(slot(4)) && !sealed_slots.contains(slot(20)));
    assert!(arriving_slots.contains(slot(30)) && !arriving_slots.contains(slot(9)));

    let narrower = mark(Passage::Sealed, 1, 9, vec![(slot(3), slot(3))]);
    group.apply(vec![Effect::Mark(narrower.clone())]);
    assert_eq!(group.engine.marks(), [arriving.clone(), narrower]);
    group.apply(vec![Effect::Unmark { passage: Passage::Sealed, name: [1; Mark::NAME_BYTES] }]);
    group.apply(vec![Effect::Unmark { passage: Passage::Sealed, name: [1; Mark::NAME_BYTES] }]);
    assert_eq!(group.engine.marks(), [arriving]);
}
