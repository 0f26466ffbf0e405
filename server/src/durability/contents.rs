//! Where what a replica has lies: the difference between durable mode and cache mode in a cluster. Whoever has to do
//! something else in either (take slots over, copy them, change them for another node) matches on [`Contents`].

use super::in_memory::InMemory;
use super::log;
use super::replicas::DB;
use basalt_cluster::group::{ApplyError, CommittedEntry, LogIndex};
use basalt_cluster::node::Place;
use basalt_storage::effect::{Mark, Passage};
use basalt_storage::engine::{Engine, EngineError, Sample};
use basalt_storage::slot::{Slot, SlotSet};
use parking_lot::RwLock;
use std::sync::Arc;

/// What a replica has.
pub enum Contents {
    OnDisk(OnDisk),
    /// In keyspaces alone.
    Memory(Box<InMemory>),
}

/// In a store of the node's database.
pub struct OnDisk {
    pub place: Arc<Place>,
    /// Replaced when a snapshot is.
    engine: RwLock<Arc<Engine>>,
}

impl OnDisk {
    pub fn new(place: Arc<Place>, engine: Engine) -> OnDisk {
        OnDisk { place, engine: RwLock::new(Arc::new(engine)) }
    }

    pub fn engine(&self) -> Arc<Engine> {
        self.engine.read().clone()
    }

    pub fn put_engine(&self, engine: Engine) {
        *self.engine.write() = Arc::new(engine);
    }
}

impl Contents {
    /// What is in memory, in cache mode.
    pub fn in_memory(&self) -> Option<&InMemory> {
        match self {
            Contents::OnDisk(_) => None,
            Contents::Memory(memory) => Some(memory),
        }
    }

    /// What the group remembers of slots that come and go.
    pub fn marks(&self) -> Vec<Mark> {
        match self {
            Contents::OnDisk(disk) => disk.engine().marks(),
            Contents::Memory(memory) => memory.marks(),
        }
    }

    /// The newest version of the cluster's map by which slots of the group were ever sealed; 0 if none were.
    pub fn sealed_version(&self) -> u64 {
        match self {
            Contents::OnDisk(disk) => disk.engine().sealed_version(),
            Contents::Memory(memory) => memory.sealed_version(),
        }
    }

    /// The slots that go this way.
    pub fn marked(&self, passage: Passage) -> SlotSet {
        match self {
            Contents::OnDisk(disk) => disk.engine().marked(passage),
            Contents::Memory(memory) => {
                let marks = memory.marks();
                marks.iter().filter(|mark| mark.passage == passage).flat_map(Mark::all_slots).collect()
            }
        }
    }

    /// Whether there are keys in a slot in which nothing is evaluated any more.
    pub fn has_keys(&self, slot: Slot) -> bool {
        match self {
            Contents::OnDisk(disk) => disk.engine().counts(DB, slot).entries > 0,
            Contents::Memory(memory) => memory.has_keys(slot),
        }
    }

    /// How many entries each slot has.
    pub fn entries_by_slot(&self) -> Vec<u64> {
        match self {
            Contents::OnDisk(disk) => disk.engine().entries_by_slot(DB),
            Contents::Memory(memory) => memory.entries_by_slot(),
        }
    }

    /// Looks at up to `max` entries of a slot, on disk at those that follow on a hash.
    pub fn sample_slot(&self, slot: Slot, from_hash: u32, max: u64) -> Result<Sample, EngineError> {
        match self {
            Contents::OnDisk(disk) => disk.engine().sample_slot(DB, slot, from_hash, max),
            Contents::Memory(memory) => Ok(memory.sample_slot(slot, max)),
        }
    }

    /// The last entry of the group's log that is in it.
    pub fn applied(&self) -> LogIndex {
        match self {
            Contents::OnDisk(disk) => disk.engine().applied(),
            Contents::Memory(memory) => memory.applied(),
        }
    }

    /// The last one that will be in it after a restart.
    pub fn saved(&self) -> LogIndex {
        match self {
            Contents::OnDisk(disk) => disk.engine().saved(),
            // The log ends with it.
            Contents::Memory(memory) => memory.applied(),
        }
    }

    pub fn apply(&self, entries: &[CommittedEntry]) -> Result<(), ApplyError> {
        match self {
            Contents::OnDisk(disk) => log::apply(&disk.engine(), entries)?,
            Contents::Memory(memory) => memory.apply(entries).map_err(|error| ApplyError(Box::new(error)))?,
        }
        Ok(())
    }

    /// The replica leaves this node.
    pub fn leave(&self) {
        if let Contents::Memory(memory) = self {
            memory.leave();
        }
    }
}
