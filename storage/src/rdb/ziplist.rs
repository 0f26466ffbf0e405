//! Ziplist, the packed form that Redis wrote before 7.0: read only.
//!
//! Header: total bytes (u32), offset of the last element (u32), count (u16, 65535 = count them). Each element starts
//! with the length of the one before it, in one byte or, from 254 on, in a marker and four bytes.

use super::LoadError;
use super::packed::{Element, fixed, int24, slice};

const HEADER: usize = 10;
const END: u8 = 0xff;
const LONG_PREVIOUS: u8 = 0xfe;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// Visits every element of `bytes`, which must be one sound ziplist and nothing else; returns their count.
pub fn each<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(Element<'a>) -> Result<(), LoadError>,
) -> Result<usize, LoadError> {
    if bytes.len() <= HEADER || u32::from_le_bytes(fixed(bytes, 0)?) as usize != bytes.len() {
        return Err(LoadError::Corrupt("ziplist size does not match"));
    }
    let tail = u32::from_le_bytes(fixed(bytes, 4)?) as usize;
    let claimed = u16::from_le_bytes(fixed(bytes, 8)?);
    let mut at = HEADER;
    let mut last = HEADER;
    let mut count = 0;
    loop {
        let first = *bytes.get(at).ok_or(LoadError::Corrupt("ziplist without end"))?;
        if first == END {
            break;
        }
        let (previous, header) = match first {
            LONG_PREVIOUS => (u32::from_le_bytes(fixed(bytes, at + 1)?) as usize, 5),
            short => (usize::from(short), 1),
        };
        if previous != at - last {
            return Err(LoadError::Corrupt("ziplist element with wrong previous length"));
        }
        let (element, len) = element(bytes, at + header)?;
        visit(element)?;
        last = at;
        at += header + len;
        count += 1;
    }
    if at + 1 != bytes.len() {
        return Err(LoadError::Corrupt("ziplist goes on after its end"));
    }
    if tail != last {
        return Err(LoadError::Corrupt("ziplist tail does not match"));
    }
    if claimed != COUNT_UNKNOWN && usize::from(claimed) != count {
        return Err(LoadError::Corrupt("ziplist count does not match"));
    }
    Ok(count)
}

/// The element whose encoding is at `at`, and how many bytes encoding and data take.
fn element(bytes: &[u8], at: usize) -> Result<(Element<'_>, usize), LoadError> {
    let [first] = fixed(bytes, at)?;
    let int = |number: i64, data: usize| Ok((Element::Int(number), 1 + data));
    match first {
        0x00..=0x3f => text(bytes, at, 1, usize::from(first)),
        0x40..=0x7f => {
            let [low] = fixed(bytes, at + 1)?;
            text(bytes, at, 2, usize::from(u16::from_be_bytes([first & 0x3f, low])))
        }
        0x80 => text(bytes, at, 5, u32::from_be_bytes(fixed(bytes, at + 1)?) as usize),
        0xc0 => int(i64::from(i16::from_le_bytes(fixed(bytes, at + 1)?)), 2),
        0xd0 => int(i64::from(i32::from_le_bytes(fixed(bytes, at + 1)?)), 4),
        0xe0 => int(i64::from_le_bytes(fixed(bytes, at + 1)?), 8),
        0xf0 => int(int24(fixed(bytes, at + 1)?), 3),
        0xfe => int(i64::from(i8::from_le_bytes(fixed(bytes, at + 1)?)), 1),
        0xf1..=0xfd => int(i64::from(first) - 0xf1, 0),
        _ => Err(LoadError::Corrupt("ziplist element of unknown encoding")),
    }
}

fn text(bytes: &[u8], at: usize, header: usize, len: usize) -> Result<(Element<'_>, usize), LoadError> {
    Ok((Element::Bytes(slice(bytes, at + header, len)?), header + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ziplist with every encoding, put together by hand.
    fn sample() -> Vec<u8> {
        let long = vec![b'l'; 300];
        let bodies: Vec<Vec<u8>> = vec![
            [&[0x03][..], b"abc"].concat(),
            [&[0x41, 0x2c][..], &long].concat(),
            [&[0x80, 0, 0, 1, 0x2c][..], &long].concat(),
            vec![0xc0, 0x00, 0x80],
            vec![0xd0, 0, 0, 0, 0x80],
            vec![0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80],
            vec![0xf0, 0, 0, 0x80],
            vec![0xfe, 0x80],
            vec![0xf1],
            vec![0xfd],
        ];
        let mut bytes = vec![0; HEADER];
        let mut last = HEADER;
        for body in &bodies {
            let start = bytes.len();
            match start - last {
                short @ 0..=253 => bytes.push(short as u8),
                long => {
                    bytes.push(LONG_PREVIOUS);
                    bytes.extend((long as u32).to_le_bytes());
                }
            }
            bytes.extend(body);
            last = start;
        }
        bytes.push(END);
        let size = bytes.len() as u32;
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        bytes[4..8].copy_from_slice(&(last as u32).to_le_bytes());
        bytes[8..10].copy_from_slice(&(bodies.len() as u16).to_le_bytes());
        bytes
    }

    #[test]
    fn every_encoding_is_read() {
        let mut seen = Vec::new();
        let count = each(&sample(), |element| {
            seen.push(String::from_utf8(element.text().to_vec()).unwrap());
            Ok(())
        });
        assert_eq!(count.unwrap(), 10);
        let long = "l".repeat(300);
        let expected =
            ["abc", &long, &long, "-32768", "-2147483648", "-9223372036854775808", "-8388608", "-128", "0", "12"];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_wrong_header_or_a_cut_is_refused() {
        let good = sample();
        for end in 0..good.len() {
            assert!(each(&good[..end], |_| Ok(())).is_err());
        }
        for at in [0, 4, 8, HEADER, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(each(&bad, |_| Ok(())).is_err(), "byte {at}");
        }
    }
}
