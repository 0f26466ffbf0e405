//! The replicas of data groups on this node, as its cluster sees them, and what their leading means for evaluation.
//!
//! Whenever the map or a role has changed, [`Stage::refresh`] brings the slots in line: who is sent where, and which
//! group holds which slot. It is called by the group's own thread when this node stops leading, so that nothing of a
//! new leader is applied before nothing is evaluated here any more.
//!
//! What happens then, in this order: the slots are not served any more and the keyspace forgets them, so that nothing
//! more can come to depend on batches that are lost; those who do depend on one are closed; only then does the mark of
//! what is committed pass these batches.

use super::Cluster;
use super::migration::{self, Arrivals, Mover};
use super::seals::undecided;
use super::slots::Standing;
use super::verify::{Digests, Verifier};
use crate::durability::contents::{Contents, OnDisk};
use crate::durability::in_memory::InMemory;
use crate::durability::losses::Fate;
use crate::durability::replicas::{Replica, Replicas, Snapshot};
use crate::durability::shipping;
use crate::server::Server;
use basalt_cluster::group::state::LogState;
use basalt_cluster::group::{
    self, ApplyError, CommittedEntry, Group, GroupOptions, LogIndex, LogStore, Role, SnapshotSink, StateMachine,
};
use basalt_cluster::ids::{GroupId, MigrationId, NodeId};
use basalt_cluster::map::{Address, Change, ClusterMap, Known, Migration, SlotRange};
use basalt_cluster::node::{Hosting, Medium, Node};
use basalt_cluster::peer::BulkReceiver;
use basalt_storage::effect::{Check, Passage};
use basalt_storage::engine::{Engine, EngineError, StateImport};
use basalt_storage::seq::Seq;
use basalt_storage::slot::{Slot, SlotSet, StripeIndex, StripeSet};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, Weak};

/// Chunks of a state on its way to another node.
const CHUNK_BYTES: usize = 128 << 10;

/// What a log in memory takes for each group that keeps one: this part of `maxmemory`, and not more than the second.
/// It serves replicas that lag behind.
const MEMORY_LOG_PART: u64 = 64;
const MEMORY_LOG_BYTES: RangeInclusive<u64> = 1 << 20..=16 << 20;

/// A cluster has one database.
const DATABASES: u16 = 1;

pub struct Stage {
    server: Weak<Server>,
    pub replicas: Arc<Replicas>,
    log_bytes_max: u64,
    node: RwLock<Weak<Node>>,
    map: Mutex<Option<Arc<ClusterMap>>>,
    /// Where this node is to be found, if that was changed while it ran.
    address: Mutex<Option<Address>>,
    /// Slots in which nothing is evaluated, since they are just being given away.
    seals: RwLock<BTreeMap<MigrationId, (GroupId, Vec<SlotRange>)>>,
    /// Slots that are being given away by a commit that not all nodes may know of yet.
    leaving: RwLock<BTreeMap<MigrationId, Vec<SlotRange>>>,
    pub arrivals: Arrivals,
    pub migrations: migration::Figures,
    mover: OnceLock<Arc<Mover>>,
    pub digests: Arc<Digests>,
    verifier: OnceLock<Arc<Verifier>>,
}

impl Stage {
    pub fn new(server: &Arc<Server>, replicas: Arc<Replicas>, log_bytes_max: u64) -> Stage {
        Stage {
            server: Arc::downgrade(server),
            replicas,
            log_bytes_max,
            node: RwLock::default(),
            map: Mutex::default(),
            address: Mutex::default(),
            seals: RwLock::default(),
            leaving: RwLock::default(),
            arrivals: Arrivals::default(),
            migrations: migration::Figures::default(),
            mover: OnceLock::new(),
            digests: Digests::new(Arc::downgrade(server)),
            verifier: OnceLock::new(),
        }
    }

    /// From now on this node hears of roles, and slots are served.
    pub fn open(&self, node: &Arc<Node>) {
        *self.node.write() = Arc::downgrade(node);
        self.refresh();
    }

    /// Moves slots from now on.
    pub fn put_mover(&self, mover: Arc<Mover>) {
        assert!(self.mover.set(mover).is_ok(), "a node has one mover");
    }

    /// Answers other nodes about its replicas from now on.
    pub fn put_verifier(&self, verifier: Arc<Verifier>) {
        assert!(self.verifier.set(verifier).is_ok(), "a node has one verifier");
    }

    fn wake_mover(&self) {
        self.mover.get().into_iter().for_each(|mover| mover.wake());
    }

    /// When this returns, nothing is evaluated in the slots any more.
    pub fn seal(&self, migration: &Migration) {
        self.seals.write().insert(migration.id, (migration.source, migration.slots.clone()));
        self.refresh();
    }

    /// The slots may be evaluated again, if nothing else is against it.
    pub fn unseal(&self, id: MigrationId) {
        if self.seals.write().remove(&id).is_some() {
            self.refresh();
        }
    }

    /// The slots of a group in which nothing is evaluated, by what its log says or this node is just doing, or since
    /// this node's map may be older than what another leader has done.
    fn sealed(&self, replica: &Replica) -> SlotSet {
        let mut sealed = replica.contents().marked(Passage::Sealed);
        if let Some(map) = &*self.map.lock() {
            sealed.extend(undecided(map, replica.id(), replica.inherited_seal()).iter());
        }
        let seals = self.seals.read();
        let own = seals.values().filter(|(group, _)| *group == replica.id());
        sealed.extend(own.flat_map(|(_, ranges)| ranges.iter().flat_map(|range| range.slots())));
        sealed
    }

    /// Whether slots are just on their way to or from groups that this node leads. What is done to all slots at once
    /// would miss them, or hit too much.
    pub fn has_passages(&self) -> bool {
        let is_marked = |replica: &Arc<Replica>| replica.role().serves() && !replica.contents().marks().is_empty();
        !self.seals.read().is_empty() || self.replicas.all().iter().any(is_marked)
    }

    /// Waits until a flush that has seen no passages is in the logs. One that begins later sees those that are applied.
    pub fn outwait_flushes(&self) {
        let Some(server) = self.server.upgrade() else { return };
        for stripe in StripeIndex::all() {
            drop(server.keyspace.lock(StripeSet::of(stripe), server.now()));
        }
    }

    /// Ends all replicas: nothing is served or held any more.
    pub fn clear(&self) {
        for replica in self.replicas.all() {
            self.end(&replica);
            if let Some(group) = replica.group() {
                group.stop();
            }
        }
    }

    fn end(&self, replica: &Replica) {
        let role = Role::Follower { term: replica.role().term(), leader: None };
        replica.leave();
        self.role_changed(replica, role);
        // The others may commit it or not. Said before the fronts pass it, which know nothing of who has left.
        if let (Some(batches), Some(server)) = (replica.outstanding(), self.server.upgrade()) {
            self.note_lost(&server, replica, batches);
        }
        self.replicas.remove(replica.id());
        self.digests.forget(replica.id());
        self.refresh();
        replica.contents().leave();
    }

    fn note_lost(&self, server: &Server, replica: &Replica, batches: RangeInclusive<Seq>) {
        tracing::warn!(group = %replica.id(), ?batches, "the fate of writes is unknown: another node leads");
        replica.spoil();
        let last = *batches.end();
        server.gate.note_lost(batches);
        self.note_settled(replica.note_lost(last));
    }

    /// The newest map that this node was told of, with its own address as it is now: whoever has changed it sees that
    /// at once.
    pub fn map(&self) -> Option<Arc<ClusterMap>> {
        let map = self.map.lock().clone()?;
        let (Some(address), Some(node)) = (self.address.lock().clone(), self.node()) else { return Some(map) };
        let Some(known) = map.node(node.id()).filter(|known| known.address != address) else { return Some(map) };
        let (incarnation, zone) = (known.incarnation, known.zone.clone());
        let mut shown = ClusterMap::clone(&map);
        let applied = shown.apply(&Change::Register { node: node.id(), incarnation, address, zone });
        Some(if applied.is_ok() { Arc::new(shown) } else { map })
    }

    /// This node is to be found there from now on.
    pub fn put_address(&self, address: Address) {
        *self.address.lock() = Some(address);
        self.refresh();
    }

    pub fn server(&self) -> Option<Arc<Server>> {
        self.server.upgrade()
    }

    pub fn node(&self) -> Option<Arc<Node>> {
        self.node.read().upgrade()
    }

    /// Until what is returned is dropped, requests for these slots wait here even if the map gives them to another
    /// node, which may learn of that later.
    pub fn give_away(&self, migration: &Migration) -> Leaving<'_> {
        self.leaving.write().insert(migration.id, migration.slots.clone());
        Leaving { stage: self, id: migration.id }
    }

    /// Brings the slots in line with the map and the roles. Holds up nobody but evaluations of slots that change.
    pub fn refresh(&self) {
        let (Some(server), Some(node), Some(map)) = (self.server.upgrade(), self.node(), self.map()) else {
            return;
        };
        if let Some(cluster) = server.cluster() {
            let newest = || self.map().unwrap_or(map);
            let leaving = self.leaving.read().values().flatten().flat_map(|range| range.slots()).collect();
            cluster.update(&server, newest, &Roles { stage: self, me: node.id(), seen: RefCell::default(), leaving });
        }
    }

    /// Opens what a replica has, and its log.
    fn open_contents(&self, medium: Medium) -> Result<(Contents, Arc<dyn LogStore>), group::StartError> {
        match (medium, self.replicas.memory()) {
            (Medium::Disk(place), _) => {
                let refused = |error: EngineError| group::StartError::Stopped(error.to_string());
                let engine = Engine::open(place.rocks().clone(), place.store(), DATABASES).map_err(refused)?;
                Ok((Contents::OnDisk(OnDisk::new(place.clone(), engine)), place))
            }
            (Medium::Memory(log), Some(memory)) => {
                Ok((Contents::Memory(Box::new(InMemory::new(memory.clone(), log.clone()))), log))
            }
            (Medium::Memory(_), None) => {
                Err(group::StartError::Stopped("in durable mode nothing is in memory alone".to_owned()))
            }
        }
    }

    fn memory_log_bytes_max(&self) -> u64 {
        let (least, most) = MEMORY_LOG_BYTES.into_inner();
        match self.server.upgrade().map_or(0, |server| server.config.maxmemory()) {
            0 => most,
            limit => (limit / MEMORY_LOG_PART).clamp(least, most),
        }
    }

    /// The fate of batches that are lost is known, or becomes so.
    fn note_settled(&self, fate: Fate) {
        if let (Fate::Settled, Some(server)) = (fate, self.server.upgrade()) {
            server.gate.note_committed(self.replicas.committed());
            self.note_applied(&server);
        }
    }

    fn note_applied(&self, server: &Server) {
        server.keyspace.note_applied(self.replicas.applied());
        server.gate.note_room();
        self.replicas.wake_waiting();
    }

    fn role_changed(&self, replica: &Replica, role: Role) {
        let former = replica.role();
        let (was_leader, is_leader) = (matches!(former, Role::Leader { .. }), matches!(role, Role::Leader { .. }));
        if was_leader && is_leader && former.term() != role.term() {
            // Between two reigns it was none, also if nobody has said so: another may have led.
            self.role_changed(replica, Role::Follower { term: role.term(), leader: None });
        }
        replica.put_role(role);
        self.refresh();
        if was_leader && !is_leader {
            if let Some(server) = self.server.upgrade() {
                server.gate.note_deposed();
            }
            replica.end_reads();
            self.note_settled(replica.settle());
        }
        if is_leader != was_leader || role.serves() != former.serves() {
            tracing::info!(group = %replica.id(), ?role, "the role of this node in a group has changed");
        }
        if let Some(node) = self.node() {
            node.note_role();
        }
        self.wake_mover();
    }
}

/// See [`Stage::give_away`].
pub struct Leaving<'a> {
    stage: &'a Stage,
    id: MigrationId,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.stage.leaving.write().remove(&self.id);
        self.stage.refresh();
    }
}

/// What this node knows of its own groups.
struct Roles<'a> {
    stage: &'a Stage,
    me: NodeId,
    /// Each group is looked at once, when the update begins that asks: what changes meanwhile has an update of its
    /// own, and an update asks about each slot.
    seen: RefCell<BTreeMap<GroupId, Option<Rc<Look>>>>,
    leaving: SlotSet,
}

/// A replica of this node as an update finds it.
struct Look {
    replica: Arc<Replica>,
    snapshot: Snapshot,
    sealed: SlotSet,
    /// Asked only when a slot is to be taken: the group hurries then.
    has_settled: OnceCell<bool>,
}

impl Roles<'_> {
    fn look(&self, group: GroupId) -> Option<Rc<Look>> {
        let look = || {
            let replica = self.stage.replicas.replica(group)?;
            let (snapshot, sealed) = (replica.snapshot(), self.stage.sealed(&replica));
            Some(Rc::new(Look { replica, snapshot, sealed, has_settled: OnceCell::new() }))
        };
        self.seen.borrow_mut().entry(group).or_insert_with(look).clone()
    }

    fn snapshot(&self, group: GroupId) -> Option<Snapshot> {
        self.look(group).map(|look| look.snapshot)
    }
}

impl Standing for Roles<'_> {
    fn leader(&self, group: GroupId) -> Known {
        let Some(seen) = self.snapshot(group) else { return Known::AsMapped };
        match seen.role {
            Role::Leader { .. } if seen.serves => Known::Leader(self.me),
            Role::Leader { .. } | Role::Follower { leader: None, .. } => Known::Leaderless,
            Role::Follower { leader: Some(leader), .. } => {
                let map = self.stage.map.lock().clone();
                let members = map.as_ref().and_then(|map| map.members(group));
                let node = members.and_then(|members| members.replica(leader)).map(|replica| replica.node);
                node.map_or(Known::Leaderless, Known::Leader)
            }
        }
    }

    fn follows(&self, group: GroupId) -> bool {
        // What is in memory is read from whoever leads: clients are sent there.
        let is_readable = |look: &Look| look.replica.contents().in_memory().is_none();
        let look = self.look(group);
        look.is_some_and(|look| matches!(look.snapshot.role, Role::Follower { .. }) && is_readable(&look))
    }

    fn holds(&self, group: GroupId) -> bool {
        self.snapshot(group).is_some_and(|seen| seen.holds)
    }

    fn is_sealed(&self, group: GroupId, slot: Slot) -> bool {
        self.look(group).is_some_and(|look| look.sealed.contains(slot))
    }

    fn is_leaving(&self, slot: Slot) -> bool {
        self.leaving.contains(slot)
    }

    fn takes(&self, group: GroupId, slot: Slot) -> bool {
        let has_settled = |look: &Look| *look.has_settled.get_or_init(|| look.replica.has_settled());
        self.stage.replicas.holder(slot) == Some(group) || self.look(group).is_none_or(|look| has_settled(&look))
    }
}

impl basalt_cluster::node::Stage for StageOf {
    fn host(&self, hosting: Hosting) -> Result<Arc<Group>, group::StartError> {
        let Hosting { group: id, replica: me, medium, start, transport } = hosting;
        let stage = &self.0;
        let log_bytes_max = match medium {
            Medium::Disk(_) => stage.log_bytes_max,
            Medium::Memory(_) => stage.memory_log_bytes_max(),
        };
        let (contents, log) = stage.open_contents(medium)?;
        if let Some(memory) = contents.in_memory().filter(|_| start != group::Start::Alone) {
            memory.keep_log();
        }
        let replica = Arc::new(Replica::new(id, me, contents));
        stage.replicas.add(replica.clone());
        let options = GroupOptions {
            me,
            start,
            transport,
            seqs: stage.replicas.seqs(),
            fsync: stage.replicas.fsync(),
            log_bytes_max,
            ..GroupOptions::alone(id)
        };
        let observer = Arc::new(Observer { stage: Arc::downgrade(stage), replica: replica.clone() });
        let machine = Arc::new(Machine {
            stage: Arc::downgrade(stage),
            replica: replica.clone(),
            digests: stage.digests.clone(),
        });
        let server = stage.server.clone();
        let clock = move || server.upgrade().map_or(basalt_storage::clock::UnixMs(0), |server| server.now());
        match Group::start(options, log, machine, observer, Arc::new(clock)) {
            Ok(group) => {
                replica.put_group(group.clone());
                stage.refresh();
                Ok(group)
            }
            Err(error) => {
                stage.replicas.remove(id);
                Err(error)
            }
        }
    }

    fn unhost(&self, group: GroupId) {
        if let Some(replica) = self.0.replicas.replica(group) {
            self.0.end(&replica);
        }
    }

    fn is_spoiled(&self, group: GroupId) -> bool {
        let replica = self.0.replicas.replica(group);
        replica.is_some_and(|replica| replica.contents().in_memory().is_some_and(InMemory::is_spoiled))
    }

    fn take_in_slots(&self, header: Bytes, stream: BulkReceiver) {
        let stage = self.0.clone();
        let take_in = move || migration::take_in(&stage, &header, stream);
        if let Err(error) = std::thread::Builder::new().name("slots-arrive".into()).spawn(take_in) {
            tracing::error!(%error, "the system refused a thread");
        }
    }

    fn answer(&self, question: &[u8]) -> Result<Vec<u8>, String> {
        let verifier = self.0.verifier.get().ok_or("this node is starting")?;
        verifier.answer(question)
    }

    fn map_changed(&self, map: &Arc<ClusterMap>) {
        *self.0.map.lock() = Some(map.clone());
        self.0.refresh();
        self.0.wake_mover();
    }
}

/// What the node holds of the stage.
pub struct StageOf(pub Arc<Stage>);

/// Told what becomes of the batches of one group.
struct Observer {
    stage: Weak<Stage>,
    replica: Arc<Replica>,
}

impl Observer {
    fn with_server(&self, f: impl FnOnce(&Stage, &Server)) {
        if let Some(stage) = self.stage.upgrade()
            && let Some(server) = stage.server.upgrade()
        {
            f(&stage, &server);
        }
    }
}

impl group::Observer for Observer {
    fn committed(&self, up_to: group::Seq) {
        self.replica.note_committed(Seq(up_to.0));
        self.with_server(|stage, server| server.gate.note_committed(stage.replicas.committed()));
    }

    fn applied(&self, up_to: group::Seq) {
        self.replica.note_applied(Seq(up_to.0));
        self.with_server(|stage, server| stage.note_applied(server));
        if self.replica.has_settled_at_last()
            && let Some(stage) = self.stage.upgrade()
        {
            stage.refresh();
        }
    }

    fn synced(&self, up_to: group::Seq) {
        self.replica.note_synced(Seq(up_to.0));
        self.with_server(|stage, server| {
            if let Some(durability) = server.durability() {
                durability.note_synced(server, stage.replicas.synced());
            }
        });
    }

    fn unknown(&self, batches: RangeInclusive<group::Seq>) {
        let batches = Seq(batches.start().0)..=Seq(batches.end().0);
        self.with_server(|stage, server| stage.note_lost(server, &self.replica, batches));
    }

    fn role_changed(&self, role: Role) {
        if let Some(stage) = self.stage.upgrade() {
            stage.role_changed(&self.replica, role);
        }
    }

    fn lease_renewed(&self) {
        self.with_server(|_, server| server.gate.note_room());
    }

    fn proven(&self) {
        self.with_server(|_, server| {
            if let Some(reads) = server.cluster().and_then(Cluster::replica_reads) {
                reads.note_proof();
            }
        });
    }
}

/// The state of a group, as the group sees it.
struct Machine {
    stage: Weak<Stage>,
    replica: Arc<Replica>,
    digests: Arc<Digests>,
}

impl StateMachine for Machine {
    fn applied(&self) -> LogIndex {
        self.replica.contents().applied()
    }

    fn saved(&self) -> LogIndex {
        self.replica.contents().saved()
    }

    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), ApplyError> {
        let replica = &self.replica;
        let mut rest = &entries[..];
        // What is compared is the state after the very entry that says so.
        while let Some((at, check)) = rest.iter().enumerate().find_map(|(at, entry)| Some((at, check_in(entry)?))) {
            let (checked, later) = rest.split_at(at + 1);
            replica.contents().apply(checked)?;
            // Of what is in memory nobody compares the copies.
            if let Some(engine) = replica.engine() {
                self.digests.begin(replica.id(), replica.me(), engine, check);
            }
            rest = later;
        }
        if !rest.is_empty() {
            replica.contents().apply(rest)?;
        }
        replica.tell_taps(&entries).map_err(|error| ApplyError(Box::new(error)))
    }

    fn export(
        &self,
        begin: &mut dyn FnMut(LogIndex),
        sink: &mut dyn FnMut(Vec<u8>) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let Some(engine) = self.replica.engine() else {
            let stage = self.stage.upgrade().and_then(|stage| Some((stage.server.upgrade()?, stage)));
            let (server, stage) = stage.ok_or_else(is_ending)?;
            return shipping::export(&server, &stage.replicas, &self.replica, begin, sink);
        };
        engine.export(CHUNK_BYTES, begin, |(), chunk| sink(chunk).map_err(Failed)).map_err(|Failed(error)| error)
    }

    fn import(&self) -> Result<Box<dyn SnapshotSink>, ApplyError> {
        let Contents::OnDisk(disk) = self.replica.contents() else {
            return Ok(Box::new(shipping::Import::new(self.replica.clone())?));
        };
        let rocks = disk.place.rocks().clone();
        let store = rocks.new_store().map_err(unusable)?;
        let state = StateImport::new(rocks, store);
        Ok(Box::new(Import { replica: self.replica.clone(), state, store }))
    }
}

/// The check that an entry carries. Each is asked for by itself, so there are hardly ever two.
fn check_in(entry: &CommittedEntry) -> Option<Check> {
    entry.batches().filter_map(Check::of).last()
}

/// Either side's failure, while a state is sent.
struct Failed(ApplyError);

impl From<EngineError> for Failed {
    fn from(error: EngineError) -> Failed {
        Failed(unusable(error))
    }
}

fn is_ending() -> ApplyError {
    ApplyError("the process ends".into())
}

fn unusable(error: EngineError) -> ApplyError {
    ApplyError(Box::new(error))
}

/// A state that is being received, into a store of its own.
struct Import {
    replica: Arc<Replica>,
    state: StateImport,
    store: basalt_cluster::node::StoreId,
}

impl SnapshotSink for Import {
    fn add(&mut self, chunk: &[u8]) -> Result<(), ApplyError> {
        self.state.add(chunk).map_err(unusable)
    }

    fn complete(&mut self) -> Result<(), ApplyError> {
        if self.state.is_complete() { Ok(()) } else { Err(ApplyError("a state that is cut off".into())) }
    }

    fn install(self: Box<Self>, state: &LogState) -> Result<(), ApplyError> {
        let Contents::OnDisk(disk) = self.replica.contents() else { unreachable!("it was on disk when it began") };
        // The old store is emptied before the new one is in its place.
        let _changing = self.replica.change_over();
        disk.place.move_to(self.store, state).map_err(unusable)?;
        let engine = Engine::open(disk.place.rocks().clone(), self.store, DATABASES).map_err(unusable)?;
        disk.put_engine(engine);
        Ok(())
    }
}
