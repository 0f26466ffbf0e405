//! A log in memory: for groups whose log may be lost with the process, and for tests.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use parking_lot::Mutex;

use super::ids::LogIndex;
use super::log::{Durability, LogError, LogRecord, LogStore, LogWrite};
use super::state::LogState;

#[derive(Default)]
pub struct MemoryLog {
    contents: Mutex<LogImage>,
}

/// What a log holds: also that of a log whose disk is simulated.
#[derive(Clone, Debug, Default)]
pub struct LogImage {
    pub state: Option<LogState>,
    pub entries: BTreeMap<u64, Vec<u8>>,
}

impl LogImage {
    /// The first and the last entry.
    pub fn bounds(&self) -> Option<RangeInclusive<u64>> {
        let ends = self.entries.first_key_value().zip(self.entries.last_key_value());
        ends.map(|((first, _), (last, _))| *first..=*last)
    }

    /// The entries of a range, the first of them and as many more as are not too large together.
    pub fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Vec<LogRecord> {
        let mut bytes = 0;
        let found = self.entries.range(range.start.0..range.end.0);
        let fitting = found.take_while(|(index, entry)| {
            bytes += entry.len();
            **index == range.start.0 || bytes <= bytes_max
        });
        fitting.map(|(index, bytes)| LogRecord { index: LogIndex(*index), bytes: bytes.clone() }).collect()
    }

    pub fn write(&mut self, write: &LogWrite) {
        for record in &write.entries {
            self.entries.insert(record.index.0, record.bytes.clone());
        }
        for index in write.delete_tail.clone().into_iter().flatten() {
            self.entries.remove(&index);
        }
        if write.state.is_some() {
            self.state.clone_from(&write.state);
        }
    }

    /// The entries before this one are of no use any more.
    pub fn compact(&mut self, before: LogIndex) {
        self.entries = self.entries.split_off(&before.0);
    }
}

impl MemoryLog {
    pub fn new() -> MemoryLog {
        MemoryLog::default()
    }

    /// The log has no entries from now on, and this state: a copy stands for all that was in it.
    pub fn begin_at(&self, state: &LogState) {
        *self.contents.lock() = LogImage { state: Some(state.clone()), entries: BTreeMap::new() };
    }
}

impl LogStore for MemoryLog {
    fn state(&self) -> Result<Option<LogState>, LogError> {
        Ok(self.contents.lock().state.clone())
    }

    fn bounds(&self) -> Result<Option<RangeInclusive<u64>>, LogError> {
        Ok(self.contents.lock().bounds())
    }

    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<LogRecord>, LogError> {
        Ok(self.contents.lock().read(range, bytes_max))
    }

    fn write(&self, write: &LogWrite, _durability: Durability) -> Result<(), LogError> {
        self.contents.lock().write(write);
        Ok(())
    }

    fn sync(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn compact(&self, before: LogIndex) -> Result<(), LogError> {
        self.contents.lock().compact(before);
        Ok(())
    }
}
