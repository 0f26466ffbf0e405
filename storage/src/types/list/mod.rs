//! A list of byte strings: one chunk while it is small (a *listpack* to clients), then a deque of chunks (*quicklist*).
//!
//! `chunk` stores a run of elements in one allocation, `quicklist` a deque of chunks, `handle` the eight bytes that own
//! either. The rules for changing the encoding are those of Redis 7.2, by the size Redis's own listpack would have;
//! the limits are parameters, so that a changed setting is seen by the next change of the list.

mod block;
mod chunk;
mod handle;
mod iter;
mod limits;
mod quicklist;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::chunk::{Chunk, Growth};
pub use self::handle::List;
use self::handle::{View, ViewMut};
pub use self::iter::Iter;
use self::limits::CHUNK_ENTRIES_MAX;
pub use self::limits::ListLimits;
use self::quicklist::{Place, Quicklist};
use super::Encoding;

/// One end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Front,
    Back,
}

/// From which end a search starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

impl List {
    pub fn new() -> List {
        List::from_chunk(Chunk::new())
    }

    pub fn len(&self) -> usize {
        match self.view() {
            View::Listpack(chunk) => chunk.count(),
            View::Quicklist(quicklist) => quicklist.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encoding(&self) -> Encoding {
        match self.view() {
            View::Listpack(_) => Encoding::Listpack,
            View::Quicklist(_) => Encoding::Quicklist,
        }
    }

    pub fn push(&mut self, end: End, element: &[u8], limits: &ListLimits) {
        self.anticipate(element.len(), 1, limits);
        self.push_as_encoded(end, element, limits);
    }

    /// Pushes one after the other; whether they fit a listpack is decided once, as Redis does for one command.
    pub fn push_all<'a, I>(&mut self, end: End, elements: I, limits: &ListLimits)
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: Clone,
    {
        let elements = elements.into_iter();
        let (bytes, count) =
            elements.clone().fold((0, 0), |(bytes, count), element| (bytes + element.len(), count + 1));
        self.anticipate(bytes, count, limits);
        for element in elements {
            self.push_as_encoded(end, element, limits);
        }
    }

    /// Becomes a quicklist now if `count` more elements of `bytes` in total are too many for a listpack.
    ///
    /// Every growing operation does this by itself; LINSERT does it even when the pivot is not found.
    pub fn anticipate(&mut self, bytes: usize, count: usize, limits: &ListLimits) {
        let ViewMut::Listpack(chunk) = self.view_mut() else {
            return;
        };
        let too_many = chunk.count() + count > CHUNK_ENTRIES_MAX;
        if too_many || limits.exceeded_by(chunk.listpack_bytes() + bytes, chunk.count() + count) {
            let mut chunks = self.take_chunks();
            chunks.retain(|chunk| chunk.count() > 0);
            *self = List::from_quicklist(Quicklist::new(chunks));
        }
    }

    /// The element at one end.
    pub fn peek(&self, end: End) -> Option<&[u8]> {
        let chunk = match self.view() {
            View::Listpack(chunk) => Some(chunk).filter(|chunk| chunk.count() > 0),
            View::Quicklist(quicklist) => quicklist.chunk_at(end),
        };
        chunk.map(|chunk| chunk.end(end))
    }

    /// Removes the element at one end after `read` has seen it.
    pub fn pop_with<R>(&mut self, end: End, limits: &ListLimits, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let result = read(self.peek(end)?);
        match self.view_mut() {
            ViewMut::Listpack(chunk) => {
                chunk.drop_end(end);
                chunk.shrink(2);
            }
            ViewMut::Quicklist(quicklist) => {
                quicklist.drop_end(end);
                self.try_listpack(limits);
            }
        }
        Some(result)
    }

    /// Removes the element at one end, copied.
    pub fn pop(&mut self, end: End, limits: &ListLimits) -> Option<Vec<u8>> {
        self.pop_with(end, limits, <[u8]>::to_vec)
    }

    /// The element at `index`, found by walking chunks, not elements.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        if index >= self.len() {
            return None;
        }
        match self.view() {
            View::Listpack(chunk) => Some(chunk.element(index)),
            View::Quicklist(quicklist) => {
                let (place, (first, second)) = (quicklist.place(index), quicklist.chunks());
                let chunk = first.get(place.chunk).unwrap_or_else(|| &second[place.chunk - first.len()]);
                Some(chunk.element(place.index))
            }
        }
    }

    /// Overwrites the element at `index`, which exists.
    pub fn set(&mut self, index: usize, element: &[u8], limits: &ListLimits) {
        assert!(index < self.len(), "set at {index} of {}", self.len());
        // Redis counts the new element in full, as if the old one stayed.
        self.anticipate(element.len(), 1, limits);
        match self.view_mut() {
            ViewMut::Listpack(chunk) => chunk.replace(index, element, Growth::Tight),
            ViewMut::Quicklist(quicklist) => {
                let place = quicklist.place(index);
                quicklist.replace(place, element, limits);
                self.try_listpack(limits);
            }
        }
    }

    /// Inserts before the element at `index`, or at the end when `index` is the length.
    pub fn insert(&mut self, index: usize, element: &[u8], limits: &ListLimits) {
        let len = self.len();
        assert!(index <= len, "insert at {index} of {len}");
        self.anticipate(element.len(), 1, limits);
        match self.view_mut() {
            ViewMut::Listpack(chunk) => chunk.insert(index, element, Growth::Tight),
            ViewMut::Quicklist(quicklist) if index == len => quicklist.push(End::Back, element, limits),
            ViewMut::Quicklist(quicklist) if index == 0 => quicklist.push(End::Front, element, limits),
            ViewMut::Quicklist(quicklist) => {
                // The gap is named from its left side, so that a full chunk is not divided at its own start.
                let place = quicklist.place(index - 1);
                quicklist.insert(Place { chunk: place.chunk, index: place.index + 1 }, element, limits);
            }
        }
    }

    /// Inserts before the first element equal to `pivot`; false when there is none.
    pub fn insert_before(&mut self, pivot: &[u8], element: &[u8], limits: &ListLimits) -> bool {
        self.anticipate(element.len(), 1, limits);
        let found = self.position(pivot, Direction::Forward);
        found.inspect(|&index| self.insert(index, element, limits)).is_some()
    }

    /// Inserts after the first element equal to `pivot`; false when there is none.
    pub fn insert_after(&mut self, pivot: &[u8], element: &[u8], limits: &ListLimits) -> bool {
        self.anticipate(element.len(), 1, limits);
        let found = self.position(pivot, Direction::Forward);
        found.inspect(|&index| self.insert(index + 1, element, limits)).is_some()
    }

    /// Removes elements equal to `element` as LREM counts them: the first `count` from the front, the first `-count`
    /// from the back, or all for 0. Returns how many were removed.
    pub fn remove_matching(&mut self, count: i64, element: &[u8], limits: &ListLimits) -> usize {
        let direction = if count < 0 { Direction::Backward } else { Direction::Forward };
        let count_max = match count {
            0 => usize::MAX,
            _ => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
        };
        match self.view_mut() {
            ViewMut::Listpack(chunk) => {
                let removed = chunk.remove_matching(direction, element, count_max);
                chunk.shrink(4);
                removed
            }
            ViewMut::Quicklist(quicklist) => {
                let removed = quicklist.remove_matching(direction, element, count_max, limits);
                self.try_listpack(limits);
                removed
            }
        }
    }

    /// Keeps only the elements in this range of indices.
    pub fn trim(&mut self, keep: Range<usize>, limits: &ListLimits) {
        let keep = self.clamp(keep);
        match self.view_mut() {
            ViewMut::Listpack(chunk) => {
                chunk.truncate(keep.end);
                chunk.drop_before(keep.start);
                chunk.shrink(4);
            }
            ViewMut::Quicklist(quicklist) => {
                quicklist.trim(keep.start, keep.len(), limits);
                self.try_listpack(limits);
            }
        }
    }

    pub fn iter(&self) -> Iter<'_> {
        self.range(0..self.len())
    }

    /// The elements in a range of indices, which is cut to the list; `.rev()` walks it from the back.
    pub fn range(&self, range: Range<usize>) -> Iter<'_> {
        let range = self.clamp(range);
        let (first, last) = match self.view() {
            View::Listpack(_) => ((0, range.start), (0, range.end.saturating_sub(1))),
            View::Quicklist(_) if range.is_empty() => ((0, 0), (0, 0)),
            View::Quicklist(quicklist) => {
                let (first, last) = (quicklist.place(range.start), quicklist.place(range.end - 1));
                ((first.chunk, first.index), (last.chunk, last.index))
            }
        };
        Iter::new(self.chunks(), first, last, range.len())
    }

    /// The index of the first element in `direction` equal to `element`.
    pub fn position(&self, element: &[u8], direction: Direction) -> Option<usize> {
        self.positions(element, direction, usize::MAX).next()
    }

    /// The indices of the elements equal to `element`, among the first `compared_max` in this direction (LPOS).
    pub fn positions<'a>(
        &'a self,
        element: &'a [u8],
        direction: Direction,
        compared_max: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        let len = self.len();
        let mut elements = self.iter();
        let steps = 0..len.min(compared_max);
        steps.filter_map(move |step| match direction {
            Direction::Forward => (elements.next() == Some(element)).then_some(step),
            Direction::Backward => (elements.next_back() == Some(element)).then_some(len - 1 - step),
        })
    }

    /// Bytes on the heap, without what the allocator adds.
    pub fn heap_bytes(&self) -> usize {
        match self.view() {
            View::Listpack(chunk) => chunk.heap_bytes(),
            View::Quicklist(quicklist) => List::deque_bytes() + quicklist.heap_bytes(),
        }
    }

    /// How many allocations dropping the list frees, about: whether it is worth a background thread.
    pub fn free_effort(&self) -> usize {
        let (first, second) = self.chunks();
        first.len() + second.len()
    }

    fn push_as_encoded(&mut self, end: End, element: &[u8], limits: &ListLimits) {
        match self.view_mut() {
            ViewMut::Listpack(chunk) => chunk.push(end, element, Growth::Tight),
            ViewMut::Quicklist(quicklist) => quicklist.push(end, element, limits),
        }
    }

    /// After a removal: a quicklist of one chunk that is at most half as large as a listpack may be becomes one.
    ///
    /// Half, so that a list at the limit does not change its encoding with every command.
    fn try_listpack(&mut self, limits: &ListLimits) {
        let ViewMut::Quicklist(quicklist) = self.view_mut() else {
            return;
        };
        if quicklist.len() > 0 {
            let Some(chunk) = quicklist.only_chunk() else {
                return;
            };
            let count = chunk.count();
            if limits.exceeded_by(0, count * 2) || limits.exceeded_by(chunk.listpack_bytes() * 2, count * 2) {
                return;
            }
        }
        let mut chunk = self.take_chunks().pop_front().unwrap_or_else(Chunk::new);
        // The count of bytes must be exact from here on, and the room for a long list's growth is not needed.
        chunk.listpack_bytes();
        chunk.shrink(4);
        *self = List::from_chunk(chunk);
    }

    fn clamp(&self, range: Range<usize>) -> Range<usize> {
        let end = range.end.min(self.len());
        range.start.min(end)..end
    }
}

impl Default for List {
    fn default() -> List {
        List::new()
    }
}

impl Clone for List {
    fn clone(&self) -> List {
        match self.view() {
            View::Listpack(chunk) => List::from_chunk(chunk.clone()),
            View::Quicklist(quicklist) => List::from_quicklist(quicklist.clone()),
        }
    }
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(<[u8]>::escape_ascii).map(|element| element.to_string())).finish()
    }
}

impl PartialEq for List {
    fn eq(&self, other: &List) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for List {}
