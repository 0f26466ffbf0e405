//! Where serialised bytes come from, and the two primitives that everything is made of: lengths and strings.

use std::borrow::Cow;

use super::LoadError;
use super::lzf;
use crate::number::format_i64;

/// The LZF form's number among the special encodings; those before it are integers.
const ENCODED_LZF: u8 = 3;

/// A stream of serialised bytes. Whatever length is asked for, memory is taken only for bytes that are there.
pub trait Source<'a> {
    fn bytes(&mut self, len: u64) -> Result<Cow<'a, [u8]>, LoadError>;

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], LoadError>;

    fn byte(&mut self) -> Result<u8, LoadError> {
        let [byte] = self.fixed()?;
        Ok(byte)
    }

    /// A length or count, which must not be one of the special string encodings.
    fn length(&mut self) -> Result<u64, LoadError> {
        match prefix(self)? {
            Prefix::Plain(len) => Ok(len),
            Prefix::Encoded(_) => Err(LoadError::Corrupt("string encoding where a length is due")),
        }
    }

    /// A string in any of its encodings, decoded.
    fn string(&mut self) -> Result<Cow<'a, [u8]>, LoadError> {
        match prefix(self)? {
            Prefix::Plain(len) => self.bytes(len),
            Prefix::Encoded(0) => Ok(digits(i8::from_le_bytes(self.fixed()?).into())),
            Prefix::Encoded(1) => Ok(digits(i16::from_le_bytes(self.fixed()?).into())),
            Prefix::Encoded(2) => Ok(digits(i32::from_le_bytes(self.fixed()?).into())),
            Prefix::Encoded(ENCODED_LZF) => {
                let packed_len = self.length()?;
                let len = self.length()?;
                let packed = self.bytes(packed_len)?;
                let plain = usize::try_from(len).ok().and_then(|len| lzf::decompress(&packed, len).ok());
                plain.map(Cow::Owned).ok_or(LoadError::Corrupt("compressed string does not unpack"))
            }
            Prefix::Encoded(_) => Err(LoadError::Corrupt("string of unknown encoding")),
        }
    }
}

enum Prefix {
    Plain(u64),
    /// A string follows in this special encoding.
    Encoded(u8),
}

/// The two top bits of the first byte tell how the length goes on.
fn prefix<'a, S: Source<'a> + ?Sized>(source: &mut S) -> Result<Prefix, LoadError> {
    let first = source.byte()?;
    let plain = match first {
        0x00..=0x3f => u64::from(first),
        0x40..=0x7f => u64::from(u16::from_be_bytes([first & 0x3f, source.byte()?])),
        0x80 => u64::from(u32::from_be_bytes(source.fixed()?)),
        0x81 => u64::from_be_bytes(source.fixed()?),
        0xc0..=0xff => return Ok(Prefix::Encoded(first & 0x3f)),
        _ => return Err(LoadError::Corrupt("length of unknown form")),
    };
    Ok(Prefix::Plain(plain))
}

fn digits<'a>(number: i64) -> Cow<'a, [u8]> {
    Cow::Owned(format_i64(number).to_vec())
}

/// A source that is in memory as a whole.
pub struct SliceSource<'a> {
    rest: &'a [u8],
}

impl<'a> SliceSource<'a> {
    pub fn new(bytes: &'a [u8]) -> SliceSource<'a> {
        SliceSource { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Source<'a> for SliceSource<'a> {
    fn bytes(&mut self, len: u64) -> Result<Cow<'a, [u8]>, LoadError> {
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (head, rest) = split.ok_or(LoadError::Corrupt("the data ends early"))?;
        self.rest = rest;
        Ok(Cow::Borrowed(head))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(LoadError::Corrupt("the data ends early"))?;
        self.rest = rest;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
        SliceSource::new(bytes).string().map(Cow::into_owned)
    }

    #[test]
    fn strings_in_every_encoding() {
        for (bytes, text) in [
            (&b"\x03abc"[..], "abc"),
            (b"\x40\x03abc", "abc"),
            (b"\x80\0\0\0\x03abc", "abc"),
            (b"\x81\0\0\0\0\0\0\0\x03abc", "abc"),
            (b"\xc0\x80", "-128"),
            (b"\xc1\x00\x80", "-32768"),
            (b"\xc2\x00\x00\x00\x80", "-2147483648"),
            // One literal, then eight more of the same.
            (b"\xc3\x04\x09\x00a\xc0\x00", "aaaaaaaaa"),
        ] {
            assert_eq!(string(bytes).unwrap(), text.as_bytes());
            for end in 0..bytes.len() {
                assert!(string(&bytes[..end]).is_err());
            }
        }
    }

    #[test]
    fn claims_are_not_believed() {
        for bytes in [
            &b"\x81\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\x80\xff\xff\xff\xffabc",
            b"\xc3\x02\x80\xff\xff\xff\xff\x00a",
            b"\xc3\x81\xff\xff\xff\xff\xff\xff\xff\xff\x81\xff\xff\xff\xff\xff\xff\xff\xffabc",
            b"\xc4\x00",
            b"\x82\x00",
        ] {
            assert!(string(bytes).is_err(), "{bytes:x?}");
        }
    }
}
