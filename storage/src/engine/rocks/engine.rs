//! The state of one group: which physical databases stand for which, and how many entries each slot has.
//!
//! Map and counts are held in memory and change with the write that changes them on disk. Readers take no lock for
//! their reads of the disk: they look at the map, read, and start over if the map has changed meanwhile, which only
//! FLUSHDB and SWAPDB do.

use super::cleaner::Sweep;
use super::counts::{self, Journal};
use super::layout::{self, PhysicalDb};
use super::open::Rocks;
use super::saving::{Mark as SavedMark, StateWrite};
use super::{corrupt, failed};
use crate::clock::UnixMs;
use crate::effect::codec::{put_mark, read_mark};
use crate::effect::wire::{Reader, put_varint};
use crate::effect::{DbIndex, Mark, Passage};
use crate::engine::{EngineError, GroupId, LogIndex, SlotCounts};
use crate::slot::{SLOT_COUNT, Slot, SlotSet};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The state of one group on disk.
pub struct Engine {
    pub(super) rocks: Arc<Rocks>,
    pub(super) group: GroupId,
    /// Held by whoever applies, or needs nobody to.
    pub(super) progress: Mutex<Progress>,
    saved: Arc<SavedMark>,
    pub(super) databases: RwLock<Databases>,
    pub(super) marks: RwLock<Vec<Mark>>,
    /// How often the map has changed.
    generation: AtomicU64,
    /// Used under the lock of `progress`.
    pub(super) journal: Mutex<Journal>,
    pub(super) sweep: Mutex<Sweep>,
    /// Records of garbage that may be there.
    pub(super) garbage: AtomicU64,
    pub(super) due_floor: Mutex<DueFloor>,
}

/// Before this time nothing is due: whoever looks need not step over what has been deleted there.
#[derive(Clone, Copy, Debug)]
pub(super) struct DueFloor {
    pub at: UnixMs,
    /// How often keys with an expiry were written; a floor found meanwhile is out of date.
    pub changes: u64,
}

/// What applying counts up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub applied: LogIndex,
    pub next_version: u64,
    pub next_database: u32,
    /// The newest version of the cluster's map by which slots were sealed.
    pub sealed_version: u64,
}

/// The databases that clients name, and their counts.
pub(super) struct Databases {
    /// By number.
    pub map: Vec<PhysicalDb>,
    pub counts: HashMap<PhysicalDb, DatabaseCounts>,
    /// Whether the map is on disk.
    pub is_saved: bool,
}

pub(super) struct DatabaseCounts {
    pub total: SlotCounts,
    pub slots: Box<[SlotCounts]>,
}

impl Default for DatabaseCounts {
    fn default() -> DatabaseCounts {
        DatabaseCounts { total: SlotCounts::default(), slots: vec![SlotCounts::default(); SLOT_COUNT].into() }
    }
}

impl DatabaseCounts {
    pub fn put(&mut self, slot: Slot, counts: SlotCounts) {
        let of_slot = &mut self.slots[usize::from(slot.number())];
        self.total.entries = self.total.entries - of_slot.entries + counts.entries;
        self.total.volatile = self.total.volatile - of_slot.volatile + counts.volatile;
        *of_slot = counts;
    }
}

impl Engine {
    /// The state of `group` with at least this many databases; an empty one if there is none yet.
    pub fn open(rocks: Arc<Rocks>, group: GroupId, databases: u16) -> Result<Engine, EngineError> {
        let stored = load_map(&rocks, group)?;
        let mut progress = load_progress(&rocks, group)?.unwrap_or(Progress {
            applied: LogIndex(0),
            next_version: 1,
            next_database: 0,
            sealed_version: 0,
        });
        let mut map = stored.unwrap_or_default();
        let is_saved = map.len() >= usize::from(databases);
        while map.len() < usize::from(databases) {
            map.push(PhysicalDb(progress.next_database));
            progress.next_database += 1;
        }
        let (counts, journal) = counts::load(&rocks, group, &map)?;
        let saved = Arc::new(SavedMark::new(progress.applied));
        rocks.saving.watch(&saved);
        let marks = load_marks(&rocks, group)?;
        Ok(Engine {
            rocks,
            group,
            progress: Mutex::new(progress),
            saved,
            marks: RwLock::new(marks),
            databases: RwLock::new(Databases { map, counts, is_saved }),
            generation: AtomicU64::new(0),
            journal: Mutex::new(journal),
            sweep: Mutex::default(),
            // Unknown, and so worth a look.
            garbage: AtomicU64::new(u64::from(u32::MAX)),
            due_floor: Mutex::new(DueFloor { at: UnixMs(i64::MIN), changes: 0 }),
        })
    }

    /// The last log entry that has been applied.
    pub fn applied(&self) -> LogIndex {
        self.saved.applied()
    }

    /// The last log entry whose outcome is on the disk: a restart needs the entries after it.
    pub fn saved(&self) -> LogIndex {
        self.saved.saved()
    }

    /// How many entries a slot has, as of [`Engine::applied`].
    pub fn counts(&self, db: DbIndex, slot: Slot) -> SlotCounts {
        let databases = self.databases.read();
        databases.of(db).map_or_else(SlotCounts::default, |counts| counts.slots[usize::from(slot.number())])
    }

    /// How many entries a database has in some slots.
    pub fn count_in(&self, db: DbIndex, is_meant: impl Fn(Slot) -> bool) -> SlotCounts {
        let mut sum = SlotCounts::default();
        if let Some(counts) = self.databases.read().of(db) {
            for slot in Slot::all().filter(|slot| is_meant(*slot)) {
                let SlotCounts { entries, volatile } = counts.slots[usize::from(slot.number())];
                sum.entries += entries;
                sum.volatile += volatile;
            }
        }
        sum
    }

    /// How many entries a database has.
    pub fn totals(&self, db: DbIndex) -> SlotCounts {
        self.databases.read().of(db).map_or_else(SlotCounts::default, |counts| counts.total)
    }

    /// The number behind each database, and the one that the next flush takes: whoever evaluates counts along.
    pub fn physical_databases(&self) -> (Vec<PhysicalDb>, PhysicalDb) {
        let progress = self.progress.lock();
        (self.databases.read().map.clone(), PhysicalDb(progress.next_database))
    }

    /// The number behind a database at this moment.
    pub fn physical_database(&self, db: DbIndex) -> PhysicalDb {
        self.databases.read().map[usize::from(db.0)]
    }

    /// What the group remembers of slots that are on their way.
    pub fn marks(&self) -> Vec<Mark> {
        self.marks.read().clone()
    }

    /// The newest version of the cluster's map by which slots of the group were ever sealed; 0 if none were.
    pub fn sealed_version(&self) -> u64 {
        self.progress.lock().sealed_version
    }

    /// The slots that go this way.
    pub fn marked(&self, passage: Passage) -> SlotSet {
        self.marks.read().iter().filter(|mark| mark.passage == passage).flat_map(Mark::all_slots).collect()
    }

    pub fn rocks(&self) -> &Arc<Rocks> {
        &self.rocks
    }

    /// Reads from what stands behind `db`, again if that was changed meanwhile.
    pub(super) fn with_database<R>(
        &self,
        db: DbIndex,
        read: impl Fn(PhysicalDb) -> Result<R, EngineError>,
    ) -> Result<R, EngineError> {
        loop {
            let (physical, generation) = {
                let databases = self.databases.read();
                (databases.map[usize::from(db.0)], self.generation.load(Ordering::Acquire))
            };
            let result = read(physical)?;
            if self.generation.load(Ordering::Acquire) == generation {
                return Ok(result);
            }
        }
    }

    /// Writes, and changes what is in memory accordingly. If the map changes, no reader sees the one without the other.
    pub(super) fn commit(
        &self,
        write: StateWrite<'_>,
        progress: Progress,
        new_map: Option<Vec<PhysicalDb>>,
        counts: impl FnOnce(&mut Databases),
    ) -> Result<(), EngineError> {
        let write = || self.rocks.write_state(write, "writing what was applied");
        match new_map {
            Some(map) => {
                let mut databases = self.databases.write();
                self.generation.fetch_add(1, Ordering::AcqRel);
                write()?;
                databases.map = map;
                databases.is_saved = true;
                counts(&mut databases);
            }
            None => {
                write()?;
                counts(&mut self.databases.write());
            }
        }
        self.saved.note_applied(progress.applied);
        Ok(())
    }
}

impl Databases {
    pub fn of(&self, db: DbIndex) -> Option<&DatabaseCounts> {
        self.counts.get(self.map.get(usize::from(db.0))?)
    }
}

impl Progress {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        put_varint(&mut out, self.applied.0);
        put_varint(&mut out, self.next_version);
        put_varint(&mut out, self.next_database.into());
        put_varint(&mut out, self.sealed_version);
        out
    }
}

pub(super) const PROGRESS: &str = "progress";
pub(super) const MAP: &str = "databases";
pub(super) const MARKS: &str = "marks";

fn load_progress(rocks: &Rocks, group: GroupId) -> Result<Option<Progress>, EngineError> {
    let key = layout::group_property(group, PROGRESS);
    let Some(bytes) = rocks.db.get(key).map_err(failed("reading the applied index"))? else { return Ok(None) };
    let mut reader = Reader::new(&bytes);
    let mut read = || {
        let (applied, next_version) = (LogIndex(reader.varint()?), reader.varint()?);
        let next_database = reader.varint()? as u32;
        // Earlier versions did not write it.
        let sealed_version = if reader.is_empty() { 0 } else { reader.varint()? };
        Ok(Progress { applied, next_version, next_database, sealed_version })
    };
    read().map(Some).map_err(corrupt("the applied index"))
}

fn load_map(rocks: &Rocks, group: GroupId) -> Result<Option<Vec<PhysicalDb>>, EngineError> {
    let key = layout::group_property(group, MAP);
    let Some(bytes) = rocks.db.get(key).map_err(failed("reading the map of databases"))? else { return Ok(None) };
    let (numbers, []) = bytes.as_chunks::<4>() else {
        return Err(corrupt("the map of databases")(crate::effect::wire::Malformed("its length is odd")));
    };
    Ok(Some(numbers.iter().map(|number| PhysicalDb(u32::from_be_bytes(*number))).collect()))
}

fn load_marks(rocks: &Rocks, group: GroupId) -> Result<Vec<Mark>, EngineError> {
    let key = layout::group_property(group, MARKS);
    let Some(bytes) = rocks.db.get(key).map_err(failed("reading what is known of slots"))? else {
        return Ok(Vec::new());
    };
    let mut reader = Reader::new(&bytes);
    let mut marks = Vec::new();
    while !reader.is_empty() {
        marks.push(read_mark(&mut reader).map_err(corrupt("what is known of slots"))?);
    }
    Ok(marks)
}

pub(super) fn encode_marks(marks: &[Mark]) -> Vec<u8> {
    let mut out = Vec::new();
    marks.iter().for_each(|mark| put_mark(&mut out, mark));
    out
}

pub(super) fn encode_map(map: &[PhysicalDb]) -> Vec<u8> {
    map.iter().flat_map(|db| db.0.to_be_bytes()).collect()
}
