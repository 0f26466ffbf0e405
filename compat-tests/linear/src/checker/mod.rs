//! Decides whether a history is linearizable: whether every operation can be given a moment between its request and
//! its answer, so that one after the other they would have answered what they did.
//!
//! | file | has |
//! |---|---|
//! | `search` | the search for an order (Wing and Gong, with Lowe's memory of what was tried) |
//! | `timeline` | requests and answers in the order of time, from which operations are taken out and put back |
//! | `evidence` | the smallest part of a history that has no order, for people |
//!
//! Every group of keys is checked for itself: a history is linearizable if and only if that of each object is.

#[cfg(test)]
mod brute;
mod evidence;
mod search;
#[cfg(test)]
mod tests;
mod timeline;

pub use evidence::Evidence;
pub use search::{Deepest, Limits, Verdict, check};
