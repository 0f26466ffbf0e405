//! A list too long for one chunk: a deque of chunks, none of them empty.

use std::collections::VecDeque;

use super::chunk::{Chunk, Growth};
use super::limits::ListLimits;
use super::{Direction, End};

pub(super) struct Quicklist {
    chunks: VecDeque<Chunk>,
    len: usize,
}

/// An element's place: its chunk and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub chunk: usize,
    pub index: usize,
}

/// A chunk in the middle is shrunk when an eighth of it is unused, a full one when this part is.
const FULL_SLACK_PARTS: usize = 64;
const SLACK_PARTS: usize = 8;
/// What a chunk takes at first, unless the list is long.
const FIRST_BYTES: usize = 256;
/// From so many chunks on, a list that grows takes its next one at the size that the last one has: growing it step by
/// step would save little of the whole, and take longer than filling it.
const LONG_CHUNKS: usize = 8;

impl Quicklist {
    pub fn new(chunks: VecDeque<Chunk>) -> Quicklist {
        let len = chunks.iter().map(Chunk::count).sum();
        Quicklist { chunks, len }
    }

    pub fn into_chunks(self) -> VecDeque<Chunk> {
        self.chunks
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn chunks(&self) -> (&[Chunk], &[Chunk]) {
        self.chunks.as_slices()
    }

    pub fn only_chunk(&mut self) -> Option<&mut Chunk> {
        if self.chunks.len() == 1 { self.chunks.front_mut() } else { None }
    }

    pub fn heap_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(Chunk::heap_bytes).sum();
        chunks + self.chunks.capacity() * size_of::<Chunk>()
    }

    pub fn chunk_at(&self, end: End) -> Option<&Chunk> {
        match end {
            End::Front => self.chunks.front(),
            End::Back => self.chunks.back(),
        }
    }

    /// Finds the element at `index`, walking chunks from the nearer end.
    pub fn place(&self, index: usize) -> Place {
        assert!(index < self.len);
        if index < self.len / 2 {
            let mut index = index;
            for (chunk, count) in self.chunks.iter().map(Chunk::count).enumerate() {
                if index < count {
                    return Place { chunk, index };
                }
                index -= count;
            }
        } else {
            let mut behind = self.len - index;
            for (chunk, count) in self.chunks.iter().map(Chunk::count).enumerate().rev() {
                if behind <= count {
                    return Place { chunk, index: count - behind };
                }
                behind -= count;
            }
        }
        panic!("chunks hold fewer elements than the list's length {}", self.len)
    }

    pub fn push(&mut self, end: End, element: &[u8], limits: &ListLimits) {
        self.len += 1;
        let is_long = self.chunks.len() >= LONG_CHUNKS;
        let last = match end {
            End::Front => self.chunks.front_mut(),
            End::Back => self.chunks.back_mut(),
        };
        let mut bytes = FIRST_BYTES;
        if let Some(chunk) = last {
            if chunk.fits(element.len(), limits) {
                return chunk.push(end, element, growth(limits));
            }
            chunk.forget_listpack_bytes();
            chunk.shrink(FULL_SLACK_PARTS);
            if is_long {
                bytes = chunk.heap_bytes().min(limits.chunk_bytes_max());
            }
        }
        let mut chunk = Chunk::with_room(bytes, element.len());
        chunk.push(end, element, growth(limits));
        match end {
            End::Front => self.chunks.push_front(chunk),
            End::Back => self.chunks.push_back(chunk),
        }
    }

    pub fn drop_end(&mut self, end: End) {
        let last = match end {
            End::Front => self.chunks.front_mut(),
            End::Back => self.chunks.back_mut(),
        };
        let chunk = last.expect("the caller found an element here");
        self.len -= 1;
        if chunk.count() > 1 {
            return chunk.drop_end(end);
        }
        match end {
            End::Front => self.chunks.pop_front(),
            End::Back => self.chunks.pop_back(),
        };
        self.shrink_deque();
    }

    /// Inserts before the element at `place`; `place.index` may be the count of its chunk.
    pub fn insert(&mut self, place: Place, element: &[u8], limits: &ListLimits) {
        self.len += 1;
        let chunk = &mut self.chunks[place.chunk];
        if chunk.fits(element.len(), limits) {
            return chunk.insert(place.index, element, growth(limits));
        }
        // The chunk is divided, and the element goes to the side that has room, or between them.
        let mut right = place.chunk;
        if place.index == chunk.count() {
            right += 1;
        } else if place.index > 0 {
            let mut tail = chunk.split_off(place.index);
            chunk.forget_listpack_bytes();
            tail.forget_listpack_bytes();
            tail.shrink(SLACK_PARTS);
            right += 1;
            self.chunks.insert(right, tail);
        }
        if let Some(left) = right.checked_sub(1).map(|left| &mut self.chunks[left])
            && left.fits(element.len(), limits)
        {
            return left.push(End::Back, element, growth(limits));
        }
        if let Some(right) = self.chunks.get_mut(right)
            && right.fits(element.len(), limits)
        {
            return right.push(End::Front, element, growth(limits));
        }
        let mut chunk = Chunk::with_room(FIRST_BYTES, element.len());
        chunk.push(End::Back, element, growth(limits));
        self.forget_listpack_bytes();
        self.chunks.insert(right, chunk);
    }

    pub fn replace(&mut self, place: Place, element: &[u8], limits: &ListLimits) {
        let chunk = &mut self.chunks[place.chunk];
        if chunk.count() == 1 || element.len() <= chunk.length(place.index) || chunk.fits(element.len(), limits) {
            return chunk.replace(place.index, element, growth(limits));
        }
        chunk.remove(place.index);
        self.len -= 1;
        self.insert(place, element, limits);
    }

    pub fn remove_matching(
        &mut self,
        direction: Direction,
        element: &[u8],
        count_max: usize,
        limits: &ListLimits,
    ) -> usize {
        let mut removed = 0;
        let chunks = self.chunks.len();
        for step in 0..chunks {
            let chunk = match direction {
                Direction::Forward => step,
                Direction::Backward => chunks - 1 - step,
            };
            if removed == count_max {
                break;
            }
            removed += self.chunks[chunk].remove_matching(direction, element, count_max - removed);
        }
        if removed > 0 {
            self.tidy(limits);
        }
        removed
    }

    /// Keeps `len` elements from `start` on.
    pub fn trim(&mut self, start: usize, len: usize, limits: &ListLimits) {
        if len == 0 {
            self.chunks.clear();
        } else {
            let (first, last) = (self.place(start), self.place(start + len - 1));
            self.chunks.truncate(last.chunk + 1);
            self.chunks[last.chunk].truncate(last.index + 1);
            self.chunks.drain(..first.chunk);
            self.chunks[0].drop_before(first.index);
        }
        self.tidy(limits);
    }

    /// After removals anywhere: no empty chunk, no two neighbours that fit one, little slack, the right length.
    fn tidy(&mut self, limits: &ListLimits) {
        let mut tidy: VecDeque<Chunk> = VecDeque::new();
        for mut chunk in std::mem::take(&mut self.chunks) {
            if chunk.count() == 0 {
                continue;
            }
            if let Some(left) = tidy.back_mut()
                && left.merges_with(&chunk, limits)
            {
                left.forget_listpack_bytes();
                left.append(&chunk, growth(limits));
                continue;
            }
            chunk.shrink(SLACK_PARTS);
            tidy.push_back(chunk);
        }
        tidy.shrink_to_fit();
        *self = Quicklist::new(tidy);
    }

    /// The listpack size is only kept for a chunk that is alone.
    fn forget_listpack_bytes(&mut self) {
        if let Some(chunk) = self.only_chunk() {
            chunk.forget_listpack_bytes();
        }
    }

    fn shrink_deque(&mut self) {
        if self.chunks.capacity() > 16 && self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
    }
}

impl Clone for Quicklist {
    fn clone(&self) -> Quicklist {
        Quicklist { chunks: self.chunks.iter().cloned().collect(), len: self.len }
    }
}

fn growth(limits: &ListLimits) -> Growth {
    Growth::Doubling { bytes_max: limits.chunk_bytes_max() }
}
