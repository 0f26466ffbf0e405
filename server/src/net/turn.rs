//! Turns: a connection that moves very many bytes lets the others of its thread come in between.

use std::future::Future;
use std::pin::pin;
use std::task::Context;

/// Bytes that a connection reads or writes before the others have their turn.
pub const TURN_BYTES: usize = 256 << 10;

/// What a connection has read and written since others had their turn.
#[derive(Default)]
pub struct Turn {
    moved: usize,
}

impl Turn {
    pub fn note(&mut self, bytes: usize) {
        self.moved += bytes;
    }

    /// Whether it is the others' turn. If so, the task of `cx` is woken when they have had it.
    pub fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.moved < TURN_BYTES {
            return false;
        }
        self.moved = 0;
        // Waking the task itself would do it before the thread looks at its sockets; what this leaves behind does not.
        let is_over_at_once = pin!(tokio::task::yield_now()).poll(cx).is_ready();
        !is_over_at_once
    }
}
