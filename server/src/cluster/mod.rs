//! What clients see of the cluster: which requests are for this node, and the CLUSTER commands.
//!
//! The cluster itself is the `cluster` crate's: its map, its groups, who leads. Here that becomes the table of slot
//! states ([`slots`]), the decision about each request ([`route`], asked by [`admission`]), the texts of CLUSTER NODES
//! and its like ([`show`]), and orders to change something ([`order`], [`control`]). Whoever runs this node's groups
//! implements [`Control`] and calls [`Cluster::update`] whenever the map or the standing of one of his groups has
//! changed.
//!
//! Without `cluster-enabled` there is no [`Cluster`], and commands pay one branch for asking.

pub mod admission;
pub mod control;
pub mod copies;
pub mod departure;
pub mod hold;
pub mod member;
pub mod migration;
pub mod moving;
mod neighbours;
pub mod order;
pub mod place;
pub mod replica_reads;
pub mod route;
pub mod seals;
pub mod show;
pub mod slots;
pub mod stage;
pub mod tally;
pub mod verify;
pub mod weigh;

use crate::client::Client;
use crate::durability::replicas::Replicas;
use crate::forward::Figures;
use crate::server::Server;
use basalt_cluster::ids::{GroupId, NodeId};
use basalt_cluster::map::{ClusterMap, Health, OpenSlot, Role, Roles};
use basalt_storage::keyspace::View;
use basalt_storage::slot::{Slot, StripeIndex, StripeSet};
use control::{Control, Quorum};
use hold::Holds;
use moving::Moving;
pub use neighbours::{Master, Neighbours, Replica};
use parking_lot::{Mutex, RwLock};
use replica_reads::ReplicaReads;
use route::Cover;
use show::Endpoint;
use slots::{Layout, SlotState, SlotStates, Standing, StatesEpoch};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;
use tally::Tally;

/// This node's view of the cluster.
pub struct Cluster {
    control: Arc<dyn Control>,
    /// The groups that hold what the keyspace shows, if there are more than names.
    replicas: Option<Arc<Replicas>>,
    states: SlotStates,
    tally: Tally,
    holds: Holds,
    /// In durable mode: what clients read here of slots that another node leads.
    replica_reads: Option<ReplicaReads>,
    moving: Moving,
    /// The map that redirections are taken from, and what follows from it.
    picture: RwLock<Arc<Picture>>,
    is_up: AtomicBool,
    /// Changes of the table come one after the other.
    updating: Mutex<()>,
    forwarding: Arc<Figures>,
}

/// A map, and what is computed from it once.
pub struct Picture {
    pub map: Arc<ClusterMap>,
    pub roles: Roles,
    /// Leaders of groups, as far as this node knows them better than the map.
    leaders: BTreeMap<GroupId, NodeId>,
}

impl Picture {
    fn new(map: Arc<ClusterMap>, leaders: BTreeMap<GroupId, NodeId>) -> Picture {
        Picture { roles: Roles::of(&map), map, leaders }
    }

    /// The node to which clients are sent for what a group owns.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.leaders.get(&group).copied().or_else(|| self.roles.face(group))
    }

    /// The node to which clients are sent for a slot.
    pub fn owner(&self, slot: Slot) -> Option<NodeId> {
        self.leader(self.map.slots().owner(slot)?)
    }

    /// Where a node's clients find it.
    pub fn client_address(&self, node: NodeId) -> Option<SocketAddr> {
        self.map.node(node).map(|node| SocketAddr::new(node.address.ip, node.address.port))
    }
}

impl Cluster {
    pub fn new(control: Arc<dyn Control>, replicas: Option<Arc<Replicas>>) -> Cluster {
        let picture = Picture::new(control.map(), BTreeMap::new());
        Cluster {
            control,
            replica_reads: replicas.clone().map(ReplicaReads::new),
            replicas,
            states: SlotStates::new(),
            tally: Tally::default(),
            holds: Holds::default(),
            moving: Moving::default(),
            picture: RwLock::new(Arc::new(picture)),
            is_up: AtomicBool::new(false),
            updating: Mutex::new(()),
            forwarding: Arc::default(),
        }
    }

    pub fn control(&self) -> &dyn Control {
        &*self.control
    }

    pub fn me(&self) -> NodeId {
        self.control.me()
    }

    /// The map that clients are shown.
    pub fn picture(&self) -> Arc<Picture> {
        self.picture.read().clone()
    }

    pub fn states(&self) -> &SlotStates {
        &self.states
    }

    /// What was served of each slot.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What was forwarded to other nodes.
    pub fn forwarding(&self) -> &Arc<Figures> {
        &self.forwarding
    }

    /// Where the clients of the node are sent that serves a slot, whichever it is.
    pub fn address_of_owner(&self, slot: Slot) -> Option<SocketAddr> {
        let picture = self.picture();
        picture.client_address(picture.owner(slot)?)
    }

    /// The node that clients find at an address.
    pub fn node_at(&self, address: SocketAddr) -> Option<NodeId> {
        let picture = self.picture();
        let is_there = |node: &&NodeId| picture.client_address(**node) == Some(address);
        picture.map.nodes().keys().find(is_there).copied()
    }

    /// In cache mode: the groups, if any of them keeps a log.
    #[inline]
    pub fn logs_in_memory(&self) -> Option<&Replicas> {
        self.replicas.as_deref().filter(|replicas| replicas.memory().is_some_and(|memory| memory.has_logs()))
    }

    /// What clients read here of slots that another node leads.
    pub fn replica_reads(&self) -> Option<&ReplicaReads> {
        self.replica_reads.as_ref()
    }

    /// Keys that MIGRATE has in hand.
    pub fn moving(&self) -> &Moving {
        &self.moving
    }

    /// Keys do not move any more: requests that write to them are looked at anew.
    pub fn end_moving<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        self.moving.end(keys);
        self.states.count_change();
        self.holds.wake_all();
    }

    /// Whether the slot, which is open here, is on its way to the node that clients find at this port.
    pub fn goes_to(&self, slot: Slot, port: u16) -> bool {
        let picture = self.picture();
        let owner = picture.map.slots().owner(slot);
        let open = owner.and_then(|owner| picture.map.open_slots().get(&(owner, slot)));
        let Some(OpenSlot::Migrating { to }) = open else { return false };
        let node = picture.leader(*to).and_then(|node| picture.map.node(node));
        // Not the host: redis-cli sends the name that its user has typed.
        node.is_some_and(|node| node.address.port == port)
    }

    /// Whether this node's role is that of a replica.
    pub fn is_replica(&self) -> bool {
        matches!(self.picture().roles.role(self.me()), Some(Role::ReplicaOf(_)))
    }

    /// Takes over a map, and what this node's groups are by now: slots change their states, and clients of slots that
    /// have left hear of it. `newest` is asked for the map when it is this update's turn, so that none goes back.
    pub fn update(&self, server: &Server, newest: impl FnOnce() -> Arc<ClusterMap>, standing: &dyn Standing) {
        let _one_by_one = self.updating.lock();
        let map = newest();
        let layout = Layout::of(&map, self.me(), standing);
        // First the map: whoever finds a slot gone looks there for its new owner.
        *self.picture.write() = Arc::new(Picture::new(map, layout.leaders.clone()));
        let mut left = Vec::new();
        for stripe in StripeIndex::all() {
            left.extend(self.change_stripe(server, stripe, &layout));
        }
        let has_changed = self.judge(server);
        self.states.count_change();
        self.slots_left(server, &left);
        if has_changed && self.cover() == Cover::Down {
            self.unblock_all(server);
        }
        self.wake();
    }

    /// Brings one stripe in line with a layout; returns the slots whose clients must go.
    fn change_stripe(&self, server: &Server, stripe: StripeIndex, layout: &Layout) -> Vec<Slot> {
        let slots = || (0..basalt_storage::slot::SLOTS_PER_STRIPE).map(|within| stripe.slot(within));
        let differs = |slot: &Slot| self.states.at(*slot) != layout.at(*slot);
        let changes: Vec<(Slot, SlotState)> = slots().filter(differs).map(|slot| (slot, layout.at(slot))).collect();
        let has_other_holder =
            |slot: &Slot| self.replicas.as_ref().is_some_and(|replicas| replicas.holder(*slot) != layout.holder(*slot));
        let holders: Vec<(Slot, Option<GroupId>)> =
            slots().filter(has_other_holder).map(|slot| (slot, layout.holder(slot))).collect();
        if changes.is_empty() && holders.is_empty() {
            return Vec::new();
        }
        let mut view = server.keyspace.lock(StripeSet::of(stripe), server.now());
        // Whoever waits has seen that there was nothing, in a reign that is over.
        let mut left = match &self.replicas {
            Some(replicas) => replicas.hold(&mut view, &holders),
            None => Vec::new(),
        };
        left.extend(self.change(&view, stripe, &changes));
        left
    }

    /// Changes slots of one stripe under its lock: what a group's log decides (sealing, opening, serving) takes effect
    /// where it is evaluated. Returns the slots whose clients must go; see [`Cluster::slots_left`], which is to be
    /// called without locks, and then [`Cluster::wake`].
    pub fn change(&self, view: &View<'_>, stripe: StripeIndex, changes: &[(Slot, SlotState)]) -> Vec<Slot> {
        let is_new = |(slot, state): &(Slot, SlotState)| state.is_copied() && !self.states.at(*slot).is_copied();
        if let Some(reads) = self.replica_reads.as_ref().filter(|_| changes.iter().any(is_new)) {
            reads.note_more_copied();
        }
        let former = self.states.put(view, stripe, changes);
        let has_left = |former: SlotState, state: SlotState| former.keeps_waiters() && !state.keeps_waiters();
        let both = former.into_iter().zip(changes);
        both.filter(|(former, (_, state))| has_left(*former, *state)).map(|(_, (slot, _))| *slot).collect()
    }

    /// Has requests that are held back looked at anew.
    pub fn wake(&self) {
        self.holds.wake_all();
        self.replica_reads.iter().for_each(ReplicaReads::note_change);
    }

    /// Ends the waiting of requests whose time is over, and looks whether the cluster is up; called regularly.
    pub fn tick(&self, server: &Server) {
        self.holds.wake_due(Instant::now());
        self.replica_reads.iter().for_each(ReplicaReads::tick);
        if self.judge(server) {
            self.states.count_change();
            self.wake();
            if self.cover() == Cover::Down {
                self.unblock_all(server);
            }
        }
    }

    /// A setting that matters for the cluster has changed.
    pub fn note_settings(&self, server: &Server) {
        self.judge(server);
        self.states.count_change();
        self.control.note_settings();
    }

    /// Decides anew whether the cluster is up; returns whether that has changed.
    fn judge(&self, server: &Server) -> bool {
        let is_up = self.control.quorum() == Quorum::InReach && {
            let picture = self.picture();
            let map = &picture.map;
            let is_full = || {
                let is_served = |(group, _)| {
                    let face = picture.roles.face(group).and_then(|face| map.node(face));
                    face.is_some_and(|node| node.health == Health::Up)
                };
                map.slots().assigned() == basalt_storage::slot::SLOT_COUNT && map.slots().owners().all(is_served)
            };
            map.slots().assigned() > 0 && (!server.config.is_yes("cluster-require-full-coverage") || is_full())
        };
        self.is_up.swap(is_up, Relaxed) != is_up
    }

    #[inline]
    pub fn cover(&self) -> Cover {
        if self.is_up.load(Relaxed) { Cover::Up } else { Cover::Down }
    }

    /// How clients are told where a node is.
    pub fn endpoint(&self, server: &Server) -> Endpoint {
        Endpoint::of_setting(&server.config.text("cluster-preferred-endpoint-type"))
    }

    /// Clients whose request is held back.
    pub fn held_clients(&self) -> usize {
        self.holds.count() + self.replica_reads.as_ref().map_or(0, ReplicaReads::waiting)
    }

    fn hold(&self, epoch: StatesEpoch, client: &Arc<Client>, until: Instant) {
        self.holds.add(&self.states, epoch, client, until);
    }
}
