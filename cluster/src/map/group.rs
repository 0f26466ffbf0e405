//! What the map knows about one group: which replicas it should have, which it has, who leads.
//!
//! `wanted` is the root's decision, `status` what the group's leader has reported. The leader brings the second in line
//! with the first, one step of Raft's membership at a time. Invariants of [`Members`]: replicas ascend by their ids,
//! which are below `next_replica` and never used again; the leader is one of them; at least one is wanted as a voter;
//! of a node there is at most one that is not leaving.

use crate::ids::{MapVersion, NodeId, ReplicaId, ShardId, Term};

/// The most replicas a group may have, those that are leaving counted.
pub const REPLICAS_PER_GROUP_MAX: usize = 32;
/// The most voters: more only make every commit slower.
pub const VOTERS_MAX: usize = 7;

/// A group that owns slots, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    pub shard: ShardId,
    pub members: Members,
    /// The node that should lead. While the group owns no slots, it is also the one that is shown as its master.
    /// Invariant: its home is this group if any node's is.
    pub preferred: NodeId,
}

/// The replicas of a group, be it of data or the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    pub replicas: Vec<ReplicaInfo>,
    pub next_replica: ReplicaId,
    /// The last that is known to lead, whether or not it still does.
    pub leader: Leader,
    /// The version in which wishes have last changed: who reports, and has not seen it, knows too little.
    pub wanted_since: MapVersion,
}

/// One replica of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaInfo {
    pub id: ReplicaId,
    pub node: NodeId,
    pub wanted: Wanted,
    pub status: ReplicaStatus,
}

/// What a replica should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    Voter,
    /// A full copy that does not vote.
    Learner,
    /// Nothing: it is to be demoted and removed.
    Leaving,
}

/// What a replica is, as its group's leader has reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReplicaStatus {
    /// The group does not know it yet.
    Planned,
    /// It is being brought up to date, or does not vote.
    Learner,
    Voter,
}

/// Who leads a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    pub replica: ReplicaId,
    pub node: NodeId,
    pub term: Term,
}

/// Why a replica lies where it lies; follows from the node's home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaKind {
    /// Clients see its node as the group's master, or as a replica of it.
    Home,
    /// It votes and can take over, and is not shown.
    Guest,
}

impl Members {
    /// One voter, which leads.
    pub fn alone(replica: ReplicaId, node: NodeId, term: Term, since: MapVersion) -> Members {
        let info = ReplicaInfo { id: replica, node, wanted: Wanted::Voter, status: ReplicaStatus::Voter };
        Members {
            replicas: vec![info],
            next_replica: ReplicaId(replica.0 + 1),
            leader: Leader { replica, node, term },
            wanted_since: since,
        }
    }

    /// In cache mode: whether the node of this replica has a later one. It was started again then, or has given up what
    /// it had, and the vote of this one is lost.
    pub fn has_ended(&self, replica: &ReplicaInfo) -> bool {
        self.replicas.iter().any(|other| other.node == replica.node && other.id > replica.id)
    }

    /// In cache mode: whether more than half of the voters are left, if those count that `lives` says yes to. If not,
    /// nothing can be decided any more, and what was acknowledged may be gone.
    pub fn has_majority(&self, lives: impl Fn(&ReplicaInfo) -> bool) -> bool {
        let voters = || self.replicas.iter().filter(|replica| replica.status == ReplicaStatus::Voter);
        2 * voters().filter(|replica| !self.has_ended(replica) && lives(replica)).count() > voters().count()
    }

    pub fn replica(&self, id: ReplicaId) -> Option<&ReplicaInfo> {
        self.replicas.iter().find(|replica| replica.id == id)
    }

    /// The replica that `node` has and shall keep.
    pub fn on(&self, node: NodeId) -> Option<&ReplicaInfo> {
        self.staying().find(|replica| replica.node == node)
    }

    /// Whether `node` has a replica, be it one that is to go.
    pub fn is_on(&self, node: NodeId) -> bool {
        self.replicas.iter().any(|replica| replica.node == node)
    }

    /// Replicas that shall stay.
    pub fn staying(&self) -> impl Iterator<Item = &ReplicaInfo> {
        self.replicas.iter().filter(|replica| replica.wanted != Wanted::Leaving)
    }

    /// Replicas that are to go.
    pub fn leaving(&self) -> impl Iterator<Item = &ReplicaInfo> {
        self.replicas.iter().filter(|replica| replica.wanted == Wanted::Leaving)
    }

    /// Replicas that vote today.
    pub fn voters(&self) -> impl Iterator<Item = &ReplicaInfo> {
        self.replicas.iter().filter(|replica| replica.status == ReplicaStatus::Voter)
    }

    /// Whether what is wanted is what there is.
    pub fn is_settled(&self) -> bool {
        self.replicas.iter().all(|replica| replica.is_settled())
    }

    /// Lets the replica on `node` go.
    pub(super) fn part_from(&mut self, node: NodeId, version: MapVersion) {
        for replica in self.replicas.iter_mut().filter(|replica| replica.node == node) {
            replica.wanted = Wanted::Leaving;
        }
        self.wanted_since = version;
    }

    /// Adds a replica that nobody has yet, under a number that nobody has had.
    pub(super) fn add(&mut self, node: NodeId, wanted: Wanted) -> ReplicaId {
        assert!(wanted != Wanted::Leaving && self.on(node).is_none(), "a replica is added where there is none");
        let id = self.next_replica;
        self.next_replica = ReplicaId(id.0 + 1);
        self.replicas.push(ReplicaInfo { id, node, wanted, status: ReplicaStatus::Planned });
        id
    }
}

impl ReplicaInfo {
    /// Whether it is what it should be.
    pub fn is_settled(&self) -> bool {
        matches!(
            (self.wanted, self.status),
            (Wanted::Voter, ReplicaStatus::Voter) | (Wanted::Learner, ReplicaStatus::Learner)
        )
    }

    /// Whether it can be relied on: it votes, and shall go on voting.
    pub fn is_firm(&self) -> bool {
        self.wanted == Wanted::Voter && self.status == ReplicaStatus::Voter
    }
}
