//! Puts the state on the disk, and knows up to which log entry it is there.
//!
//! State is written without the write-ahead log: what it was made of is in the log of its group. So a process that ends
//! leaves the state as it was at the last flush of its memtables, all families at once, and a restart applies the log
//! from there. Here it is decided when to flush, and remembered what a flush has *saved*; a log is cut no further.
//!
//! Invariants: all families of the state are flushed together (`atomic_flush`), and only when this allows it; RocksDB's
//! own bounds are never reached. So a flush takes either all or nothing of a [`StateWrite`], which is written in
//! pieces: the log's writes wait in the same queue of RocksDB, and clients wait for them. RocksDB syncs the write-ahead
//! logs that it has closed before a flush counts, so no state on the disk is ahead of its log.
//!
//! A thread does it, when the state or the log has grown by a certain amount. Whoever writes state waits when that is
//! reached twice.

use super::failed;
use super::layout::{LOG, STATE_FAMILIES};
use super::log_file::LogFile;
use super::open::Rocks;
use super::options::RocksOptions;
use crate::engine::{EngineError, LogIndex};
use parking_lot::{Condvar, Mutex, MutexGuard};
use rocksdb::{DB, FlushOptions, WriteBatch, WriteOptions, properties};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long to wait after a flush that failed, or for one that cannot begin.
const RETRY: Duration = Duration::from_millis(200);
/// From so many times the usual amount on the log is flushed although it was not cut.
const LOG_PORTIONS: u64 = 3;
/// How often to look whether a flush is done.
const LOOK: Duration = Duration::from_millis(5);
/// What is written at once. It takes a few milliseconds at most.
const PIECE_BYTES: usize = if cfg!(test) { 64 } else { 256 << 10 };

/// How far the state of one group has come.
pub(super) struct Mark {
    applied: AtomicU64,
    saved: AtomicU64,
}

impl Mark {
    /// Of a state that was found on the disk.
    pub fn new(applied: LogIndex) -> Mark {
        Mark { applied: AtomicU64::new(applied.0), saved: AtomicU64::new(applied.0) }
    }

    pub fn applied(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    pub fn saved(&self) -> LogIndex {
        LogIndex(self.saved.load(Ordering::Acquire))
    }

    /// To be called when everything up to here has been written.
    pub fn note_applied(&self, index: LogIndex) {
        self.applied.store(index.0, Ordering::Release);
    }
}

/// What the database and its flushing thread share.
pub(super) struct Saving {
    /// The write-ahead log: a flush begins another.
    pub log_file: LogFile,
    bytes_max: u64,
    /// Of state that was written since the last flush.
    state_bytes: AtomicU64,
    /// Of log that was written since the last flush of the state, and of the log.
    log_bytes: AtomicU64,
    log_kept: AtomicU64,
    marks: Mutex<Vec<Weak<Mark>>>,
    /// Held during a flush of the state.
    one_at_a_time: Mutex<()>,
    /// Held while state is half written, and while memtables are exchanged; or, what is written meanwhile is whole.
    whole: Mutex<Exchanges>,
    wish: Mutex<Wish>,
    change: Condvar,
}

/// How many may exchange memtables at any time.
#[derive(Default)]
struct Exchanges(u32);

#[derive(Default)]
struct Wish {
    state: bool,
    log: bool,
    is_over: bool,
}

impl Saving {
    /// Of an open database in this directory.
    pub fn new(directory: &Path, options: &RocksOptions) -> Arc<Saving> {
        Arc::new(Saving {
            log_file: LogFile::new(directory),
            bytes_max: options.flush_bytes(),
            state_bytes: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            log_kept: AtomicU64::new(0),
            marks: Mutex::default(),
            one_at_a_time: Mutex::default(),
            whole: Mutex::default(),
            wish: Mutex::default(),
            change: Condvar::new(),
        })
    }

    /// Keeps this mark up to date.
    pub fn watch(&self, mark: &Arc<Mark>) {
        self.marks.lock().push(Arc::downgrade(mark));
    }

    /// Waits while there is too much that was not flushed.
    fn admit(&self) {
        if self.state_bytes.load(Ordering::Relaxed) < 2 * self.bytes_max {
            return;
        }
        let mut wish = self.wish.lock();
        while self.state_bytes.load(Ordering::Relaxed) >= 2 * self.bytes_max && !wish.is_over {
            // Those who wait for the same must not wake each other up again and again.
            if !std::mem::replace(&mut wish.state, true) {
                self.change.notify_all();
            }
            self.change.wait(&mut wish);
        }
    }

    fn note_state(&self, bytes: usize) {
        let before = self.state_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if before < self.bytes_max && before + bytes as u64 >= self.bytes_max {
            self.want(|wish| wish.state = true);
        }
    }

    pub fn note_log(&self, bytes: usize) {
        let bytes = bytes as u64;
        let before = self.log_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before < self.bytes_max && before + bytes >= self.bytes_max {
            self.want(|wish| wish.state = true);
        }
        // Cutting it is what makes a flush of it small. But who is to say that it will be cut?
        let (before, bound) = (self.log_kept.fetch_add(bytes, Ordering::Relaxed), LOG_PORTIONS * self.bytes_max);
        if before < bound && before + bytes >= bound {
            self.want(|wish| wish.log = true);
        }
    }

    /// The log has been cut: what is left of its memtable is worth a flush, with which old write-ahead logs go.
    pub fn note_cut(&self) {
        if self.log_kept.load(Ordering::Relaxed) >= self.bytes_max / 2 {
            self.want(|wish| wish.log = true);
        }
    }

    fn want(&self, change: impl FnOnce(&mut Wish)) {
        change(&mut self.wish.lock());
        self.change.notify_all();
    }

    fn flush_state(&self, db: &DB) -> Result<(), EngineError> {
        let _one = self.one_at_a_time.lock();
        let errors = errors(db);
        self.marks.lock().retain(|mark| mark.strong_count() > 0);
        let marks: Vec<Arc<Mark>> = self.marks.lock().iter().filter_map(Weak::upgrade).collect();
        // After a write that failed it stays locked.
        let whole = loop {
            match self.whole.try_lock_for(RETRY) {
                Some(whole) => break whole,
                None if self.wish.lock().is_over => return Err(given_up()),
                None => {}
            }
        };
        // Read before: what is applied from here on may not be in the flush.
        let applied: Vec<LogIndex> = marks.iter().map(|mark| mark.applied()).collect();
        let state_bytes = self.state_bytes.load(Ordering::Relaxed);
        let log_bytes = self.log_bytes.load(Ordering::Relaxed);
        self.exchange(db, &STATE_FAMILIES)?;
        drop(whole);
        // None of those that are written to now is exchanged before this one is done.
        self.wait_for_flush(db, &STATE_FAMILIES, errors)?;
        for (mark, index) in marks.iter().zip(applied) {
            mark.saved.fetch_max(index.0, Ordering::AcqRel);
        }
        self.state_bytes.fetch_sub(state_bytes, Ordering::Relaxed);
        self.log_bytes.fetch_sub(log_bytes, Ordering::Relaxed);
        // Under the lock, so that one who has just looked is already waiting. What came meanwhile may be much again.
        let is_much = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed) >= self.bytes_max;
        self.want(|wish| wish.state |= is_much(&self.state_bytes) || is_much(&self.log_bytes));
        Ok(())
    }

    fn flush_log(&self, db: &DB) -> Result<(), EngineError> {
        let kept = self.log_kept.load(Ordering::Relaxed);
        let errors = errors(db);
        self.exchange(db, &[LOG])?;
        self.wait_for_flush(db, &[LOG], errors)?;
        let kept = self.log_kept.fetch_sub(kept, Ordering::Relaxed) - kept;
        self.want(|wish| wish.log |= kept >= LOG_PORTIONS * self.bytes_max);
        Ok(())
    }

    /// Begins new memtables for these families, a new log, and a flush of what they had.
    fn exchange(&self, db: &DB, names: &[&str]) -> Result<(), EngineError> {
        let families: Vec<_> = names.iter().map(|name| db.cf_handle(name).expect("all families were opened")).collect();
        let mut options = FlushOptions::default();
        options.set_wait(false);
        let _exchange = self.log_file.exchange();
        db.flush_cfs_opt(&families, &options).map_err(failed("flushing"))
    }

    /// Waits until the flush is done, or there are more errors than there were before.
    fn wait_for_flush(&self, db: &DB, names: &[&str], errors: u64) -> Result<(), EngineError> {
        while names.iter().any(|name| full_memtables(db, name) > 0) {
            let mut wish = self.wish.lock();
            if wish.is_over || self::errors(db) > errors {
                return Err(given_up());
            }
            self.change.wait_for(&mut wish, LOOK);
        }
        Ok(())
    }

    /// The body of the thread.
    fn run(&self, db: &DB) {
        loop {
            let (state, log) = {
                let mut wish = self.wish.lock();
                while !wish.state && !wish.log && !wish.is_over {
                    self.change.wait(&mut wish);
                }
                if wish.is_over {
                    return;
                }
                (std::mem::take(&mut wish.state), std::mem::take(&mut wish.log))
            };
            let result = if state { self.flush_state(db) } else { Ok(()) };
            let result = result.and_then(|()| if log { self.flush_log(db) } else { Ok(()) });
            // RocksDB counts it, and if it cannot go on, refuses the next write.
            if result.is_err() {
                let mut wish = self.wish.lock();
                (wish.state, wish.log) = (wish.state || state, wish.log || log);
                if !wish.is_over {
                    self.change.wait_for(&mut wish, RETRY);
                }
            }
        }
    }
}

/// The thread that flushes. Ends when this is dropped.
pub(super) struct Saver {
    saving: Arc<Saving>,
    thread: Option<JoinHandle<()>>,
}

impl Saver {
    pub fn start(saving: &Arc<Saving>, db: &Arc<DB>) -> io::Result<Saver> {
        let (own, db) = (saving.clone(), db.clone());
        let thread = Builder::new().name("flush".into()).spawn(move || own.run(&db))?;
        Ok(Saver { saving: saving.clone(), thread: Some(thread) })
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.saving.want(|wish| wish.is_over = true);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Rocks {
    /// Waits while there is too much state that was not flushed. To be called before writing some, and before any lock
    /// is taken that others need.
    pub(super) fn admit_state(&self) {
        self.saving.admit();
    }

    /// A write of state: data, and how far it has come. No memtables are exchanged before it is made.
    pub(super) fn begin_state_write(&self) -> StateWrite<'_> {
        let whole = self.saving.whole.lock();
        // When RocksDB gets over an error it exchanges memtables as well.
        let pieces = if whole.0 == 0 && errors(&self.db) == 0 { Pieces::Many } else { Pieces::One };
        StateWrite { exchanges: whole, pieces, done: Vec::new(), batch: WriteBatch::default() }
    }

    /// It is not on the disk before the next flush.
    pub(super) fn write_state(&self, write: StateWrite<'_>, action: &'static str) -> Result<(), EngineError> {
        let StateWrite { exchanges, done, batch, .. } = write;
        let mut bytes = 0;
        for batch in done.into_iter().chain([batch]) {
            bytes += batch.size_in_bytes();
            if let Err(error) = self.db.write_opt(batch, &without_log()) {
                // What there is of it must never get to the disk. The process will end.
                std::mem::forget(exchanges);
                return Err(failed(action)(error));
            }
        }
        drop(exchanges);
        self.saving.note_state(bytes);
        Ok(())
    }

    /// Writes what belongs to no log entry, beside what clients wait for.
    pub(super) fn write_state_low(&self, batch: WriteBatch, action: &'static str) -> Result<(), EngineError> {
        let mut options = without_log();
        options.set_low_pri(true);
        let bytes = batch.size_in_bytes();
        self.db.write_opt(batch, &options).map_err(failed(action))?;
        self.saving.note_state(bytes);
        Ok(())
    }

    /// Lets RocksDB exchange memtables when it likes to, for as long as this runs.
    pub(super) fn with_exchanges<R>(&self, run: impl FnOnce() -> R) -> R {
        self.saving.whole.lock().0 += 1;
        let _exchange = self.saving.log_file.exchange();
        let result = run();
        self.saving.whole.lock().0 -= 1;
        result
    }

    /// Puts all state on the disk that was written by now.
    pub fn save(&self) -> Result<(), EngineError> {
        self.saving.flush_state(&self.db)
    }

    /// Puts the logs into tables, after which no write-ahead log but the last is needed.
    pub(super) fn save_log(&self) -> Result<(), EngineError> {
        self.saving.flush_log(&self.db)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pieces {
    One,
    Many,
}

/// What is to be written to the state, in pieces.
pub(super) struct StateWrite<'s> {
    exchanges: MutexGuard<'s, Exchanges>,
    pieces: Pieces,
    done: Vec<WriteBatch>,
    /// The piece that is being filled.
    pub batch: WriteBatch,
}

impl StateWrite<'_> {
    /// Begins another piece, if this one is large enough.
    pub fn divide(&mut self) {
        if self.batch.size_in_bytes() >= PIECE_BYTES && self.pieces == Pieces::Many {
            let next = WriteBatch::with_capacity_bytes(PIECE_BYTES + PIECE_BYTES / 8);
            self.done.push(std::mem::replace(&mut self.batch, next));
        }
    }
}

fn without_log() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

fn given_up() -> EngineError {
    EngineError::Io { action: "flushing", detail: "see the log of the database".to_owned() }
}

fn full_memtables(db: &DB, name: &str) -> u64 {
    let family = db.cf_handle(name).expect("all families were opened");
    // The one property of these that is a text.
    let found = db.property_value_cf(family, properties::NUM_IMMUTABLE_MEM_TABLE).ok().flatten();
    found.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

fn errors(db: &DB) -> u64 {
    db.property_int_value(properties::BACKGROUND_ERRORS).ok().flatten().unwrap_or(0)
}
