//! The 80-bit extended floats of x87, in software: INCRBYFLOAT and HINCRBYFLOAT compute with them, and their
//! replies show every bit, so neither `f64` nor decimal arithmetic would do.
//!
//! Parsing, addition and formatting round to nearest, ties to even, exactly once. Invariants of a finite value: it is
//! `mantissa * 2^exponent`, the exponent is within `EXPONENT_MIN..=EXPONENT_MAX`, and the mantissa has its top bit set
//! unless the exponent is `EXPONENT_MIN` (zero and subnormals). There is no NaN: what would give one gives `None`.
//! Neighbour: `big`, integers of any size, for texts that do not fit 128 bits.

mod big;

use big::Big;

/// Redis copies a number's text into a buffer of this size, end mark included, and refuses what does not fit.
const TEXT_MAX: usize = 5 * 1024;

/// The exponent of the last mantissa bit of subnormals, and of the largest values.
const EXPONENT_MIN: i64 = -16445;
const EXPONENT_MAX: i64 = 16320;

/// Decimal exponents beyond these are infinite or zero for sure, whatever the digits.
const DECIMAL_POWER_MAX: i64 = 4940;
const DECIMAL_POWER_MIN: i64 = -4970;

/// Places after the point that Redis prints.
const PLACES: usize = 17;

/// An x87 extended double that is not NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magnitude {
    Finite { mantissa: u64, exponent: i32 },
    Infinite,
}

impl LongDouble {
    /// Parses text as Redis does: the whole of it as C's strtold reads it (decimal, hex, `inf`), but no leading
    /// space, no NaN, nothing finite that overflows and nothing non-zero that underflows to zero.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= TEXT_MAX {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble { negative, magnitude: Magnitude::Infinite });
        }
        let magnitude = match unsigned {
            [b'0', b'x' | b'X', digits @ ..] => Digits::scan(digits, Radix::Hex)?.hex_value(),
            _ => Digits::scan(unsigned, Radix::Decimal)?.decimal_value(),
        };
        magnitude.map(|magnitude| LongDouble { negative, magnitude })
    }

    pub fn is_finite(self) -> bool {
        self.magnitude != Magnitude::Infinite
    }

    /// The sum, unless it is NaN or infinite.
    pub fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        let (Some(a), Some(b)) = (self.parts(), other.parts()) else {
            return None;
        };
        let (high, low) = if a.exponent >= b.exponent { (a, b) } else { (b, a) };
        // 62 spare bits below the higher operand; what the lower one has below those only matters as "not zero".
        const SPARE: u32 = 62;
        let distance = (high.exponent - low.exponent) as u32;
        let left = u128::from(high.mantissa) << SPARE;
        let wide = u128::from(low.mantissa) << SPARE;
        let right = wide.checked_shr(distance).unwrap_or(0);
        let sticky = right.checked_shl(distance).unwrap_or(0) != wide;
        let (negative, sum) = if high.negative == low.negative {
            (high.negative, left + right)
        } else if left >= right {
            // Lost bits make the subtrahend larger than `right`: borrow one, the rest is sticky.
            (high.negative, left - right - u128::from(sticky))
        } else {
            (low.negative, right - left)
        };
        let magnitude = round(sum, high.exponent - i64::from(SPARE), sticky);
        let negative = if sum == 0 { high.negative && low.negative } else { negative };
        (magnitude != Magnitude::Infinite).then_some(LongDouble { negative, magnitude })
    }

    /// Formats as `%.17Lf` does, less the zeros at the end: Redis's "human friendly" text. Minus zero prints as
    /// zero.
    pub fn to_text(self) -> Vec<u8> {
        let Magnitude::Finite { mantissa, exponent } = self.magnitude else {
            return if self.negative { b"-inf".to_vec() } else { b"inf".to_vec() };
        };
        let mut text = Vec::with_capacity(32);
        if self.negative {
            text.push(b'-');
        }
        if exponent >= 0 {
            let mut whole = Big::from_u64(mantissa);
            whole.shift_left(exponent as u32);
            text.extend_from_slice(&whole.into_decimal());
        } else {
            push_fixed(&mut text, mantissa, exponent.unsigned_abs());
        }
        if text == b"-0" {
            text.remove(0);
        }
        text
    }

    fn parts(self) -> Option<Parts> {
        match self.magnitude {
            Magnitude::Finite { mantissa, exponent } => {
                Some(Parts { negative: self.negative, mantissa, exponent: i64::from(exponent) })
            }
            Magnitude::Infinite => None,
        }
    }
}

impl From<i64> for LongDouble {
    fn from(value: i64) -> LongDouble {
        LongDouble { negative: value < 0, magnitude: round(u128::from(value.unsigned_abs()), 0, false) }
    }
}

impl From<f64> for LongDouble {
    /// Every double is an extended double. NaN has no place here: callers never hold one.
    fn from(value: f64) -> LongDouble {
        assert!(!value.is_nan(), "a NaN reached the extended floats");
        let negative = value.is_sign_negative();
        if value.is_infinite() {
            return LongDouble { negative, magnitude: Magnitude::Infinite };
        }
        let fraction = value.to_bits() & ((1 << 52) - 1);
        let biased = (value.to_bits() >> 52 & 0x7ff) as i64;
        let (mantissa, exponent) = if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
        LongDouble { negative, magnitude: round(u128::from(mantissa), exponent, false) }
    }
}

/// A finite value taken apart.
struct Parts {
    negative: bool,
    mantissa: u64,
    exponent: i64,
}

/// Rounds `mantissa * 2^exponent`, plus something smaller than the last bit if `sticky`, to nearest, ties to even.
/// With `sticky` the mantissa must have more bits than are kept, or the rest would be lost unseen.
fn round(mantissa: u128, exponent: i64, sticky: bool) -> Magnitude {
    if mantissa == 0 {
        assert!(!sticky, "bits below a zero mantissa");
        return Magnitude::Finite { mantissa: 0, exponent: EXPONENT_MIN as i32 };
    }
    let bits = i64::from(128 - mantissa.leading_zeros());
    let mut unit = (exponent + bits - 64).max(EXPONENT_MIN);
    let shift = unit - exponent;
    let kept = if shift <= 0 {
        assert!(!sticky, "rounding needs bits to drop");
        (mantissa as u64) << -shift
    } else if shift > 128 {
        0
    } else {
        let kept = mantissa.checked_shr(shift as u32).unwrap_or(0);
        let rest = mantissa - kept.checked_shl(shift as u32).unwrap_or(0);
        let half = 1u128 << (shift - 1);
        let up = rest > half || (rest == half && (sticky || kept & 1 == 1));
        let kept = kept + u128::from(up);
        if kept >> 64 != 0 {
            // All ones rounded up: the next power of two.
            unit += 1;
            1 << 63
        } else {
            kept as u64
        }
    };
    if kept == 0 {
        unit = EXPONENT_MIN;
    }
    if unit > EXPONENT_MAX {
        return Magnitude::Infinite;
    }
    Magnitude::Finite { mantissa: kept, exponent: unit as i32 }
}

/// Appends `mantissa / 2^scale` with up to 17 places.
fn push_fixed(text: &mut Vec<u8>, mantissa: u64, scale: u32) {
    const UNIT: u128 = 10u128.pow(PLACES as u32);
    let mut whole = mantissa.checked_shr(scale).unwrap_or(0);
    let fraction = mantissa - whole.checked_shl(scale).unwrap_or(0);
    // Below 2^64 * 10^17 < 2^121, so a scale of 128 or more leaves less than half a unit.
    let scaled = u128::from(fraction) * UNIT;
    let mut places = 0;
    if scale < 128 {
        places = scaled >> scale;
        let rest = scaled - (places << scale);
        let half = 1u128 << (scale - 1);
        places += u128::from(rest > half || (rest == half && places & 1 == 1));
    }
    if places == UNIT {
        places = 0;
        whole += 1;
    }
    text.extend_from_slice(whole.to_string().as_bytes());
    if places != 0 {
        text.push(b'.');
        let digits = format!("{places:017}");
        text.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Radix {
    Decimal,
    Hex,
}

/// The significant digits of a text and the power (of ten, or of two for hex) of the last one.
struct Digits {
    digits: Vec<u8>,
    power: i64,
}

impl Digits {
    /// Scans digits, at most one point, and an optional exponent; the whole text must be taken.
    fn scan(text: &[u8], radix: Radix) -> Option<Digits> {
        let (digit_power, marks) = match radix {
            Radix::Decimal => (1, b"eE"),
            Radix::Hex => (4, b"pP"),
        };
        let mut digits = Vec::with_capacity(text.len().min(64));
        let mut power = 0i64;
        let mut point = false;
        let mut seen = false;
        let mut rest = text;
        while let [byte, tail @ ..] = rest {
            match byte {
                b'.' if !point => point = true,
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' if radix == Radix::Hex || byte.is_ascii_digit() => {
                    seen = true;
                    let digit = (*byte as char).to_digit(16)? as u8;
                    if digit != 0 || !digits.is_empty() {
                        digits.push(digit);
                    }
                    power -= if point { digit_power } else { 0 };
                }
                _ => break,
            }
            rest = tail;
        }
        if !seen {
            return None;
        }
        match rest {
            [] => {}
            [mark, exponent @ ..] if marks.contains(mark) => power += scan_exponent(exponent)?,
            _ => return None,
        }
        while digits.last() == Some(&0) {
            digits.pop();
            power += digit_power;
        }
        Some(Digits { digits, power })
    }

    /// `None` if the value is not zero but too large or too small to be represented.
    fn decimal_value(&self) -> Option<Magnitude> {
        if self.digits.is_empty() {
            return Some(round(0, 0, false));
        }
        let top = self.power.saturating_add(self.digits.len() as i64);
        if !(DECIMAL_POWER_MIN..=DECIMAL_POWER_MAX).contains(&top) {
            return None;
        }
        let magnitude = if self.digits.len() <= 19 && self.power.abs() <= 19 {
            self.decimal_value_small()
        } else {
            self.decimal_value_big()
        };
        representable(magnitude)
    }

    /// At most 19 digits and a power of ten below 2^64: everything fits 128 bits.
    fn decimal_value_small(&self) -> Magnitude {
        let digits = self.digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(*digit));
        let scale = 10u64.pow(self.power.unsigned_abs() as u32);
        if self.power >= 0 {
            return round(u128::from(digits) * u128::from(scale), 0, false);
        }
        // The dividend has its top bit set, so the quotient keeps at least 64 bits; the remainder decides the
        // rest. Two more bits below the quotient tell apart less than, exactly, and more than half.
        let shift = digits.leading_zeros();
        let dividend = u128::from(digits << shift) << 64;
        let quotient = dividend / u128::from(scale);
        let remainder = dividend % u128::from(scale);
        let doubled = remainder * 2;
        let half = doubled / u128::from(scale);
        let exact = doubled % u128::from(scale) == 0;
        let exponent = -64 - i64::from(shift);
        if quotient >> 126 != 0 {
            return round(quotient | u128::from(remainder != 0), exponent, false);
        }
        round(quotient << 2 | half << 1 | u128::from(!exact), exponent - 2, false)
    }

    fn decimal_value_big(&self) -> Magnitude {
        let mut digits = Big::from_decimal(&self.digits);
        let scale = Big::power_of_ten(self.power.unsigned_abs() as u32);
        if self.power >= 0 {
            digits = digits.multiply(&scale);
            let (top, exponent, sticky) = digits.top_bits();
            return round(top, i64::from(exponent), sticky);
        }
        let (quotient, exponent, sticky) = Big::divide_to_71_bits(digits, scale);
        round(quotient, i64::from(exponent), sticky)
    }

    fn hex_value(&self) -> Option<Magnitude> {
        let mut mantissa = 0u128;
        let mut exponent = self.power;
        for (index, digit) in self.digits.iter().enumerate() {
            if mantissa >> 120 != 0 {
                // Digits are not zero at the end, so something non-zero follows.
                mantissa |= 1;
                exponent += 4 * (self.digits.len() - index) as i64;
                break;
            }
            mantissa = mantissa << 4 | u128::from(*digit);
        }
        let magnitude = round(mantissa, exponent.clamp(-100_000, 100_000), false);
        if mantissa == 0 { Some(magnitude) } else { representable(magnitude) }
    }
}

/// Where strtold sets ERANGE and gives something useless, Redis takes the text for no number.
fn representable(magnitude: Magnitude) -> Option<Magnitude> {
    match magnitude {
        Magnitude::Infinite | Magnitude::Finite { mantissa: 0, .. } => None,
        _ => Some(magnitude),
    }
}

/// A decimal exponent of any length, saturating far outside the range of extended doubles.
fn scan_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1_000_000_000));
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests;
