//! Integers of 1 to 64 bits at any bit offset of a string: the reads, writes and overflow rules of BITFIELD.
//!
//! A field's value travels as `i64`: unsigned fields have at most 63 bits, so every value fits. Neighbour: `bits`.

/// The type of a field: `i1` to `i64` and `u1` to `u63`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldType {
    sign: Sign,
    /// Invariant: 1 to 64, to 63 if unsigned.
    bits: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Signed,
    Unsigned,
}

/// What happens to a value that does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It loses its upper bits.
    Wrap,
    /// It becomes the nearest value that fits.
    Saturate,
    /// The field keeps its value, and the reply is null.
    Fail,
}

impl FieldType {
    /// Parses "i8" or "u16".
    pub fn parse(text: &[u8]) -> Option<FieldType> {
        let (sign, digits, bits_max) = match text {
            [b'i', digits @ ..] => (Sign::Signed, digits, 64),
            [b'u', digits @ ..] => (Sign::Unsigned, digits, 63),
            _ => return None,
        };
        if !matches!(digits, [b'1'..=b'9'] | [b'1'..=b'9', b'0'..=b'9']) {
            return None;
        }
        let bits = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        (bits <= bits_max).then_some(FieldType { sign, bits })
    }

    /// The width of the field: an offset written as "#n" is n times this.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// The length a string needs so that a field at this bit offset can be written.
    pub fn bytes_needed(self, offset: u64) -> u64 {
        (offset + u64::from(self.bits)).div_ceil(8)
    }

    /// Reads the field at a bit offset; what lies behind the end reads as zero.
    pub fn read(self, bytes: &[u8], offset: u64) -> i64 {
        let first = usize::try_from(offset / 8).unwrap_or(usize::MAX);
        // A field that starts inside a byte can touch nine of them.
        let mut window = [0u8; 16];
        if let Some(tail) = bytes.get(first..) {
            let len = tail.len().min(9);
            window[..len].copy_from_slice(&tail[..len]);
        }
        let raw = (u128::from_be_bytes(window) << (offset % 8) >> (128 - self.bits)) as u64;
        match self.sign {
            Sign::Unsigned => raw as i64,
            Sign::Signed => self.extend(raw),
        }
    }

    /// Writes the lower bits of a value; the string must be long enough.
    pub fn write(self, bytes: &mut [u8], offset: u64, value: i64) {
        let first = (offset / 8) as usize;
        let end = self.bytes_needed(offset) as usize;
        let mut window = [0u8; 16];
        window[..end - first].copy_from_slice(&bytes[first..end]);
        let shift = 128 - self.bits - (offset % 8) as u32;
        let mask = (u128::MAX >> (128 - self.bits)) << shift;
        let bits = (u128::from(value as u64) << shift) & mask;
        let merged = (u128::from_be_bytes(window) & !mask) | bits;
        bytes[first..end].copy_from_slice(&merged.to_be_bytes()[..end - first]);
    }

    /// The value a field gets by SET; `None` if it does not fit and must not be changed.
    pub fn fit(self, value: i64, overflow: Overflow) -> Option<i64> {
        match self.sign {
            // A negative value is a huge one here, as C's conversion to unsigned makes it.
            Sign::Unsigned => self.resolve(i128::from(value as u64), overflow),
            Sign::Signed => {
                let (_, max) = self.limits();
                // Redis computes the room above the value in 64 bits, and takes an overflow there for a value
                // too large: a SET far below the range saturates to the upper end.
                let room = max - i128::from(value);
                if self.bits < 64 && overflow == Overflow::Saturate && room > i128::from(i64::MAX) {
                    return Some(max as i64);
                }
                self.resolve(i128::from(value), overflow)
            }
        }
    }

    /// The value a field gets by INCRBY; `None` if it does not fit and must not be changed.
    pub fn add(self, value: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        self.resolve(i128::from(value) + i128::from(increment), overflow)
    }

    fn resolve(self, wide: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = self.limits();
        if (min..=max).contains(&wide) {
            return Some(wide as i64);
        }
        match overflow {
            Overflow::Fail => None,
            Overflow::Saturate => Some(wide.clamp(min, max) as i64),
            Overflow::Wrap => {
                let kept = wide as u64 & (u64::MAX >> (64 - self.bits));
                Some(match self.sign {
                    Sign::Unsigned => kept as i64,
                    Sign::Signed => self.extend(kept),
                })
            }
        }
    }

    fn limits(self) -> (i128, i128) {
        match self.sign {
            Sign::Unsigned => (0, (1 << self.bits) - 1),
            Sign::Signed => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
        }
    }

    /// Copies the top bit of the field into all bits above it.
    fn extend(self, raw: u64) -> i64 {
        let above = 64 - self.bits;
        ((raw << above) as i64) >> above
    }
}

#[cfg(test)]
mod tests;
