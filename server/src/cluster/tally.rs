//! How many commands each slot has served here: counted by whoever evaluates, read now and then by [`super::weigh`].

use basalt_storage::cache_line::prefetch;
use basalt_storage::slot::{SLOT_COUNT, Slot};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A counter for each slot, which begins again from zero when it is full.
pub struct Tally(Box<[AtomicU32; SLOT_COUNT]>);

impl Tally {
    /// Whoever counts has locked the slot, so nothing is lost without an atomic addition, which would cost more than
    /// all the rest. And if it was, it would be a count.
    #[inline]
    pub fn count(&self, slot: Slot, commands: u32) {
        let of_slot = &self.0[usize::from(slot.number())];
        of_slot.store(of_slot.load(Relaxed).wrapping_add(commands), Relaxed);
    }

    /// Asks the processor for a counter that will be needed.
    #[inline]
    pub fn prefetch(&self, slot: Slot) {
        prefetch(&raw const self.0[usize::from(slot.number())]);
    }

    pub fn of(&self, slot: Slot) -> u32 {
        self.0[usize::from(slot.number())].load(Relaxed)
    }
}

impl Default for Tally {
    fn default() -> Tally {
        Tally(Box::new([const { AtomicU32::new(0) }; SLOT_COUNT]))
    }
}
