//! Walking a table bit by bit: SCAN, the expiry cycle, and drawing at random.
//!
//! The order of a walk is (top bits of the hash, tag). It depends on the items alone, not on the capacity of their
//! segment, so a cursor stays meaningful while the table grows and shrinks. It says: *everything before this prefix
//! has been seen, and of what begins with this prefix, the tags below this one*. Then
//! - if the segment has split since, the walk goes on in its first part at the tag, and sees the later parts whole;
//! - if it has merged, its other half has tags that nobody saw, and the walk begins the merged segment anew.
//!
//! So an item that is there from the first call to the last is seen at least once, perhaps twice. Items with equal
//! tags are seen in one call, because a cursor could not tell them apart.

use super::bucket::{Bucket, Mark, Tag};
use super::directory::DEPTH_MAX;
use super::segment::CAPACITY_MAX;
use super::{Item, ItemRef, Loc, Root, Table};
use crate::rng::Rng;

/// Where a walk stands, as the number a client carries from one SCAN to the next. Zero is both start and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScanCursor(u64);

impl ScanCursor {
    pub const START: Self = Self(0);
    /// How many low bits of the number are in use.
    pub const BITS: u32 = DEPTH_MAX + DEPTH_BITS + Tag::BITS;

    /// Any number is a cursor, since clients may send any; one that no scan returned leads to some place or other.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw & ((1 << Self::BITS) - 1))
    }

    pub const fn raw(self) -> u64 {
        self.0
    }

    pub const fn is_end(self) -> bool {
        self.0 == 0
    }
}

const DEPTH_BITS: u32 = 5;
const _: () = assert!(ScanCursor::BITS == 38, "the keyspace puts slot and database above the cursor");

/// A cursor taken apart.
struct Position {
    /// Left-aligned in `DEPTH_MAX` bits, so that it is the same number at every depth.
    prefix: usize,
    /// How many bits of the prefix count.
    depth: u32,
    tag: Tag,
}

impl From<ScanCursor> for Position {
    fn from(cursor: ScanCursor) -> Self {
        let depth = ((cursor.0 >> Tag::BITS) as u32 & ((1 << DEPTH_BITS) - 1)).min(DEPTH_MAX);
        let prefix = (cursor.0 >> (Tag::BITS + DEPTH_BITS)) as usize & ((1 << DEPTH_MAX) - 1);
        Self { prefix, depth, tag: Tag::from_bits(cursor.0) }
    }
}

impl From<Position> for ScanCursor {
    fn from(position: Position) -> Self {
        let high = (position.prefix as u64) << DEPTH_BITS | u64::from(position.depth);
        Self(high << Tag::BITS | position.tag.bits())
    }
}

impl<T: Item> Table<T> {
    /// Visits at least `count` items from `cursor` on, or all up to the end. What is there from the first call of a
    /// scan to the last is visited at least once, whatever else comes and goes.
    pub fn scan(&self, cursor: ScanCursor, count: usize, mut visit: impl FnMut(&T)) -> ScanCursor {
        self.walk(cursor, count, |_, bucket| {
            // SAFETY: `walk` passes occupied buckets of this table, and the handle dies here.
            bucket.item().into_iter().for_each(|item| visit(&*unsafe { ItemRef::<T>::new(item) }));
        })
    }

    /// Examines about `max_examined` items in scan order and visits those of them that are marked. To examine an
    /// item costs one word of the segment; the item itself is not touched.
    pub fn scan_marked(&self, from: ScanCursor, max_examined: usize, mut visit: impl FnMut(Loc, &T)) -> ScanCursor {
        self.walk(from, max_examined, |loc, bucket| {
            if let (Mark::Set, Some(item)) = (bucket.mark(), bucket.item()) {
                // SAFETY: `walk` passes occupied buckets of this table, and the handle dies here.
                visit(loc, &*unsafe { ItemRef::<T>::new(item) });
            }
        })
    }

    /// Like `scan_marked`, but moves those marked items for which `due` holds out of the table, to `taken`.
    pub fn take_marked(
        &mut self,
        from: ScanCursor,
        max_examined: usize,
        mut due: impl FnMut(&T) -> bool,
        taken: &mut Vec<T>,
    ) -> ScanCursor {
        let mut doomed: Vec<Loc> = Vec::new();
        let next = self.scan_marked(from, max_examined, |loc, item| {
            if due(item) {
                doomed.push(loc);
            }
        });
        let owned = |bucket: Bucket| {
            let item = bucket.item().expect("removed buckets were occupied");
            // SAFETY: the table owned the item, and its bucket is gone.
            unsafe { T::from_raw(item) }
        };
        for group in doomed.chunk_by(|a, b| a.entry == b.entry) {
            let positions: Vec<usize> = group.iter().map(|loc| loc.bucket as usize).collect();
            let keep = |bucket| taken.push(owned(bucket));
            match &mut self.root {
                Root::One(segment) => segment.remove_all(&positions, keep),
                Root::Many(directory) => directory.remove_all(group[0].entry as usize, &positions, keep),
            }
        }
        self.merge_after(&doomed);
        next
    }

    /// Merges what has become small. Merging moves entries, so it goes by prefix and comes after all removals.
    fn merge_after(&mut self, removed: &[Loc]) {
        if let Root::Many(directory) = &mut self.root {
            let depth_before = directory.depth();
            for group in removed.chunk_by(|a, b| a.entry == b.entry) {
                let prefix = (group[0].entry as usize) << (DEPTH_MAX - depth_before);
                let owner = directory.owner_at(prefix >> (DEPTH_MAX - directory.depth()));
                directory.merge(owner);
            }
        }
        self.dissolve_directory();
    }

    /// The walk itself: visits occupied buckets, at least `count` or up to the end, and never part of a tag's.
    fn walk(&self, from: ScanCursor, count: usize, mut visit: impl FnMut(Loc, Bucket)) -> ScanCursor {
        let Position { prefix, depth: depth_before, mut tag } = from.into();
        let mut left = count.max(1);
        let depth = self.directory_depth();
        let align = DEPTH_MAX - depth;
        let mut entry = self.owner_at(prefix >> align);
        if self.local_depth(entry) < depth_before {
            tag = Tag::ZERO;
        }
        while entry < 1 << depth {
            let segment = self.segment(entry);
            let mut last = None;
            for (at, bucket) in segment.buckets().iter().enumerate().skip(segment.lower_bound(tag)) {
                if bucket.is_empty() {
                    continue;
                }
                if left == 0 && last != Some(bucket.tag()) {
                    return Position { prefix: entry << align, depth: self.local_depth(entry), tag: bucket.tag() }
                        .into();
                }
                visit(Loc::new(entry, at), *bucket);
                last = Some(bucket.tag());
                left = left.saturating_sub(1);
            }
            entry += self.span(entry);
            tag = Tag::ZERO;
            if left == 0 && entry < 1 << depth {
                return Position { prefix: entry << align, depth: self.local_depth(entry), tag }.into();
            }
        }
        ScanCursor::START
    }

    fn directory_depth(&self) -> u32 {
        match &self.root {
            Root::One(_) => 0,
            Root::Many(directory) => directory.depth(),
        }
    }

    fn owner_at(&self, entry: usize) -> usize {
        match &self.root {
            Root::One(_) => 0,
            Root::Many(directory) => directory.owner_at(entry),
        }
    }

    fn local_depth(&self, entry: usize) -> u32 {
        match &self.root {
            Root::One(_) => 0,
            Root::Many(directory) => directory.local_depth(entry),
        }
    }

    fn span(&self, entry: usize) -> usize {
        match &self.root {
            Root::One(_) => 1,
            Root::Many(directory) => directory.span(entry),
        }
    }
}

/// Draws that fail before a sweep decides. Even draws from a sparse table nearly always succeed earlier.
const DRAWS_MAX: usize = 64;

impl<T: Item> Table<T> {
    /// Any item, each with the same chance.
    pub fn random(&self, rng: &mut Rng) -> Option<ItemRef<'_, T>> {
        self.draw(rng, DRAWS_MAX, usize::MAX, |_| true)
    }

    /// A marked item, if `max_probes` looks into the table find one. Half of the looks go to random places, so that
    /// each marked item has the same chance; the others sweep on from one, in case marked items are rare.
    pub fn sample_marked(&self, rng: &mut Rng, max_probes: usize) -> Option<ItemRef<'_, T>> {
        let draws = max_probes / 2;
        self.draw(rng, draws, max_probes - draws, |bucket| bucket.mark() == Mark::Set)
    }

    /// Up to `draws` independent draws of a bucket, then a sweep over `sweep` buckets, until one is `wanted`.
    fn draw(
        &self,
        rng: &mut Rng,
        draws: usize,
        mut sweep: usize,
        wanted: impl Fn(Bucket) -> bool,
    ) -> Option<ItemRef<'_, T>> {
        if self.is_empty() {
            return None;
        }
        let entries = self.entry_count();
        // Over all segments the same number of positions is drawn from, so that those with fewer items are hit less
        // often. A directory at its greatest depth may have larger segments: only these few draws are not quite even.
        let width = if entries == 1 { 0 } else { CAPACITY_MAX };
        for _ in 0..draws {
            let segment = self.segment(rng.below(entries as u64) as usize);
            let at = rng.below(width.max(segment.capacity()) as u64) as usize;
            if let Some(bucket) = segment.buckets().get(at)
                && let Some(item) = bucket.item()
                && wanted(*bucket)
            {
                // SAFETY: the bucket is occupied, and the result borrows the table.
                return Some(unsafe { ItemRef::new(item) });
            }
        }
        let first = self.owner_at(rng.below(entries as u64) as usize);
        let start = rng.below(self.segment(first).capacity().max(1) as u64) as usize;
        // The sweep ends where it began: the first segment comes twice, its part before the start at the end.
        for turn in 0..=entries {
            let buckets = self.segment((first + turn) % entries).buckets();
            let skip = if turn == 0 { start } else { 0 };
            for bucket in &buckets[skip..] {
                if sweep == 0 {
                    return None;
                }
                sweep -= 1;
                if let Some(item) = bucket.item()
                    && wanted(*bucket)
                {
                    // SAFETY: the bucket is occupied, and the result borrows the table.
                    return Some(unsafe { ItemRef::new(item) });
                }
            }
        }
        None
    }
}
