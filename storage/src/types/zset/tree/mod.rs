//! Entries in order of score and member: a B+tree that counts, so that ranks are found as fast as entries.
//!
//! Leaves hold pointers to members owned by the table next door (see `member`), inner nodes hold counts and separators.
//! All ranges are ranges of ranks: a bound on scores or members is first turned into a rank.
//!
//! Invariants: entries ascend strictly; the count and the separator of each child are those of the child; only the root
//! may be empty; all leaves are equally deep.

mod inner;
mod leaf;

use std::cmp::Ordering;

use self::inner::Inner;
use self::leaf::Leaf;
use super::member::Entry;
use crate::size_class::round_up;

pub(super) struct Tree {
    root: Node,
    len: usize,
}

/// What entries are ordered by: first the score, then the member's bytes.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub score: f64,
    pub member: &'a [u8],
}

enum Node {
    Leaf(Box<Leaf>),
    Inner(Box<Inner>),
}

/// Whether a node is the first or the last of its level, where entries in ascending or descending order arrive.
#[derive(Clone, Copy)]
struct Edges {
    left: bool,
    right: bool,
}

enum Target<'a> {
    Entry(Entry, Key<'a>),
    Rank(usize),
}

impl Tree {
    pub fn new() -> Tree {
        Tree { root: Node::Leaf(Box::new(Leaf::new())), len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds an entry that is not in the tree.
    pub fn insert(&mut self, entry: Entry) {
        assert!(self.len < u32::MAX as usize, "too many members in a sorted set");
        self.len += 1;
        let key = Key::of(&entry);
        if let Some(right) = self.root.insert(entry, &key, Edges { left: true, right: true }) {
            let mut root = Box::new(Inner::new());
            let left = std::mem::replace(&mut self.root, Node::Leaf(Box::new(Leaf::new())));
            root.insert(0, left);
            root.insert(1, right);
            self.root = Node::Inner(root);
        }
    }

    /// Takes out an entry, which is in the tree.
    pub fn remove(&mut self, entry: Entry) {
        let removed = self.remove_target(&Target::Entry(entry, Key::of(&entry)));
        assert!(removed == entry);
    }

    /// Takes out the entry of this rank.
    pub fn remove_at(&mut self, rank: usize) -> Entry {
        assert!(rank < self.len);
        self.remove_target(&Target::Rank(rank))
    }

    /// Lets an entry's score become `score` if that leaves it between its neighbours; false if it does not.
    ///
    /// The caller changes the member's own score directly afterwards.
    pub fn rescore_in_place(&mut self, entry: Entry, score: f64) -> bool {
        let old = Key::of(&entry);
        let rescored = self.root.rescore(entry, &old, &Key { score, member: old.member }, None, true);
        rescored == Rescored::InPlace
    }

    /// The rank of an entry, which is in the tree.
    pub fn rank(&self, entry: Entry) -> usize {
        let key = Key::of(&entry);
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(leaf) => return rank + leaf.index_of(entry, key.score),
                Node::Inner(inner) => {
                    let index = inner.child_for(&key);
                    rank += inner.count_before(index);
                    node = inner.child(index);
                }
            }
        }
    }

    /// How many entries satisfy `is_before`, which is given the score first and holds for a prefix of all entries.
    pub fn partition_point(&self, is_before: impl Fn(f64, &Entry) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(leaf) => return rank + leaf.partition_point(&is_before),
                Node::Inner(inner) => {
                    let index = inner.child_where(&is_before);
                    rank += inner.count_before(index);
                    node = inner.child(index);
                }
            }
        }
    }

    pub fn at(&self, rank: usize) -> Option<&Entry> {
        let (entries, index) = self.leaf_at(rank)?;
        entries[index].as_ref()
    }

    /// The entries of the leaf with this rank, and the rank within it.
    pub fn leaf_at(&self, rank: usize) -> Option<(&[Option<Entry>], usize)> {
        if rank >= self.len {
            return None;
        }
        let (mut node, mut rank) = (&self.root, rank);
        loop {
            match node {
                Node::Leaf(leaf) => return Some((leaf.entries(), rank)),
                Node::Inner(inner) => {
                    let (index, left) = inner.child_at(rank);
                    rank = left;
                    node = inner.child(index);
                }
            }
        }
    }

    pub fn heap_bytes(&self) -> usize {
        self.root.heap_bytes()
    }

    fn remove_target(&mut self, target: &Target) -> Entry {
        let entry = self.root.remove(target);
        self.len -= 1;
        while let Node::Inner(root) = &mut self.root
            && root.len() <= 1
        {
            self.root = match root.len() {
                0 => Node::Leaf(Box::new(Leaf::new())),
                _ => root.remove(0),
            };
        }
        entry
    }
}

/// What became of the attempt to change a score in place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rescored {
    InPlace,
    MustMove,
}

impl Node {
    /// Returns the right half if the node had to be divided.
    fn insert(&mut self, entry: Entry, key: &Key, edges: Edges) -> Option<Node> {
        match self {
            Node::Leaf(leaf) => {
                let index = leaf.lower_bound(key);
                if !leaf.is_full() {
                    leaf.insert(index, entry, key.score);
                    return None;
                }
                // In-order arrivals leave full leaves behind instead of halves.
                let half = leaf::MAX / 2;
                let at = match index {
                    leaf::MAX if edges.right => leaf::MAX,
                    0 if edges.left => 0,
                    _ => half,
                };
                let mut right = Box::new(leaf.split_off(at));
                if index < at || at == 0 {
                    leaf.insert(index, entry, key.score);
                } else {
                    right.insert(index - at, entry, key.score);
                }
                Some(Node::Leaf(right))
            }
            Node::Inner(inner) => {
                let index = inner.child_for(key);
                let edges = Edges { left: edges.left && index == 0, right: edges.right && index + 1 == inner.len() };
                let Some(right) = inner.child_mut(index).insert(entry, key, edges) else {
                    inner.child_grew(index);
                    return None;
                };
                inner.refresh(index);
                if !inner.is_full() {
                    inner.insert(index + 1, right);
                    return None;
                }
                let at = match index + 1 {
                    inner::MAX if edges.right => inner::MAX - 1,
                    1 if edges.left => 1,
                    _ => inner::MAX / 2,
                };
                let mut tail = Box::new(inner.split_off(at));
                if index < at {
                    inner.insert(index + 1, right);
                } else {
                    tail.insert(index + 1 - at, right);
                }
                Some(Node::Inner(tail))
            }
        }
    }

    fn remove(&mut self, target: &Target) -> Entry {
        match self {
            Node::Leaf(leaf) => {
                let index = match *target {
                    Target::Entry(entry, key) => leaf.index_of(entry, key.score),
                    Target::Rank(rank) => rank,
                };
                leaf.remove(index)
            }
            Node::Inner(inner) => {
                let (index, entry) = match target {
                    Target::Entry(_, key) => {
                        let index = inner.child_for(key);
                        (index, inner.child_mut(index).remove(target))
                    }
                    Target::Rank(rank) => {
                        let (index, rank) = inner.child_at(*rank);
                        (index, inner.child_mut(index).remove(&Target::Rank(rank)))
                    }
                };
                inner.child_shrank(index);
                inner.rebalance(index);
                entry
            }
        }
    }

    /// `next` is the first entry behind this node, with its score; `is_first` says that there is none before it.
    fn rescore(&mut self, entry: Entry, old: &Key, new: &Key, next: Option<(f64, Entry)>, is_first: bool) -> Rescored {
        match self {
            Node::Leaf(leaf) => {
                let index = leaf.index_of(entry, old.score);
                let at = |index: usize| (leaf.scores()[index], *leaf.entry(index));
                let stays = if new.score > old.score {
                    let next = if index + 1 < leaf.len() { Some(at(index + 1)) } else { next };
                    next.is_none_or(|(score, next)| !new.is_after(score, &next))
                } else {
                    match index.checked_sub(1).map(at) {
                        Some((score, before)) => new.is_after(score, &before),
                        None => is_first,
                    }
                };
                if !stays {
                    return Rescored::MustMove;
                }
                leaf.set_score(index, new.score);
                Rescored::InPlace
            }
            Node::Inner(inner) => {
                let index = inner.child_for(old);
                let leaves_child = (index + 1 < inner.len() && new.score > inner.score(index + 1))
                    || (new.score < inner.score(index) && !(is_first && index == 0));
                if leaves_child {
                    // The separators told so without a look at any neighbour.
                    return Rescored::MustMove;
                }
                let behind = index + 1;
                let next = if behind < inner.len() { Some((inner.score(behind), *inner.first(behind))) } else { next };
                let rescored = inner.child_mut(index).rescore(entry, old, new, next, is_first && index == 0);
                if rescored == Rescored::InPlace && *inner.first(index) == entry {
                    inner.set_score(index, new.score);
                }
                rescored
            }
        }
    }

    /// The first entry with its score; an empty node has none.
    fn first(&self) -> Option<(f64, Entry)> {
        match self {
            Node::Leaf(leaf) => leaf.scores().first().map(|&score| (score, *leaf.entry(0))),
            Node::Inner(inner) => (inner.len() > 0).then(|| (inner.score(0), *inner.first(0))),
        }
    }

    fn count(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Inner(inner) => inner.count(),
        }
    }

    fn is_small(&self) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.len() < leaf::FEW,
            Node::Inner(inner) => inner.len() < inner::FEW,
        }
    }

    /// Whether both fit one node with a quarter to spare.
    fn merges_with(&self, right: &Node) -> bool {
        match (self, right) {
            (Node::Leaf(left), Node::Leaf(right)) => left.len() + right.len() <= leaf::MAX * 3 / 4,
            (Node::Inner(left), Node::Inner(right)) => left.len() + right.len() <= inner::MAX * 3 / 4,
            _ => panic!("neighbours of different height"),
        }
    }

    fn append(&mut self, right: Node) {
        match (self, right) {
            (Node::Leaf(left), Node::Leaf(right)) => left.append(&right),
            (Node::Inner(left), Node::Inner(right)) => left.append(*right),
            _ => panic!("neighbours of different height"),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Node::Leaf(_) => round_up(size_of::<Leaf>()),
            Node::Inner(inner) => round_up(size_of::<Inner>()) + inner.children().map(Node::heap_bytes).sum::<usize>(),
        }
    }
}

impl<'a> Key<'a> {
    pub fn of(entry: &'a Entry) -> Key<'a> {
        Key { score: entry.score(), member: entry.member() }
    }

    /// Whether this comes after an entry that has this score.
    #[inline]
    pub fn is_after(&self, score: f64, entry: &Entry) -> bool {
        score < self.score || (score == self.score && entry.member() < self.member)
    }

    pub fn cmp(&self, other: &Key) -> Ordering {
        let by_score = self.score.partial_cmp(&other.score).expect("NaN never enters a sorted set");
        by_score.then_with(|| self.member.cmp(other.member))
    }
}

/// How many entries, in order and with these scores, come before `key`. Mostly no score is equal, and no member is
/// looked at.
#[inline]
fn lower_bound<'a>(scores: &[f64], key: &Key, entry: impl Fn(usize) -> &'a Entry) -> usize {
    let (below, equal) = around(scores, key.score);
    below + partition_point(equal, |index| entry(below + index).member() < key.member)
}

/// The same, and `key` itself.
#[inline]
fn upper_bound<'a>(scores: &[f64], key: &Key, entry: impl Fn(usize) -> &'a Entry) -> usize {
    let (below, equal) = around(scores, key.score);
    below + partition_point(equal, |index| entry(below + index).member() <= key.member)
}

/// How many scores are below this one, and how many equal it.
#[inline]
fn around(scores: &[f64], score: f64) -> (usize, usize) {
    let below = scores.partition_point(|&other| other < score);
    (below, scores[below..].iter().take_while(|&&other| other == score).count())
}

/// The first of `len` indices for which `is_before` does not hold.
fn partition_point(len: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = (low + high) / 2;
        if is_before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
impl Tree {
    /// Checks all invariants.
    pub fn check(&self) {
        let mut seen = Vec::new();
        check_node(&self.root, &mut seen);
        assert_eq!(seen.len(), self.len);
        assert!(seen.is_sorted_by(|a, b| Key::of(a).cmp(&Key::of(b)) == Ordering::Less));
    }
}

#[cfg(test)]
fn check_node(node: &Node, seen: &mut Vec<Entry>) -> usize {
    match node {
        Node::Leaf(leaf) => {
            assert!(leaf.entries().iter().flatten().map(Entry::score).eq(leaf.scores().iter().copied()));
            seen.extend(leaf.entries().iter().flatten());
            0
        }
        Node::Inner(inner) => {
            assert!(inner.len() > 0);
            let mut depths = Vec::new();
            for index in 0..inner.len() {
                let from = seen.len();
                depths.push(check_node(inner.child(index), seen));
                assert_eq!(seen.len() - from, inner.count_before(index + 1) - inner.count_before(index));
                assert_eq!(seen.get(from), Some(inner.first(index)));
                assert!(inner.score(index) == seen[from].score());
            }
            assert!(depths.iter().all(|depth| *depth == depths[0]));
            depths[0] + 1
        }
    }
}
