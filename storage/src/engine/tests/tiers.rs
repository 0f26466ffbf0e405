//! Reads that must not wait for a disk.

use super::Scratch;
use crate::effect::{DbIndex, Effect, Former, KeyEffect};
use crate::engine::rocks::testing;
use crate::engine::{Engine, Found, GroupId, LogIndex, Tier};
use crate::keyspace::Key;
use crate::rdb::values::Limits;
use crate::value::{Str, Value};

const DB: DbIndex = DbIndex(0);

fn put(number: i64) -> Effect {
    let change = KeyEffect::Put { value: Value::Str(Str::Int(number)), expiry: None, former: Former::Unknown };
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
