//! The checksum of what is written to a disk or sent to another node: CRC-32C (Castagnoli), reflected.
//! Processors have an instruction for it, and all that moves or is written passes here.
//!
//! Invariant: `!crc32c(crc32c(!0, a), b)` is the checksum of `a` followed by `b`, so that parts are summed one by one.

/// Continues a checksum over more bytes. Starts from all ones, and the result is still to be inverted.
pub fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    !::crc32c::crc32c_append(!sum, bytes)
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
