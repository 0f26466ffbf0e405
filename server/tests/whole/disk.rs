//! Where a replica lies: a log of which the synced part survives, and of the rest what chance leaves; and a state that
//! is in memory until it is flushed.
//!
//! The loss of power keeps everything synced and a random beginning of the writes after it. The end of a process keeps
//! all writes to the log, but of the state only what was flushed. A flush syncs what was written to the log before it
//! began. After a failed sync, what was not synced by then never will be, though it can still be read.

use basalt_cluster::group::log::{Durability, LogRecord, LogWrite};
use basalt_cluster::group::memory_log::LogImage;
use basalt_cluster::group::state::LogState;
use basalt_cluster::group::{LogError, LogIndex, LogStore};
use parking_lot::Mutex;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use crate::rng::Rng;

/// A state machine as bytes, and the last entry in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Saved {
    pub bytes: Arc<Vec<u8>>,
    pub applied: LogIndex,
}

#[derive(Clone)]
enum Op {
    Log(LogWrite),
    Install { saved: Saved, state: LogState },
}

#[derive(Clone, Default)]
struct Image {
    log: LogImage,
    saved: Saved,
}

impl Image {
    fn write(&mut self, op: &Op) {
        match op {
            Op::Log(write) => self.log.write(write),
            Op::Install { saved, state } => {
                self.log = LogImage { state: Some(state.clone()), ..LogImage::default() };
                self.saved = saved.clone();
            }
        }
    }
}

#[derive(Default)]
struct Contents {
    /// What a reader sees now.
    seen: Image,
    /// What would be left if the power failed and nothing else made it.
    durable: Image,
    /// What lies between them.
    unsynced: Vec<Op>,
    /// Something that can be read may not be on the disk, and is not among the unsynced.
    has_lied: bool,
}

/// A flush that has begun.
pub struct Flush {
    pub saved: Saved,
    log: usize,
}

#[derive(Default)]
pub struct Disk(Mutex<Contents>);

impl Disk {
    /// With a state that is there before the first entry.
    pub fn holding(bytes: Vec<u8>) -> Disk {
        let saved = Saved { bytes: Arc::new(bytes), applied: LogIndex(0) };
        let image = Image { saved, ..Image::default() };
        Disk(Mutex::new(Contents { seen: image.clone(), durable: image, ..Contents::default() }))
    }

    pub fn saved(&self) -> Saved {
        self.0.lock().seen.saved.clone()
    }

    pub fn install(&self, saved: Saved, state: LogState) {
        let contents = &mut *self.0.lock();
        let op = Op::Install { saved, state };
        contents.seen.write(&op);
        contents.unsynced.push(op);
    }

    pub fn begin_flush(&self, saved: Saved) -> Flush {
        Flush { saved, log: self.unsynced() }
    }

    /// Nothing else may have flushed meanwhile, or replaced the state.
    pub fn end_flush(&self, flush: Flush) {
        self.sync_first(flush.log);
        let contents = &mut *self.0.lock();
        contents.seen.saved = flush.saved.clone();
        contents.durable.saved = flush.saved;
    }

    /// How many writes a sync that begins now would cover.
    pub fn unsynced(&self) -> usize {
        self.0.lock().unsynced.len()
    }

    /// A sync that began when so many writes were not synced ends.
    pub fn sync_first(&self, count: usize) {
        let contents = &mut *self.0.lock();
        let count = count.min(contents.unsynced.len());
        for op in contents.unsynced.drain(..count) {
            contents.durable.write(&op);
        }
    }

    /// The kernel could not write its pages, says so once, and takes them for clean from then on.
    pub fn fail_sync(&self) {
        let mut contents = self.0.lock();
        contents.unsynced.clear();
        contents.has_lied = true;
    }

    /// What a database does when a process opens it: what it can read, it writes anew if it may not be on the disk.
    pub fn open(&self) {
        let contents = &mut *self.0.lock();
        if std::mem::take(&mut contents.has_lied) {
            contents.unsynced.clear();
            contents.durable = contents.seen.clone();
        }
    }

    pub fn lose_power(&self, rng: &mut Rng) {
        let contents = &mut *self.0.lock();
        let kept = rng.below(contents.unsynced.len() as u64 + 1) as usize;
        for op in contents.unsynced.drain(..).take(kept) {
            contents.durable.write(&op);
        }
        contents.seen = contents.durable.clone();
        contents.has_lied = false;
    }
}

impl LogStore for Disk {
    fn state(&self) -> Result<Option<LogState>, LogError> {
        Ok(self.0.lock().seen.log.state.clone())
    }

    fn bounds(&self) -> Result<Option<RangeInclusive<u64>>, LogError> {
        Ok(self.0.lock().seen.log.bounds())
    }

    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<LogRecord>, LogError> {
        Ok(self.0.lock().seen.log.read(range, bytes_max))
    }

    fn write(&self, write: &LogWrite, durability: Durability) -> Result<(), LogError> {
        {
            let contents = &mut *self.0.lock();
            let op = Op::Log(write.clone());
            contents.seen.write(&op);
            contents.unsynced.push(op);
        }
        if durability == Durability::Synced { self.sync() } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), LogError> {
        self.sync_first(usize::MAX);
        Ok(())
    }

    fn compact(&self, before: LogIndex) -> Result<(), LogError> {
        let contents = &mut *self.0.lock();
        contents.seen.log.compact(before);
        contents.durable.log.compact(before);
        Ok(())
    }
}
