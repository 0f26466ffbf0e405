//! How much room there is on the volume of a file.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// A volume, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Volume {
    pub total: u64,
    /// What this process may still take.
    pub free: u64,
}

impl Volume {
    /// That of a file or directory.
    pub fn of(file: &File) -> io::Result<Volume> {
        // SAFETY: all zeros is a value of this structure of integers.
        let mut figures: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open as long as `file` is, and the structure is there for the call to fill.
        if unsafe { libc::fstatvfs(file.as_raw_fd(), &raw mut figures) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Volume { total: figures.f_blocks * figures.f_frsize, free: figures.f_bavail * figures.f_frsize })
    }
}
