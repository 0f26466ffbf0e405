//! Changes of lists.

use super::apply::slices;
use super::handle::Handle;
use crate::effect::KeyEffect;
use crate::types::{End, List};
use std::ops::Range;

impl Handle<'_, '_, List> {
    /// Pushes elements one after the other at one end. Returns how many the list has then.
    #[inline]
    pub fn push<'e>(&mut self, end: End, elements: impl ExactSizeIterator<Item = &'e [u8]> + Clone) -> usize {
        let limits = self.settings().list_limits();
        let len = self.edit(|list| {
            list.push_all(end, elements.clone(), &limits);
            list.len()
        });
        self.account(|| KeyEffect::ListPush { end, elements: elements.map(Box::from).collect() });
        len
    }

    /// Removes up to `count` elements from one end; `visit` sees each before it goes. Returns how many there were.
    pub fn pop(&mut self, end: End, count: usize, mut visit: impl FnMut(&[u8])) -> usize {
        let count = count.min(self.value().len());
        if count == 0 {
            return 0;
        }
        let limits = self.settings().list_limits();
        self.edit(|list| {
            for _ in 0..count {
                list.pop_with(end, &limits, &mut visit);
            }
        });
        self.account(|| KeyEffect::ListPop { end, count });
        count
    }

    /// Replaces the element at `index`, which must exist.
    pub fn set(&mut self, index: usize, element: &[u8]) {
        let limits = self.settings().list_limits();
        self.edit(|list| list.set(index, element, &limits));
        self.account(|| KeyEffect::ListSet { index, element: element.into() });
    }

    /// Inserts an element so that it has this index, at most the length, afterwards.
    pub fn insert(&mut self, index: usize, element: &[u8]) {
        let limits = self.settings().list_limits();
        self.edit(|list| list.insert(index, element, &limits));
        self.account(|| KeyEffect::ListInsert { index, element: element.into() });
    }

    /// Removes elements equal to `element`, counted as LREM does: the first `count`, the last `-count`, or all for 0.
    /// Returns how many there were.
    pub fn remove(&mut self, count: i64, element: &[u8]) -> usize {
        let limits = self.settings().list_limits();
        let removed = self.edit(|list| list.remove_matching(count, element, &limits));
        if removed > 0 {
            self.account(|| KeyEffect::ListRemove { count, element: element.into() });
        }
        removed
    }

    /// Keeps only the elements in this range.
    pub fn trim(&mut self, keep: Range<usize>) {
        let limits = self.settings().list_limits();
        self.edit(|list| list.trim(keep.clone(), &limits));
        self.account(|| KeyEffect::ListTrim { start: keep.start, end: keep.end });
    }

    pub(super) fn apply(&mut self, effect: KeyEffect) {
        match effect {
            KeyEffect::ListPush { end, elements } => drop(self.push(end, slices(&elements).into_iter())),
            KeyEffect::ListPop { end, count } => {
                let popped = self.pop(end, count, |_| {});
                assert_eq!(popped, count, "a list is as long on every replica");
            }
            KeyEffect::ListSet { index, element } => self.set(index, &element),
            KeyEffect::ListInsert { index, element } => self.insert(index, &element),
            KeyEffect::ListRemove { count, element } => drop(self.remove(count, &element)),
            KeyEffect::ListTrim { start, end } => self.trim(start..end),
            _ => unreachable!("only effects on lists are applied to lists"),
        }
    }
}
