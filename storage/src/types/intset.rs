//! `IntSet`: a sorted array of integers, the form of a set whose members are all numbers.
//!
//! Layout of the block: `[width: u8][element: little endian, width bytes]...`, sorted, all of the same width (2, 4 or
//! 8), which grows when a number needs it and never shrinks. Texts of numbers are the business of `number`.

use super::block::{Block, allocation_size};
use super::thin::InBlock;

/// The most elements an owner may allow; Redis has the same bound.
pub const MAX_ENTRIES: usize = 1 << 30;

/// The owner of a sorted array of integers.
#[derive(Clone)]
#[repr(transparent)]
pub struct IntSet(Block);

impl IntSet {
    pub fn new() -> IntSet {
        IntSet(Block::new(&[Width::Two as u8]))
    }

    pub fn view(&self) -> IntsView<'_> {
        IntsView(self.0.bytes())
    }

    /// Adds `value`; false if it was there.
    pub fn add(&mut self, value: i64) -> bool {
        let needed = Width::for_value(value);
        if needed > self.view().width() {
            self.widen(needed);
        }
        let view = self.view();
        let Err(index) = view.search(value) else {
            return false;
        };
        let width = view.width();
        self.0.splice(width.offset(index), 0, &value.to_le_bytes()[..width.bytes()]);
        true
    }

    /// Takes `value` out; false if it was not there.
    pub fn remove(&mut self, value: i64) -> bool {
        let view = self.view();
        let Ok(index) = view.search(value) else {
            return false;
        };
        let width = view.width();
        self.0.splice(width.offset(index), width.bytes(), &[]);
        true
    }

    fn widen(&mut self, width: Width) {
        let view = self.view();
        let mut bytes = Vec::with_capacity(width.offset(view.len()));
        bytes.push(width as u8);
        for value in view.iter() {
            bytes.extend_from_slice(&value.to_le_bytes()[..width.bytes()]);
        }
        self.0 = Block::new(&bytes);
    }
}

impl Default for IntSet {
    fn default() -> IntSet {
        IntSet::new()
    }
}

impl InBlock for IntSet {
    type View<'a> = IntsView<'a>;

    fn into_block(self) -> Block {
        self.0
    }

    fn from_block(block: Block) -> IntSet {
        IntSet(block)
    }

    fn view_of(bytes: &[u8]) -> IntsView<'_> {
        IntsView(bytes)
    }
}

/// A sorted array of integers for reading.
#[derive(Clone, Copy)]
pub struct IntsView<'a>(&'a [u8]);

impl<'a> IntsView<'a> {
    pub fn len(self) -> usize {
        (self.0.len() - 1) / self.width().bytes()
    }

    pub fn is_empty(self) -> bool {
        self.0.len() == 1
    }

    pub fn contains(self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// The element at `index`, counted from the smallest.
    #[inline]
    pub fn at(self, index: usize) -> i64 {
        let width = self.width();
        let at = width.offset(index);
        let bytes = &self.0[at..at + width.bytes()];
        match bytes.len() {
            2 => i64::from(i16::from_le_bytes([bytes[0], bytes[1]])),
            4 => i64::from(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            _ => i64::from_le_bytes(bytes.try_into().expect("the width of an integer is 2, 4 or 8")),
        }
    }

    pub fn min(self) -> Option<i64> {
        (!self.is_empty()).then(|| self.at(0))
    }

    pub fn max(self) -> Option<i64> {
        (!self.is_empty()).then(|| self.at(self.len() - 1))
    }

    pub fn iter(self) -> impl ExactSizeIterator<Item = i64> + use<'a> {
        (0..self.len()).map(move |index| self.at(index))
    }

    /// A copy that owns its elements.
    pub fn to_ints(self) -> IntSet {
        IntSet(Block::new(self.0))
    }

    /// What the allocator hands out for this array.
    pub fn heap_bytes(self) -> usize {
        allocation_size(self.0.len())
    }

    /// Where `value` is, or where it would have to go.
    fn search(self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.at(middle).cmp(&value) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    #[inline]
    fn width(self) -> Width {
        match self.0[0] {
            2 => Width::Two,
            4 => Width::Four,
            _ => Width::Eight,
        }
    }
}

/// Bytes per element.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl Width {
    fn for_value(value: i64) -> Width {
        if i16::try_from(value).is_ok() {
            Width::Two
        } else if i32::try_from(value).is_ok() {
            Width::Four
        } else {
            Width::Eight
        }
    }

    fn bytes(self) -> usize {
        self as usize
    }

    fn offset(self, index: usize) -> usize {
        1 + index * self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn narrow_numbers_take_two_bytes_each() {
        let mut ints = IntSet::new();
        (0..100).for_each(|value| assert!(ints.add(value)));
        assert_eq!(ints.view().heap_bytes(), 224);
    }

    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![4 => -50..50i64, 1 => any::<i16>().prop_map(i64::from), 1 => any::<i32>().prop_map(i64::from),
            1 => any::<i64>()]
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_set(steps in proptest::collection::vec((any::<bool>(), value()), 1..200)) {
            let mut ints = IntSet::new();
            let mut model = BTreeSet::new();
            for (adds, value) in steps {
                if adds {
                    prop_assert_eq!(ints.add(value), model.insert(value));
                } else {
                    prop_assert_eq!(ints.remove(value), model.remove(&value));
                }
                prop_assert!(ints.view().iter().eq(model.iter().copied()));
                prop_assert_eq!(ints.view().contains(value), adds);
                prop_assert_eq!(ints.view().min(), model.first().copied());
                prop_assert_eq!(ints.view().max(), model.last().copied());
            }
        }
    }
}
