//! Nodes that join, are up or down, change their master, and go.
//!
//! A node goes in two steps. First it is *leaving*: no client is shown it any more, and its replicas are wanted no
//! more. Only when every group has parted from its replica there does a tombstone take its place: a group of two voters
//! could not part from one that has been wiped already.

use super::super::group::VOTERS_MAX;
use super::super::{
    Address, ClusterMap, Force, GroupInfo, Health, Joining, Members, Mode, NodeInfo, Refusal, Removal, ReplicaStatus,
    Role, Standing, Wanted, ZONE_LEN_MAX,
};
use super::{NUMBER_MAX, Outcome};
use crate::ids::{GroupId, Incarnation, NodeId, SlotEpoch};
use std::collections::BTreeMap;

impl ClusterMap {
    /// Takes a node in, with its home group as it is, and with those of its claims that hold.
    pub(super) fn join(&mut self, joining: &Joining) -> Result<Outcome, Refusal> {
        let Joining { node, incarnation, address, zone, epoch, home, shard, replica, term, claims, mode } = joining;
        if *mode != self.mode {
            return Err(Refusal::OtherMode { node: *node, there: *mode, here: self.mode });
        }
        if let Some(info) = self.node(*node) {
            return match info.standing {
                Standing::Leaving => Err(Refusal::StillLeaving(*node)),
                // Asked for again, since the answer was lost.
                _ if info.home == *home => self.register(*node, *incarnation, address, zone),
                _ => Err(Refusal::NodeExists(*node)),
            };
        }
        let tombstone = self.tombstones.get(node);
        if tombstone.is_some_and(|tombstone| *incarnation < tombstone.incarnation || self.is_retired(*home)) {
            return Err(Refusal::Removed(*node));
        }
        let shard_is_taken = self.groups.values().any(|group| group.shard == *shard);
        if self.root.id == *home || self.groups.contains_key(home) || self.is_retired(*home) || shard_is_taken {
            return Err(Refusal::GroupExists(*home));
        }
        Self::must_be_usable(*node, address, zone)?;
        if epoch.0 > NUMBER_MAX {
            return Err(Refusal::InvalidEpoch(*epoch));
        }
        if replica.0 == 0 || replica.0 > NUMBER_MAX || claims.iter().any(|claim| claim.epoch.0 > NUMBER_MAX) {
            return Err(Refusal::UnknownReplica(*home));
        }
        let mut claimed: BTreeMap<_, SlotEpoch> = BTreeMap::new();
        for claim in claims {
            if let Some(slot) = claim.slots.slots().find(|&slot| claimed.insert(slot, claim.epoch).is_some()) {
                return Err(Refusal::SlotRepeated(slot));
            }
        }

        // Decided before the node is in, by the epochs of those who have the slots now.
        claimed.retain(|&slot, _| match self.owner(slot) {
            None => true,
            Some(owner) => *epoch > self.shown_epoch(owner) && self.migration_of(slot).is_none(),
        });
        let is_free = epoch.0 != 0 && self.nodes.values().all(|other| other.epoch != *epoch);
        self.current_epoch = if is_free { self.current_epoch.max(*epoch) } else { self.current_epoch.next() };
        let info = NodeInfo {
            address: address.clone(),
            incarnation: *incarnation,
            home: *home,
            zone: zone.clone(),
            health: Health::Up,
            standing: Standing::Member,
            epoch: if is_free { *epoch } else { self.current_epoch },
        };
        self.tombstones.remove(node);
        self.nodes.insert(*node, info);
        let members = Members::alone(*replica, *node, *term, self.version_made());
        self.groups.insert(*home, GroupInfo { shard: *shard, members, preferred: *node });
        for (slot, claim) in claimed {
            // The home group has fenced this slot with its own epoch so far; what is told to it now must be later.
            let former = self.slots.info(slot);
            if let Some(owner) = former.owner {
                self.open.remove(&(owner, slot));
            }
            self.slots.set(slot, Some(*home), former.epoch.max(claim).next());
        }
        Ok(Outcome::Changed)
    }

    pub(super) fn register(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        address: &Address,
        zone: &str,
    ) -> Result<Outcome, Refusal> {
        Self::must_be_usable(node, address, zone)?;
        let info = self.nodes.get_mut(&node).ok_or(Refusal::UnknownNode(node))?;
        if incarnation < info.incarnation {
            return Err(Refusal::StaleIncarnation(node));
        }
        let changes = info.incarnation != incarnation || info.address != *address || info.zone != zone;
        if changes {
            info.incarnation = incarnation;
            info.address = address.clone();
            info.zone = zone.to_owned();
        }
        Ok(Outcome::changed_if(changes))
    }

    pub(super) fn set_health(&mut self, node: NodeId, health: Health) -> Result<Outcome, Refusal> {
        let info = self.nodes.get_mut(&node).ok_or(Refusal::UnknownNode(node))?;
        let changes = match (info.health, health) {
            (Health::Up, Health::Up) => false,
            // It has been failed since it was first found so.
            (Health::Failed { .. }, Health::Failed { .. }) => false,
            (Health::Up, Health::Failed { .. }) | (Health::Failed { .. }, Health::Up) => true,
        };
        if changes {
            info.health = health;
        }
        Ok(Outcome::changed_if(changes))
    }

    pub(super) fn drain(&mut self, node: NodeId, removal: Removal) -> Result<Outcome, Refusal> {
        self.must_be_member(node)?;
        let standing = match removal {
            Removal::Wanted => Standing::Draining,
            Removal::NotWanted => Standing::Member,
        };
        let info = self.nodes.get_mut(&node).ok_or(Refusal::UnknownNode(node))?;
        let former = std::mem::replace(&mut info.standing, standing);
        Ok(Outcome::changed_if(former != standing))
    }

    pub(super) fn forget(&mut self, node: NodeId, target: NodeId) -> Result<Outcome, Refusal> {
        if node == target {
            return Err(Refusal::ForgetMyself);
        }
        // A replica may be asked to forget its empty master: it gets another home then.
        if self.role(node) == Some(Role::ReplicaOf(target)) && self.leads_slots(target) {
            return Err(Refusal::ForgetMaster);
        }
        self.remove_node(target)
    }

    pub(super) fn leave(&mut self, node: NodeId) -> Result<Outcome, Refusal> {
        self.remove_node(node)
    }

    /// Begins to remove a node. That it is on its way already, or has gone, is no error: everybody is told.
    fn remove_node(&mut self, node: NodeId) -> Result<Outcome, Refusal> {
        let Some(info) = self.node(node) else {
            let is_known = self.tombstones.contains_key(&node);
            return if is_known { Ok(Outcome::Unchanged) } else { Err(Refusal::UnknownNode(node)) };
        };
        if info.standing == Standing::Leaving {
            return Ok(Outcome::Unchanged);
        }
        if self.leads_slots(node) {
            return Err(Refusal::ServesSlots(node));
        }
        let home = info.home;
        let root = &self.root.members;
        if root.on(node).is_some() && !root.staying().any(|replica| replica.node != node && replica.is_firm()) {
            return Err(Refusal::LastRootVoter(node));
        }
        let goes_along = self.slots.count(home) == 0 && self.home_nodes(home).all(|other| other == node);
        if goes_along {
            self.group_not_in_migration(home)?;
        }
        for (&id, group) in &self.groups {
            let is_retired = goes_along && id == home;
            if !is_retired && group.members.on(node).is_some() {
                self.must_spare(id, node)?;
            }
        }

        let version = self.version_made();
        let data = self.groups.values_mut().map(|group| &mut group.members);
        for members in data.chain([&mut self.root.members]) {
            for replica in members.replicas.iter_mut().filter(|replica| replica.node == node) {
                replica.wanted = Wanted::Leaving;
                members.wanted_since = version;
            }
        }
        if let Some(info) = self.nodes.get_mut(&node) {
            info.standing = Standing::Leaving;
        }
        Ok(Outcome::Changed)
    }

    pub(super) fn replicate(&mut self, node: NodeId, master: NodeId) -> Result<Outcome, Refusal> {
        let old_home = self.member(node).ok_or(Refusal::UnknownNode(node))?.home;
        self.member(master).ok_or(Refusal::UnknownNode(master))?;
        if node == master {
            return Err(Refusal::ReplicateMyself);
        }
        self.must_have_replicas()?;
        let home = self.receiving_group(master).filter(|_| self.is_master(master)).ok_or(Refusal::ReplicateReplica)?;
        if self.leads_slots(node) {
            return Err(Refusal::NotEmpty);
        }
        if old_home == home {
            return Ok(Outcome::Unchanged);
        }
        // Replicas of an empty master go along with it, as in Redis, where a replica of a replica follows its master.
        let moving: Vec<NodeId> = match self.face(old_home) {
            Some(face) if face == node => self.home_nodes(old_home).collect(),
            _ => vec![node],
        };
        let stays = self.slots.count(old_home) > 0 || self.home_nodes(old_home).any(|other| !moving.contains(&other));
        if stays {
            if self.groups.get(&old_home).is_some_and(|group| group.members.on(node).is_some()) {
                self.must_spare(old_home, node)?;
            }
        } else {
            self.group_not_in_migration(old_home)?;
        }

        let version = self.version_made();
        if stays && let Some(group) = self.groups.get_mut(&old_home) {
            group.members.part_from(node, version);
        }
        for moved in moving {
            if let Some(info) = self.nodes.get_mut(&moved) {
                info.home = home;
            }
            let Some(group) = self.groups.get_mut(&home) else { continue };
            // A replica there that is leaving must have gone before there can be another: placement sees to it.
            if !group.members.is_on(moved) {
                let voters = group.members.staying().filter(|replica| replica.wanted == Wanted::Voter).count();
                group.members.add(moved, if voters < VOTERS_MAX { Wanted::Voter } else { Wanted::Learner });
                group.members.wanted_since = version;
            }
        }
        Ok(Outcome::Changed)
    }

    pub(super) fn failover(&mut self, node: NodeId, force: Force) -> Result<Outcome, Refusal> {
        let home = self.member(node).ok_or(Refusal::UnknownNode(node))?.home;
        let Some(Role::ReplicaOf(master)) = self.role(node) else { return Err(Refusal::FailoverNotReplica) };
        if force == Force::HandOver && self.node(master).is_none_or(|master| !master.is_up()) {
            return Err(Refusal::MasterFailed);
        }
        let group = self.groups.get_mut(&home).ok_or(Refusal::UnknownGroup(home))?;
        if group.members.on(node).is_none_or(|replica| replica.status != ReplicaStatus::Voter) {
            return Err(Refusal::NotCaughtUp);
        }
        let former = std::mem::replace(&mut group.preferred, node);
        Ok(Outcome::changed_if(former != node))
    }

    /// Refuses what would take the last dependable voter but the one on `node` from a group.
    pub(super) fn must_spare(&self, group: GroupId, node: NodeId) -> Result<(), Refusal> {
        let members = self.members(group).ok_or(Refusal::UnknownGroup(group))?;
        let remains = members.staying().any(|replica| replica.node != node && replica.is_firm());
        if remains { Ok(()) } else { Err(Refusal::LastVoter(group)) }
    }

    /// Refuses what would need a second copy of a group's data where there is to be one.
    pub(super) fn must_have_replicas(&self) -> Result<(), Refusal> {
        let has_replicas = self.mode == Mode::Durable || self.settings.replicas > 0;
        if has_replicas { Ok(()) } else { Err(Refusal::NoReplicas) }
    }

    fn must_be_usable(node: NodeId, address: &Address, zone: &str) -> Result<(), Refusal> {
        if address.is_sound() && zone.len() <= ZONE_LEN_MAX { Ok(()) } else { Err(Refusal::BadAddress(node)) }
    }
}
