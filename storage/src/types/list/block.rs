//! One heap allocation with a small header: the raw memory of a chunk, and the only allocation code of lists.
//!
//! The payload after the header is always initialised, so all users see plain byte slices; `chunk` gives it meaning.
//! The size is one of the allocator's, so that its slack
//! is ours to use. The first word is never zero, which is how `handle` tells a block from a deque of chunks.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::size_class::round_up;
use crate::types::block::ALIGN;

/// What a chunk has to know about its payload.
#[repr(C)]
pub(super) struct Header {
    /// Bytes of the allocation, a non-zero multiple of 8, with log2 of the length width in the low bits.
    size_and_width: u32,
    /// Where the elements start in the payload.
    pub head: u32,
    /// Bytes of all elements.
    pub used: u32,
    /// Bytes the elements would take in a Redis listpack; 0 when nobody keeps count.
    pub listpack_bytes: u32,
    /// Elements in the chunk.
    pub count: u16,
    /// Unused length fields at the end of the payload.
    pub trail: u16,
}

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 20);

/// An owned allocation of a `Header` and its payload.
#[repr(transparent)]
pub(super) struct Block(NonNull<Header>);

// SAFETY: a block owns its memory alone, like a boxed slice of bytes.
unsafe impl Send for Block {}
// SAFETY: shared access only reads.
unsafe impl Sync for Block {}

impl Block {
    pub const HEADER_BYTES: usize = HEADER;

    /// A block whose payload has at least `payload` bytes, all zero; lengths take `1 << width_log2` bytes.
    pub fn new(payload: usize, width_log2: u32) -> Block {
        let size = round_up(payload + HEADER);
        assert!(size <= (u32::MAX - 7) as usize, "list chunk of {size} bytes");
        assert!(width_log2 <= 2);
        let layout = Layout::from_size_align(size, ALIGN).expect("the size was checked above");
        // SAFETY: the layout is not empty, as it includes a header.
        let raw = unsafe { alloc_zeroed(layout) }.cast::<Header>();
        let Some(ptr) = NonNull::new(raw) else { handle_alloc_error(layout) };
        let header = Header {
            size_and_width: size as u32 | width_log2,
            head: 0,
            used: 0,
            listpack_bytes: 0,
            count: 0,
            trail: 0,
        };
        // SAFETY: freshly allocated, large enough and aligned for a header.
        unsafe { ptr.write(header) };
        Block(ptr)
    }

    pub fn header(&self) -> &Header {
        // SAFETY: the pointer is valid and initialised from `new` to `drop`, and borrowed with `self`.
        unsafe { self.0.as_ref() }
    }

    pub fn header_mut(&mut self) -> &mut Header {
        // SAFETY: as in `header`, and `self` is borrowed exclusively.
        unsafe { self.0.as_mut() }
    }

    /// Bytes of the whole allocation.
    pub fn size(&self) -> usize {
        (self.header().size_and_width & !7) as usize
    }

    pub fn width_log2(&self) -> u32 {
        self.header().size_and_width & 7
    }

    pub fn payload(&self) -> &[u8] {
        // SAFETY: the allocation has `size` bytes, all initialised; the header takes the first ones and its reference
        // does not overlap the payload.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(1).cast::<u8>(), self.size() - HEADER) }
    }

    pub fn payload_mut(&mut self) -> &mut [u8] {
        let len = self.size() - HEADER;
        // SAFETY: as in `payload`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr().add(1).cast::<u8>(), len) }
    }

    pub fn into_raw(self) -> NonNull<u8> {
        let ptr = self.0;
        std::mem::forget(self);
        ptr.cast()
    }

    /// # Safety
    /// `raw` comes from `into_raw`, and ownership is taken once.
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Block {
        Block(raw.cast())
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let layout = Layout::from_size_align(self.size(), ALIGN).expect("the layout it was made with");
        // SAFETY: allocated in `new` with this very layout, and owned.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) }
    }
}
