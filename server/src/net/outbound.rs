//! What waits to be written to a client: until the client reads, or until a commit.

use super::stream::Stream;
use super::turn::TURN_BYTES;
use crate::moment::Moment;
use crate::resp::{Output, ReplyBuf};
use basalt_storage::keyspace::high_water::Span;
use basalt_storage::shared::SharedBytes;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// Pieces written with one system call.
const SLICES_MAX: usize = 16;

#[derive(Default)]
pub struct Outbound {
    /// In the order in which it leaves. The end of it is held.
    output: Output,
    held: VecDeque<Held>,
    held_bytes: usize,
}

/// When output may leave.
#[derive(Clone, Copy)]
pub struct Terms {
    /// When these batches are committed. They begin behind what was committed when it was held back.
    pub depends_on: Span,
    /// It was read when it was not certain that this node still led.
    pub needs_lease: bool,
}

/// So many bytes wait for this.
struct Held {
    terms: Terms,
    bytes: usize,
    since: Moment,
}

impl Outbound {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.output.is_empty()
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.output.len()
    }

    /// Memory beyond what the output itself takes.
    #[inline]
    pub fn spare(&self) -> usize {
        self.output.spare()
    }

    /// Whether there is something that depends on nothing but the client.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.output.len() > self.held_bytes
    }

    /// Whether some of it depends on more than the client.
    #[inline]
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What has to come true before more may leave, in order.
    #[inline]
    pub fn terms(&self) -> impl Iterator<Item = &Terms> {
        self.held.iter().map(|held| &held.terms)
    }

    /// Adds what was written to `out`. Nothing may be held.
    pub fn add(&mut self, out: &mut ReplyBuf) {
        assert!(self.held.is_empty(), "output leaves in its order");
        out.move_to(&mut self.output);
    }

    /// Adds what was written to `out`, and keeps it until the terms are met, and those of what was kept before it.
    pub fn hold(&mut self, out: &mut ReplyBuf, terms: Terms, now: Moment) {
        let bytes = out.len();
        self.held_bytes += bytes;
        match self.held.back_mut() {
            Some(Held { terms: last, bytes: held, .. }) if terms.depends_on.last <= last.depends_on.last => {
                *held += bytes;
                last.needs_lease |= terms.needs_lease;
                last.depends_on.first = last.depends_on.first.min(terms.depends_on.first);
            }
            _ => self.held.push_back(Held { terms, bytes, since: now }),
        }
        out.move_to(&mut self.output);
    }

    /// Holds no longer what may leave by now; returns since when the first of it was held.
    pub fn release(&mut self, are_met: impl Fn(&Terms) -> bool) -> Option<Moment> {
        let mut first = None;
        while let Some(held) = self.held.front().filter(|held| are_met(&held.terms)) {
            self.held_bytes -= held.bytes;
            first.get_or_insert(held.since);
            self.held.pop_front();
        }
        first
    }

    /// Writes what is ready, as much as one turn allows; returns how many bytes the client has taken.
    pub fn write(&mut self, stream: &Stream, let_go: impl FnMut(SharedBytes)) -> io::Result<usize> {
        let most = (self.output.len() - self.held_bytes).min(TURN_BYTES);
        if most == 0 {
            return Ok(0);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = self.output.slices(most, &mut slices);
        let written = match stream.try_write_slices(&slices[..count]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            result => result?,
        };
        self.output.advance(written, let_go);
        Ok(written)
    }

    /// Takes what was written already off the front.
    pub fn note_written(&mut self, bytes: usize) {
        self.output.advance(bytes, drop);
    }

    /// Gives up all that waits.
    pub fn clear(&mut self, let_go: impl FnMut(SharedBytes)) {
        self.output.advance(self.output.len(), let_go);
        self.held = VecDeque::new();
        self.held_bytes = 0;
    }
}
