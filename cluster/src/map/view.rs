//! The map as the replies of `CLUSTER NODES`, `SLOTS`, `SHARDS` and `INFO` need it: data, not text.
//!
//! What one node merely suspects of another, offsets and connections are not in the map; whoever writes the replies
//! adds them. Rules that clients rely on: runs of slots are maximal; all assigned slots are in `SLOTS`, whether or not
//! anybody leads; each node has one role within a reply.

use super::{ClusterMap, Health, NodeInfo, OpenSlot, ReplicaStatus, Role, Roles, SlotRange, Wanted};
use crate::Slot;
use crate::ids::{ConfigEpoch, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// One line of `CLUSTER NODES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine<'a> {
    pub id: NodeId,
    pub info: &'a NodeInfo,
    pub role: Role,
    /// A replica shows its master's.
    pub epoch: ConfigEpoch,
    pub slots: Vec<SlotRange>,
    /// Only in the line of the node that answers.
    pub open: Vec<OpenLine>,
}

/// A slot that is open, with the node at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenLine {
    pub slot: Slot,
    pub towards: Towards,
    pub node: NodeId,
}

/// Where the keys of an open slot go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// `[slot->-node]`
    MigratingTo,
    /// `[slot-<-node]`
    ImportingFrom,
}

/// One entry of `CLUSTER SLOTS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotsEntry {
    pub slots: SlotRange,
    pub master: NodeId,
    /// Those that are up and have a full copy.
    pub replicas: Vec<NodeId>,
}

/// One entry of `CLUSTER SHARDS`: a master with its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardEntry {
    pub slots: Vec<SlotRange>,
    pub master: ShardNode,
    pub replicas: Vec<ShardNode>,
}

/// A node within its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardNode {
    pub id: NodeId,
    pub health: ShardHealth,
}

/// How `CLUSTER SHARDS` calls a node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardHealth {
    Online,
    /// It has no full copy yet.
    Loading,
    Fail,
}

/// The figures of `CLUSTER INFO` that follow from the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub slots_assigned: usize,
    pub slots_ok: usize,
    pub slots_pfail: usize,
    pub slots_fail: usize,
    pub known_nodes: usize,
    /// Masters with slots.
    pub size: usize,
    pub current_epoch: ConfigEpoch,
    pub my_epoch: ConfigEpoch,
}

impl ClusterMap {
    /// The lines of `CLUSTER NODES` as `myself` shows them, by ascending id. A node is always shown itself.
    pub fn node_lines(&self, myself: NodeId) -> Vec<NodeLine<'_>> {
        let roles = Roles::of(self);
        let mut slots = self.slots_by_master(&roles);
        let mut open = self.open_lines(myself);
        let shown = self.nodes.iter().filter_map(|(&id, info)| {
            let role = roles.role(id).or_else(|| if id == myself { self.role(id) } else { None })?;
            Some((id, info, role))
        });
        let line = |(id, info, role)| NodeLine {
            id,
            info,
            role,
            epoch: self.shown_epoch(id),
            slots: slots.remove(&id).unwrap_or_default(),
            open: if id == myself { std::mem::take(&mut open) } else { Vec::new() },
        };
        shown.map(line).collect()
    }

    /// The entries of `CLUSTER SLOTS`, ascending. Neighbours with the same master and replicas are one.
    pub fn slots_entries(&self) -> Vec<SlotsEntry> {
        let roles = Roles::of(self);
        let mut replicas: BTreeMap<_, Vec<NodeId>> = BTreeMap::new();
        for (id, role) in roles.iter() {
            if let Role::ReplicaOf(_) = role
                && self.shard_health(id) == ShardHealth::Online
                && let Some(info) = self.node(id)
            {
                replicas.entry(info.home).or_default().push(id);
            }
        }
        let runs = self
            .slots
            .runs(|group| Some((roles.face(group)?, replicas.get(&group).map(Vec::as_slice).unwrap_or_default())));
        let entry = |(slots, (master, replicas)): (_, (_, &[NodeId]))| SlotsEntry {
            slots,
            master,
            replicas: replicas.to_vec(),
        };
        runs.into_iter().map(entry).collect()
    }

    /// The entries of `CLUSTER SHARDS`: one for each master, with and without slots.
    pub fn shard_entries(&self) -> Vec<ShardEntry> {
        let roles = Roles::of(self);
        let mut slots = self.slots_by_master(&roles);
        let node = |id| ShardNode { id, health: self.shard_health(id) };
        let entry = |master| ShardEntry {
            slots: slots.remove(&master).unwrap_or_default(),
            master: node(master),
            replicas: roles.replicas(master).iter().map(|&id| node(id)).collect(),
        };
        roles.masters().map(entry).collect()
    }

    /// The figures of `CLUSTER INFO` on `myself`, which suspects some nodes.
    pub fn summary(&self, myself: NodeId, is_suspected: impl Fn(NodeId) -> bool) -> Summary {
        let mut summary = Summary {
            slots_assigned: self.slots.assigned(),
            slots_ok: 0,
            slots_pfail: 0,
            slots_fail: 0,
            known_nodes: self.member_count(),
            size: 0,
            current_epoch: self.current_epoch,
            my_epoch: self.shown_epoch(myself),
        };
        let mut serving = BTreeSet::new();
        for (group, count) in self.slots.owners() {
            let Some(face) = self.face(group) else { continue };
            serving.insert(face);
            let figure = match self.node(face).map(|node| node.health) {
                Some(Health::Up) if is_suspected(face) => &mut summary.slots_pfail,
                Some(Health::Up) => &mut summary.slots_ok,
                Some(Health::Failed { .. }) | None => &mut summary.slots_fail,
            };
            *figure += count;
        }
        summary.size = serving.len();
        summary
    }

    /// Whether a node has a full copy of what its shard has, and is there to serve it.
    pub fn shard_health(&self, node: NodeId) -> ShardHealth {
        let Some(info) = self.node(node) else { return ShardHealth::Fail };
        if !info.is_up() {
            return ShardHealth::Fail;
        }
        if self.is_master(node) {
            return ShardHealth::Online;
        }
        let replica = self.group(info.home).and_then(|group| group.members.on(node));
        match replica.map(|replica| (replica.wanted, replica.status)) {
            Some((_, ReplicaStatus::Voter) | (Wanted::Learner, ReplicaStatus::Learner)) => ShardHealth::Online,
            _ => ShardHealth::Loading,
        }
    }

    fn slots_by_master(&self, roles: &Roles) -> BTreeMap<NodeId, Vec<SlotRange>> {
        let mut slots: BTreeMap<NodeId, Vec<SlotRange>> = BTreeMap::new();
        for (range, master) in self.slots.runs(|group| roles.face(group)) {
            slots.entry(master).or_default().push(range);
        }
        slots
    }

    fn open_lines(&self, node: NodeId) -> Vec<OpenLine> {
        let mut lines: Vec<OpenLine> = self
            .open
            .iter()
            .filter(|((group, _), _)| self.face(*group) == Some(node))
            .filter_map(|(&(_, slot), open)| {
                let towards = match open {
                    OpenSlot::Migrating { .. } => Towards::MigratingTo,
                    OpenSlot::Importing { .. } => Towards::ImportingFrom,
                };
                // Both ends may have come to one node, which then has nobody to ask.
                let other = self.face(open.other()).filter(|&other| other != node)?;
                Some(OpenLine { slot, towards, node: other })
            })
            .collect();
        lines.sort_unstable_by_key(|line| line.slot);
        // A node that leads two groups may have a slot open for both; it shows one.
        lines.dedup_by_key(|line| line.slot);
        lines
    }
}
