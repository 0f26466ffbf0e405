//! What the map knows about one node.

use crate::ids::{ConfigEpoch, GroupId, Incarnation};
use basalt_storage::clock::UnixMs;
use core::net::IpAddr;

/// Longest hostname that is accepted: what DNS allows.
pub const HOSTNAME_LEN_MAX: usize = 255;
/// Longest name of a zone.
pub const ZONE_LEN_MAX: usize = 64;

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    pub address: Address,
    /// Its process as last heard of: an older one has no say any more.
    pub incarnation: Incarnation,
    /// The group by which it is master or replica. It may have been removed only if the node is leaving.
    pub home: GroupId,
    /// Replicas of a group are spread over zones; all nodes are in one by default, whose name is empty.
    pub zone: String,
    pub health: Health,
    pub standing: Standing,
    /// What `CLUSTER NODES` shows while it is a master. Zero until something has given it one.
    pub epoch: ConfigEpoch,
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    pub port: u16,
    pub tls_port: Option<u16>,
    pub peer_port: u16,
    /// Empty if it has none.
    pub hostname: String,
}

/// Whether a node answers, as the root group's leader has decided for all. What one node merely suspects is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    Failed { since: UnixMs },
}

/// Whether a node shall stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Member,
    /// It serves, and is being emptied.
    Draining,
    /// It was forgotten: nobody is shown it any more, but groups that have a replica on it must part from that first.
    Leaving,
}

/// What is remembered of a node that was removed, so that nothing that it still says brings it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    pub incarnation: Incarnation,
}

impl NodeInfo {
    pub fn is_up(&self) -> bool {
        self.health == Health::Up
    }
}

impl Address {
    /// Whether its parts are within their bounds, and there is something to connect to.
    pub fn is_sound(&self) -> bool {
        self.peer_port != 0 && self.hostname.len() <= HOSTNAME_LEN_MAX
    }
}
