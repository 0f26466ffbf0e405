//! Cache mode: slots whose copies are lost with their nodes: the only one, or so many that the others do not know what
//! was acknowledged.
//!
//! There is nothing to copy and nobody to wait for, so the other masters get them, empty. What the lost group had a
//! part in has to end before: migrations that were copying are taken back, and of those that have ended its part is
//! called done, since there is nothing left of it to clear away. A node that comes back nevertheless finds in the map
//! that it has no slots, and forgets what it had.

use super::fitness::{Fitness, fitness};
use super::slots::receivers;
use super::{Load, Move, Step, Why};
use crate::Slot;
use crate::ids::{GroupId, NodeId};
use crate::map::{ClusterMap, Health, Migration, Mode, NodeInfo, Part, Phase, Side, SlotRange};
use basalt_storage::clock::UnixMs;
use std::collections::BTreeSet;

/// The next steps for slots of nodes that have been failed for too long.
pub fn lost(map: &ClusterMap, load: &Load, now: UnixMs) -> Vec<Move> {
    if map.mode() == Mode::Durable {
        return Vec::new();
    }
    let leader = |group: GroupId| map.members(group).map(|members| members.leader.node);
    let is_lost = |group: GroupId| is_lost(map, group, now);
    let mut moves = Vec::new();
    for migration in map.migrations_under_way() {
        for (side, group) in [(Side::Source, migration.source), (Side::Target, migration.target)] {
            let step = end_of_part(migration, side).filter(|_| is_lost(group));
            moves.extend(step.zip(leader(group)).map(|(step, node)| Move { step, why: Why::Lost(node) }));
        }
    }
    let nodes = map.nodes().keys().copied().filter(|&node| is_given_up(map, node, now));
    moves.extend(nodes.filter_map(|node| give_up(map, load, now, node)));
    moves
}

/// Whether a group has lost its majority, and the node with it that its clients are sent to. If that one lives, it has
/// the group begin anew by itself (`node/anew.rs`).
fn is_lost(map: &ClusterMap, group: GroupId, now: UnixMs) -> bool {
    map.members(group).is_some_and(|members| {
        is_given_up(map, members.leader.node, now)
            && !members.has_majority(|replica| !is_given_up(map, replica.node, now))
    })
}

/// Whether a node is lost, and has had the time to notice that it is cut off, if that is all that has happened to it:
/// it then stops serving by itself.
pub(crate) fn is_given_up(map: &ClusterMap, node: NodeId, now: UnixMs) -> bool {
    let has_noticed = |info: &NodeInfo| match info.health {
        Health::Failed { since } => since.0.saturating_add(map.settings().node_timeout().as_millis() as i64) <= now.0,
        Health::Up => false,
    };
    fitness(map, node, now) == Fitness::Lost && map.node(node).is_some_and(has_noticed)
}

/// What has to be said of a migration one side of which is lost.
fn end_of_part(migration: &Migration, side: Side) -> Option<Step> {
    let (id, seen) = (migration.id, migration.changed);
    match &migration.phase {
        Phase::Copying(_) => Some(Step::Abort { id }),
        Phase::Finishing(sides) | Phase::Aborting { sides, .. } => {
            let part = if side == Side::Source { sides.source } else { sides.target };
            (part == Part::Due).then_some(Step::Finish { id, side, seen })
        }
        Phase::Ended(_) => None,
    }
}

/// Gives the slots of a lost node that no migration is bound to in even parts to those who can have them.
fn give_up(map: &ClusterMap, load: &Load, now: UnixMs, node: NodeId) -> Option<Move> {
    let bound: BTreeSet<Slot> = map.migrations_under_way().flat_map(Migration::all_slots).collect();
    let groups: BTreeSet<GroupId> = map.faced_by(node).filter(|&group| is_lost(map, group, now)).collect();
    let is_lost = |slot: &Slot| map.slots().owner(*slot).is_some_and(|group| groups.contains(&group));
    let slots: Vec<Slot> = Slot::all().filter(|slot| is_lost(slot) && !bound.contains(slot)).collect();
    let others: Vec<NodeId> = receivers(map, load, now).collect();
    if slots.is_empty() || others.is_empty() {
        return None;
    }
    let part = slots.len().div_ceil(others.len());
    let shares =
        others.iter().zip(slots.chunks(part)).map(|(other, part)| (*other, SlotRange::of_slots(part.to_vec())));
    let shares = shares.collect();
    Some(Move { step: Step::GiveUp { node, slots: SlotRange::of_slots(slots), shares }, why: Why::Lost(node) })
}
