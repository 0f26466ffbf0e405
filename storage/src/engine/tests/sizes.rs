//! What a slot's entries are said to take.

use super::Scratch;
use crate::effect::{DbIndex, Effect, KeyEffect};
use crate::engine::{Engine, GroupId, LogIndex, Sample};
use crate::slot::Slot;
use crate::types::End;

const DB: DbIndex = DbIndex(0);

fn splice(key: &str, len: usize) -> Effect {
    Effect::Key {
        db: DB,
        key: key.as_bytes().into(),
        change: KeyEffect::Splice { offset: 0, bytes: vec![b'x'; len].into() },
    }
}

#[test]
fn small_values_large_strings_and_large_collections_are_counted() {
    let scratch = Scratch::new("sizes");
    let engine = Engine::open(scratch.open(), GroupId(1), 1).unwrap();
    let slot = Slot::of_key(b"{s}");
    let sample = |from, max| engine.sample_slot(DB, slot, from, max).unwrap();
    assert_eq!(sample(0, 10), Sample::default());
    let small: Vec<Effect> = (0..100).map(|number| splice(&format!("{{s}}{number:03}"), 50)).collect();
    engine.apply([(LogIndex(1), small)].into_iter()).unwrap();
    let all = sample(0, 1000);
    assert_eq!(all.entries, 100);
    // A key of six bytes, its place, and what says that it is a string.
    assert!((60 * 100..90 * 100).contains(&all.bytes), "{all:?}");
    assert_eq!(sample(u32::MAX / 2, 1000), all, "each is seen once, wherever one begins");
    assert_eq!(sample(u32::MAX / 2, 10), Sample { entries: 10, bytes: all.bytes / 10 });
    assert_eq!(engine.entries_by_slot(DB)[usize::from(slot.number())], 100);

    engine.apply([(LogIndex(2), vec![splice("{s}large", 1 << 20)])].into_iter()).unwrap();
    let string = sample(0, 1000).bytes - all.bytes;
    assert!(((1 << 20)..(1 << 20) + 100).contains(&string), "{string}");
    let elements = (0..20_000).map(|_| vec![b'e'; 100].into()).collect();
    let push = KeyEffect::ListPush { end: End::Back, elements };
    engine
        .apply(
            [(LogIndex(3), vec![Effect::Key { db: DB, key: b"{s}list".as_slice().into(), change: push }])].into_iter(),
        )
        .unwrap();
    let list = sample(0, 1000).bytes - all.bytes - string;
    assert!((2_000_000..2_300_000).contains(&list), "{list}");
}
