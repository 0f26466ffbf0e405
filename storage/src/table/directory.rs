//! Extendible hashing: what a table becomes when one segment is too small for it.
//!
//! The directory has `2^depth` entries, indexed by the top bits of the hash. A segment of local depth `d` holds the
//! items that share `d` top bits and so covers `2^(depth - d)` neighbouring entries; it lies in the first of them,
//! its *owner*, and the others hold an empty segment and the same local depth. So a lookup masks its index with the
//! depth it finds there and reads a second entry that is mostly in the same cache line.
//!
//! Segments split and merge one at a time, so that no insert or removal ever touches more than one segment's items.

use super::bucket::Bucket;
use super::segment::{CAPACITY_MAX, Segment};

/// Beyond this depth segments grow instead of splitting, so that 2^18 of them and a cursor's prefix suffice.
pub(super) const DEPTH_MAX: u32 = 18;

/// Two halves merge when what they hold together is half of what made one split.
const MERGE_LEN_MAX: usize = CAPACITY_MAX / 2 - CAPACITY_MAX / 32;

pub(super) struct Entry {
    pub segment: Segment,
    /// How many top bits of the hash the items of the covering segment share.
    depth: u32,
}

pub(super) struct Directory {
    entries: Vec<Entry>,
    depth: u32,
    /// Segments whose local depth is `depth`: without any, the directory halves.
    deepest: usize,
    len: usize,
}

impl Directory {
    pub fn new(segment: Segment) -> Self {
        Self { len: segment.len(), entries: vec![Entry { segment, depth: 0 }], depth: 0, deepest: 1 }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    #[inline]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    #[inline]
    pub fn segment_mut(&mut self, owner: usize) -> &mut Segment {
        &mut self.entries[owner].segment
    }

    /// The entry that holds the segment for a hash.
    #[inline]
    pub fn owner(&self, hash: u64) -> usize {
        // A shift by 64 would overflow at depth zero, hence in two steps.
        self.owner_at((hash >> 1 >> (63 - self.depth)) as usize)
    }

    /// The owner of any entry.
    #[inline]
    pub fn owner_at(&self, index: usize) -> usize {
        index & !(self.span(index) - 1)
    }

    /// How many entries the segment of this one covers.
    #[inline]
    pub fn span(&self, index: usize) -> usize {
        1 << (self.depth - self.entries[index].depth)
    }

    #[inline]
    pub fn local_depth(&self, index: usize) -> u32 {
        self.entries[index].depth
    }

    /// Inserts, after as many splits as it takes to make room. Returns the owner and the bucket.
    pub fn insert(&mut self, hash: u64, bucket: Bucket, rehash: impl Fn(Bucket) -> u64) -> (usize, usize) {
        loop {
            let owner = self.owner(hash);
            let Entry { segment, depth } = &mut self.entries[owner];
            if !segment.is_full() {
                self.len += 1;
                return (owner, segment.insert(bucket));
            }
            if segment.capacity() < CAPACITY_MAX || *depth == DEPTH_MAX {
                segment.grow();
            } else {
                self.split(owner, &rehash);
            }
        }
    }

    pub fn remove(&mut self, owner: usize, at: usize) -> Bucket {
        let removed = self.entries[owner].segment.remove(at);
        self.len -= 1;
        self.entries[owner].segment.shrink();
        self.merge(owner);
        removed
    }

    /// Removes many from one segment. Follow with `merge`, once no other position is needed any more.
    pub fn remove_all(&mut self, owner: usize, doomed: &[usize], taken: impl FnMut(Bucket)) {
        self.entries[owner].segment.remove_all(doomed, taken);
        self.len -= doomed.len();
    }

    /// Moves the items whose next bit is one to a segment of their own.
    fn split(&mut self, owner: usize, rehash: &impl Fn(Bucket) -> u64) {
        let depth = self.entries[owner].depth + 1;
        let (mut zeros, mut ones) = (Vec::with_capacity(CAPACITY_MAX), Vec::with_capacity(CAPACITY_MAX));
        for bucket in self.entries[owner].segment.occupied() {
            let bit = rehash(bucket) >> (64 - depth) & 1;
            if bit == 0 { zeros.push(bucket) } else { ones.push(bucket) }
        }
        // The hashes are known and no foreign code runs any more: from here on nothing can stop half way.
        let owner = if depth > self.depth { self.double(owner) } else { owner };
        let half = 1 << (self.depth - depth);
        self.entries[owner].segment = Segment::from_sorted(&zeros);
        self.entries[owner + half].segment = Segment::from_sorted(&ones);
        self.set_depth(owner, 2 * half, depth);
        if depth == self.depth {
            self.deepest += 2;
        }
    }

    /// Gives every entry a twin; returns where `owner` is now.
    fn double(&mut self, owner: usize) -> usize {
        assert!(self.depth < DEPTH_MAX, "the directory is as deep as it may be");
        let old = std::mem::take(&mut self.entries);
        self.entries.reserve_exact(old.len() * 2);
        for entry in old {
            let twin = Entry { segment: Segment::EMPTY, depth: entry.depth };
            self.entries.extend([entry, twin]);
        }
        self.depth += 1;
        self.deepest = 0;
        owner * 2
    }

    /// Merges a segment with its other half while both are small, and halves the directory when it is too deep.
    pub fn merge(&mut self, mut owner: usize) {
        while self.entries[owner].depth > 0 {
            let depth = self.entries[owner].depth;
            let half = 1 << (self.depth - depth);
            let buddy = owner ^ half;
            let (left, right) = (&self.entries[owner.min(buddy)], &self.entries[owner.max(buddy)]);
            if self.entries[buddy].depth != depth || left.segment.len() + right.segment.len() > MERGE_LEN_MAX {
                break;
            }
            let merged = Segment::merged(&left.segment, &right.segment);
            owner = owner.min(buddy);
            self.entries[owner + half].segment = Segment::EMPTY;
            self.entries[owner].segment = merged;
            self.set_depth(owner, 2 * half, depth - 1);
            if depth == self.depth {
                self.deepest -= 2;
            }
            while self.deepest == 0 {
                self.halve();
                owner /= 2;
            }
        }
    }

    fn halve(&mut self) {
        assert!(self.depth > 0, "a directory has at least one entry");
        // Every segment covers at least two entries, so that owners have even indexes.
        self.entries = std::mem::take(&mut self.entries).into_iter().step_by(2).collect();
        self.entries.shrink_to_fit();
        self.depth -= 1;
        self.deepest = (0..self.entries.len())
            .filter(|&index| self.entries[index].depth == self.depth && self.owner_at(index) == index)
            .count();
    }

    fn set_depth(&mut self, from: usize, count: usize, depth: u32) {
        self.entries[from..from + count].iter_mut().for_each(|entry| entry.depth = depth);
    }

    /// The only segment, when all have merged into it.
    pub fn take_last_segment(&mut self) -> Option<Segment> {
        (self.depth == 0).then(|| std::mem::replace(&mut self.entries[0].segment, Segment::EMPTY))
    }

    pub fn heap_bytes(&self) -> usize {
        let segments: usize = self.entries.iter().map(|entry| entry.segment.heap_bytes()).sum();
        segments + self.entries.capacity() * size_of::<Entry>() + size_of::<Self>()
    }

    #[cfg(test)]
    pub fn check(&self, rehash: impl Fn(Bucket) -> u64) {
        assert_eq!(self.entries.len(), 1 << self.depth);
        let (mut index, mut len, mut deepest) = (0, 0, 0);
        while index < self.entries.len() {
            let Entry { segment, depth } = &self.entries[index];
            segment.check();
            len += segment.len();
            deepest += usize::from(*depth == self.depth);
            for bucket in segment.occupied() {
                assert_eq!(self.owner(rehash(bucket)), index);
                assert_eq!(crate::table::bucket::Tag::of(rehash(bucket)), bucket.tag());
            }
            for alias in index + 1..index + self.span(index) {
                assert!(self.entries[alias].depth == *depth && self.entries[alias].segment.capacity() == 0);
            }
            index += self.span(index);
        }
        assert_eq!((len, deepest), (self.len, self.deepest));
    }
}
