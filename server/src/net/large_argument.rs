//! An argument that is so large that it is read into memory of its own, which then becomes a value as it is.

use super::stream::Stream;
use super::turn::TURN_BYTES;
use basalt_storage::shared::SharedBytes;
use std::io;
use std::task::{Context, Poll};

/// Memory that is reserved on the mere word of a client.
const RESERVED_AT_FIRST: usize = 1 << 20;
/// Whoever has sent something may be believed to send so many times as much.
const TRUST: usize = 512;

pub struct LargeArgument {
    bytes: Vec<u8>,
    len: usize,
}

impl LargeArgument {
    /// An argument of `len` bytes, of which `first` are there.
    pub fn new(len: usize, first: &[u8]) -> LargeArgument {
        assert!(first.len() <= len, "what has come belongs to the argument");
        let mut bytes = Vec::new();
        bytes.reserve_exact(len.min(RESERVED_AT_FIRST.max(first.len())));
        bytes.extend_from_slice(first);
        LargeArgument { bytes, len }
    }

    pub fn poll_read(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        let most = (self.len - self.bytes.len()).min(TURN_BYTES);
        stream.poll_read_behind(cx, &mut self.bytes, most)
    }

    /// Memory grows in few and large steps, since each of them copies what is there.
    fn make_room(&mut self) {
        if self.bytes.len() == self.bytes.capacity() {
            let wanted = self.bytes.len().saturating_mul(TRUST).min(self.len);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
    }

    pub fn is_whole(&self) -> bool {
        self.bytes.len() == self.len
    }

    /// Bytes that are there.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub fn into_bytes(self) -> SharedBytes {
        assert!(self.is_whole(), "an argument is used when all of it is there");
        self.bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reserved_for_those_who_send() {
        let mut argument = LargeArgument::new(RESERVED_AT_FIRST * TRUST * 2, b"few");
        assert_eq!(argument.capacity(), RESERVED_AT_FIRST);
        argument.make_room();
        assert_eq!(argument.capacity(), RESERVED_AT_FIRST);
        argument.bytes.resize(RESERVED_AT_FIRST, 0);
        argument.make_room();
        assert_eq!(argument.capacity(), RESERVED_AT_FIRST * TRUST);
    }

    #[test]
    fn a_whole_argument_takes_no_more_memory_than_it_has_bytes() {
        let mut argument = LargeArgument::new(RESERVED_AT_FIRST * 2 + 1, &[b'x'; RESERVED_AT_FIRST]);
        while !argument.is_whole() {
            argument.make_room();
            argument.bytes.push(b'x');
        }
        let bytes = argument.into_bytes();
        assert_eq!((bytes.len(), bytes.capacity()), (RESERVED_AT_FIRST * 2 + 1, RESERVED_AT_FIRST * 2 + 1));
    }
}
