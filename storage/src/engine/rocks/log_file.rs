//! Writes zeros where the write-ahead log will be written next.
//!
//! A sync of a file that has grown, or was written to where nothing had been written yet, also has to put that on the
//! disk, with a write of its own to the journal of the file system. It does not help to give the file its length
//! beforehand. Zeros do, a piece at a time: they save a third of a sync's time. When RocksDB closes the file, it cuts
//! off what is left of them. After a crash they are still there: both RocksDB and [`super::wal`] take them for the end.
//!
//! Invariant: zeros are written behind all that is in the file, and while nobody else writes to it. So whoever writes
//! to the log does it between [`LogFile::enter`] and the end of what that returns.

use crate::engine::Durability;
use crate::volume::Volume;
use parking_lot::{RwLock, RwLockReadGuard};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Zeros are written where this many times as much is free: what is short must not be taken from a flush.
const ROOM: u64 = 256;

/// How many zeros are written at once. One sync takes longer because of them.
const PIECE: usize = if cfg!(test) { 16 << 10 } else { 512 << 10 };

/// Writes of more than this do not need so many syncs that zeros would pay.
const WRITE_MAX: usize = PIECE / 16;

static ZEROS: [u8; PIECE] = [0; PIECE];

/// The log that is written to.
pub(super) struct LogFile {
    directory: PathBuf,
    current: RwLock<Option<Current>>,
}

struct Current {
    path: PathBuf,
    file: File,
    /// Up to where zeros were written; or else, what the file's length was.
    ready: u64,
    /// About where the next write goes.
    position: AtomicU64,
}

/// Somebody writes to the log.
pub(super) struct Writing<'l>(#[expect(dead_code)] RwLockReadGuard<'l, Option<Current>>);

impl LogFile {
    /// Of the database in this directory.
    pub fn new(directory: &Path) -> LogFile {
        let log = LogFile { directory: directory.into(), current: RwLock::new(None) };
        log.turn();
        log
    }

    /// A new log may have been begun.
    pub fn turn(&self) {
        let newest = newest(&self.directory);
        let mut current = self.current.write();
        if current.as_ref().map(|current| &current.path) != newest.as_ref() {
            // A log to which no zeros are written works as well.
            *current = newest.and_then(|path| Current::open(path).ok());
        }
    }

    /// To be called before a write of so many bytes, and kept until it is made.
    pub fn enter(&self, bytes: usize, durability: Durability) -> Writing<'_> {
        let current = self.current.read();
        let is_worth_it = durability == Durability::Synced && bytes <= WRITE_MAX;
        if !current.as_ref().is_some_and(|current| current.advance(bytes as u64) > current.ready && is_worth_it) {
            return Writing(current);
        }
        drop(current);
        // Whoever finds others at work leaves it to the next.
        if let Some(mut current) = self.current.try_write()
            && current.as_mut().is_some_and(|current| current.write_zeros(bytes as u64).is_err())
        {
            // Where the disk is full, or cannot do this, writing goes on as if nothing had been tried.
            *current = None;
        }
        Writing(self.current.read())
    }
}

fn newest(directory: &Path) -> Option<PathBuf> {
    let paths = fs::read_dir(directory).ok()?.flatten().map(|file| file.path());
    let logs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max_by_key(|path| path.file_stem()?.to_str()?.parse::<u64>().ok())
}

impl Current {
    fn open(path: PathBuf) -> io::Result<Current> {
        let file = OpenOptions::new().write(true).open(&path)?;
        let len = file.metadata()?.len();
        Ok(Current { path, file, ready: len, position: AtomicU64::new(len) })
    }

    /// About where the log ends after a write of so many bytes.
    fn advance(&self, bytes: u64) -> u64 {
        self.position.fetch_add(bytes, Relaxed) + bytes
    }

    /// Writes the next piece; nobody else writes. `bytes` is what [`Current::advance`] was told of, and comes next.
    fn write_zeros(&mut self, bytes: u64) -> io::Result<()> {
        if Volume::of(&self.file)?.free < ROOM * PIECE as u64 {
            return Ok(());
        }
        let len = self.file.metadata()?.len();
        if len > self.ready {
            // The log has come further than was thought.
            *self.position.get_mut() = len + bytes;
        }
        self.file.write_all_at(&ZEROS, len)?;
        self.ready = len + PIECE as u64;
        Ok(())
    }
}
