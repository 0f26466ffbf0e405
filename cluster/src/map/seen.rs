//! What each slot is for one node: the ground on which its table of slot states is made.
//!
//! The map says who owns a slot; who leads the owner right now a node may know better from the group itself, so that is
//! handed in. Whether a slot is sealed is known only to the group's own log, and added by whoever reads that.

use super::{ClusterMap, OpenSlot, SlotRange};
use crate::ids::{GroupId, NodeId};
use crate::{SLOT_COUNT, Slot};
use std::collections::BTreeMap;

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
        let opened = self.opened(node, &known, owned);
        let mut seen = Runs::default();
        for (range, state) in self.slots.runs(owned) {
            seen.extend_to(range.first().number(), Seen::Absent);
            for (slot, open) in opened.range(range.first()..=range.last()) {
                seen.extend_to(slot.number(), state);
                seen.extend_to(slot.number() + 1, *open);
            }
            seen.extend_to(range.last().number() + 1, state);
        }
        seen.extend_to(SLOT_COUNT as u16, Seen::Absent);
        seen.runs
    }

    /// What slots are that move key by key, if that is not what they were otherwise.
    fn opened(
        &self,
        node: NodeId,
        known: impl Fn(GroupId) -> Known,
        owned: impl Fn(GroupId) -> Option<Seen>,
    ) -> BTreeMap<Slot, Seen> {
        let mut seen = BTreeMap::new();
        for (&(group, slot), open) in &self.open {
            let other = match known(open.other()) {
                Known::Leader(leader) => Some(leader),
                Known::AsMapped | Known::Leaderless => self.face(open.other()),
            };
            let state = match (self.slots.owner(slot).and_then(&owned), open) {
                (Some(Seen::Serving { group: owner }), OpenSlot::Migrating { .. }) if owner == group => match other {
                    // Some of its keys are in the other group, and a node shows what one group has: clients wait until
                    // one of the two is led elsewhere.
                    Some(other) if other == node => Seen::Waiting { group },
                    Some(to) => Seen::Migrating { group, to },
                    None => continue,
                },
                (Some(Seen::Elsewhere { group: owner, node: leader }), OpenSlot::Importing { .. })
                    if known(group) == Known::Leader(node) =>
                {
                    Seen::Importing { group, owner, node: leader }
                }
                _ => continue,
            };
            seen.insert(slot, state);
        }
        seen
    }
}

/// Maximal runs, from the first slot on.
#[derive(Default)]
struct Runs {
    runs: Vec<(SlotRange, Seen)>,
}

impl Runs {
    /// All slots up to this one, which is left out, that are in no run yet.
    fn extend_to(&mut self, end: u16, seen: Seen) {
        let next = self.runs.last().map_or(0, |(range, _)| range.last().number() + 1);
        let new = Slot::new(next).zip(end.checked_sub(1).and_then(Slot::new));
        let Some(new) = new.and_then(|(first, last)| SlotRange::new(first, last)) else { return };
        match self.runs.last_mut() {
            Some((range, last)) if *last == seen => *range = range.up_to(new.last()),
            _ => self.runs.push((new, seen)),
        }
    }
}
