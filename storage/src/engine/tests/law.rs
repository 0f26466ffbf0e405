//! The law: what is applied to the engine is what is applied to a keyspace, through restarts and cleaning.

use super::Scratch;
use super::steps::{DATABASES, batch, universe};
use crate::clock::UnixMs;
use crate::effect::{self, Batch, DbIndex, samples};
use crate::engine::rocks::testing;
use crate::engine::{Cleaning, Engine, Found, GroupId, LogIndex, PartName, SlotCounts, Tier};
use crate::entry::{Entry, Stamp};
use crate::keyspace::{Key, Keyspace};
use crate::rdb::values::Limits;
use crate::rng::Rng;
use crate::slot::{SLOT_COUNT, Slot, StripeSet};
use crate::value::Type;
use std::collections::BTreeSet;

const GROUP: GroupId = GroupId(1);

fn open(scratch: &Scratch) -> Engine {
    Engine::open(scratch.open(), GROUP, DATABASES).unwrap()
}

/// In the form that the log has.
fn logged(batch: &Batch) -> Vec<u8> {
    let mut bytes = Vec::new();
    effect::encode(batch, &mut bytes);
    bytes
}

pub fn assert_same(engine: &Engine, keyspace: &Keyspace) {
    let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
    view.stop_expiring();
    for db in (0..DATABASES).map(DbIndex) {
        let mut volatile = 0;
        for name in universe() {
            let key = Key::new(&name);
            let found = engine.load(db, &key, Tier::Disk, &Limits::default()).unwrap();
            let Some(entry) = view.peek(db, &key) else {
                assert!(matches!(found, Found::Absent), "{db:?} {name:?} is on disk");
                continue;
            };
            let Found::Found(loaded) = found else { panic!("{db:?} {name:?} is not on disk") };
            let expected = entry.to_value();
            assert!(samples::neutral(&loaded.value) == samples::neutral(&expected), "{db:?} {name:?} differs");
            assert_eq!(loaded.expiry, entry.expiry());
            volatile += u64::from(loaded.expiry.is_some());
            if expected.type_of() == Type::String {
                let again = Entry::new(&name, loaded.value.clone(), None, Stamp::default());
                assert_eq!(again.as_ref().encoding(), entry.encoding(), "{db:?} {name:?}");
            }
            let Found::Found(summary) = engine.peek(db, &key, Tier::Disk).unwrap() else { panic!("it was found") };
            assert_eq!((summary.value_type, summary.expiry), (expected.type_of(), entry.expiry()));
            let part = engine.part(db, &key, PartName::Named(b"n7"), Tier::Disk).unwrap();
            assert!(matches!(part, Found::Found(part) if part.summary == summary));
        }
        let totals = SlotCounts { entries: view.keyspace().key_count(db), volatile };
        assert_eq!(engine.totals(db), totals, "{db:?}");
    }
    let due: BTreeSet<_> = engine.due(UnixMs(i64::MAX), usize::MAX, |_| true).unwrap().into_iter().collect();
    for db in (0..DATABASES).map(DbIndex) {
        for name in universe() {
            let is_volatile = view.peek(db, &Key::new(&name)).is_some_and(|entry| entry.expiry().is_some());
            assert_eq!(due.contains(&(db, name)), is_volatile);
        }
    }
}

fn assert_walks_and_snapshots_are_complete(engine: &Engine, keyspace: &Keyspace) {
    let snapshot = engine.snapshot();
    assert_eq!(snapshot.applied(), engine.applied());
    for db in (0..DATABASES).map(DbIndex) {
        let mut walked = Vec::new();
        // Nearly all slots are empty; some of these are walked as well.
        let is_walked = |slot: &Slot| slot.number().is_multiple_of(256) || engine.counts(db, *slot).entries > 0;
        for slot in (0..SLOT_COUNT as u16).filter_map(Slot::new).filter(is_walked) {
            let before = walked.len();
            let mut from = Some(0);
            while let Some(hash) = from {
                from = engine.walk_slot(db, slot, hash, 2, |key, _, _| walked.push(key.to_vec())).unwrap();
            }
            assert_eq!(engine.counts(db, slot).entries, (walked.len() - before) as u64);
        }
        assert_eq!(walked.len() as u64, keyspace.key_count(db));
        let mut dumped = Vec::new();
        let visit = |key: &[u8], _| {
            dumped.push(key.to_vec());
            Ok::<(), crate::engine::EngineError>(())
        };
        snapshot.entries(db, &Limits::default(), visit).unwrap();
        assert_eq!(dumped.iter().collect::<BTreeSet<_>>(), walked.iter().collect());
        assert_eq!(dumped.len(), walked.len());
        let counted = snapshot.databases().find(|(other, _)| *other == db).map_or(0, |(_, counts)| counts.entries);
        assert_eq!(counted, dumped.len() as u64);
    }
}

fn clean(engine: &Engine, budget: usize) {
    while engine.clean_some(budget).unwrap() == Cleaning::More {}
}

fn run(seed: u64) {
    let mut rng = Rng::seeded(seed);
    let scratch = Scratch::new("law");
    let (mut engine, keyspace) = (open(&scratch), Keyspace::new(DATABASES));
    let mut index = 0;
    for round in 0..40 {
        let mut entries = Vec::new();
        for _ in 0..1 + rng.below(20) {
            index += 1 + rng.below(2);
            for _ in 0..rng.below(3) {
                entries.push((LogIndex(index), Some(logged(&batch(&mut rng, &keyspace)))));
            }
            entries.push((LogIndex(index), None));
        }
        // Once with many entries to a write, once with one.
        if rng.below(2) == 0 {
            engine.apply_encoded(entries.iter().map(|(index, bytes)| (*index, bytes.as_deref()))).unwrap();
        } else {
            let decoded =
                |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(Batch::new(), |it| effect::decode(it).unwrap());
            for chunk in entries.chunk_by(|(one, _), (other, _)| one == other) {
                engine.apply(chunk.iter().map(|(index, bytes)| (*index, decoded(bytes)))).unwrap();
            }
        }
        assert_eq!(engine.applied(), LogIndex(index));
        match rng.below(6) {
            0 => {
                drop(engine);
                engine = open(&scratch);
                assert_eq!(engine.applied(), LogIndex(index));
            }
            1 => drop(engine.clean_some(rng.below(50) as usize).unwrap()),
            2 => testing::flush(engine.rocks()),
            _ => {}
        }
        assert_same(&engine, &keyspace);
        if round % 10 == 9 {
            clean(&engine, 1 + rng.below(100) as usize);
            testing::assert_tidy(&engine);
            assert_same(&engine, &keyspace);
        }
    }
    assert_walks_and_snapshots_are_complete(&engine, &keyspace);
}

#[test]
fn disk_and_memory_agree_after_any_effects() {
    let seeds = match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..4,
    };
    for seed in seeds {
        println!("SEED={seed}");
        run(seed);
    }
}

#[test]
fn an_effect_that_does_not_fit_changes_nothing() {
    let scratch = Scratch::new("diverged");
    let engine = open(&scratch);
    let (db, key) = (DbIndex(0), Box::<[u8]>::from(&b"key"[..]));
    let effect = |change| effect::Effect::Key { db, key: key.clone(), change };
    let pushed = effect(effect::KeyEffect::ListPush { end: crate::types::End::Back, elements: vec![key.clone()] });
    engine.apply([(LogIndex(1), vec![pushed])].into_iter()).unwrap();
    let fitting = || effect(effect::KeyEffect::SetExpiry(Some(UnixMs(1))));
    let changes = [
        effect::KeyEffect::ListPop { end: crate::types::End::Back, count: 2 },
        effect::KeyEffect::SetAdd { members: vec![key.clone()] },
        effect::KeyEffect::ListSet { index: 1, element: key.clone() },
        effect::KeyEffect::HashRemove { fields: vec![key.clone()] },
    ];
    for change in changes {
        let error = engine.apply([(LogIndex(2), vec![fitting(), effect(change)])].into_iter()).unwrap_err();
        assert!(error.to_string().starts_with("log entry 2 "), "{error}");
        assert_eq!(engine.applied(), LogIndex(1));
    }
    let Found::Found(summary) = engine.peek(db, &Key::new(&key), Tier::Disk).unwrap() else { panic!("it is there") };
    assert_eq!((summary.expiry, summary.len), (None, 1));
}
