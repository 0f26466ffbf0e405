//! `Block`: a byte string that owns one heap allocation through one thin pointer.
//!
//! Layout: `[length: varint][bytes...][slack]`. The size of the allocation is never stored: it is the allocator's size
//! class of prefix plus length, so it can be derived again whenever the block grows, shrinks or is freed. Asking for
//! the whole class costs nothing (the allocator would waste the slack anyway) and lets a change that stays in the class
//! happen in place.
//!
//! Invariants: the pointer is 8-aligned, non-null and stems from the global allocator; the prefix and the `len` bytes
//! after it are initialised; the prefix is the shortest one for its length. Neighbours: `Packed`, `IntSet`, `Member`
//! and `Field` are safe code over this type; `thin` puts a tag into the pointer's free low bits.

use crate::size_class::round_up;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;
use std::slice;

/// Every block is aligned to this, which leaves three free low bits in its pointer.
pub const ALIGN: usize = 8;

/// A byte string in one allocation that knows its own length; the handle is one machine word.
#[repr(transparent)]
pub struct Block {
    start: NonNull<u8>,
}

// SAFETY: a block owns its bytes alone, there is no interior mutability, and the global allocator is thread-safe.
unsafe impl Send for Block {}
// SAFETY: as above; `&Block` only allows reading.
unsafe impl Sync for Block {}

impl Block {
    /// A block that holds the concatenation of `parts`.
    pub fn concat(parts: &[&[u8]]) -> Block {
        let len = parts.iter().map(|part| part.len()).sum();
        let layout = layout_for(len);
        // SAFETY: a layout of a block is never of size zero.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        let mut at = varint::encoded_len(len);
        for part in parts {
            // SAFETY: the layout has room for the prefix and for the sum of all parts, and a new allocation overlaps
            // none.
            unsafe { start.add(at).copy_from_nonoverlapping(NonNull::from(*part).cast(), part.len()) };
            at += part.len();
        }
        let mut block = Block { start };
        // SAFETY: the allocation was made for `len`, and the payload has just been filled.
        unsafe { block.write_prefix(len) };
        block
    }

    pub fn new(bytes: &[u8]) -> Block {
        Block::concat(&[bytes])
    }

    pub fn len(&self) -> usize {
        self.extent().1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn bytes(&self) -> &[u8] {
        let (prefix, len) = self.extent();
        // SAFETY: these bytes are initialised by the type's invariant, and borrowed for as long as `self` is.
        unsafe { slice::from_raw_parts(self.start.add(prefix).as_ptr(), len) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (prefix, len) = self.extent();
        // SAFETY: as in `bytes`; `self` is borrowed mutably, so nobody else looks at them.
        unsafe { slice::from_raw_parts_mut(self.start.add(prefix).as_ptr(), len) }
    }

    /// Replaces `removed` bytes at `at` by `inserted` bytes which `fill` writes (it is given zeroes).
    ///
    /// Reallocates only if the length moves to another size class.
    pub fn splice_with(&mut self, at: usize, removed: usize, inserted: usize, fill: impl FnOnce(&mut [u8])) {
        let (old_prefix, old_len) = self.extent();
        assert!(at <= old_len && removed <= old_len - at, "splice outside of the block");
        let len = (old_len - removed).checked_add(inserted).expect("a block is shorter than the address space");
        let prefix = varint::encoded_len(len);
        let old_layout = layout_for(old_len);
        let layout = layout_for(len);
        let tail = old_len - at - removed;
        if layout.size() > old_layout.size() {
            // SAFETY: `old_layout` is the one of the present length.
            unsafe { self.resize(old_layout, layout) };
        }
        let start = self.start;
        // A longer prefix pushes everything to the right, so the tail has to go first; a shorter one, the head. Source
        // and target of one move may overlap, head and tail never overlap each other in these orders.
        // SAFETY: all ranges lie in the larger of the two allocations, which is the one at hand here: sources end at
        // `old_prefix + old_len`, targets at `prefix + len`. The zeroed range is the gap between head and tail.
        unsafe {
            let move_head = || start.add(old_prefix).copy_to(start.add(prefix), at);
            let move_tail = || start.add(old_prefix + at + removed).copy_to(start.add(prefix + at + inserted), tail);
            if prefix < old_prefix {
                move_head();
                move_tail();
            } else {
                move_tail();
                if prefix > old_prefix {
                    move_head();
                }
            }
            start.add(prefix + at).write_bytes(0, inserted);
            self.write_prefix(len);
        }
        if layout.size() < old_layout.size() {
            // SAFETY: the allocation still has its old size; prefix and payload fit the new one.
            unsafe { self.resize(old_layout, layout) };
        }
        fill(&mut self.bytes_mut()[at..at + inserted]);
    }

    /// Replaces `removed` bytes at `at` by `inserted`.
    pub fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]) {
        self.splice_with(at, removed, inserted.len(), |gap| gap.copy_from_slice(inserted));
    }

    /// What the allocator hands out for this block.
    pub fn heap_bytes(&self) -> usize {
        allocation_size(self.len())
    }

    /// Gives up the handle; only `from_raw` frees the allocation again.
    pub fn into_raw(self) -> NonNull<u8> {
        let start = self.start;
        std::mem::forget(self);
        start
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// `raw` comes from `into_raw`, and ownership has not been taken back since.
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Block {
        Block { start: raw }
    }

    /// The bytes of a block that somebody else owns.
    ///
    /// # Safety
    /// `raw` comes from `into_raw`, and the block is neither changed nor taken back during `'a`.
    pub unsafe fn share<'a>(raw: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller's promise covers the read of the prefix and the lifetime of the slice.
        unsafe {
            let (prefix, len) = read_extent(raw);
            slice::from_raw_parts(raw.add(prefix).as_ptr(), len)
        }
    }

    /// Length of the prefix and of the payload.
    fn extent(&self) -> (usize, usize) {
        // SAFETY: `start` points to a valid prefix by the type's invariant.
        unsafe { read_extent(self.start) }
    }

    /// # Safety
    /// The allocation must be of the size that belongs to `len`, or larger for the moment.
    unsafe fn write_prefix(&mut self, len: usize) {
        let mut buffer = [0; varint::MAX_LEN];
        let prefix = varint::write(len, &mut buffer);
        // SAFETY: the caller's promise: there is room for the prefix of `len`.
        unsafe { self.start.copy_from_nonoverlapping(NonNull::from(&buffer).cast(), prefix) };
    }

    /// # Safety
    /// `old` is the layout of the present allocation.
    unsafe fn resize(&mut self, old: Layout, new: Layout) {
        // SAFETY: the caller's promise, and no layout of a block has size zero.
        let raw = unsafe { realloc(self.start.as_ptr(), old, new.size()) };
        let Some(start) = NonNull::new(raw) else { handle_alloc_error(new) };
        self.start = start;
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let layout = layout_for(self.len());
        // SAFETY: the layout of an allocation follows from its length.
        unsafe { dealloc(self.start.as_ptr(), layout) };
    }
}

impl Clone for Block {
    fn clone(&self) -> Block {
        Block::new(self.bytes())
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({})", self.bytes().escape_ascii())
    }
}

/// # Safety
/// `start` points to the initialised prefix of a block.
unsafe fn read_extent(start: NonNull<u8>) -> (usize, usize) {
    // SAFETY: the first byte of a prefix tells how long it is, and the whole prefix is initialised.
    unsafe {
        let first = start.read();
        if usize::from(first) <= varint::MAX_SHORT {
            return (1, usize::from(first));
        }
        let prefix = varint::header_len(first);
        (prefix, varint::read(slice::from_raw_parts(start.as_ptr(), prefix)).0)
    }
}

fn layout_for(len: usize) -> Layout {
    Layout::from_size_align(allocation_size(len), ALIGN).expect("a block is shorter than the address space")
}

/// What the allocator hands out for a block of `len` bytes.
pub const fn allocation_size(len: usize) -> usize {
    round_up(varint::encoded_len(len) + len)
}

/// Lengths as one byte up to 250; above, a code and two, four or eight bytes. Codes from 254 on are free.
pub mod varint {
    /// The largest length that is its own code.
    pub const MAX_SHORT: usize = 250;
    /// The longest encoding.
    pub const MAX_LEN: usize = 9;
    const CODE_U16: u8 = 251;
    const CODE_U32: u8 = 252;
    const CODE_U64: u8 = 253;

    pub const fn encoded_len(value: usize) -> usize {
        if value <= MAX_SHORT {
            1
        } else if value <= u16::MAX as usize {
            3
        } else if value <= u32::MAX as usize {
            5
        } else {
            MAX_LEN
        }
    }

    /// The length of an encoding that starts with `first`.
    pub fn header_len(first: u8) -> usize {
        match first {
            CODE_U16 => 3,
            CODE_U32 => 5,
            CODE_U64 => MAX_LEN,
            _ => {
                assert!(usize::from(first) <= MAX_SHORT, "unknown length code {first}");
                1
            }
        }
    }

    /// Writes `value` to the front of `target` and tells how many bytes that took.
    pub fn write(value: usize, target: &mut [u8]) -> usize {
        let len = encoded_len(value);
        match len {
            1 => target[0] = value as u8,
            3 => {
                target[0] = CODE_U16;
                target[1..3].copy_from_slice(&(value as u16).to_le_bytes());
            }
            5 => {
                target[0] = CODE_U32;
                target[1..5].copy_from_slice(&(value as u32).to_le_bytes());
            }
            _ => {
                target[0] = CODE_U64;
                target[1..9].copy_from_slice(&(value as u64).to_le_bytes());
            }
        }
        len
    }

    /// The length at the front of `source`, and how many bytes it took.
    #[inline]
    pub fn read(source: &[u8]) -> (usize, usize) {
        let first = source[0];
        if usize::from(first) <= MAX_SHORT {
            return (usize::from(first), 1);
        }
        let header = header_len(first);
        let mut wide = [0; 8];
        wide[..header - 1].copy_from_slice(&source[1..header]);
        (u64::from_le_bytes(wide) as usize, header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_round_trips_at_its_borders() {
        for value in [0, 1, 250, 251, 65_535, 65_536, u32::MAX as usize, u32::MAX as usize + 1] {
            let mut buffer = [0; varint::MAX_LEN];
            let written = varint::write(value, &mut buffer);
            assert_eq!(written, varint::encoded_len(value));
            assert_eq!(varint::read(&buffer), (value, written));
        }
    }

    #[test]
    fn splices_across_every_prefix_length_match_a_vector() {
        let lengths = [0usize, 1, 5, 249, 250, 251, 252, 300, 65_535, 65_536, 70_000];
        for from in lengths {
            for to in lengths {
                for at in [0, from.min(to) / 2, from.min(to)] {
                    let mut model: Vec<u8> = (0..from).map(|i| (i * 7) as u8).collect();
                    let mut block = Block::new(&model);
                    let (removed, inserted) = (from.saturating_sub(to), to.saturating_sub(from));
                    let new: Vec<u8> = (0..inserted).map(|i| (i * 13 + 1) as u8).collect();
                    let at = at.min(from - removed);
                    block.splice(at, removed, &new);
                    model.splice(at..at + removed, new);
                    assert_eq!(block.bytes(), model, "{from} -> {to} at {at}");
                    assert_eq!(block.clone().bytes(), model);
                }
            }
        }
    }
}
