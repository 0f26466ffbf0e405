//! A cluster whose other nodes are names in its map, which is in memory: for tests of what one node makes of a map.
//!
//! It carries orders out at once, as far as they change the map. It leads all groups of its node, and counts them as
//! served.

use basalt_cluster::ids::{GroupId, NodeId};
use basalt_cluster::map::{self, Change, ClusterMap, Known};
use basalt_server::cluster::Cluster;
use basalt_server::cluster::control::{Answer, Control, Denied, Done};
use basalt_server::cluster::order::{self, Chance, Draw, Order, Step};
use basalt_server::cluster::slots::Standing;
use basalt_server::server::Server;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock, Weak};

/// The cluster of one process.
pub struct LocalControl {
    map: Mutex<Arc<ClusterMap>>,
    me: NodeId,
    server: OnceLock<Weak<Server>>,
}

impl LocalControl {
    /// A node that finds itself in this map.
    pub fn with_map(map: ClusterMap, me: NodeId) -> Arc<LocalControl> {
        Arc::new(LocalControl { map: Mutex::new(Arc::new(map)), me, server: OnceLock::new() })
    }

    /// From now on the server's slots follow the map.
    pub fn attach(self: &Arc<Self>, server: &Arc<Server>) {
        assert!(self.server.set(Arc::downgrade(server)).is_ok(), "it has one server");
        server.become_clustered(Cluster::new(self.clone(), None));
        self.publish();
    }

    /// Changes the map as somebody else might have.
    pub fn apply(&self, change: &Change) -> Result<map::Outcome, map::Refusal> {
        let outcome = {
            let current = &mut *self.map.lock();
            let mut map = ClusterMap::clone(current);
            let mut outcome = map.apply(change)?.outcome;
            if let map::Outcome::HandingOver(id) = outcome {
                // Nobody else has to let go of the slot first.
                let seen = map.version();
                outcome = map.apply(&Change::CommitMigration { id, seen, at: Chance.now() })?.outcome;
            }
            *current = Arc::new(map);
            outcome
        };
        self.publish();
        Ok(outcome)
    }

    fn publish(&self) {
        let Some(server) = self.server.get().and_then(Weak::upgrade) else { return };
        let Some(cluster) = server.cluster() else { return };
        let map = self.map();
        cluster.update(&server, || map.clone(), &Led(&map, self.me));
    }

    fn carry_out(&self, order: Order) -> Answer {
        match order.step(&self.map(), self.me, &mut Chance)? {
            Step::Nothing(outcome) => Ok(outcome),
            Step::Change(change) => Ok(order::outcome(&change, &self.apply(&change)?)),
            Step::Act(_) => Err(Denied::Impossible("nobody is there to do it".to_owned())),
        }
    }
}

impl Control for LocalControl {
    fn map(&self) -> Arc<ClusterMap> {
        self.map.lock().clone()
    }

    fn me(&self) -> NodeId {
        self.me
    }

    fn submit(&self, orders: Vec<Order>, done: Done) {
        done(order::carry_out_all(orders, |order| self.carry_out(order)));
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
