//! When a list is a listpack and how large its chunks get: the meaning of `list-max-listpack-size`.

use crate::number::parse_i64;

/// The setting `list-max-listpack-size`: positive counts elements, -1 to -5 stand for 4 to 64 KB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// Elements at most, when the setting is positive.
    entries_max: usize,
    /// Bytes at most.
    bytes_max: usize,
}

/// With a limit by count alone, bytes are bounded by this.
const SAFETY_BYTES: usize = 8192;

/// Length fields and counts of a chunk are 16 bits wide; staying well below leaves no edge to think about.
pub(super) const CHUNK_ENTRIES_MAX: usize = 32_767;

impl ListLimits {
    #[inline]
    pub fn new(max_listpack_size: i64) -> ListLimits {
        if max_listpack_size >= 0 {
            let entries_max = max_listpack_size.clamp(1, CHUNK_ENTRIES_MAX as i64) as usize;
            return ListLimits { entries_max, bytes_max: SAFETY_BYTES };
        }
        let level = max_listpack_size.max(-5).unsigned_abs() - 1;
        ListLimits { entries_max: CHUNK_ENTRIES_MAX, bytes_max: 4096 << level }
    }

    /// Whether a listpack of this size is too large.
    #[inline]
    pub(super) fn exceeded_by(&self, bytes: usize, entries: usize) -> bool {
        bytes > self.bytes_max || entries > self.entries_max
    }

    /// What a chunk of a quicklist may allocate.
    pub(super) fn chunk_bytes_max(&self) -> usize {
        self.bytes_max
    }
}

impl Default for ListLimits {
    fn default() -> ListLimits {
        ListLimits::new(-2)
    }
}

/// Bytes of an empty listpack: its header and its end mark.
pub(super) const LISTPACK_EMPTY_BYTES: usize = 7;

/// The bytes Redis's listpack takes for `element`, which decide when it becomes a quicklist.
pub(super) fn listpack_entry_bytes(element: &[u8]) -> usize {
    let encoded = match parse_i64(element) {
        Some(0..=127) => 1,
        Some(-4096..=4095) => 2,
        Some(-32_768..=32_767) => 3,
        Some(-8_388_608..=8_388_607) => 4,
        Some(-2_147_483_648..=2_147_483_647) => 5,
        Some(_) => 9,
        None => match element.len() {
            len @ 0..64 => 1 + len,
            len @ 64..4096 => 2 + len,
            len => 5 + len,
        },
    };
    let back_length = match encoded {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        2_097_152..268_435_456 => 4,
        _ => 5,
    };
    encoded + back_length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_powers_of_two_kilobytes() {
        let bytes = [-1, -2, -3, -4, -5, -6].map(|level| ListLimits::new(level).bytes_max);
        assert_eq!(bytes, [4096, 8192, 16_384, 32_768, 65_536, 65_536]);
        assert!(ListLimits::new(3).exceeded_by(10, 4));
        assert!(!ListLimits::new(3).exceeded_by(10, 3));
    }
}
