//! This node as a member of a cluster of processes: [`Control`] over the cluster crate's [`Node`].

use super::Cluster;
use super::control::{
    Answer, Contact, Control, Denied, Direction, Done, GroupStatus, Link, LinkState, Outcome, Quorum, Traffic,
};
use super::copies::Copies;
use super::migration::{self, Mover};
use super::order::{self, Chance, Draw, Identity, Order, Rehearsal, Step};
use super::place::{self, NodesToJoin, Placed, settings};
use super::stage::{Stage, StageOf};
use super::verify::{self, Verifier};
use super::weigh;
use crate::durability;
use crate::durability::memory::Memory;
use crate::durability::open::{self, StartError};
use crate::durability::replicas::Replicas;
use crate::jobs::Jobs;
use crate::server::Server;
use basalt_cluster::group::Role;
use basalt_cluster::ids::{MapVersion, MigrationId, NodeId};
use basalt_cluster::map::{self, Change, ClusterMap, Ending, Failure, Mode, Phase, SlotRange};
use basalt_cluster::node::{Decision, Hosted, Node, NodeOptions, Seeds};
use basalt_cluster::peer::{self, Timing, Tls};
use basalt_cluster::placement::{self, Budget, Scope};
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Threads that carry orders out. An order waits for the root group, so there are some.
const THREADS: usize = 4;

/// How long a node that leaves waits until its groups have parted from it.
const PARTING: Duration = Duration::from_secs(10);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How long an order to give a slot away waits for whoever has it.
const HAND_OVER: Duration = Duration::from_secs(10);

pub struct Member {
    server: Weak<Server>,
    stage: Arc<Stage>,
    /// Another one after CLUSTER RESET.
    node: RwLock<Arc<Node>>,
    orders: Jobs<Job>,
    /// Held by whoever tells the cluster of this node's settings.
    configuring: Arc<Mutex<()>>,
    copies: Arc<Copies>,
    verifier: Arc<Verifier>,
    /// CLUSTER VERIFY is being carried out.
    verifying: Mutex<()>,
    /// When this node was last known to be in touch with the root group.
    in_touch: Mutex<Instant>,
}

struct Job {
    orders: Vec<Order>,
    done: Done,
}

/// Opens the data directory and takes this node's place in its cluster again, or founds one. When this returns, the
/// slots that it may serve are served.
pub fn start(server: &Arc<Server>) -> Result<Arc<Member>, StartError> {
    let mode = place::mode(&server.config);
    let opened = open::open(server)?;
    let memory = match mode {
        Mode::Durable => {
            open::refuse_other_databases(&opened.rocks, server.keyspace.databases())?;
            None
        }
        Mode::Cache => {
            open::refuse_data(&opened.rocks)?;
            Some(Memory::new(server))
        }
    };
    let replicas = Arc::new(Replicas::new(opened.rocks.clone(), opened.fsync, memory));
    let stage = Arc::new(Stage::new(server, replicas.clone(), opened.log_bytes_max));
    match replicas.memory() {
        None => open::start_in_cluster(server, &opened, &replicas)?,
        Some(memory) => {
            memory.connect(&replicas);
            server.gate.ask(replicas.clone());
            durability::letting_out(server)?;
        }
    }
    let join = NodesToJoin::of(&server.config).map_err(StartError::Peers)?;
    let node = start_node(server, &stage, None, join.into_seeds())?;
    let verifier = Verifier::start(server, &stage)?;
    stage.put_verifier(verifier.clone());
    let member = Arc::new(Member {
        server: Arc::downgrade(server),
        stage: stage.clone(),
        node: RwLock::new(node.clone()),
        orders: Jobs::default(),
        configuring: Arc::default(),
        copies: Copies::start(server, replicas.clone())?,
        verifier,
        verifying: Mutex::new(()),
        in_touch: Mutex::new(Instant::now()),
    });
    member.orders.serve(&member, "cluster-order", THREADS, Member::carry_out_all)?;
    let cluster = server.become_clustered(Cluster::new(member.clone(), Some(replicas)));
    cluster.replica_reads().map_or(Ok(()), |reads| reads.start(server))?;
    stage.put_mover(Mover::start(server, &stage)?);
    stage.open(&node);
    weigh::start(server, &stage)?;
    tracing::info!(node = %node.id(), cluster = %node.map().cluster_id(), "this node is part of a cluster");
    Ok(member)
}

fn start_node(
    server: &Arc<Server>,
    stage: &Arc<Stage>,
    name: Option<NodeId>,
    join: Option<Seeds>,
) -> Result<Arc<Node>, StartError> {
    let config = &server.config;
    let Placed { address, listeners } = place::place(config).map_err(StartError::Peers)?;
    let clock = server.clone();
    let options = NodeOptions {
        address,
        zone: config.text("cluster-zone"),
        name,
        settings: settings(config),
        mode: place::mode(config),
        listeners,
        timing: Timing::default(),
        secret: place::secret(config).map_err(StartError::Peers)?,
        tls: place::tls(config).map_err(StartError::Peers)?,
        join,
        clock: Arc::new(move || clock.now()),
    };
    Ok(Node::start(stage.replicas.rocks(), options, Arc::new(StageOf(stage.clone())))?)
}

impl Member {
    /// Gives away what this node leads, and ends its part in the cluster. Blocks, for some seconds at most.
    pub fn leave_the_stage(&self) {
        let node = self.node();
        node.hand_over();
        node.stop();
    }

    fn node(&self) -> Arc<Node> {
        self.node.read().clone()
    }

    /// Leaves the cluster, and founds another one that has nothing.
    fn reset(&self, identity: Identity) -> Answer {
        let failed = |error: &dyn std::fmt::Display| Denied::Impossible(error.to_string());
        let Some(server) = self.server.upgrade() else { return Err(Denied::NoQuorum) };
        // Files that have gone bad must not leave it without a cluster.
        place::tls(&server.config).map_err(Denied::Impossible)?;
        let node = self.node();
        if self.map().member_count() > 1 {
            match node.decide(Change::Leave { node: node.id() }) {
                Decision::Made(_) => self.wait_until_parted(node.id()),
                // Others have forgotten it already.
                Decision::Refused(_) if self.map().member(node.id()).is_none() => self.wait_until_parted(node.id()),
                Decision::Refused(why) => return Err(Denied::Impossible(why)),
                Decision::Unknown => return Err(Denied::NoQuorum),
            }
        }
        node.stop();
        self.stage.clear();
        self.stage.replicas.rocks().forget_node().map_err(|error| failed(&error))?;
        let name = match identity {
            Identity::Kept => Some(node.id()),
            Identity::New => None,
        };
        drop(node);
        let fresh = start_node(&server, &self.stage, name, None).map_err(|error| failed(&error))?;
        *self.node.write() = fresh.clone();
        self.stage.open(&fresh);
        Ok(Outcome::Done)
    }

    /// Waits until no group counts on this node any more, but not for ever: nobody may be there to tell.
    fn wait_until_parted(&self, me: NodeId) {
        let deadline = Instant::now() + PARTING;
        let is_counted_on = || {
            let map = self.map();
            let groups = map.groups().values().map(|group| &group.members).chain([&map.root().members]);
            groups.into_iter().any(|members| members.is_on(me) && members.replicas.len() > 1)
        };
        while is_counted_on() && Instant::now() < deadline {
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn carry_out_all(&self, job: Job) {
        (job.done)(order::carry_out_all(job.orders, |order| self.carry_out(order)));
    }

    fn carry_out(&self, order: Order) -> Answer {
        match order.step(&self.map(), self.me(), &mut Chance)? {
            Step::Nothing(outcome) => Ok(outcome),
            Step::Change(change) => match self.node().decide(change.clone()) {
                Decision::Made(applied) => match applied.outcome {
                    map::Outcome::HandingOver(id) | map::Outcome::StillHandingOver(id) => {
                        self.await_hand_over(id, applied.version)
                    }
                    outcome => Ok(order::outcome(&change, &outcome)),
                },
                Decision::Refused(why) => Err(Denied::Impossible(why)),
                Decision::Unknown => Err(Denied::NoQuorum),
            },
            Step::Act(order) => self.act(order),
        }
    }

    /// Waits until it is known whether a slot without keys has changed hands. The map of this version has the record.
    fn await_hand_over(&self, id: MigrationId, begun: MapVersion) -> Answer {
        let deadline = Instant::now() + HAND_OVER;
        loop {
            let map = self.map();
            if map.version() < begun && Instant::now() <= deadline {
                std::thread::sleep(LOOK_AGAIN);
                continue;
            }
            match map.migrations().get(&id).map(|record| record.phase.clone()) {
                None => return Ok(Outcome::Done),
                Some(Phase::Ended(Ending::NotDone(Failure::Failed(why)))) => return Err(Denied::Impossible(why)),
                Some(Phase::Ended(Ending::NotDone(Failure::Cancelled))) => {
                    return Err(Denied::Impossible("the slot stays where it is".to_owned()));
                }
                Some(Phase::Ended(Ending::Done)) => return Ok(Outcome::Done),
                Some(_) if Instant::now() > deadline => {
                    return Err(Denied::Impossible(
                        "the node that has the slot does not answer: it will give it away when it does".to_owned(),
                    ));
                }
                Some(_) => std::thread::sleep(LOOK_AGAIN),
            }
        }
    }

    fn act(&self, order: Order) -> Answer {
        match order {
            Order::Meet(address) => {
                self.node().meet(address).map(|()| Outcome::Done).map_err(|error| Denied::Impossible(error.to_string()))
            }
            Order::Balance(rehearsal) => self.balance(rehearsal),
            Order::Verify(slots) => self.verify(slots),
            // All of it is on disk before it is answered.
            Order::SaveConfig => Ok(Outcome::Done),
            // It keeps its name and its epoch, as in Redis.
            Order::Reset(Identity::Kept) if self.map().member_count() == 1 => self.carry_out(Order::FlushSlots),
            Order::Reset(identity) => self.reset(identity),
            _ => Err(Denied::Impossible("this is not possible yet".to_owned())),
        }
    }

    /// Has slots spread evenly, in several migrations, or says which these would be.
    fn balance(&self, rehearsal: Rehearsal) -> Answer {
        let (map, now) = (self.map(), Chance.now());
        let moves = placement::slots(&map, &self.node().load(), now, &Budget::UNLIMITED, Scope::All);
        if rehearsal == Rehearsal::CarryOut && !moves.is_empty() {
            let begin = moves.iter().map(|planned| planned.step.change(Chance.migration(), now)).collect();
            match self.node().decide(Change::All(begin)) {
                Decision::Made(_) => {}
                Decision::Refused(why) => return Err(Denied::Impossible(why)),
                Decision::Unknown => return Err(Denied::NoQuorum),
            }
        }
        Ok(Outcome::Planned(moves.iter().map(ToString::to_string).collect()))
    }

    /// Has replicas compared, all over the cluster. That may take minutes, so one at a time: other orders need threads
    /// too.
    fn verify(&self, slots: SlotRange) -> Answer {
        match self.verifying.try_lock() {
            Some(_alone) => Ok(Outcome::Verified(verify::verify_all(&self.verifier, slots))),
            None => Err(Denied::Impossible("replicas are just being compared, by another client's order".to_owned())),
        }
    }

    /// Whether the root group's leader is in reach, as far as can be seen from here.
    fn is_in_touch(&self) -> bool {
        let map = self.map();
        let root = map.root();
        if let Some(hosted) = self.node().hosted().of(root.id) {
            return match hosted.group.role() {
                Role::Leader { serves, .. } => serves,
                Role::Follower { leader, .. } => leader.is_some(),
            };
        }
        root.members.replicas.iter().any(|replica| self.node().peers().node_status(replica.node).is_connected)
    }
}

impl Control for Member {
    fn map(&self) -> Arc<ClusterMap> {
        self.stage.map().unwrap_or_else(|| self.node().map())
    }

    fn me(&self) -> NodeId {
        self.node().id()
    }

    fn submit(&self, orders: Vec<Order>, done: Done) {
        self.orders.submit(Job { orders, done });
    }

    fn note_settings(&self) {
        let Some(server) = self.server.upgrade() else { return };
        match place::address(&server.config) {
            Ok(address) => {
                self.node().put_address(address.clone());
                self.stage.put_address(address);
            }
            Err(why) => tracing::warn!(%why, "the address of this node stays what it was"),
        }
        let (node, turn) = (self.node(), self.configuring.clone());
        // Nobody waits for it; whoever asks for the map sees when it is so.
        let configure = move || {
            // One after the other, and each with what the settings are by then: the last one has the last word.
            let _turn = turn.lock();
            let wanted = settings(&server.config);
            if node.map().settings() == &wanted {
                return;
            }
            match node.decide(Change::Configure(wanted)) {
                Decision::Made(_) => {}
                Decision::Refused(why) => tracing::warn!(%why, "the cluster does not take over a setting"),
                Decision::Unknown => tracing::warn!(
                    "the cluster may not have taken over a setting, since its root group does not answer; set it again"
                ),
            }
        };
        if let Err(error) = std::thread::Builder::new().name("cluster-settings".into()).spawn(configure) {
            tracing::error!(%error, "the system refused a thread");
        }
    }

    fn put_tls(&self, tls: Tls) {
        self.node().peers().put_tls(tls);
    }

    fn contact(&self, node: NodeId) -> Contact {
        if node == self.me() {
            return Contact::default();
        }
        let status = self.node().peers().node_status(node);
        let ms = |at: Option<basalt_storage::clock::UnixMs>| at.map_or(0, |at| at.0);
        Contact {
            ping_sent_ms: ms(status.ping_sent),
            pong_received_ms: ms(status.pong_received),
            link: if status.is_connected { LinkState::Connected } else { LinkState::Disconnected },
            ..Contact::default()
        }
    }

    fn links(&self) -> Vec<Link> {
        let links = self.node().peers().links().into_iter();
        let open = links.filter(|link| link.state == peer::LinkState::Connected);
        let shown = open.map(|link| Link {
            direction: match link.direction {
                peer::Direction::To => Direction::To,
                peer::Direction::From => Direction::From,
            },
            node: link.node,
            created_ms: link.created.0,
            events: if link.queued_bytes > 0 { "rw" } else { "r" },
            buffer_allocated: link.buffer_bytes,
            buffer_used: link.queued_bytes,
        });
        shown.collect()
    }

    fn traffic(&self) -> Traffic {
        let node = self.node();
        let figures = node.peers().figures();
        let received = figures.incoming_calls.load(Relaxed);
        Traffic {
            sent: vec![("raft", figures.messages.load(Relaxed)), ("call", figures.calls.load(Relaxed))],
            received: vec![("call", received)],
            sent_bytes: figures.bytes_sent.load(Relaxed),
            received_bytes: figures.bytes_received.load(Relaxed),
            cut_links: figures.dropped_full.load(Relaxed),
        }
    }

    fn groups(&self) -> Vec<GroupStatus> {
        let map = self.map();
        let (root, home) = (map.root().id, map.node(self.me()).map(|node| node.home));
        let mut groups: Vec<GroupStatus> = Vec::new();
        for (group, Hosted { replica, group: running }) in self.node().hosted().all() {
            let kind = match group {
                _ if group == root => "root",
                _ if Some(group) == home => "home",
                _ => "guest",
            };
            let others = running.replicas().into_iter().filter(|progress| progress.replica != replica);
            groups.push(GroupStatus {
                group,
                kind,
                replica,
                role: running.role(),
                positions: running.positions(),
                followers: others.collect(),
                figures: running.figures_now(),
            });
        }
        groups.sort_by_key(|status| (status.group != root, status.group));
        groups
    }

    fn migration_figures(&self) -> Option<&migration::Figures> {
        Some(&self.stage.migrations)
    }

    fn verifier(&self) -> Option<&Verifier> {
        Some(&self.verifier)
    }

    fn placement_steps(&self) -> Vec<(&'static str, u64)> {
        self.node().placement_steps()
    }

    fn emptied_slots(&self) -> Vec<(&'static str, u64)> {
        let node = self.node();
        let emptied = node.emptied();
        vec![("restart", emptied.by_restart.load(Relaxed)), ("loss", emptied.by_loss.load(Relaxed))]
    }

    fn has_passages(&self) -> bool {
        self.stage.has_passages()
    }

    fn copies(&self) -> Option<&Copies> {
        Some(&self.copies)
    }

    fn quorum(&self) -> Quorum {
        let mut in_touch = self.in_touch.lock();
        if self.is_in_touch() {
            *in_touch = Instant::now();
        }
        if in_touch.elapsed() <= self.map().settings().node_timeout() { Quorum::InReach } else { Quorum::Lost }
    }
}
