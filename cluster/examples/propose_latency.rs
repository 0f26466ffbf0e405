//! How long it takes from proposing a batch to its commit: over memory, and over a file with fdatasync.
//!
//! `cargo run -p basalt-cluster --example propose_latency [batches]`

use std::fs::File;
use std::io::Write;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use basalt_cluster::group::log::{Durability, LogRecord, LogWrite};
use basalt_cluster::group::memory_log::MemoryLog;
use basalt_cluster::group::state::LogState;
use basalt_cluster::group::{
    ApplyError, CommittedEntry, Group, GroupId, GroupOptions, LogError, LogIndex, LogStore, Observer, Seq, StateMachine,
};
use basalt_storage::clock::UnixMs;
use parking_lot::{Condvar, Mutex};

/// Keeps nothing.
struct Nowhere;

impl StateMachine for Nowhere {
    fn applied(&self) -> LogIndex {
        LogIndex(0)
    }

    fn saved(&self) -> LogIndex {
        self.applied()
    }

    fn apply(&self, _entries: Vec<CommittedEntry>) -> Result<(), ApplyError> {
        Ok(())
    }
}

/// Notes when each batch was committed, and wakes who waits for it.
#[derive(Default)]
struct Notes {
    committed: Mutex<(Seq, Option<Instant>)>,
    change: Condvar,
}

impl Observer for Notes {
    fn committed(&self, up_to: Seq) {
        *self.committed.lock() = (up_to, Some(Instant::now()));
        self.change.notify_all();
    }

    fn applied(&self, _up_to: Seq) {}

    fn unknown(&self, batches: RangeInclusive<Seq>) {
        panic!("{batches:?} are of unknown fate");
    }
}

impl Notes {
    fn wait(&self, seq: Seq) -> Instant {
        let mut committed = self.committed.lock();
        while committed.0 < seq {
            self.change.wait(&mut committed);
        }
        committed.1.expect("something was committed")
    }
}

/// A log in memory that also writes to a file what it is given, and syncs it.
struct FileLog {
    memory: MemoryLog,
    file: Mutex<File>,
}

impl LogStore for FileLog {
    fn state(&self) -> Result<Option<LogState>, LogError> {
        self.memory.state()
    }

    fn bounds(&self) -> Result<Option<RangeInclusive<u64>>, LogError> {
        self.memory.bounds()
    }

    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<LogRecord>, LogError> {
        self.memory.read(range, bytes_max)
    }

    fn write(&self, write: &LogWrite, durability: Durability) -> Result<(), LogError> {
        let failed = |source: std::io::Error| LogError::Io { action: "written", source: source.into() };
        let mut file = self.file.lock();
        for record in &write.entries {
            file.write_all(&record.bytes).map_err(failed)?;
        }
        if durability == Durability::Synced {
            file.sync_data().map_err(failed)?;
        }
        self.memory.write(write, durability)
    }

    fn sync(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn compact(&self, before: LogIndex) -> Result<(), LogError> {
        self.memory.compact(before)
    }
}

fn main() {
    let batches = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2000);
    measure("memory", Arc::new(MemoryLog::new()), batches);
    let path = std::env::temp_dir().join(format!("basalt-propose-latency-{}", std::process::id()));
    let file = File::create(&path).expect("the temporary directory can be written to");
    measure("fdatasync", Arc::new(FileLog { memory: MemoryLog::new(), file: Mutex::new(file) }), batches);
    std::fs::remove_file(path).expect("it was made above");
}

fn measure(name: &str, store: Arc<dyn LogStore>, batches: usize) {
    let notes: Arc<Notes> = Arc::default();
    let clock = Arc::new(|| UnixMs(0));
    let group = Group::start(GroupOptions::alone(GroupId(0)), store, Arc::new(Nowhere), notes.clone(), clock)
        .expect("nothing is there that could be wrong");
    let mut took: Vec<Duration> = (0..batches)
        .map(|_| {
            let began = Instant::now();
            let seq = group.propose(&[b'x'; 100]).expect("it runs");
            notes.wait(seq) - began
        })
        .collect();
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1000.0;
    println!("{name}: one at a time: p50 {:.1} µs, p99 {:.1} µs", at(0.5), at(0.99));

    let entries = group.figures().entries.load(Relaxed);
    let began = Instant::now();
    let last = (0..50 * batches).fold(Seq(0), |_, _| group.propose(&[b'x'; 100]).expect("it runs"));
    notes.wait(last);
    let seconds = began.elapsed().as_secs_f64();
    let entries = group.figures().entries.load(Relaxed) - entries;
    println!(
        "{name}: as fast as possible: {:.0} batches/s in {entries} entries; p99 of a synced write up to {} µs",
        50.0 * batches as f64 / seconds,
        group.figures().synced_writes.quantile_us(0.99)
    );
}
