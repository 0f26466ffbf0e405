//! Slots that are opened, closed and handed over one by one: the parts of `CLUSTER SETSLOT`.

use super::super::migration::{MigrationKind, UNDER_WAY_MAX};
use super::super::{ClusterMap, OpenSlot, Refusal, SlotRange};
use super::Outcome;
use crate::Slot;
use crate::ids::{GroupId, MigrationId, NodeId};
use basalt_storage::clock::UnixMs;

const SETSLOT: &str = "SETSLOT";

impl ClusterMap {
    pub(super) fn open_migrating(&mut self, node: NodeId, slot: Slot, to: NodeId) -> Result<Outcome, Refusal> {
        self.must_be_master(node, SETSLOT)?;
        let owner = self.slots.owner(slot).filter(|&owner| self.face(owner) == Some(node));
        let owner = owner.ok_or(Refusal::NotOwner(slot))?;
        let to = self.known_master(to)?;
        self.not_in_migration(slot)?;
        // Redis lets a node migrate to itself, which then means nothing; so here.
        if to == owner {
            return Ok(Outcome::Unchanged);
        }
        Ok(self.open(owner, slot, OpenSlot::Migrating { to }))
    }

    pub(super) fn open_importing(&mut self, node: NodeId, slot: Slot, from: NodeId) -> Result<Outcome, Refusal> {
        self.must_be_master(node, SETSLOT)?;
        if self.owner(slot) == Some(node) {
            return Err(Refusal::AlreadyOwner(slot));
        }
        let group = self.receiving_group(node).ok_or(Refusal::OnlyWithMasters(SETSLOT))?;
        let theirs = self.known_master(from)?;
        self.not_in_migration(slot)?;
        if from == node {
            return Ok(Outcome::Unchanged);
        }
        // A node may lead several groups: the one meant is the one that has the slot.
        let from = self.slots.owner(slot).filter(|&owner| self.face(owner) == Some(from)).unwrap_or(theirs);
        Ok(self.open(group, slot, OpenSlot::Importing { from }))
    }

    pub(super) fn close_slot(&mut self, node: NodeId, slot: Slot) -> Result<Outcome, Refusal> {
        self.must_be_master(node, SETSLOT)?;
        Ok(Outcome::changed_if(self.clear_flags(node, slot)))
    }

    pub(super) fn give_to(
        &mut self,
        node: NodeId,
        slot: Slot,
        to: NodeId,
        id: MigrationId,
        at: UnixMs,
    ) -> Result<Outcome, Refusal> {
        self.must_be_master(node, SETSLOT)?;
        if self.member(to).is_none() {
            return Err(Refusal::UnknownNode(to));
        }
        let target = self.receiving_group(to).filter(|_| self.is_master(to)).ok_or(Refusal::TargetNotMaster)?;
        let Some(source) = self.slots.owner(slot) else {
            self.clear_flags(node, slot);
            self.own(slot, Some(target));
            return Ok(Outcome::Changed);
        };
        let owner = self.face(source);
        if owner == Some(to) {
            // redis-cli tells everybody; most have nothing to change.
            return Ok(Outcome::changed_if(self.clear_flags(node, slot)));
        }
        if let Some(moving) = self.migration_of(slot) {
            let is_same = moving.kind == MigrationKind::HandOver && moving.target == target;
            let refusal = Refusal::SlotInMigration { slot, id: moving.id };
            return if is_same { Ok(Outcome::StillHandingOver(moving.id)) } else { Err(refusal) };
        }
        if node != to && owner != Some(node) {
            // A bystander never moves ownership: in Redis this changes only its own view.
            return Ok(Outcome::Unchanged);
        }
        if self.migrations.contains_key(&id) {
            return Err(Refusal::MigrationExists(id));
        }
        if self.migrations_under_way().count() >= UNDER_WAY_MAX {
            return Err(Refusal::TooManyMigrations);
        }
        let record = self.beginning(id, MigrationKind::HandOver, vec![SlotRange::one(slot)], (source, target), at);
        self.migrations.insert(id, record);
        Ok(Outcome::HandingOver(id))
    }

    /// Closes a slot for all groups by which `node` is known. True if one had it open.
    pub(super) fn clear_flags(&mut self, node: NodeId, slot: Slot) -> bool {
        let groups: Vec<GroupId> = self.faced_by(node).collect();
        let before = self.open.len();
        for group in groups {
            self.open.remove(&(group, slot));
        }
        self.open.len() < before
    }

    fn open(&mut self, group: GroupId, slot: Slot, open: OpenSlot) -> Outcome {
        Outcome::changed_if(self.open.insert((group, slot), open) != Some(open))
    }

    /// The group that stands for a master at the other end.
    fn known_master(&self, node: NodeId) -> Result<GroupId, Refusal> {
        if self.member(node).is_none() {
            return Err(Refusal::DontKnowNode(node));
        }
        self.receiving_group(node).filter(|_| self.is_master(node)).ok_or(Refusal::TargetNotMaster)
    }
}
