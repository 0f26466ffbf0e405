//! What tests do to a database behind its back.

use super::layout::{FAMILIES, LAYOUT_PROPERTY, LOG, log_entry_key};
use super::open::Rocks;
use crate::engine::GroupId;
use rocksdb::{DB, Options};
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

pub fn log_value(rocks: &Rocks, group: GroupId, index: u64) -> Vec<u8> {
    rocks.db.get_cf(rocks.family(LOG), log_entry_key(group, index)).unwrap().unwrap()
}

pub fn damage_log_entry(rocks: &Rocks, group: GroupId, index: u64, damage: impl FnOnce(&mut Vec<u8>)) {
    let mut value = log_value(rocks, group, index);
    damage(&mut value);
    rocks.db.put_cf(rocks.family(LOG), log_entry_key(group, index), value).unwrap();
}
