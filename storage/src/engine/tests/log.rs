//! The raw log: what was written comes back, what was damaged does not.

use super::Scratch;
use crate::engine::rocks::testing;
use crate::engine::{Durability, EngineError, GroupId, LogWrite, Rocks};
use std::ops::Range;

const GROUP: GroupId = GroupId(7);

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index} ").into_bytes().repeat(1 + index as usize % 5)
}

fn write(rocks: &Rocks, group: GroupId, indexes: Range<u64>, delete_tail: Range<u64>) {
    let entries: Vec<_> = indexes.map(|index| (index, entry(index))).collect();
    let entries: Vec<_> = entries.iter().map(|(index, bytes)| (*index, &bytes[..])).collect();
    let state = format!("up to {}", entries.last().map_or(0, |entry| entry.0));
    let write = LogWrite { group, entries: &entries, delete_tail, state: Some(state.as_bytes()) };
    rocks.log_write(&[write], Durability::Synced).unwrap();
}

fn indexes(rocks: &Rocks, range: Range<u64>) -> Vec<u64> {
    rocks.log_read(GROUP, range, usize::MAX).unwrap().into_iter().map(|(index, _)| index).collect()
}

#[test]
fn entries_come_back_after_a_restart() {
    let scratch = Scratch::new("log");
    let rocks = scratch.open();
    assert_eq!(rocks.log_bounds(GROUP).unwrap(), None);
    assert_eq!(rocks.log_state(GROUP).unwrap(), None);
    write(&rocks, GROUP, 1..300, 0..0);
    write(&rocks, GroupId(8), 500..502, 0..0);
    drop(rocks);
    let rocks = scratch.open();
    assert_eq!(rocks.log_bounds(GROUP).unwrap(), Some(1..=299));
    assert_eq!(rocks.log_bounds(GroupId(8)).unwrap(), Some(500..=501));
    assert_eq!(rocks.log_state(GROUP).unwrap().unwrap(), b"up to 299");
    let found = rocks.log_read(GROUP, 1..300, usize::MAX).unwrap();
    assert!(found.iter().all(|(index, bytes)| *bytes == entry(*index)) && found.len() == 299);
}

#[test]
fn reads_are_bounded_but_always_get_on() {
    let scratch = Scratch::new("log");
    let rocks = scratch.open();
    write(&rocks, GROUP, 1..100, 0..0);
    assert_eq!(rocks.log_read(GROUP, 10..90, 0).unwrap(), [(10, entry(10))]);
    let both = entry(10).len() + entry(11).len();
    assert_eq!(rocks.log_read(GROUP, 10..90, both).unwrap(), [(10, entry(10)), (11, entry(11))]);
    assert_eq!(rocks.log_read(GROUP, 10..90, both - 1).unwrap().len(), 1);
    assert!(rocks.log_read(GROUP, 5..5, 100).unwrap().is_empty());
}

#[test]
fn a_tail_is_replaced_in_the_write_that_brings_the_new_one() {
    let scratch = Scratch::new("log");
    let rocks = scratch.open();
    for (tail, last) in [(90..100, 94), (50..95, 300), (100..301, 120)] {
        let first = rocks.log_bounds(GROUP).unwrap().map_or(1, |_| tail.start);
        if first == 1 {
            write(&rocks, GROUP, 1..100, 0..0);
        }
        write(&rocks, GROUP, tail.start..last + 1, tail);
        assert_eq!(rocks.log_bounds(GROUP).unwrap(), Some(1..=last));
        assert_eq!(indexes(&rocks, 1..last + 1).len() as u64, last);
    }
}

#[test]
fn compaction_forgets_the_front_for_good() {
    let scratch = Scratch::new("log");
    let rocks = scratch.open();
    write(&rocks, GROUP, 1..1000, 0..0);
    write(&rocks, GroupId(8), 1..10, 0..0);
    rocks.log_compact(GROUP, 990).unwrap();
    drop(rocks);
    let rocks = scratch.open();
    assert_eq!(rocks.log_bounds(GROUP).unwrap(), Some(990..=999));
    assert_eq!(rocks.log_bounds(GroupId(8)).unwrap(), Some(1..=9));
    let error = rocks.log_read(GROUP, 989..995, usize::MAX).unwrap_err();
    assert!(error.to_string().contains("entry 989 of the log of group 7"), "{error}");
    rocks.log_compact(GROUP, 1000).unwrap();
    assert_eq!(rocks.log_bounds(GROUP).unwrap(), None);
    assert_eq!(rocks.log_state(GROUP).unwrap().unwrap(), b"up to 999");
}

#[test]
fn damage_is_named_by_its_index() {
    let scratch = Scratch::new("log");
    let rocks = scratch.open();
    write(&rocks, GROUP, 1..10, 0..0);
    type Damage = fn(&mut Vec<u8>);
    let cases: [(u64, Damage); 4] = [
        (3, |value| value[10] ^= 1),
        (4, |value| value.truncate(5)),
        (5, |value| value.clear()),
        (6, |value| value.truncate(value.len() - 1)),
    ];
    for (index, damage) in cases {
        testing::damage_log_entry(&rocks, GROUP, index, damage);
        let error = rocks.log_read(GROUP, 1..10, usize::MAX).unwrap_err();
        assert!(matches!(&error, EngineError::Corrupt { what, .. } if what.contains(&format!("entry {index} of"))));
        assert_eq!(rocks.log_read(GROUP, 1..index, usize::MAX).unwrap().len() as u64, index - 1);
        write(&rocks, GROUP, index..10, index..10);
    }
    // An entry in the place of another one.
    let other = testing::log_value(&rocks, GROUP, 2);
    testing::damage_log_entry(&rocks, GROUP, 3, |value| *value = other.clone());
    assert!(rocks.log_read(GROUP, 3..4, usize::MAX).is_err());
}
