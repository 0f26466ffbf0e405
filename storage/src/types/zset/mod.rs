//! A sorted set: distinct members, each with a score, ordered by score and then by the member's bytes.
//!
//! Small ones are one packed sequence (`packed`; a *listpack* to clients), large ones a table and a tree over the same
//! members (`skiplist`, `tree`, `member`). As in Redis a set that has grown stays a *skiplist*; only the result of a
//! command that stores a whole new set is made small again, by `compact`. A score is never NaN.
//!
//! Ranges by score and by member are turned into ranges of ranks first, in logarithmic time: counting is a subtraction,
//! and walking and removing exist once.

mod iter;
mod member;
mod packed;
mod skiplist;
#[cfg(test)]
mod tests;
mod tree;

use std::ops::{Bound, Range};
use std::ptr::NonNull;

pub use self::iter::Iter;
use self::packed::Pairs;
use self::skiplist::Skiplist;
use super::Encoding;
use super::packed::Packed;
use super::thin::{Boxed, Form, Never, Tagged};
use crate::rng::Rng;
use crate::table::ScanCursor;

/// Up to where a sorted set stays packed: `zset-max-listpack-entries` and `zset-max-listpack-value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZsetLimits {
    pub max_listpack_entries: usize,
    pub max_listpack_value: usize,
}

impl Default for ZsetLimits {
    fn default() -> ZsetLimits {
        ZsetLimits { max_listpack_entries: 128, max_listpack_value: 64 }
    }
}

/// What a `put` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Added,
    Updated,
    Unchanged,
}

/// Bounds on scores; infinities may be given as such.
pub type ScoreRange = (Bound<f64>, Bound<f64>);

/// Bounds on members, meaningful where all scores are equal.
pub type LexRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

type Forms = Form<Never, Packed, Boxed<Skiplist>>;

/// The owning handle of a sorted set; one word, which a keyspace entry may keep as it is.
#[repr(transparent)]
pub struct Zset(Tagged<Never, Packed, Boxed<Skiplist>>);

const _: () = assert!(size_of::<Zset>() == 8);

impl Zset {
    pub fn new() -> Zset {
        Zset(Tagged::new(Form::Packed(Packed::new())))
    }

    /// Converts ahead of `count` additions with members of up to `longest` bytes, as Redis 7.2 does before it adds the
    /// members of one command.
    pub fn anticipate(&mut self, count: usize, longest: usize, limits: &ZsetLimits) {
        if count > limits.max_listpack_entries || longest > limits.max_listpack_value {
            self.0.edit(|form| {
                into_skiplist(form);
            });
        }
    }

    /// Becomes packed again if small enough: for the results of commands that store a whole set.
    pub fn compact(&mut self, limits: &ZsetLimits) {
        let longest = || self.iter().map(|(member, _)| member.len()).max().unwrap_or(0);
        if self.len() > limits.max_listpack_entries || longest() > limits.max_listpack_value {
            return;
        }
        self.0.edit(|form| {
            let Form::Table(skiplist) = form else { return };
            let mut packed = Packed::new();
            for (member, score) in Iter::over_tree(skiplist.tree(), 0..skiplist.len()) {
                let pair = [member, &packed::stored(score).to_ne_bytes()];
                if !packed.fits(&pair) {
                    return;
                }
                packed.push_all(&pair);
            }
            *form = Form::Packed(packed);
        });
    }

    /// Asks the processor for what finding these members will look at.
    pub(crate) fn prefetch<'a>(&self, members: impl Iterator<Item = &'a [u8]>) {
        if let Form::Table(skiplist) = self.0.shared() {
            skiplist.prefetch(members);
        }
    }

    pub fn len(&self) -> usize {
        match self.0.shared() {
            Form::Ints(never) => match never {},
            Form::Packed(packed) => packed::len(packed),
            Form::Table(skiplist) => skiplist.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encoding(&self) -> Encoding {
        match self.0.shared() {
            Form::Ints(never) => match never {},
            Form::Packed(_) => Encoding::Listpack,
            Form::Table(_) => Encoding::Skiplist,
        }
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.0.shared() {
            Form::Ints(never) => match never {},
            Form::Packed(packed) => packed::find(packed, member).map(|found| found.score),
            Form::Table(skiplist) => skiplist.score(member),
        }
    }

    /// Sets the score of `member`, adding it if need be.
    pub fn put(&mut self, member: &[u8], score: f64, limits: &ZsetLimits) -> Outcome {
        self.put_with(member, limits, |_| Some(score))
    }

    /// Sets the score of `member` to what `decide` makes of the present one, with a single search; `None` leaves things
    /// as they are.
    pub fn put_with(
        &mut self,
        member: &[u8],
        limits: &ZsetLimits,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Outcome {
        self.0.edit(|form| {
            let packed = match form {
                Form::Ints(never) => match *never {},
                Form::Table(skiplist) => return skiplist.put_with(member, decide),
                Form::Packed(packed) => packed,
            };
            let found = packed::find(packed.view(), member);
            let Some(score) = decide(found.as_ref().map(|found| found.score)) else {
                return Outcome::Unchanged;
            };
            let too_large = found.is_none()
                && (packed::len(packed.view()) >= limits.max_listpack_entries
                    || member.len() > limits.max_listpack_value
                    || !packed.fits(&[member, &score.to_ne_bytes()]));
            if too_large {
                return into_skiplist(form).put_with(member, |_| Some(score));
            }
            packed::put(packed, member, score, found)
        })
    }

    /// Takes `member` out and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        self.0.edit(|form| match form {
            Form::Ints(never) => match *never {},
            Form::Packed(packed) => packed::remove(packed, member),
            Form::Table(skiplist) => skiplist.remove(member),
        })
    }

    /// How many members come before `member`.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        self.rank_and_score(member).map(|(rank, _)| rank)
    }

    /// How many members come after `member`.
    pub fn rev_rank(&self, member: &[u8]) -> Option<usize> {
        self.rank(member).map(|rank| self.len() - 1 - rank)
    }

    pub fn rank_and_score(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self.0.shared() {
            Form::Ints(never) => match never {},
            Form::Packed(packed) => packed::find(packed, member).map(|found| (found.rank, found.score)),
            Form::Table(skiplist) => skiplist.rank(member),
        }
    }

    /// The ranks of the scores in `range`.
    pub fn ranks_by_score(&self, range: ScoreRange) -> Range<usize> {
        let start = match range.0 {
            Bound::Unbounded => 0,
            Bound::Included(min) => self.partition_by_score(|score| score < min),
            Bound::Excluded(min) => self.partition_by_score(|score| score <= min),
        };
        let end = match range.1 {
            Bound::Unbounded => self.len(),
            Bound::Included(max) => self.partition_by_score(|score| score <= max),
            Bound::Excluded(max) => self.partition_by_score(|score| score < max),
        };
        start..end.max(start)
    }

    /// The ranks of the members in `range`, all scores being equal. If they are not, some range.
    pub fn ranks_by_lex(&self, range: LexRange<'_>) -> Range<usize> {
        let start = match range.0 {
            Bound::Unbounded => 0,
            Bound::Included(min) => self.partition_by_member(|member| member < min),
            Bound::Excluded(min) => self.partition_by_member(|member| member <= min),
        };
        let end = match range.1 {
            Bound::Unbounded => self.len(),
            Bound::Included(max) => self.partition_by_member(|member| member <= max),
            Bound::Excluded(max) => self.partition_by_member(|member| member < max),
        };
        start..end.max(start)
    }

    pub fn count_by_score(&self, range: ScoreRange) -> usize {
        self.ranks_by_score(range).len()
    }

    pub fn count_by_lex(&self, range: LexRange<'_>) -> usize {
        self.ranks_by_lex(range).len()
    }

    /// All members in order.
    pub fn iter(&self) -> Iter<'_> {
        self.by_rank(0..self.len())
    }

    /// The members in a range of ranks, which is cut to the set; `.rev()` walks it from the back.
    pub fn by_rank(&self, ranks: Range<usize>) -> Iter<'_> {
        let ranks = self.clamp(ranks);
        match self.0.shared() {
            Form::Ints(never) => match never {},
            Form::Packed(packed) => Iter::over_packed(Pairs::new(packed), ranks),
            Form::Table(skiplist) => Iter::over_tree(skiplist.tree(), ranks),
        }
    }

    pub fn by_score(&self, range: ScoreRange) -> Iter<'_> {
        self.by_rank(self.ranks_by_score(range))
    }

    pub fn by_lex(&self, range: LexRange<'_>) -> Iter<'_> {
        self.by_rank(self.ranks_by_lex(range))
    }

    /// The member with the lowest score.
    pub fn first(&self) -> Option<(&[u8], f64)> {
        self.nth(0)
    }

    /// The member with the highest score.
    pub fn last(&self) -> Option<(&[u8], f64)> {
        self.nth(self.len().checked_sub(1)?)
    }

    pub fn nth(&self, rank: usize) -> Option<(&[u8], f64)> {
        match self.0.shared() {
            Form::Ints(never) => match never {},
            Form::Packed(packed) => Pairs::new(packed).nth(rank).map(|(_, member, score)| (member, score)),
            Form::Table(skiplist) => skiplist.tree().at(rank).map(|entry| (entry.member(), entry.score())),
        }
    }

    /// Takes out the member with the lowest score after `read` has seen it.
    pub fn pop_min_with<R>(&mut self, read: impl FnOnce(&[u8], f64) -> R) -> Option<R> {
        self.pop_with(0, read)
    }

    /// Takes out the member with the highest score after `read` has seen it.
    pub fn pop_max_with<R>(&mut self, read: impl FnOnce(&[u8], f64) -> R) -> Option<R> {
        self.pop_with(self.len().checked_sub(1)?, read)
    }

    pub fn pop_min(&mut self) -> Option<(Vec<u8>, f64)> {
        self.pop_min_with(|member, score| (member.to_vec(), score))
    }

    pub fn pop_max(&mut self) -> Option<(Vec<u8>, f64)> {
        self.pop_max_with(|member, score| (member.to_vec(), score))
    }

    /// Takes out the members in a range of ranks, showing each to `visit`; returns how many there were.
    pub fn remove_by_rank(&mut self, ranks: Range<usize>, mut visit: impl FnMut(&[u8], f64)) -> usize {
        let ranks = self.clamp(ranks);
        if let Form::Packed(_) = self.0.shared() {
            self.by_rank(ranks.clone()).for_each(|(member, score)| visit(member, score));
        }
        self.0.edit(|form| match form {
            Form::Ints(never) => match *never {},
            Form::Packed(packed) => packed::remove_range(packed, ranks.start, ranks.len()),
            Form::Table(skiplist) => skiplist.remove_range(ranks.clone(), visit),
        });
        ranks.len()
    }

    pub fn remove_by_score(&mut self, range: ScoreRange, visit: impl FnMut(&[u8], f64)) -> usize {
        self.remove_by_rank(self.ranks_by_score(range), visit)
    }

    pub fn remove_by_lex(&mut self, range: LexRange<'_>, visit: impl FnMut(&[u8], f64)) -> usize {
        self.remove_by_rank(self.ranks_by_lex(range), visit)
    }

    /// A member drawn with equal chances.
    pub fn random(&self, rng: &mut Rng) -> Option<(&[u8], f64)> {
        let len = self.len() as u64;
        if len == 0 { None } else { self.nth(rng.below(len) as usize) }
    }

    pub fn scan(&self, cursor: ScanCursor, count: usize, mut visit: impl FnMut(&[u8], f64)) -> ScanCursor {
        if let Form::Table(skiplist) = self.0.shared() {
            return skiplist.scan(cursor, count, visit);
        }
        self.iter().for_each(|(member, score)| visit(member, score));
        ScanCursor::START
    }

    /// Bytes on the heap, exactly.
    pub fn heap_bytes(&self) -> usize {
        match self.0.shared() {
            Form::Ints(never) => match never {},
            Form::Packed(packed) => packed.heap_bytes(),
            Form::Table(skiplist) => skiplist.heap_bytes(),
        }
    }

    /// How many allocations dropping the set frees, about: whether it is worth a background thread.
    pub fn free_effort(&self) -> usize {
        match self.0.shared() {
            Form::Table(skiplist) => skiplist.len(),
            _ => 1,
        }
    }

    pub fn into_raw(self) -> NonNull<u8> {
        self.0.into_raw()
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// `raw` comes from `into_raw`, and ownership has not been taken back since.
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Zset {
        // SAFETY: the caller's promise is the one that the word asks for.
        Zset(unsafe { Tagged::from_raw(raw) })
    }

    fn pop_with<R>(&mut self, rank: usize, read: impl FnOnce(&[u8], f64) -> R) -> Option<R> {
        let result = self.nth(rank).map(|(member, score)| read(member, score))?;
        self.0.edit(|form| match form {
            Form::Ints(never) => match *never {},
            Form::Packed(packed) => packed::remove_range(packed, rank, 1),
            Form::Table(skiplist) => drop(skiplist.remove_at(rank)),
        });
        Some(result)
    }

    /// How many members, from the first on, have a score that satisfies `is_before`.
    fn partition_by_score(&self, is_before: impl Fn(f64) -> bool) -> usize {
        match self.0.shared() {
            Form::Ints(never) => match never {},
            Form::Packed(packed) => Pairs::new(packed).take_while(|&(_, _, score)| is_before(score)).count(),
            Form::Table(skiplist) => skiplist.tree().partition_point(|score, _| is_before(score)),
        }
    }

    /// How many members, from the first on, satisfy `is_before`.
    fn partition_by_member(&self, is_before: impl Fn(&[u8]) -> bool) -> usize {
        match self.0.shared() {
            Form::Ints(never) => match never {},
            Form::Packed(packed) => Pairs::new(packed).take_while(|&(_, member, _)| is_before(member)).count(),
            Form::Table(skiplist) => skiplist.tree().partition_point(|_, entry| is_before(entry.member())),
        }
    }

    fn clamp(&self, ranks: Range<usize>) -> Range<usize> {
        let end = ranks.end.min(self.len());
        ranks.start.min(end)..end
    }
}

impl Default for Zset {
    fn default() -> Zset {
        Zset::new()
    }
}

impl Clone for Zset {
    fn clone(&self) -> Zset {
        let form = match self.0.shared() {
            Form::Ints(never) => match never {},
            Form::Packed(packed) => Form::Packed(packed.to_packed()),
            Form::Table(_) => Form::Table(Boxed::new(self.iter().collect())),
        };
        Zset(Tagged::new(form))
    }
}

impl std::fmt::Debug for Zset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter().map(|(member, score)| (member.escape_ascii().to_string(), score))).finish()
    }
}

impl PartialEq for Zset {
    fn eq(&self, other: &Zset) -> bool {
        self.iter().eq(other.iter())
    }
}

/// Makes the form large and returns it.
fn into_skiplist(form: &mut Forms) -> &mut Skiplist {
    if let Form::Packed(packed) = form {
        let members = Pairs::new(packed.view()).map(|(_, member, score)| (member, score));
        *form = Form::Table(Boxed::new(members.collect()));
    }
    match form {
        Form::Table(skiplist) => skiplist,
        _ => unreachable!("packed became a table just now, and there are no integers"),
    }
}

fn assert_score(score: f64) {
    assert!(!score.is_nan(), "NaN never enters a sorted set");
}
