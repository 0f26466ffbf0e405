//! A segment: one array of buckets, sorted by tag, with gaps.
//!
//! Invariants, on which `find` rests:
//! - Among the occupied buckets, tags never decrease from left to right. There is no wrap-around.
//! - The home of a tag is `tag * capacity >> 15`: a larger array is the same order with other gaps, so that growth
//!   needs no hash and touches no item.
//! - Every bucket between an item and its home, home included, is occupied. Items give way to the right; only when
//!   the right end is full do they give way to the left.
//!
//! A segment may be filled to the last bucket and stays correct; `max_len` only keeps the walks short. It owns its
//! array and not the items in it.

use crate::cache_line::{CACHE_LINE, prefetch};
use std::ptr::NonNull;

use super::bucket::{Bucket, Tag};

/// A segment grows up to this capacity; then it splits.
pub(super) const CAPACITY_MAX: usize = 1024;

/// How many buckets a lookup compares at once: one cache line's worth, and nine of ten items are that near to home.
const WINDOW: usize = 8;

pub(super) struct Segment {
    /// `capacity` initialised buckets that came from a boxed slice.
    buckets: NonNull<Bucket>,
    capacity: u32,
    len: u32,
}

impl Segment {
    pub const EMPTY: Self = Self { buckets: NonNull::dangling(), capacity: 0, len: 0 };

    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    #[inline]
    pub fn is_full(&self) -> bool {
        self.len() >= max_len(self.capacity())
    }

    #[inline]
    pub fn buckets(&self) -> &[Bucket] {
        // SAFETY: `buckets` points to `capacity` initialised buckets owned by self (dangling only for none of them),
        // and the shared borrow of self keeps them from changing.
        unsafe { std::slice::from_raw_parts(self.buckets.as_ptr(), self.capacity()) }
    }

    #[inline]
    pub fn buckets_mut(&mut self) -> &mut [Bucket] {
        // SAFETY: as in `buckets`, and the borrow of self is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.buckets.as_ptr(), self.capacity()) }
    }

    /// The occupied buckets, in tag order.
    pub fn occupied(&self) -> impl DoubleEndedIterator<Item = Bucket> {
        self.buckets().iter().copied().filter(|bucket| !bucket.is_empty())
    }

    #[inline]
    fn home(&self, tag: Tag) -> usize {
        ((tag.bits() * u64::from(self.capacity)) >> Tag::BITS) as usize
    }

    /// Asks for the buckets that [`Segment::find`] will look at.
    #[inline]
    pub fn prefetch_buckets(&self, tag: Tag) {
        let buckets = self.buckets();
        if let Some(bucket) = buckets.get(self.home(tag).min(buckets.len().saturating_sub(WINDOW))) {
            prefetch(&raw const *bucket);
        }
    }

    /// Asks for the item that [`Segment::find`] will most likely look at.
    #[inline]
    pub fn prefetch_item(&self, tag: Tag) {
        let buckets = self.buckets();
        let start = self.home(tag).min(buckets.len().saturating_sub(WINDOW));
        let hit = buckets[start..].iter().take(WINDOW).find(|bucket| bucket.tag() == tag);
        if let Some(item) = hit.and_then(|bucket| bucket.item()) {
            prefetch(item.as_ptr());
            // Most items are longer than what is left of their first cache line.
            prefetch(item.as_ptr().wrapping_add(CACHE_LINE));
        }
    }

    /// The bucket with this tag whose item `matches`.
    #[inline]
    pub fn find(&self, tag: Tag, mut matches: impl FnMut(NonNull<u8>) -> bool) -> Option<usize> {
        let buckets = self.buckets();
        let Some(last_start) = buckets.len().checked_sub(WINDOW) else {
            let hit = |bucket: &Bucket| bucket.tag() == tag && bucket.item().is_some_and(&mut matches);
            return buckets.iter().position(hit);
        };
        let start = self.home(tag).min(last_start);
        // All tags of the window are compared before the first branch: where in it an item lies is chance, and a
        // processor that guesses wrong loses more time than the comparisons take.
        let mut hits = 0u32;
        for (i, bucket) in buckets[start..start + WINDOW].iter().enumerate() {
            hits |= u32::from(bucket.tag() == tag) << i;
        }
        while hits != 0 {
            let at = start + hits.trailing_zeros() as usize;
            if buckets[at].item().is_some_and(&mut matches) {
                return Some(at);
            }
            hits &= hits - 1;
        }
        // An item right of the window has a full window before it, with no tag above its own; one left of it has
        // neighbours up to the window with no tag below. (The tag of an empty bucket is zero, whose home is 0.)
        let end = start + WINDOW;
        let maybe_right = !buckets[end - 1].is_empty() && buckets[end - 1].tag() <= tag;
        let maybe_left = start > 0 && buckets[start - 1].tag() >= tag;
        if maybe_right || maybe_left {
            return self.find_far(tag, start, matches);
        }
        None
    }

    /// Goes on on both sides of the window, where few items are.
    fn find_far(&self, tag: Tag, start: usize, mut matches: impl FnMut(NonNull<u8>) -> bool) -> Option<usize> {
        let buckets = self.buckets();
        let right =
            (start + WINDOW..buckets.len()).take_while(|&at| !buckets[at].is_empty() && buckets[at].tag() <= tag);
        let left = (0..start).rev().take_while(|&at| !buckets[at].is_empty() && buckets[at].tag() >= tag);
        right.chain(left).find(|&at| buckets[at].tag() == tag && buckets[at].item().is_some_and(&mut matches))
    }

    /// The first bucket whose item is not below `tag`; everything that is not is from there on.
    pub fn lower_bound(&self, tag: Tag) -> usize {
        self.rank(self.home(tag), |other| other < tag)
    }

    /// Where in the run around `home` the tags stop to be `below`. If `home` is empty, that is `home` itself.
    #[inline]
    fn rank(&self, home: usize, below: impl Fn(Tag) -> bool) -> usize {
        let buckets = self.buckets();
        let mut at = home;
        while at < buckets.len() && !buckets[at].is_empty() && below(buckets[at].tag()) {
            at += 1;
        }
        if at == home {
            while at > 0 && !buckets[at - 1].is_empty() && !below(buckets[at - 1].tag()) {
                at -= 1;
            }
        }
        at
    }

    /// Puts a bucket in its place and tells which it is. There must be an empty one.
    pub fn insert(&mut self, bucket: Bucket) -> usize {
        assert!(self.len < self.capacity, "the segment has no empty bucket");
        let tag = bucket.tag();
        let at = self.rank(self.home(tag), |other| other <= tag);
        self.len += 1;
        let buckets = self.buckets_mut();
        if let Some(distance) = buckets[at..].iter().position(|bucket| bucket.is_empty()) {
            buckets.copy_within(at..at + distance, at + 1);
            buckets[at] = bucket;
            return at;
        }
        let gap = buckets[..at].iter().rposition(|bucket| bucket.is_empty()).expect("an empty bucket was counted");
        buckets.copy_within(gap + 1..at, gap);
        buckets[at - 1] = bucket;
        at - 1
    }

    /// Empties a bucket and closes the hole, so that no item is cut off from its home.
    pub fn remove(&mut self, at: usize) -> Bucket {
        let capacity = self.capacity();
        let removed = self.buckets()[at];
        assert!(!removed.is_empty(), "the bucket is empty already");
        // Items right of the hole whose home is not: each moves one to the left.
        let mut end = at + 1;
        while end < capacity && !self.buckets()[end].is_empty() && self.home(self.buckets()[end].tag()) < end {
            end += 1;
        }
        let mut hole = end - 1;
        if hole > at {
            self.buckets_mut().copy_within(at + 1..end, at);
        } else {
            // Since tags are sorted, only one side can have items that reach across the hole.
            while hole > 0 && !self.buckets()[hole - 1].is_empty() && self.home(self.buckets()[hole - 1].tag()) >= hole
            {
                hole -= 1;
            }
            self.buckets_mut().copy_within(hole..at, hole + 1);
        }
        self.buckets_mut()[hole] = Bucket::EMPTY;
        self.len -= 1;
        removed
    }

    /// Moves everything to the next larger array.
    pub fn grow(&mut self) {
        *self = Self::laid_out(self.occupied(), self.len(), next_capacity(self.capacity()));
    }

    /// Moves everything to a smaller array once less than half of this one is used. The new one has room for a
    /// quarter more, so that alternating inserts and removals do not resize each time.
    pub fn shrink(&mut self) {
        let len = self.len();
        if len == 0 {
            *self = Self::EMPTY;
        } else if len * 2 < self.capacity() {
            let capacity = capacity_for(len + len / 4 + 1);
            if capacity < self.capacity() {
                *self = Self::laid_out(self.occupied(), len, capacity);
            }
        }
    }

    /// Takes out the buckets at `doomed`, which ascends.
    pub fn remove_all(&mut self, doomed: &[usize], mut taken: impl FnMut(Bucket)) {
        // One new layout costs no more than two or three single removals, and the single ones would move the rest.
        let mut doomed_left = doomed;
        let mut kept = Vec::with_capacity(self.len());
        let mut removed = Vec::with_capacity(doomed.len());
        for (at, bucket) in self.buckets().iter().enumerate() {
            if doomed_left.first() == Some(&at) {
                assert!(!bucket.is_empty(), "the bucket is empty already");
                doomed_left = &doomed_left[1..];
                removed.push(*bucket);
            } else if !bucket.is_empty() {
                kept.push(*bucket);
            }
        }
        assert!(doomed_left.is_empty(), "the positions ascend and lie in the segment");
        *self = Self::laid_out(kept.iter().copied(), kept.len(), capacity_for(kept.len()));
        removed.into_iter().for_each(&mut taken);
    }

    /// A segment that holds `sorted`, just large enough.
    pub fn from_sorted(sorted: &[Bucket]) -> Self {
        Self::laid_out(sorted.iter().copied(), sorted.len(), capacity_for(sorted.len()))
    }

    /// The items of both; the originals must then be forgotten, not used.
    pub fn merged(left: &Self, right: &Self) -> Self {
        let mut all: Vec<Bucket> = left.occupied().chain(right.occupied()).collect();
        all.sort_by_key(|bucket| bucket.tag());
        Self::from_sorted(&all)
    }

    /// Places `len` sorted buckets as near to their homes as the order allows.
    fn laid_out(sorted: impl Iterator<Item = Bucket>, len: usize, capacity: usize) -> Self {
        assert!(len <= capacity, "the items do not fit");
        if capacity == 0 {
            return Self::EMPTY;
        }
        let mut segment = Self::empty(capacity);
        let mut next = 0;
        let mut left = len;
        for bucket in sorted {
            // Right of the previous item, at home if it can be, and early enough that the others find room.
            let at = segment.home(bucket.tag()).max(next).min(capacity - left);
            segment.buckets_mut()[at] = bucket;
            next = at + 1;
            left -= 1;
        }
        assert!(left == 0, "the items were counted wrongly");
        segment.len = u32::try_from(len).expect("a length is at most the capacity");
        segment
    }

    fn empty(capacity: usize) -> Self {
        let buckets = Box::into_raw(vec![Bucket::EMPTY; capacity].into_boxed_slice());
        Self {
            buckets: NonNull::new(buckets.cast()).expect("a box is not null"),
            capacity: u32::try_from(capacity).expect("a segment has fewer than 2^32 buckets"),
            len: 0,
        }
    }

    pub fn heap_bytes(&self) -> usize {
        self.capacity() * size_of::<Bucket>()
    }

    #[cfg(test)]
    pub fn check(&self) {
        let tags: Vec<Tag> = self.occupied().map(Bucket::tag).collect();
        assert!(tags.is_sorted(), "tags are sorted");
        assert_eq!(tags.len(), self.len());
        for (at, bucket) in self.buckets().iter().enumerate().filter(|(_, bucket)| !bucket.is_empty()) {
            let home = self.home(bucket.tag());
            let between = &self.buckets()[at.min(home)..=at.max(home)];
            assert!(between.iter().all(|bucket| !bucket.is_empty()), "a gap between an item and its home");
        }
    }
}

impl Drop for Segment {
    #[inline]
    fn drop(&mut self) {
        if self.capacity > 0 {
            let buckets = std::ptr::slice_from_raw_parts_mut(self.buckets.as_ptr(), self.capacity());
            // SAFETY: a capacity above zero means that `buckets` came from a boxed slice of that length, in `empty`,
            // and self is its only owner.
            drop(unsafe { Box::from_raw(buckets) });
        }
    }
}

/// How many items an array takes before it grows: fifteen of sixteen, and small ones to the brim.
#[inline]
fn max_len(capacity: usize) -> usize {
    capacity - capacity / 16
}

/// The next size class of the allocator, in words: 1, 2, 4, 6, 8, then four to each power of two.
fn next_capacity(capacity: usize) -> usize {
    match capacity {
        0 | 1 => capacity + 1,
        2..8 => capacity + 2,
        _ => capacity + (1 << capacity.ilog2()) / 4,
    }
}

/// The smallest size class that takes `len` items.
fn capacity_for(len: usize) -> usize {
    let mut capacity = match len {
        0..=2 => len,
        3..=8 => len.next_multiple_of(2),
        _ => len.next_multiple_of((1 << (len - 1).ilog2()) / 4),
    };
    while max_len(capacity) < len {
        capacity = next_capacity(capacity);
    }
    capacity
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::table::bucket::Mark;

    #[test]
    fn size_classes_are_those_of_the_allocator() {
        let classes: Vec<usize> = std::iter::successors(Some(0), |&c| (c < 128).then(|| next_capacity(c))).collect();
        let expected = [0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128];
        assert_eq!(classes, expected);
        for len in 0..=max_len(128) {
            let fitting = classes.iter().copied().find(|&c| max_len(c) >= len);
            assert_eq!(Some(capacity_for(len)), fitting, "{len} items");
        }
    }

    /// Fills segments to the last bucket and empties them in random order, with few and with many different tags.
    #[test]
    fn any_load_keeps_the_invariants() {
        let mut rng = Rng::seeded(3);
        let mut bytes = vec![0u64; 64];
        for round in 0..400u64 {
            let tags = [1, 3, 40, 1 << 15][(round % 4) as usize];
            let shift = if round % 3 == 0 { (1 << 15) - tags } else { 0 };
            let mut segment = Segment::empty(1 + rng.below(40) as usize);
            let mut model: Vec<(Tag, NonNull<u8>)> = Vec::new();
            for byte in bytes.iter_mut().take(segment.capacity()) {
                let tag = Tag::from_bits(shift + rng.below(tags));
                let item = NonNull::from(byte).cast();
                let at = segment.insert(Bucket::new(item, tag, Mark::Clear));
                assert_eq!(segment.buckets()[at].item(), Some(item));
                model.push((tag, item));
                segment.check();
            }
            while !model.is_empty() {
                for &(tag, item) in &model {
                    let at = segment.find(tag, |other| other == item).expect("the item is in the segment");
                    assert_eq!(segment.buckets()[at].item(), Some(item));
                    let bound = segment.lower_bound(tag);
                    assert!(segment.buckets()[..bound].iter().all(|b| b.is_empty() || b.tag() < tag));
                    assert!(segment.buckets()[bound..].iter().all(|b| b.is_empty() || b.tag() >= tag));
                }
                let (tag, item) = model.swap_remove(rng.below(model.len() as u64) as usize);
                let at = segment.find(tag, |other| other == item).expect("the item is in the segment");
                segment.remove(at);
                assert_eq!(segment.find(tag, |other| other == item), None);
                segment.check();
            }
        }
    }
}
