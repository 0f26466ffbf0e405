//! Where a replica of this node lies: in a store, which a snapshot replaces as a whole.

use crate::group::log::{Durability, LogRecord, LogWrite};
use crate::group::rocks_log::RocksLog;
use crate::group::state::LogState;
use crate::group::{GroupId, LogError, LogIndex, LogStore, ReplicaId};
use basalt_storage::engine::{self, EngineError, ReplicaRecord, Rocks};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of a store in this node's database; the engine calls it by the name of what used to be the only one.
pub type StoreId = engine::GroupId;

/// A replica's place in the node's database. Its log is read and written through this, so that it moves along.
pub struct Place {
    rocks: Arc<Rocks>,
    group: GroupId,
    replica: ReplicaId,
    store: AtomicU32,
}

impl Place {
    pub fn new(rocks: Arc<Rocks>, group: GroupId, replica: ReplicaId, store: StoreId) -> Place {
        Place { rocks, group, replica, store: AtomicU32::new(store.0) }
    }

    pub fn rocks(&self) -> &Arc<Rocks> {
        &self.rocks
    }

    pub fn group(&self) -> GroupId {
        self.group
    }

    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    pub fn store(&self) -> StoreId {
        engine::GroupId(self.store.load(Ordering::Acquire))
    }

    pub fn record(&self) -> ReplicaRecord {
        ReplicaRecord { group: self.group.0, replica: self.replica.0, store: Some(self.store()) }
    }

    /// Makes a store that holds a whole copy this replica's, with this state of its log: in one synced write, so that a
    /// crash leaves the old one or the new one. What was there before is deleted.
    pub fn move_to(&self, store: StoreId, state: &LogState) -> Result<(), EngineError> {
        let record = ReplicaRecord { store: Some(store), ..self.record() };
        self.rocks.put_replica(&record, Some(&state.encode()))?;
        let old = self.store.swap(store.0, Ordering::AcqRel);
        self.rocks.delete_store(engine::GroupId(old))
    }

    fn log(&self) -> RocksLog {
        RocksLog::new(self.rocks.clone(), self.store())
    }
}

impl LogStore for Place {
    fn state(&self) -> Result<Option<LogState>, LogError> {
        self.log().state()
    }

    fn bounds(&self) -> Result<Option<RangeInclusive<u64>>, LogError> {
        self.log().bounds()
    }

    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<LogRecord>, LogError> {
        self.log().read(range, bytes_max)
    }

    fn write(&self, write: &LogWrite, durability: Durability) -> Result<(), LogError> {
        self.log().write(write, durability)
    }

    fn sync(&self) -> Result<(), LogError> {
        self.log().sync()
    }

    fn compact(&self, before: LogIndex) -> Result<(), LogError> {
        self.log().compact(before)
    }
}
