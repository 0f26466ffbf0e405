//! The engines as the keyspace sees them: where cold entries are read from.

use super::replicas::Replicas;
use crate::server::Server;
use basalt_storage::effect::DbIndex;
use basalt_storage::engine::{Engine, EngineError, Extent, Found, Lookup, Part, PartName, PhysicalDb, Summary, Tier};
use basalt_storage::keyspace::{ColdStore, Key, Stored, Unreadable};
use basalt_storage::outline::Outline;
use basalt_storage::rdb::values::Limits;
use basalt_storage::slot::Slot;
use basalt_storage::value::Value;
use std::sync::{Arc, Weak};

/// The engine of a slot, and the number under which it has a database.
///
/// The keyspace counts the numbers of its databases along with the engine: a flush takes the next one. The engines of a
/// cluster's groups are flushed each when it was led, so there the keyspace's number says only whether a read was begun
/// before a flush, and the engine's own one is used: a slot has nothing cold between a flush and its being applied.
pub(super) enum Engines {
    Alone(Arc<Engine>),
    Cluster(Arc<Replicas>),
}

pub(super) struct EngineReader {
    pub(super) engines: Engines,
    /// Its settings say which form values get in memory.
    pub(super) server: Weak<Server>,
}

impl EngineReader {
    fn limits(&self) -> Limits {
        let server = self.server.upgrade().expect("a server that reads is there");
        Limits::of(&server.keyspace.settings)
    }

    /// Reads from the engine of a slot; `absent` if this node does not hold the slot any more.
    fn with_engine<R>(
        &self,
        slot: Slot,
        db: PhysicalDb,
        absent: R,
        read: impl FnOnce(&Engine, PhysicalDb) -> Result<R, EngineError>,
    ) -> Result<R, Unreadable> {
        let result = match &self.engines {
            Engines::Alone(engine) => read(engine, db),
            Engines::Cluster(replicas) => match replicas.holding_replica(slot).and_then(|replica| replica.engine()) {
                Some(engine) => read(&engine, engine.physical_database(DbIndex(0))),
                None => Ok(absent),
            },
        };
        result.map_err(|error| Unreadable(error.to_string()))
    }
}

/// For what is read by the version of an outline.
const ANY: PhysicalDb = PhysicalDb(0);

impl ColdStore for EngineReader {
    fn load(&self, db: PhysicalDb, key: &Key<'_>, tier: Tier, extent: Extent) -> Result<Lookup, Unreadable> {
        let load = |engine: &Engine, db| engine.load_physical(db, key, tier, extent, &self.limits());
        self.with_engine(key.slot, db, Lookup::Absent, load)
    }

    fn summary(&self, db: PhysicalDb, key: &Key<'_>, tier: Tier) -> Result<Found<Summary>, Unreadable> {
        self.with_engine(key.slot, db, Found::Absent, |engine, db| engine.peek_physical(db, key, tier))
    }

    fn part(&self, slot: Slot, outline: &Outline, name: PartName<'_>, tier: Tier) -> Result<Found<Part>, Unreadable> {
        self.with_engine(slot, ANY, Found::Absent, |engine, _| engine.part_of(outline, name, tier))
    }

    fn value(&self, slot: Slot, outline: &Outline) -> Result<Value, Unreadable> {
        let read = |engine: &Engine, _| engine.value_of(outline, &self.limits()).map(Some);
        let value = self.with_engine(slot, ANY, None, read)?;
        value.ok_or_else(|| Unreadable("its slot has left this node".to_owned()))
    }

    fn walk_slot(
        &self,
        db: PhysicalDb,
        slot: Slot,
        from: u32,
        count: usize,
        visit: &mut dyn FnMut(Stored<'_>),
    ) -> Result<Option<u32>, Unreadable> {
        let show = |key: &[u8], value_type, expiry| visit(Stored { key, value_type, expiry });
        self.with_engine(slot, db, None, |engine, db| engine.walk_physical(db, slot, from, count, show))
    }
}
