//! The apply thread: gives committed entries to the state machine, several in one call.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::entry::CommittedEntry;
use super::options::{APPLY_BYTES_MAX, APPLY_QUEUE_BYTES_MAX};
use super::progress::Serves;
use super::shared::{Fatal, Shared};

/// What an entry takes besides its payload, so that entries without one are bounded too.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Committed entries on their way. The group thread pushes, the apply thread takes.
#[derive(Default)]
pub(super) struct ApplyQueue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    entries: VecDeque<CommittedEntry>,
    bytes: usize,
    is_closed: bool,
}

impl ApplyQueue {
    /// Waits while there is no room: then nothing further is committed. Callers of `is_congested` keep it from that.
    pub(super) fn push(&self, entries: Vec<CommittedEntry>) {
        let mut state = self.state.lock();
        while state.bytes >= APPLY_QUEUE_BYTES_MAX && !state.is_closed {
            self.emptied.wait(&mut state);
        }
        state.bytes += entries.iter().map(bytes_of).sum::<usize>();
        state.entries.extend(entries);
        drop(state);
        self.filled.notify_one();
    }

    /// Nothing more will come, or is wanted.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.filled.notify_one();
        self.emptied.notify_one();
    }

    /// Waits for entries; none if there will never be any.
    fn take(&self) -> Vec<CommittedEntry> {
        let mut state = self.state.lock();
        while state.entries.is_empty() && !state.is_closed {
            self.filled.wait(&mut state);
        }
        let mut bytes = 0;
        let mut fits = |entry: &CommittedEntry| {
            bytes += bytes_of(entry);
            bytes <= APPLY_BYTES_MAX
        };
        let fitting = state.entries.iter().take_while(|entry| fits(entry)).count();
        let count = fitting.max(1).min(state.entries.len());
        let entries: Vec<_> = state.entries.drain(..count).collect();
        state.bytes -= entries.iter().map(bytes_of).sum::<usize>();
        drop(state);
        self.emptied.notify_one();
        entries
    }
}

pub(super) fn bytes_of(entry: &CommittedEntry) -> usize {
    entry.payload_bytes() + ENTRY_OVERHEAD_BYTES
}

/// The body of the apply thread. Ends when the queue is closed and empty.
pub(super) fn run(shared: &Shared) -> Result<(), Fatal> {
    loop {
        let entries = shared.apply_queue.take();
        let Some(last) = entries.last().map(|entry| entry.index) else { return Ok(()) };
        let up_to = entries.iter().rev().find_map(|entry| entry.seq);
        let (count, bytes) = (entries.len() as u64, entries.iter().map(bytes_of).sum::<usize>() as u64);
        let began = Instant::now();
        shared
            .machine
            .apply(entries)
            .map_err(|error| Fatal(format!("committed entries up to {last} could not be applied: {error}")))?;
        let figures = &shared.figures;
        figures.applies.record(began.elapsed());
        figures.applied_entries.fetch_add(count, Relaxed);
        figures.unapplied.fetch_sub(count, Relaxed);
        figures.unapplied_bytes.fetch_sub(bytes, Relaxed);
        shared.progress.note_applied(last, up_to);
        if let Some(up_to) = up_to {
            shared.observer.applied(up_to);
        }
        // Afterwards the group thread looks when it has something else to do.
        if shared.progress.serves() == Serves::NotYet {
            shared.inbox.poke();
        }
    }
}
