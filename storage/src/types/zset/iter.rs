//! Walking a range of ranks, from both sides.

use std::ops::Range;
use std::slice;

use super::member::Entry;
use super::packed::Pairs;
use super::tree::Tree;

/// Members and scores of a range of ranks, in ascending order; `.rev()` gives the descending one.
pub struct Iter<'a>(Source<'a>);

enum Source<'a> {
    Packed {
        pairs: Pairs<'a>,
        remaining: usize,
    },
    /// What remained of a packed set when it was first asked for its end, which it can find only from the front.
    Collected(std::vec::IntoIter<(&'a [u8], f64)>),
    Tree(Walk<'a>),
}

impl<'a> Iter<'a> {
    pub(super) fn over_packed(mut pairs: Pairs<'a>, ranks: Range<usize>) -> Iter<'a> {
        if let Some(skipped) = ranks.start.checked_sub(1) {
            pairs.nth(skipped);
        }
        Iter(Source::Packed { pairs, remaining: ranks.len() })
    }

    /// `ranks` lie within the tree.
    pub(super) fn over_tree(tree: &'a Tree, ranks: Range<usize>) -> Iter<'a> {
        Iter(Source::Tree(Walk { tree, ranks, front: [].iter(), back: [].iter() }))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Packed { pairs, remaining } => {
                *remaining = remaining.checked_sub(1)?;
                pairs.next().map(|(_, member, score)| (member, score))
            }
            Source::Collected(pairs) => pairs.next(),
            Source::Tree(walk) => walk.next().map(|entry| (entry.member(), entry.score())),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let remaining = match &self.0 {
            Source::Packed { remaining, .. } => *remaining,
            Source::Collected(pairs) => pairs.len(),
            Source::Tree(walk) => walk.ranks.len(),
        };
        (remaining, Some(remaining))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if let Source::Packed { pairs, remaining } = &mut self.0 {
            let pairs: Vec<_> = pairs.take(*remaining).map(|(_, member, score)| (member, score)).collect();
            self.0 = Source::Collected(pairs.into_iter());
        }
        match &mut self.0 {
            Source::Packed { .. } => None,
            Source::Collected(pairs) => pairs.next_back(),
            Source::Tree(walk) => walk.next_back().map(|entry| (entry.member(), entry.score())),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// The entries of a range of ranks. Either side walks a leaf and asks the tree for the next one by its rank.
struct Walk<'a> {
    tree: &'a Tree,
    /// What is still to come.
    ranks: Range<usize>,
    front: slice::Iter<'a, Option<Entry>>,
    back: slice::Iter<'a, Option<Entry>>,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Option<&'a Entry> {
        let rank = self.ranks.next()?;
        if self.front.len() == 0 {
            let (entries, index) = self.tree.leaf_at(rank)?;
            self.front = entries[index..].iter();
        }
        self.front.next()?.as_ref()
    }

    fn next_back(&mut self) -> Option<&'a Entry> {
        let rank = self.ranks.next_back()?;
        if self.back.len() == 0 {
            let (entries, index) = self.tree.leaf_at(rank)?;
            self.back = entries[..=index].iter();
        }
        self.back.next_back()?.as_ref()
    }
}
