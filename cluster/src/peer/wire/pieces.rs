//! Long packets: cut into pieces by the sender, so that others pass between them, and put together by the receiver.
//!
//! A receiver takes no more memory than the pieces that have arrived, whatever was announced, and no more of these than
//! [`ASSEMBLY_BYTES_MAX`] in [`LONG_PACKETS_MAX`] packets. A sender keeps to the same numbers.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use super::frame::{Frame, PIECE_BYTES, put_frame};
use super::packet::{Encoded, Head, Kind, Malformed, Packet};

/// The longest body of a packet. The longest value of Redis is half of that.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// Long packets that may be under way at once on a connection.
pub const LONG_PACKETS_MAX: usize = 16;

/// What the unfinished packets of a connection may take. One of the longest, and many of usual length.
pub const ASSEMBLY_BYTES_MAX: usize = MESSAGE_BYTES_MAX + (256 << 20);

/// A packet that is being sent piece by piece.
#[derive(Debug)]
pub struct Cutting {
    flow: u32,
    sent: usize,
}

impl Encoded {
    /// The length of its body.
    pub fn body_len(&self) -> usize {
        self.head.len() + self.rest.len()
    }

    pub fn is_long(&self) -> bool {
        self.rest.len() > PIECE_BYTES
    }

    /// Writes the packet as one frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, self.kind, &self.head, &self.rest);
    }

    /// Announces the packet.
    pub fn begin(&self, flow: u32, out: &mut Vec<u8>) -> Cutting {
        Packet::Begin { flow, kind: self.kind, total: self.body_len() as u32 }.encode().put(out);
        Cutting { flow, sent: 0 }
    }

    /// Writes the next piece, and says whether it was the last.
    pub fn put_piece(&self, cutting: &mut Cutting, out: &mut Vec<u8>) -> bool {
        let mut head = Head::from_slice(&cutting.flow.to_le_bytes());
        if cutting.sent == 0 {
            head.extend_from_slice(&self.head);
        }
        let end = self.rest.len().min(cutting.sent + PIECE_BYTES);
        put_frame(out, Kind::Piece, &head, &self.rest[cutting.sent..end]);
        cutting.sent = end;
        end == self.rest.len()
    }
}

/// Puts the pieces of one connection together.
#[derive(Debug, Default)]
pub struct Assembler {
    partial_by_flow: HashMap<u32, Partial>,
    bytes: usize,
}

#[derive(Debug)]
struct Partial {
    kind: Kind,
    total: usize,
    body: BytesMut,
}

impl Assembler {
    /// What this frame completes: itself, or the long packet that it is the last piece of.
    pub fn take(&mut self, frame: Frame) -> Result<Option<Packet>, Malformed> {
        match Packet::decode(frame.kind, frame.body)? {
            Packet::Begin { flow, kind, total } => self.begin(flow, kind, total as usize).map(|()| None),
            Packet::Piece { flow, body } => self.piece(flow, &body),
            packet => Ok(Some(packet)),
        }
    }

    fn begin(&mut self, flow: u32, kind: Kind, total: usize) -> Result<(), Malformed> {
        if matches!(kind, Kind::Begin | Kind::Piece | Kind::Hello | Kind::Refusal) {
            return Err(Malformed("this kind is never long"));
        }
        if total > MESSAGE_BYTES_MAX || total <= PIECE_BYTES {
            return Err(Malformed("no long packet has this length"));
        }
        if self.partial_by_flow.len() >= LONG_PACKETS_MAX {
            return Err(Malformed("too many long packets at once"));
        }
        let fresh = self.partial_by_flow.insert(flow, Partial { kind, total, body: BytesMut::new() });
        if fresh.is_some() { Err(Malformed("a long packet begins twice")) } else { Ok(()) }
    }

    fn piece(&mut self, flow: u32, bytes: &Bytes) -> Result<Option<Packet>, Malformed> {
        let unknown = Malformed("a piece of a packet that has not begun");
        let partial = self.partial_by_flow.get_mut(&flow).ok_or(unknown)?;
        if bytes.is_empty() || partial.body.len() + bytes.len() > partial.total {
            return Err(Malformed("a piece that does not fit its packet"));
        }
        if self.bytes + bytes.len() > ASSEMBLY_BYTES_MAX {
            return Err(Malformed("too many bytes of unfinished packets"));
        }
        self.bytes += bytes.len();
        partial.body.extend_from_slice(bytes);
        if partial.body.len() < partial.total {
            return Ok(None);
        }
        let whole = self.partial_by_flow.remove(&flow).ok_or(unknown)?;
        self.bytes -= whole.total;
        Packet::decode(whole.kind, whole.body.freeze()).map(Some)
    }
}
