//! A small sorted set: members and scores alternate in one packed sequence, in order.
//!
//! A score is the eight bytes of its number, so that reading one is no parsing.

use super::tree::Key;
use super::{Outcome, assert_score};
use crate::types::packed::{Entries, Packed, PackedView, Pos};

/// The members and scores of a packed sorted set, in order.
#[derive(Clone)]
pub(super) struct Pairs<'a>(Entries<'a>);

impl<'a> Pairs<'a> {
    pub fn new(packed: PackedView<'a>) -> Pairs<'a> {
        Pairs(packed.entries())
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Pos, &'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        let (pos, member) = self.0.next()?;
        let (_, score) = self.0.next()?;
        let score = score.try_into().map(f64::from_ne_bytes);
        Some((pos, member, score.expect("a score takes eight bytes")))
    }
}

/// Where a member is.
pub(super) struct Found {
    pos: Pos,
    pub rank: usize,
    pub score: f64,
}

pub(super) fn len(packed: PackedView<'_>) -> usize {
    packed.count() / 2
}

pub(super) fn find(packed: PackedView<'_>, member: &[u8]) -> Option<Found> {
    let mut pairs = Pairs::new(packed).enumerate();
    let found = pairs.find(|(_, (_, candidate, _))| *candidate == member);
    found.map(|(rank, (pos, _, score))| Found { pos, rank, score })
}

/// A score as packed sets keep it: Redis packs whole numbers as integers, which have no negative zero.
pub(super) fn stored(score: f64) -> f64 {
    if score == 0.0 { 0.0 } else { score }
}

/// Sets the score of `member`, which was found at `found` or is not there.
pub(super) fn put(packed: &mut Packed, member: &[u8], score: f64, found: Option<Found>) -> Outcome {
    assert_score(score);
    let score = stored(score);
    let outcome = match found {
        Some(found) if found.score == score => return Outcome::Unchanged,
        Some(found) => {
            packed.remove(found.pos, 2);
            Outcome::Updated
        }
        None => Outcome::Added,
    };
    let key = Key { score, member };
    let behind = Pairs::new(packed.view()).find(|&(_, member, score)| key.cmp(&Key { score, member }).is_lt());
    let pair = [member, &score.to_ne_bytes()];
    match behind {
        Some((pos, _, _)) => packed.insert(pos, &pair),
        None => packed.push_all(&pair),
    }
    outcome
}

pub(super) fn remove(packed: &mut Packed, member: &[u8]) -> Option<f64> {
    let found = find(packed.view(), member)?;
    packed.remove(found.pos, 2);
    Some(found.score)
}

/// Takes out `count` members from `rank` on, which are there.
pub(super) fn remove_range(packed: &mut Packed, rank: usize, count: usize) {
    if let Some((pos, _, _)) = Pairs::new(packed.view()).nth(rank) {
        packed.remove(pos, count * 2);
    }
}
