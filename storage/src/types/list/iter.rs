//! Walking the elements of a list, from both sides.

use super::chunk::Chunk;

/// The elements of a range of a list, front to back.
#[derive(Clone)]
pub struct Iter<'a> {
    chunks: (&'a [Chunk], &'a [Chunk]),
    front: Cursor,
    back: Cursor,
    remaining: usize,
}

/// A gap between elements: the next one forward is at `index`, its bytes at `offset`.
#[derive(Clone, Copy, Default)]
struct Cursor {
    chunk: usize,
    index: usize,
    offset: usize,
}

impl<'a> Iter<'a> {
    /// `len` elements; the first and the last are given by chunk and index, and looked at only if there are any.
    pub(super) fn new(
        chunks: (&'a [Chunk], &'a [Chunk]),
        first: (usize, usize),
        last: (usize, usize),
        len: usize,
    ) -> Iter<'a> {
        let mut iter = Iter { chunks, front: Cursor::default(), back: Cursor::default(), remaining: len };
        if len > 0 {
            iter.front = iter.cursor(first.0, first.1);
            iter.back = iter.cursor(last.0, last.1 + 1);
        }
        iter
    }

    fn cursor(&self, chunk: usize, index: usize) -> Cursor {
        Cursor { chunk, index, offset: self.chunk(chunk).offset(index) }
    }

    fn chunk(&self, index: usize) -> &'a Chunk {
        let (first, second) = self.chunks;
        if index < first.len() { &first[index] } else { &second[index - first.len()] }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.remaining = self.remaining.checked_sub(1)?;
        let mut chunk = self.chunk(self.front.chunk);
        if self.front.index == chunk.count() {
            self.front = self.cursor(self.front.chunk + 1, 0);
            chunk = self.chunk(self.front.chunk);
        }
        let len = chunk.length(self.front.index);
        let element = chunk.slice(self.front.offset, len);
        self.front.index += 1;
        self.front.offset += len;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        if self.back.index == 0 {
            let chunk = self.back.chunk - 1;
            self.back = self.cursor(chunk, self.chunk(chunk).count());
        }
        let chunk = self.chunk(self.back.chunk);
        let len = chunk.length(self.back.index - 1);
        self.back.index -= 1;
        self.back.offset -= len;
        Some(chunk.slice(self.back.offset, len))
    }
}

impl ExactSizeIterator for Iter<'_> {}
