//! How much each slot costs the node that serves it, as measured by somebody else.

use crate::ids::NodeId;
use crate::map::ClusterMap;
use crate::{SLOT_COUNT, Slot};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Index, IndexMut};

/// The load of the slots, as far as it is known, and how much each node can take.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    slots: Box<[Option<SlotLoad>]>,
    /// Relative to the others; those that are not here have [`WEIGHT`]. Zero takes nothing new and gives away all.
    pub weights: BTreeMap<NodeId, u32>,
}

/// The load of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotLoad {
    pub bytes: u64,
    /// Operations in a second, on average over the time for which load is measured.
    pub operations: u64,
}

/// The weight of a node that nothing is said about.
const WEIGHT: u32 = 1;

/// Where the slots have less than this on average (64 MiB and 1024 operations a second in all of them), it matters less
/// than how many slots there are: what little there is may be different in a minute, and is no reason to move slots.
const LITTLE: SlotPart = SlotPart { bytes: 4096.0, operations: 1.0 / 16.0 };

/// Where bytes and operations say how things stand, the number of slots counts for this much beside each of them: it
/// keeps empty slots from gathering on one node, which would get more than its share of what comes later.
const SLOTS_WEIGHT_MIN: f64 = 0.25;

struct SlotPart {
    bytes: f64,
    operations: f64,
}

impl Load {
    /// Nothing is known: all slots count the same.
    pub fn even() -> Load {
        Load { slots: vec![None; SLOT_COUNT].into(), weights: BTreeMap::new() }
    }

    /// What is known of a slot.
    pub fn slot(&self, slot: Slot) -> Option<SlotLoad> {
        self.slots[usize::from(slot.number())]
    }

    pub fn set(&mut self, slot: Slot, load: SlotLoad) {
        self.slots[usize::from(slot.number())] = Some(load);
    }

    pub fn weight(&self, node: NodeId) -> u32 {
        self.weights.get(&node).copied().unwrap_or(WEIGHT)
    }
}

/// What is spread evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Bytes,
    Operations,
    Slots,
}

impl Measure {
    pub const ALL: [Measure; 3] = [Measure::Bytes, Measure::Operations, Measure::Slots];
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Measure::Bytes => "bytes",
            Measure::Operations => "operations a second",
            Measure::Slots => "slots",
        })
    }
}

/// Something for each measure: usually which part of the whole a slot or a node has, from zero to one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Parts([f64; 3]);

impl Parts {
    pub fn of(value: impl Fn(Measure) -> f64) -> Parts {
        Parts(Measure::ALL.map(value))
    }

    pub fn add(&mut self, other: Parts) {
        Measure::ALL.iter().for_each(|&measure| self[measure] += other[measure]);
    }

    pub fn take(&mut self, other: Parts) {
        Measure::ALL.iter().for_each(|&measure| self[measure] -= other[measure]);
    }

    /// One number for all measures: their sum, each as often as its weight says.
    pub fn weighted(self, weights: Parts) -> f64 {
        Measure::ALL.iter().map(|&measure| self[measure] * weights[measure]).sum()
    }
}

impl Index<Measure> for Parts {
    type Output = f64;

    fn index(&self, measure: Measure) -> &f64 {
        &self.0[measure as usize]
    }
}

impl IndexMut<Measure> for Parts {
    fn index_mut(&mut self, measure: Measure) -> &mut f64 {
        &mut self.0[measure as usize]
    }
}

/// What each slot costs, as parts of the whole.
pub(super) struct Costs {
    slots: Vec<Parts>,
    /// What the whole is.
    pub totals: Parts,
    /// How much each measure matters, from zero to one.
    pub weights: Parts,
}

impl Costs {
    /// A slot of which nothing is known counts like the mean of those that are known: so nodes that report nothing are
    /// thought to have what all have.
    pub fn of(map: &ClusterMap, load: &Load) -> Costs {
        let owned = |slot: &Slot| map.slots().owner(*slot).is_some();
        let count = map.slots().assigned() as f64;
        let (mut known, mut sum) = (0.0, Parts::default());
        for found in Slot::all().filter(owned).filter_map(|slot| load.slot(slot)) {
            known += 1.0;
            sum.add(amounts(found));
        }
        let mean = Parts::of(|measure| if known > 0.0 { sum[measure] / known } else { 0.0 });
        let mut totals = Parts::of(|measure| mean[measure] * count);
        totals[Measure::Slots] = count;
        let cost = |slot: Slot| {
            let mut amounts = load.slot(slot).map_or(mean, amounts);
            amounts[Measure::Slots] = 1.0;
            Parts::of(|measure| if totals[measure] > 0.0 { amounts[measure] / totals[measure] } else { 0.0 })
        };
        let slots = Slot::all().map(|slot| if owned(&slot) { cost(slot) } else { Parts::default() }).collect();
        Costs { slots, totals, weights: weights(totals, count) }
    }

    pub fn slot(&self, slot: Slot) -> Parts {
        self.slots[usize::from(slot.number())]
    }

    /// How much of a measure the slot has.
    pub fn amount(&self, slot: Slot, measure: Measure) -> f64 {
        self.slot(slot)[measure] * self.totals[measure]
    }
}

fn amounts(load: SlotLoad) -> Parts {
    Parts::of(|measure| match measure {
        Measure::Bytes => load.bytes as f64,
        Measure::Operations => load.operations as f64,
        Measure::Slots => 1.0,
    })
}

fn weights(totals: Parts, count: f64) -> Parts {
    let part = |total: f64, little: f64| if total > 0.0 { total / (total + little * count) } else { 0.0 };
    let bytes = part(totals[Measure::Bytes], LITTLE.bytes);
    let operations = part(totals[Measure::Operations], LITTLE.operations);
    Parts::of(|measure| match measure {
        Measure::Bytes => bytes,
        Measure::Operations => operations,
        Measure::Slots => 1.0 - (1.0 - SLOTS_WEIGHT_MIN) * bytes.max(operations),
    })
}
