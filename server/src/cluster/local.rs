//! A cluster of one process, whose map is in memory: nobody has to be asked, and nothing survives.
//!
//! It carries orders out at once. It leads all groups of its node, and counts them as served. Nodes that a map brings
//! along besides (in tests) are mere names. What would need another process is refused.

use super::control::{Answer, Control, Denied, Done, Outcome};
use super::order::{self, Chance, Draw, Order, Rehearsal, Step};
use super::place::{peer_port_of, set_port};
use super::slots::Standing;
use crate::config::Config;
use crate::server::Server;
use basalt_cluster::ids::{ClusterId, GroupId, Incarnation, NodeId, ShardId};
use basalt_cluster::map::{self, Address, AutoBalance, Change, ClusterMap, Founding, Known, Settings};
use basalt_storage::rng::Rng;
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock, Weak};

/// The cluster of one process.
pub struct LocalControl {
    state: Mutex<State>,
    server: OnceLock<Weak<Server>>,
}

struct State {
    map: Arc<ClusterMap>,
    me: NodeId,
}

impl LocalControl {
    /// A node that has just been founded, with random names.
    pub fn found(config: &Config) -> Arc<LocalControl> {
        let (map, me) = found(config, &mut Rng::from_entropy());
        LocalControl::with_map(map, me)
    }

    /// A node that finds itself in this map.
    pub fn with_map(map: ClusterMap, me: NodeId) -> Arc<LocalControl> {
        Arc::new(LocalControl { state: Mutex::new(State { map: Arc::new(map), me }), server: OnceLock::new() })
    }

    /// From now on the server's slots follow the map.
    pub fn attach(self: &Arc<Self>, server: &Arc<Server>) {
        assert!(self.server.set(Arc::downgrade(server)).is_ok(), "it has one server");
        let (map, me) = (self.map(), self.me());
        let cluster = server.become_clustered(super::Cluster::new(self.clone(), None));
        cluster.update(server, || map.clone(), &Led(&map, me));
    }

    /// Changes the map as somebody else might have; for tests.
    pub fn apply(&self, change: &Change) -> Result<map::Outcome, map::Refusal> {
        let outcome = {
            let state = &mut *self.state.lock();
            let mut map = (*state.map).clone();
            let mut outcome = map.apply(change)?.outcome;
            if let map::Outcome::HandingOver(id) = outcome {
                // Nobody else has to let go of the slot first.
                let seen = map.version();
                outcome = map.apply(&Change::CommitMigration { id, seen, at: Chance.now() })?.outcome;
            }
            state.map = Arc::new(map);
            outcome
        };
        self.publish();
        Ok(outcome)
    }

    fn publish(&self) {
        let Some(server) = self.server.get().and_then(Weak::upgrade) else { return };
        let Some(cluster) = server.cluster() else { return };
        let (map, me) = (self.map(), self.me());
        cluster.update(&server, || map.clone(), &Led(&map, me));
    }

    fn carry_out(&self, order: Order) -> Answer {
        let (map, me) = (self.map(), self.me());
        match order.step(&map, me, &mut Chance)? {
            Step::Nothing(outcome) => Ok(outcome),
            Step::Change(change) => Ok(order::outcome(&change, &self.apply(&change)?)),
            Step::Act(order) => self.act(order),
        }
    }

    fn act(&self, order: Order) -> Answer {
        match order {
            // A node meets itself, or nobody: this process has no connections to others.
            Order::Meet(_) | Order::SaveConfig => Ok(Outcome::Done),
            // There is one copy of everything.
            Order::Verify(_) => Ok(Outcome::Verified(Vec::new())),
            Order::Balance(Rehearsal::Plan | Rehearsal::CarryOut) => Ok(Outcome::Planned(Vec::new())),
            // It keeps its name and its epoch, as in Redis.
            Order::Reset(order::Identity::Kept) if self.map().member_count() == 1 => Ok(order::outcome(
                &Change::FlushSlots { node: self.me() },
                &self.apply(&Change::FlushSlots { node: self.me() })?,
            )),
            Order::Reset(identity) => {
                let Some(server) = self.server.get().and_then(Weak::upgrade) else { return Ok(Outcome::Done) };
                let (map, me) = found(&server.config, &mut Rng::from_entropy());
                {
                    let state = &mut *self.state.lock();
                    match identity {
                        order::Identity::New => *state = State { map: Arc::new(map), me },
                        order::Identity::Kept => {
                            let kept = refound(&server.config, state.me);
                            state.map = Arc::new(kept);
                        }
                    }
                }
                self.publish();
                Ok(Outcome::Done)
            }
            _ => Err(Denied::Impossible("this node is a cluster by itself".to_owned())),
        }
    }
}

impl Control for LocalControl {
    fn map(&self) -> Arc<ClusterMap> {
        self.state.lock().map.clone()
    }

    fn me(&self) -> NodeId {
        self.state.lock().me
    }

    fn submit(&self, orders: Vec<Order>, done: Done) {
        done(order::carry_out_all(orders, |order| self.carry_out(order)));
    }

    fn note_settings(&self) {
        let Some(server) = self.server.get().and_then(Weak::upgrade) else { return };
        let (map, me) = (self.map(), self.me());
        let Some(node) = map.node(me) else { return };
        let register = Change::Register {
            node: me,
            incarnation: node.incarnation,
            address: address(&server.config),
            zone: node.zone.clone(),
        };
        for change in [register, Change::Configure(settings(&server.config))] {
            if let Err(refusal) = self.apply(&change) {
                tracing::warn!(%refusal, "the cluster does not take over a setting");
            }
        }
    }
}

/// This node leads all groups of which it is the face, and serves them.
struct Led<'a>(&'a ClusterMap, NodeId);

impl Standing for Led<'_> {
    fn leader(&self, group: GroupId) -> Known {
        let is_here = self.0.group(group).is_some_and(|info| info.members.is_on(self.1));
        match self.0.face(group) {
            Some(face) if is_here || face == self.1 => Known::Leader(face),
            _ => Known::AsMapped,
        }
    }
}

fn bytes<const N: usize>(rng: &mut Rng) -> [u8; N] {
    std::array::from_fn(|_| rng.below(256) as u8)
}

fn found(config: &Config, rng: &mut Rng) -> (ClusterMap, NodeId) {
    let node = NodeId::new(bytes(rng));
    (refound(config, node), node)
}

fn refound(config: &Config, node: NodeId) -> ClusterMap {
    let rng = &mut Rng::from_entropy();
    let root = rng.below(1 << 31) as u32;
    ClusterMap::found(Founding {
        cluster_id: ClusterId(rng.next_u64()),
        root: GroupId(root),
        node,
        home: GroupId(root + 1),
        shard: ShardId::new(bytes(rng)),
        address: address(config),
        incarnation: Incarnation(1),
        zone: config.text("cluster-zone"),
        settings: settings(config),
    })
}

/// Where this node is to be found, by its settings.
pub fn address(config: &Config) -> Address {
    let own = set_port(config, "port").unwrap_or_default();
    let peer_port = set_port(config, "cluster-announce-bus-port").or_else(|| set_port(config, "cluster-port"));
    let peer_port = peer_port.or_else(|| peer_port_of(own)).unwrap_or(own);
    Address {
        ip: config.text("cluster-announce-ip").parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        port: set_port(config, "cluster-announce-port").unwrap_or(own),
        tls_port: None,
        peer_port,
        hostname: config.text("cluster-announce-hostname"),
    }
}

/// What this node would have the cluster do.
pub fn settings(config: &Config) -> Settings {
    let by_mode = if config.text("mode") == "durable" { 2 } else { 0 };
    let number = |name: &str| u64::try_from(config.int(name)).unwrap_or_default();
    Settings {
        replicas: u8::try_from(config.int("cluster-replicas")).unwrap_or(by_mode),
        repair_delay_ms: number("cluster-repair-delay") * 1000,
        node_timeout_ms: number("cluster-node-timeout"),
        auto_balance: if config.is_yes("cluster-auto-balance") { AutoBalance::Yes } else { AutoBalance::No },
        migration_max_bytes_per_second: number("cluster-migration-max-bytes-per-second"),
    }
}
