//! How much each slot costs the node that serves it, as measured by somebody else.

use crate::ids::NodeId;
use crate::map::ClusterMap;
use crate::{SLOT_COUNT, Slot};
use std::collections::BTreeMap;

/// The load of every slot, and how much each node can take.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    slots: Box<[SlotLoad]>,
    /// Relative to the others; those that are not here have [`WEIGHT`]. Zero takes nothing new and gives away all.
    pub weights: BTreeMap<NodeId, u32>,
}

/// The load of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotLoad {
    pub bytes: u64,
    /// Operations within the time over which load is measured.
    pub operations: u64,
}

/// The weight of a node that nothing is said about.
const WEIGHT: u32 = 1;

impl Load {
    /// Nothing is known: all slots count the same.
    pub fn even() -> Load {
        Load { slots: vec![SlotLoad::default(); SLOT_COUNT].into(), weights: BTreeMap::new() }
    }

    pub fn slot(&self, slot: Slot) -> SlotLoad {
        self.slots[usize::from(slot.number())]
    }

    pub fn set(&mut self, slot: Slot, load: SlotLoad) {
        self.slots[usize::from(slot.number())] = load;
    }

    pub fn weight(&self, node: NodeId) -> u32 {
        self.weights.get(&node).copied().unwrap_or(WEIGHT)
    }

    /// What each assigned slot costs, as a part of the whole: the mean of its parts of the bytes, of the operations,
    /// and of the number of slots. The last keeps empty slots from gathering on one node.
    pub(super) fn costs(&self, map: &ClusterMap) -> Vec<f64> {
        let assigned = |slot: &Slot| map.slots().owner(*slot).is_some();
        let (mut bytes, mut operations) = (0.0, 0.0);
        for slot in Slot::all().filter(assigned) {
            let load = self.slot(slot);
            bytes += load.bytes as f64;
            operations += load.operations as f64;
        }
        let count = map.slots().assigned() as f64;
        let kinds = [bytes, operations, count].iter().filter(|total| **total > 0.0).count() as f64;
        let part = |of: f64, total: f64| if total > 0.0 { of / total } else { 0.0 };
        let cost = |slot: Slot| {
            let load = self.slot(slot);
            let parts = part(load.bytes as f64, bytes) + part(load.operations as f64, operations) + part(1.0, count);
            parts / kinds.max(1.0)
        };
        Slot::all().map(|slot| if assigned(&slot) { cost(slot) } else { 0.0 }).collect()
    }
}
