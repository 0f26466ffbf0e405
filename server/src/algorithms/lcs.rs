//! The longest common subsequence of two strings, as the LCS command answers it.
//!
//! Where several are equally long, Redis's choice is kept: walking back from the ends, a byte of the second
//! string is dropped unless dropping the one of the first is strictly better. Instead of Redis's table of
//! lengths (four bytes per pair of bytes) one bit per pair is kept: whether the length grows from one column to
//! the next, which is all that the way back asks. Rows are computed 64 columns at a time (Hyyrö, "Bit-parallel
//! LCS-length computation revisited", 2004).

/// Strings must be shorter than this in either place, else: "String too long for LCS".
pub const LEN_END: usize = u32::MAX as usize - 1;

/// What Redis would allocate for the table. Commands refuse what exceeds proto-max-bulk-len ("Insufficient memory,
/// transient memory for LCS exceeds proto-max-bulk-len"); for long strings we need a sixteenth of it at most.
pub fn table_bytes(a_len: usize, b_len: usize) -> u128 {
    (a_len as u128 + 1) * (b_len as u128 + 1) * 4
}

/// The length of the longest common subsequence.
pub fn length(a: &[u8], b: &[u8]) -> usize {
    let masks = Masks::new(a, b);
    let mut row = masks.first_row();
    for byte in a {
        masks.advance(&mut row, *byte);
    }
    masks.length(&row)
}

/// A longest common subsequence, and where its pieces are in the two strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// The subsequence itself.
    pub text: Vec<u8>,
    /// Its pieces that are contiguous in both strings, from the last to the first.
    pub matches: Vec<Match>,
}

/// A piece that both strings contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Where it starts in the first string.
    pub a: usize,
    /// Where it starts in the second string.
    pub b: usize,
    /// Invariant: not zero.
    pub len: usize,
}

impl Alignment {
    pub fn of(a: &[u8], b: &[u8]) -> Alignment {
        let masks = Masks::new(a, b);
        let mut row = masks.first_row();
        let width = row.len();
        let mut rows = Vec::with_capacity(width * a.len());
        for byte in a {
            masks.advance(&mut row, *byte);
            rows.extend_from_slice(&row);
        }
        // A clear bit: the common length of the prefixes grows when the second one gets this byte.
        let grows = |a_at: usize, b_at: usize| rows[a_at * width + b_at / 64] >> (b_at % 64) & 1 == 0;

        let mut text = Vec::with_capacity(masks.length(&row));
        let mut matches: Vec<Match> = Vec::new();
        let (mut a_left, mut b_left) = (a.len(), b.len());
        while a_left > 0 && b_left > 0 {
            if a[a_left - 1] == b[b_left - 1] {
                (a_left, b_left) = (a_left - 1, b_left - 1);
                text.push(a[a_left]);
                match matches.last_mut() {
                    Some(last) if (last.a, last.b) == (a_left + 1, b_left + 1) => {
                        *last = Match { a: a_left, b: b_left, len: last.len + 1 };
                    }
                    _ => matches.push(Match { a: a_left, b: b_left, len: 1 }),
                }
            } else if grows(a_left - 1, b_left - 1) {
                a_left -= 1;
            } else {
                b_left -= 1;
            }
        }
        text.reverse();
        Alignment { text, matches }
    }
}

/// For each byte value in both strings, the columns (places of the second string) that hold it.
struct Masks {
    words: usize,
    /// Where the mask of a byte value starts in `bits`.
    start: [Option<usize>; 256],
    bits: Vec<u64>,
}

impl Masks {
    fn new(a: &[u8], b: &[u8]) -> Masks {
        let words = b.len().div_ceil(64);
        let mut wanted = [false; 256];
        a.iter().for_each(|byte| wanted[usize::from(*byte)] = true);
        let mut masks = Masks { words, start: [None; 256], bits: Vec::new() };
        for (column, &byte) in b.iter().enumerate().filter(|(_, byte)| wanted[usize::from(**byte)]) {
            let start = *masks.start[usize::from(byte)].get_or_insert_with(|| {
                let start = masks.bits.len();
                masks.bits.resize(start + words, 0);
                start
            });
            masks.bits[start + column / 64] |= 1 << (column % 64);
        }
        masks
    }

    /// The row of the empty prefix of the first string: no length grows anywhere.
    fn first_row(&self) -> Vec<u64> {
        vec![u64::MAX; self.words]
    }

    /// Turns the row of a prefix of the first string into that of the prefix with one more byte.
    fn advance(&self, row: &mut [u64], byte: u8) {
        let Some(start) = self.start[usize::from(byte)] else {
            return;
        };
        let mut carry = false;
        for (word, mask) in row.iter_mut().zip(&self.bits[start..start + self.words]) {
            let hits = *word & mask;
            let (sum, over) = word.overflowing_add(hits);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            carry = over || over_again;
            *word = sum | (*word & !mask);
        }
    }

    /// The common length is the number of columns where it grows. Bits behind the last column are in no mask,
    /// so they stay set.
    fn length(&self, row: &[u64]) -> usize {
        row.iter().map(|word| word.count_zeros() as usize).sum()
    }
}

#[cfg(test)]
mod tests;
