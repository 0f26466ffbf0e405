//! Applying a change to the map: everything that a change may do, and when it is refused.
//!
//! Each function checks first and changes afterwards, so that a refusal leaves the map as it was. What follows from a
//! change by itself (groups that nobody needs any more, nodes that have gone) is done in one place,
//! [`ClusterMap::settle`], after each of them.

mod groups;
mod migrations;
mod nodes;
mod open;
mod slots;

use super::migration::{ENDED_HAND_OVERS_KEPT, ENDED_KEPT};
use super::{Change, ClusterMap, MigrationKind, REPLICAS_MAX, Refusal, Settings, Standing, Tombstone};
use crate::Slot;
use crate::ids::{ConfigEpoch, GroupId, MapVersion, MigrationId, NodeId};
use std::collections::BTreeMap;

/// What a change has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The map's version now; who waits for the change waits for this.
    pub version: MapVersion,
    pub outcome: Outcome,
}

/// What a change has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was so already.
    Unchanged,
    Changed,
    /// A node has this epoch now.
    Bumped(ConfigEpoch),
    /// A node has the highest epoch already, this one.
    StillHighest(ConfigEpoch),
    /// A slot is changing hands from now on, by the migration of this name.
    HandingOver(MigrationId),
    /// A slot is changing hands already.
    StillHandingOver(MigrationId),
    /// What each change of a transaction has done.
    All(Vec<Outcome>),
}

/// Largest number that is accepted from outside where the map counts on: far below the end of its type.
pub(super) const NUMBER_MAX: u64 = 1 << 62;

impl Outcome {
    fn has_changed(&self) -> bool {
        match self {
            Outcome::Unchanged | Outcome::StillHighest(_) | Outcome::StillHandingOver(_) => false,
            Outcome::Changed | Outcome::Bumped(_) | Outcome::HandingOver(_) => true,
            Outcome::All(outcomes) => outcomes.iter().any(Outcome::has_changed),
        }
    }

    fn changed_if(condition: bool) -> Outcome {
        if condition { Outcome::Changed } else { Outcome::Unchanged }
    }
}

impl ClusterMap {
    /// Does what `change` says, wholly or not at all.
    pub fn apply(&mut self, change: &Change) -> Result<Applied, Refusal> {
        let outcome = match change {
            Change::All(changes) => {
                let mut copy = self.clone();
                let outcomes = changes.iter().map(|change| copy.step(change)).collect::<Result<_, _>>()?;
                *self = copy;
                Outcome::All(outcomes)
            }
            change => self.step(change)?,
        };
        if outcome.has_changed() {
            self.version = self.version.next();
        }
        Ok(Applied { version: self.version, outcome })
    }

    /// What [`ClusterMap::apply`] would answer. Nothing needs to be proposed if that is [`Outcome::Unchanged`].
    pub fn preview(&self, change: &Change) -> Result<Outcome, Refusal> {
        self.clone().apply(change).map(|applied| applied.outcome)
    }

    fn step(&mut self, change: &Change) -> Result<Outcome, Refusal> {
        let outcome = self.change(change)?;
        if outcome.has_changed() {
            self.settle();
        }
        Ok(outcome)
    }

    fn change(&mut self, change: &Change) -> Result<Outcome, Refusal> {
        match change {
            Change::AssignSlots { node, slots } => self.assign_slots(*node, slots),
            Change::UnassignSlots { node, slots } => self.unassign_slots(*node, slots),
            Change::FlushSlots { node } => self.flush_slots(*node),
            Change::ForceOwn { node, slot } => self.force_own(*node, *slot),
            Change::OpenMigrating { node, slot, to } => self.open_migrating(*node, *slot, *to),
            Change::OpenImporting { node, slot, from } => self.open_importing(*node, *slot, *from),
            Change::CloseSlot { node, slot } => self.close_slot(*node, *slot),
            Change::GiveSlot { node, slot, to, id, at } => self.give_to(*node, *slot, *to, *id, *at),
            Change::BumpEpoch { node } => self.bump_epoch(*node),
            Change::SetConfigEpoch { node, epoch } => self.set_config_epoch(*node, *epoch),
            Change::Join(joining) => self.join(joining),
            Change::Register { node, incarnation, address, zone } => self.register(*node, *incarnation, address, zone),
            Change::SetHealth { node, health } => self.set_health(*node, *health),
            Change::Drain { node, removal } => self.drain(*node, *removal),
            Change::Forget { node, target } => self.forget(*node, *target),
            Change::Leave { node } => self.leave(*node),
            Change::Replicate { node, master } => self.replicate(*node, *master),
            Change::Failover { node, force } => self.failover(*node, *force),
            Change::LeaderChanged { group, replica, term } => self.leader_changed(*group, *replica, *term),
            Change::ReportReplicas { group, report } => self.report_replicas(*group, report),
            Change::AddReplica { group, node, wanted } => self.add_replica(*group, *node, *wanted),
            Change::RemoveReplica { group, replica } => self.remove_replica(*group, *replica),
            Change::RestartReplica { group, node } => self.restart_replica(*group, *node),
            Change::Refound { group, node } => self.refound(*group, *node),
            Change::SetPreferred { group, node } => self.set_preferred(*group, *node),
            Change::BeginMigrations { jobs, at } => self.begin_migrations(jobs, *at),
            Change::ReportStage { id, stage, at } => self.report_stage(*id, *stage, *at),
            Change::RestartMigration { id, at } => self.restart_migration(*id, *at),
            Change::CommitMigration { id, seen, at } => self.commit_migration(*id, *seen, *at),
            Change::AbortMigration { id, why, at } => self.abort_migration(*id, why, *at),
            Change::FinishMigration { id, side, seen, at } => self.finish_migration(*id, *side, *seen, *at),
            Change::Configure(settings) => self.configure(settings),
            Change::All(_) => Err(Refusal::Nested),
        }
    }

    fn configure(&mut self, settings: &Settings) -> Result<Outcome, Refusal> {
        if settings.replicas > REPLICAS_MAX {
            return Err(Refusal::BadSetting("replicas"));
        }
        let former = std::mem::replace(&mut self.settings, *settings);
        Ok(Outcome::changed_if(former != *settings))
    }

    /// What follows from any change by itself.
    fn settle(&mut self) {
        let homes = self.homes();
        let moving = self.moving_groups();
        let is_needless =
            |group: &GroupId| !homes.contains_key(group) && self.slots.count(*group) == 0 && !moving.contains(group);
        let needless: Vec<GroupId> = self.groups.keys().copied().filter(is_needless).collect();
        for group in needless {
            self.retire(group);
        }
        self.settle_preferred(&homes);
        self.bury_nodes();
        self.forget_ended(ENDED_KEPT, |kind| kind != MigrationKind::HandOver);
        self.forget_ended(ENDED_HAND_OVERS_KEPT, |kind| kind == MigrationKind::HandOver);
    }

    /// Gives up a group that owns nothing and is nobody's home.
    fn retire(&mut self, group: GroupId) {
        self.groups.remove(&group);
        self.retired.insert(group);
        self.open.retain(|(opener, _), open| *opener != group && open.other() != group);
    }

    /// Prefers a leader whose home the group is, if there is one, and else somebody who has a replica.
    fn settle_preferred(&mut self, homes: &BTreeMap<GroupId, Vec<NodeId>>) {
        for (id, group) in &mut self.groups {
            let leader = group.members.leader.node;
            match homes.get(id) {
                Some(homes) if homes.contains(&group.preferred) => {}
                Some(homes) if homes.contains(&leader) => group.preferred = leader,
                Some(homes) => {
                    let has_voter = |node: &&NodeId| group.members.on(**node).is_some_and(|replica| replica.is_firm());
                    group.preferred = *homes.iter().find(has_voter).unwrap_or(&homes[0]);
                }
                None if group.members.on(group.preferred).is_some() => {}
                None => group.preferred = leader,
            }
        }
    }

    /// Removes the nodes that were leaving, and of which no group has a replica any more.
    fn bury_nodes(&mut self) {
        let leaving: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.standing == Standing::Leaving)
            .map(|(&id, _)| id)
            .filter(|&id| !self.root.members.is_on(id) && !self.groups.values().any(|group| group.members.is_on(id)))
            .collect();
        for id in leaving {
            if let Some(node) = self.nodes.remove(&id) {
                self.tombstones.insert(id, Tombstone { incarnation: node.incarnation });
            }
        }
    }

    /// Drops the oldest records that have ended, beyond the number that is kept.
    fn forget_ended(&mut self, kept: usize, of_kind: impl Fn(MigrationKind) -> bool) {
        let mut ended: Vec<(MapVersion, MigrationId)> = self
            .migrations
            .values()
            .filter(|migration| !migration.is_under_way() && of_kind(migration.kind))
            .map(|migration| (migration.changed, migration.id))
            .collect();
        if ended.len() > kept {
            ended.sort_unstable();
            for (_, id) in &ended[..ended.len() - kept] {
                self.migrations.remove(id);
            }
        }
    }

    /// The version that this change makes.
    fn version_made(&self) -> MapVersion {
        self.version.next()
    }

    /// Gives a node the highest epoch.
    fn bump(&mut self, node: NodeId) -> Option<ConfigEpoch> {
        let info = self.nodes.get_mut(&node)?;
        self.current_epoch = self.current_epoch.next();
        info.epoch = self.current_epoch;
        Some(info.epoch)
    }

    /// Lets a slot change its owner. What the former and the new owner had it open for is over.
    fn own(&mut self, slot: Slot, owner: Option<GroupId>) {
        for group in [self.slots.owner(slot), owner].into_iter().flatten() {
            self.open.remove(&(group, slot));
        }
        self.slots.give(slot, owner);
    }

    /// Refuses what would change a slot that is bound to a migration.
    fn not_in_migration(&self, slot: Slot) -> Result<(), Refusal> {
        match self.migration_of(slot) {
            Some(migration) => Err(Refusal::SlotInMigration { slot, id: migration.id }),
            None => Ok(()),
        }
    }

    /// Refuses what would remove a group that takes part in a migration.
    fn group_not_in_migration(&self, group: GroupId) -> Result<(), Refusal> {
        let mut moving = self.migrations_under_way().filter(|moving| moving.concerns(group));
        match moving.find_map(|migration| Some((migration.slots.first()?.first(), migration.id))) {
            Some((slot, id)) => Err(Refusal::SlotInMigration { slot, id }),
            None => Ok(()),
        }
    }
}
