//! Arguments that commands of several families share: numbers, and the options of the SCAN family.
//!
//! Each function answers with the very error that Redis gives, so that handlers need no error texts of their own.

use crate::algorithms::glob;
use crate::algorithms::long_double::LongDouble;
use crate::error::{
    CommandError, DB_INDEX_OUT_OF_RANGE, INVALID_CURSOR, NOT_FLOAT, NOT_INTEGER, NOT_POSITIVE, SYNTAX,
    TIMEOUT_NEGATIVE, TIMEOUT_NOT_FLOAT,
};
use crate::resp::Args;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::Keyspace;
use basalt_storage::number;
use std::ops::Range;
use std::time::Duration;

pub fn integer(text: &[u8]) -> Result<i64, CommandError> {
    number::parse_i64(text).ok_or(NOT_INTEGER)
}

/// The number of a database, whether or not there is such a one. Redis reads it as a C int, with an error of its own.
pub fn database_number(text: &[u8]) -> Result<i32, CommandError> {
    const NOT_INT: CommandError =
        CommandError::new("ERR value is out of range, value must between -2147483648 and 2147483647");
    i32::try_from(integer(text)?).map_err(|_| NOT_INT)
}

pub fn database(keyspace: &Keyspace, text: &[u8]) -> Result<DbIndex, CommandError> {
    keyspace.database(database_number(text)?.into()).ok_or(DB_INDEX_OUT_OF_RANGE)
}

/// An integer that is not negative. What is no integer at all gets the same answer.
pub fn positive(text: &[u8]) -> Result<usize, CommandError> {
    at_least(0, text, NOT_POSITIVE)
}

/// An integer of at least `min`, or this error whatever is wrong.
pub fn at_least(min: usize, text: &[u8], error: CommandError) -> Result<usize, CommandError> {
    let number = number::parse_i64(text).and_then(|number| usize::try_from(number).ok());
    number.filter(|&number| number >= min).ok_or(error)
}

/// An integer whose negative exists too; the smallest of all has none.
pub fn magnitude(text: &[u8]) -> Result<i64, CommandError> {
    const OUT_OF_RANGE: CommandError =
        CommandError::new("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    Some(integer(text)?).filter(|&number| number != i64::MIN).ok_or(OUT_OF_RANGE)
}

/// An index into a sequence of this length, counted from the end if negative; `None` if there is no such element.
pub fn index(text: &[u8], len: usize) -> Result<Option<usize>, CommandError> {
    let index = integer(text)?;
    let index = if index < 0 { index + len as i64 } else { index };
    Ok(usize::try_from(index).ok().filter(|&index| index < len))
}

/// A range of indices as LRANGE and ZRANGE take it: both ends included, counted from the end if negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    pub start: i64,
    pub stop: i64,
}

impl Ranks {
    pub fn parse(start: &[u8], stop: &[u8]) -> Result<Ranks, CommandError> {
        Ok(Ranks { start: integer(start)?, stop: integer(stop)? })
    }

    /// The range within a sequence of this length.
    pub fn of(self, len: usize) -> Range<usize> {
        let from_front = |index: i64| if index < 0 { index.saturating_add(len as i64) } else { index };
        let start = from_front(self.start).max(0) as usize;
        let end = (from_front(self.stop).saturating_add(1).max(0) as usize).min(len);
        if start < end { start..end } else { 0..0 }
    }
}

/// How long a client waits for keys, given in seconds; `None` for ever.
pub fn timeout(text: &[u8]) -> Result<Option<Duration>, CommandError> {
    const OUT_OF_RANGE: CommandError = CommandError::new("ERR timeout is out of range");
    /// Farther off than this, in milliseconds, the end of the wait is no moment that the clock will ever show.
    const FARTHEST: f64 = 9.22e18;
    LongDouble::parse(text).ok_or(TIMEOUT_NOT_FLOAT)?;
    let milliseconds = (number::parse_f64_lenient(text).ok_or(TIMEOUT_NOT_FLOAT)? * 1000.0).ceil();
    match milliseconds {
        ms if ms > FARTHEST => Err(OUT_OF_RANGE),
        ms if ms < 0.0 => Err(TIMEOUT_NEGATIVE),
        0.0 => Ok(None),
        ms => Ok(Some(Duration::from_millis(ms as u64))),
    }
}

pub fn float(text: &[u8]) -> Result<f64, CommandError> {
    number::parse_f64(text).ok_or(NOT_FLOAT)
}

/// The cursor of a SCAN. Read as C's strtoul does: a sign is fine, no digits at all mean zero, a zero byte ends it.
pub fn scan_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let (digits, negative) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] => (digits, false),
        digits => (digits, false),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(INVALID_CURSOR);
    }
    let magnitude = digits
        .iter()
        .try_fold(0u64, |sum, digit| sum.checked_mul(10).and_then(|sum| sum.checked_add(u64::from(digit - b'0'))));
    let magnitude = magnitude.ok_or(INVALID_CURSOR)?;
    Ok(if negative { magnitude.wrapping_neg() } else { magnitude })
}

/// What is scanned: only keys have a type to choose by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanOf {
    Keyspace,
    Collection,
}

/// MATCH, COUNT and TYPE of the SCAN family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanOptions<'a> {
    /// How many elements to look at, at least.
    pub count: usize,
    pub pattern: Option<&'a [u8]>,
    pub type_name: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Reads the options from position `from` on; of an option given twice the last one counts.
    pub fn parse(args: Args<'a>, from: usize, of: ScanOf) -> Result<ScanOptions<'a>, CommandError> {
        const COUNT_DEFAULT: usize = 10;
        let mut options = ScanOptions { count: COUNT_DEFAULT, pattern: None, type_name: None };
        for at in (from..args.len()).step_by(2) {
            let value = args.maybe(at + 1).ok_or(SYNTAX)?;
            if args.is(at, "COUNT") {
                let count = integer(value)?;
                options.count = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(SYNTAX)?;
            } else if args.is(at, "MATCH") {
                options.pattern = (value != b"*").then_some(value);
            } else if args.is(at, "TYPE") && of == ScanOf::Keyspace {
                options.type_name = Some(value);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(options)
    }

    /// Whether an element of this name belongs into the reply.
    #[inline]
    pub fn admits(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, glob::Case::Sensitive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedArgs;

    #[test]
    fn a_cursor_is_what_strtoul_makes_of_it() {
        for (text, cursor) in [("0", 0), ("", 0), ("+7", 7), ("-1", u64::MAX), ("007", 7), ("1\0x", 1)] {
            assert_eq!(scan_cursor(text.as_bytes()), Ok(cursor), "{text:?}");
        }
        for text in [" 1", "1 ", "x", "+", "1x", "18446744073709551616"] {
            assert_eq!(scan_cursor(text.as_bytes()), Err(INVALID_CURSOR), "{text:?}");
        }
    }

    #[test]
    fn scan_options_come_in_any_order_and_the_last_one_counts() {
        let parse = |words: &[&str], of| {
            let owned = OwnedArgs::of(words.iter().map(|word| word.as_bytes()));
            ScanOptions::parse(owned.as_args(), 1, of).map(|options| (options.count, options.admits(b"abc")))
        };
        assert_eq!(parse(&["x"], ScanOf::Keyspace), Ok((10, true)));
        assert_eq!(parse(&["x", "match", "a*", "COUNT", "3", "count", "4"], ScanOf::Keyspace), Ok((4, true)));
        assert_eq!(parse(&["x", "MATCH", "b*", "TYPE", "set"], ScanOf::Keyspace), Ok((10, false)));
        assert_eq!(parse(&["x", "TYPE", "set"], ScanOf::Collection), Err(SYNTAX));
        assert_eq!(parse(&["x", "COUNT", "0"], ScanOf::Keyspace), Err(SYNTAX));
        assert_eq!(parse(&["x", "COUNT", "x"], ScanOf::Keyspace), Err(NOT_INTEGER));
        assert_eq!(parse(&["x", "COUNT"], ScanOf::Keyspace), Err(SYNTAX));
    }
}
