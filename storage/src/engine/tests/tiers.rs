//! Reads that must not wait for a disk.

use super::Scratch;
use crate::effect::{DbIndex, Effect, Former, KeyEffect};
use crate::engine::rocks::testing;
use crate::engine::rocks::{Rocks, RocksOptions};
use crate::engine::{Engine, Found, GroupId, LogIndex, Tier};
use crate::keyspace::Key;
use crate::rdb::values::Limits;
use crate::value::{Str, Value};

const DB: DbIndex = DbIndex(0);

fn put(number: i64) -> Effect {
    put_over(number, Former::Unknown)
}

fn put_over(number: i64, former: Former) -> Effect {
    let change = KeyEffect::Put { value: Value::Str(Str::Int(number)), expiry: None, former };
    Effect::Key { db: DB, key: format!("key{number}").into_bytes().into(), change }
}

#[test]
fn what_needs_the_disk_says_so_and_is_in_memory_afterwards() {
    let scratch = Scratch::new("tiers");
    let engine = Engine::open(scratch.open(), GroupId(1), 1).unwrap();
    engine.apply([(LogIndex(1), (0..1000).map(put).collect())].into_iter()).unwrap();
    let load = |engine: &Engine, name: &str, tier| {
        engine.load(DB, &Key::new(name.as_bytes()), tier, &Limits::default()).unwrap()
    };
    assert!(matches!(load(&engine, "key5", Tier::Memory), Found::Found(_)), "it is in a memtable");
    testing::flush(engine.rocks());
    drop(engine);
    let engine = Engine::open(scratch.open(), GroupId(1), 1).unwrap();
    assert!(matches!(load(&engine, "key5", Tier::Memory), Found::NeedsDisk));
    assert!(matches!(load(&engine, "key5", Tier::Disk), Found::Found(_)));
    assert!(matches!(load(&engine, "key5", Tier::Memory), Found::Found(_)), "its block is in the cache");
    // The filter is in the cache as well, and rules out nearly all keys that are not there.
    let ruled_out =
        (2000..3000).filter(|number| matches!(load(&engine, &format!("key{number}"), Tier::Memory), Found::Absent));
    assert!(ruled_out.count() > 950);
}

/// The filter of a large table does not fit into the cache as a whole; what was needed of it must stay there.
#[test]
fn what_rules_a_key_out_stays_in_memory_also_of_a_large_table() {
    let scratch = Scratch::new("large-table");
    // So that each shard of the cache has as little as it may have.
    let options = RocksOptions { memory_bytes: 16 << 20, ..RocksOptions::default() };
    let rocks = Rocks::open(scratch.path(), &options).unwrap();
    let engine = Engine::open(rocks, GroupId(1), 1).unwrap();
    for index in 0..46 {
        let batch = (index * 10_000..(index + 1) * 10_000).map(|number| put_over(number, Former::Nothing)).collect();
        engine.apply([(LogIndex(1 + index as u64), batch)].into_iter()).unwrap();
    }
    testing::flush(engine.rocks());
    testing::compact(engine.rocks());
    let load = |name: &str, tier| engine.load(DB, &Key::new(name.as_bytes()), tier, &Limits::default()).unwrap();
    let absent: Vec<String> = (0..20).map(|number| format!("absent{number}")).collect();
    let stays = |name: &&String| {
        assert!(matches!(load(name, Tier::Disk), Found::Absent));
        matches!(load(name, Tier::Memory), Found::Absent)
    };
    assert!(absent.iter().filter(stays).count() >= 15);
}
