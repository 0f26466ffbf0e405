//! What a group remembers of slots on their way to it or away from it. It stands in the group's log, so that every
//! later leader knows it before it serves anything.

use crate::slot::Slot;

/// Slots of a group that are on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub passage: Passage,
    /// The name of the migration.
    pub name: [u8; Mark::NAME_BYTES],
    /// The version of the cluster's map that this was done by. Whoever has an older one knows too little to undo it.
    pub version: u64,
    /// First and last of each range.
    pub slots: Vec<(Slot, Slot)>,
}

/// Which way slots go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// They may belong to another group at any moment: nothing is evaluated in them.
    Sealed,
    /// What there is of them is a copy that is being made.
    Arriving,
}

impl Mark {
    pub const NAME_BYTES: usize = 20;

    pub fn all_slots(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().flat_map(|(first, last)| (first.number()..=last.number()).filter_map(Slot::new))
    }
}
