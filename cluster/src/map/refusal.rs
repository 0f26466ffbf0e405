//! Why a change was refused: in Redis's words, where Redis refuses the same, since clients look for them.
//!
//! What is displayed goes behind `ERR `. Where Redis has no such refusal, the text says what to do.

use super::Mode;
use crate::Slot;
use crate::ids::{ConfigEpoch, GroupId, MigrationId, NodeId};

/// Why a change does not fit the map. The map stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("Slot {} is already busy", .0.number())]
    SlotBusy(Slot),
    #[error("Slot {} is already unassigned", .0.number())]
    SlotUnassigned(Slot),
    #[error("Slot {} specified multiple times", .0.number())]
    SlotRepeated(Slot),
    #[error("Please use {0} only with masters.")]
    OnlyWithMasters(&'static str),
    #[error("I'm not the owner of hash slot {}", .0.number())]
    NotOwner(Slot),
    #[error("I'm already the owner of hash slot {}", .0.number())]
    AlreadyOwner(Slot),
    #[error("I don't know about node {0}")]
    DontKnowNode(NodeId),
    #[error("Target node is not a master")]
    TargetNotMaster,
    #[error("Unknown node {0}")]
    UnknownNode(NodeId),
    #[error("Slot {} is being migrated by {id}: wait for that, or cancel it", slot.number())]
    SlotInMigration { slot: Slot, id: MigrationId },

    #[error("The user can assign a config epoch only when the node does not know any other node.")]
    EpochNotAlone,
    #[error("Node config epoch is already non-zero")]
    EpochNotZero,
    #[error("Invalid config epoch specified: {0}")]
    InvalidEpoch(ConfigEpoch),

    #[error("Can't replicate myself")]
    ReplicateMyself,
    #[error("I can only replicate a master, not a replica.")]
    ReplicateReplica,
    #[error("To set a master the node must be empty and without assigned slots.")]
    NotEmpty,
    #[error("I tried hard but I can't forget myself...")]
    ForgetMyself,
    #[error("Can't forget my master!")]
    ForgetMaster,
    #[error("Node {0} serves slots: move them to other nodes before removing it")]
    ServesSlots(NodeId),
    #[error("Node {0} is the only voter of the root group: wait until another has become one")]
    LastRootVoter(NodeId),
    #[error("You should send CLUSTER FAILOVER to a replica")]
    FailoverNotReplica,
    #[error("Master is down or failed, please use CLUSTER FAILOVER FORCE")]
    MasterFailed,
    #[error("This replica does not yet hold a full copy of its master's data")]
    NotCaughtUp,

    #[error("Slots are not served by this node.")]
    SlotsNotServed,
    #[error("I am already migrating slot {}.", .0.number())]
    AlreadyMigrating(Slot),
    #[error("Slot ranges in migrations overlap")]
    JobsOverlap,
    #[error("Unknown node name: {0}")]
    UnknownTarget(NodeId),
    #[error("Target node can not be this node")]
    TargetIsMyself,
    #[error("Slots are being manually imported")]
    ManuallyImported,
    #[error("Slots are being manually migrated")]
    ManuallyMigrated,
    #[error("Slot migration can only be used on primary nodes.")]
    OnlyPrimariesMigrate,
    #[error("Slots belong to different groups: migrate those of each group by themselves")]
    SeveralSources,
    #[error("Too many migrations are under way: wait until some have ended")]
    TooManyMigrations,
    #[error("A migration named {0} exists already")]
    MigrationExists(MigrationId),
    #[error("No migration named {0}")]
    UnknownMigration(MigrationId),
    #[error("Migration {0} is past the point at which it could be taken back")]
    TooLate(MigrationId),
    #[error("Migration {0} has begun anew")]
    BegunAnew(MigrationId),
    #[error("Migration {0} has been taken back")]
    Aborted(MigrationId),

    #[error("Node {0} was removed from this cluster: reset it before it joins again")]
    Removed(NodeId),
    #[error("Node {0} is being removed: let it join again when that is done")]
    StillLeaving(NodeId),
    #[error("A node named {0} is a member of this cluster already, with another home group")]
    NodeExists(NodeId),
    #[error("Group {0} exists already: reset the node, so that it founds another one")]
    GroupExists(GroupId),
    #[error("An older process of node {0} has no say")]
    StaleIncarnation(NodeId),
    #[error("This cluster is in {here} mode, and node {node} in {there} mode: all nodes of a cluster must be in one")]
    OtherMode { node: NodeId, there: Mode, here: Mode },
    #[error("A cluster in cache mode has one copy of each key: there are no replicas")]
    NoReplicas,
    #[error("Group {0} has a majority that lives, and does not begin anew")]
    HasMajority(GroupId),
    #[error("The address or the zone of node {0} is not usable")]
    BadAddress(NodeId),
    #[error("No group {0}")]
    UnknownGroup(GroupId),
    #[error("Node {node} has a replica of group {group} already")]
    ReplicaExists { group: GroupId, node: NodeId },
    #[error("Group {0} cannot have another replica")]
    TooManyReplicas(GroupId),
    #[error("Group {0} has no such replica")]
    UnknownReplica(GroupId),
    #[error("Group {0} would be left without a voter")]
    LastVoter(GroupId),
    #[error("Node {node} cannot be the preferred leader of group {group}")]
    NotPreferable { group: GroupId, node: NodeId },
    #[error("Setting out of range: {0}")]
    BadSetting(&'static str),
    #[error("A change inside a change is too much")]
    Nested,
}
