//! Opening the data directory, and putting the parts of durable mode together.

use super::cold::EngineReader;
use super::housekeeping;
use super::loader::Loader;
use super::log::{Machine, Observer, Sink};
use super::pace::{self, Pace};
use super::space::{self, Space, Volume};
use super::{Durability, errand, letting_out};
use crate::memory_report::{available_bytes, resident_bytes_default};
use crate::server::Server;
use basalt_cluster::group::rocks_log::RocksLog;
use basalt_cluster::group::{self, Group, GroupOptions};
use basalt_storage::effect::DbIndex;
use basalt_storage::engine::{Engine, EngineError, GroupId, OpenError, Rocks, RocksOptions};
use basalt_storage::keyspace::{ColdCount, Keyspace};
use basalt_storage::slot::Slot;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory below `dir` that holds the log and the data.
pub const DATA_DIRECTORY: &str = "basalt-data";

/// The one group of a node that is no cluster.
const GROUP: u32 = 1;

/// Why a durable node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Group(#[from] group::StartError),
    #[error("the system refused a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Opens what an earlier run has left, applies what is in the log and not yet in the engine, and lets the server write
/// to it. Nothing is read into memory: every entry starts cold.
pub fn start(server: &Arc<Server>) -> Result<(), StartError> {
    crate::memory::note_start();
    let directory = PathBuf::from(server.config.text("dir")).join(DATA_DIRECTORY);
    let fsync = server.config.text("fsync").parse().expect("the setting was checked");
    let memory_bytes = server.config.int("engine-memory") as usize;
    let mut rocks_options = RocksOptions { memory_bytes, ..RocksOptions::default() };
    let mut options = GroupOptions { fsync, ..GroupOptions::alone(GroupId(GROUP)) };
    // Two logs of the usual lengths would fill a small volume.
    if let Ok(volume) = Volume::of(Path::new(&server.config.text("dir"))) {
        rocks_options.wal_bytes_max = volume.part(rocks_options.wal_bytes_max);
        options.log_bytes_max = volume.part(options.log_bytes_max);
    }
    let rocks = Rocks::open(&directory, &rocks_options)?;
    let engine = Arc::new(Engine::open(rocks.clone(), GroupId(GROUP), server.keyspace.databases())?);
    let store = Arc::new(RocksLog::new(rocks.clone(), GroupId(GROUP)));
    let machine = Arc::new(Machine { engine: engine.clone() });
    let observer = Arc::new(Observer { server: Arc::downgrade(server) });
    let clock = server.clone();
    let group = Group::start(options, store, machine, observer, Arc::new(move || clock.now()))?;
    let keyspace = &server.keyspace;
    let reader = EngineReader { engine: engine.clone(), server: Arc::downgrade(server) };
    let (databases, next) = engine.physical_databases();
    keyspace.read_through(Arc::new(reader), &databases, next);
    let entries = count_cold(keyspace, &engine);
    tracing::info!(directory = %directory.display(), entries, applied = engine.applied().0, "the data is there");
    keyspace.record_to(Arc::new(Sink { group: group.clone() }));
    let loader = Loader::start(server)?;
    let errands = errand::start(server)?;
    let resident_bytes_default = resident_bytes_default(available_bytes(), memory_bytes as u64);
    if server.config.maxmemory() == 0 {
        tracing::info!(
            resident_limit_bytes = resident_bytes_default,
            engine_memory_bytes = memory_bytes,
            "maxmemory is not set: copies in memory and the engine may use half of the memory there is"
        );
    }
    server.become_durable(Durability {
        loader,
        errands,
        group,
        engine,
        space: Space::default(),
        pace: Pace::default(),
        resident_bytes_default,
        sync_waiters: Mutex::default(),
    });
    letting_out(server)?;
    housekeeping::start(server)?;
    space::start(server)?;
    pace::start(server)?;
    Ok(())
}

/// Tells the keyspace how many entries it has without having them in memory; returns how many there are.
fn count_cold(keyspace: &Keyspace, engine: &Engine) -> u64 {
    let mut total = 0;
    for db in (0..keyspace.databases()).map(DbIndex) {
        if engine.totals(db).entries == 0 {
            continue;
        }
        for slot in Slot::all() {
            let counts = engine.counts(db, slot);
            if counts.entries > 0 {
                let entries = u32::try_from(counts.entries).expect("a slot has fewer than four billion keys");
                keyspace.note_cold(db, slot, ColdCount { entries, volatile: counts.volatile as u32 });
                total += counts.entries;
            }
        }
    }
    total
}
