//! Replicas that have applied the same have the same digest, whatever else is different; and no other one has it.

use super::Scratch;
use super::steps::{DATABASES, batch, universe};
use crate::effect::{self, Batch, Check, DbIndex, Effect, Former, KeyEffect};
use crate::engine::rocks::testing;
use crate::engine::{
    Cleaning, Engine, EngineError, GroupId, HOME_STORE, LogIndex, Rocks, StateDigest, StateImport,
    split_collections_above,
};
use crate::keyspace::{Key, Keyspace};
use crate::rng::Rng;
use crate::slot::{SLOT_COUNT, Slot};
use crate::value::{Str, StrForm, Value};
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

const ALL: RangeInclusive<u16> = 0..=SLOT_COUNT as u16 - 1;

fn open(rocks: &Arc<Rocks>, store: GroupId) -> Engine {
    Engine::open(rocks.clone(), store, DATABASES).unwrap()
}

fn digest_of(engine: &Engine, slots: RangeInclusive<u16>) -> StateDigest {
    let slots = Slot::new(*slots.start()).unwrap()..=Slot::new(*slots.end()).unwrap();
    engine.snapshot().digest(slots, |_| ControlFlow::Continue(())).unwrap().expect("nobody ends it")
}

/// Slots and marks; how much was read depends on how it is kept.
fn seen(engine: &Engine) -> (Vec<(Slot, u64)>, u64) {
    let digest = digest_of(engine, ALL);
    (digest.slots, digest.marks)
}

fn founded_by_a_copy(source: &Engine, rocks: &Arc<Rocks>) -> Engine {
    let store = rocks.new_store().unwrap();
    let mut import = StateImport::new(rocks.clone(), store);
    source.export(1000, drop, |(), chunk| import.add(&chunk)).unwrap();
    assert!(import.is_complete());
    open(rocks, store)
}

#[test]
fn what_has_applied_the_same_is_the_same() {
    for seed in 0..2 {
        println!("SEED={seed}");
        let mut rng = Rng::seeded(seed);
        let keyspace = Keyspace::new(DATABASES);
        let [one_scratch, other_scratch, third_scratch] = ["one", "other", "third"].map(Scratch::new);
        let (one_rocks, third_rocks) = (one_scratch.open(), third_scratch.open());
        let one = open(&one_rocks, HOME_STORE);
        let mut other = open(&other_scratch.open(), HOME_STORE);
        let mut copy = None;
        let mut index = 0;
        for round in 0..30 {
            let entries: Vec<(LogIndex, Batch)> = (0..1 + rng.below(12))
                .map(|_| {
                    index += 1;
                    (LogIndex(index), batch(&mut rng, &keyspace))
                })
                .collect();
            // One applies them one by one and never cleans. The other does so all at once, starts anew now and then,
            // and puts in parts what the first one keeps whole.
            split_collections_above(1 << 10);
            entries.iter().for_each(|entry| one.apply([entry.clone()].into_iter()).unwrap());
            copy.iter().for_each(|copy: &Engine| copy.apply(entries.iter().cloned()).unwrap());
            split_collections_above(30);
            other.apply(entries.into_iter()).unwrap();
            match rng.below(4) {
                0 => {
                    drop(other);
                    other = open(&other_scratch.open(), HOME_STORE);
                }
                1 => while other.clean_some(100).unwrap() == Cleaning::More {},
                2 => testing::flush(other.rocks()),
                _ => {}
            }
            if round == 15 {
                copy = Some(founded_by_a_copy(&one, &third_rocks));
            }
            assert_eq!(seen(&one), seen(&other));
            copy.iter().for_each(|copy| assert_eq!(seen(&one), seen(copy)));
        }
    }
}

fn put(key: &[u8], value: &[u8]) -> Effect {
    let value = Value::Str(Str::Bytes(value.to_vec(), StrForm::Plain));
    let change = KeyEffect::Put { value, expiry: None, former: Former::Unknown };
    Effect::Key { db: DbIndex(0), key: key.into(), change }
}

#[test]
fn how_a_value_is_kept_does_not_matter() {
    let scratches = ["whole", "spliced"].map(Scratch::new);
    let [whole, spliced] = scratches.each_ref().map(|scratch| open(&scratch.open(), HOME_STORE));
    let mut text = vec![b'x'; 20_000];
    text.resize(60_000, 0);
    text.extend_from_slice(b"end");
    whole.apply([(LogIndex(1), vec![put(b"key", &text), put(b"n", b"12")])].into_iter()).unwrap();
    let splice = |offset, bytes: &[u8]| Effect::Key {
        db: DbIndex(0),
        key: (*b"key").into(),
        change: KeyEffect::Splice { offset, bytes: bytes.into() },
    };
    // In chunks, of which some are missing.
    let number = KeyEffect::Put { value: Value::Str(Str::Int(12)), expiry: None, former: Former::Unknown };
    let number = Effect::Key { db: DbIndex(0), key: (*b"n").into(), change: number };
    let batch = vec![splice(60_000, b"end"), splice(0, &text[..20_000]), number];
    spliced.apply([(LogIndex(1), batch)].into_iter()).unwrap();
    assert_eq!(seen(&whole), seen(&spliced));
}

#[test]
fn a_difference_is_found_in_its_slot() {
    let scratches = ["sound", "damaged"].map(Scratch::new);
    let [sound, damaged] = scratches.each_ref().map(|scratch| open(&scratch.open(), HOME_STORE));
    for engine in [&sound, &damaged] {
        let names = universe();
        let batch = names.iter().map(|name| put(name, b"value")).collect();
        engine.apply([(LogIndex(1), batch)].into_iter()).unwrap();
    }
    assert_eq!(seen(&sound), seen(&damaged));
    let key = Key::new(b"key1");
    assert!(damaged.damage(DbIndex(0), &key).unwrap());
    assert!(!damaged.damage(DbIndex(0), &Key::new(b"there is none")).unwrap());
    let (expected, found) = (seen(&sound).0, seen(&damaged).0);
    let differing: Vec<_> = expected.iter().zip(&found).filter(|(one, other)| one != other).collect();
    assert!(matches!(differing[..], [((slot, _), _)] if *slot == key.slot), "{differing:?}");
    // What lies elsewhere is the same.
    let number = key.slot.number();
    let elsewhere = |engine| (digest_of(engine, 0..=number - 1).slots, digest_of(engine, number + 1..=16383).slots);
    assert_eq!(elsewhere(&sound), elsewhere(&damaged));
    let both = elsewhere(&sound);
    assert_eq!(both.0.len() + both.1.len() + 1, expected.len());
}

#[test]
fn whoever_is_told_may_end_it() {
    let scratch = Scratch::new("ended");
    let engine = open(&scratch.open(), HOME_STORE);
    let batch = (0..40).map(|number: u32| put(&number.to_be_bytes(), &[b'v'; 20_000])).collect();
    engine.apply([(LogIndex(1), batch)].into_iter()).unwrap();
    let mut told = Vec::new();
    let slots = Slot::new(0).unwrap()..=Slot::new(16383).unwrap();
    let digest = engine.snapshot().digest(slots.clone(), |bytes| {
        told.push(bytes);
        ControlFlow::Continue(())
    });
    let digest: Result<_, EngineError> = digest;
    assert_eq!(digest.unwrap().unwrap().bytes, told.iter().sum::<u64>());
    assert!(told.len() > 2);
    assert_eq!(engine.snapshot().digest(slots, |_| ControlFlow::Break(())).unwrap(), None);
}

#[test]
fn a_check_is_applied_as_nothing() {
    let scratches = ["checked", "plain"].map(Scratch::new);
    let [checked, plain] = scratches.each_ref().map(|scratch| open(&scratch.open(), HOME_STORE));
    let slots = Slot::new(3).unwrap()..=Slot::new(700).unwrap();
    let check = Check { id: u64::MAX - 5, slots };
    let mut bytes = Vec::new();
    effect::encode(&check.batch(), &mut bytes);
    assert_eq!(Check::of(&bytes), Some(check));
    let data = vec![put(b"key", b"value")];
    for engine in [&checked, &plain] {
        engine.apply([(LogIndex(1), data.clone())].into_iter()).unwrap();
    }
    checked.apply_encoded([(LogIndex(2), Some(&bytes[..]))].into_iter()).unwrap();
    plain.apply_encoded([(LogIndex(2), None)].into_iter()).unwrap();
    assert_eq!(seen(&checked), seen(&plain));
    assert!(checked.marks().is_empty());
}
