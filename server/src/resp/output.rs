//! Output on its way to a client, in pieces: what is large is neither moved within memory nor copied.
//!
//! A piece is either bytes of the output's own or part of a large string that others hold as well. Pieces of its own
//! grow to [`PIECE_BYTES`] only, so that nothing here takes longer the more output there is. How much may wait for a
//! client is limited by the connection.

use basalt_storage::shared::SharedBytes;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

/// Pieces are not made larger than this by adding to them.
pub const PIECE_BYTES: usize = 256 << 10;
/// Fewer bytes than these are copied behind others rather than kept in the memory that they are in.
const COPIED_MAX: usize = 16 << 10;
/// Places for pieces that a connection keeps when nothing waits.
const PIECES_KEPT: usize = 4;

#[derive(Clone, Debug, Default)]
pub struct Output {
    pieces: VecDeque<Piece>,
    /// Bytes in all pieces.
    len: usize,
    /// Memory of the pieces that are the output's own.
    capacity: usize,
}

/// What is left to be written of some bytes.
#[derive(Clone, Debug)]
enum Piece {
    Own(Vec<u8>, usize),
    Shared(SharedBytes, Range<usize>),
}

impl Piece {
    fn rest(&self) -> &[u8] {
        match self {
            Piece::Own(bytes, from) => &bytes[*from..],
            Piece::Shared(bytes, range) => &bytes[range.clone()],
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Piece::Own(bytes, _) => bytes.capacity(),
            Piece::Shared(..) => 0,
        }
    }
}

impl Output {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Memory beyond what the output itself takes.
    pub fn spare(&self) -> usize {
        self.capacity.saturating_sub(self.len)
    }

    /// Adds bytes by copying them. There is little room to spare behind them: clients that do not read may be many.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if let Some(Piece::Own(last, _)) = self.pieces.back_mut()
            && last.len() + bytes.len() <= PIECE_BYTES
        {
            let before = last.capacity();
            if before - last.len() < bytes.len() {
                last.reserve_exact(bytes.len().max(last.len() / 4));
            }
            last.extend_from_slice(bytes);
            self.capacity += last.capacity() - before;
        } else if !bytes.is_empty() {
            self.capacity += bytes.len();
            self.pieces.push_back(Piece::Own(bytes.to_vec(), 0));
        }
    }

    /// Adds bytes together with the memory that they are in, if they are many; else `bytes` keeps it. They are gone
    /// from `bytes`.
    pub fn take_from(&mut self, bytes: &mut Vec<u8>) {
        if bytes.len() < COPIED_MAX {
            self.extend(bytes);
            bytes.clear();
        } else {
            self.push(Piece::Own(std::mem::take(bytes), 0));
        }
    }

    /// Adds part of a large string without copying it.
    pub fn push_shared(&mut self, bytes: &SharedBytes, range: Range<usize>) {
        if !range.is_empty() {
            self.push(Piece::Shared(bytes.clone(), range));
        }
    }

    fn push(&mut self, piece: Piece) {
        self.len += piece.rest().len();
        self.capacity += piece.capacity();
        self.pieces.push_back(piece);
    }

    /// Adds other output.
    pub fn append(&mut self, mut other: Output) {
        self.len += other.len;
        self.capacity += other.capacity;
        self.pieces.append(&mut other.pieces);
    }

    /// Takes back everything behind the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        while self.len > len {
            let excess = self.len - len;
            let last = self.pieces.back_mut().expect("there are bytes");
            let removed = last.rest().len().min(excess);
            match last {
                Piece::Own(bytes, _) => bytes.truncate(bytes.len() - removed),
                Piece::Shared(_, range) => range.end -= removed,
            }
            self.len -= removed;
            if last.rest().is_empty() {
                self.capacity -= last.capacity();
                self.pieces.pop_back();
            }
        }
    }

    /// Puts bytes where there are `at` bytes before them.
    pub fn insert(&mut self, at: usize, bytes: &[u8]) {
        let (mut index, mut start) = (0, 0);
        while let Some(piece) = self.pieces.get(index).filter(|piece| start + piece.rest().len() <= at) {
            start += piece.rest().len();
            index += 1;
        }
        if let Some(piece) = self.pieces.get_mut(index).filter(|_| start < at) {
            let behind = match piece {
                Piece::Own(bytes, from) => {
                    let behind = bytes.split_off(*from + at - start);
                    self.capacity += behind.capacity();
                    Piece::Own(behind, 0)
                }
                Piece::Shared(bytes, range) => {
                    let middle = range.start + at - start;
                    let behind = Piece::Shared(bytes.clone(), middle..range.end);
                    range.end = middle;
                    behind
                }
            };
            index += 1;
            self.pieces.insert(index, behind);
        }
        self.len += bytes.len();
        self.capacity += bytes.len();
        self.pieces.insert(index, Piece::Own(bytes.to_vec(), 0));
    }

    /// The first bytes, at most `len` of them, as what one system call can write.
    pub fn slices<'a, const N: usize>(&'a self, len: usize, slices: &mut [IoSlice<'a>; N]) -> usize {
        let (mut left, mut count) = (len, 0);
        for piece in self.pieces.iter().take(N) {
            let rest = piece.rest();
            slices[count] = IoSlice::new(&rest[..rest.len().min(left)]);
            left -= slices[count].len();
            count += 1;
            if left == 0 {
                break;
            }
        }
        count
    }

    /// Takes `len` bytes off the front, because they are written. Large strings that nothing else here needs are given
    /// to `let_go`, as this may be the last one who holds them.
    pub fn advance(&mut self, mut len: usize, mut let_go: impl FnMut(SharedBytes)) {
        assert!(len <= self.len, "no more is written than there is");
        self.len -= len;
        while let Some(first) = self.pieces.front_mut() {
            let left = first.rest().len();
            if left > len {
                match first {
                    Piece::Own(_, from) => *from += len,
                    Piece::Shared(_, range) => range.start += len,
                }
                return;
            }
            len -= left;
            self.capacity -= first.capacity();
            if let Some(Piece::Shared(bytes, _)) = self.pieces.pop_front() {
                let_go(bytes);
            }
        }
        // A few places are kept: in durable mode all output waits for a moment.
        self.pieces.shrink_to(PIECES_KEPT);
    }

    /// All bytes, one behind the other.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.pieces.iter().for_each(|piece| bytes.extend_from_slice(piece.rest()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Own bytes, shared bytes, own bytes: `0123456789`, the middle four being shared.
    fn mixed() -> Output {
        let mut output = Output::default();
        output.extend(b"012");
        output.push_shared(&b"__3456__".to_vec().into(), 2..6);
        output.extend(b"789");
        output
    }

    #[test]
    fn what_is_inserted_and_taken_back_is_as_in_one_buffer() {
        for at in 0..=10 {
            let mut output = mixed();
            output.insert(at, b"--");
            let mut expected = b"0123456789".to_vec();
            expected.splice(at..at, *b"--");
            assert_eq!((output.to_vec(), output.len()), (expected.clone(), 12), "at {at}");
            for len in (0..=12).rev() {
                output.truncate(len);
                assert_eq!((output.to_vec().as_slice(), output.len()), (&expected[..len], len));
            }
            assert!(output.is_empty() && output.spare() == 0);
        }
    }

    #[test]
    fn any_number_of_bytes_can_be_written_at_once() {
        for step in 1..=10 {
            let (mut output, mut written, mut let_go) = (mixed(), Vec::new(), 0);
            while !output.is_empty() {
                let mut slices = [IoSlice::new(&[]); 2];
                let count = output.slices(step, &mut slices);
                let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                assert!((1..=step).contains(&bytes.len()));
                written.extend_from_slice(&bytes);
                output.advance(bytes.len(), |_| let_go += 1);
            }
            assert_eq!((written.as_slice(), output.len(), let_go), (&b"0123456789"[..], 0, 1));
        }
    }

    #[test]
    fn many_bytes_are_moved_and_few_are_copied() {
        let (mut many, mut few) = (vec![b'm'; COPIED_MAX], Vec::with_capacity(1 << 20));
        few.extend_from_slice(b"few");
        let mut output = Output::default();
        output.take_from(&mut many);
        output.take_from(&mut few);
        assert_eq!((many.capacity(), few.capacity(), few.len()), (0, 1 << 20, 0));
        assert_eq!(output.len(), COPIED_MAX + 3);
        assert!(output.spare() < COPIED_MAX);
    }
}
