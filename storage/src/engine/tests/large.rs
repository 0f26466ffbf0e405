//! Large values: what a write and a read of a part cost and give.

use super::Scratch;
use crate::effect::{DbIndex, Effect, KeyEffect};
use crate::engine::{Engine, Extent, Found, GroupId, LogIndex, Part, PartName, Tier};
use crate::keyspace::{Key, Settings};
use crate::rdb::values::Limits;
use crate::types::End;
use crate::value::{Type, Value};
use std::collections::BTreeMap;

const DB: DbIndex = DbIndex(0);

fn number(number: u64) -> Box<[u8]> {
    format!("{number:06}").into_bytes().into()
}

fn effect(key: &str, change: KeyEffect) -> Effect {
    Effect::Key { db: DB, key: key.as_bytes().into(), change }
}

fn part(engine: &Engine, key: &str, name: PartName<'_>) -> (u64, Option<Part>) {
    match engine.part(DB, &Key::new(key.as_bytes()), name, Tier::Disk).unwrap() {
        Found::Found(read) => (read.summary.len, read.part),
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_of_small_and_large_values_are_read_alike() {
    let scratch = Scratch::new("large");
    let engine = Engine::open(scratch.open(), GroupId(1), 1).unwrap();
    for (index, count) in [(1, 3), (2, 5000)] {
        let all = || (0..count).map(number);
        let batch = vec![
            effect("list", KeyEffect::ListPush { end: End::Front, elements: all().collect() }),
            effect("set", KeyEffect::SetAdd { members: all().collect() }),
            effect("hash", KeyEffect::HashPut { fields: all().map(|n| (n.clone(), n)).collect() }),
            effect("zset", KeyEffect::ZsetPut { members: all().map(|n| (n, 1.5)).collect() }),
            effect("string", KeyEffect::Splice { offset: count as usize * 20, bytes: number(7) }),
        ];
        engine.apply([(LogIndex(index), batch)].into_iter()).unwrap();
        let (second, missing) = (number(1), number(999_999));
        let len = if index == 1 { 3 } else { 5003 };
        assert_eq!(part(&engine, "list", PartName::Index(0)), (len, Some(Part::Bytes(number(count - 1).into()))));
        assert_eq!(part(&engine, "list", PartName::Index(-1)), (len, Some(Part::Bytes(number(0).into()))));
        assert_eq!(part(&engine, "list", PartName::Index(len as i64)), (len, None));
        assert_eq!(part(&engine, "list", PartName::Index(-(len as i64) - 1)), (len, None));
        assert_eq!(part(&engine, "set", PartName::Named(&second)), (count, Some(Part::Member)));
        assert_eq!(part(&engine, "hash", PartName::Named(&second)), (count, Some(Part::Bytes(second.to_vec()))));
        assert_eq!(part(&engine, "zset", PartName::Named(&second)), (count, Some(Part::Score(1.5))));
        for key in ["set", "hash", "zset"] {
            assert_eq!(part(&engine, key, PartName::Named(&missing)), (count, None));
        }
        let start = count * 20 - 2;
        let range = PartName::Range { start, len: 5 };
        assert_eq!(part(&engine, "string", range), (count * 20 + 6, Some(Part::Bytes([&[0, 0][..], b"000"].concat()))));
    }
    let absent = engine.part(DB, &Key::new(b"absent"), PartName::Index(0), Tier::Disk).unwrap();
    assert!(matches!(absent, Found::Absent));
}

#[test]
fn an_outline_leads_to_all_parts_page_by_page_and_to_the_value() {
    let scratch = Scratch::new("outline");
    let engine = Engine::open(scratch.open(), GroupId(1), 1).unwrap();
    let fields = (0..5000).map(|n| (number(n), number(n + 1))).collect();
    engine.apply([(LogIndex(1), vec![effect("hash", KeyEffect::HashPut { fields })])].into_iter()).unwrap();
    let (physical, limits) = (engine.physical_databases().0[0], Limits::of(&Settings::default()));
    let load = |above| {
        let found = engine.load_physical(physical, &Key::new(b"hash"), Tier::Disk, Extent::Outline { above }, &limits);
        let Found::Found(loaded) = found.unwrap() else { panic!("it is there") };
        loaded.value
    };
    assert!(matches!(load(5000), Value::Hash(_)), "it has no more parts than that");
    let Value::Outline(outline) = load(4999) else { panic!("it has more parts") };
    assert_eq!((outline.value_type(), outline.len()), (Type::Hash, 5000));
    let (mut seen, mut from) = (BTreeMap::new(), Some(0));
    while let Some(hash) = from {
        let name = PartName::Page { from: hash, count: 100 };
        let found = engine.part_of(&outline, name, Tier::Disk).unwrap();
        let Found::Found(Part::Page { named, next }) = found else { panic!("{found:?}") };
        assert!((100..110).contains(&named.len()) || next.is_none());
        for (name, part) in named {
            assert_eq!(seen.insert(name, part), None, "each is shown once");
        }
        from = next;
    }
    let expected: BTreeMap<_, _> = (0..5000).map(|n| (number(n), Part::Bytes(number(n + 1).into()))).collect();
    assert!(seen == expected);
    let Value::Hash(whole) = engine.value_of(&outline, &limits).unwrap() else { panic!("a hash") };
    assert_eq!(whole.len(), 5000);
}

#[test]
fn a_change_of_a_large_value_writes_what_it_touches() {
    let scratch = Scratch::new("cost");
    let engine = Engine::open(scratch.open(), GroupId(1), 1).unwrap();
    let all = || (0..50_000).map(number).collect::<Vec<_>>();
    let fill = vec![
        effect("list", KeyEffect::ListPush { end: End::Back, elements: all() }),
        effect("set", KeyEffect::SetAdd { members: all() }),
        effect("string", KeyEffect::Splice { offset: 1 << 20, bytes: number(1) }),
    ];
    engine.apply([(LogIndex(1), fill)].into_iter()).unwrap();
    let changes = [
        effect("list", KeyEffect::ListPush { end: End::Front, elements: vec![number(7)] }),
        effect("list", KeyEffect::ListPop { end: End::Back, count: 40_000 }),
        effect("list", KeyEffect::ListInsert { index: 9_990, element: number(3) }),
        effect("set", KeyEffect::SetRemove { members: vec![number(9)] }),
        effect("string", KeyEffect::Splice { offset: 5, bytes: number(1) }),
        Effect::Rename { from_db: DB, from: b"set"[..].into(), to_db: DB, to: b"other"[..].into() },
        effect("list", KeyEffect::Delete(crate::effect::Cause::Deleted)),
    ];
    for (index, change) in (2..).zip(changes) {
        let before = engine.rocks().statistics().payload_bytes_written;
        engine.apply([(LogIndex(index), vec![change])].into_iter()).unwrap();
        let written = engine.rocks().statistics().payload_bytes_written - before;
        assert!(written < 20_000, "change {index} wrote {written} bytes");
    }
}
