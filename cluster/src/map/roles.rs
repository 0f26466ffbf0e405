//! Who is master and who replica, as clients see it.
//!
//! Raft knows leaders of groups; Redis knows nodes that are master or replica, never both. The rules:
//!
//! - The *face* of a group is its leader if it owns slots, else its preferred node.
//! - A node is master if it is the face of a group that owns slots, or of its home group. Else it is a replica of the
//!   face of its home group.
//!
//! The second rule makes a node that is alone with its empty home group a master, and a dead master whose group is led
//! by another that one's replica. From the invariant of [`GroupInfo::preferred`](super::GroupInfo) follows that the
//! master of a replica is a master, so there are no chains and no cycles. Guests are never shown as replicas.
//!
//! All is derived from the map, so that every node prints the same for the same version.

use super::{ClusterMap, Standing};
use crate::Slot;
use crate::ids::{ConfigEpoch, GroupId, NodeId, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// What clients take a node for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Master,
    ReplicaOf(NodeId),
}

/// The roles of all nodes that are shown, computed at once.
#[derive(Clone, Debug)]
pub struct Roles {
    roles: BTreeMap<NodeId, Role>,
    replicas: BTreeMap<NodeId, Vec<NodeId>>,
    faces: BTreeMap<GroupId, NodeId>,
}

impl ClusterMap {
    /// The node by which clients know `group`.
    pub fn face(&self, group: GroupId) -> Option<NodeId> {
        let info = self.group(group)?;
        Some(if self.slots.count(group) > 0 { info.members.leader.node } else { info.preferred })
    }

    /// What `node` is; none if there is no such node.
    pub fn role(&self, node: NodeId) -> Option<Role> {
        let home = self.node(node)?.home;
        if self.leads_slots(node) {
            return Some(Role::Master);
        }
        match self.face(home) {
            Some(face) if face != node => Some(Role::ReplicaOf(face)),
            _ => Some(Role::Master),
        }
    }

    pub fn is_master(&self, node: NodeId) -> bool {
        self.role(node) == Some(Role::Master)
    }

    /// Whether `node` is the last known leader of a group that owns slots.
    pub fn leads_slots(&self, node: NodeId) -> bool {
        self.slots.owners().any(|(group, _)| self.group(group).is_some_and(|info| info.members.leader.node == node))
    }

    /// Groups of which `node` is the face.
    pub fn faced_by(&self, node: NodeId) -> impl Iterator<Item = GroupId> {
        self.groups.keys().copied().filter(move |&group| self.face(group) == Some(node))
    }

    /// The node that clients are sent to for `slot`: the last known one, also while it is dead.
    pub fn owner(&self, slot: Slot) -> Option<NodeId> {
        self.face(self.slots.owner(slot)?)
    }

    /// The group that takes slots in for a master: its home, else the first of those that it leads.
    pub fn receiving_group(&self, node: NodeId) -> Option<GroupId> {
        let home = self.node(node)?.home;
        if self.face(home) == Some(node) { Some(home) } else { self.faced_by(node).next() }
    }

    /// What `CLUSTER MYSHARDID` answers on `node`: a replica has its master's.
    pub fn shard_of(&self, node: NodeId) -> Option<ShardId> {
        let shown = match self.role(node)? {
            Role::Master => node,
            Role::ReplicaOf(master) => master,
        };
        let group = self.receiving_group(shown).or_else(|| self.node(node).map(|node| node.home))?;
        self.group(group).map(|group| group.shard)
    }

    /// The epoch in a node's line: a replica shows its master's.
    pub fn shown_epoch(&self, node: NodeId) -> ConfigEpoch {
        let shown = match self.role(node) {
            Some(Role::ReplicaOf(master)) => master,
            _ => node,
        };
        self.node(shown).map_or(ConfigEpoch(0), |node| node.epoch)
    }
}

impl Roles {
    pub fn of(map: &ClusterMap) -> Roles {
        let faces: BTreeMap<GroupId, NodeId> =
            map.groups.keys().filter_map(|&group| Some((group, map.face(group)?))).collect();
        let serving: BTreeSet<NodeId> =
            map.slots.owners().filter_map(|(group, _)| faces.get(&group).copied()).collect();
        let mut roles = BTreeMap::new();
        let mut replicas: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        for (&id, node) in &map.nodes {
            // A node that is leaving is shown only in the unlikely case that it has been elected meanwhile, since all
            // slots must be shown with an owner.
            if node.standing == Standing::Leaving && !serving.contains(&id) {
                continue;
            }
            let role = match faces.get(&node.home) {
                Some(&face) if face != id && !serving.contains(&id) => {
                    replicas.entry(face).or_default().push(id);
                    Role::ReplicaOf(face)
                }
                _ => Role::Master,
            };
            roles.insert(id, role);
        }
        Roles { roles, replicas, faces }
    }

    /// The nodes that are shown, in the order of their ids, with their roles.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, Role)> {
        self.roles.iter().map(|(&id, &role)| (id, role))
    }

    /// The role of a node that is shown.
    pub fn role(&self, node: NodeId) -> Option<Role> {
        self.roles.get(&node).copied()
    }

    pub fn masters(&self) -> impl Iterator<Item = NodeId> {
        self.iter().filter(|(_, role)| *role == Role::Master).map(|(id, _)| id)
    }

    /// The replicas of `master`, in the order of their ids.
    pub fn replicas(&self, master: NodeId) -> &[NodeId] {
        self.replicas.get(&master).map_or(&[], Vec::as_slice)
    }

    /// The node by which clients know `group`.
    pub fn face(&self, group: GroupId) -> Option<NodeId> {
        self.faces.get(&group).copied()
    }
}
