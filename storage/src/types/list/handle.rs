//! The eight bytes of a list, which point at its only chunk or at a deque of chunks: the only pointer casts of lists.
//!
//! Both start with a 32-bit word: zero for a deque, never zero for a chunk.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::block::Block;
use super::chunk::Chunk;
use super::quicklist::Quicklist;

/// A list of byte strings.
#[repr(transparent)]
pub struct List {
    /// Either from `Block::into_raw`, or a leaked `Box<Deque>`.
    raw: NonNull<u8>,
    owns: PhantomData<(Chunk, Box<Deque>)>,
}

// SAFETY: a list owns its chunks alone.
unsafe impl Send for List {}
// SAFETY: shared access only reads.
unsafe impl Sync for List {}

const _: () = assert!(size_of::<Option<List>>() == 8);

/// A quicklist behind the word that tells it from a block.
#[repr(C, align(8))]
struct Deque {
    kind: u32,
    quicklist: Quicklist,
}

const DEQUE: u32 = 0;

pub(super) enum View<'a> {
    Listpack(&'a Chunk),
    Quicklist(&'a Quicklist),
}

pub(super) enum ViewMut<'a> {
    Listpack(&'a mut Chunk),
    Quicklist(&'a mut Quicklist),
}

impl List {
    /// Gives up the list for a pointer that is at least 8-aligned.
    pub fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).raw
    }

    /// # Safety
    /// `raw` comes from `into_raw`, and ownership is taken once.
    pub unsafe fn from_raw(raw: NonNull<u8>) -> List {
        List { raw, owns: PhantomData }
    }

    pub(super) fn from_chunk(chunk: Chunk) -> List {
        List { raw: chunk.into_block().into_raw(), owns: PhantomData }
    }

    pub(super) fn from_quicklist(quicklist: Quicklist) -> List {
        let deque = Box::leak(Box::new(Deque { kind: DEQUE, quicklist }));
        List { raw: NonNull::from(deque).cast(), owns: PhantomData }
    }

    pub(super) fn view(&self) -> View<'_> {
        if self.is_deque() {
            // SAFETY: the kind word says that this is a leaked box of a deque, borrowed with `self`.
            View::Quicklist(unsafe { &self.raw.cast::<Deque>().as_ref().quicklist })
        } else {
            // SAFETY: both `Chunk` and `List` are transparent over a pointer, and this one points at a block.
            View::Listpack(unsafe { &*std::ptr::from_ref(self).cast::<Chunk>() })
        }
    }

    pub(super) fn view_mut(&mut self) -> ViewMut<'_> {
        if self.is_deque() {
            // SAFETY: as in `view`, and `self` is borrowed exclusively.
            ViewMut::Quicklist(unsafe { &mut self.raw.cast::<Deque>().as_mut().quicklist })
        } else {
            // SAFETY: as in `view`. A chunk that moves to another block leaves a pointer of the same kind behind.
            ViewMut::Listpack(unsafe { &mut *std::ptr::from_mut(self).cast::<Chunk>() })
        }
    }

    /// The chunks, front to back, in two runs.
    pub(super) fn chunks(&self) -> (&[Chunk], &[Chunk]) {
        match self.view() {
            View::Listpack(chunk) => (std::slice::from_ref(chunk), &[]),
            View::Quicklist(quicklist) => quicklist.chunks(),
        }
    }

    /// Takes the chunks out; the list is empty then.
    pub(super) fn take_chunks(&mut self) -> VecDeque<Chunk> {
        match std::mem::take(self).into_contents() {
            Contents::Listpack(chunk) => VecDeque::from([chunk]),
            Contents::Quicklist(quicklist) => quicklist.into_chunks(),
        }
    }

    pub(super) fn deque_bytes() -> usize {
        size_of::<Deque>()
    }

    fn is_deque(&self) -> bool {
        // SAFETY: both kinds of allocation start with an initialised, aligned 32-bit word.
        unsafe { self.raw.cast::<u32>().read() == DEQUE }
    }

    fn into_contents(self) -> Contents {
        let this = ManuallyDrop::new(self);
        if this.is_deque() {
            // SAFETY: leaked from a box in `from_quicklist`, and `self` owned it.
            let deque = unsafe { Box::from_raw(this.raw.cast::<Deque>().as_ptr()) };
            assert!(deque.kind == DEQUE);
            Contents::Quicklist(deque.quicklist)
        } else {
            // SAFETY: from `Block::into_raw` in `from_chunk`, and `self` owned it.
            Contents::Listpack(Chunk::from_block(unsafe { Block::from_raw(this.raw) }))
        }
    }
}

enum Contents {
    Listpack(Chunk),
    Quicklist(Quicklist),
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the copy takes the ownership, and nobody looks at `self` after this.
        drop(unsafe { List::from_raw(self.raw) }.into_contents());
    }
}
