//! The members of a large sorted set: one allocation each, owned by the table and pointed at by the tree.
//!
//! This is the only module that knows of this sharing. `Scored` owns the allocation; `Entry` is a copy of its pointer
//! that the tree keeps. The proof that an entry never dangles is short, because only `skiplist` makes entries: it owns
//! the table and the tree together; it takes an entry out of the tree before it drops or changes the member; and
//! whoever reads through an entry borrows the tree, and so the whole, which nobody can change meanwhile.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::slice;

use crate::size_class::round_up;
use crate::table::Item;
use crate::types::block::{ALIGN, varint};

/// A member with its score. Layout: `[score: f64][length: varint][member]`.
#[repr(transparent)]
pub(super) struct Scored(NonNull<u8>);

// SAFETY: a member owns its bytes alone as far as threads are concerned: entries never leave the set.
unsafe impl Send for Scored {}
// SAFETY: shared access only reads.
unsafe impl Sync for Scored {}

const SCORE_BYTES: usize = size_of::<f64>();
const _: () = assert!(align_of::<f64>() <= ALIGN);

impl Scored {
    pub fn new(member: &[u8], score: f64) -> Scored {
        let layout = layout_for(member.len());
        // SAFETY: the layout includes a score, so it is not empty.
        let raw = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(raw) else { handle_alloc_error(layout) };
        let mut prefix = [0; varint::MAX_LEN];
        let prefix_len = varint::write(member.len(), &mut prefix);
        // SAFETY: the three parts follow each other within the layout, which is aligned for the score.
        unsafe {
            start.cast::<f64>().write(score);
            let rest = start.add(SCORE_BYTES).as_ptr();
            rest.copy_from_nonoverlapping(prefix.as_ptr(), prefix_len);
            rest.add(prefix_len).copy_from_nonoverlapping(member.as_ptr(), member.len());
        }
        Scored(start)
    }

    pub fn score(&self) -> f64 {
        // SAFETY: the allocation is alive and starts with the score.
        unsafe { self.0.cast::<f64>().read() }
    }

    pub fn set_score(&mut self, score: f64) {
        // SAFETY: as in `score`. Nobody reads through an entry, for that would borrow the set that is being changed.
        unsafe { self.0.cast::<f64>().write(score) }
    }

    pub fn member(&self) -> &[u8] {
        // SAFETY: the allocation is alive as long as `self` is, and its bytes after the score never change.
        unsafe { member_at(self.0) }
    }

    /// What the allocator hands out for this member.
    pub fn heap_bytes(&self) -> usize {
        layout_for(self.member().len()).size()
    }

    /// A pointer to this member for the tree.
    ///
    /// # Safety
    /// The entry and its copies are used only while the member is neither dropped nor being changed.
    pub unsafe fn entry(&self) -> Entry {
        Entry(self.0)
    }
}

impl Drop for Scored {
    fn drop(&mut self) {
        let layout = layout_for(self.member().len());
        // SAFETY: allocated in `new` with the layout of this length, and owned.
        unsafe { dealloc(self.0.as_ptr(), layout) }
    }
}

// SAFETY: the pointer is 8-aligned and owns the allocation, in which the member's bytes stay where they are.
unsafe impl Item for Scored {
    fn key(&self) -> &[u8] {
        self.member()
    }

    fn into_raw(self) -> NonNull<u8> {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Scored {
        Scored(raw)
    }
}

/// What the tree holds for a member: a pointer to it, that may be read by the promise given to `Scored::entry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Entry(NonNull<u8>);

// SAFETY: an entry gives what a shared reference to a `Scored` gives.
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

impl Entry {
    #[inline]
    pub fn score(&self) -> f64 {
        // SAFETY: the promise given to `Scored::entry`.
        unsafe { self.0.cast::<f64>().read() }
    }

    #[inline]
    pub fn member(&self) -> &[u8] {
        // SAFETY: the promise given to `Scored::entry`.
        unsafe { member_at(self.0) }
    }
}

/// # Safety
/// `start` points to a member that is alive during `'a`.
#[inline]
unsafe fn member_at<'a>(start: NonNull<u8>) -> &'a [u8] {
    // SAFETY: the prefix lies behind the score and tells how many initialised bytes follow it.
    unsafe {
        let prefix = start.add(SCORE_BYTES);
        let first = prefix.read();
        if usize::from(first) <= varint::MAX_SHORT {
            return slice::from_raw_parts(prefix.add(1).as_ptr(), usize::from(first));
        }
        let header = varint::header_len(first);
        let (len, _) = varint::read(slice::from_raw_parts(prefix.as_ptr(), header));
        slice::from_raw_parts(prefix.add(header).as_ptr(), len)
    }
}

fn layout_for(len: usize) -> Layout {
    let size = round_up(SCORE_BYTES + varint::encoded_len(len) + len);
    Layout::from_size_align(size, ALIGN).expect("a member is shorter than the address space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_any_length_keep_bytes_and_score() {
        for len in [0, 1, 15, 250, 251, 65_535, 65_536] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut member = Scored::new(&bytes, 1.5);
            member.set_score(-2.5);
            assert_eq!((member.member(), member.score()), (&bytes[..], -2.5));
            // SAFETY: `member` lives to the end of the block.
            let entry = unsafe { member.entry() };
            assert_eq!((entry.member(), entry.score()), (&bytes[..], -2.5));
        }
        assert_eq!(Scored::new(&[0; 16], 0.0).heap_bytes(), 32);
    }
}
