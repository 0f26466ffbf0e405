//! What clients do, and to which keys.
//!
//! | file | has |
//! |---|---|
//! | `kind` | which commands, by kind of value |
//! | `board` | which groups of keys are in use |
//! | `client` | the thread of one client |

mod board;
mod client;
mod kind;

pub use board::{Board, tag_of};
pub use client::Client;
pub use kind::Kind;
