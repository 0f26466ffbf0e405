//! A leaf: up to `MAX` entries in order, with their scores beside them.
//!
//! The scores lie side by side in the leaf, although each member has its own as well: every entry that is looked at for
//! its score is likely a cache miss, and a search must not touch a member unless scores are equal.

use super::{Entry, Key};

/// Entries of a full leaf: as many as make it an allocation of 1024 bytes.
pub(super) const MAX: usize = 63;
/// A leaf with fewer entries tries to merge with a neighbour.
pub(super) const FEW: usize = 16;

pub(super) struct Leaf {
    len: usize,
    scores: [f64; MAX],
    /// `Some` below `len`.
    entries: [Option<Entry>; MAX],
}

const _: () = assert!(size_of::<Leaf>() <= 1024);

impl Leaf {
    pub fn new() -> Leaf {
        Leaf { len: 0, scores: [0.0; MAX], entries: [None; MAX] }
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

    pub fn scores(&self) -> &[f64] {
        &self.scores[..self.len]
    }

    /// The score of an entry is about to become `score`, which leaves it where it is.
    pub fn set_score(&mut self, index: usize, score: f64) {
        self.scores[index] = score;
    }

    /// How many entries come before `key`.
    pub fn lower_bound(&self, key: &Key) -> usize {
        super::lower_bound(self.scores(), key, |index| self.entry(index))
    }

    /// How many entries satisfy `is_before`, which holds for a prefix.
    pub fn partition_point(&self, is_before: impl Fn(f64, &Entry) -> bool) -> usize {
        super::partition_point(self.len, |index| is_before(self.scores[index], self.entry(index)))
    }

    /// Where this very entry, which has this score, is; looks at no member.
    pub fn index_of(&self, entry: Entry, score: f64) -> usize {
        let below = self.scores().partition_point(|&other| other < score);
        let index = self.entries()[below..].iter().position(|&candidate| candidate == Some(entry));
        below + index.expect("the separators lead to the leaf of an entry")
    }

    pub fn insert(&mut self, index: usize, entry: Entry, score: f64) {
        assert!(index <= self.len && self.len < MAX);
        self.scores.copy_within(index..self.len, index + 1);
        self.entries.copy_within(index..self.len, index + 1);
        self.scores[index] = score;
        self.entries[index] = Some(entry);
        self.len += 1;
    }

    pub fn remove(&mut self, index: usize) -> Entry {
        let entry = *self.entry(index);
        self.scores.copy_within(index + 1..self.len, index);
        self.entries.copy_within(index + 1..self.len, index);
        self.len -= 1;
        self.entries[self.len] = None;
        entry
    }

    pub fn split_off(&mut self, index: usize) -> Leaf {
        let mut right = Leaf::new();
        right.len = self.len - index;
        right.scores[..right.len].copy_from_slice(&self.scores[index..self.len]);
        right.entries[..right.len].copy_from_slice(&self.entries[index..self.len]);
        self.entries[index..self.len].fill(None);
        self.len = index;
        right
    }

    pub fn append(&mut self, right: &Leaf) {
        let target = self.len..self.len + right.len;
        self.scores[target.clone()].copy_from_slice(right.scores());
        self.entries[target].copy_from_slice(right.entries());
        self.len += right.len;
    }
}
