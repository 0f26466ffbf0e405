//! The checksum of RDB files and DUMP payloads: CRC-64 with Jones's polynomial, reflected, starting from zero.
//!
//! Invariant: `crc64(crc64(0, a), b)` is the checksum of `a` followed by `b`, so streams are summed piece by
//! piece.

use crate::crc::Reflected;

/// Jones's polynomial 0xad93d23594c935a9 with its bits in reverse order.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

static JONES: Reflected = Reflected::new(POLYNOMIAL);

/// Continues a checksum over more bytes; the checksum of nothing is 0.
pub fn crc64(checksum: u64, bytes: &[u8]) -> u64 {
    JONES.add(checksum, bytes)
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
