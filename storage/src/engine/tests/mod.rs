//! Tests of the engine against the file system and against the keyspace.

mod copying;
mod digest;
mod excerpt;
mod former;
mod large;
mod law;
mod log;
mod open;
mod saving;
mod sizes;
mod steps;
mod tiers;
mod transfer;
mod wal;

use super::{Rocks, RocksOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own for one test, gone afterwards.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("basalt-{name}-{}-{number}", std::process::id()));
        // Left over from a run with the same process id.
        let _ = std::fs::remove_dir_all(&path);
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn open(&self) -> Arc<Rocks> {
        let options = RocksOptions { memory_bytes: 32 << 20, ..RocksOptions::default() };
        Rocks::open(&self.0, &options).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
