//! The tables of one stripe's slots, in groups that exist while one of their slots has a key.
//!
//! There are 16384 slots per database. If all had a place from the first key on, a small cache would be mostly empty
//! places, and evicting its keys would not make room. So neighbouring slots share an allocation, which goes with the
//! last key in it.

use super::database::SlotTable;
use crate::entry::EntryRef;
use crate::slot::SLOTS_PER_STRIPE;

/// Slots that share an allocation.
const GROUP: usize = 16;
const GROUPS: usize = SLOTS_PER_STRIPE / GROUP;

/// The slots of one stripe in one database.
#[derive(Default)]
pub struct Slots {
    groups: [Option<Box<[SlotTable; GROUP]>>; GROUPS],
}

impl Slots {
    /// The slot at this position within the stripe; `None` if neither it nor its neighbours have keys.
    #[inline]
    pub(super) fn slot(&self, within: usize) -> Option<&SlotTable> {
        Some(&self.groups[within / GROUP].as_deref()?[within % GROUP])
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, within: usize) -> Option<&mut SlotTable> {
        Some(&mut self.groups[within / GROUP].as_deref_mut()?[within % GROUP])
    }

    /// The slot of an entry that was found.
    #[inline]
    pub(super) fn at(&self, within: usize) -> &SlotTable {
        self.slot(within).expect("an entry was found in this slot")
    }

    #[inline]
    pub(super) fn at_mut(&mut self, within: usize) -> &mut SlotTable {
        self.slot_mut(within).expect("an entry was found in this slot")
    }

    /// The slot, to put an entry into.
    #[inline]
    pub(super) fn make(&mut self, within: usize) -> &mut SlotTable {
        let group = &mut self.groups[within / GROUP];
        &mut group.get_or_insert_with(|| Box::new([const { SlotTable::EMPTY }; GROUP]))[within % GROUP]
    }

    /// Gives the place of a slot back if nothing is left in it and its neighbours.
    #[inline]
    pub(super) fn release(&mut self, within: usize) {
        if self.slot(within).is_some_and(SlotTable::is_vacant) {
            let group = &mut self.groups[within / GROUP];
            if group.as_ref().is_some_and(|slots| slots.iter().all(SlotTable::is_vacant)) {
                *group = None;
            }
        }
    }

    /// The slots that have a place, with their positions, from one position on.
    pub(super) fn iter_from(&self, within: usize) -> impl Iterator<Item = (usize, &SlotTable)> {
        let groups = self.groups.iter().enumerate().skip(within / GROUP);
        let slots = groups.filter_map(|(number, group)| Some((number, group.as_deref()?)));
        let slots = slots.flat_map(|(number, group)| (number * GROUP..).zip(group));
        slots.skip_while(move |(at, _)| *at < within)
    }

    /// The slots that have a place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SlotTable> {
        self.groups.iter().flatten().flat_map(|group| group.iter())
    }

    /// All entries of the slots.
    pub(super) fn for_each_entry(&self, mut visit: impl FnMut(EntryRef<'_>)) {
        self.iter().flat_map(|slot| slot.table.iter()).for_each(|entry| visit(entry.as_ref()));
    }

    /// Bytes of the places, without the tables in them.
    pub(super) fn heap_bytes(&self) -> usize {
        self.groups.iter().flatten().count() * size_of::<[SlotTable; GROUP]>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access;
    use crate::clock::UnixMs;
    use crate::entry::Entry;
    use crate::keyspace::Settings;
    use crate::table;

    #[test]
    fn places_come_with_the_first_key_and_go_with_the_last() {
        let mut slots = Slots::default();
        let entry = || Entry::with_int(b"key", 1, None, access::fresh(&Settings::default(), UnixMs(0)));
        let hash = table::hash(b"key");
        let first = slots.make(17).table.insert_new(hash, entry());
        let second = slots.make(18).table.insert_new(hash, entry());
        assert_eq!(slots.iter_from(0).map(|(at, _)| at).collect::<Vec<_>>(), (16..32).collect::<Vec<_>>());
        assert_eq!(slots.iter_from(20).next().map(|(at, _)| at), Some(20));
        assert!(slots.slot(0).is_none() && slots.slot(31).is_some());
        drop(slots.at_mut(17).table.remove(first));
        slots.release(17);
        assert!(slots.slot(17).is_some(), "a neighbour has a key");
        drop(slots.at_mut(18).table.remove(second));
        slots.release(18);
        assert_eq!((slots.iter().count(), slots.heap_bytes()), (0, 0));
    }
}
