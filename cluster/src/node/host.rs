//! A node of a cluster: founding one, taking its place again, and running what belongs to it.
//!
//! The node hosts a replica of the root group itself, if it has one. Replicas of data groups are the front end's
//! ([`Stage`]): only it knows what evaluating commands needs. Five threads act on what the map says and on what the
//! groups do; each looks at everything again and again, so that nothing depends on having seen a single event:
//!
//! | thread | does |
//! |---|---|
//! | `cluster` | runs what the map says ([`Node::reconcile`]), says that it lives, hands over ([`super::handover`]) |
//! | `cluster-reports` | tells the root group what has become of the groups that this node leads ([`super::reports`]) |
//! | `cluster-courier` | where the root group leads: brings the others the map ([`super::courier`]) |
//! | `cluster-steward` | where the root group leads: watches over nodes, places replicas ([`super::steward`]) |
//! | `peer` | the transport's own |
//!
//! Everything that blocks says so; network threads never call it.

use super::anew::EmptiedSlots;
use super::bell::Bell;
use super::carrier::{Carrier, STREAM_OF_SLOTS};
use super::ears::{Addresses, Ears};
use super::handover::{self, Reigns};
use super::heard::Heard;
use super::hosted::{Hosted, HostedReplicas};
use super::loads::OwnLoads;
use super::map_cell::{MapCell, OnChange, encoded};
use super::map_machine::{MapError, MapMachine};
use super::meeting::Seeds;
use super::place::Place;
use super::record::NodeRecord;
use super::watch::Watch;
use super::wire::{Answer, Beat, Question};
use super::{courier, reports, steward};
use crate::Slot;
use crate::group::core::Desired;
use crate::group::memory_log::MemoryLog;
use crate::group::{self, Clock, Group, GroupOptions, LogError, LogStore, Observer, Role, Start, Transport};
use crate::ids::{ClusterId, GroupId, Incarnation, NodeId, ReplicaId, ShardId};
use crate::map::codec::CodecError;
use crate::map::{
    Address, Change, ClusterMap, FIRST_REPLICA, Founding, Members, Mode, ReplicaInfo, ReplicaStatus, Settings, Wanted,
};
use crate::peer::{
    BulkReceiver, BulkSender, Lane, Message, PeerOptions, PeerTransport, Secret, StreamError, Timing, Tls,
};
use crate::placement::{SlotLoad, Step};
use basalt_storage::effect::wire::Malformed;
use basalt_storage::engine::{EngineError, HOME_STORE, LogIndex, ReplicaRecord, Rocks};
use basalt_storage::rng::Rng;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::Duration;

/// How often a node looks at what it should do, and says that it lives.
const PERIOD: Duration = Duration::from_millis(100);

/// What a node is started with.
pub struct NodeOptions {
    pub address: Address,
    pub zone: String,
    /// The name of a node that is founded; none for a random one.
    pub name: Option<NodeId>,
    /// Those of a cluster that this node founds.
    pub settings: Settings,
    /// That of the cluster: a node of another mode does not start.
    pub mode: Mode,
    /// Where other nodes reach this one.
    pub listeners: Vec<TcpListener>,
    pub timing: Timing,
    /// What all nodes of the cluster know, if that is asked for.
    pub secret: Option<Secret>,
    /// What connections between nodes are encrypted with, if they are.
    pub tls: Option<Tls>,
    /// Nodes of the cluster that this one should belong to; nothing is done if it belongs to one already.
    pub join: Option<Seeds>,
    pub clock: Clock,
}

/// A replica of a data group that is to run on this node.
pub struct Hosting {
    pub group: GroupId,
    pub replica: ReplicaId,
    pub medium: Medium,
    pub start: Start,
    pub transport: Arc<dyn Transport>,
}

/// Where a replica and its log lie.
pub enum Medium {
    Disk(Arc<Place>),
    /// They end with the process.
    Memory(Arc<MemoryLog>),
}

/// The front end, as the cluster sees it. Called by threads of the node.
pub trait Stage: Send + Sync {
    /// Runs a replica of a data group.
    fn host(&self, hosting: Hosting) -> Result<Arc<Group>, group::StartError>;

    /// Stops a replica. Its data is deleted afterwards.
    fn unhost(&self, group: GroupId);

    /// Another node sends slots. Must return soon: what takes time is done by a thread of its own.
    fn take_in_slots(&self, _header: Bytes, stream: BulkReceiver) {
        stream.refuse("no slots are taken in here");
    }

    /// Whether what a replica has is worth nothing any more, so that it has to end: only in cache mode.
    fn is_spoiled(&self, _group: GroupId) -> bool {
        false
    }

    /// What another node's front end asks this one, with [`Node::ask`]. May block: it has a thread of its own. An error
    /// says why there is no answer.
    fn answer(&self, _question: &[u8]) -> Result<Vec<u8>, String> {
        Err("nothing is asked here".to_owned())
    }

    /// The map has changed. Must return soon and wait for nothing.
    fn map_changed(&self, map: &Arc<ClusterMap>);
}

/// Why a node cannot take its place in a cluster.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("{0}")]
    Record(#[from] Malformed),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Group(#[from] group::StartError),
    #[error(
        "this data directory is that of a node of a cluster in {there} mode: start it with `mode {there}`, or give \
         another `dir`"
    )]
    OtherMode { there: Mode },
    #[error("the system refused a thread or a socket: {0}")]
    System(#[from] std::io::Error),
}

pub struct Node {
    pub(super) me: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) record: Mutex<NodeRecord>,
    pub(super) rocks: Arc<Rocks>,
    pub(super) address: Mutex<Address>,
    pub(super) zone: String,
    pub(super) clock: Clock,
    pub(super) cell: Arc<MapCell>,
    pub(super) hosted: Arc<HostedReplicas>,
    carrier: Arc<Carrier>,
    pub(super) peers: Arc<PeerTransport>,
    pub(super) addresses: Arc<Addresses>,
    /// That of the root group, while this node has a replica of it.
    pub(super) machine: Mutex<Option<MapMachine>>,
    stage: Arc<dyn Stage>,
    pub(super) heard: Heard,
    own_loads: OwnLoads,
    pub(super) watch: Watch,
    pub(super) reigns: Reigns,
    pub(super) emptied: EmptiedSlots,
    /// Written while this node joins another cluster, read while another one is let into this one.
    pub(super) joining: RwLock<()>,
    /// Held by whoever starts and stops replicas: what the map says must not change on the way.
    pub(super) hosting: Mutex<()>,
    /// Rung when one of the threads should look at once.
    pub(super) bell: Arc<Bell>,
    is_stopping: AtomicBool,
}

impl Node {
    /// Takes this node's place in its cluster again, or founds one of its own. Returns when its replicas run.
    pub fn start(rocks: &Arc<Rocks>, options: NodeOptions, stage: Arc<dyn Stage>) -> Result<Arc<Node>, NodeError> {
        let record = match rocks.node_record()? {
            Some(bytes) => {
                let mut record = NodeRecord::decode(&bytes)?;
                record.incarnation = record.incarnation.next();
                rocks.put_node_record(&record.encode(), &[])?;
                record
            }
            None => found(rocks, &options)?,
        };
        rocks.delete_lost_stores()?;
        let bell = Arc::new(Bell::default());
        let cell = Arc::new(MapCell::new(tell(stage.clone(), bell.clone())));
        if let Some(bytes) = rocks.node_map()? {
            cell.learn(Arc::new(ClusterMap::decode(&bytes)?));
        }
        let hosted = Arc::new(HostedReplicas::default());
        let carrier = Arc::new(Carrier::new(cell.clone(), &hosted));
        let ears = Arc::new(Ears::default());
        let peer_options = PeerOptions {
            node: record.node,
            incarnation: record.incarnation,
            cluster: record.cluster,
            secret: options.secret,
            tls: options.tls,
            listeners: options.listeners,
            timing: options.timing,
            chance: chance(),
            clock: options.clock.clone(),
        };
        let addresses = Arc::new(Addresses::new(cell.clone()));
        let peers = Arc::new(PeerTransport::start(peer_options, ears.clone(), addresses.clone())?);
        carrier.connect(&peers);
        let node = Arc::new(Node {
            me: record.node,
            incarnation: record.incarnation,
            record: Mutex::new(record),
            rocks: rocks.clone(),
            address: Mutex::new(options.address),
            zone: options.zone,
            clock: options.clock,
            cell,
            hosted,
            carrier,
            peers,
            addresses,
            machine: Mutex::default(),
            stage,
            heard: Heard::default(),
            own_loads: OwnLoads::default(),
            watch: Watch::default(),
            reigns: Reigns::default(),
            emptied: EmptiedSlots::default(),
            joining: RwLock::default(),
            hosting: Mutex::default(),
            bell,
            is_stopping: AtomicBool::new(false),
        });
        node.host_root()?;
        let there = node.map().mode();
        if there != options.mode {
            return Err(NodeError::OtherMode { there });
        }
        node.reconcile()?;
        ears.listen_for(&node);
        node.spawn("cluster", Node::attend)?;
        node.spawn("cluster-reports", reports::run)?;
        node.spawn("cluster-courier", courier::run)?;
        node.spawn("cluster-steward", steward::run)?;
        node.resume_joining(options.join)?;
        Ok(node)
    }

    pub fn id(&self) -> NodeId {
        self.me
    }

    /// The map as this node knows it.
    pub fn map(&self) -> Arc<ClusterMap> {
        self.cell.map().expect("a node that runs has a map")
    }

    /// This node is found there from now on. Others hear of it soon.
    pub fn put_address(&self, address: Address) {
        *self.address.lock() = address;
        self.bell.ring();
    }

    pub fn peers(&self) -> &PeerTransport {
        &self.peers
    }

    pub fn hosted(&self) -> &HostedReplicas {
        &self.hosted
    }

    /// Steps of placement that this node has decided, by kind.
    pub fn placement_steps(&self) -> Vec<(&'static str, u64)> {
        Step::KINDS.iter().map(|kind| (*kind, self.watch.steps(kind))).collect()
    }

    /// What was counted of slots that came back empty.
    pub fn emptied(&self) -> &EmptiedSlots {
        &self.emptied
    }

    /// What was measured of the slots that this node leads: all of them of which something is known.
    pub fn put_loads(&self, loads: impl Iterator<Item = (Slot, SlotLoad)>) {
        self.own_loads.put(loads);
    }

    /// The role of a replica on this node has changed: others have to hear of it soon.
    pub fn note_role(&self) {
        self.bell.ring();
    }

    /// Stops everything but the data groups, which are the front end's.
    pub fn stop(&self) {
        self.is_stopping.store(true, Relaxed);
        self.bell.ring();
        self.peers.stop();
        if let Some(root) = self.root() {
            root.group.stop();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Relaxed)
    }

    /// Begins to send slots to another node; `header` is for its [`Stage::take_in_slots`].
    pub fn open_slot_stream(&self, to: NodeId, header: &[u8]) -> Result<BulkSender, StreamError> {
        self.peers.open_stream(to, [&[STREAM_OF_SLOTS], header].concat())
    }

    /// Asks the front end of another node, which has [`Stage::answer`]. Blocks; an error says why there is no answer.
    pub fn ask(&self, node: NodeId, question: Vec<u8>, patience: Duration) -> Result<Vec<u8>, String> {
        let question = Question::Front(question).encode();
        let answer = self.peers.call(node, question, patience).wait().map_err(|error| error.to_string())?;
        match Answer::decode(&answer).map_err(|malformed| malformed.to_string())? {
            Answer::Front(answer) => Ok(answer),
            _ => Err("it says something strange".to_owned()),
        }
    }

    pub(super) fn stage(&self) -> &dyn Stage {
        &*self.stage
    }

    pub(super) fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    /// This node's replica of the root group.
    pub(super) fn root(&self) -> Option<Hosted> {
        self.hosted.of(self.record.lock().root)
    }

    /// Runs `body` until the node stops or is dropped, at each ring of the bell and after each period.
    pub(super) fn spawn(self: &Arc<Self>, name: &str, body: fn(&Arc<Node>)) -> Result<(), NodeError> {
        let (node, bell): (Weak<Node>, _) = (Arc::downgrade(self), self.bell.clone());
        let run = move || {
            let mut rung = bell.rings();
            while let Some(node) = node.upgrade().filter(|node| !node.is_stopping()) {
                body(&node);
                drop(node);
                rung = bell.wait(rung, PERIOD);
            }
        };
        Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(())
    }

    fn attend(self: &Arc<Self>) {
        if let Err(error) = self.reconcile() {
            tracing::error!(%error, "a replica that should run here does not");
        }
        self.beat();
        handover::run(self);
    }

    /// Tells the root group's members that this node lives, which map it knows, and what its slots cost. The leader is
    /// one of them.
    fn beat(&self) {
        let map = self.map();
        let beat = Beat { version: map.version(), figures: self.own_loads.due() };
        self.heard.loads.note(&beat.figures);
        let beat = Bytes::from(beat.encode());
        for voter in map.root().members.replicas.iter().filter(|replica| replica.node != self.me) {
            // The next one comes soon.
            let _ = self.peers.send(voter.node, Lane::Control, Message::Heartbeat(beat.clone()));
        }
    }

    /// Starts and stops replicas, so that what runs here is what the map says, and tells them what their groups should
    /// be.
    pub(super) fn reconcile(self: &Arc<Self>) -> Result<(), NodeError> {
        let _alone = self.hosting.lock();
        let map = self.map();
        let groups = map.groups().iter().map(|(group, info)| (*group, &info.members));
        let groups: BTreeMap<GroupId, &Members> = groups.chain([(map.root().id, &map.root().members)]).collect();
        for (group, hosted) in self.hosted.all() {
            let is_wanted = groups.get(&group).is_some_and(|members| members.replica(hosted.replica).is_some());
            if !is_wanted || self.stage.is_spoiled(group) {
                self.unhost(group, hosted.replica)?;
            }
        }
        for (group, members) in &groups {
            let mine = members.replicas.iter().rev().find(|replica| replica.node == self.me);
            match (mine, self.hosted.of(*group)) {
                (Some(mine), None) if *group != map.root().id && map.mode() == Mode::Cache => {
                    self.host_in_memory(*group, members, mine)?;
                }
                (Some(mine), None) => self.host(*group, mine)?,
                (Some(_), Some(hosted)) => hosted.group.set_desired(desired(members)),
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// Runs the root group's replica before anything else, if there is one: it may have the only map.
    fn host_root(self: &Arc<Self>) -> Result<(), NodeError> {
        let root = self.record.lock().root;
        let record = self.rocks.replicas()?.into_iter().find(|record| record.group == root.0 && record.store.is_some());
        let Some(record) = record else { return Ok(()) };
        self.run(root, ReplicaId(record.replica), &record)
    }

    fn host(self: &Arc<Self>, group: GroupId, replica: &ReplicaInfo) -> Result<(), NodeError> {
        let there = self.rocks.replicas()?.into_iter().find(|record| record.group == group.0);
        let record = match there {
            Some(record) if record.replica > replica.id.0 => return Ok(()),
            // It was removed once, and comes back under another number only.
            Some(record) if record.replica == replica.id.0 && record.store.is_none() => return Ok(()),
            Some(record) if record.replica == replica.id.0 => record,
            there => {
                let store = Some(self.rocks.new_store()?);
                let record = ReplicaRecord { group: group.0, replica: replica.id.0, store };
                self.rocks.put_replica(&record, None)?;
                if let Some(old) = there.and_then(|there| there.store) {
                    self.rocks.delete_store(old)?;
                }
                record
            }
        };
        self.run(group, replica.id, &record)
    }

    /// Runs a replica that nobody has run before. It is on record as gone from the beginning: what it has said ends
    /// with this process, so none may come back under its number.
    fn host_in_memory(&self, group: GroupId, members: &Members, replica: &ReplicaInfo) -> Result<(), NodeError> {
        let there = self.rocks.replicas()?.into_iter().find(|record| record.group == group.0);
        if there.is_some_and(|record| record.replica >= replica.id.0) {
            return Ok(());
        }
        self.rocks.put_replica(&ReplicaRecord { group: group.0, replica: replica.id.0, store: None }, None)?;
        // Only who founds a group is said to lead it before anybody has run one of its replicas.
        let votes = |other: &ReplicaInfo| other.id != replica.id && other.status == ReplicaStatus::Voter;
        let is_founder = members.leader.replica == replica.id && !members.replicas.iter().any(votes);
        let start = if is_founder { Start::Alone } else { Start::Empty };
        let (transport, medium) = (self.carrier.clone(), Medium::Memory(Arc::new(MemoryLog::new())));
        let running = self.stage.host(Hosting { group, replica: replica.id, medium, start, transport })?;
        self.note_running(group, replica.id, running);
        Ok(())
    }

    fn run(self: &Arc<Self>, id: GroupId, replica: ReplicaId, record: &ReplicaRecord) -> Result<(), NodeError> {
        let Some(store) = record.store else { return Ok(()) };
        let place = Arc::new(Place::new(self.rocks.clone(), id, replica, store));
        let is_there = place.state()?.is_some();
        // Only who has founded a group has its first replica.
        let start = match replica {
            _ if is_there => Start::Resume,
            FIRST_REPLICA => Start::Alone,
            _ => Start::Empty,
        };
        let transport: Arc<dyn Transport> = self.carrier.clone();
        let group = if id == self.record.lock().root {
            let machine = MapMachine::open(place.clone(), self.me, self.cell.clone())?;
            *self.machine.lock() = Some(machine.clone());
            // Whoever has asked for a change waits until it is applied.
            let apply_delay_max = Duration::ZERO;
            let options = GroupOptions { me: replica, start, transport, apply_delay_max, ..GroupOptions::alone(id) };
            let observer = Arc::new(RootObserver(self.bell.clone()));
            Group::start(options, place, Arc::new(machine), observer, self.clock.clone())?
        } else {
            self.stage.host(Hosting { group: id, replica, medium: Medium::Disk(place), start, transport })?
        };
        self.note_running(id, replica, group);
        Ok(())
    }

    fn note_running(&self, id: GroupId, replica: ReplicaId, group: Arc<Group>) {
        tracing::info!(group = %id, replica = replica.0, "a replica runs here");
        self.hosted.add(id, Hosted { replica, group });
        self.bell.ring();
    }

    /// Ends a replica for good, and remembers that it is not to come back.
    pub(super) fn unhost(&self, group: GroupId, replica: ReplicaId) -> Result<(), NodeError> {
        let Some(hosted) = self.hosted.remove(group) else { return Ok(()) };
        if group == self.record.lock().root {
            *self.machine.lock() = None;
        } else {
            self.stage.unhost(group);
        }
        hosted.group.stop();
        let store = self.rocks.replicas()?.into_iter().find(|record| record.group == group.0).and_then(|it| it.store);
        self.rocks.put_replica(&ReplicaRecord { group: group.0, replica: replica.0, store: None }, None)?;
        if let Some(store) = store {
            self.rocks.delete_store(store)?;
        }
        tracing::info!(%group, replica = replica.0, "a replica has left this node");
        Ok(())
    }

    /// The change by which this process tells where it is to be found.
    pub(super) fn registration(&self) -> Change {
        let address = self.address.lock().clone();
        Change::Register { node: self.me, incarnation: self.incarnation, address, zone: self.zone.clone() }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the members of a group should be, as its replicas are told.
pub fn desired(members: &Members) -> Vec<(ReplicaId, Desired)> {
    let desired = |replica: &ReplicaInfo| match replica.wanted {
        Wanted::Voter => Desired::Voter,
        Wanted::Learner => Desired::Learner,
        Wanted::Leaving => Desired::Leaving,
    };
    members.replicas.iter().map(|replica| (replica.id, desired(replica))).collect()
}

fn tell(stage: Arc<dyn Stage>, bell: Arc<Bell>) -> OnChange {
    Box::new(move |map| {
        stage.map_changed(map);
        bell.ring();
    })
}

fn chance() -> crate::peer::Chance {
    let rng = Mutex::new(Rng::from_entropy());
    Box::new(move || rng.lock().next_u64())
}

/// A fresh cluster of one node, so that everything works before anybody else is there. Crashes leave all of it or
/// nothing: the records are one write, and a store without one is deleted at the next start.
fn found(rocks: &Arc<Rocks>, options: &NodeOptions) -> Result<NodeRecord, NodeError> {
    let mut rng = Rng::from_entropy();
    let mut name = || {
        let mut bytes = [0; NodeId::BYTES];
        bytes.fill_with(|| rng.below(256) as u8);
        bytes
    };
    let (node, shard) = (options.name.unwrap_or_else(|| NodeId::new(name())), ShardId::new(name()));
    let cluster = ClusterId(rng.next_u64());
    // Zero is no group's number.
    let mut group = || GroupId(1 + rng.below(u64::from(u32::MAX)) as u32);
    let (root, mut home) = (group(), group());
    while home == root {
        home = group();
    }
    let record = NodeRecord { node, incarnation: Incarnation(1), cluster, root, home, joining: None };
    let map = ClusterMap::found(Founding {
        cluster_id: cluster,
        root,
        node,
        home,
        shard,
        address: options.address.clone(),
        incarnation: record.incarnation,
        zone: options.zone.clone(),
        settings: options.settings,
        mode: options.mode,
    });
    let mut replicas = Vec::new();
    let replica =
        |group: GroupId, store| ReplicaRecord { group: group.0, replica: FIRST_REPLICA.0, store: Some(store) };
    if options.mode == Mode::Durable {
        // What a node has that knew no cluster is what its home group has.
        let store = if rocks.has_given_out_stores()? { rocks.new_store()? } else { HOME_STORE };
        replicas.push(replica(home, store));
    }
    let store = rocks.new_store()?;
    replicas.push(replica(root, store));
    rocks.put_document(store, LogIndex(0), &encoded(&map))?;
    rocks.put_node_record(&record.encode(), &replicas)?;
    tracing::info!(node = %record.node, cluster = %record.cluster, "founded a cluster of one node");
    Ok(record)
}

/// Whoever waits for a change hears of it from the map's machine.
struct RootObserver(Arc<Bell>);

impl Observer for RootObserver {
    fn committed(&self, _: group::Seq) {}

    fn applied(&self, _: group::Seq) {}

    fn unknown(&self, _: RangeInclusive<group::Seq>) {}

    fn role_changed(&self, _: Role) {
        self.0.ring();
    }
}
