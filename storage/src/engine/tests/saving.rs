//! State has no write-ahead log: what of it a process leaves behind that ends at any moment.

use super::Scratch;
use crate::effect::{Batch, Cause, DbIndex, Effect, Former, KeyEffect};
use crate::engine::{Durability, Engine, GroupId, LogIndex, LogWrite, Rocks, RocksOptions};
use crate::value::{Str, StrForm, Value};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const GROUP: GroupId = GroupId(1);
const KEYS: u64 = 40;

fn put(key: String, body: &[u8]) -> Effect {
    let value = Value::Str(Str::Bytes(body.into(), StrForm::Plain));
    let change = KeyEffect::Put { value, expiry: None, former: Former::Unknown };
    Effect::Key { db: DbIndex(0), key: key.into_bytes().into(), change }
}

/// Makes `KEYS` more entries.
fn batch(index: u64) -> Batch {
    (0..KEYS).map(|number| put(format!("{index}/{number}"), b"value")).collect()
}

fn apply(rocks: &Rocks, engine: &Engine, index: u64) {
    let write = LogWrite { group: GROUP, entries: &[(index, b"an entry")], delete_tail: 0..0, state: None };
    rocks.log_write(&[write], Durability::Written).unwrap();
    engine.apply([(LogIndex(index), batch(index))].into_iter()).unwrap();
}

/// What a process would find if this one ended now. Files may go while they are copied, which no crash does: then it is
/// tried again.
pub fn left_behind(scratch: &Scratch) -> Scratch {
    let copy = Scratch::new("left-behind");
    while !copied(scratch.path(), copy.path()) {
        fs::remove_dir_all(copy.path()).unwrap();
    }
    copy
}

fn copied(from: &Path, to: &Path) -> bool {
    fs::create_dir_all(to).unwrap();
    // This one names all others, so it must not know of any that come later.
    let current = fs::read(from.join("CURRENT")).unwrap();
    let manifest = String::from_utf8(current).unwrap().trim().to_owned();
    let mut names: Vec<_> = fs::read_dir(from).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort_by_key(|name| name.to_string_lossy() != *manifest);
    names.iter().all(|name| fs::copy(from.join(name), to.join(name)).is_ok())
}

#[test]
fn what_was_not_saved_is_gone_and_its_log_is_there() {
    let scratch = Scratch::new("unsaved");
    let rocks = scratch.open();
    let engine = Engine::open(rocks.clone(), GROUP, 1).unwrap();
    (1..=10).for_each(|index| apply(&rocks, &engine, index));
    assert_eq!(engine.saved(), LogIndex(0));
    rocks.save().unwrap();
    assert_eq!(engine.saved(), LogIndex(10));
    (11..=20).for_each(|index| apply(&rocks, &engine, index));
    rocks.log_sync().unwrap();
    let left = left_behind(&scratch);
    let rocks = left.open();
    let engine = Engine::open(rocks.clone(), GROUP, 1).unwrap();
    assert_eq!((engine.applied(), engine.saved()), (LogIndex(10), LogIndex(10)));
    assert_eq!(engine.totals(DbIndex(0)).entries, 10 * KEYS);
    assert_eq!(rocks.log_bounds(GROUP).unwrap(), Some(1..=20));
    (11..=20).for_each(|index| engine.apply([(LogIndex(index), batch(index))].into_iter()).unwrap());
    assert_eq!(engine.totals(DbIndex(0)).entries, 20 * KEYS);
}

#[test]
fn a_database_that_is_closed_loses_nothing() {
    let scratch = Scratch::new("closed");
    let rocks = scratch.open();
    let engine = Engine::open(rocks.clone(), GROUP, 1).unwrap();
    (1..=3).for_each(|index| apply(&rocks, &engine, index));
    drop((engine, rocks));
    let engine = Engine::open(scratch.open(), GROUP, 1).unwrap();
    assert_eq!((engine.applied(), engine.totals(DbIndex(0)).entries), (LogIndex(3), 3 * KEYS));
}

#[test]
fn a_flush_while_state_is_written_in_pieces_takes_all_of_it_or_nothing() {
    let scratch = Scratch::new("pieces");
    let rocks = scratch.open();
    let engine = Engine::open(rocks.clone(), GROUP, 1).unwrap();
    let is_over = AtomicBool::new(false);
    let copies: Vec<Scratch> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut index = 0;
            while !is_over.load(Ordering::Relaxed) {
                index += 1;
                apply(&rocks, &engine, index);
            }
        });
        let copies = (0..8).map(|_| {
            rocks.save().unwrap();
            left_behind(&scratch)
        });
        let copies = copies.collect();
        is_over.store(true, Ordering::Relaxed);
        copies
    });
    for copy in copies {
        let engine = Engine::open(copy.open(), GROUP, 1).unwrap();
        let applied = engine.applied().0;
        assert_eq!(engine.totals(DbIndex(0)).entries, applied * KEYS);
        let deletes = (1..=applied).flat_map(|index| (0..KEYS).map(move |number| (index, number)));
        let delete = |(index, number)| Effect::Key {
            db: DbIndex(0),
            key: format!("{index}/{number}").into_bytes().into(),
            change: KeyEffect::Delete(Cause::Deleted),
        };
        // Refused if one of them is not there.
        engine.apply([(LogIndex(applied + 1), deletes.map(delete).collect())].into_iter()).unwrap();
        crate::engine::rocks::testing::assert_tidy(&engine);
    }
}

#[test]
fn much_state_or_much_log_is_saved_without_being_asked_for() {
    let options = RocksOptions { memory_bytes: 12 << 20, ..RocksOptions::default() };
    let body = vec![b'x'; 10_000];
    for of_log in [false, true] {
        let scratch = Scratch::new("much");
        let rocks = Rocks::open(scratch.path(), &options).unwrap();
        let engine = Engine::open(rocks.clone(), GROUP, 1).unwrap();
        let mut index = 0;
        // For state there is a bound, where writers wait. For the log there is time.
        while engine.saved() == LogIndex(0) && (of_log || index < 400) {
            index += 1;
            let write = LogWrite { group: GROUP, entries: &[(index, &body)], delete_tail: 0..0, state: None };
            if of_log {
                rocks.log_write(&[write], Durability::Written).unwrap();
            }
            let body = if of_log { &body[..10] } else { &body };
            engine.apply([(LogIndex(index), vec![put(index.to_string(), body)])].into_iter()).unwrap();
        }
        assert!(engine.saved() > LogIndex(0), "nothing was saved");
    }
}
