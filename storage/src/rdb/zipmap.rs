//! Zipmap, the packed hash of Redis 2.4: read only.
//!
//! One byte of field count (254 = count them), then for each field its length and text, the value's length, a byte of
//! unused space, the value, that much unused space; and an end byte.

use super::LoadError;
use super::packed::{fixed, slice};

const LONG: u8 = 254;
const END: u8 = 255;

/// Visits every field with its value; `bytes` must be one sound zipmap and nothing else. Returns their count.
pub fn each<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), LoadError>,
) -> Result<usize, LoadError> {
    let [claimed] = fixed(bytes, 0)?;
    let mut at = 1;
    let mut count = 0;
    loop {
        let [first] = fixed(bytes, at)?;
        if first == END {
            break;
        }
        let field = item(bytes, &mut at)?;
        let [next] = fixed(bytes, at)?;
        if next == END {
            return Err(LoadError::Corrupt("zipmap field without value"));
        }
        let (len, header) = length(bytes, at)?;
        let [unused] = fixed(bytes, at + header)?;
        let value = slice(bytes, at + header + 1, len)?;
        at += header + 1 + len;
        slice(bytes, at, usize::from(unused))?;
        at += usize::from(unused);
        visit(field, value)?;
        count += 1;
    }
    if at + 1 != bytes.len() {
        return Err(LoadError::Corrupt("zipmap goes on after its end"));
    }
    if claimed < LONG && usize::from(claimed) != count {
        return Err(LoadError::Corrupt("zipmap count does not match"));
    }
    Ok(count)
}

fn item<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], LoadError> {
    let (len, header) = length(bytes, *at)?;
    let item = slice(bytes, *at + header, len)?;
    *at += header + len;
    Ok(item)
}

/// A length and the bytes that it takes itself.
fn length(bytes: &[u8], at: usize) -> Result<(usize, usize), LoadError> {
    match fixed(bytes, at)? {
        [LONG] => Ok((u32::from_le_bytes(fixed(bytes, at + 1)?) as usize, 5)),
        [short] => Ok((usize::from(short), 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_unused_space_are_read() {
        let bytes = b"\x02\x03foo\x03\x02barxx\x05hello\x05\x00world\xff";
        let mut seen = Vec::new();
        let count = each(bytes, |field, value| {
            seen.push((field.to_vec(), value.to_vec()));
            Ok(())
        });
        assert_eq!(count.unwrap(), 2);
        assert_eq!(seen, [(b"foo".to_vec(), b"bar".to_vec()), (b"hello".to_vec(), b"world".to_vec())]);
        for end in 0..bytes.len() {
            assert!(each(&bytes[..end], |_, _| Ok(())).is_err());
        }
        assert!(each(b"\x02\x03foo\x03\x00bar\xff", |_, _| Ok(())).is_err(), "count");
        assert!(each(b"\x01\x03foo\x03\x00bar\xff\x00", |_, _| Ok(())).is_err(), "trailing");
    }
}
