//! An inner node: children with their counts, and a separator for each, the child's first entry and its score.
//!
//! The scores lie side by side in the node, so that finding the way down touches a member only where scores are equal.

use super::{Entry, Key, Node};

/// Children of a full node.
pub(super) const MAX: usize = 32;
/// A node with fewer children tries to merge with a neighbour.
pub(super) const FEW: usize = 8;

pub(super) struct Inner {
    len: usize,
    scores: [f64; MAX],
    counts: [u32; MAX],
    /// `Some` below `len`, as are the children.
    firsts: [Option<Entry>; MAX],
    children: [Option<Node>; MAX],
}

impl Inner {
    pub fn new() -> Inner {
        Inner { len: 0, scores: [0.0; MAX], counts: [0; MAX], firsts: [None; MAX], children: [const { None }; MAX] }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_full(&self) -> bool {
        self.len == MAX
    }

    /// Entries below this node.
    pub fn count(&self) -> usize {
        self.count_before(self.len)
    }

    /// Entries below the children before `index`.
    pub fn count_before(&self, index: usize) -> usize {
        // The tree bounds its length to what 32 bits count.
        self.counts[..index].iter().sum::<u32>() as usize
    }

    pub fn first(&self, index: usize) -> &Entry {
        match &self.firsts[..self.len][index] {
            Some(first) => first,
            None => panic!("separator {index} of {}", self.len),
        }
    }

    pub fn score(&self, index: usize) -> f64 {
        self.scores[index]
    }

    pub fn child(&self, index: usize) -> &Node {
        match &self.children[index] {
            Some(child) => child,
            None => panic!("child {index} of {}", self.len),
        }
    }

    pub fn child_mut(&mut self, index: usize) -> &mut Node {
        match &mut self.children[index] {
            Some(child) => child,
            None => panic!("child {index} of {}", self.len),
        }
    }

    pub fn children(&self) -> impl Iterator<Item = &Node> {
        self.children[..self.len].iter().flatten()
    }

    /// The child that holds the entry with this key, or would hold it.
    #[inline]
    pub fn child_for(&self, key: &Key) -> usize {
        super::upper_bound(&self.scores[..self.len], key, |index| self.first(index)).saturating_sub(1)
    }

    /// The child in which the entries that satisfy `is_before` end.
    pub fn child_where(&self, is_before: impl Fn(f64, &Entry) -> bool) -> usize {
        super::partition_point(self.len, |index| is_before(self.scores[index], self.first(index))).saturating_sub(1)
    }

    /// The child that holds the entry of this rank, and its rank there.
    pub fn child_at(&self, rank: usize) -> (usize, usize) {
        let mut left = rank;
        for (index, &count) in self.counts[..self.len].iter().enumerate() {
            if left < count as usize {
                return (index, left);
            }
            left -= count as usize;
        }
        panic!("rank {rank} in a node of {}", self.count())
    }

    /// One entry was added below or taken from this child.
    pub fn child_grew(&mut self, index: usize) {
        self.counts[index] += 1;
        self.refresh_first(index);
    }

    pub fn child_shrank(&mut self, index: usize) {
        self.counts[index] -= 1;
        self.refresh_first(index);
    }

    /// Takes count and separator from the child again.
    pub fn refresh(&mut self, index: usize) {
        self.counts[index] = self.child(index).count() as u32;
        self.refresh_first(index);
    }

    /// The score of the first entry below this child is about to become `score`.
    pub fn set_score(&mut self, index: usize, score: f64) {
        self.scores[index] = score;
    }

    pub fn insert(&mut self, index: usize, child: Node) {
        assert!(index <= self.len && self.len < MAX);
        self.scores.copy_within(index..self.len, index + 1);
        self.counts.copy_within(index..self.len, index + 1);
        self.firsts.copy_within(index..self.len, index + 1);
        self.firsts[index] = None;
        self.children[index..=self.len].rotate_right(1);
        self.children[index] = Some(child);
        self.len += 1;
        self.refresh(index);
    }

    pub fn remove(&mut self, index: usize) -> Node {
        let child = self.children[index].take();
        self.scores.copy_within(index + 1..self.len, index);
        self.counts.copy_within(index + 1..self.len, index);
        self.firsts.copy_within(index + 1..self.len, index);
        self.children[index..self.len].rotate_left(1);
        self.len -= 1;
        self.firsts[self.len] = None;
        child.expect("a child below the length")
    }

    pub fn split_off(&mut self, index: usize) -> Inner {
        let mut right = Inner::new();
        right.len = self.len - index;
        let moved = index..self.len;
        right.scores[..right.len].copy_from_slice(&self.scores[moved.clone()]);
        right.counts[..right.len].copy_from_slice(&self.counts[moved.clone()]);
        right.firsts[..right.len].copy_from_slice(&self.firsts[moved.clone()]);
        right.children[..right.len].swap_with_slice(&mut self.children[moved.clone()]);
        self.firsts[moved].fill(None);
        self.len = index;
        right
    }

    pub fn append(&mut self, mut right: Inner) {
        let target = self.len..self.len + right.len;
        self.scores[target.clone()].copy_from_slice(&right.scores[..right.len]);
        self.counts[target.clone()].copy_from_slice(&right.counts[..right.len]);
        self.firsts[target.clone()].copy_from_slice(&right.firsts[..right.len]);
        self.children[target].swap_with_slice(&mut right.children[..right.len]);
        self.len += right.len;
    }

    /// After a removal below the child at `index`: drops it if empty, merges it with a neighbour if small.
    pub fn rebalance(&mut self, index: usize) {
        if self.counts[index] == 0 {
            self.remove(index);
            return;
        }
        if !self.child(index).is_small() {
            return;
        }
        let left = [index.checked_sub(1), Some(index)]
            .into_iter()
            .flatten()
            .find(|&left| left + 1 < self.len && self.child(left).merges_with(self.child(left + 1)));
        if let Some(left) = left {
            let right = self.remove(left + 1);
            self.child_mut(left).append(right);
            self.refresh(left);
        }
    }

    fn refresh_first(&mut self, index: usize) {
        let first = self.child(index).first();
        self.firsts[index] = first.map(|(_, entry)| entry);
        self.scores[index] = first.map_or(0.0, |(score, _)| score);
    }
}
