//! The checksum of what is written to a disk or sent to another node: CRC-32C (Castagnoli), reflected.
//!
//! Invariant: `!crc32c(crc32c(!0, a), b)` is the checksum of `a` followed by `b`, so that parts are summed one by one.

/// Entry `[k][b]` is what byte `b` contributes when `k` more bytes follow it in the same step.
static TABLES: [[u32; 256]; 8] = tables();

/// Continues a checksum over more bytes. Starts from all ones, and the result is still to be inverted.
pub fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut crc = sum;
    for word in words {
        let mixed = (u64::from(crc) ^ u64::from_le_bytes(*word)).to_le_bytes();
        crc = mixed.iter().zip(TABLES.iter().rev()).fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)]);
    }
    for byte in rest {
        crc = TABLES[0][usize::from(crc as u8 ^ byte)] ^ crc >> 8;
    }
    crc
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut depth = 1;
    while depth < 8 {
        let mut byte = 0;
        while byte < 256 {
            let shallower = tables[depth - 1][byte];
            tables[depth][byte] = tables[0][(shallower & 0xff) as usize] ^ shallower >> 8;
            byte += 1;
        }
        depth += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_well_known_one() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(!crc32c(crc32c(!0, b"1234"), b"56789"), 0xe306_9283);
    }
}
