//! The dense encoding: six bits per register, the first register in the lowest bits of the first byte.

use super::REGISTERS;

const BITS: usize = 6;
const MASK: u16 = (1 << BITS) - 1;

/// Bytes of all registers.
pub(super) const LEN: usize = REGISTERS * BITS / 8;

pub(super) fn read(body: &[u8], index: usize) -> u8 {
    let (byte, shift) = place(index);
    (pair(body, byte) >> shift & MASK) as u8
}

pub(super) fn write(body: &mut [u8], index: usize, rank: u8) {
    let (byte, shift) = place(index);
    let merged = pair(body, byte) & !(MASK << shift) | u16::from(rank) << shift;
    body[byte] = merged as u8;
    if let Some(next) = body.get_mut(byte + 1) {
        *next = (merged >> 8) as u8;
    }
}

/// All registers in order: four in every three bytes.
pub(super) fn ranks(body: &[u8]) -> impl Iterator<Item = u8> {
    body.as_chunks::<3>().0.iter().flat_map(|[a, b, c]| {
        let four = u32::from_le_bytes([*a, *b, *c, 0]);
        [0, 6, 12, 18].map(|shift| (four >> shift & u32::from(MASK)) as u8)
    })
}

fn place(index: usize) -> (usize, usize) {
    (index * BITS / 8, index * BITS % 8)
}

/// A byte and the one behind it; behind the last byte there is nothing, and its register does not reach there.
fn pair(body: &[u8], byte: usize) -> u16 {
    u16::from_le_bytes([body[byte], body.get(byte + 1).copied().unwrap_or(0)])
}
