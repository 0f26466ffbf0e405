//! Slots that are assigned and unassigned at once, and epochs.

use super::super::{ClusterMap, Refusal, SlotRange};
use super::{NUMBER_MAX, Outcome};
use crate::Slot;
use crate::ids::{ConfigEpoch, NodeId};
use std::collections::BTreeSet;

impl ClusterMap {
    pub(super) fn assign_slots(&mut self, node: NodeId, ranges: &[SlotRange]) -> Result<Outcome, Refusal> {
        self.must_be_master(node, "ADDSLOTS")?;
        let group = self.receiving_group(node).ok_or(Refusal::OnlyWithMasters("ADDSLOTS"))?;
        let mut slots = BTreeSet::new();
        for slot in ranges.iter().flat_map(|range| range.slots()) {
            if self.slots.owner(slot).is_some() {
                return Err(Refusal::SlotBusy(slot));
            }
            if !slots.insert(slot) {
                return Err(Refusal::SlotRepeated(slot));
            }
        }
        for &slot in &slots {
            self.own(slot, Some(group));
        }
        Ok(Outcome::changed_if(!slots.is_empty()))
    }

    pub(super) fn unassign_slots(&mut self, node: NodeId, ranges: &[SlotRange]) -> Result<Outcome, Refusal> {
        self.must_be_member(node)?;
        let mut seen = BTreeSet::new();
        let mut owned = Vec::new();
        for slot in ranges.iter().flat_map(|range| range.slots()) {
            let Some(owner) = self.slots.owner(slot) else { return Err(Refusal::SlotUnassigned(slot)) };
            if !seen.insert(slot) {
                return Err(Refusal::SlotRepeated(slot));
            }
            // A repair sends this to nodes that do not own the slot; in Redis that changes only their own view.
            if self.face(owner) == Some(node) {
                self.not_in_migration(slot)?;
                owned.push(slot);
            }
        }
        for &slot in &owned {
            self.own(slot, None);
        }
        Ok(Outcome::changed_if(!owned.is_empty()))
    }

    pub(super) fn flush_slots(&mut self, node: NodeId) -> Result<Outcome, Refusal> {
        self.must_be_member(node)?;
        let owned: Vec<Slot> = Slot::all().filter(|&slot| self.owner(slot) == Some(node)).collect();
        for &slot in &owned {
            self.not_in_migration(slot)?;
        }
        for &slot in &owned {
            self.own(slot, None);
        }
        Ok(Outcome::changed_if(!owned.is_empty()))
    }

    pub(super) fn force_own(&mut self, node: NodeId, slot: Slot) -> Result<Outcome, Refusal> {
        self.must_be_master(node, "ADDSLOTS")?;
        let group = self.receiving_group(node).ok_or(Refusal::OnlyWithMasters("ADDSLOTS"))?;
        self.not_in_migration(slot)?;
        self.clear_flags(node, slot);
        if self.owner(slot) != Some(node) {
            self.own(slot, Some(group));
        }
        let epoch = self.bump(node).ok_or(Refusal::UnknownNode(node))?;
        Ok(Outcome::Bumped(epoch))
    }

    pub(super) fn bump_epoch(&mut self, node: NodeId) -> Result<Outcome, Refusal> {
        let epoch = self.node(node).ok_or(Refusal::UnknownNode(node))?.epoch;
        if epoch.0 != 0 && epoch == self.current_epoch {
            return Ok(Outcome::StillHighest(epoch));
        }
        self.bump(node).map(Outcome::Bumped).ok_or(Refusal::UnknownNode(node))
    }

    pub(super) fn set_config_epoch(&mut self, node: NodeId, epoch: ConfigEpoch) -> Result<Outcome, Refusal> {
        if self.nodes.len() > 1 {
            return Err(Refusal::EpochNotAlone);
        }
        let current = self.current_epoch;
        let info = self.nodes.get_mut(&node).ok_or(Refusal::UnknownNode(node))?;
        if info.epoch.0 != 0 {
            return Err(Refusal::EpochNotZero);
        }
        if epoch.0 > NUMBER_MAX {
            return Err(Refusal::InvalidEpoch(epoch));
        }
        info.epoch = epoch;
        self.current_epoch = current.max(epoch);
        Ok(Outcome::changed_if(epoch.0 != 0))
    }

    pub(super) fn must_be_member(&self, node: NodeId) -> Result<(), Refusal> {
        self.member(node).map(|_| ()).ok_or(Refusal::UnknownNode(node))
    }

    pub(super) fn must_be_master(&self, node: NodeId, command: &'static str) -> Result<(), Refusal> {
        self.must_be_member(node)?;
        if self.is_master(node) { Ok(()) } else { Err(Refusal::OnlyWithMasters(command)) }
    }
}
