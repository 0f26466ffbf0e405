//! Replicas of groups, and who leads.
//!
//! The map only says what is wanted; what a group has made of that it reports. A report counts only from the leader
//! that the map knows, and a replica counts as gone only if that leader knew that it was to go: so no number of a
//! replica can be in a configuration of Raft and not in the map.

use super::super::group::{Leader, REPLICAS_PER_GROUP_MAX};
use super::super::{ClusterMap, Members, Mode, Refusal, ReplicaInfo, ReplicaStatus, Report, Wanted};
use super::Outcome;
use crate::ids::{GroupId, NodeId, ReplicaId, Term};

impl ClusterMap {
    pub(super) fn leader_changed(
        &mut self,
        group: GroupId,
        replica: ReplicaId,
        term: Term,
    ) -> Result<Outcome, Refusal> {
        let members = self.members_mut(group)?;
        let former = members.leader;
        let info = *members.replica(replica).ok_or(Refusal::UnknownReplica(group))?;
        if term <= former.term {
            return Ok(Outcome::Unchanged);
        }
        members.leader = Leader { replica, node: info.node, term };
        // As in Redis, whoever takes over slots gets an epoch above all others.
        if former.node != info.node && self.slots.count(group) > 0 {
            self.bump(info.node);
        }
        Ok(Outcome::Changed)
    }

    pub(super) fn report_replicas(&mut self, group: GroupId, report: &Report) -> Result<Outcome, Refusal> {
        let members = self.members_mut(group)?;
        if report.term != members.leader.term {
            return Ok(Outcome::Unchanged);
        }
        let before = members.clone();
        let knows_wishes = report.seen >= members.wanted_since;
        let present =
            |replica: &ReplicaInfo| report.present.iter().find(|(id, _)| *id == replica.id).map(|(_, status)| *status);
        let leader = members.leader.replica;
        members.replicas.retain(|replica| {
            let is_gone = knows_wishes && replica.wanted == Wanted::Leaving && present(replica).is_none();
            !is_gone || replica.id == leader
        });
        for replica in &mut members.replicas {
            match present(replica) {
                Some(status) => replica.status = status,
                None if knows_wishes => replica.status = ReplicaStatus::Planned,
                None => {}
            }
        }
        let changes = *members != before;
        Ok(Outcome::changed_if(changes))
    }

    pub(super) fn add_replica(&mut self, group: GroupId, node: NodeId, wanted: Wanted) -> Result<Outcome, Refusal> {
        self.must_be_member(node)?;
        if group != self.root.id {
            self.must_have_replicas()?;
        }
        let version = self.version_made();
        let members = self.members_mut(group)?;
        if members.is_on(node) {
            return Err(Refusal::ReplicaExists { group, node });
        }
        if wanted == Wanted::Leaving || members.replicas.len() >= REPLICAS_PER_GROUP_MAX {
            return Err(Refusal::TooManyReplicas(group));
        }
        members.add(node, wanted);
        members.wanted_since = version;
        Ok(Outcome::Changed)
    }

    pub(super) fn remove_replica(&mut self, group: GroupId, replica: ReplicaId) -> Result<Outcome, Refusal> {
        let version = self.version_made();
        let members = self.members_mut(group)?;
        // Ids are never used again, so one that is not there has gone.
        let Some(info) = members.replica(replica).copied() else { return Ok(Outcome::Unchanged) };
        if info.wanted == Wanted::Leaving {
            return Ok(Outcome::Unchanged);
        }
        if !members.staying().any(|other| other.id != replica && other.is_firm()) {
            return Err(Refusal::LastVoter(group));
        }
        members.part_from(info.node, version);
        Ok(Outcome::Changed)
    }

    pub(super) fn restart_replica(&mut self, group: GroupId, node: NodeId) -> Result<Outcome, Refusal> {
        self.must_be_member(node)?;
        self.must_spare(group, node)?;
        let version = self.version_made();
        let members = self.members_mut(group)?;
        let Some(former) = members.on(node).copied() else { return Err(Refusal::UnknownReplica(group)) };
        if members.replicas.len() >= REPLICAS_PER_GROUP_MAX {
            return Err(Refusal::TooManyReplicas(group));
        }
        members.part_from(node, version);
        members.add(node, former.wanted);
        Ok(Outcome::Changed)
    }

    pub(super) fn refound(&mut self, group: GroupId, node: NodeId) -> Result<Outcome, Refusal> {
        self.must_be_member(node)?;
        let info = self.groups.get(&group).ok_or(Refusal::UnknownGroup(group))?;
        if info.members.on(node).is_none() {
            return Err(Refusal::UnknownReplica(group));
        }
        // What this node had of it is lost, or is not enough; or there is nothing to be lost.
        let lives =
            |replica: &ReplicaInfo| replica.node != node && self.node(replica.node).is_some_and(|other| other.is_up());
        if info.members.has_majority(lives) && !(self.mode == Mode::Cache && self.is_idle(group)) {
            return Err(Refusal::HasMajority(group));
        }
        let copying = |moving: &&super::super::Migration| {
            moving.concerns(group) && !moving.is_committed() && !moving.is_aborting()
        };
        if let Some(moving) = self.migrations_under_way().find(copying) {
            let slot = moving.slots.first().map(|range| range.first());
            return Err(slot.map_or(Refusal::UnknownMigration(moving.id), |slot| Refusal::SlotInMigration {
                slot,
                id: moving.id,
            }));
        }
        let members = Members::alone(info.members.next_replica, node, Term(0), self.version_made());
        if let Some(info) = self.groups.get_mut(&group) {
            info.members = members;
        }
        // A leader of the lost state that still lives must not pass for the owner.
        let owned: Vec<_> = self.slots.iter().filter(|(_, info)| info.owner == Some(group)).collect();
        for (slot, _) in &owned {
            self.slots.give(*slot, Some(group));
        }
        if !owned.is_empty() {
            self.bump(node);
        }
        Ok(Outcome::Changed)
    }

    pub(super) fn set_preferred(&mut self, group: GroupId, node: NodeId) -> Result<Outcome, Refusal> {
        self.must_be_member(node)?;
        let homes: Vec<NodeId> = self.home_nodes(group).collect();
        let may_lead = homes.is_empty() || homes.contains(&node);
        let info = self.groups.get_mut(&group).ok_or(Refusal::UnknownGroup(group))?;
        let votes = info.members.on(node).is_some_and(|replica| replica.wanted == Wanted::Voter);
        if !may_lead || !votes {
            return Err(Refusal::NotPreferable { group, node });
        }
        let former = std::mem::replace(&mut info.preferred, node);
        Ok(Outcome::changed_if(former != node))
    }

    fn members_mut(&mut self, group: GroupId) -> Result<&mut Members, Refusal> {
        if group == self.root.id {
            return Ok(&mut self.root.members);
        }
        self.groups.get_mut(&group).map(|group| &mut group.members).ok_or(Refusal::UnknownGroup(group))
    }
}
