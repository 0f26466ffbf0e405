//! Intset: the width of its integers (u32: 2, 4 or 8), their count (u32), and the integers in ascending order.

use super::LoadError;
use super::packed::fixed;

const HEADER: usize = 8;

/// Visits every integer of `bytes`, which must be one sound intset and nothing else; returns their count.
pub fn each(bytes: &[u8], mut visit: impl FnMut(i64) -> Result<(), LoadError>) -> Result<usize, LoadError> {
    let width = u32::from_le_bytes(fixed(bytes, 0)?) as usize;
    let count = u32::from_le_bytes(fixed(bytes, 4)?) as usize;
    if !matches!(width, 2 | 4 | 8) {
        return Err(LoadError::Corrupt("intset of unknown width"));
    }
    if bytes.len() - HEADER != width * count {
        return Err(LoadError::Corrupt("intset size does not match"));
    }
    let mut last = None;
    for at in (HEADER..bytes.len()).step_by(width) {
        let number = match width {
            2 => i64::from(i16::from_le_bytes(fixed(bytes, at)?)),
            4 => i64::from(i32::from_le_bytes(fixed(bytes, at)?)),
            _ => i64::from_le_bytes(fixed(bytes, at)?),
        };
        if last.is_some_and(|last| last >= number) {
            return Err(LoadError::Corrupt("intset is not in order"));
        }
        last = Some(number);
        visit(number)?;
    }
    Ok(count)
}

/// The intset of `sorted`, which is ascending and has no duplicates.
pub fn encode(sorted: &[i64]) -> Vec<u8> {
    assert!(sorted.is_sorted_by(|a, b| a < b), "an intset is ascending");
    let fits = |min: i64, max: i64| sorted.first() >= Some(&min) && sorted.last() <= Some(&max);
    let width = if fits(i16::MIN.into(), i16::MAX.into()) {
        2
    } else if fits(i32::MIN.into(), i32::MAX.into()) {
        4
    } else {
        8
    };
    let count = u32::try_from(sorted.len()).expect("an intset of at most 2^32 integers");
    let mut bytes = Vec::with_capacity(HEADER + width * sorted.len());
    bytes.extend_from_slice(&(width as u32).to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    for number in sorted {
        bytes.extend_from_slice(&number.to_le_bytes()[..width]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_widths_survive() {
        for (sorted, width) in
            [(vec![-32768, 0, 32767], 2), (vec![-32769, 5], 4), (vec![1, 1 << 31], 8), (vec![i64::MIN, i64::MAX], 8)]
        {
            let bytes = encode(&sorted);
            assert_eq!(bytes.len(), 8 + width * sorted.len());
            let mut seen = Vec::new();
            each(&bytes, |number| {
                seen.push(number);
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, sorted);
        }
    }

    #[test]
    fn disorder_is_refused() {
        let mut bytes = encode(&[1, 2]);
        bytes.swap(8, 10);
        assert!(each(&bytes, |_| Ok(())).is_err());
        bytes[8] = bytes[10];
        assert!(each(&bytes, |_| Ok(())).is_err());
        assert!(each(&encode(&[1, 2])[..11], |_| Ok(())).is_err());
        assert!(each(b"\x03\0\0\0\0\0\0\0", |_| Ok(())).is_err());
    }
}
