//! Records of slots that change their group: the one place where it is decided who owns them, and how far that is.
//!
//! A record is a small state machine that any leader of the root group, of the source or of the target can drive on:
//!
//! ```text
//! Copying ── commit ──► Finishing ── both sides ──► Ended(Done)
//!    └────── abort ───► Aborting  ── both sides ──► Ended(Failed | Cancelled)
//! ```
//!
//! The commit is the only point at which owners change; before it everything can be taken back, after it only carried
//! through. Invariant: the slots of a record that has not ended belong to its source until the commit, to its target
//! from then on, are in no other such record, and not open for the keywise protocol. A record of a handed-over slot
//! (`CLUSTER SETSLOT ... NODE`) has no data to clear away: its commit ends it, and so does its abort.

use super::slots::SlotRange;
use crate::Slot;
use crate::ids::{GroupId, MapVersion, MigrationId};
use basalt_storage::clock::UnixMs;

/// How many ended records of whole migrations are kept for those who ask.
pub const ENDED_KEPT: usize = 256;
/// How many ended records of failed hand-overs are kept: long enough for whoever waits for one.
pub const ENDED_HAND_OVERS_KEPT: usize = 64;
/// How many records may be under way at once.
pub const UNDER_WAY_MAX: usize = 1024;
/// Longest reason for a failure.
pub const REASON_LEN_MAX: usize = 256;

/// Slots on their way from one group to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    pub id: MigrationId,
    pub kind: MigrationKind,
    /// As they were asked for, since clients compare the text.
    pub slots: Vec<SlotRange>,
    pub source: GroupId,
    pub target: GroupId,
    pub phase: Phase,
    /// The version that began it: later ones have higher numbers.
    pub begun: MapVersion,
    /// The version of its last change of phase: what a driver orders with an older one is refused.
    pub changed: MapVersion,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
}

/// Who has asked, and thereby what moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationKind {
    /// All keys, asked for at the source (Valkey's dialect).
    FromSource,
    /// All keys, asked for at the target (Redis's dialect).
    ToTarget,
    /// All keys, decided by the cluster itself.
    Balancing,
    /// Nothing but the ownership of one slot, whose keys were moved one by one.
    HandOver,
}

/// How far a migration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    Copying(Stage),
    /// The target owns the slots; who has yet to publish or to clear away.
    Finishing(Sides),
    /// The source keeps the slots; who has yet to unseal or to drop what it was sent.
    Aborting {
        why: Failure,
        sides: Sides,
    },
    Ended(Ending),
}

/// Where the copying is, for those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Starting,
    Snapshot,
    Tail,
    Sealed,
}

/// Which sides have yet to do their part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    pub source: Part,
    pub target: Part,
}

/// Whether a side has done its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Due,
    Done,
}

/// One of the two groups of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Source,
    Target,
}

/// Why slots stay where they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Cancelled,
    Failed(String),
}

/// How a migration has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Done,
    NotDone(Failure),
}

impl Migration {
    /// Whether the group is its source or its target.
    pub fn concerns(&self, group: GroupId) -> bool {
        self.source == group || self.target == group
    }

    /// Whether its slots are still bound to it.
    pub fn is_under_way(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_))
    }

    /// Whether it has reached its commit.
    pub fn is_committed(&self) -> bool {
        matches!(self.phase, Phase::Finishing(_) | Phase::Ended(Ending::Done))
    }

    /// Whether it has been taken back, and is not yet cleared away.
    pub fn is_aborting(&self) -> bool {
        matches!(self.phase, Phase::Aborting { .. })
    }

    pub fn moves(&self, slot: Slot) -> bool {
        self.slots.iter().any(|range| range.contains(slot))
    }

    pub fn all_slots(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().flat_map(|range| range.slots())
    }
}

impl Sides {
    pub const BOTH_DUE: Sides = Sides { source: Part::Due, target: Part::Due };

    pub fn are_done(self) -> bool {
        self.source == Part::Done && self.target == Part::Done
    }

    pub(super) fn part_mut(&mut self, side: Side) -> &mut Part {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }
}
