//! The engine as the keyspace sees it: where cold entries are read from.

use crate::server::Server;
use basalt_storage::engine::{Engine, EngineError, Extent, Found, Lookup, Part, PartName, PhysicalDb, Summary, Tier};
use basalt_storage::keyspace::{ColdStore, Key, Stored, Unreadable};
use basalt_storage::outline::Outline;
use basalt_storage::rdb::values::Limits;
use basalt_storage::slot::Slot;
use basalt_storage::value::Value;
use std::sync::{Arc, Weak};

pub(super) struct EngineReader {
    pub(super) engine: Arc<Engine>,
    /// Its settings say which form values get in memory.
    pub(super) server: Weak<Server>,
}

impl EngineReader {
    fn limits(&self) -> Limits {
        let server = self.server.upgrade().expect("a server that reads is there");
        Limits::of(&server.keyspace.settings)
    }
}

fn unreadable(error: EngineError) -> Unreadable {
    Unreadable(error.to_string())
}

impl ColdStore for EngineReader {
    fn load(&self, db: PhysicalDb, key: &Key<'_>, tier: Tier, extent: Extent) -> Result<Lookup, Unreadable> {
        self.engine.load_physical(db, key, tier, extent, &self.limits()).map_err(unreadable)
    }

    fn summary(&self, db: PhysicalDb, key: &Key<'_>, tier: Tier) -> Result<Found<Summary>, Unreadable> {
        self.engine.peek_physical(db, key, tier).map_err(unreadable)
    }

    fn part(&self, outline: &Outline, name: PartName<'_>, tier: Tier) -> Result<Found<Part>, Unreadable> {
        self.engine.part_of(outline, name, tier).map_err(unreadable)
    }

    fn value(&self, outline: &Outline) -> Result<Value, Unreadable> {
        self.engine.value_of(outline, &self.limits()).map_err(unreadable)
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
        self.engine.walk_physical(db, slot, from, count, show).map_err(unreadable)
    }
}
