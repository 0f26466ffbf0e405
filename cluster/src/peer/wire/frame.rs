//! Frames: how packets are told apart in a stream of bytes, and how damage is noticed.
//!
//! ```text
//! length u32 | checksum u32 | kind u8 | body
//! ```
//!
//! Numbers are little-endian. The length counts kind and body. The checksum is the CRC-32C of length, kind and body,
//! so that a damaged length is noticed as well, if only after as many bytes as it says; [`FRAME_BYTES_MAX`] bounds
//! these. [`next_frame`] takes frames out of a buffer as they become complete. Any bytes give frames, an error, or
//! the wish for more bytes, and never a panic.

use basalt_storage::crc32c::crc32c;
use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use super::packet::Kind;

/// What a longer message is cut into: other messages pass between its pieces.
pub const PIECE_BYTES: usize = 64 << 10;

/// The longest kind and body. What comes with a piece, or before the bytes of a message that needs none, is shorter
/// than the difference.
pub const FRAME_BYTES_MAX: usize = PIECE_BYTES + 256;

/// Bodies up to this length are copied out of the buffer, longer ones share it.
const COPIED_MAX: usize = 4 << 10;

/// Length and checksum.
const HEADER: usize = 8;

/// Why bytes are no frames. The connection is of no use any more: nobody knows where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes, which none is")]
    Length(u32),
    #[error("a frame whose checksum is wrong")]
    Checksum,
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
}

/// One frame, whole and sound; what is in it is not looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub body: Bytes,
}

/// Appends a frame whose body is `head` followed by `rest`.
pub fn put_frame(out: &mut Vec<u8>, kind: Kind, head: &[u8], rest: &[u8]) {
    let len = 1 + head.len() + rest.len();
    assert!(len <= FRAME_BYTES_MAX, "a frame of {len} bytes");
    let length = (len as u32).to_le_bytes();
    let kind = [kind as u8];
    let sum = [&length[..], &kind, head, rest].iter().fold(!0, |sum, part| crc32c(sum, part));
    out.reserve(HEADER + len);
    for part in [&length[..], &(!sum).to_le_bytes(), &kind, head, rest] {
        out.extend_from_slice(part);
    }
}

/// Takes the first frame out of the buffer, or nothing if it is not complete yet.
pub fn next_frame(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some((header, rest)) = buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
    let (length, stored) = header.split_at(4);
    let len = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
    if len == 0 || len as usize > FRAME_BYTES_MAX {
        return Err(FrameError::Length(len));
    }
    let Some(content) = rest.get(..len as usize) else { return Ok(None) };
    if (!crc32c(crc32c(!0, length), content)).to_le_bytes() != *stored {
        return Err(FrameError::Checksum);
    }
    let kind = Kind::from_number(content[0]).ok_or(FrameError::Kind(content[0]))?;
    buffer.advance(HEADER + 1);
    let body = buffer.split_to(len as usize - 1);
    // A short body that somebody keeps must not keep the whole buffer.
    let body = if body.len() <= COPIED_MAX { Bytes::copy_from_slice(&body) } else { body.freeze() };
    Ok(Some(Frame { kind, body }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame_of(kind: Kind, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let (head, rest) = body.split_at(body.len() / 3);
        put_frame(&mut out, kind, head, rest);
        out
    }

    #[test]
    fn the_bytes_of_a_frame_are_these() {
        let mut out = Vec::new();
        put_frame(&mut out, Kind::Ping, &[7, 0, 0, 0, 0, 0, 0, 0], b"");
        let sum = !crc32c(!0, &[9, 0, 0, 0, Kind::Ping as u8, 7, 0, 0, 0, 0, 0, 0, 0]);
        let mut expected = vec![9, 0, 0, 0];
        expected.extend(sum.to_le_bytes());
        expected.extend([Kind::Ping as u8, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(out, expected);
    }

    #[test]
    fn lengths_out_of_bounds_are_refused_before_their_bytes_arrive() {
        for len in [0, FRAME_BYTES_MAX as u32 + 1, u32::MAX] {
            let mut buffer = BytesMut::from(&len.to_le_bytes()[..]);
            buffer.extend_from_slice(&[0; 4]);
            assert_eq!(next_frame(&mut buffer), Err(FrameError::Length(len)));
        }
    }

    #[test]
    fn any_single_flipped_bit_is_noticed() {
        let good = frame_of(Kind::Raft, b"some bytes of a message");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // A longer length waits for bytes that then do not fit the checksum.
            bad.resize(good.len() + FRAME_BYTES_MAX, 0);
            let mut buffer = BytesMut::from(&bad[..]);
            assert!(next_frame(&mut buffer).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8),
            cuts in proptest::collection::vec(1usize..50, 1..40),
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame_of(Kind::Heartbeat, body)).collect();
            let mut buffer = BytesMut::new();
            let mut seen = Vec::new();
            let mut rest = &stream[..];
            for len in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*len).min(rest.len()));
                buffer.extend_from_slice(now);
                while let Some(frame) = next_frame(&mut buffer).unwrap() {
                    prop_assert_eq!(frame.kind, Kind::Heartbeat);
                    seen.push(frame.body.to_vec());
                }
                rest = later;
            }
            prop_assert_eq!(seen, bodies);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn garbage_is_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = next_frame(&mut buffer) {}
        }
    }
}
