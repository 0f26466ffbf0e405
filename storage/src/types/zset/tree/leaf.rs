//! A leaf: up to `MAX` entries in order, as pointers only.

use super::{Entry, Key};

/// Entries of a full leaf: as many as make it an allocation of 512 bytes.
pub(super) const MAX: usize = 63;
/// A leaf with fewer entries tries to merge with a neighbour.
pub(super) const FEW: usize = 16;

pub(super) struct Leaf {
    len: usize,
    /// `Some` below `len`.
    entries: [Option<Entry>; MAX],
}

const _: () = assert!(size_of::<Leaf>() == 512);

/// Entries whose scores are looked at together when searching a leaf.
const STRIDE: usize = 8;

impl Leaf {
    pub fn new() -> Leaf {
        Leaf { len: 0, entries: [None; MAX] }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_full(&self) -> bool {
        self.len == MAX
    }

    #[inline]
    pub fn entry(&self, index: usize) -> &Entry {
        match &self.entries[index] {
            Some(entry) => entry,
            None => panic!("leaf entry {index} of {}", self.len),
        }
    }

    pub fn entries(&self) -> &[Option<Entry>] {
        &self.entries[..self.len]
    }

    /// How many entries come before `key`.
    ///
    /// Every entry looked at is likely a cache miss, so this does not bisect, where each miss waits for the one before:
    /// it looks at every eighth entry and then at those between two of them, and all misses of a step overlap.
    pub fn lower_bound(&self, key: &Key) -> usize {
        if self.len == 0 || key.is_after(self.entry(self.len - 1)) {
            return self.len;
        }
        let strides = (STRIDE - 1..self.len).step_by(STRIDE);
        let before = strides.filter(|&index| key.is_after(self.entry(index))).count() * STRIDE;
        let rest = before..self.len.min(before + STRIDE);
        before + rest.filter(|&index| key.is_after(self.entry(index))).count()
    }

    /// How many entries satisfy `is_before`, which holds for a prefix.
    pub fn partition_point(&self, is_before: impl Fn(f64, &Entry) -> bool) -> usize {
        super::partition_point(self.len, |index| {
            let entry = self.entry(index);
            is_before(entry.score(), entry)
        })
    }

    /// Where this very entry is; looks at no member.
    pub fn index_of(&self, entry: Entry) -> usize {
        let index = self.entries().iter().position(|&candidate| candidate == Some(entry));
        index.expect("the separators lead to the leaf of an entry")
    }

    pub fn insert(&mut self, index: usize, entry: Entry) {
        assert!(index <= self.len && self.len < MAX);
        self.entries.copy_within(index..self.len, index + 1);
        self.entries[index] = Some(entry);
        self.len += 1;
    }

    pub fn remove(&mut self, index: usize) -> Entry {
        let entry = *self.entry(index);
        self.entries.copy_within(index + 1..self.len, index);
        self.len -= 1;
        self.entries[self.len] = None;
        entry
    }

    pub fn split_off(&mut self, index: usize) -> Leaf {
        let mut right = Leaf::new();
        right.len = self.len - index;
        right.entries[..right.len].copy_from_slice(&self.entries[index..self.len]);
        self.entries[index..self.len].fill(None);
        self.len = index;
        right
    }

    pub fn append(&mut self, right: &Leaf) {
        self.entries[self.len..self.len + right.len].copy_from_slice(right.entries());
        self.len += right.len;
    }
}
