//! What a thread's evaluations depend on: the highest batch that they proposed or whose outcome they have seen.
//!
//! A reply may leave only when this batch is committed. Commands are evaluated on the thread of their connection and
//! never across an `await`, so one mark per thread is enough: views raise it when they close, and the connection takes
//! it with the output that it goes with. A mark that nobody has taken is raised further, which at worst holds an output
//! that could have gone.

use crate::seq::Seq;
use std::cell::Cell;

thread_local! {
    static HIGH_WATER: Cell<Seq> = const { Cell::new(Seq::NONE) };
}

/// What evaluations on this thread depend on since the mark was taken last.
#[inline]
pub fn current() -> Seq {
    HIGH_WATER.get()
}

/// Takes the mark, for the output that depends on it.
#[inline]
pub fn take() -> Seq {
    HIGH_WATER.replace(Seq::NONE)
}

#[inline]
pub(super) fn raise(seq: Seq) {
    if seq > HIGH_WATER.get() {
        HIGH_WATER.set(seq);
    }
}
