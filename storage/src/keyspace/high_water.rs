//! What a thread's evaluations depend on: the highest batch that they proposed or whose outcome they have seen.
//!
//! A reply may leave only when this batch is committed. Commands are evaluated on the thread of their connection and
//! never across an `await`, so one mark per thread is enough: views raise it when they close, and the connection takes
//! it with the output that it goes with. A mark that nobody has taken is raised further, which at worst holds an output
//! that could have gone.
//!
//! The lowest batch is kept as well: should one of the batches in between be lost, so is whatever depends on it.

use crate::seq::Seq;
use std::cell::Cell;

thread_local! {
    static HIGH_WATER: Cell<Seq> = const { Cell::new(Seq::NONE) };
    /// Meaningless while the other one is none.
    static LOW_WATER: Cell<Seq> = const { Cell::new(Seq::NONE) };
}

/// The batches that an output depends on lie between these two; none at all if the last one is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: Seq,
    pub last: Seq,
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

/// Takes the mark with its lower end.
#[inline]
pub fn take_span() -> Span {
    let last = take();
    Span { first: LOW_WATER.get().min(last), last }
}

/// What is evaluated on this thread depends on this batch.
#[inline]
pub fn raise(seq: Seq) {
    let high = HIGH_WATER.get();
    if high == Seq::NONE || seq != Seq::NONE && seq < LOW_WATER.get() {
        LOW_WATER.set(seq);
    }
    if seq > high {
        HIGH_WATER.set(seq);
    }
}
