//! Keyspaces that are filled from one state: what an evaluation in them sees.

use super::Scratch;
use crate::clock::UnixMs;
use crate::effect::{Batch, Cause, DbIndex, Effect, Former, KeyEffect, Mark, Passage};
use crate::engine::{Engine, EngineSnapshot, GroupId, LogIndex, PartName, Tier};
use crate::keyspace::{Excerpt, Filled, Key, Keyspace, Need, Partial};
use crate::slot::{Slot, StripeSet};
use crate::types::Hash;
use crate::value::{Str, Value};

const DB: DbIndex = DbIndex(0);
const NOW: UnixMs = UnixMs(1000);

fn effect(key: &str, change: KeyEffect) -> Effect {
    Effect::Key { db: DB, key: key.as_bytes().into(), change }
}

fn put(key: &str, number: i64, expiry: Option<UnixMs>) -> Effect {
    effect(key, KeyEffect::Put { value: Value::Str(Str::Int(number)), expiry, former: Former::Unknown })
}

fn apply(engine: &Engine, index: u64, batch: Batch) {
    engine.apply([(LogIndex(index), batch)].into_iter()).unwrap();
}

fn fill(excerpt: &mut Excerpt, state: &EngineSnapshot<'_>, key: &str, need: Need<'_>) {
    let filled = excerpt.fill(state, &Key::new(key.as_bytes()), need, Tier::Disk, NOW).unwrap();
    assert_eq!(filled, Filled::Yes);
}

/// What GET would answer.
fn text(excerpt: &Excerpt, key: &str) -> Option<String> {
    let key = Key::new(key.as_bytes());
    let mut view = excerpt.keyspace().lock(StripeSet::of(key.slot.stripe()), NOW);
    let string = view.partial_string(DB, &key).unwrap()?;
    Some(string.with_range(0..string.len(), |bytes| String::from_utf8(bytes.to_vec()).unwrap()))
}

#[test]
fn all_keys_are_of_one_state_and_what_is_due_is_not_there() {
    let scratch = Scratch::new("excerpt");
    let engine = Engine::open(scratch.open(), GroupId(1), 1).unwrap();
    let (past, future) = (Some(UnixMs(NOW.0 - 1)), Some(UnixMs(NOW.0 + 1)));
    apply(&engine, 1, vec![put("a", 1, None), put("b", 1, None), put("due", 1, past), put("later", 1, future)]);
    let keyspace = Keyspace::new(1);
    let mut excerpt = Excerpt::beside(&keyspace);
    {
        let state = engine.snapshot();
        fill(&mut excerpt, &state, "a", Need::Value);
        apply(
            &engine,
            2,
            vec![put("a", 2, None), put("b", 2, None), effect("later", KeyEffect::Delete(Cause::Deleted))],
        );
        for key in ["b", "due", "later", "absent"] {
            fill(&mut excerpt, &state, key, Need::Value);
        }
        assert_eq!(state.applied(), LogIndex(1));
    }
    let shown = ["a", "b", "due", "later", "absent"].map(|key| text(&excerpt, key));
    assert_eq!(shown, [Some("1"), Some("1"), None, Some("1"), None].map(|text| text.map(str::to_owned)));
    // The next one to use it finds nothing of that, and what was counted is not lost.
    excerpt.clear(&keyspace.stats);
    assert_eq!(text(&excerpt, "a"), None);
    let counted =
        [&keyspace.stats.hits, &keyspace.stats.misses].map(|count| count.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(counted, [3, 2]);
    fill(&mut excerpt, &engine.snapshot(), "a", Need::Value);
    assert_eq!(text(&excerpt, "a").as_deref(), Some("2"));
}

#[test]
fn of_a_large_value_there_is_what_was_named_or_all_of_it() {
    let scratch = Scratch::new("excerpt");
    let engine = Engine::open(scratch.open(), GroupId(1), 1).unwrap();
    let name = |number: u32| format!("{number:05}").into_bytes().into_boxed_slice();
    let fields = (0..3000).map(|number| (name(number), name(number + 1))).collect();
    apply(&engine, 1, vec![effect("hash", KeyEffect::HashPut { fields })]);
    let mut excerpt = Excerpt::beside(&Keyspace::new(1));
    let (key, known, unnamed) = (Key::new(b"hash"), name(7), name(8));
    let nothing = name(3000);
    let state = engine.snapshot();
    let select = |_| Some(vec![PartName::Named(&known), PartName::Named(&nothing)]);
    fill(&mut excerpt, &state, "hash", Need::Parts(&select));
    let field = |excerpt: &Excerpt, name: &[u8]| {
        let mut view = excerpt.keyspace().lock(StripeSet::of(key.slot.stripe()), NOW);
        let hash: Partial<'_, Hash> = view.partial(DB, &key).unwrap().unwrap();
        assert_eq!(hash.len(), 3000);
        hash.with_field(name, |value| value.map(<[u8]>::to_vec))
    };
    assert_eq!(field(&excerpt, &known).as_deref(), Some(&*name(8)));
    assert_eq!(field(&excerpt, &nothing), None);
    assert!(!excerpt.is_short(), "both were named");
    assert_eq!(field(&excerpt, &unnamed), None);
    assert!(excerpt.is_short(), "nobody has named it");
    let memory = excerpt.fill(&state, &key, Need::Value, Tier::Memory, NOW).unwrap();
    assert_eq!(memory, Filled::NeedsDisk, "it is put together where somebody may wait");
    fill(&mut excerpt, &state, "hash", Need::Value);
    assert_eq!(field(&excerpt, &unnamed).as_deref(), Some(&*name(9)));
    excerpt.clear(&Keyspace::new(1).stats);
    assert!(!excerpt.is_short());
}

#[test]
fn a_state_knows_its_seals_also_when_they_are_gone() {
    let scratch = Scratch::new("excerpt");
    let rocks = scratch.open();
    let slot = |number| Slot::new(number).unwrap();
    let name = [7; Mark::NAME_BYTES];
    {
        let engine = Engine::open(rocks.clone(), GroupId(1), 1).unwrap();
        assert_eq!(engine.snapshot().sealed_version(), 0);
        let mark = Mark { passage: Passage::Sealed, name, version: 31, slots: vec![(slot(5), slot(9))] };
        apply(&engine, 1, vec![Effect::Mark(mark)]);
        let state = engine.try_snapshot().expect("nobody applies");
        assert!(state.is_on_its_way(slot(9)) && !state.is_on_its_way(slot(10)));
        apply(&engine, 2, vec![Effect::Unmark { passage: Passage::Sealed, name }]);
        assert!(state.is_on_its_way(slot(5)), "a state stays as it is");
        let arrival = Mark { passage: Passage::Arriving, name, version: 40, slots: vec![(slot(1), slot(1))] };
        apply(&engine, 3, vec![Effect::Mark(arrival)]);
    }
    let engine = Engine::open(rocks, GroupId(1), 1).unwrap();
    let state = engine.snapshot();
    assert!(!state.is_on_its_way(slot(5)) && state.is_on_its_way(slot(1)));
    assert_eq!(state.sealed_version(), 31);
}
