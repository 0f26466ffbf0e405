//! Gives the write-ahead log that is written to its length beforehand.
//!
//! A sync of a file that has grown also has to put the new length on the disk, with a write of its own to the journal
//! of the file system. So the file gets some length when it is new, and RocksDB writes into what are zeros until then;
//! when it closes the file, it cuts off what is left. After a crash the zeros are still there: both RocksDB and
//! [`super::wal`] take them for the end.

use crate::volume::Volume;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A log takes its length only where this many times as much is free: what is short must not be taken from a flush.
const ROOM: u64 = 8;

/// The last block of a log must not end within a header.
const BLOCK: u64 = 32 << 10;

/// Lengthens the log that was begun last, if it is shorter. A log that stays as it is works as well.
pub(super) fn lengthen_newest(directory: &Path, bytes: u64) {
    if let Some(newest) = newest(directory) {
        // Where the disk is full, or cannot do this, writing goes on as if nothing had been tried.
        let _ = lengthen(&newest, bytes / BLOCK * BLOCK);
    }
}

fn newest(directory: &Path) -> Option<PathBuf> {
    let paths = fs::read_dir(directory).ok()?.flatten().map(|file| file.path());
    let logs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max_by_key(|path| path.file_stem()?.to_str()?.parse::<u64>().ok())
}

fn lengthen(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if Volume::of(&file)?.free < ROOM * bytes {
        return Ok(());
    }
    let bytes = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open as long as `file` is, and the call touches no memory of this process. It never
    // makes a file shorter, so it may run beside RocksDB's own writes.
    match unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
