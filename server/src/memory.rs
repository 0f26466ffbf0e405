//! The global allocator, counting: what `used_memory` says and `maxmemory` limits.
//!
//! Every thread counts in a cell of its own, so that counting costs no shared cache line; whoever asks adds the cells
//! up. What is counted is what the allocator really hands out, that is size classes, not what was asked for.

use basalt_storage::size_class;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use tikv_jemalloc_sys as jemalloc;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Threads that have a cell of their own; any more share the last one.
const CELLS: usize = 128;

/// On a cache line of its own.
#[repr(align(128))]
struct CountCell(AtomicI64);

static COUNTS: [CountCell; CELLS] = [const { CountCell(AtomicI64::new(0)) }; CELLS];
static THREADS: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

const UNASSIGNED: usize = usize::MAX;

thread_local! {
    static CELL: Cell<usize> = const { Cell::new(UNASSIGNED) };
}

/// Bytes allocated at this moment.
pub fn used() -> u64 {
    let threads = THREADS.load(Relaxed).min(CELLS);
    COUNTS[..threads].iter().map(|cell| cell.0.load(Relaxed)).sum::<i64>().max(0) as u64
}

/// The most that [`used`] was when [`note_peak`] looked.
pub fn peak() -> u64 {
    PEAK.load(Relaxed).max(used())
}

/// What the allocator itself says about its memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocator {
    /// In blocks that are in use.
    pub allocated: u64,
    /// In pages with such blocks.
    pub active: u64,
    /// In pages that the system has given.
    pub resident: u64,
}

/// Asks the allocator; its figures are as of this moment.
pub fn allocator() -> Allocator {
    refresh();
    let read = |name: &CStr| control(name).unwrap_or(0);
    Allocator { allocated: read(c"stats.allocated"), active: read(c"stats.active"), resident: read(c"stats.resident") }
}

/// A size that the allocator tells under this name; none if there is no size of this name.
pub fn control(name: &CStr) -> Option<u64> {
    let (mut value, mut length) = (0usize, size_of::<usize>());
    // SAFETY: `value` has room for `length` bytes, and jemalloc refuses names whose values have another length.
    let failed =
        unsafe { jemalloc::mallctl(name.as_ptr(), (&raw mut value).cast(), &mut length, std::ptr::null_mut(), 0) };
    (failed == 0).then_some(value as u64)
}

/// The allocator's figures stand still until its epoch moves.
fn refresh() {
    let mut epoch = 1u64;
    // SAFETY: the epoch is written, nothing is read back.
    unsafe {
        jemalloc::mallctl(
            c"epoch".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw mut epoch).cast(),
            size_of::<u64>(),
        );
    }
}

/// Gives back what the allocator keeps ready for this thread.
pub fn flush_thread_cache() {
    // SAFETY: the command takes and answers nothing.
    unsafe {
        jemalloc::mallctl(
            c"thread.tcache.flush".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            0,
        );
    }
}

/// Gives unused pages of all arenas back to the system.
pub fn purge() {
    // MALLCTL_ARENAS_ALL of jemalloc's interface.
    const PURGE_ALL: &CStr = c"arena.4096.purge";
    // SAFETY: the command takes and answers nothing.
    unsafe {
        jemalloc::mallctl(PURGE_ALL.as_ptr(), std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut(), 0);
    }
}

/// The allocator's own report.
pub fn allocator_text() -> Vec<u8> {
    unsafe extern "C" fn append(text: *mut c_void, piece: *const c_char) {
        // SAFETY: jemalloc hands back the pointer given below, and a string that ends with a zero byte.
        let (text, piece) = unsafe { (&mut *text.cast::<Vec<u8>>(), CStr::from_ptr(piece)) };
        text.extend_from_slice(piece.to_bytes());
    }
    // Reserved beforehand, so that the report is not disturbed by growing in the middle of it.
    let mut text = Vec::with_capacity(64 * 1024);
    // SAFETY: `text` outlives the call, which calls `append` on this thread only.
    unsafe { jemalloc::malloc_stats_print(Some(append), (&raw mut text).cast(), std::ptr::null()) };
    text
}

static AT_START: AtomicU64 = AtomicU64::new(0);

/// Remembers what is used before the first client comes.
pub fn note_start() {
    AT_START.store(used(), Relaxed);
}

/// What was used before the first client came.
pub fn at_start() -> u64 {
    AT_START.load(Relaxed)
}

pub fn note_peak() {
    PEAK.fetch_max(used(), Relaxed);
}

pub fn reset_peak() {
    PEAK.store(used(), Relaxed);
}

struct Counting;

#[inline]
fn count(bytes: i64) {
    let cell = CELL.try_with(|cell| {
        if cell.get() == UNASSIGNED {
            cell.set(THREADS.fetch_add(1, Relaxed).min(CELLS - 1));
        }
        cell.get()
    });
    match cell {
        // Only this thread writes the cell, so no atomic addition is needed.
        Ok(index) if index < CELLS - 1 => {
            let count = &COUNTS[index].0;
            count.store(count.load(Relaxed).wrapping_add(bytes), Relaxed);
        }
        _ => drop(COUNTS[CELLS - 1].0.fetch_add(bytes, Relaxed)),
    }
}

#[inline]
fn block_size(layout: Layout) -> i64 {
    size_class::round_up(layout.size()) as i64
}

/// What every block of jemalloc is aligned to, as `.cargo/config.toml` has it built.
const QUANTUM: usize = 8;

#[inline]
fn flags(layout: Layout) -> c_int {
    if layout.align() <= QUANTUM { 0 } else { jemalloc::MALLOCX_ALIGN(layout.align()) }
}

// SAFETY: each method passes the block and its layout on to jemalloc's function for exactly that purpose. Sizes are not
// zero, by the trait's contract. Counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(block_size(layout));
        // SAFETY: see the impl.
        unsafe { jemalloc::mallocx(layout.size(), flags(layout)).cast() }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(block_size(layout));
        // SAFETY: see the impl.
        unsafe { jemalloc::mallocx(layout.size(), flags(layout) | jemalloc::MALLOCX_ZERO).cast() }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-block_size(layout));
        // SAFETY: see the impl.
        unsafe { jemalloc::sdallocx(pointer.cast(), layout.size(), flags(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(size_class::round_up(new_size) as i64 - block_size(layout));
        // SAFETY: see the impl.
        unsafe { jemalloc::rallocx(pointer.cast(), new_size, flags(layout)).cast() }
    }
}
