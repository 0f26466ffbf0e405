//! The cluster's map: which nodes there are, which groups, who owns which slot, what is on its way.
//!
//! The map is the state of the root group. It changes only by [`ClusterMap::apply`], which is a pure function: the same
//! [`Change`]s in the same order give the same map on every node, whatever their clocks say; times and random names
//! come in with the change. A change is applied wholly or refused ([`Refusal`]), and the version counts those that have
//! changed something. What must hold afterwards stands in [`ClusterMap::check`].
//!
//! Everything that is shown to clients is derived from the map and not stored in it: [`roles`] says who is master and
//! who replica, [`view`] what stands in the lines of `CLUSTER NODES` and its like, [`seen`] what a slot is for one
//! node. Maps are cheap to clone (the big table is shared until it changes), so that readers can keep one.

mod apply;
mod change;
mod check;
pub mod codec;
mod group;
mod migration;
mod mode;
mod node;
mod open;
mod refusal;
mod roles;
#[cfg(test)]
pub(crate) mod samples;
mod seen;
mod settings;
mod slots;
#[cfg(test)]
mod tests;
mod view;

pub use apply::{Applied, Outcome};
pub use change::{Change, Force, Founding, Job, Joining, Removal, Report, SlotClaim};
pub use check::Broken;
pub use group::{
    GroupInfo, Leader, Members, REPLICAS_PER_GROUP_MAX, ReplicaInfo, ReplicaKind, ReplicaStatus, VOTERS_MAX, Wanted,
};
pub use migration::{
    Ending, Failure, Migration, MigrationKind, Part, Phase, REASON_LEN_MAX, Side, Sides, Stage, UNDER_WAY_MAX,
};
pub use mode::Mode;
pub use node::{Address, HOSTNAME_LEN_MAX, Health, NodeInfo, Standing, Tombstone, ZONE_LEN_MAX};
pub use open::OpenSlot;
pub use refusal::Refusal;
pub use roles::{Role, Roles};
pub use seen::{Known, Seen};
pub use settings::{AutoBalance, REPLICAS_MAX, Settings};
pub use slots::{SlotInfo, SlotRange, SlotTable};
pub use view::{NodeLine, OpenLine, ShardEntry, ShardHealth, ShardNode, SlotsEntry, Summary, Towards};

use crate::Slot;
use crate::ids::{ClusterId, ConfigEpoch, GroupId, MapVersion, MigrationId, NodeId, ReplicaId, Term};
use std::collections::{BTreeMap, BTreeSet};

/// The replica with which a group begins.
pub const FIRST_REPLICA: ReplicaId = ReplicaId(1);

/// The whole map. Fields are private to this module and its children: only `apply` and the codec write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMap {
    cluster_id: ClusterId,
    version: MapVersion,
    /// The highest epoch that any node has been given.
    current_epoch: ConfigEpoch,
    root: RootGroup,
    nodes: BTreeMap<NodeId, NodeInfo>,
    groups: BTreeMap<GroupId, GroupInfo>,
    slots: SlotTable,
    /// By the group that has opened the slot, since a group outlives the leadership of a node.
    open: BTreeMap<(GroupId, Slot), OpenSlot>,
    migrations: BTreeMap<MigrationId, Migration>,
    tombstones: BTreeMap<NodeId, Tombstone>,
    /// Groups that were given up; their numbers are never used again. It grows with the nodes that were ever removed,
    /// by four bytes each.
    retired: BTreeSet<GroupId>,
    settings: Settings,
    /// Since it was founded.
    mode: Mode,
}

/// The group whose state this map is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootGroup {
    pub id: GroupId,
    pub members: Members,
}

impl ClusterMap {
    /// The map of a fresh node that is a cluster by itself: no slots, one voter in its root group and in its home.
    pub fn found(founding: Founding) -> ClusterMap {
        let Founding { cluster_id, root, node, home, shard, address, incarnation, zone, settings, mode } = founding;
        assert!(root != home, "root group and home group are two groups");
        let version = MapVersion(1);
        let alone = || Members::alone(FIRST_REPLICA, node, Term(0), version);
        let info = NodeInfo {
            address,
            incarnation,
            home,
            zone,
            health: Health::Up,
            standing: Standing::Member,
            epoch: ConfigEpoch(0),
        };
        ClusterMap {
            cluster_id,
            version,
            current_epoch: ConfigEpoch(0),
            root: RootGroup { id: root, members: alone() },
            nodes: BTreeMap::from([(node, info)]),
            groups: BTreeMap::from([(home, GroupInfo { shard, members: alone(), preferred: node })]),
            slots: SlotTable::empty(),
            open: BTreeMap::new(),
            migrations: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            retired: BTreeSet::new(),
            settings,
            mode,
        }
    }

    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    pub fn version(&self) -> MapVersion {
        self.version
    }

    pub fn current_epoch(&self) -> ConfigEpoch {
        self.current_epoch
    }

    pub fn root(&self) -> &RootGroup {
        &self.root
    }

    /// Every node, also those that are leaving; what clients are shown is in [`Roles`].
    pub fn nodes(&self) -> &BTreeMap<NodeId, NodeInfo> {
        &self.nodes
    }

    pub fn node(&self, id: NodeId) -> Option<&NodeInfo> {
        self.nodes.get(&id)
    }

    /// A node that is not leaving.
    pub fn member(&self, id: NodeId) -> Option<&NodeInfo> {
        self.node(id).filter(|node| node.standing != Standing::Leaving)
    }

    /// How many nodes are not leaving.
    pub fn member_count(&self) -> usize {
        self.nodes.values().filter(|node| node.standing != Standing::Leaving).count()
    }

    /// The data groups.
    pub fn groups(&self) -> &BTreeMap<GroupId, GroupInfo> {
        &self.groups
    }

    pub fn group(&self, id: GroupId) -> Option<&GroupInfo> {
        self.groups.get(&id)
    }

    /// The replicas of a group, the root included.
    pub fn members(&self, group: GroupId) -> Option<&Members> {
        if group == self.root.id { Some(&self.root.members) } else { self.group(group).map(|group| &group.members) }
    }

    /// The replicas that `node` has or should have, the root's first. Those that are leaving are among them: they have
    /// to answer until their group has parted from them.
    pub fn replicas_on(&self, node: NodeId) -> impl Iterator<Item = (GroupId, &ReplicaInfo)> {
        let data = self.groups.iter().map(|(&id, group)| (id, &group.members));
        let all = [(self.root.id, &self.root.members)].into_iter().chain(data);
        all.flat_map(move |(id, members)| {
            members.replicas.iter().filter(move |replica| replica.node == node).map(move |replica| (id, replica))
        })
    }

    /// Whether a replica was there and will never be again: what is left of it can be deleted, and messages from it
    /// and to it are void. One that this map has not heard of yet is not gone.
    pub fn is_gone(&self, group: GroupId, replica: ReplicaId) -> bool {
        let has_parted = |members: &Members| replica < members.next_replica && members.replica(replica).is_none();
        self.is_retired(group) || self.members(group).is_some_and(has_parted)
    }

    pub fn slots(&self) -> &SlotTable {
        &self.slots
    }

    /// Slots that are open for the keywise protocol, by the group that has opened them.
    pub fn open_slots(&self) -> &BTreeMap<(GroupId, Slot), OpenSlot> {
        &self.open
    }

    pub fn migrations(&self) -> &BTreeMap<MigrationId, Migration> {
        &self.migrations
    }

    /// The migration that `slot` is bound to.
    pub fn migration_of(&self, slot: Slot) -> Option<&Migration> {
        self.migrations_under_way().find(|migration| migration.moves(slot))
    }

    pub fn migrations_under_way(&self) -> impl Iterator<Item = &Migration> {
        self.migrations.values().filter(|migration| migration.is_under_way())
    }

    pub fn tombstones(&self) -> &BTreeMap<NodeId, Tombstone> {
        &self.tombstones
    }

    /// Whether there was a group of this number that is no more: who has a replica of it may delete that.
    pub fn is_retired(&self, group: GroupId) -> bool {
        self.retired.contains(&group)
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Why a replica of `group` lies on `node`.
    pub fn replica_kind(&self, group: GroupId, node: NodeId) -> ReplicaKind {
        match self.node(node) {
            Some(node) if node.home == group => ReplicaKind::Home,
            _ => ReplicaKind::Guest,
        }
    }

    /// The nodes that have `group` as their home, and are not leaving.
    pub fn home_nodes(&self, group: GroupId) -> impl Iterator<Item = NodeId> {
        let at_home = move |node: &NodeInfo| node.home == group && node.standing != Standing::Leaving;
        self.nodes.iter().filter(move |(_, node)| at_home(node)).map(|(&id, _)| id)
    }

    /// Whether a group has no slots, no part in a migration, and none open for keys that come or go: so it has no keys.
    pub fn is_idle(&self, group: GroupId) -> bool {
        self.slots.count(group) == 0
            && !self.migrations_under_way().any(|migration| migration.concerns(group))
            && !self.open.iter().any(|((opener, _), open)| *opener == group || open.other() == group)
    }

    /// The nodes of [`ClusterMap::home_nodes`] for all groups at once.
    fn homes(&self) -> BTreeMap<GroupId, Vec<NodeId>> {
        let mut homes: BTreeMap<GroupId, Vec<NodeId>> = BTreeMap::new();
        for (&id, node) in self.nodes.iter().filter(|(_, node)| node.standing != Standing::Leaving) {
            homes.entry(node.home).or_default().push(id);
        }
        homes
    }

    /// Groups that take part in a migration.
    fn moving_groups(&self) -> BTreeSet<GroupId> {
        self.migrations_under_way().flat_map(|migration| [migration.source, migration.target]).collect()
    }
}
