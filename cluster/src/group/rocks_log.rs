//! The log of one group in the node's RocksDB.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use basalt_storage::engine::{self, EngineError, Rocks};

use super::ids::{GroupId, LogIndex};
use super::log::{Durability, LogError, LogRecord, LogStore, LogWrite};
use super::state::LogState;

/// Shares the database with the state of the group, and the order of writes with other groups.
pub struct RocksLog {
    rocks: Arc<Rocks>,
    group: GroupId,
}

impl RocksLog {
    pub fn new(rocks: Arc<Rocks>, group: GroupId) -> RocksLog {
        RocksLog { rocks, group }
    }
}

impl LogStore for RocksLog {
    fn state(&self) -> Result<Option<LogState>, LogError> {
        let bytes = self.rocks.log_state(self.group).map_err(failed("read"))?;
        bytes.map(|bytes| LogState::decode(&bytes)).transpose()
    }

    fn bounds(&self) -> Result<Option<RangeInclusive<u64>>, LogError> {
        self.rocks.log_bounds(self.group).map_err(failed("read"))
    }

    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<LogRecord>, LogError> {
        let found = self.rocks.log_read(self.group, range.start.0..range.end.0, bytes_max).map_err(failed("read"))?;
        Ok(found.into_iter().map(|(index, bytes)| LogRecord { index: LogIndex(index), bytes }).collect())
    }

    fn write(&self, write: &LogWrite, durability: Durability) -> Result<(), LogError> {
        let entries: Vec<_> = write.entries.iter().map(|record| (record.index.0, &record.bytes[..])).collect();
        let state = write.state.as_ref().map(LogState::encode);
        let write = engine::LogWrite {
            group: self.group,
            entries: &entries,
            delete_tail: write.delete_tail.clone().unwrap_or(0..0),
            state: state.as_deref(),
        };
        self.rocks.log_write(&[write], durability).map_err(failed("written"))
    }

    fn sync(&self) -> Result<(), LogError> {
        self.rocks.log_sync().map_err(failed("synced"))
    }

    fn compact(&self, before: LogIndex) -> Result<(), LogError> {
        self.rocks.log_compact(self.group, before.0).map_err(failed("cut"))
    }
}

fn failed(action: &'static str) -> impl Fn(EngineError) -> LogError {
    move |error| LogError::Io { action, source: Box::new(error) }
}
