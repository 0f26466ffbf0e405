//! The ends of ranges as commands write them: ranks, scores such as `(1.5`, names such as `[a`.

use crate::commands::parse::Ranks;
use crate::error::{CommandError, MIN_MAX_NOT_FLOAT, MIN_MAX_NOT_LEX};
use basalt_storage::number;
use basalt_storage::types::Zset;
use basalt_storage::types::zset::ScoreRange;
use std::ops::{Bound, Range};

/// What a range is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Rank,
    Score,
    Lex,
}

/// A range of members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Selection<'a> {
    Ranks(Ranks),
    Scores(ScoreRange),
    Lex(LexEnd<'a>, LexEnd<'a>),
}

/// One end of a range of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexEnd<'a> {
    /// `-`, before all names.
    Lowest,
    /// `+`, behind all names.
    Highest,
    Included(&'a [u8]),
    Excluded(&'a [u8]),
}

impl<'a> Selection<'a> {
    pub fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Selection<'a>, CommandError> {
        Ok(match by {
            By::Rank => Selection::Ranks(Ranks::parse(min, max)?),
            By::Score => Selection::Scores((score_end(min)?, score_end(max)?)),
            By::Lex => Selection::Lex(LexEnd::parse(min)?, LexEnd::parse(max)?),
        })
    }

    /// The ranks of the members in the range.
    pub fn ranks(&self, zset: &Zset) -> Range<usize> {
        match *self {
            Selection::Ranks(ranks) => ranks.of(zset.len()),
            Selection::Scores(range) => zset.ranks_by_score(range),
            Selection::Lex(LexEnd::Highest, _) | Selection::Lex(_, LexEnd::Lowest) => 0..0,
            Selection::Lex(min, max) => zset.ranks_by_lex((min.bound(), max.bound())),
        }
    }
}

/// A score; behind an opening parenthesis it is not part of the range.
fn score_end(text: &[u8]) -> Result<Bound<f64>, CommandError> {
    let (is_excluded, text) = match text {
        [b'(', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let score = number::parse_f64_lenient(text).ok_or(MIN_MAX_NOT_FLOAT)?;
    Ok(if is_excluded { Bound::Excluded(score) } else { Bound::Included(score) })
}

impl<'a> LexEnd<'a> {
    fn parse(text: &'a [u8]) -> Result<LexEnd<'a>, CommandError> {
        match text {
            b"-" => Ok(LexEnd::Lowest),
            b"+" => Ok(LexEnd::Highest),
            [b'[', name @ ..] => Ok(LexEnd::Included(name)),
            [b'(', name @ ..] => Ok(LexEnd::Excluded(name)),
            _ => Err(MIN_MAX_NOT_LEX),
        }
    }

    fn bound(self) -> Bound<&'a [u8]> {
        match self {
            LexEnd::Lowest | LexEnd::Highest => Bound::Unbounded,
            LexEnd::Included(name) => Bound::Included(name),
            LexEnd::Excluded(name) => Bound::Excluded(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_ranges_are_read_as_redis_reads_them() {
        assert_eq!(score_end(b"(1.5"), Ok(Bound::Excluded(1.5)));
        assert_eq!(score_end(b"-inf"), Ok(Bound::Included(f64::NEG_INFINITY)));
        assert_eq!(score_end(b"[1"), Err(MIN_MAX_NOT_FLOAT));
        assert_eq!(LexEnd::parse(b"[a"), Ok(LexEnd::Included(b"a")));
        assert_eq!(LexEnd::parse(b"("), Ok(LexEnd::Excluded(b"")));
        assert_eq!(LexEnd::parse(b"-x"), Err(MIN_MAX_NOT_LEX));
        assert_eq!(LexEnd::parse(b""), Err(MIN_MAX_NOT_LEX));
    }

    #[test]
    fn a_range_from_behind_all_names_is_empty() {
        let mut zset = Zset::new();
        zset.put(b"a", 0.0, &Default::default());
        let ranks = |min, max| Selection::parse(By::Lex, min, max).map(|selection| selection.ranks(&zset).len());
        assert_eq!(ranks(b"-", b"+"), Ok(1));
        assert_eq!(ranks(b"+", b"+"), Ok(0));
        assert_eq!(ranks(b"-", b"-"), Ok(0));
        assert_eq!(ranks(b"[b", b"[a"), Ok(0));
    }
}
