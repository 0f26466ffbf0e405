//! A run of elements in one allocation: bytes back to back, and their lengths in a separate array behind them.
//!
//! ```text
//! | head gap | elements, first to last | middle gap | lengths, last to first | trail gap |
//! ```
//! Pushing at the back takes from the middle gap; pushing at the front takes from the head gap and the trail gap, which
//! is also where popping at the front gives to, so both ends work in amortised constant time. A length takes one byte
//! until an element of the chunk is longer than 255 bytes, then two or four for all of them: sums of lengths, which
//! find an element by its index, run over a dense array.

use std::cmp::max;

use super::block::Block;
use super::limits::{CHUNK_ENTRIES_MAX, LISTPACK_EMPTY_BYTES, ListLimits, listpack_entry_bytes};
use super::{Direction, End};
use crate::size_class::round_up;

#[repr(transparent)]
pub(super) struct Chunk(Block);

/// How a chunk takes more memory than it needs at once.
#[derive(Clone, Copy)]
pub(super) enum Growth {
    /// The only chunk of a small list: little slack.
    Tight,
    /// A chunk at the end of a long list, soon to be filled up to this size.
    Doubling { bytes_max: usize },
}

/// The largest trail gap, in length fields.
const TRAIL_MAX: usize = 60_000;

impl Chunk {
    /// An empty chunk that keeps count of its listpack size.
    pub fn new() -> Chunk {
        let mut block = Block::new(4, 0);
        block.header_mut().listpack_bytes = LISTPACK_EMPTY_BYTES as u32;
        Chunk(block)
    }

    /// An empty chunk of `bytes`, or of what an element of `len` bytes needs if that is more.
    pub fn with_room(bytes: usize, len: usize) -> Chunk {
        let width_log2 = width_log2_for(len);
        Chunk(Block::new(max(len + (1 << width_log2), bytes.saturating_sub(Block::HEADER_BYTES)), width_log2))
    }

    #[inline]
    pub fn count(&self) -> usize {
        usize::from(self.0.header().count)
    }

    pub fn heap_bytes(&self) -> usize {
        self.0.size()
    }

    pub fn into_block(self) -> Block {
        self.0
    }

    pub fn from_block(block: Block) -> Chunk {
        Chunk(block)
    }

    /// The length of the element at `index`.
    pub fn length(&self, index: usize) -> usize {
        assert!(index < self.count());
        let payload = self.0.payload();
        let width = self.width();
        let at = self.lengths_end() - (index + 1) * width;
        match width {
            1 => usize::from(payload[at]),
            2 => usize::from(u16::from_le_bytes([payload[at], payload[at + 1]])),
            _ => read_u32(&payload[at..at + 4]),
        }
    }

    /// Where the element at `index` starts in the payload; `index == count` gives the end of the last one.
    pub fn offset(&self, index: usize) -> usize {
        let count = self.count();
        assert!(index <= count);
        let (head, end) = (self.head(), self.lengths_end());
        let width = self.width();
        if index <= count / 2 {
            head + self.sum(end - index * width..end)
        } else {
            head + self.used() - self.sum(end - count * width..end - index * width)
        }
    }

    /// The `len` bytes of payload at `offset`, as found by `offset` and `length`.
    pub fn slice(&self, offset: usize, len: usize) -> &[u8] {
        &self.0.payload()[offset..offset + len]
    }

    pub fn element(&self, index: usize) -> &[u8] {
        self.slice(self.offset(index), self.length(index))
    }

    pub fn end(&self, end: End) -> &[u8] {
        match end {
            End::Front => self.slice(self.head(), self.length(0)),
            End::Back => {
                let len = self.length(self.count() - 1);
                self.slice(self.head() + self.used() - len, len)
            }
        }
    }

    /// The size as a listpack, counted now if nobody kept it; from then on it is kept.
    pub fn listpack_bytes(&mut self) -> usize {
        if self.0.header().listpack_bytes == 0 {
            let mut bytes = LISTPACK_EMPTY_BYTES;
            let mut offset = self.head();
            for index in 0..self.count() {
                let len = self.length(index);
                bytes += listpack_entry_bytes(self.slice(offset, len));
                offset += len;
            }
            self.0.header_mut().listpack_bytes = u32::try_from(bytes).unwrap_or(0);
            return bytes;
        }
        self.0.header().listpack_bytes as usize
    }

    pub fn forget_listpack_bytes(&mut self) {
        self.0.header_mut().listpack_bytes = 0;
    }

    /// Whether one more element of `len` bytes keeps the chunk within its bounds; an empty chunk takes any.
    pub fn fits(&self, len: usize, limits: &ListLimits) -> bool {
        let count = self.count();
        let width = max(self.width(), 1 << width_log2_for(len));
        let bytes = Block::HEADER_BYTES + self.used() + len + (count + 1) * width;
        count == 0 || (count < CHUNK_ENTRIES_MAX && !limits.exceeded_by(bytes, count + 1))
    }

    /// Whether this chunk and `other` make a chunk with room to spare.
    pub fn merges_with(&self, other: &Chunk, limits: &ListLimits) -> bool {
        let count = self.count() + other.count();
        let width = max(self.width(), other.width());
        let bytes = Block::HEADER_BYTES + self.used() + other.used() + count * width;
        count < CHUNK_ENTRIES_MAX && !limits.exceeded_by(bytes + bytes / 3, count + count / 3)
    }

    pub fn push(&mut self, end: End, element: &[u8], growth: Growth) {
        let len = element.len();
        self.make_room(end, len, growth);
        self.count_listpack(element);
        let (head, used, count) = (self.head(), self.used(), self.count());
        let width = self.width();
        let header = self.0.header_mut();
        header.count += 1;
        header.used += len as u32;
        let (index, at) = match end {
            End::Front => {
                header.head -= len as u32;
                header.trail -= 1;
                (0, head - len)
            }
            End::Back => (count, head + used),
        };
        let length_at = self.lengths_end() - (index + 1) * width;
        let payload = self.0.payload_mut();
        payload[at..at + len].copy_from_slice(element);
        write_length(payload, length_at, width, len);
    }

    /// Drops the element at one end.
    pub fn drop_end(&mut self, end: End) {
        let len = self.end(end).len();
        self.uncount_listpack(end);
        let header = self.0.header_mut();
        header.count -= 1;
        header.used -= len as u32;
        if header.count == 0 {
            header.head = 0;
            header.trail = 0;
        } else if end == End::Front {
            header.head += len as u32;
            header.trail += 1;
            if usize::from(header.trail) > TRAIL_MAX {
                self.relayout_in_place(0, 0);
            }
        }
    }

    /// Inserts before the element at `index`, or at the end when `index` is the count.
    pub fn insert(&mut self, index: usize, element: &[u8], growth: Growth) {
        let count = self.count();
        assert!(index <= count);
        if index == 0 && count > 0 {
            return self.push(End::Front, element, growth);
        }
        let len = element.len();
        self.make_room(End::Back, len, growth);
        self.count_listpack(element);
        let at = self.offset(index);
        let data_end = self.head() + self.used();
        let width = self.width();
        let end = self.lengths_end();
        let payload = self.0.payload_mut();
        payload.copy_within(at..data_end, at + len);
        payload[at..at + len].copy_from_slice(element);
        let lengths = end - count * width..end - index * width;
        let moved_to = lengths.start - width;
        payload.copy_within(lengths, moved_to);
        write_length(payload, end - (index + 1) * width, width, len);
        let header = self.0.header_mut();
        header.count += 1;
        header.used += len as u32;
    }

    pub fn remove(&mut self, index: usize) {
        let count = self.count();
        if index == 0 {
            return self.drop_end(End::Front);
        }
        if index + 1 == count {
            return self.drop_end(End::Back);
        }
        let mut at = 0;
        self.retain(|_| {
            at += 1;
            at != index + 1
        });
    }

    pub fn replace(&mut self, index: usize, element: &[u8], growth: Growth) {
        let len = self.length(index);
        if len != element.len() {
            self.remove(index);
            return self.insert(index, element, growth);
        }
        let at = self.offset(index);
        if self.0.header().listpack_bytes != 0 {
            let before = listpack_entry_bytes(self.slice(at, len)) as u32;
            self.0.header_mut().listpack_bytes -= before;
        }
        self.count_listpack(element);
        self.0.payload_mut()[at..at + len].copy_from_slice(element);
    }

    /// Keeps the elements that `keep` accepts, in order; returns how many were removed.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) -> usize {
        let (head, count) = (self.head(), self.count());
        let (width, end) = (self.width(), self.lengths_end());
        let counted = self.0.header().listpack_bytes != 0;
        let (mut from, mut to, mut kept, mut listpack_removed) = (head, head, 0, 0);
        for index in 0..count {
            let len = self.length(index);
            let element = self.slice(from, len);
            if keep(element) {
                if kept != index {
                    let payload = self.0.payload_mut();
                    payload.copy_within(from..from + len, to);
                    write_length(payload, end - (kept + 1) * width, width, len);
                }
                to += len;
                kept += 1;
            } else if counted {
                listpack_removed += listpack_entry_bytes(element);
            }
            from += len;
        }
        let header = self.0.header_mut();
        header.listpack_bytes -= listpack_removed as u32;
        header.used = (to - head) as u32;
        header.count = kept as u16;
        count - kept
    }

    /// Removes up to `count_max` elements equal to `element`, the first ones in `direction`.
    pub fn remove_matching(&mut self, direction: Direction, element: &[u8], count_max: usize) -> usize {
        let mut skip = 0;
        if direction == Direction::Backward && count_max < self.count() {
            skip = self.matches(element).saturating_sub(count_max);
        }
        let mut left = count_max;
        self.retain(|candidate| {
            if left == 0 || candidate != element {
                return true;
            }
            if skip > 0 {
                skip -= 1;
                return true;
            }
            left -= 1;
            false
        })
    }

    /// Drops all elements before `index`.
    pub fn drop_before(&mut self, index: usize) {
        let dropped = self.offset(index) - self.head();
        self.uncount_listpack_range(0, index);
        let header = self.0.header_mut();
        header.head += dropped as u32;
        header.used -= dropped as u32;
        header.count -= index as u16;
        // Both are at most `CHUNK_ENTRIES_MAX` or `TRAIL_MAX`, whose sum may be too large for the field.
        let trail = usize::from(header.trail) + index;
        if trail <= TRAIL_MAX {
            header.trail = trail as u16;
        } else {
            let (end, width, count) = (self.lengths_end(), self.width(), self.count());
            let from = end - (index + count) * width;
            self.0.payload_mut().copy_within(from..from + count * width, end - count * width);
        }
    }

    /// Drops the elements from `index` on.
    pub fn truncate(&mut self, index: usize) {
        let used = self.offset(index) - self.head();
        self.uncount_listpack_range(index, self.count());
        let header = self.0.header_mut();
        header.used = used as u32;
        header.count = index as u16;
    }

    /// Moves the elements from `index` on to a new chunk.
    pub fn split_off(&mut self, index: usize) -> Chunk {
        let mut tail = self.clone();
        tail.drop_before(index);
        self.truncate(index);
        tail
    }

    pub fn append(&mut self, other: &Chunk, growth: Growth) {
        let mut offset = other.head();
        for index in 0..other.count() {
            let len = other.length(index);
            self.push(End::Back, other.slice(offset, len), growth);
            offset += len;
        }
    }

    /// Gives back memory when at least one part in `slack_parts` of the chunk is unused.
    pub fn shrink(&mut self, slack_parts: usize) {
        let needed = self.used() + self.count() * self.width();
        let exact = round_up(needed + Block::HEADER_BYTES);
        if (self.0.size() - exact) * slack_parts > self.0.size() {
            self.relocate(needed, self.0.width_log2(), End::Back);
        }
    }

    fn matches(&self, element: &[u8]) -> usize {
        let mut offset = self.head();
        let mut matches = 0;
        for index in 0..self.count() {
            let len = self.length(index);
            matches += usize::from(self.slice(offset, len) == element);
            offset += len;
        }
        matches
    }

    fn head(&self) -> usize {
        self.0.header().head as usize
    }

    fn used(&self) -> usize {
        self.0.header().used as usize
    }

    /// Bytes of one length field.
    fn width(&self) -> usize {
        1 << self.0.width_log2()
    }

    fn lengths_end(&self) -> usize {
        self.0.payload().len() - usize::from(self.0.header().trail) * self.width()
    }

    /// The sum of the length fields in a range of the payload.
    fn sum(&self, range: std::ops::Range<usize>) -> usize {
        let fields = &self.0.payload()[range];
        match self.width() {
            1 => fields.iter().map(|&len| u32::from(len)).sum::<u32>() as usize,
            2 => fields.chunks_exact(2).map(|field| usize::from(u16::from_le_bytes([field[0], field[1]]))).sum(),
            _ => fields.chunks_exact(4).map(read_u32).sum(),
        }
    }

    fn count_listpack(&mut self, element: &[u8]) {
        let header = self.0.header_mut();
        if header.listpack_bytes != 0 {
            header.listpack_bytes = header.listpack_bytes.saturating_add(listpack_entry_bytes(element) as u32);
        }
    }

    fn uncount_listpack(&mut self, end: End) {
        if self.0.header().listpack_bytes != 0 {
            let bytes = listpack_entry_bytes(self.end(end)) as u32;
            self.0.header_mut().listpack_bytes -= bytes;
        }
    }

    fn uncount_listpack_range(&mut self, from: usize, to: usize) {
        if self.0.header().listpack_bytes != 0 {
            let bytes: usize = (from..to).map(|index| listpack_entry_bytes(self.element(index))).sum();
            self.0.header_mut().listpack_bytes -= bytes as u32;
        }
    }

    /// Makes sure that an element of `len` bytes can be added at this end.
    fn make_room(&mut self, end: End, len: usize, growth: Growth) {
        assert!(len <= u32::MAX as usize / 2, "list element of {len} bytes");
        let width_log2 = max(self.0.width_log2(), width_log2_for(len));
        let width = 1usize << width_log2;
        let (head, used, count) = (self.head(), self.used(), self.count());
        let capacity = self.0.payload().len();
        if width == self.width() {
            let middle = self.lengths_end() - count * width - head - used;
            let trail = usize::from(self.0.header().trail);
            let enough = match end {
                End::Back => middle >= len + width,
                End::Front => head >= len && trail >= 1,
            };
            if enough {
                return;
            }
        }
        let needed = used + len + (count + 1) * width;
        // Sliding everything within the block pays only if that does not happen again soon.
        if width == self.width() && needed + needed / 8 <= capacity {
            let (head, trail) = gaps(end, capacity - needed, len, used + len, count + 1, width);
            return self.relayout_in_place(head, trail);
        }
        let size = Block::HEADER_BYTES + needed;
        let size = match growth {
            // The steps of the allocator's sizes are large enough to make growth amortised.
            Growth::Tight => round_up(size),
            Growth::Doubling { bytes_max } => round_up(max((2 * size).min(bytes_max), size)),
        };
        // A chunk that cannot grow any more uses up its last gap.
        if width == self.width() && size <= self.0.size() && needed <= capacity {
            let (head, trail) = gaps(end, capacity - needed, len, used + len, count + 1, width);
            return self.relayout_in_place(head, trail);
        }
        self.relocate_with_room(size - Block::HEADER_BYTES, width_log2, end, len);
    }

    fn relocate(&mut self, payload: usize, width_log2: u32, end: End) {
        let width = 1usize << width_log2;
        let block = Block::new(payload, width_log2);
        let spare = block.payload().len() - self.used() - self.count() * width;
        let (head, trail) = match end {
            End::Back => (0, 0),
            End::Front => (spare, 0),
        };
        self.move_into(block, head, trail);
    }

    fn relocate_with_room(&mut self, payload: usize, width_log2: u32, end: End, len: usize) {
        let width = 1usize << width_log2;
        let block = Block::new(payload, width_log2);
        let (used, count) = (self.used() + len, self.count() + 1);
        let spare = block.payload().len() - used - count * width;
        let (head, trail) = gaps(end, spare, len, used, count, width);
        self.move_into(block, head, trail);
    }

    /// Replaces the block by `block`, laid out with these gaps; `trail` counts length fields.
    fn move_into(&mut self, mut block: Block, head: usize, trail: usize) {
        let (from, used, count) = (self.head(), self.used(), self.count());
        let width = 1usize << block.width_log2();
        let payload = block.payload_mut();
        payload[head..head + used].copy_from_slice(self.slice(from, used));
        let end = payload.len() - trail * width;
        if width == self.width() {
            let old_end = self.lengths_end();
            let lengths = &self.0.payload()[old_end - count * width..old_end];
            payload[end - count * width..end].copy_from_slice(lengths);
        } else {
            for index in 0..count {
                write_length(payload, end - (index + 1) * width, width, self.length(index));
            }
        }
        let old = self.0.header();
        let header = block.header_mut();
        header.head = head as u32;
        header.used = old.used;
        header.count = old.count;
        header.trail = trail as u16;
        header.listpack_bytes = old.listpack_bytes;
        self.0 = block;
    }

    /// Slides elements and lengths so that the gaps at the ends become these.
    fn relayout_in_place(&mut self, head: usize, trail: usize) {
        let (old_head, used, count) = (self.head(), self.used(), self.count());
        let width = self.width();
        let old_end = self.lengths_end();
        let payload = self.0.payload_mut();
        let end = payload.len() - trail * width;
        let lengths = old_end - count * width..old_end;
        let elements = old_head..old_head + used;
        // What moves to the right goes out of the other's way first.
        if end > old_end {
            payload.copy_within(lengths, end - count * width);
            payload.copy_within(elements, head);
        } else {
            payload.copy_within(elements, head);
            payload.copy_within(lengths, end - count * width);
        }
        let header = self.0.header_mut();
        header.head = head as u32;
        header.trail = trail as u16;
    }
}

impl Clone for Chunk {
    fn clone(&self) -> Chunk {
        let mut copy = Chunk(Block::new(self.0.payload().len(), self.0.width_log2()));
        copy.0.payload_mut().copy_from_slice(self.0.payload());
        let (from, to) = (self.0.header(), copy.0.header_mut());
        to.head = from.head;
        to.used = from.used;
        to.count = from.count;
        to.trail = from.trail;
        to.listpack_bytes = from.listpack_bytes;
        copy
    }
}

/// Head gap and trail gap for adding an element of `len` bytes at `end`, with `spare` bytes left after that.
///
/// All of the spare room goes to the end that is pushed to, for elements of the mean length.
fn gaps(end: End, spare: usize, len: usize, used: usize, count: usize, width: usize) -> (usize, usize) {
    match end {
        End::Back => (0, 0),
        End::Front => {
            let trail = (spare / (used / count + width)).min(TRAIL_MAX - 1);
            (spare - trail * width + len, trail + 1)
        }
    }
}

fn width_log2_for(len: usize) -> u32 {
    match len {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        _ => 2,
    }
}

fn read_u32(field: &[u8]) -> usize {
    u32::from_le_bytes([field[0], field[1], field[2], field[3]]) as usize
}

fn write_length(payload: &mut [u8], at: usize, width: usize, len: usize) {
    payload[at..at + width].copy_from_slice(&(len as u32).to_le_bytes()[..width]);
}
