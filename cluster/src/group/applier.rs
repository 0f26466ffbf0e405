//! The apply thread: gives committed entries to the state machine, many in one call.
//!
//! Nobody waits for the state machine as long as nobody says so ([`ApplyQueue::hurry`]), and the more it is given at
//! once the less it has to do: what one entry writes and a later one overwrites is written once. So entries gather here
//! until they are many or old.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::entry::CommittedEntry;
use super::ids::Seq;
use super::options::{APPLY_BYTES_MAX, APPLY_GATHER_BYTES, APPLY_QUEUE_BYTES_MAX};
use super::shared::{Fatal, Shared};

/// What an entry takes besides its payload, so that entries without one are bounded too.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Whoever has just been read from is soon read from again, and should then be as new as can be.
const EAGER_TIME: Duration = Duration::from_secs(1);

/// Committed entries on their way. The group thread pushes, the apply thread takes.
pub(super) struct ApplyQueue {
    /// How long entries may gather.
    delay_max: Duration,
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    entries: VecDeque<CommittedEntry>,
    bytes: usize,
    /// When the first of the entries came.
    since: Option<Instant>,
    /// The last batch that was taken, and the last that somebody waits for.
    taken: Seq,
    wanted: Seq,
    /// All that is here is wanted.
    is_hurried: bool,
    /// Until then all that comes is wanted.
    eager_until: Option<Instant>,
    is_closed: bool,
}

/// Whether entries gather before they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    None,
    /// All there is, as soon as there is any.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ripe {
    Now,
    At(Instant),
}

impl ApplyQueue {
    pub(super) fn new(delay_max: Duration) -> ApplyQueue {
        ApplyQueue { delay_max, state: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() }
    }

    /// Waits while there is no room: then nothing further is committed. Callers of `is_congested` keep it from that.
    pub(super) fn push(&self, entries: Vec<CommittedEntry>) {
        let mut state = self.state.lock();
        while state.bytes >= APPLY_QUEUE_BYTES_MAX && !state.is_closed {
            self.emptied.wait(&mut state);
        }
        let before = state.bytes;
        state.bytes += entries.iter().map(bytes_of).sum::<usize>();
        state.entries.extend(entries);
        let is_first = state.since.is_none();
        state.since.get_or_insert_with(Instant::now);
        // Otherwise the apply thread knows when to look.
        let is_news = is_first || state.wanted > state.taken || before < APPLY_GATHER_BYTES && state.is_plenty();
        drop(state);
        if is_news {
            self.filled.notify_one();
        }
    }

    /// Somebody waits until this batch is applied.
    pub(super) fn hurry(&self, wanted: Seq) {
        let mut state = self.state.lock();
        if wanted > state.wanted {
            state.wanted = wanted;
            drop(state);
            self.filled.notify_one();
        }
    }

    /// The group thread waits for all there is: an apply thread that waits for more looks again.
    pub(super) fn hurry_all(&self) {
        self.state.lock().is_hurried = true;
        self.filled.notify_one();
    }

    /// Somebody reads from the state machine of a replica that does not lead: for a while nothing gathers.
    pub(super) fn be_eager(&self) {
        let mut state = self.state.lock();
        state.eager_until = Some(Instant::now() + EAGER_TIME);
        if state.since.is_some() {
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Nothing more will come, or is wanted.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.filled.notify_one();
        self.emptied.notify_one();
    }

    /// Waits for entries, for as many as it makes sense to wait for; none if there will never be any.
    fn take(&self, haste: Haste) -> Vec<CommittedEntry> {
        let mut state = self.state.lock();
        while !state.is_closed {
            match state.ripe_at(haste, self.delay_max) {
                None => self.filled.wait(&mut state),
                Some(Ripe::Now) => break,
                Some(Ripe::At(time)) => {
                    if self.filled.wait_until(&mut state, time).timed_out() {
                        break;
                    }
                }
            }
        }
        let entries = state.take();
        drop(state);
        self.emptied.notify_one();
        entries
    }
}

impl State {
    /// When to take the entries; none if there are none.
    fn ripe_at(&self, haste: Haste, delay_max: Duration) -> Option<Ripe> {
        let since = self.since?;
        let is_eager = || self.eager_until.is_some_and(|until| Instant::now() < until);
        let is_wanted = haste == Haste::All || self.is_hurried || self.wanted > self.taken || is_eager();
        Some(if is_wanted || self.is_plenty() { Ripe::Now } else { Ripe::At(since + delay_max) })
    }

    fn is_plenty(&self) -> bool {
        self.bytes >= APPLY_GATHER_BYTES
    }

    /// As many whole entries as fit, and at least one if there is one.
    fn take(&mut self) -> Vec<CommittedEntry> {
        let mut bytes = 0;
        let mut fits = |entry: &CommittedEntry| {
            bytes += bytes_of(entry);
            bytes <= APPLY_BYTES_MAX
        };
        let fitting = self.entries.iter().take_while(|entry| fits(entry)).count();
        let count = fitting.max(1).min(self.entries.len());
        let entries: Vec<_> = self.entries.drain(..count).collect();
        self.bytes -= entries.iter().map(bytes_of).sum::<usize>();
        self.taken = entries.iter().rev().find_map(|entry| entry.seq).unwrap_or(self.taken);
        if self.entries.is_empty() {
            self.since = None;
            self.is_hurried = false;
        }
        entries
    }
}

pub(super) fn bytes_of(entry: &CommittedEntry) -> usize {
    entry.payload_bytes() + ENTRY_OVERHEAD_BYTES
}

/// The body of the apply thread. Ends when the queue is closed and empty.
pub(super) fn run(shared: &Shared) -> Result<(), Fatal> {
    loop {
        // Before a replica serves, everybody waits for everything.
        let haste = if shared.progress.awaits_applied() { Haste::All } else { Haste::None };
        let entries = shared.apply_queue.take(haste);
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
        shared.note_applied(last, up_to);
        if let Some(up_to) = up_to {
            shared.observer.applied(up_to);
        }
        // Otherwise the group thread looks when it has something else to do.
        if shared.progress.awaits_applied() {
            shared.inbox.poke();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::ids::LogIndex;
    use crate::group::options::APPLY_DELAY_MAX;
    use bytes::Bytes;

    fn entry(index: u64) -> CommittedEntry {
        let mut entry = CommittedEntry::new(LogIndex(index), Bytes::new()).unwrap();
        entry.seq = Some(Seq(index));
        entry
    }

    fn ripe(queue: &ApplyQueue) -> Option<Ripe> {
        queue.state.lock().ripe_at(Haste::None, APPLY_DELAY_MAX)
    }

    #[test]
    fn entries_gather_until_somebody_waits_for_one_of_them() {
        let queue = ApplyQueue::new(APPLY_DELAY_MAX);
        assert_eq!(ripe(&queue), None);
        queue.push(vec![entry(1)]);
        let Some(Ripe::At(until)) = ripe(&queue) else { panic!("nobody waits") };
        queue.push(vec![entry(2), entry(3)]);
        assert_eq!(ripe(&queue), Some(Ripe::At(until)), "later entries do not make it later");
        queue.hurry(Seq(3));
        assert_eq!(ripe(&queue), Some(Ripe::Now));
        assert_eq!(queue.take(Haste::None).len(), 3);
        queue.push(vec![entry(4)]);
        assert!(matches!(ripe(&queue), Some(Ripe::At(_))), "what was waited for is done");
        queue.hurry(Seq(5));
        assert_eq!(queue.take(Haste::None).len(), 1);
        queue.push(vec![entry(5)]);
        assert_eq!(ripe(&queue), Some(Ripe::Now), "what is waited for has come");
    }

    #[test]
    fn nothing_gathers_while_somebody_reads() {
        let queue = ApplyQueue::new(APPLY_DELAY_MAX);
        queue.push(vec![entry(1)]);
        assert!(matches!(ripe(&queue), Some(Ripe::At(_))));
        queue.be_eager();
        assert_eq!(ripe(&queue), Some(Ripe::Now));
        assert_eq!(queue.take(Haste::None).len(), 1);
        queue.push(vec![entry(2)]);
        assert_eq!(ripe(&queue), Some(Ripe::Now));
        queue.state.lock().eager_until = Some(Instant::now());
        assert!(matches!(ripe(&queue), Some(Ripe::At(_))), "nobody has read for a while");
    }

    #[test]
    fn what_is_old_or_much_is_taken_without_being_wanted() {
        let queue = ApplyQueue::new(APPLY_DELAY_MAX);
        queue.push(vec![entry(1), entry(2)]);
        assert_eq!(queue.take(Haste::None).len(), 2);
        let count = APPLY_GATHER_BYTES / ENTRY_OVERHEAD_BYTES;
        queue.push((0..count as u64).map(entry).collect());
        assert_eq!(ripe(&queue), Some(Ripe::Now));
        queue.close();
        assert_eq!((queue.take(Haste::None).len(), queue.take(Haste::None).len()), (count, 0));
    }
}
