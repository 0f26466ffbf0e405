//! The state of a group at one log entry, for dumps, copies and reads: it stays as it is while others are applied.

use super::engine::{Engine, Progress};
use super::layout::{KEYS, MetaKey, PhysicalDb, database_prefix, meta_key};
use super::read::{PartName, Source, load_from, parse};
use super::{corrupt, failed};
use crate::effect::wire::Malformed;
use crate::effect::{DbIndex, Mark};
use crate::engine::{EngineError, Extent, Found, Loaded, LogIndex, Lookup, Part, SlotCounts, Tier};
use crate::keyspace::Key;
use crate::outline::Outline;
use crate::rdb::values::Limits;
use crate::slot::Slot;
use crate::value::Value;
use parking_lot::MutexGuard;
use rocksdb::Snapshot;

/// All entries as of one log entry.
pub struct EngineSnapshot<'e> {
    engine: &'e Engine,
    snapshot: Snapshot<'e>,
    progress: Progress,
    marks: Vec<Mark>,
    databases: Vec<(DbIndex, PhysicalDb, SlotCounts)>,
}

impl Engine {
    /// The state as it is now. Whoever applies waits for a moment.
    pub fn snapshot(&self) -> EngineSnapshot<'_> {
        self.snapshot_of(self.progress.lock())
    }

    /// The same for a caller that must not wait: none while something is applied.
    pub fn try_snapshot(&self) -> Option<EngineSnapshot<'_>> {
        Some(self.snapshot_of(self.progress.try_lock()?))
    }

    fn snapshot_of(&self, progress: MutexGuard<'_, Progress>) -> EngineSnapshot<'_> {
        let databases = self.databases.read();
        let total = |db| databases.counts.get(db).map(|counts| counts.total).unwrap_or_default();
        EngineSnapshot {
            engine: self,
            snapshot: self.rocks.db.snapshot(),
            progress: *progress,
            marks: self.marks(),
            databases: databases.map.iter().zip(0..).map(|(db, number)| (DbIndex(number), *db, total(db))).collect(),
        }
    }
}

impl EngineSnapshot<'_> {
    /// The last log entry that is in it.
    pub fn applied(&self) -> LogIndex {
        self.progress.applied
    }

    /// Whether a slot is on its way to this group or away from it.
    pub fn is_on_its_way(&self, slot: Slot) -> bool {
        self.marks.iter().any(|mark| mark.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot)))
    }

    /// The newest version of the cluster's map by which slots of this group were sealed, whatever has become of them.
    pub fn sealed_version(&self) -> u64 {
        self.progress.sealed_version
    }

    fn source(&self, tier: Tier) -> Source<'_> {
        Source { engine: self.engine, snapshot: Some(&self.snapshot), tier }
    }

    /// An entry, whether it is due or not.
    pub fn load(
        &self,
        db: DbIndex,
        key: &Key<'_>,
        tier: Tier,
        extent: Extent,
        limits: &Limits,
    ) -> Result<Lookup, EngineError> {
        let Some(physical) = self.physical(db) else { return Ok(Found::Absent) };
        let id = meta_key(self.engine.group, physical, key.slot, key.bytes);
        match self.engine.rocks.look_up(KEYS, &id, tier, Some(&self.snapshot))? {
            Found::Found(bytes) => load_from(parse(&bytes)?, &self.source(tier), extent, limits),
            Found::Absent => Ok(Found::Absent),
            Found::NeedsDisk => Ok(Found::NeedsDisk),
        }
    }

    /// One part of a value of this state that `outline` stands for.
    pub fn part(&self, outline: &Outline, name: PartName<'_>, tier: Tier) -> Result<Found<Part>, EngineError> {
        self.source(tier).part_of(outline, name)
    }

    /// The value of this state that `outline` stands for, from the disk.
    pub fn value(&self, outline: &Outline, limits: &Limits) -> Result<Value, EngineError> {
        self.source(Tier::Disk).value_of(outline, limits)
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
