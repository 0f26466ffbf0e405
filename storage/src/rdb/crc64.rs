//! The checksum of RDB files and DUMP payloads: CRC-64 with Jones's polynomial, reflected, starting from zero.
//!
//! Invariant: `crc64(crc64(0, a), b)` is the checksum of `a` followed by `b`, so streams are summed piece by
//! piece.

/// Jones's polynomial 0xad93d23594c935a9 with its bits in reverse order.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// Entry `[k][b]` is what byte `b` contributes when `k` more bytes follow it in the same step of eight.
static TABLES: [[u64; 256]; 8] = tables();

/// Continues a checksum over more bytes; the checksum of nothing is 0.
#[inline]
pub fn crc64(checksum: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut crc = checksum;
    for word in words {
        let mixed = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
        let tables = TABLES.iter().rev();
        crc = mixed.iter().zip(tables).fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)]);
    }
    for byte in rest {
        crc = TABLES[0][usize::from(crc as u8 ^ byte)] ^ crc >> 8;
    }
    crc
}

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0u64; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
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
    fn check_value_of_the_catalogue() {
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(0, b""), 0);
    }

    #[test]
    fn pieces_add_up_wherever_they_are_cut() {
        let bytes: Vec<u8> = (0..100u32).map(|at| (at * at * 7 + 3) as u8).collect();
        let bitwise = bytes.iter().fold(0u64, |crc, byte| {
            (0..8).fold(crc ^ u64::from(*byte), |crc, _| (crc >> 1) ^ ((crc & 1) * POLYNOMIAL))
        });
        for cut in 0..=bytes.len() {
            assert_eq!(crc64(crc64(0, &bytes[..cut]), &bytes[cut..]), bitwise);
        }
    }

    /// DUMP of a key holding "hello" in redis-server 7.0.15.
    #[test]
    fn sums_of_redis_payloads() {
        let payload = b"\x00\x05hello\x0a\x00cr\xdfve4 \x0a";
        let (body, checksum) = payload.split_at(payload.len() - 8);
        assert_eq!(crc64(0, body).to_le_bytes(), checksum);
    }
}
