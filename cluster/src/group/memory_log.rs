//! A log in memory: for groups whose log may be lost with the process, and for tests.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use parking_lot::Mutex;

use super::ids::LogIndex;
use super::log::{Durability, LogError, LogRecord, LogStore, LogWrite};
use super::state::LogState;

#[derive(Default)]
pub struct MemoryLog {
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    state: Option<LogState>,
    entries: BTreeMap<u64, Vec<u8>>,
}

impl MemoryLog {
    pub fn new() -> MemoryLog {
        MemoryLog::default()
    }

    /// The log has no entries from now on, and this state: a copy stands for all that was in it.
    pub fn begin_at(&self, state: &LogState) {
        *self.contents.lock() = Contents { state: Some(state.clone()), entries: BTreeMap::new() };
    }
}

impl LogStore for MemoryLog {
    fn state(&self) -> Result<Option<LogState>, LogError> {
        Ok(self.contents.lock().state.clone())
    }

    fn bounds(&self) -> Result<Option<RangeInclusive<u64>>, LogError> {
        let entries = &self.contents.lock().entries;
        Ok(entries.first_key_value().zip(entries.last_key_value()).map(|((first, _), (last, _))| *first..=*last))
    }

    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<LogRecord>, LogError> {
        let contents = self.contents.lock();
        let mut bytes = 0;
        let found = contents.entries.range(range.start.0..range.end.0);
        let fitting = found.take_while(|(index, entry)| {
            bytes += entry.len();
            **index == range.start.0 || bytes <= bytes_max
        });
        Ok(fitting.map(|(index, bytes)| LogRecord { index: LogIndex(*index), bytes: bytes.clone() }).collect())
    }

    fn write(&self, write: &LogWrite, _durability: Durability) -> Result<(), LogError> {
        let mut contents = self.contents.lock();
        for record in &write.entries {
            contents.entries.insert(record.index.0, record.bytes.clone());
        }
        for index in write.delete_tail.clone().into_iter().flatten() {
            contents.entries.remove(&index);
        }
        if let Some(state) = &write.state {
            contents.state = Some(state.clone());
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn compact(&self, before: LogIndex) -> Result<(), LogError> {
        let mut contents = self.contents.lock();
        contents.entries = contents.entries.split_off(&before.0);
        Ok(())
    }
}
