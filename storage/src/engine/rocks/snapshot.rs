//! The state of a group at one log entry, for dumps: it stays as it is while others are applied.

use super::engine::Engine;
use super::layout::{KEYS, MetaKey, PhysicalDb, database_prefix};
use super::read::{Source, parse};
use super::{corrupt, failed};
use crate::effect::wire::Malformed;
use crate::effect::{DbIndex, Mark};
use crate::engine::{EngineError, Loaded, LogIndex, SlotCounts, Tier};
use crate::rdb::values::Limits;
use rocksdb::Snapshot;

/// All entries as of one log entry.
pub struct EngineSnapshot<'e> {
    engine: &'e Engine,
    snapshot: Snapshot<'e>,
    applied: LogIndex,
    databases: Vec<(DbIndex, PhysicalDb, SlotCounts)>,
    marks: Vec<Mark>,
}

impl Engine {
    /// The state as it is now. Whoever applies waits for a moment.
    pub fn snapshot(&self) -> EngineSnapshot<'_> {
        let progress = self.progress.lock();
        let databases = self.databases.read();
        let total = |db| databases.counts.get(db).map(|counts| counts.total).unwrap_or_default();
        EngineSnapshot {
            engine: self,
            snapshot: self.rocks.db.snapshot(),
            applied: progress.applied,
            databases: databases.map.iter().zip(0..).map(|(db, number)| (DbIndex(number), *db, total(db))).collect(),
            marks: self.marks(),
        }
    }
}

impl EngineSnapshot<'_> {
    /// The last log entry that is in it.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// The number behind a database.
    pub(super) fn physical(&self, db: DbIndex) -> Option<PhysicalDb> {
        self.databases.get(usize::from(db.0)).map(|(_, physical, _)| *physical)
    }

    /// All databases, empty ones too.
    pub(super) fn all_databases(&self) -> impl Iterator<Item = (DbIndex, PhysicalDb)> {
        self.databases.iter().map(|(db, physical, _)| (*db, *physical))
    }

    /// What the group remembers of slots on their way.
    pub(super) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    pub(super) fn parts(&self) -> (&Engine, &Snapshot<'_>) {
        (self.engine, &self.snapshot)
    }

    /// The databases that are not empty, with their counts.
    pub fn databases(&self) -> impl Iterator<Item = (DbIndex, SlotCounts)> {
        self.databases.iter().filter(|(_, _, counts)| counts.entries > 0).map(|(db, _, counts)| (*db, *counts))
    }

    /// Visits all entries of one database, in the order of their slots.
    ///
    /// # Errors
    /// Those of reading, and what `visit` returns, which ends the visit.
    pub fn entries<E: From<EngineError>>(
        &self,
        db: DbIndex,
        limits: &Limits,
        mut visit: impl FnMut(&[u8], Loaded) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some((_, physical, _)) = self.databases.get(usize::from(db.0)) else { return Ok(()) };
        let source = Source { engine: self.engine, snapshot: Some(&self.snapshot), tier: Tier::Disk };
        let prefix = database_prefix(self.engine.group, *physical);
        let mut entries = self.engine.rocks.prefix_iterator(KEYS, &prefix, Some(&self.snapshot));
        entries.seek_to_first();
        while let Some((key, value)) = entries.item() {
            let no_key = || corrupt("the key of a record")(Malformed("it is too short"));
            let key = MetaKey::parse(key).ok_or_else(no_key)?;
            let meta = parse(value)?;
            let value = source.value(meta.data, limits)?.expect("a read from the disk is never short of it");
            visit(key.user_key, Loaded { value, expiry: meta.expiry })?;
            entries.next();
        }
        Ok(entries.status().map_err(failed("reading a snapshot"))?)
    }
}
