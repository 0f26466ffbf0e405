//! Arguments that commands of several families share: numbers, and the options of the SCAN family.
//!
//! Each function answers with the very error that Redis gives, so that handlers need no error texts of their own.

use crate::algorithms::glob;
use crate::error::{CommandError, INVALID_CURSOR, NOT_FLOAT, NOT_INTEGER, SYNTAX};
use crate::resp::Args;
use basalt_storage::number;

pub fn integer(text: &[u8]) -> Result<i64, CommandError> {
    number::parse_i64(text).ok_or(NOT_INTEGER)
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
