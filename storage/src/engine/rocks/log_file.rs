//! Writes zeros where the write-ahead log will be written next.
//!
//! A sync of a file that has grown, or was written to where nothing had been written yet, also has to put that on the
//! disk, with a write of its own to the journal of the file system. It does not help to give the file its length
//! beforehand. Zeros do, a piece at a time: they save a third of a sync's time. When RocksDB closes the file, it cuts
//! off what is left of them. After a crash they are still there: both RocksDB and [`super::wal`] take them for the end.
//!
//! Invariants: zeros are written behind all that is in the file, and while nobody else writes to it; so whoever writes
//! to the log does it between [`LogFile::enter`] and the end of what that returns. Zeros end where a block ends. None
//! are written while RocksDB may be exchanging one file for another.

use crate::engine::Durability;
use crate::volume::Volume;
use parking_lot::{RwLock, RwLockReadGuard};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Zeros are written where this many times as much is free: what is short must not be taken from a flush.
const ROOM: u64 = 256;

/// How many zeros are written at once, at most. One sync takes longer because of them.
const PIECE: usize = if cfg!(test) { 64 << 10 } else { 512 << 10 };

/// Of RocksDB's format. Where a file ends within the header of a record, recovery takes that for damage.
const BLOCK: u64 = 32 << 10;
/// What a record begins with there.
const HEADER: usize = 7;

/// Writes of more than this do not need so many syncs that zeros would pay.
const WRITE_MAX: usize = PIECE / 16;

/// File systems that never write to the same place again, so that zeros would only be written besides: btrfs, zfs,
/// bcachefs, f2fs (statfs(2)).
const WITHOUT_PLACES: [i64; 4] = [0x9123_683e, 0x2fc1_2fc1, 0xca45_1a4e, 0xf2f5_2010];

static ZEROS: [u8; PIECE] = [0; PIECE];

/// The log that is written to.
pub(super) struct LogFile {
    directory: PathBuf,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// A log to which no zeros are written works as well.
    current: Option<Current>,
    /// How many may be having it exchanged.
    exchanges: u32,
}

struct Current {
    file: File,
    /// Up to where zeros were written; or else, what the file's length was.
    zeros_end: u64,
    /// About where the next write goes.
    position: AtomicU64,
}

/// Somebody writes to the log.
pub(super) struct Writing<'l>(#[expect(dead_code)] RwLockReadGuard<'l, State>);

/// Another log may be begun.
pub(super) struct Exchange<'l>(&'l LogFile);

impl LogFile {
    /// Of the database in this directory.
    pub fn new(directory: &Path) -> LogFile {
        let log = LogFile { directory: directory.into(), state: RwLock::default() };
        drop(log.exchange());
        log
    }

    /// To be kept as long as RocksDB may begin another log.
    pub fn exchange(&self) -> Exchange<'_> {
        let mut state = self.state.write();
        state.exchanges += 1;
        state.current = None;
        Exchange(self)
    }

    /// To be called before a write of so many bytes, and kept until it is made.
    pub fn enter(&self, bytes: usize, durability: Durability) -> Writing<'_> {
        let state = self.state.read();
        let is_worth_it = durability == Durability::Synced && bytes <= WRITE_MAX;
        let record = (bytes + HEADER) as u64;
        let is_behind = |current: &Current| current.advance(record) > current.zeros_end;
        if !state.current.as_ref().is_some_and(is_behind) || !is_worth_it {
            return Writing(state);
        }
        drop(state);
        // Whoever finds others at work leaves it to the next.
        if let Some(mut state) = self.state.try_write()
            && state.current.as_mut().is_some_and(|current| current.write_zeros(record).is_err())
        {
            // Where the disk is full, or cannot do this, writing goes on as if nothing had been tried.
            state.current = None;
        }
        Writing(self.state.read())
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.write();
        state.exchanges -= 1;
        if state.exchanges == 0 {
            state.current = newest(&self.0.directory).and_then(|path| Current::open(&path).ok());
        }
    }
}

fn newest(directory: &Path) -> Option<PathBuf> {
    let paths = fs::read_dir(directory).ok()?.flatten().map(|file| file.path());
    let logs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max_by_key(|path| path.file_stem()?.to_str()?.parse::<u64>().ok())
}

/// Whether what is written again takes the place that it had on the disk.
fn writes_in_place(file: &File) -> bool {
    // SAFETY: all zeros is a value of this structure of integers.
    let mut figures: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open as long as `file` is, and the structure is there for the call to fill.
    let done = unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut figures) };
    // The type's width differs from one processor to another.
    #[allow(clippy::unnecessary_cast)]
    let kind = figures.f_type as i64 & 0xffff_ffff;
    done == 0 && !WITHOUT_PLACES.contains(&kind)
}

impl Current {
    fn open(path: &Path) -> io::Result<Current> {
        let file = OpenOptions::new().write(true).open(path)?;
        // Tests are to test it wherever they run.
        if !writes_in_place(&file) && !cfg!(test) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let len = file.metadata()?.len();
        Ok(Current { file, zeros_end: len, position: AtomicU64::new(len) })
    }

    /// About where the log ends after a write of so many bytes.
    fn advance(&self, bytes: u64) -> u64 {
        self.position.fetch_add(bytes, Relaxed) + bytes
    }

    /// Writes the next piece; nobody else writes. `record` is what [`Current::advance`] was told of, and comes next.
    fn write_zeros(&mut self, record: u64) -> io::Result<()> {
        if Volume::of(&self.file)?.free < ROOM * PIECE as u64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let len = self.file.metadata()?.len();
        if len > self.zeros_end {
            // The log has come further than was thought.
            *self.position.get_mut() = len + record;
        }
        let count = PIECE - (len % BLOCK) as usize;
        self.file.write_all_at(&ZEROS[..count], len)?;
        self.zeros_end = len + count as u64;
        Ok(())
    }
}
