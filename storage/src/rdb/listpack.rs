//! Listpack: a header of total bytes (u32) and element count (u16), elements, and an end byte.
//!
//! Each element is its encoding and data, followed by the length of these, readable backwards. The count saturates at
//! 65535, which means "count them".

use super::LoadError;
use super::packed::{Element, fixed, int24, slice};
use crate::number::{format_f64_shortest, parse_i64};

const HEADER: usize = 6;
const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// Redis refuses listpacks above this size, though the format could go to 4 GiB.
pub const BYTES_MAX: usize = 1 << 30;

/// Visits every element of `bytes`, which must be one sound listpack and nothing else; returns their count.
pub fn each<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(Element<'a>) -> Result<(), LoadError>,
) -> Result<usize, LoadError> {
    if bytes.len() <= HEADER || u32::from_le_bytes(fixed(bytes, 0)?) as usize != bytes.len() {
        return Err(LoadError::Corrupt("listpack size does not match"));
    }
    let claimed = u16::from_le_bytes(fixed(bytes, 4)?);
    let mut at = HEADER;
    let mut count = 0;
    loop {
        let first = *bytes.get(at).ok_or(LoadError::Corrupt("listpack without end"))?;
        if first == END {
            break;
        }
        let (element, len) = element(bytes, at, first)?;
        let mut back = [0; 5];
        let back = back_len(len, &mut back);
        if slice(bytes, at + len, back.len())? != back {
            return Err(LoadError::Corrupt("listpack element with wrong back length"));
        }
        visit(element)?;
        at += len + back.len();
        count += 1;
    }
    if at + 1 != bytes.len() {
        return Err(LoadError::Corrupt("listpack goes on after its end"));
    }
    if claimed != COUNT_UNKNOWN && usize::from(claimed) != count {
        return Err(LoadError::Corrupt("listpack count does not match"));
    }
    Ok(count)
}

/// The element at `at` and how many bytes its encoding and data take.
fn element(bytes: &[u8], at: usize, first: u8) -> Result<(Element<'_>, usize), LoadError> {
    let int = |number: i64, data: usize| Ok((Element::Int(number), 1 + data));
    match first {
        0x00..=0x7f => int(i64::from(first), 0),
        0x80..=0xbf => text(bytes, at, 1, usize::from(first & 0x3f)),
        0xc0..=0xdf => {
            let [low] = fixed(bytes, at + 1)?;
            let raw = i16::from_be_bytes([first & 0x1f, low]);
            // Thirteen bits: shifted up and down again, so that the top one becomes the sign.
            int(i64::from((raw << 3) >> 3), 1)
        }
        0xe0..=0xef => {
            let [low] = fixed(bytes, at + 1)?;
            text(bytes, at, 2, usize::from(u16::from_be_bytes([first & 0x0f, low])))
        }
        0xf0 => text(bytes, at, 5, u32::from_le_bytes(fixed(bytes, at + 1)?) as usize),
        0xf1 => int(i64::from(i16::from_le_bytes(fixed(bytes, at + 1)?)), 2),
        0xf2 => int(int24(fixed(bytes, at + 1)?), 3),
        0xf3 => int(i64::from(i32::from_le_bytes(fixed(bytes, at + 1)?)), 4),
        0xf4 => int(i64::from_le_bytes(fixed(bytes, at + 1)?), 8),
        _ => Err(LoadError::Corrupt("listpack element of unknown encoding")),
    }
}

fn text(bytes: &[u8], at: usize, header: usize, len: usize) -> Result<(Element<'_>, usize), LoadError> {
    Ok((Element::Bytes(slice(bytes, at + header, len)?), header + len))
}

/// The backwards length: seven bits a byte, the highest first, all but the first byte marked as having more before it.
fn back_len(len: usize, room: &mut [u8; 5]) -> &[u8] {
    // The bounds are Redis's: from two bytes on each is one below what would fit.
    let width = match len {
        0..=127 => 1,
        128..16383 => 2,
        16383..2097151 => 3,
        2097151..268435455 => 4,
        _ => 5,
    };
    let mut rest = len;
    for at in (0..width).rev() {
        room[at] = (rest & 0x7f) as u8 | if at > 0 { 0x80 } else { 0 };
        rest >>= 7;
    }
    &room[..width]
}

/// Builds a listpack from front to back.
pub struct Builder {
    bytes: Vec<u8>,
    count: usize,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder { bytes: vec![0; HEADER], count: 0 }
    }
}

impl Builder {
    /// Appends an element, as an integer if it is the text of one. The caller keeps [`Builder::size_with`] below
    /// [`BYTES_MAX`].
    pub fn push(&mut self, element: &[u8]) {
        match parse_i64(element) {
            Some(number) => self.push_int(number),
            None => self.push_text(element),
        }
    }

    pub fn push_int(&mut self, number: i64) {
        let start = self.bytes.len();
        match number {
            0..=127 => self.bytes.push(number as u8),
            -4096..=4095 => {
                let [high, low] = (number as i16).to_be_bytes();
                self.bytes.extend([0xc0 | (high & 0x1f), low]);
            }
            _ => {
                let raw = number.to_le_bytes();
                let (code, width) = match number {
                    -0x8000..=0x7fff => (0xf1, 2),
                    -0x80_0000..=0x7f_ffff => (0xf2, 3),
                    -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
                    _ => (0xf4, 8),
                };
                self.bytes.push(code);
                self.bytes.extend_from_slice(&raw[..width]);
            }
        }
        self.close(start);
    }

    /// Appends a score in the fewest digits that read back as the same value. Only text keeps the sign of minus zero,
    /// and [`Builder::push`] takes "-0" for text.
    pub fn push_score(&mut self, score: f64) {
        self.push(&format_f64_shortest(score));
    }

    fn push_text(&mut self, text: &[u8]) {
        let start = self.bytes.len();
        match text.len() {
            len @ 0..=63 => self.bytes.push(0x80 | len as u8),
            len @ 64..=4095 => self.bytes.extend([0xe0 | (len >> 8) as u8, len as u8]),
            len => {
                assert!(len < BYTES_MAX, "a listpack cannot hold an element of {len} bytes");
                self.bytes.push(0xf0);
                self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(text);
        self.close(start);
    }

    fn close(&mut self, start: usize) {
        let mut room = [0; 5];
        let back = back_len(self.bytes.len() - start, &mut room);
        self.bytes.extend_from_slice(back);
        self.count += 1;
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The size the finished listpack could have, at most, with one more element of `len` bytes.
    pub fn size_with(&self, len: usize) -> usize {
        self.bytes.len() + len + 10 + 1
    }

    /// The finished listpack; the builder starts anew.
    pub fn finish(&mut self) -> Vec<u8> {
        let Builder { mut bytes, count } = std::mem::take(self);
        bytes.push(END);
        assert!(bytes.len() <= BYTES_MAX, "a listpack of {} bytes", bytes.len());
        let size = bytes.len() as u32;
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        let count = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
        bytes[4..HEADER].copy_from_slice(&count.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        each(bytes, |element| {
            out.push(element.text().to_vec());
            Ok(())
        })
        .unwrap();
        out
    }

    #[test]
    fn every_width_survives() {
        let mut elements: Vec<Vec<u8>> = Vec::new();
        for shift in 0..63 {
            for delta in [-1i64, 0, 1] {
                let number = (1i64 << shift) + delta;
                elements.push(number.to_string().into_bytes());
                elements.push((-number).to_string().into_bytes());
            }
        }
        for len in [0, 1, 63, 64, 121, 122, 123, 4095, 4096, 16376, 16377, 16378, 16379, 16384, 70000] {
            elements.push(vec![b'x'; len]);
        }
        let mut builder = Builder::default();
        elements.iter().for_each(|element| builder.push(element));
        let bytes = builder.finish();
        assert_eq!(all(&bytes), elements);
        for end in 0..bytes.len().min(2000) {
            assert!(each(&bytes[..end], |_| Ok(())).is_err());
        }
    }

    #[test]
    fn a_count_beyond_the_header_is_counted() {
        let mut builder = Builder::default();
        (0..70_000).for_each(|n| builder.push_int(n % 100));
        assert_eq!(all(&builder.finish()).len(), 70_000);
    }

    #[test]
    fn scores_read_back() {
        for score in [0.0, -0.0, 1.0, -7.0, 0.1, 1e300, 5e-324, (1i64 << 60) as f64, f64::INFINITY, f64::NEG_INFINITY] {
            let mut builder = Builder::default();
            builder.push_score(score);
            each(&builder.finish(), |element| {
                assert_eq!(element.score()?.to_bits(), score.to_bits());
                Ok(())
            })
            .unwrap();
        }
    }
}
