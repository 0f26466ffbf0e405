//! Which group owns which slot, and since which epoch; and ranges of slots.
//!
//! The table is shared by all copies of a map until one of them changes it, since maps are handed around and slots
//! change seldom. Invariant: the counts by group are those of the table. An unassigned slot keeps its epoch, so that a
//! slot's epoch never comes back.

use crate::ids::{GroupId, SlotEpoch};
use crate::{SLOT_COUNT, Slot};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// One or more neighbouring slots. Invariant: `first` is not above `last`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotRange {
    first: Slot,
    last: Slot,
}

/// Who owns a slot, and how often that has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotInfo {
    pub owner: Option<GroupId>,
    pub epoch: SlotEpoch,
}

/// The owner of every slot.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotTable {
    slots: Arc<[SlotInfo; SLOT_COUNT]>,
    counts: BTreeMap<GroupId, u32>,
}

impl SlotRange {
    pub fn new(first: Slot, last: Slot) -> Option<SlotRange> {
        (first <= last).then_some(SlotRange { first, last })
    }

    pub fn one(slot: Slot) -> SlotRange {
        SlotRange { first: slot, last: slot }
    }

    pub fn all() -> SlotRange {
        let last = Slot::new(SLOT_COUNT as u16 - 1).expect("the last slot's number is below the count");
        SlotRange { first: Slot::new(0).expect("zero is a slot"), last }
    }

    pub fn first(self) -> Slot {
        self.first
    }

    pub fn last(self) -> Slot {
        self.last
    }

    /// From its first slot to this one, which is not before its last.
    pub(super) fn up_to(self, last: Slot) -> SlotRange {
        SlotRange { first: self.first, last: last.max(self.last) }
    }

    /// How many slots it has, which is one at least.
    pub fn count(self) -> usize {
        usize::from(self.last.number() - self.first.number()) + 1
    }

    pub fn contains(self, slot: Slot) -> bool {
        self.first <= slot && slot <= self.last
    }

    pub fn slots(self) -> impl Iterator<Item = Slot> {
        (self.first.number()..=self.last.number()).filter_map(Slot::new)
    }

    /// The maximal ranges of ascending slots.
    pub fn of_slots(slots: impl IntoIterator<Item = Slot>) -> Vec<SlotRange> {
        let mut ranges: Vec<SlotRange> = Vec::new();
        for slot in slots {
            match ranges.last_mut() {
                Some(range) if range.last.number() + 1 == slot.number() => range.last = slot,
                _ => ranges.push(SlotRange::one(slot)),
            }
        }
        ranges
    }
}

/// Written as `CLUSTER NODES` writes it: a lone slot as one number.
impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first.number())
        } else {
            write!(f, "{}-{}", self.first.number(), self.last.number())
        }
    }
}

impl fmt::Debug for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotRange({self})")
    }
}

impl SlotTable {
    /// All slots unassigned.
    pub fn empty() -> SlotTable {
        SlotTable { slots: Arc::new([SlotInfo::default(); SLOT_COUNT]), counts: BTreeMap::new() }
    }

    /// From what a decoder has read.
    pub(super) fn from_slots(slots: Arc<[SlotInfo; SLOT_COUNT]>) -> SlotTable {
        let mut counts = BTreeMap::new();
        for owner in slots.iter().filter_map(|slot| slot.owner) {
            *counts.entry(owner).or_default() += 1;
        }
        SlotTable { slots, counts }
    }

    pub fn info(&self, slot: Slot) -> SlotInfo {
        self.slots[usize::from(slot.number())]
    }

    pub fn owner(&self, slot: Slot) -> Option<GroupId> {
        self.info(slot).owner
    }

    /// How many slots `group` owns.
    pub fn count(&self, group: GroupId) -> usize {
        self.counts.get(&group).map_or(0, |&count| count as usize)
    }

    /// How many slots have an owner.
    pub fn assigned(&self) -> usize {
        self.counts.values().map(|&count| count as usize).sum()
    }

    /// Groups that own slots, with how many.
    pub fn owners(&self) -> impl Iterator<Item = (GroupId, usize)> {
        self.counts.iter().map(|(&group, &count)| (group, count as usize))
    }

    pub fn iter(&self) -> impl Iterator<Item = (Slot, SlotInfo)> {
        Slot::all().zip(self.slots.iter().copied())
    }

    /// Maximal runs of slots whose owners mean the same to the caller; `None` leaves slots out.
    pub fn runs<T: PartialEq>(&self, mut meaning: impl FnMut(GroupId) -> Option<T>) -> Vec<(SlotRange, T)> {
        let mut runs: Vec<(SlotRange, T)> = Vec::new();
        let mut previous = None;
        for (slot, info) in self.iter() {
            // Within a run of one owner the meaning is asked only once.
            if info.owner.is_some() && info.owner == previous {
                if let Some((range, _)) = runs.last_mut()
                    && range.last.number() + 1 == slot.number()
                {
                    range.last = slot;
                }
                continue;
            }
            previous = info.owner;
            let Some(meant) = info.owner.and_then(&mut meaning) else { continue };
            match runs.last_mut() {
                Some((range, last)) if range.last.number() + 1 == slot.number() && *last == meant => range.last = slot,
                _ => runs.push((SlotRange::one(slot), meant)),
            }
        }
        runs
    }

    /// Gives `slot` a new owner, or none, and a new epoch.
    pub(super) fn set(&mut self, slot: Slot, owner: Option<GroupId>, epoch: SlotEpoch) {
        let former = &mut Arc::make_mut(&mut self.slots)[usize::from(slot.number())];
        assert!(epoch >= former.epoch, "a slot's epoch never goes back");
        let lost = std::mem::replace(former, SlotInfo { owner, epoch }).owner;
        if let Some(count) = lost.and_then(|group| self.counts.get_mut(&group)) {
            *count -= 1;
        }
        self.counts.retain(|_, count| *count > 0);
        if let Some(owner) = owner {
            *self.counts.entry(owner).or_default() += 1;
        }
    }

    /// Like [`SlotTable::set`], with the epoch that follows.
    pub(super) fn give(&mut self, slot: Slot, owner: Option<GroupId>) {
        self.set(slot, owner, self.info(slot).epoch.next());
    }
}

impl fmt::Debug for SlotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.runs(Some)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn range(first: u16, last: u16) -> SlotRange {
        SlotRange::new(slot(first), slot(last)).unwrap()
    }

    #[test]
    fn runs_are_maximal_by_meaning_and_leave_out_what_has_none() {
        let mut table = SlotTable::empty();
        for (number, group) in [(0, 1), (1, 1), (2, 2), (3, 1), (5, 1), (6, 3), (7, 1), (8, 1), (16383, 2)] {
            table.give(slot(number), Some(GroupId(group)));
        }
        let by_group = table.runs(Some);
        assert_eq!(by_group[0], (range(0, 1), GroupId(1)));
        assert_eq!(by_group.len(), 7);
        // Groups 1 and 2 are at one place, group 3 is nowhere.
        let by_place = table.runs(|group| (group != GroupId(3)).then_some("here"));
        let ranges: Vec<SlotRange> = by_place.into_iter().map(|(range, _)| range).collect();
        assert_eq!(ranges, [range(0, 3), range(5, 5), range(7, 8), range(16383, 16383)]);
        assert_eq!(table.count(GroupId(1)), 6);
        table.give(slot(6), None);
        assert_eq!((table.count(GroupId(3)), table.assigned()), (0, 8));
        assert_eq!(table.info(slot(6)).epoch, SlotEpoch(2));
    }

    #[test]
    fn ranges_are_written_as_clients_expect_them() {
        let ranges = SlotRange::of_slots([1, 2, 3, 7, 9, 10].map(slot));
        assert_eq!(ranges.iter().map(SlotRange::to_string).collect::<Vec<_>>(), ["1-3", "7", "9-10"]);
        assert_eq!(SlotRange::all().count(), SLOT_COUNT);
        assert_eq!(SlotRange::new(slot(4), slot(3)), None);
    }
}
