//! What is refused at open, and what is said then.

use super::Scratch;
use crate::engine::{Durability, GroupId, LogWrite, OpenError, Rocks, RocksOptions};
use std::fs;

fn refusal(scratch: &Scratch) -> OpenError {
    match Rocks::open(scratch.path(), &RocksOptions::default()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => {
            assert!(error.to_string().contains(&scratch.path().display().to_string()), "{error}");
            error
        }
    }
}

#[test]
fn a_directory_in_use_is_refused_until_it_is_free() {
    let scratch = Scratch::new("in-use");
    let first = scratch.open();
    assert!(matches!(refusal(&scratch), OpenError::InUse { .. }));
    drop(first);
    drop(scratch.open());
}

#[test]
fn another_layout_is_refused() {
    let scratch = Scratch::new("newer");
    drop(scratch.open());
    crate::engine::rocks::testing::put_layout(scratch.path(), 3);
    assert!(matches!(refusal(&scratch), OpenError::NewerLayout { found: 3, known: 2, .. }));
    crate::engine::rocks::testing::put_layout(scratch.path(), 1);
    assert!(matches!(refusal(&scratch), OpenError::OlderLayout { found: 1, .. }));
}

#[test]
fn somebody_elses_database_is_refused_and_left_alone() {
    let scratch = Scratch::new("foreign");
    crate::engine::rocks::testing::make_foreign(scratch.path());
    assert!(matches!(refusal(&scratch), OpenError::Foreign { .. }));
    assert!(matches!(refusal(&scratch), OpenError::Foreign { .. }));
}

#[test]
fn a_path_that_is_no_directory_is_refused() {
    let scratch = Scratch::new("file");
    fs::write(scratch.path(), "text").unwrap();
    assert!(matches!(refusal(&scratch), OpenError::Directory { action: "create", .. }));
    fs::remove_file(scratch.path()).unwrap();
}

#[test]
fn a_missing_or_damaged_table_is_refused() {
    for damage in ["remove", "cut"] {
        let scratch = Scratch::new("table");
        let rocks = scratch.open();
        let entry = vec![b'x'; 10_000];
        let write = LogWrite { group: GroupId(1), entries: &[(1, &entry)], delete_tail: 0..0, state: None };
        rocks.log_write(&[write], Durability::Synced).unwrap();
        crate::engine::rocks::testing::flush(&rocks);
        drop(rocks);
        let is_table = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "sst");
        let table = fs::read_dir(scratch.path()).unwrap().map(|file| file.unwrap().path()).find(is_table).unwrap();
        match damage {
            "remove" => fs::remove_file(table).unwrap(),
            _ => fs::write(&table, &fs::read(&table).unwrap()[..100]).unwrap(),
        }
        assert!(matches!(refusal(&scratch), OpenError::Corrupt { .. }));
    }
}
