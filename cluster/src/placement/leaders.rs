//! Which node should lead each group that owns slots.
//!
//! A group that is some node's home is led by one of those, since clients know it by them: only a node that is lost or
//! to be emptied gives the lead to another of them. A group that has outlived its home can be led by anybody, and is
//! led by whoever leads least. That the present leader hands over to the preferred one is the group's own affair.

use super::fitness::{Fitness, fitness};
use super::{Move, Step, Why};
use crate::ids::NodeId;
use crate::map::{ClusterMap, GroupInfo};
use basalt_storage::clock::UnixMs;
use std::collections::BTreeMap;

/// The next changes of preferred leaders, at most `budget`.
pub fn leaders(map: &ClusterMap, now: UnixMs, budget: usize) -> Vec<Move> {
    let mut preferred: BTreeMap<NodeId, usize> = BTreeMap::new();
    let serving = || map.slots().owners().filter_map(|(id, _)| Some((id, map.group(id)?)));
    for (_, group) in serving() {
        *preferred.entry(group.preferred).or_default() += 1;
    }
    let mut moves = Vec::new();
    for (id, group) in serving() {
        if moves.len() >= budget {
            break;
        }
        let homes: Vec<NodeId> = map.home_nodes(id).collect();
        let Some((node, why)) = better(map, now, group, &homes, &preferred) else { continue };
        *preferred.entry(group.preferred).or_default() -= 1;
        *preferred.entry(node).or_default() += 1;
        moves.push(Move { step: Step::Prefer { group: id, node }, why });
    }
    moves
}

fn better(
    map: &ClusterMap,
    now: UnixMs,
    group: &GroupInfo,
    homes: &[NodeId],
    preferred: &BTreeMap<NodeId, usize>,
) -> Option<(NodeId, Why)> {
    let leads = |node: NodeId| preferred.get(&node).copied().unwrap_or(0);
    let voters = group.members.staying().filter(|replica| replica.is_firm()).map(|replica| replica.node);
    let able = voters.filter(|&node| fitness(map, node, now) == Fitness::Usable);
    let able = able.filter(|node| homes.is_empty() || homes.contains(node));
    let present = group.preferred;
    let best = able.filter(|&node| node != present).min_by_key(|&node| (leads(node), node))?;
    let why = match fitness(map, present, now) {
        Fitness::Lost => Why::Lost(present),
        Fitness::Emptying => Why::Draining(present),
        // One more here and one less there must be an improvement, or it would go back and forth.
        Fitness::Usable if homes.is_empty() && leads(present) > leads(best) + 1 => {
            Why::LeadsMore { has: leads(present), other: leads(best) }
        }
        Fitness::Usable | Fitness::Silent => return None,
    };
    Some((best, why))
}
