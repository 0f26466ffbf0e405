//! A group with its threads, over a log in memory.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use basalt_storage::clock::UnixMs;
use parking_lot::{Condvar, Mutex};

use super::log::{Durability, LogRecord, LogWrite};
use super::memory_log::MemoryLog;
use super::state::LogState;
use super::*;

/// What a state machine of a test has applied, and up to where.
#[derive(Clone, Default)]
pub(super) struct Contents {
    pub(super) index: LogIndex,
    pub(super) texts: Vec<String>,
}

impl Contents {
    pub(super) fn apply(&mut self, entries: Vec<CommittedEntry>) {
        for entry in entries {
            assert!(entry.index > self.index, "{:?} applied again", entry.index);
            self.index = entry.index;
            self.texts.extend(entry.batches().map(|batch| String::from_utf8(batch.to_vec()).unwrap()));
        }
    }
}

/// Keeps what it is given, as text.
#[derive(Default)]
struct Machine {
    contents: Mutex<Contents>,
}

impl StateMachine for Machine {
    fn applied(&self) -> LogIndex {
        self.contents.lock().index
    }

    fn saved(&self) -> LogIndex {
        self.applied()
    }

    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), ApplyError> {
        self.contents.lock().apply(entries);
        Ok(())
    }
}

impl Machine {
    fn texts(&self) -> Vec<String> {
        self.contents.lock().texts.clone()
    }
}

/// Remembers how far it was told that things have come.
#[derive(Default)]
struct Told {
    committed: Mutex<Seq>,
    change: Condvar,
    unknown: Mutex<Vec<RangeInclusive<Seq>>>,
}

impl Observer for Told {
    fn committed(&self, up_to: Seq) {
        let mut committed = self.committed.lock();
        assert!(up_to > *committed);
        *committed = up_to;
        self.change.notify_all();
    }

    fn applied(&self, _up_to: Seq) {}

    fn unknown(&self, batches: RangeInclusive<Seq>) {
        self.unknown.lock().push(batches);
    }
}

impl Told {
    fn wait_committed(&self, seq: Seq) {
        let mut committed = self.committed.lock();
        while *committed < seq {
            self.change.wait(&mut committed);
        }
    }
}

/// A log whose writes fail when it is told to, and that counts syncs.
#[derive(Default)]
struct Disk {
    log: MemoryLog,
    is_broken: AtomicBool,
    synced: AtomicUsize,
}

impl LogStore for Disk {
    fn state(&self) -> Result<Option<LogState>, LogError> {
        self.log.state()
    }

    fn bounds(&self) -> Result<Option<RangeInclusive<u64>>, LogError> {
        self.log.bounds()
    }

    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<LogRecord>, LogError> {
        self.log.read(range, bytes_max)
    }

    fn write(&self, write: &LogWrite, durability: Durability) -> Result<(), LogError> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(LogError::Io { action: "written", source: "the disk is on fire".into() });
        }
        self.synced.fetch_add(usize::from(durability == Durability::Synced), Ordering::SeqCst);
        self.log.write(write, durability)
    }

    fn sync(&self) -> Result<(), LogError> {
        self.synced.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn compact(&self, before: LogIndex) -> Result<(), LogError> {
        self.log.compact(before)
    }
}

#[derive(Default)]
struct Home {
    disk: Arc<Disk>,
    machine: Arc<Machine>,
    told: Arc<Told>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl Home {
    fn start(&self, change: impl FnOnce(&mut GroupOptions)) -> Result<Arc<Group>, StartError> {
        let mut options = GroupOptions::alone(GroupId(0));
        let failures = self.failures.clone();
        options.on_fatal = Arc::new(move |what| failures.lock().push(what.to_owned()));
        change(&mut options);
        let clock: Clock = Arc::new(|| UnixMs(1000));
        Group::start(options, self.disk.clone(), self.machine.clone(), self.told.clone(), clock)
    }
}

#[test]
fn batches_of_many_threads_are_applied_in_the_order_of_their_numbers() {
    let home = Home::default();
    let group = home.start(|_| ()).unwrap();
    let mut numbered: Vec<(Seq, String)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let group = &group;
                let texts = (0..500).map(move |count| format!("{thread}-{count}"));
                let propose = |text: String| (group.propose(text.as_bytes()).unwrap(), text);
                scope.spawn(move || texts.map(propose).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    numbered.sort();
    let last = numbered.last().unwrap().0;
    group.wait_applied(last).unwrap();
    assert_eq!(last, Seq(2000));
    assert_eq!((group.committed(), group.applied(), group.synced()), (last, last, last));
    assert_eq!(home.machine.texts(), numbered.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
    let entries = group.figures().entries.load(Ordering::Relaxed);
    assert!(entries < 2000, "{entries} entries for 2000 batches: they should share");
}

#[test]
fn what_is_not_applied_is_applied_before_a_restart_returns() {
    let mut home = Home::default();
    let group = home.start(|_| ()).unwrap();
    for text in ["a", "b", "c"] {
        group.propose(text.as_bytes()).unwrap();
    }
    group.stop();
    assert_eq!(home.machine.texts(), ["a", "b", "c"]);
    // As if the data had lost everything, which it is allowed to as long as the log is whole.
    home.machine = Arc::default();
    home.told = Arc::default();
    let group = home.start(|_| ()).unwrap();
    assert_eq!(home.machine.texts(), ["a", "b", "c"]);
    assert_eq!(group.propose(b"d").unwrap(), Seq(1));
    group.wait_applied(Seq(1)).unwrap();
    assert_eq!(home.machine.texts(), ["a", "b", "c", "d"]);
}

#[test]
fn a_failing_write_ends_the_group_and_acknowledges_nothing() {
    let home = Home::default();
    let group = home.start(|_| ()).unwrap();
    home.disk.is_broken.store(true, Ordering::SeqCst);
    let seq = group.propose(b"lost").unwrap();
    let stopped = group.wait_applied(seq).unwrap_err();
    assert_eq!(stopped.why, "group 0: the log could not be written: the disk is on fire");
    assert_eq!(*home.failures.lock(), [stopped.why]);
    assert_eq!((group.committed(), *home.told.committed.lock()), (Seq(0), Seq(0)));
}

#[test]
fn without_fsync_a_batch_is_committed_but_not_said_to_be_synced() {
    let home = Home::default();
    let group = home.start(|options| options.fsync = Fsync::Never).unwrap();
    let syncs = home.disk.synced.load(Ordering::SeqCst);
    let seq = group.propose(b"a").unwrap();
    home.told.wait_committed(seq);
    assert_eq!((group.synced(), home.disk.synced.load(Ordering::SeqCst)), (Seq(0), syncs));
    group.set_fsync(Fsync::Always);
    let seq = group.propose(b"b").unwrap();
    group.wait_applied(seq).unwrap();
    assert_eq!(group.synced(), seq);
    group.stop();
}

#[test]
fn stopping_syncs_what_was_only_written() {
    let home = Home::default();
    let group = home.start(|options| options.fsync = Fsync::Never).unwrap();
    let seq = group.propose(b"a").unwrap();
    group.stop();
    assert_eq!((group.applied(), group.synced()), (seq, seq));
    assert_eq!(group.propose(b"b"), Err(TooLate(Seq(2))));
    assert_eq!(group.committed(), seq);
}

#[test]
fn the_log_is_cut_when_it_has_grown() {
    let home = Home::default();
    let bytes_max = 64 << 10;
    let group = home.start(|options| options.log_bytes_max = bytes_max).unwrap();
    for _ in 0..400 {
        let seq = group.propose(&[b'x'; 1 << 10]).unwrap();
        group.wait_applied(seq).unwrap();
    }
    let figures = group.figures();
    assert!(figures.compactions.load(Ordering::Relaxed) >= 4);
    assert!(figures.log_bytes.load(Ordering::Relaxed) <= bytes_max + (2 << 10));
    let kept = home.disk.bounds().unwrap().map_or(0, Iterator::count);
    assert!(kept < 80, "{kept} entries of a kilobyte are kept");
    drop(group);
    home.start(|_| ()).unwrap();
    assert_eq!(home.machine.texts().len(), 400);
}

#[test]
fn a_log_that_does_not_fit_the_data_is_refused() {
    let mut home = Home::default();
    drop(home.start(|_| ()).unwrap());
    home.machine = Arc::new(Machine { contents: Mutex::new(Contents { index: LogIndex(99), texts: Vec::new() }) });
    assert!(matches!(home.start(|_| ()).err(), Some(StartError::StateAheadOfLog { .. })));
    home.disk = Arc::default();
    assert!(matches!(home.start(|_| ()).err(), Some(StartError::StateAheadOfLog { .. })));
}

#[test]
fn a_log_in_rocksdb_outlives_the_process_that_wrote_it() {
    let directory = std::env::temp_dir().join(format!("basalt-group-log-{}", std::process::id()));
    let options = basalt_storage::engine::RocksOptions::default();
    let told: Arc<Told> = Arc::default();
    for expected in [vec!["a"], vec!["a", "b"]] {
        let rocks = basalt_storage::engine::Rocks::open(&directory, &options).unwrap();
        let store = Arc::new(RocksLog::new(rocks, GroupId(3)));
        let machine: Arc<Machine> = Arc::default();
        let clock: Clock = Arc::new(|| UnixMs(1000));
        let told = if expected.len() == 1 { told.clone() } else { Arc::default() };
        let group = Group::start(GroupOptions::alone(GroupId(3)), store, machine.clone(), told, clock).unwrap();
        let seq = group.propose(expected.last().unwrap().as_bytes()).unwrap();
        group.wait_applied(seq).unwrap();
        assert_eq!(machine.texts(), expected);
    }
    std::fs::remove_dir_all(directory).unwrap();
}
