//! Numbers as text: the one place that knows which byte strings Redis takes for a number, and how it writes one.
//!
//! Invariants: `parse_i64` accepts exactly the strings that `I64Text` produces, so a string that parses can be
//! stored as an integer and given back byte for byte. `parse_f64` never yields NaN. Nothing here allocates,
//! save rare hex floats. Neighbour: `algorithms::long_double` in the server does the 80-bit arithmetic of
//! INCRBYFLOAT.

use std::ops::Deref;

/// The longest integer text: "-9223372036854775808".
pub const I64_TEXT_MAX: usize = 20;

/// The longest double text: "-1.7976931348623157e+308" has 24 bytes; the shortest style may write 0.000000
/// before digits.
const F64_TEXT_MAX: usize = 32;

/// Doubles below this magnitude that are whole print all their digits; %.17g turns to an exponent from here on.
const WHOLE_MAX: f64 = 1e17;

/// Parses the canonical text of an `i64`: no plus sign, no leading zeros, no spaces, no "-0".
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() < I64_TEXT_MAX => {}
        _ => return None,
    }
    let magnitude = parse_digits(digits)?;
    // 19 digits stay below 10^19 < 2^64, so only the sign's own limit is left to check.
    if negative {
        (magnitude <= i64::MIN.unsigned_abs()).then(|| (magnitude as i64).wrapping_neg())
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// Parses the canonical text of a `u64`, for cursors and counters that pass the signed range.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] if text.len() < I64_TEXT_MAX => parse_digits(text),
        [b'1'..=b'9', head @ ..] if text.len() == I64_TEXT_MAX => {
            let (&last, _) = head.split_last()?;
            let last = last.checked_sub(b'0').filter(|digit| *digit <= 9)?;
            parse_digits(&text[..I64_TEXT_MAX - 1])?.checked_mul(10)?.checked_add(u64::from(last))
        }
        _ => None,
    }
}

/// Sums up to 19 decimal digits; `None` if a byte is not a digit.
#[inline]
fn parse_digits(digits: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value)
}

/// Parses a double as Redis does for scores and coordinates: the whole text as C's strtod reads it, but no leading
/// space, no NaN, nothing that overflows to infinity and nothing non-zero that underflows to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    // Short whole numbers are most of what clients send.
    if let Some(value) = parse_short_whole(text) {
        return Some(value);
    }
    match scan_f64(text)? {
        Scanned::Exact(value) => Some(value),
        Scanned::OutOfRange(_) => None,
    }
}

/// Parses a double where Redis calls strtod without looking at errno (the ends of score ranges): leading white
/// space is skipped, the empty text is zero, too large is infinite, too small is zero. NaN is still refused.
pub fn parse_f64_lenient(text: &[u8]) -> Option<f64> {
    let trimmed = text.trim_ascii_start();
    if text.is_empty() {
        return Some(0.0);
    }
    match scan_f64(trimmed)? {
        Scanned::Exact(value) | Scanned::OutOfRange(value) => Some(value),
    }
}

/// What strtod would return, and whether it would report ERANGE with a useless value.
enum Scanned {
    Exact(f64),
    OutOfRange(f64),
}

#[inline]
fn parse_short_whole(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    // 15 digits stay below 2^53, hence exact.
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    let value = parse_digits(digits)? as f64;
    Some(if negative { -value } else { value })
}

fn scan_f64(text: &[u8]) -> Option<Scanned> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let signed = |value: f64| if negative { -value } else { value };
    if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
        return Some(Scanned::Exact(signed(f64::INFINITY)));
    }
    let (value, non_zero) = match unsigned {
        [b'0', b'x' | b'X', digits @ ..] => scan_hex(digits)?,
        _ => {
            // Rust's grammar is strtod's once words, signs and hex are out of the way.
            if !unsigned.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
                return None;
            }
            if matches!(unsigned.first(), Some(b'+' | b'-')) {
                return None;
            }
            let value: f64 = std::str::from_utf8(unsigned).ok()?.parse().ok()?;
            let digits = unsigned.iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
            (value, digits.clone().any(|byte| matches!(byte, b'1'..=b'9')))
        }
    };
    let out_of_range = value.is_infinite() || (value == 0.0 && non_zero);
    Some(if out_of_range { Scanned::OutOfRange(signed(value)) } else { Scanned::Exact(signed(value)) })
}

/// Reads what follows "0x": digits, a point, a binary exponent. Gives the value and whether any digit was non-zero.
fn scan_hex(text: &[u8]) -> Option<(f64, bool)> {
    let mut mantissa = 0u128;
    let mut exponent = 0i64;
    let mut digits = 0usize;
    let mut point = false;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'.' if !point => point = true,
            byte if byte.is_ascii_hexdigit() => {
                digits += 1;
                let digit = u128::from((byte as char).to_digit(16)?);
                // Past 120 bits only "something non-zero follows" can still matter to the rounding.
                if mantissa >> 120 == 0 {
                    mantissa = mantissa << 4 | digit;
                    exponent -= if point { 4 } else { 0 };
                } else {
                    mantissa |= u128::from(digit != 0);
                    exponent += if point { 0 } else { 4 };
                }
            }
            _ => break,
        }
        at += 1;
    }
    if digits == 0 {
        return None;
    }
    match &text[at..] {
        [] => {}
        [b'p' | b'P', power @ ..] => exponent = exponent.saturating_add(scan_power(power)?),
        _ => return None,
    }
    Some((round_to_f64(mantissa, exponent), mantissa != 0))
}

/// A decimal exponent of any length, saturating far outside of every float's range.
fn scan_power(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1_000_000_000_000));
    Some(if negative { -magnitude } else { magnitude })
}

/// `mantissa * 2^exponent`, rounded to nearest, ties to even, subnormals included.
fn round_to_f64(mantissa: u128, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let bits = i64::from(128 - mantissa.leading_zeros());
    let top = exponent.saturating_add(bits - 1);
    if top > 1023 {
        return f64::INFINITY;
    }
    if top < -1075 {
        return 0.0;
    }
    // The unit of the last place: 52 bits below the top one, but never below 2^-1074.
    let unit = (top - 52).max(-1074);
    let shift = unit - exponent;
    let whole = if shift <= 0 {
        (mantissa as u64) << -shift
    } else {
        let kept = mantissa.checked_shr(shift as u32).unwrap_or(0);
        let rest = mantissa - kept.checked_shl(shift as u32).unwrap_or(0);
        let half = 1u128 << (shift - 1);
        kept as u64 + u64::from(rest > half || (rest == half && kept & 1 == 1))
    };
    // Biased exponent zero is the subnormal range; a carry out of the fraction lands in the exponent, as it should.
    let encoded = if unit == -1074 { whole } else { whole + (((unit + 1074) as u64) << 52) };
    f64::from_bits(encoded)
}

/// The decimal text of an integer, on the stack.
#[derive(Clone, Copy)]
pub struct I64Text {
    bytes: [u8; I64_TEXT_MAX],
    start: u8,
}

/// Formats an integer without allocating.
#[inline]
pub fn format_i64(value: i64) -> I64Text {
    let mut bytes = [0u8; I64_TEXT_MAX];
    let start = write_i64(&mut bytes, value);
    I64Text { bytes, start: start as u8 }
}

/// How long the decimal text of an integer is, in bytes.
#[inline]
pub fn text_len(value: i64) -> usize {
    let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1);
    digits + usize::from(value < 0)
}

/// Formats an unsigned integer without allocating.
#[inline]
pub fn format_u64(value: u64) -> I64Text {
    let mut bytes = [0u8; I64_TEXT_MAX];
    let start = write_digits(&mut bytes, value);
    I64Text { bytes, start: start as u8 }
}

/// Writes the decimal text of an integer to the end of `bytes`, which has room for it; returns where it starts.
///
/// For who writes it where it goes: [`I64Text`] is copied, and reading what was written in pieces just before is slow.
#[inline]
pub fn write_i64(bytes: &mut [u8], value: i64) -> usize {
    let start = write_digits(bytes, value.unsigned_abs());
    if value >= 0 {
        return start;
    }
    bytes[start - 1] = b'-';
    start - 1
}

#[inline]
fn write_digits(bytes: &mut [u8], value: u64) -> usize {
    let mut start = bytes.len();
    let mut rest = value;
    while rest >= 100 {
        let pair = (rest % 100) as usize * 2;
        rest /= 100;
        start -= 2;
        bytes[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if rest >= 10 {
        let pair = rest as usize * 2;
        start -= 2;
        bytes[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        start -= 1;
        bytes[start] = b'0' + rest as u8;
    }
    start
}

/// "00" to "99": two digits per division.
static PAIRS: [u8; 200] = {
    let mut pairs = [0u8; 200];
    let mut number = 0;
    while number < 100 {
        pairs[number * 2] = b'0' + (number / 10) as u8;
        pairs[number * 2 + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
};

impl Deref for I64Text {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

/// The text of a double, on the stack.
#[derive(Clone, Copy)]
pub struct F64Text {
    bytes: [u8; F64_TEXT_MAX],
    len: u8,
}

impl Deref for F64Text {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl F64Text {
    fn empty() -> F64Text {
        F64Text { bytes: [0; F64_TEXT_MAX], len: 0 }
    }

    fn of(text: &[u8]) -> F64Text {
        let mut out = F64Text::empty();
        out.push(text);
        out
    }

    fn push(&mut self, text: &[u8]) {
        let len = usize::from(self.len);
        self.bytes[len..len + text.len()].copy_from_slice(text);
        self.len += text.len() as u8;
    }

    fn push_zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.push(b"0");
        }
    }

    /// Drops zeros at the end, but not below `floor` bytes.
    fn trim_zeros(&mut self) {
        while self.last() == Some(&b'0') {
            self.len -= 1;
        }
        if self.last() == Some(&b'.') {
            self.len -= 1;
        }
    }
}

/// Lets `write!` print into the buffer; the buffer's size is a proven bound, so running over it is a bug.
impl std::fmt::Write for F64Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Formats a double as redis-server 7.0 does for scores and RESP3 doubles: C's `%.17g`, with `inf` and `-inf`.
/// (Redis 7.2 and later print the shortest digits that read back the same: `format_f64_shortest`.)
pub fn format_f64(value: f64) -> F64Text {
    match format_plain(value) {
        Some(text) => text,
        None => format_significant_17(value),
    }
}

/// Formats a double as redis-server 7.2 does: the fewest digits that read back as the same value.
pub fn format_f64_shortest(value: f64) -> F64Text {
    match format_plain(value) {
        Some(text) => text,
        None => {
            let scientific = scientific(format_args!("{value:e}"));
            scientific.layout_shortest()
        }
    }
}

/// The values whose text both styles share: zeros, infinities, NaN and whole numbers of moderate size.
#[inline]
fn format_plain(value: f64) -> Option<F64Text> {
    if value == 0.0 {
        return Some(F64Text::of(if value.is_sign_negative() { b"-0" } else { b"0" }));
    }
    if value.abs() < WHOLE_MAX && value.trunc() == value {
        return Some(F64Text::of(&format_i64(value as i64)));
    }
    if value.is_nan() {
        return Some(F64Text::of(b"nan"));
    }
    if value.is_infinite() {
        return Some(F64Text::of(if value > 0.0 { b"inf" } else { b"-inf" }));
    }
    None
}

fn format_significant_17(value: f64) -> F64Text {
    scientific(format_args!("{value:.16e}")).layout_general()
}

/// A number taken apart: sign, digits without the point, and the power of ten of the first digit.
struct Scientific {
    negative: bool,
    digits: [u8; 17],
    count: usize,
    power: i32,
}

/// Takes apart what Rust's `{:e}` printed. Rust's digits are exact, ties to even, hence the same as glibc's.
fn scientific(printed: std::fmt::Arguments<'_>) -> Scientific {
    let mut text = F64Text::empty();
    std::fmt::Write::write_fmt(&mut text, printed).expect("writing into a buffer that is large enough");
    let mut out = Scientific { negative: false, digits: [0; 17], count: 0, power: 0 };
    let mut bytes = text.iter();
    for &byte in bytes.by_ref() {
        match byte {
            b'-' => out.negative = true,
            b'.' => {}
            b'e' => break,
            digit => {
                out.digits[out.count] = digit;
                out.count += 1;
            }
        }
    }
    out.power = parse_i64(bytes.as_slice()).expect("an exponent follows the e") as i32;
    out
}

impl Scientific {
    /// C's `%g` with 17 significant digits: fixed notation for exponents from -4 to 16, no zeros at the end.
    fn layout_general(&self) -> F64Text {
        let mut out = self.signed();
        let digits = &self.digits[..self.count];
        match self.power {
            0..=16 => {
                let whole = self.power as usize + 1;
                out.push(&digits[..whole]);
                if digits.len() > whole {
                    out.push(b".");
                    out.push(&digits[whole..]);
                    out.trim_zeros();
                }
            }
            -4..=-1 => {
                out.push(b"0.");
                out.push_zeros((-self.power - 1) as usize);
                out.push(digits);
                out.trim_zeros();
            }
            _ => {
                out.push(&digits[..1]);
                out.push(b".");
                out.push(&digits[1..]);
                out.trim_zeros();
                out.push(if self.power < 0 { b"e-" } else { b"e+" });
                let power = self.power.unsigned_abs();
                out.push_zeros(usize::from(power < 10));
                out.push(&format_u64(u64::from(power)));
            }
        }
        out
    }

    /// The layout of Redis 7.2: whole numbers up to seven zeros longer than their digits, fixed notation down
    /// to six places after the point beyond the digits, else an exponent without leading zeros.
    fn layout_shortest(&self) -> F64Text {
        let mut out = self.signed();
        let digits = &self.digits[..self.count];
        let count = self.count as i32;
        let scale = self.power - (count - 1);
        let power = self.power.abs();
        if scale >= 0 && power < count + 7 {
            out.push(digits);
            out.push_zeros(scale as usize);
        } else if scale < 0 && (scale > -7 || power < 4) {
            if self.power < 0 {
                out.push(b"0.");
                out.push_zeros((-self.power - 1) as usize);
                out.push(digits);
            } else {
                let whole = self.power as usize + 1;
                out.push(&digits[..whole]);
                out.push(b".");
                out.push(&digits[whole..]);
            }
        } else {
            out.push(&digits[..1]);
            if digits.len() > 1 {
                out.push(b".");
                out.push(&digits[1..]);
            }
            out.push(if self.power < 0 { b"e-" } else { b"e+" });
            out.push(&format_u64(power as u64));
        }
        out
    }

    fn signed(&self) -> F64Text {
        F64Text::of(if self.negative { b"-" } else { b"" })
    }
}

#[cfg(test)]
mod tests;
