//! A write-ahead log that ends torn is cut; one that is damaged where it was synced is refused.

use super::Scratch;
use super::saving::left_behind;
use crate::engine::{Durability, GroupId, LogWrite, OpenError, Rocks, RocksOptions};
use std::fs;
use std::path::PathBuf;

const GROUP: GroupId = GroupId(1);
const ENTRIES: u64 = 400;
const BLOCK: usize = 32 << 10;

/// A log of many entries in a write-ahead log that was not flushed, and where that lies.
fn written(durability: Durability) -> (Scratch, PathBuf) {
    let scratch = Scratch::new("wal");
    let rocks = scratch.open();
    for index in 1..=ENTRIES {
        let entry = vec![index as u8; 300 + (index % 7 * 500) as usize];
        let write = LogWrite { group: GROUP, entries: &[(index, &entry)], delete_tail: 0..0, state: None };
        rocks.log_write(&[write], durability).unwrap();
    }
    drop(rocks);
    let logs = fs::read_dir(scratch.path()).unwrap().map(|file| file.unwrap().path());
    let log = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max();
    (scratch, log.unwrap())
}

fn reopened(scratch: &Scratch) -> Result<u64, OpenError> {
    let rocks = Rocks::open(scratch.path(), &RocksOptions::default())?;
    Ok(rocks.log_bounds(GROUP).unwrap().map_or(0, |bounds| *bounds.end()))
}

#[test]
fn an_untouched_log_is_read_whole() {
    for durability in [Durability::Synced, Durability::Written] {
        let (scratch, _) = written(durability);
        assert_eq!(reopened(&scratch).unwrap(), ENTRIES);
    }
}

#[test]
fn a_torn_end_is_cut_off() {
    let (scratch, log) = written(Durability::Synced);
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 100]).unwrap();
    assert_eq!(reopened(&scratch).unwrap(), ENTRIES - 1);
}

#[test]
fn damage_to_what_was_synced_is_refused_wherever_it_is() {
    let (scratch, log) = written(Durability::Synced);
    let bytes = fs::read(&log).unwrap();
    for place in [20, bytes.len() / 3, bytes.len() / 2, bytes.len() - 8000] {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        fs::write(&log, &damaged).unwrap();
        let error = reopened(&scratch).unwrap_err();
        assert!(matches!(&error, OpenError::Corrupt { detail, .. } if detail.contains("synced")), "{error}");
        // Refusing has not changed anything.
        assert_eq!(fs::read(&log).unwrap(), damaged);
    }
    fs::write(&log, &bytes).unwrap();
    assert_eq!(reopened(&scratch).unwrap(), ENTRIES);
}

#[test]
fn a_witness_in_a_later_file_counts_if_it_is_of_the_same_run() {
    let scratch = Scratch::new("wal-files");
    let write = |rocks: &Rocks, index: u64| {
        let entry = vec![index as u8; 300];
        let write = LogWrite { group: GROUP, entries: &[(index, &entry)], delete_tail: 0..0, state: None };
        rocks.log_write(&[write], Durability::Synced).unwrap();
    };
    let logs = || {
        let files = fs::read_dir(scratch.path()).unwrap().map(|file| file.unwrap().path());
        let mut logs: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect();
        logs.sort();
        logs
    };
    let rocks = scratch.open();
    write(&rocks, 1);
    let first = logs().pop().unwrap();
    // Kept as it would be if another family still needed it.
    let kept = fs::read(&first).unwrap();
    rocks.flush_memtables().unwrap();
    write(&rocks, 2);
    write(&rocks, 3);
    assert_eq!(logs().len(), 1, "a flush begins a new file");
    drop(rocks);
    let damaged = |bytes: &[u8]| {
        let mut damaged = bytes.to_vec();
        // What follows was not written to.
        let last = damaged.iter_mut().rev().find(|byte| **byte != 0);
        *last.unwrap() ^= 0x10;
        damaged
    };
    fs::write(&first, damaged(&kept)).unwrap();
    let error = reopened(&scratch).unwrap_err();
    assert!(matches!(&error, OpenError::Corrupt { detail, .. } if detail.contains("synced")), "{error}");
    // The same after another run has begun: then the end may have been torn by a crash.
    fs::remove_file(&first).unwrap();
    assert_eq!(reopened(&scratch).unwrap(), 3);
    let rocks = scratch.open();
    write(&rocks, 4);
    write(&rocks, 5);
    drop(rocks);
    fs::write(&first, damaged(&kept)).unwrap();
    assert_eq!(reopened(&scratch).unwrap(), 5);
}

#[test]
fn holes_in_what_was_not_synced_cut_the_log_there() {
    let (scratch, log) = written(Durability::Written);
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0);
    fs::write(&log, &bytes).unwrap();
    let last = reopened(&scratch).unwrap();
    assert!((100..ENTRIES).contains(&last), "{last} entries are left");
}

#[test]
fn zeros_at_the_end_are_where_nothing_was_written() {
    let scratch = Scratch::new("wal-zeros");
    let (first, whole) = {
        let rocks = scratch.open();
        (1..=3).for_each(|index| put(&rocks, index));
        let first = newest_log(&scratch);
        // As a crash leaves it: with zeros at its end, and kept as if another family still needed it.
        let whole = fs::read(&first).unwrap();
        rocks.flush_memtables().unwrap();
        (4..=6).for_each(|index| put(&rocks, index));
        (first, whole)
    };
    assert!(whole.ends_with(&[0; 1000]), "there are zeros ahead");
    assert!(whole.len().is_multiple_of(BLOCK), "they end where recovery does not expect a header");
    fs::write(&first, &whole).unwrap();
    assert_eq!(reopened(&scratch).unwrap(), 6);
}

#[test]
fn zeros_are_written_only_behind_what_is_there() {
    const GROUPS: std::ops::Range<u32> = 2..6;
    const EACH: u64 = 300;
    let scratch = Scratch::new("wal-zeros-behind");
    let rocks = scratch.open();
    let put_all = |range: std::ops::RangeInclusive<u64>, meanwhile: fn(&Rocks)| {
        std::thread::scope(|scope| {
            let put = |group| range.clone().for_each(|index| put_in(&rocks, GroupId(group), index));
            let writers: Vec<_> = GROUPS.map(|group| scope.spawn(move || put(group))).collect();
            while !writers.iter().all(|writer| writer.is_finished()) {
                meanwhile(&rocks);
            }
        });
    };
    // New files begin all the time, so that some zeros come too late for theirs.
    put_all(1..=EACH, |rocks| rocks.flush_memtables().unwrap());
    // What is in this file only is read again.
    put_all(EACH + 1..=2 * EACH, |_| std::thread::yield_now());
    // Whoever found others at work may have written further than there were zeros.
    let len = || fs::metadata(newest_log(&scratch)).unwrap().len() as usize;
    let alone = (1..100).find(|index| {
        put(&rocks, *index);
        len().is_multiple_of(BLOCK)
    });
    assert!(alone.is_some() && len() > 200_000, "there are zeros, up to the end of a block");
    let copy = left_behind(&scratch);
    let rocks = copy.open();
    for group in GROUPS {
        let entries = rocks.log_read(GroupId(group), 1..2 * EACH + 1, usize::MAX).unwrap();
        assert!(entries.iter().all(|(index, bytes)| *bytes == vec![*index as u8; 300]), "group {group}");
        assert_eq!(entries.len() as u64, 2 * EACH, "group {group}");
    }
}

#[test]
fn zeros_in_place_of_what_was_synced_are_refused() {
    let scratch = Scratch::new("wal-lost");
    let rocks = scratch.open();
    (1..=2).for_each(|index| put(&rocks, index));
    let first = newest_log(&scratch);
    let short = fs::read(&first).unwrap();
    put(&rocks, 3);
    rocks.flush_memtables().unwrap();
    (4..=5).for_each(|index| put(&rocks, index));
    drop(rocks);
    fs::write(&first, &short).unwrap();
    let error = reopened(&scratch).unwrap_err();
    assert!(matches!(&error, OpenError::Corrupt { detail, .. } if detail.contains("synced")), "{error}");
}

#[test]
fn writes_of_several_threads_are_all_known_to_be_there() {
    let scratch = Scratch::new("wal-threads");
    let rocks = scratch.open();
    std::thread::scope(|scope| {
        for group in 2..8 {
            let rocks = &rocks;
            scope.spawn(move || (1..=200).for_each(|index| put_in(rocks, GroupId(group), index)));
        }
    });
    put(&rocks, 1);
    let log = newest_log(&scratch);
    drop(rocks);
    // Torn where nothing was synced, behind records of many writes each.
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 10]).unwrap();
    assert_eq!(reopened(&scratch).unwrap(), 0);
}

fn put(rocks: &Rocks, index: u64) {
    put_in(rocks, GROUP, index);
}

fn put_in(rocks: &Rocks, group: GroupId, index: u64) {
    let entry = vec![index as u8; 300];
    let write = LogWrite { group, entries: &[(index, &entry)], delete_tail: 0..0, state: None };
    rocks.log_write(&[write], Durability::Synced).unwrap();
}

fn newest_log(scratch: &Scratch) -> PathBuf {
    let logs = fs::read_dir(scratch.path()).unwrap().map(|file| file.unwrap().path());
    logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}
