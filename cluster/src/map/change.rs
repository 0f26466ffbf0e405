//! Everything that can happen to the map.
//!
//! A change says what is wanted, and by whom; whether it fits the map is decided when it is applied, since the map may
//! have changed on the way. Names of nodes are those that a client has given; they may be unknown.

use super::group::{ReplicaStatus, Wanted};
use super::migration::{Failure, MigrationKind, Side, Stage};
use super::mode::Mode;
use super::node::{Address, Health};
use super::settings::Settings;
use super::slots::SlotRange;
use crate::Slot;
use crate::ids::{
    ClusterId, ConfigEpoch, GroupId, Incarnation, MapVersion, MigrationId, NodeId, ReplicaId, ShardId, SlotEpoch, Term,
};
use basalt_storage::clock::UnixMs;

/// One change of the map. `node` is the node that the command was sent to, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `CLUSTER ADDSLOTS`, `ADDSLOTSRANGE`: all of them, or none.
    AssignSlots {
        node: NodeId,
        slots: Vec<SlotRange>,
    },
    /// `CLUSTER DELSLOTS`, `DELSLOTSRANGE`. Slots of others stay as they are, without an error.
    UnassignSlots {
        node: NodeId,
        slots: Vec<SlotRange>,
    },
    /// `CLUSTER FLUSHSLOTS`. That the node is empty has been seen before.
    FlushSlots {
        node: NodeId,
    },
    /// DELSLOTS, ADDSLOTS, STABLE and BUMPEPOCH in one transaction, as redis-cli repairs a slot: it belongs to `node`
    /// now, whoever had it. Keys that lie elsewhere stay there until they are migrated.
    ForceOwn {
        node: NodeId,
        slot: Slot,
    },
    /// `CLUSTER SETSLOT slot MIGRATING to`.
    OpenMigrating {
        node: NodeId,
        slot: Slot,
        to: NodeId,
    },
    /// `CLUSTER SETSLOT slot IMPORTING from`.
    OpenImporting {
        node: NodeId,
        slot: Slot,
        from: NodeId,
    },
    /// `CLUSTER SETSLOT slot STABLE`.
    CloseSlot {
        node: NodeId,
        slot: Slot,
    },
    /// `CLUSTER SETSLOT slot NODE to`. If the slot has to change hands, that is a migration named `id`.
    GiveSlot {
        node: NodeId,
        slot: Slot,
        to: NodeId,
        id: MigrationId,
        at: UnixMs,
    },

    /// `CLUSTER BUMPEPOCH`.
    BumpEpoch {
        node: NodeId,
    },
    /// `CLUSTER SET-CONFIG-EPOCH`.
    SetConfigEpoch {
        node: NodeId,
        epoch: ConfigEpoch,
    },

    /// A node that was a cluster by itself comes in.
    Join(Box<Joining>),
    /// A node has started, or has another address.
    Register {
        node: NodeId,
        incarnation: Incarnation,
        address: Address,
        zone: String,
    },
    /// The root group's leader has found a node failed, or up again.
    SetHealth {
        node: NodeId,
        health: Health,
    },
    /// `CLUSTER DRAIN`, or the end of it.
    Drain {
        node: NodeId,
        removal: Removal,
    },
    /// `CLUSTER FORGET target`.
    Forget {
        node: NodeId,
        target: NodeId,
    },
    /// `CLUSTER RESET`: the node goes by itself.
    Leave {
        node: NodeId,
    },
    /// `CLUSTER REPLICATE master`. That the node is empty has been seen before.
    Replicate {
        node: NodeId,
        master: NodeId,
    },
    /// `CLUSTER FAILOVER`: the node shall lead its home group.
    Failover {
        node: NodeId,
        force: Force,
    },

    /// Somebody leads a group. Ignored if a later term is known.
    LeaderChanged {
        group: GroupId,
        replica: ReplicaId,
        term: Term,
    },
    /// What has become of replicas, from their group's leader.
    ReportReplicas {
        group: GroupId,
        report: Report,
    },
    /// A further replica, on a node that has none.
    AddReplica {
        group: GroupId,
        node: NodeId,
        wanted: Wanted,
    },
    /// A replica shall go.
    RemoveReplica {
        group: GroupId,
        replica: ReplicaId,
    },
    /// A replica without a log of its own on disk has started again: it is another replica from now on.
    RestartReplica {
        group: GroupId,
        node: NodeId,
    },
    /// A group of cache mode has lost its majority: it begins anew, empty, on this node.
    Refound {
        group: GroupId,
        node: NodeId,
    },
    /// The node that should lead a group.
    SetPreferred {
        group: GroupId,
        node: NodeId,
    },

    /// Slots shall move, with their keys: all of these jobs, or none.
    BeginMigrations {
        jobs: Vec<Job>,
        at: UnixMs,
    },
    /// Where the copying is.
    ReportStage {
        id: MigrationId,
        stage: Stage,
        at: UnixMs,
    },
    /// The copying begins anew, by another leader or after a failure: what was begun before can commit no more.
    RestartMigration {
        id: MigrationId,
        at: UnixMs,
    },
    /// The target has everything, and the source is sealed: owners change. `seen` is the version that began this
    /// copying.
    CommitMigration {
        id: MigrationId,
        seen: MapVersion,
        at: UnixMs,
    },
    /// The slots stay where they are.
    AbortMigration {
        id: MigrationId,
        why: Failure,
        at: UnixMs,
    },
    /// A side has done what is left to do after a commit or an abort. `seen` is the version it acted on.
    FinishMigration {
        id: MigrationId,
        side: Side,
        seen: MapVersion,
        at: UnixMs,
    },

    Configure(Settings),
    /// All of these in order, or none: what a client has sent as one transaction.
    All(Vec<Change>),
}

/// What a fresh cluster of one node is made of. Names and numbers are random.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    pub cluster_id: ClusterId,
    pub root: GroupId,
    pub node: NodeId,
    pub home: GroupId,
    pub shard: ShardId,
    pub address: Address,
    pub incarnation: Incarnation,
    pub zone: String,
    pub settings: Settings,
    pub mode: Mode,
}

/// What a joining node brings along: its home group, which goes on as it is, and its claims to slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub address: Address,
    pub zone: String,
    /// The weight of its claims: of two to a slot the one with the higher epoch holds.
    pub epoch: ConfigEpoch,
    pub home: GroupId,
    pub shard: ShardId,
    /// Its own replica of its home group, the only one.
    pub replica: ReplicaId,
    pub term: Term,
    pub claims: Vec<SlotClaim>,
    pub mode: Mode,
}

/// Slots that a joining node has owned so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotClaim {
    pub slots: SlotRange,
    pub epoch: SlotEpoch,
}

/// What a group's leader has seen: which replicas its configuration has.
///
/// A leader reports only what it has applied, in its own term, and without a change of membership under way: what it
/// then calls gone is gone for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub term: Term,
    /// The version of the map whose wishes it knew.
    pub seen: MapVersion,
    /// All replicas of its configuration; others are not in it.
    pub present: Vec<(ReplicaId, ReplicaStatus)>,
}

/// Whether a node shall be emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Wanted,
    NotWanted,
}

/// How much a failover asks of the present leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// The master must be up and hand over.
    HandOver,
    /// `FORCE`, `TAKEOVER`: it may be dead.
    Campaign,
}

/// Slots that shall move to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: MigrationId,
    pub kind: MigrationKind,
    pub slots: Vec<SlotRange>,
    /// The node that must serve them now; none means whoever does.
    pub from: Option<NodeId>,
    pub to: NodeId,
}
