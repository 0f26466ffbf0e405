//! Strings as rows of bits: counting, searching and combining them (BITCOUNT, BITPOS, BITOP, GETBIT, SETBIT).
//!
//! Bit 0 is the most significant bit of byte 0, as everywhere in Redis. Offsets handed in are already checked
//! against the size limit of strings; a bit behind the end of a string reads as clear. Neighbour: `bitfield`,
//! integers inside strings.

/// The state of one bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bit {
    Clear,
    Set,
}

/// What the indexes of a range count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Byte,
    Bit,
}

/// How BITOP combines its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    And,
    Or,
    Xor,
    Not,
}

/// The bits of a range, `first..end`, counted from the start of the string. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BitRange {
    first: u64,
    end: u64,
}

/// Counts the set bits of the whole string.
pub fn count(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let (blocks, words) = words.as_chunks::<4>();
    let ones = |word: &[u8; 8]| u64::from(u64::from_le_bytes(*word).count_ones());
    // Four independent sums keep the processor's adders busy.
    let mut sums = [0u64; 4];
    for block in blocks {
        for (sum, word) in sums.iter_mut().zip(block) {
            *sum += ones(word);
        }
    }
    let words: u64 = words.iter().map(ones).sum();
    let rest: u64 = rest.iter().map(|byte| u64::from(byte.count_ones())).sum();
    sums.iter().sum::<u64>() + words + rest
}

/// Counts the set bits from `start` to `end`, both included; negative indexes count from the end of the string.
pub fn count_in(bytes: &[u8], start: i64, end: i64, unit: Unit) -> u64 {
    // Out of order from the end stays empty even where clamping to the start would make it a range of one.
    if start < 0 && end < 0 && start > end {
        return 0;
    }
    let Some(range) = BitRange::resolve(bytes, start, end, unit) else {
        return 0;
    };
    let (first_byte, end_byte) = range.bytes();
    let whole = count(&bytes[first_byte..end_byte]);
    let before = bytes[first_byte] & !range.first_mask();
    let after = bytes[end_byte - 1] & !range.last_mask();
    whole - u64::from(before.count_ones()) - u64::from(after.count_ones())
}

/// Finds the first bit of the wanted state, as BITPOS answers: the position, or -1.
///
/// A key that does not exist (`None`) is an endless row of clear bits, unlike an empty string, which has no
/// bits at all. Without an `end` a string counts as followed by clear bits, so a search for one can find the
/// first behind the string.
pub fn position(bytes: Option<&[u8]>, wanted: Bit, start: i64, end: Option<i64>, unit: Unit) -> i64 {
    let Some(bytes) = bytes else {
        return if wanted == Bit::Set { -1 } else { 0 };
    };
    let Some(range) = BitRange::resolve(bytes, start, end.unwrap_or(-1), unit) else {
        return -1;
    };
    match find(bytes, wanted, range) {
        Some(position) => position as i64,
        None if wanted == Bit::Clear && end.is_none() => bytes.len() as i64 * 8,
        None => -1,
    }
}

/// Reads one bit; behind the end it is clear.
pub fn bit(bytes: &[u8], offset: u64) -> Bit {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| bytes.get(at)).copied().unwrap_or(0);
    if byte & mask_of(offset) != 0 { Bit::Set } else { Bit::Clear }
}

/// Writes one bit of a string that is long enough, and gives its former state.
pub fn replace_bit(bytes: &mut [u8], offset: u64, state: Bit) -> Bit {
    let former = bit(bytes, offset);
    let byte = &mut bytes[(offset / 8) as usize];
    match state {
        Bit::Set => *byte |= mask_of(offset),
        Bit::Clear => *byte &= !mask_of(offset),
    }
    former
}

/// Combines the inputs bit by bit; shorter ones count as followed by zeros. `Not` takes exactly one input.
pub fn combine(operation: Operation, inputs: &[&[u8]]) -> Vec<u8> {
    let Some((first, others)) = inputs.split_first() else {
        return Vec::new();
    };
    let len = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(first);
    out.resize(len, 0);
    if operation == Operation::Not {
        assert!(others.is_empty(), "NOT combines a single input");
        out.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for other in others {
        let (common, tail) = out.split_at_mut(other.len());
        let pairs = common.iter_mut().zip(*other);
        match operation {
            Operation::And => {
                pairs.for_each(|(byte, with)| *byte &= with);
                tail.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, with)| *byte |= with),
            Operation::Xor => pairs.for_each(|(byte, with)| *byte ^= with),
            Operation::Not => unreachable!("NOT has no second input"),
        }
    }
    out
}

impl Bit {
    /// The digit that replies and arguments use.
    pub fn digit(self) -> i64 {
        match self {
            Bit::Clear => 0,
            Bit::Set => 1,
        }
    }
}

impl BitRange {
    /// Applies Redis's rules for ranges: negative indexes count from the end, and both ends are clamped to the
    /// string.
    fn resolve(bytes: &[u8], start: i64, end: i64, unit: Unit) -> Option<BitRange> {
        let bits_per_index = match unit {
            Unit::Byte => 8,
            Unit::Bit => 1,
        };
        let len = bytes.len() as i64 * 8 / bits_per_index;
        let from_start = |index: i64| {
            if index < 0 { (len + index).max(0) } else { index }
        };
        let (start, end) = (from_start(start), from_start(end).min(len - 1));
        (start <= end)
            .then(|| BitRange { first: (start * bits_per_index) as u64, end: ((end + 1) * bits_per_index) as u64 })
    }

    /// The bytes that hold the range, first and behind the last.
    fn bytes(&self) -> (usize, usize) {
        ((self.first / 8) as usize, self.end.div_ceil(8) as usize)
    }

    /// The bits of the first byte from the start of the range on.
    fn first_mask(&self) -> u8 {
        0xff >> (self.first % 8)
    }

    /// The bits of the last byte up to the end of the range.
    fn last_mask(&self) -> u8 {
        !(0x7f >> ((self.end - 1) % 8))
    }
}

fn find(bytes: &[u8], wanted: Bit, range: BitRange) -> Option<u64> {
    let (first_byte, end_byte) = range.bytes();
    let flip = match wanted {
        Bit::Set => 0,
        Bit::Clear => 0xff,
    };
    let wanted_in = |at: usize| {
        let mut hits = bytes[at] ^ flip;
        if at == first_byte {
            hits &= range.first_mask();
        }
        if at + 1 == end_byte {
            hits &= range.last_mask();
        }
        hits
    };
    let mut at = first_byte;
    while at < end_byte {
        let hits = wanted_in(at);
        if hits != 0 {
            return Some(at as u64 * 8 + u64::from(hits.leading_zeros()));
        }
        at += 1;
        // Whole words without a hit are skipped; the last byte of the range is always looked at on its own.
        let skipped = bytes[at..end_byte.max(at + 1) - 1].as_chunks::<8>().0;
        let same = u64::from_ne_bytes([flip; 8]);
        at += 8 * skipped.iter().take_while(|word| u64::from_ne_bytes(**word) == same).count();
    }
    None
}

fn mask_of(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

#[cfg(test)]
mod tests;
