//! What ROLE and INFO tell of replication: the master of this node, or its replicas, and how far each is.
//!
//! Redis counts bytes of a stream. Here the offset is an index in the log of the node's home group: like Redis's it
//! only grows, and a replica has all that its master had when their offsets are the same.

use super::Cluster;
use crate::server::Server;
use basalt_cluster::group::Positions;
use basalt_cluster::ids::NodeId;
use basalt_cluster::map::{Address, Health, Role, ShardHealth};

/// The master of this node if it is a replica, and the replicas of this node that are up.
#[derive(Default)]
pub struct Neighbours {
    pub master: Option<Master>,
    pub replicas: Vec<Replica>,
    /// The log of this node's home group.
    pub positions: Positions,
}

pub struct Master {
    pub address: Address,
    /// This node knows who leads the group, and that is who sends it what is written.
    pub is_linked: bool,
    /// This node is being sent a snapshot, or has yet to catch up.
    pub is_loading: bool,
    /// Since the master was heard; none if it never was.
    pub silence_s: Option<u64>,
}

pub struct Replica {
    pub address: Address,
    /// As far as its log is known to agree with this node's.
    pub offset: u64,
    pub awaits_snapshot: bool,
    pub silence_s: u64,
}

impl Neighbours {
    pub fn of(server: &Server) -> Neighbours {
        let Some(cluster) = server.cluster() else { return Neighbours::default() };
        let (picture, me) = (cluster.picture(), cluster.me());
        let home = cluster.control().groups().into_iter().find(|group| group.kind == "home");
        let silence_s = |node| silence_s(server, cluster, node);
        let master = match picture.roles.role(me) {
            Some(Role::ReplicaOf(master)) => picture.map.node(master).map(|info| Master {
                address: info.address.clone(),
                is_linked: home.as_ref().is_some_and(|home| home.role.knows_leader()),
                is_loading: picture.map.shard_health(me) == ShardHealth::Loading,
                silence_s: silence_s(master),
            }),
            _ => None,
        };
        let replica = |node: &NodeId| {
            let info = picture.map.node(*node).filter(|info| info.health == Health::Up)?;
            let progress = home.as_ref().and_then(|home| {
                let replica = picture.map.members(home.group)?.on(*node)?.id;
                home.followers.iter().find(|progress| progress.replica == replica)
            });
            Some(Replica {
                address: info.address.clone(),
                offset: progress.map_or(0, |progress| progress.matched.0),
                awaits_snapshot: progress.is_none_or(|progress| progress.awaits_snapshot),
                silence_s: silence_s(*node).unwrap_or(0),
            })
        };
        Neighbours {
            master,
            replicas: picture.roles.replicas(me).iter().filter_map(replica).collect(),
            positions: home.map(|home| home.positions).unwrap_or_default(),
        }
    }
}

fn silence_s(server: &Server, cluster: &Cluster, node: NodeId) -> Option<u64> {
    match cluster.control().contact(node).pong_received_ms {
        0 => None,
        at => Some((server.now().0 - at).max(0) as u64 / 1000),
    }
}
