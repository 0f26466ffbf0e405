//! Opening the data directory, and putting the parts of durable mode together.

use super::cold::{EngineReader, Engines};
use super::groups::Groups;
use super::housekeeping;
use super::loader::Loader;
use super::log::{Machine, Observer, Sink};
use super::pace::{self, Pace};
use super::replicas::Replicas;
use super::space::{self, Space};
use super::split::SplitSink;
use super::{Durability, errand, letting_out};
use crate::memory_report::{available_bytes, resident_bytes_default};
use crate::server::Server;
use basalt_cluster::group::options::LOG_BYTES_MAX;
use basalt_cluster::group::rocks_log::RocksLog;
use basalt_cluster::group::{self, Fsync, Group, GroupOptions};
use basalt_cluster::node::NodeError;
use basalt_storage::effect::DbIndex;
use basalt_storage::engine::{Engine, EngineError, HOME_STORE, LogIndex, OpenError, PhysicalDb, Rocks, RocksOptions};
use basalt_storage::keyspace::{ColdCount, Keyspace};
use basalt_storage::slot::Slot;
use basalt_storage::volume::Volume;
use parking_lot::Mutex;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The directory below `dir` that holds the log and the data.
pub const DATA_DIRECTORY: &str = "basalt-data";

/// For how long entries gather before they are applied. Whoever needs them says so.
const APPLY_DELAY: Duration = Duration::from_secs(1);

/// What a database may use that has a node's records and the cluster's map, and no data.
const RECORDS_MEMORY_BYTES: usize = 8 << 20;

/// Why a node with a data directory cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Group(#[from] group::StartError),
    #[error(
        "this data directory belongs to a node of a cluster: start it with `cluster-enabled yes`, or give another `dir`"
    )]
    OfACluster,
    #[error(transparent)]
    Node(#[from] NodeError),
    /// What the operator has to change.
    #[error("{0}")]
    Peers(String),
    #[error("this data directory has data of durable mode: start it with `mode durable`, or give another `dir`")]
    HasData,
    #[error("a cluster has one database, and database {0} of this data directory has keys")]
    OtherDatabase(u16),
    #[error("the system refused a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The database of a node, opened, and what its groups are told.
pub(crate) struct Opened {
    pub rocks: Arc<Rocks>,
    pub fsync: Fsync,
    pub log_bytes_max: u64,
    memory_bytes: usize,
}

/// Opens what an earlier run has left, applies what is in the log and not yet in the engine, and lets the server write
/// to it. Nothing is read into memory: every entry starts cold.
pub fn start(server: &Arc<Server>) -> Result<(), StartError> {
    let opened = open(server)?;
    let rocks = opened.rocks.clone();
    if rocks.node_record()?.is_some() {
        return Err(StartError::OfACluster);
    }
    let options = GroupOptions {
        fsync: opened.fsync,
        log_bytes_max: opened.log_bytes_max,
        apply_delay_max: APPLY_DELAY,
        ..GroupOptions::alone(HOME_STORE)
    };
    let engine = Arc::new(Engine::open(rocks.clone(), HOME_STORE, server.keyspace.databases())?);
    let store = Arc::new(RocksLog::new(rocks, HOME_STORE));
    let machine = Arc::new(Machine { engine: engine.clone() });
    let observer = Arc::new(Observer { server: Arc::downgrade(server) });
    let clock = server.clone();
    let group = Group::start(options, store, machine, observer, Arc::new(move || clock.now()))?;
    let keyspace = &server.keyspace;
    let reader = EngineReader { engines: Engines::Alone(engine.clone()), server: Arc::downgrade(server) };
    let (databases, next) = engine.physical_databases();
    keyspace.read_through(Arc::new(reader), &databases, next);
    let entries = count_cold(keyspace, &engine);
    tracing::info!(entries, applied = engine.applied().0, "the data is there");
    keyspace.record_to(Arc::new(Sink { group: group.clone() }));
    assemble(server, &opened, Groups::Alone { group, engine })
}

/// Lets the server write to the groups of a cluster's node, of which there are none yet: what a slot has is counted
/// when a group comes to hold it.
pub(crate) fn start_in_cluster(
    server: &Arc<Server>,
    opened: &Opened,
    replicas: &Arc<Replicas>,
) -> Result<(), StartError> {
    let keyspace = &server.keyspace;
    let reader = EngineReader { engines: Engines::Cluster(replicas.clone()), server: Arc::downgrade(server) };
    let databases: Vec<PhysicalDb> = (0..u32::from(keyspace.databases())).map(PhysicalDb).collect();
    let next = PhysicalDb(databases.len() as u32);
    keyspace.read_through(Arc::new(reader), &databases, next);
    keyspace.record_to(Arc::new(SplitSink { replicas: replicas.clone() }));
    server.gate.ask(replicas.clone());
    assemble(server, opened, Groups::Cluster(replicas.clone()))
}

/// Opens the data directory.
pub(crate) fn open(server: &Server) -> Result<Opened, StartError> {
    crate::memory::note_start();
    let directory = PathBuf::from(server.config.text("dir")).join(DATA_DIRECTORY);
    let fsync = server.config.text("fsync").parse().expect("the setting was checked");
    let memory_bytes = match server.config.text("mode").as_str() {
        "durable" => server.config.int("engine-memory") as usize,
        _ => RECORDS_MEMORY_BYTES,
    };
    let mut rocks_options = RocksOptions { memory_bytes, ..RocksOptions::default() };
    let mut log_bytes_max = LOG_BYTES_MAX;
    // Two logs of the usual lengths would fill a small volume.
    if let Ok(volume) = File::open(server.config.text("dir")).and_then(|directory| Volume::of(&directory)) {
        rocks_options.wal_bytes_max = space::part(volume, rocks_options.wal_bytes_max);
        log_bytes_max = space::part(volume, log_bytes_max);
    }
    let rocks = Rocks::open(&directory, &rocks_options)?;
    tracing::info!(directory = %directory.display(), "opened the data directory");
    Ok(Opened { rocks, fsync, log_bytes_max, memory_bytes })
}

/// A node that was no cluster may become one if it has used one database.
pub(crate) fn refuse_other_databases(rocks: &Arc<Rocks>, databases: u16) -> Result<(), StartError> {
    if rocks.node_record()?.is_some() {
        return Ok(());
    }
    let engine = Engine::open(rocks.clone(), HOME_STORE, databases)?;
    let has_keys = |db: &u16| engine.totals(DbIndex(*db)).entries > 0;
    (1..databases).find(has_keys).map_or(Ok(()), |db| Err(StartError::OtherDatabase(db)))
}

/// A node of a cluster in cache mode has records on disk, and no data.
pub(crate) fn refuse_data(rocks: &Arc<Rocks>) -> Result<(), StartError> {
    if rocks.node_record()?.is_some() {
        return Ok(());
    }
    let engine = Engine::open(rocks.clone(), HOME_STORE, 1)?;
    if engine.applied() > LogIndex(0) { Err(StartError::HasData) } else { Ok(()) }
}

/// Puts together what stands between evaluation and the groups.
fn assemble(server: &Arc<Server>, opened: &Opened, groups: Groups) -> Result<(), StartError> {
    let loader = Loader::start(server)?;
    let errands = errand::start(server)?;
    let memory_bytes = opened.memory_bytes;
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
        groups,
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
