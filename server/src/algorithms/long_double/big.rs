//! Natural numbers of any size, as far as reading and printing extended doubles needs them.
//!
//! Invariant: words are least significant first and the last one is not zero; zero has no words. Sizes are
//! bounded by the callers (some ten thousand digits), so the quadratic methods here stay cheap.

use std::cmp::Ordering;

/// The largest power of ten in a word: decimal text is handled 19 digits at a time.
const CHUNK_DIGITS: usize = 19;
const CHUNK: u64 = 10u64.pow(CHUNK_DIGITS as u32);

/// A natural number.
#[derive(Clone, Debug)]
pub(super) struct Big {
    words: Vec<u64>,
}

impl Big {
    pub(super) fn from_u64(value: u64) -> Big {
        let mut big = Big { words: vec![value] };
        big.trim();
        big
    }

    /// Takes digits as numbers 0 to 9, most significant first.
    pub(super) fn from_decimal(digits: &[u8]) -> Big {
        let mut big = Big { words: Vec::new() };
        for chunk in digits.chunks(CHUNK_DIGITS) {
            let value = chunk.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(*digit));
            big.multiply_add(10u64.pow(chunk.len() as u32), value);
        }
        big
    }

    pub(super) fn power_of_ten(power: u32) -> Big {
        let mut big = Big::from_u64(10u64.pow(power % CHUNK_DIGITS as u32));
        for _ in 0..power / CHUNK_DIGITS as u32 {
            big.multiply_add(CHUNK, 0);
        }
        big
    }

    pub(super) fn multiply(&self, other: &Big) -> Big {
        let mut words = vec![0u64; self.words.len() + other.words.len()];
        for (i, &a) in self.words.iter().enumerate() {
            let mut carry = 0u64;
            for (j, &b) in other.words.iter().enumerate() {
                let sum = u128::from(a) * u128::from(b) + u128::from(words[i + j]) + u128::from(carry);
                words[i + j] = sum as u64;
                carry = (sum >> 64) as u64;
            }
            words[i + other.words.len()] = carry;
        }
        let mut big = Big { words };
        big.trim();
        big
    }

    pub(super) fn shift_left(&mut self, count: u32) {
        let (words, bits) = (count as usize / 64, count % 64);
        if bits != 0 {
            let mut carry = 0;
            for word in &mut self.words {
                let next = *word >> (64 - bits);
                *word = *word << bits | carry;
                carry = next;
            }
            if carry != 0 {
                self.words.push(carry);
            }
        }
        if words != 0 && !self.words.is_empty() {
            self.words.splice(0..0, std::iter::repeat_n(0, words));
        }
    }

    /// The topmost 128 bits, the exponent of their last one, and whether anything non-zero lies below.
    pub(super) fn top_bits(&self) -> (u128, u32, bool) {
        let bits = self.bits();
        let exponent = bits.saturating_sub(128);
        let (first, shift) = (exponent as usize / 64, exponent % 64);
        let word = |index: usize| u128::from(self.words.get(index).copied().unwrap_or(0));
        let mut top = word(first) >> shift | word(first + 1) << (64 - shift);
        if shift != 0 {
            top |= word(first + 2) << (128 - shift);
        }
        let sticky = self.words[..first.min(self.words.len())].iter().any(|word| *word != 0)
            || (shift != 0 && self.words[first] << (64 - shift) != 0);
        (top, exponent, sticky)
    }

    /// The quotient of two non-zero numbers: 70 or 71 bits of it, the exponent of the last bit, and whether
    /// there is more.
    pub(super) fn divide_to_71_bits(mut dividend: Big, mut divisor: Big) -> (u128, i32, bool) {
        assert!(!dividend.words.is_empty() && !divisor.words.is_empty(), "quotient of a zero");
        let shift = divisor.bits() as i32 - dividend.bits() as i32;
        if shift >= 0 {
            dividend.shift_left(shift as u32);
        } else {
            divisor.shift_left(shift.unsigned_abs());
        }
        // Both have the same length now, so the quotient lies between 1/2 and 2: one bit before the point, 70
        // after it.
        let mut quotient = 0u128;
        for place in 0..=70 {
            if place > 0 {
                dividend.shift_left(1);
                quotient <<= 1;
            }
            if dividend.compare(&divisor) != Ordering::Less {
                dividend.subtract(&divisor);
                quotient |= 1;
            }
        }
        (quotient, -70 - shift, !dividend.words.is_empty())
    }

    /// The decimal digits as ASCII; "0" for zero.
    pub(super) fn into_decimal(mut self) -> Vec<u8> {
        let mut chunks = Vec::new();
        while !self.words.is_empty() {
            chunks.push(self.divide_by_chunk());
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:019}"));
        }
        text.into_bytes()
    }

    fn bits(&self) -> u32 {
        match self.words.last() {
            Some(top) => self.words.len() as u32 * 64 - top.leading_zeros(),
            None => 0,
        }
    }

    fn multiply_add(&mut self, factor: u64, summand: u64) {
        let mut carry = summand;
        for word in &mut self.words {
            let sum = u128::from(*word) * u128::from(factor) + u128::from(carry);
            *word = sum as u64;
            carry = (sum >> 64) as u64;
        }
        if carry != 0 {
            self.words.push(carry);
        }
    }

    /// Divides by 10^19 in place and gives the remainder.
    fn divide_by_chunk(&mut self) -> u64 {
        let mut rest = 0u64;
        for word in self.words.iter_mut().rev() {
            let value = u128::from(rest) << 64 | u128::from(*word);
            *word = (value / u128::from(CHUNK)) as u64;
            rest = (value % u128::from(CHUNK)) as u64;
        }
        self.trim();
        rest
    }

    fn compare(&self, other: &Big) -> Ordering {
        let by_length = self.words.len().cmp(&other.words.len());
        by_length.then_with(|| self.words.iter().rev().cmp(other.words.iter().rev()))
    }

    /// Subtracts a number that is not larger.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = false;
        for (index, word) in self.words.iter_mut().enumerate() {
            let subtrahend = other.words.get(index).copied().unwrap_or(0);
            let (first, under) = word.overflowing_sub(subtrahend);
            let (second, under_again) = first.overflowing_sub(u64::from(borrow));
            *word = second;
            borrow = under || under_again;
        }
        assert!(!borrow, "subtracted a larger number");
        self.trim();
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }
}
