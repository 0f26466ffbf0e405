//! Where replicas, leaders and slots should be: from the map and the load to a list of moves, with reasons.
//!
//! Everything here is a pure function, asked by the leader of the root group from time to time and by `CLUSTER BALANCE
//! DRYRUN`. A move is one step towards what is wanted, small enough to be applied by itself; the next ones follow from
//! the map that it leads to. So nothing is remembered between two calls, and any leader goes on where another stopped.
//! How much may move at once is the caller's decision ([`Budget`]); what is under way already is counted against it.
//!
//! [`replicas`] keeps each group at its wanted number of voters, on different nodes and zones, and replaces those on
//! nodes that are lost or to be emptied. [`leaders`] says who should lead. [`slots`] spreads slots by bytes and load.
//! Invariants: a plan that is carried out leads to a map whose plan is empty (tested with random clusters); no move
//! takes a copy away before another is complete.

mod drain;
mod exchange;
mod fitness;
mod leaders;
mod load;
mod lost;
mod replicas;
mod slots;
#[cfg(test)]
mod tests;

pub use drain::{Remaining, remaining};
pub use leaders::leaders;
pub use load::{Load, Measure, SlotLoad};
pub(crate) use lost::is_given_up;
pub use lost::lost;
pub use replicas::replicas;
pub use slots::{Scope, Share, slots, unassigned};

use crate::ids::{GroupId, MapVersion, MigrationId, NodeId, ReplicaId};
use crate::map::{Change, ClusterMap, Failure, Job, MigrationKind, Side, SlotRange, Wanted};
use basalt_storage::clock::UnixMs;
use std::fmt;

/// One step towards what is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    pub step: Step,
    pub why: Why,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    AddReplica {
        group: GroupId,
        node: NodeId,
    },
    RemoveReplica {
        group: GroupId,
        replica: ReplicaId,
        node: NodeId,
    },
    /// Has a group that has no keys begin anew, with one replica.
    Refound {
        group: GroupId,
        node: NodeId,
    },
    Prefer {
        group: GroupId,
        node: NodeId,
    },
    MoveSlots {
        from: NodeId,
        to: NodeId,
        slots: Vec<SlotRange>,
        bytes: u64,
        operations: u64,
    },
    AssignSlots {
        node: NodeId,
        slots: Vec<SlotRange>,
    },
    /// Takes a migration back.
    Abort {
        id: MigrationId,
    },
    /// Says in place of a node that is lost that its part in a migration is done.
    Finish {
        id: MigrationId,
        side: Side,
        seen: MapVersion,
    },
    /// Gives the slots of a node to others, empty: nobody has a copy of what was in them.
    GiveUp {
        node: NodeId,
        slots: Vec<SlotRange>,
        shares: Vec<(NodeId, Vec<SlotRange>)>,
    },
}

/// The reason for a move, for those who ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// A node has no copy of its home group's data.
    HomeWithoutCopy,
    /// There are fewer voters than wanted.
    TooFewVoters { has: usize, wanted: usize },
    /// There are more than wanted.
    TooManyVoters { has: usize, wanted: usize },
    /// A node has been failed for longer than the delay.
    Lost(NodeId),
    /// A node is being emptied.
    Draining(NodeId),
    /// Two voters share a zone while another has none.
    SharedZone,
    /// A node leads more groups than another.
    LeadsMore { has: usize, other: usize },
    /// Nobody owns the slots.
    Unassigned,
    /// Somebody has too much of something, and somebody too little. `total` is how much there is of it.
    Imbalance { measure: Measure, total: u64, from: Share, to: Share },
}

/// How much may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Replicas that are being built.
    pub replicas: usize,
    /// Leaders that are asked to hand over, by one plan.
    pub leaders: usize,
    /// Migrations of slots.
    pub migrations: usize,
    /// Slots in one plan.
    pub slots: usize,
    /// Bytes of slots in one plan. One slot is always allowed, or a big one would never move.
    pub bytes: u64,
}

impl Budget {
    pub const UNLIMITED: Budget = Budget {
        replicas: usize::MAX,
        leaders: usize::MAX,
        migrations: usize::MAX,
        slots: usize::MAX,
        bytes: u64::MAX,
    };
}

/// All that should be done next. What must not wait stands first: copies, then leaders, then slots.
pub fn plan(map: &ClusterMap, load: &Load, now: UnixMs, budget: &Budget, scope: Scope) -> Vec<Move> {
    let mut moves = replicas(map, now, budget.replicas);
    moves.extend(lost(map, load, now));
    moves.extend(leaders(map, now, budget.leaders));
    moves.extend(slots(map, load, now, budget, scope));
    moves
}

impl Step {
    /// All kinds, in the words that metrics have for them.
    pub const KINDS: [&'static str; 9] = [
        "add-replica",
        "remove-replica",
        "refound-group",
        "prefer-leader",
        "move-slots",
        "assign-slots",
        "abort-migration",
        "finish-migration",
        "give-up-slots",
    ];

    pub fn kind(&self) -> &'static str {
        let at = match self {
            Step::AddReplica { .. } => 0,
            Step::RemoveReplica { .. } => 1,
            Step::Refound { .. } => 2,
            Step::Prefer { .. } => 3,
            Step::MoveSlots { .. } => 4,
            Step::AssignSlots { .. } => 5,
            Step::Abort { .. } => 6,
            Step::Finish { .. } => 7,
            Step::GiveUp { .. } => 8,
        };
        Step::KINDS[at]
    }

    /// The change that does it. `id` names the migration if it is one.
    pub fn change(&self, id: MigrationId, at: UnixMs) -> Change {
        match self {
            Step::AddReplica { group, node } => {
                Change::AddReplica { group: *group, node: *node, wanted: Wanted::Voter }
            }
            Step::RemoveReplica { group, replica, .. } => Change::RemoveReplica { group: *group, replica: *replica },
            Step::Refound { group, node } => Change::Refound { group: *group, node: *node },
            Step::Prefer { group, node } => Change::SetPreferred { group: *group, node: *node },
            Step::MoveSlots { from, to, slots, .. } => {
                let kind = MigrationKind::Balancing;
                let job = Job { id, kind, slots: slots.clone(), from: Some(*from), to: *to };
                Change::BeginMigrations { jobs: vec![job], at }
            }
            Step::AssignSlots { node, slots } => Change::AssignSlots { node: *node, slots: slots.clone() },
            Step::Abort { id } => {
                let why = Failure::Failed("a node that has a part in it is lost".into());
                Change::AbortMigration { id: *id, why, at }
            }
            Step::Finish { id, side, seen } => Change::FinishMigration { id: *id, side: *side, seen: *seen, at },
            Step::GiveUp { node, slots, shares } => {
                let take = Change::UnassignSlots { node: *node, slots: slots.clone() };
                let give = |(node, slots): &(NodeId, Vec<SlotRange>)| Change::AssignSlots {
                    node: *node,
                    slots: slots.clone(),
                };
                Change::All([take].into_iter().chain(shares.iter().map(give)).collect())
            }
        }
    }
}

/// With `{:#}` slots that move are counted, not named: there may be a thousand of them.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::AddReplica { group, node } => write!(f, "add a replica of group {group} on {node}"),
            Step::RemoveReplica { group, node, .. } => write!(f, "remove the replica of group {group} on {node}"),
            Step::Refound { group, node } => write!(f, "have group {group} begin anew on {node}, empty"),
            Step::Prefer { group, node } => write!(f, "let {node} lead group {group}"),
            Step::MoveSlots { from, to, slots, bytes, operations } => {
                if f.alternate() {
                    write!(f, "move {} slots", slots.iter().map(|range| range.count()).sum::<usize>())?;
                } else {
                    write!(f, "move slots")?;
                    slots.iter().try_for_each(|range| write!(f, " {range}"))?;
                }
                write!(f, " ({bytes} bytes, {operations} operations a second) from {from} to {to}")
            }
            Step::AssignSlots { node, slots } => {
                write!(f, "assign slots")?;
                slots.iter().try_for_each(|range| write!(f, " {range}"))?;
                write!(f, " to {node}")
            }
            Step::Abort { id } => write!(f, "take migration {id} back"),
            Step::Finish { id, .. } => write!(f, "end a part in migration {id}"),
            Step::GiveUp { node, slots, .. } => {
                write!(f, "give slots")?;
                slots.iter().try_for_each(|range| write!(f, " {range}"))?;
                write!(f, " of {node} to others, empty")
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: &f64| (part * 1000.0).round() / 10.0;
        match self {
            Why::HomeWithoutCopy => write!(f, "it has no copy of its home group"),
            Why::TooFewVoters { has, wanted } => write!(f, "the group has {has} voters of {wanted} that are wanted"),
            Why::TooManyVoters { has, wanted } => write!(f, "the group has {has} voters, {wanted} are wanted"),
            Why::Lost(node) => write!(f, "{node} has been failed for too long"),
            Why::Draining(node) => write!(f, "{node} is being drained"),
            Why::SharedZone => write!(f, "two voters share a zone while another zone has none"),
            Why::LeadsMore { has, other } => write!(f, "the present one is to lead {has} groups, this one {other}"),
            Why::Unassigned => write!(f, "nobody owns them"),
            Why::Imbalance { measure, total, from, to } => write!(
                f,
                "{} has {}% of the {total} {measure} and should have {}%, {} has {}% and should have {}%",
                from.node,
                percent(&from.has),
                percent(&from.should),
                to.node,
                percent(&to.has),
                percent(&to.should)
            ),
        }
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.step.fmt(f)?;
        write!(f, ": {}", self.why)
    }
}
