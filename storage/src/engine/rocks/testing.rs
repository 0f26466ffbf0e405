//! What tests do to a database behind its back.

use super::engine::Engine;
use super::layout::{
    DUE, FAMILIES, GARBAGE, KEYS, LAYOUT_PROPERTY, LOG, MetaKey, PARTS, VERSION_PREFIX, log_entry_key, parse_due,
};
use super::meta::{DataRef, MetaRef};
use super::open::Rocks;
use super::options::whole_compaction;
use crate::engine::{GroupId, SlotCounts};
use crate::value::Type;
use rocksdb::{DB, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub fn put_layout(directory: &Path, layout: u32) {
    let db = DB::open_cf(&Options::default(), directory, FAMILIES).unwrap();
    db.put(LAYOUT_PROPERTY, layout.to_be_bytes()).unwrap();
}

pub fn make_foreign(directory: &Path) {
    let db = DB::open_default(directory).unwrap();
    db.put(b"key", b"value").unwrap();
}

/// Writes everything from memory into tables.
pub fn flush(rocks: &Rocks) {
    for name in FAMILIES {
        rocks.db.flush_cf(rocks.family(name)).unwrap();
    }
}

/// Makes one table of all keys, or few.
pub fn compact(rocks: &Rocks) {
    rocks.db.compact_range_cf_opt(rocks.family(KEYS), None::<&[u8]>, None::<&[u8]>, &whole_compaction());
}

pub fn log_value(rocks: &Rocks, group: GroupId, index: u64) -> Vec<u8> {
    rocks.db.get_cf(rocks.family(LOG), log_entry_key(group, index)).unwrap().unwrap()
}

pub fn damage_log_entry(rocks: &Rocks, group: GroupId, index: u64, damage: impl FnOnce(&mut Vec<u8>)) {
    let mut value = log_value(rocks, group, index);
    damage(&mut value);
    rocks.db.put_cf(rocks.family(LOG), log_entry_key(group, index), value).unwrap();
}

fn rows(rocks: &Rocks, family: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut options = rocksdb::ReadOptions::default();
    options.set_total_order_seek(true);
    let rows = rocks.db.iterator_cf_opt(rocks.family(family), options, rocksdb::IteratorMode::Start);
    rows.map(Result::unwrap).map(|(key, value)| (key.into(), value.into())).collect()
}

/// Checks that everything on disk is referred to, and everything that is referred to is there. The cleaner has nothing
/// left to do, and there is one group.
pub fn assert_tidy(engine: &Engine) {
    let rocks = &engine.rocks;
    assert!(rows(rocks, GARBAGE).is_empty(), "there is garbage");
    let mut parts: BTreeMap<u64, u64> = BTreeMap::new();
    for key in rows(rocks, PARTS).into_keys() {
        let version = u64::from_be_bytes(key[4..VERSION_PREFIX].try_into().unwrap());
        *parts.entry(version).or_default() += 1;
    }
    let databases = engine.databases.read();
    let mut counts: BTreeMap<(u32, u16), SlotCounts> = BTreeMap::new();
    let mut due = BTreeSet::new();
    for (bytes, value) in rows(rocks, KEYS) {
        let (key, meta) = (MetaKey::parse(&bytes).unwrap(), MetaRef::parse(&value).unwrap());
        assert!(databases.map.contains(&key.db), "a key of a database that is gone");
        let of_slot = counts.entry((key.db.0, key.slot.number())).or_default();
        of_slot.entries += 1;
        of_slot.volatile += u64::from(meta.expiry.is_some());
        due.extend(meta.expiry.map(|at| (at, key.db, key.user_key.to_vec())));
        if let DataRef::Parts(large) = meta.data {
            let there = parts.remove(&large.version.0).unwrap_or(0);
            match large.kind.value_type() {
                Type::String => assert!(there <= large.len.div_ceil(super::strings::CHUNK as u64)),
                _ => assert_eq!(there, large.len, "parts of {:?}", large.version),
            }
        }
    }
    assert!(parts.is_empty(), "parts without a key: {parts:?}");
    let listed = rows(rocks, DUE).into_keys();
    let listed: BTreeSet<_> =
        listed.map(|key| parse_due(&key).map(|(at, db, key)| (at, db, key.to_vec())).unwrap()).collect();
    assert_eq!(listed, due, "the index of expiries");
    for (db, of_db) in &databases.counts {
        for (slot, of_slot) in (0..).zip(of_db.slots.iter()) {
            assert_eq!(counts.get(&(db.0, slot)).copied().unwrap_or_default(), *of_slot, "slot {slot} of {db:?}");
        }
        let sum = |of: fn(&SlotCounts) -> u64| of_db.slots.iter().map(of).sum::<u64>();
        let total = SlotCounts { entries: sum(|counts| counts.entries), volatile: sum(|counts| counts.volatile) };
        assert_eq!(of_db.total, total);
    }
}
