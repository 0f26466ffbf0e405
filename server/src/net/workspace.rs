//! What the connections of a thread use in turns while they read and answer, so that an idle one holds none of it.
//!
//! Who uses it takes it out, so that nobody can find it borrowed; who comes while it is out gets one of their own, and
//! of two that are put back one stays. It is passed on as one pointer, since this happens several times per wake-up.

use crate::resp::batch::Batch;
use std::cell::Cell;

/// Bytes read at once.
pub const READ_SIZE: usize = 64 * 1024;

thread_local! {
    static WORKSPACE: Cell<Option<Box<Workspace>>> = const { Cell::new(None) };
}

#[derive(Default)]
pub struct Workspace {
    /// What was read last. Has no length before it is needed.
    pub read: Vec<u8>,
    /// The requests that are being answered.
    pub batch: Batch,
}

impl Workspace {
    /// The place to read into.
    #[inline]
    pub fn read_buffer(&mut self) -> &mut [u8] {
        if self.read.is_empty() {
            self.read = vec![0; READ_SIZE];
        }
        &mut self.read
    }
}

/// Takes the thread's workspace. What was read last is still in it.
#[inline]
pub fn take() -> Box<Workspace> {
    WORKSPACE.take().unwrap_or_default()
}

#[inline]
pub fn put_back(workspace: Box<Workspace>) {
    // `LocalKey::set` would prepare for the case that there is no value yet.
    WORKSPACE.with(|place| place.set(Some(workspace)));
}
