//! What listpack, ziplist, zipmap and intset have in common: elements that are text or an integer.

use std::ops::Deref;

use super::LoadError;
use crate::number::{I64Text, format_i64, parse_f64_lenient};

/// One element of a packed collection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

/// An element as a client would see it.
pub enum ElementText<'a> {
    Bytes(&'a [u8]),
    Digits(I64Text),
}

impl Deref for ElementText<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            ElementText::Bytes(bytes) => bytes,
            ElementText::Digits(digits) => digits,
        }
    }
}

impl<'a> Element<'a> {
    pub fn text(self) -> ElementText<'a> {
        match self {
            Element::Bytes(bytes) => ElementText::Bytes(bytes),
            Element::Int(number) => ElementText::Digits(format_i64(number)),
        }
    }

    /// The element as a sorted set's score.
    pub fn score(self) -> Result<f64, LoadError> {
        match self {
            // Whatever Redis or we write as an integer was a whole double before.
            Element::Int(number) => Ok(number as f64),
            Element::Bytes(bytes) => score_of_text(bytes),
        }
    }
}

/// A score from its text ("1.5", "1e+20", "-inf"), read as leniently as Redis reads it. NaN is not a score.
pub fn score_of_text(text: &[u8]) -> Result<f64, LoadError> {
    parse_f64_lenient(text).ok_or(LoadError::Corrupt("score is not a number"))
}

pub fn checked_score(score: f64) -> Result<f64, LoadError> {
    if score.is_nan() { Err(LoadError::Corrupt("score is not a number")) } else { Ok(score) }
}

/// The `N` bytes at `at`, if the input goes that far.
pub fn fixed<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], LoadError> {
    slice(bytes, at, N).map(|part| part.try_into().expect("the slice has N bytes"))
}

/// The `len` bytes at `at`, if the input goes that far.
pub fn slice(bytes: &[u8], at: usize, len: usize) -> Result<&[u8], LoadError> {
    at.checked_add(len).and_then(|end| bytes.get(at..end)).ok_or(LoadError::Corrupt("an element ends early"))
}

/// A signed integer of three bytes, little endian.
pub fn int24(bytes: [u8; 3]) -> i64 {
    // Shifted up and down again, so that the top bit becomes the sign.
    i64::from(i32::from_le_bytes([0, bytes[0], bytes[1], bytes[2]]) >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores() {
        for (text, score) in [("1.5", 1.5), ("1e+20", 1e20), ("-inf", f64::NEG_INFINITY), ("inf", f64::INFINITY)] {
            assert_eq!(score_of_text(text.as_bytes()).unwrap(), score);
        }
        for text in ["nan", "-nan", "x", "1 ", "\u{ff}"] {
            assert!(score_of_text(text.as_bytes()).is_err(), "{text:?}");
        }
        assert_eq!(int24([0xff, 0xff, 0xff]), -1);
        assert_eq!(int24([0, 0, 0x80]), -(1 << 23));
    }
}
