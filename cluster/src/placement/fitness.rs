//! What may be put on a node, and what must be taken from it.

use crate::ids::NodeId;
use crate::map::{ClusterMap, Health, Standing};
use basalt_storage::clock::UnixMs;

/// How far a node can be counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    Usable,
    /// Failed, but perhaps only for a moment: it gets nothing new, and keeps what it has.
    Silent,
    /// Failed for longer than the delay: what it has is rebuilt elsewhere.
    Lost,
    /// It is up, and is to be emptied.
    Emptying,
}

impl Fitness {
    /// Whether a replica there counts.
    pub fn counts(self) -> bool {
        matches!(self, Fitness::Usable | Fitness::Silent)
    }
}

pub fn fitness(map: &ClusterMap, node: NodeId, now: UnixMs) -> Fitness {
    let Some(info) = map.member(node) else { return Fitness::Lost };
    match info.health {
        Health::Failed { since } if lost_at(map, since) <= now => Fitness::Lost,
        Health::Failed { .. } => Fitness::Silent,
        Health::Up if info.standing == Standing::Draining => Fitness::Emptying,
        Health::Up => Fitness::Usable,
    }
}

/// The nodes that may be given something, by ascending id.
pub fn usable(map: &ClusterMap, now: UnixMs) -> impl Iterator<Item = NodeId> {
    map.nodes().keys().copied().filter(move |&node| fitness(map, node, now) == Fitness::Usable)
}

fn lost_at(map: &ClusterMap, since: UnixMs) -> UnixMs {
    let delay = i64::try_from(map.settings().repair_delay_ms).unwrap_or(i64::MAX);
    UnixMs(since.0.saturating_add(delay))
}
