//! The steps of a migration, as far as they are decided here.
//!
//! Every step can be asked for again: what has happened already changes nothing, and what can no longer happen is
//! refused. Only a commit changes owners.

use super::super::migration::{Migration, Phase, UNDER_WAY_MAX};
use super::super::{
    ClusterMap, Ending, Failure, Job, MigrationKind, OpenSlot, Part, REASON_LEN_MAX, Refusal, Side, Sides, SlotRange,
    Stage,
};
use super::Outcome;
use crate::Slot;
use crate::ids::{GroupId, MapVersion, MigrationId, NodeId};
use basalt_storage::clock::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

impl ClusterMap {
    pub(super) fn begin_migrations(&mut self, jobs: &[Job], at: UnixMs) -> Result<Outcome, Refusal> {
        let bound: BTreeSet<Slot> = self.migrations_under_way().flat_map(Migration::all_slots).collect();
        let mut records: BTreeMap<MigrationId, Migration> = BTreeMap::new();
        let mut taken: BTreeSet<Slot> = BTreeSet::new();
        for job in jobs {
            let (source, target) = self.ends_of(job)?;
            for slot in job.slots.iter().flat_map(|range| range.slots()) {
                self.may_migrate(slot, &bound)?;
                if !taken.insert(slot) {
                    return Err(Refusal::JobsOverlap);
                }
            }
            let record = self.beginning(job.id, job.kind, job.slots.clone(), (source, target), at);
            if self.migrations.contains_key(&job.id) || records.insert(job.id, record).is_some() {
                return Err(Refusal::MigrationExists(job.id));
            }
        }
        if self.migrations_under_way().count() + records.len() > UNDER_WAY_MAX {
            return Err(Refusal::TooManyMigrations);
        }
        let changes = !records.is_empty();
        self.migrations.extend(records);
        Ok(Outcome::changed_if(changes))
    }

    /// The record of a migration that begins with the change that is being made.
    pub(super) fn beginning(
        &self,
        id: MigrationId,
        kind: MigrationKind,
        slots: Vec<SlotRange>,
        (source, target): (GroupId, GroupId),
        at: UnixMs,
    ) -> Migration {
        let version = self.version_made();
        Migration {
            id,
            kind,
            slots,
            source,
            target,
            phase: Phase::Copying(Stage::Starting),
            begun: version,
            changed: version,
            created_at: at,
            updated_at: at,
        }
    }

    pub(super) fn report_stage(&mut self, id: MigrationId, stage: Stage, at: UnixMs) -> Result<Outcome, Refusal> {
        let migration = self.migration_mut(id)?;
        match &mut migration.phase {
            Phase::Copying(known) if *known != stage => *known = stage,
            _ => return Ok(Outcome::Unchanged),
        }
        migration.updated_at = at;
        Ok(Outcome::Changed)
    }

    pub(super) fn restart_migration(&mut self, id: MigrationId, at: UnixMs) -> Result<Outcome, Refusal> {
        let version = self.version_made();
        let migration = self.migration_mut(id)?;
        match migration.phase {
            Phase::Copying(_) => migration.phase = Phase::Copying(Stage::Starting),
            Phase::Finishing(_) | Phase::Ended(Ending::Done) => return Err(Refusal::TooLate(id)),
            Phase::Aborting { .. } | Phase::Ended(Ending::NotDone(_)) => return Err(Refusal::Aborted(id)),
        }
        migration.changed = version;
        migration.updated_at = at;
        Ok(Outcome::Changed)
    }

    pub(super) fn commit_migration(
        &mut self,
        id: MigrationId,
        seen: MapVersion,
        at: UnixMs,
    ) -> Result<Outcome, Refusal> {
        let version = self.version_made();
        let migration = self.migration_mut(id)?;
        if migration.is_committed() {
            return Ok(Outcome::Unchanged);
        }
        if !matches!(migration.phase, Phase::Copying(_)) {
            return Err(Refusal::Aborted(id));
        }
        if seen < migration.changed {
            return Err(Refusal::BegunAnew(id));
        }
        migration.phase = Phase::Finishing(Sides::BOTH_DUE);
        migration.changed = version;
        migration.updated_at = at;
        let (kind, target) = (migration.kind, migration.target);
        let slots: Vec<Slot> = migration.all_slots().collect();
        for slot in slots {
            self.own(slot, Some(target));
        }
        if kind == MigrationKind::HandOver {
            // Nothing is to be published or cleared away, and whoever waits sees the new owner.
            self.migrations.remove(&id);
        }
        if let Some(face) = self.face(target) {
            self.bump(face);
        }
        Ok(Outcome::Changed)
    }

    pub(super) fn abort_migration(&mut self, id: MigrationId, why: &Failure, at: UnixMs) -> Result<Outcome, Refusal> {
        if matches!(why, Failure::Failed(reason) if reason.len() > REASON_LEN_MAX) {
            return Err(Refusal::BadSetting("the reason of a failure"));
        }
        let version = self.version_made();
        let migration = self.migration_mut(id)?;
        match &migration.phase {
            Phase::Copying(_) => {}
            Phase::Finishing(_) | Phase::Ended(Ending::Done) => return Err(Refusal::TooLate(id)),
            Phase::Aborting { .. } | Phase::Ended(Ending::NotDone(_)) => return Ok(Outcome::Unchanged),
        }
        migration.phase = match migration.kind {
            MigrationKind::HandOver => Phase::Ended(Ending::NotDone(why.clone())),
            _ => Phase::Aborting { why: why.clone(), sides: Sides::BOTH_DUE },
        };
        migration.changed = version;
        migration.updated_at = at;
        Ok(Outcome::Changed)
    }

    pub(super) fn finish_migration(
        &mut self,
        id: MigrationId,
        side: Side,
        seen: MapVersion,
        at: UnixMs,
    ) -> Result<Outcome, Refusal> {
        let version = self.version_made();
        // A record may have been dropped long after it ended.
        let Some(migration) = self.migrations.get_mut(&id) else { return Ok(Outcome::Unchanged) };
        if seen < migration.changed {
            return Ok(Outcome::Unchanged);
        }
        let (sides, ending) = match &mut migration.phase {
            Phase::Finishing(sides) => (sides, Ending::Done),
            Phase::Aborting { why, sides } => (sides, Ending::NotDone(why.clone())),
            Phase::Copying(_) | Phase::Ended(_) => return Ok(Outcome::Unchanged),
        };
        if std::mem::replace(sides.part_mut(side), Part::Done) == Part::Done {
            return Ok(Outcome::Unchanged);
        }
        if sides.are_done() {
            migration.phase = Phase::Ended(ending);
            migration.changed = version;
        }
        migration.updated_at = at;
        Ok(Outcome::Changed)
    }

    /// Source and target of a job, if the nodes that it names can be that.
    fn ends_of(&self, job: &Job) -> Result<(GroupId, GroupId), Refusal> {
        if let Some(from) = job.from {
            self.must_be_member(from)?;
            if !self.is_master(from) {
                return Err(Refusal::OnlyPrimariesMigrate);
            }
        }
        if self.member(job.to).is_none() {
            return Err(Refusal::UnknownTarget(job.to));
        }
        if job.from == Some(job.to) {
            return Err(Refusal::TargetIsMyself);
        }
        let target = self.receiving_group(job.to).filter(|_| self.is_master(job.to)).ok_or(Refusal::TargetNotMaster)?;
        if job.kind == MigrationKind::HandOver {
            return Err(Refusal::BadSetting("the kind of a migration"));
        }
        let mut source = None;
        for slot in job.slots.iter().flat_map(|range| range.slots()) {
            let owner = match (self.slots.owner(slot), job.from) {
                (Some(owner), None) => owner,
                (Some(owner), Some(from)) if self.face(owner) == Some(from) => owner,
                (_, Some(_)) => return Err(Refusal::SlotsNotServed),
                (None, None) => return Err(Refusal::SlotUnassigned(slot)),
            };
            if *source.get_or_insert(owner) != owner {
                return Err(Refusal::SeveralSources);
            }
        }
        let source = source.ok_or(Refusal::SlotsNotServed)?;
        if source == target { Err(Refusal::TargetIsMyself) } else { Ok((source, target)) }
    }

    fn may_migrate(&self, slot: Slot, bound: &BTreeSet<Slot>) -> Result<(), Refusal> {
        if bound.contains(&slot) {
            return Err(Refusal::AlreadyMigrating(slot));
        }
        match self.open.iter().find(|((_, open), _)| *open == slot) {
            Some((_, OpenSlot::Migrating { .. })) => Err(Refusal::ManuallyMigrated),
            Some((_, OpenSlot::Importing { .. })) => Err(Refusal::ManuallyImported),
            None => Ok(()),
        }
    }

    fn migration_mut(&mut self, id: MigrationId) -> Result<&mut Migration, Refusal> {
        self.migrations.get_mut(&id).ok_or(Refusal::UnknownMigration(id))
    }
}

/// The node that a migration goes to or comes from, for those who show it.
impl ClusterMap {
    pub fn source_node(&self, migration: &Migration) -> Option<NodeId> {
        self.face(migration.source)
    }

    pub fn target_node(&self, migration: &Migration) -> Option<NodeId> {
        self.face(migration.target)
    }
}
