//! The primitives of our own binary forms, in the log and on disk: varints and byte strings with a length.
//!
//! What is read may be anything. Invariants of [`Reader`]: it never panics, and whatever length or count is claimed,
//! nothing is handed out that is not there; a count is at most the number of bytes left, since nothing takes no bytes.

/// Why bytes were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

const ENDS_EARLY: Malformed = Malformed("the data ends early");

/// Appends an unsigned number, seven bits a byte, the lowest first.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number; those near zero are short, whatever their sign.
#[inline]
pub fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_varint(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Appends a length and that many bytes.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes apart what the functions above have put together.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.rest.split_first().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed("a number of more than 64 bits"))
    }

    #[inline]
    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let number = self.varint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    #[inline]
    pub fn size(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).map_err(|_| Malformed("a size beyond the address space"))
    }

    /// A count of things that take at least one byte each.
    #[inline]
    pub fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.size()?;
        if count <= self.rest.len() { Ok(count) } else { Err(ENDS_EARLY) }
    }

    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.size()?;
        self.raw(len)
    }

    /// This many bytes.
    #[inline]
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A score, which is never NaN.
    #[inline]
    pub fn score(&mut self) -> Result<f64, Malformed> {
        let score = f64::from_le_bytes(self.fixed()?);
        if score.is_nan() { Err(Malformed("a score that is no number")) } else { Ok(score) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_sizes_survive() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let signed = [0, -1, 1, 63, -64, i64::MAX, i64::MIN];
        let mut out = Vec::new();
        numbers.iter().for_each(|&number| put_varint(&mut out, number));
        signed.iter().for_each(|&number| put_signed(&mut out, number));
        put_bytes(&mut out, b"end");
        let mut reader = Reader::new(&out);
        assert_eq!(numbers.map(|_| reader.varint().unwrap()), numbers);
        assert_eq!(signed.map(|_| reader.signed().unwrap()), signed);
        assert_eq!(reader.bytes(), Ok(&b"end"[..]));
        assert!(reader.is_empty());
    }

    #[test]
    fn what_is_not_there_is_not_believed() {
        assert!(Reader::new(&[0xff; 9]).varint().is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint().is_err());
        assert!(Reader::new(&[4, b'a']).bytes().is_err());
        assert!(Reader::new(&[4, b'a']).count().is_err());
    }
}
