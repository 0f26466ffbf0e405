//! What each slot is for one node: the ground on which its table of slot states is made.
//!
//! The map says who owns a slot; who leads the owner right now a node may know better from the group itself, so that is
//! handed in. Whether a slot is sealed is known only to the group's own log, and added by whoever reads that.

use super::{ClusterMap, OpenSlot, SlotRange};
use crate::ids::{GroupId, NodeId};
use crate::{SLOT_COUNT, Slot};

/// What a slot is for one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nobody owns it.
    Absent,
    /// Another node leads its group. This one may have a copy, and serve reads to who has asked for that.
    Elsewhere { group: GroupId, node: NodeId },
    /// This node leads its group.
    Serving { group: GroupId },
    /// The same, and keys that are gone are to be asked for over there.
    Migrating { group: GroupId, to: NodeId },
    /// Another node leads its group; who says ASKING is served by this one's `group`.
    Importing { group: GroupId, owner: GroupId, node: NodeId },
    /// This node has a replica of its group, and knows no leader; or it leads both groups between which the keys of the
    /// slot move.
    Waiting { group: GroupId },
}

/// What a node knows about the leader of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// No more than the map: it has no part in the group.
    AsMapped,
    Leader(NodeId),
    /// It has a part in the group, which has no leader.
    Leaderless,
}

impl ClusterMap {
    /// What all slots are for `node`, in maximal runs.
    pub fn seen_by(&self, node: NodeId, known: impl Fn(GroupId) -> Known) -> Vec<(SlotRange, Seen)> {
        let mut seen = vec![Seen::Absent; SLOT_COUNT];
        let owned = |group: GroupId| match known(group) {
            Known::Leaderless => Some(Seen::Waiting { group }),
            Known::Leader(leader) if leader == node => Some(Seen::Serving { group }),
            Known::Leader(leader) => Some(Seen::Elsewhere { group, node: leader }),
            Known::AsMapped => match self.face(group)? {
                // Nobody but the node itself knows that it leads: it has lost its replica, and must not serve.
                face if face == node => Some(Seen::Waiting { group }),
                face => Some(Seen::Elsewhere { group, node: face }),
            },
        };
        for (range, state) in self.slots.runs(owned) {
            seen[usize::from(range.first().number())..=usize::from(range.last().number())].fill(state);
        }
        for (&(group, slot), open) in &self.open {
            let state = &mut seen[usize::from(slot.number())];
            let other = match known(open.other()) {
                Known::Leader(leader) => Some(leader),
                Known::AsMapped | Known::Leaderless => self.face(open.other()),
            };
            match (*state, open) {
                (Seen::Serving { group: owner }, OpenSlot::Migrating { .. }) if owner == group => match other {
                    // Some of its keys are in the other group, and a node shows what one group has: clients wait until
                    // one of the two is led elsewhere.
                    Some(other) if other == node => *state = Seen::Waiting { group },
                    Some(to) => *state = Seen::Migrating { group, to },
                    None => {}
                },
                (Seen::Elsewhere { group: owner, node: leader }, OpenSlot::Importing { .. })
                    if known(group) == Known::Leader(node) =>
                {
                    *state = Seen::Importing { group, owner, node: leader };
                }
                _ => {}
            }
        }
        let mut runs: Vec<(SlotRange, Seen)> = Vec::new();
        for run in Slot::all().zip(seen).collect::<Vec<_>>().chunk_by(|one, next| one.1 == next.1) {
            runs.extend(SlotRange::new(run[0].0, run[run.len() - 1].0).map(|range| (range, run[0].1)));
        }
        runs
    }
}
