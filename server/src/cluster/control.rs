//! What the commands ask of whoever runs this node's part of the cluster.
//!
//! Changing the cluster takes a round through the root group, and no network thread waits for that: a command leaves
//! its orders with [`Control::submit`], the connection waits for mail, and the results are there when the request is
//! tried again. Reading is local.

use super::copies::Copies;
use super::migration;
use super::order::Order;
use super::verify::{Report, Verifier};
use crate::error::CommandError;
use basalt_cluster::group::{Figures, Positions, ReplicaProgress, Role};
use basalt_cluster::ids::{ConfigEpoch, GroupId, MigrationId, NodeId, ReplicaId};
use basalt_cluster::map::{ClusterMap, Refusal};
use basalt_cluster::peer::Tls;
use std::net::IpAddr;
use std::sync::Arc;

/// Called once with a result for each order, in their order.
pub type Done = Box<dyn FnOnce(Vec<Answer>) + Send>;

pub type Answer = Result<Outcome, Denied>;

/// What an order has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The node's epoch is this now.
    Bumped(ConfigEpoch),
    /// The node's epoch was the highest already.
    Still(ConfigEpoch),
    /// A migration has begun.
    Began(MigrationId),
    /// So many were meant.
    Counted(usize),
    /// What a plan consists of, one line each.
    Planned(Vec<String>),
    /// What came of comparing replicas, for each group.
    Verified(Vec<Report>),
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("root group has no quorum")]
    NoQuorum,
    /// In the words that the client is told.
    #[error("{0}")]
    Impossible(String),
}

impl From<Denied> for CommandError {
    fn from(denied: Denied) -> CommandError {
        CommandError::owned(format!("ERR {denied}"))
    }
}

/// This node's part of the cluster.
pub trait Control: Send + Sync {
    /// The map as far as this node has learned it.
    fn map(&self) -> Arc<ClusterMap>;

    /// This node.
    fn me(&self) -> NodeId;

    /// Has orders carried out, and calls back when the cluster has taken them over or refused them: from any thread,
    /// or before it returns.
    fn submit(&self, orders: Vec<Order>, done: Done);

    /// Settings of this node have changed that others must hear of.
    fn note_settings(&self) {}

    /// Connections to other nodes are encrypted with this from now on, if they are encrypted.
    fn put_tls(&self, _: Tls) {}

    /// How this node stands with another one.
    fn contact(&self, _: NodeId) -> Contact {
        Contact::default()
    }

    /// Nodes that are being met, and not part of the map yet.
    fn handshakes(&self) -> Vec<Handshake> {
        Vec::new()
    }

    /// Connections to other nodes.
    fn links(&self) -> Vec<Link> {
        Vec::new()
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    /// The groups of which this node has a replica, the root group first.
    fn groups(&self) -> Vec<GroupStatus> {
        Vec::new()
    }

    /// What was counted of slots that came and went, if they can.
    fn migration_figures(&self) -> Option<&migration::Figures> {
        None
    }

    /// Who compares replicas, if there can be any.
    fn verifier(&self) -> Option<&Verifier> {
        None
    }

    /// Steps that this node has had the cluster take by itself, by kind.
    fn placement_steps(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Slots that have lost their keys with whoever had them, by why that was.
    fn emptied_slots(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Whether slots are just on their way to or from this node: what is done to all slots at once has to wait.
    fn has_passages(&self) -> bool {
        false
    }

    /// Who knows which nodes have copies of what was written here, if there are others.
    fn copies(&self) -> Option<&Copies> {
        None
    }

    /// How many nodes say that this one is down.
    fn failure_reports(&self, _: NodeId) -> usize {
        0
    }

    /// Whether this node is in touch with enough others to be told what is so.
    fn quorum(&self) -> Quorum {
        Quorum::InReach
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    InReach,
    /// For longer than `cluster-node-timeout`.
    Lost,
}

/// How this node stands with another one, or with itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// When the question was sent that is not answered yet; 0: there is none.
    pub ping_sent_ms: i64,
    pub pong_received_ms: i64,
    pub link: LinkState,
    pub trust: Trust,
    /// How far the node's data is, as far as this one knows.
    pub offset: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    #[default]
    Connected,
    Disconnected,
}

/// What this node thinks of another one's health, by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    #[default]
    Trusted,
    Suspected,
}

/// A node that is being met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    pub node: NodeId,
    pub ip: IpAddr,
    pub port: u16,
    pub peer_port: u16,
}

/// A connection to or from another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub direction: Direction,
    pub node: NodeId,
    pub created_ms: i64,
    /// What is waited for: `r`, `w`, `rw`, or nothing.
    pub events: &'static str,
    pub buffer_allocated: usize,
    pub buffer_used: usize,
}

/// Who has opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    To,
    From,
}

/// A group of which this node has a replica.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    pub group: GroupId,
    /// `root`, `home` or `guest`.
    pub kind: &'static str,
    pub replica: ReplicaId,
    pub role: Role,
    pub positions: Positions,
    /// The other replicas, if this node leads.
    pub followers: Vec<ReplicaProgress>,
    /// What the group has counted, as of the question.
    pub figures: Arc<Figures>,
}

/// Messages between nodes since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// By kind, if there were any.
    pub sent: Vec<(&'static str, u64)>,
    pub received: Vec<(&'static str, u64)>,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// Links that were cut because too much was waiting on them.
    pub cut_links: u64,
}
