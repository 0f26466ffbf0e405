//! How far the emptying of a node is.

use crate::ids::NodeId;
use crate::map::ClusterMap;

/// What a node still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Slots that clients find there.
    pub slots: usize,
    /// Replicas of other groups than its own empty home, the root included.
    pub replicas: usize,
}

impl Remaining {
    /// Whether the node can be removed without anybody noticing.
    pub fn is_nothing(self) -> bool {
        self.slots == 0 && self.replicas == 0
    }
}

/// What `node` still has, and must lose before it can go.
pub fn remaining(map: &ClusterMap, node: NodeId) -> Remaining {
    let slots = map.slots().owners().filter(|(group, _)| map.face(*group) == Some(node)).map(|(_, count)| count).sum();
    let groups = map.groups().iter().filter(|(id, group)| {
        let goes_along = map.slots().count(**id) == 0 && map.home_nodes(**id).all(|home| home == node);
        group.members.is_on(node) && !goes_along
    });
    let replicas = groups.count() + usize::from(map.root().members.is_on(node));
    Remaining { slots, replicas }
}
