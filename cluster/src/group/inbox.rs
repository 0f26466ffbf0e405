//! Where batches wait for the group thread. Pushed to under stripe locks, so a push only takes a short lock itself.
//!
//! The order of pushes is the order of [`Seq`] is the order in the log. Batches are put together here as the entries
//! that they will be, so that they are copied once and need no memory of their own. Whoever pushes several batches says
//! so once, afterwards: the group thread is woken once for them, and writes them as one entry.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::entry::Payload;
use super::figures::Figures;
use super::ids::Seq;
use super::options::ENTRY_BYTES_MAX;

/// A batch of this size is copied before the lock is taken, into an entry that begins with it.
const LARGE_BYTES: usize = if cfg!(test) { 64 } else { 64 << 10 };

/// What an entry holds at most, unless it is of one batch.
const BYTES_MAX: usize = if cfg!(test) { 32 } else { ENTRY_BYTES_MAX };

#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// The last batch that was pushed.
    pushed: Seq,
    /// How large the last entry was: the next one may be like it.
    usual_bytes: usize,
    /// Some of the batches have been announced.
    is_announced: bool,
    is_stopping: bool,
    /// Something besides batches wants the group thread's attention.
    is_poked: bool,
}

/// Batches that will be one entry.
struct Waiting {
    batches: Payload,
    count: u64,
    /// The bytes of the batches alone.
    bytes: u64,
    up_to: Seq,
}

/// Whether a further entry may be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Some,
    None,
}

/// What the group thread gets to do.
pub(super) struct Taken {
    /// Batches for one entry, and the last of them.
    pub batches: Option<(Seq, Payload)>,
    /// Nothing is left, and nothing more is to come.
    pub is_over: bool,
}

impl Inbox {
    /// The group thread need not notice before [`Inbox::announce`].
    pub(super) fn push(&self, batch: &[u8], figures: &Figures) -> Seq {
        figures.queued.fetch_add(1, Relaxed);
        figures.queued_bytes.fetch_add(batch.len() as u64, Relaxed);
        let own: Option<Payload> = (batch.len() >= LARGE_BYTES).then(|| std::iter::once(batch).collect());
        let mut state = self.state.lock();
        assert!(!state.is_stopping, "a batch was proposed to a group that is stopping");
        state.pushed = state.pushed.next();
        state.push(batch, own);
        state.pushed
    }

    /// All that has been pushed waits for the group thread.
    pub(super) fn announce(&self) {
        let mut state = self.state.lock();
        if !state.waiting.is_empty() {
            state.is_announced = true;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Waits until there is something to do, or `patience` is over.
    pub(super) fn take(&self, room: Room, patience: Option<Duration>, figures: &Figures) -> Taken {
        let mut state = self.state.lock();
        while (!state.is_announced || room == Room::None) && !state.is_stopping && !state.is_poked {
            match patience {
                None => self.wake.wait(&mut state),
                Some(patience) => {
                    if self.wake.wait_for(&mut state, patience).timed_out() {
                        break;
                    }
                }
            }
        }
        state.is_poked = false;
        let taken = if room == Room::Some { state.waiting.pop_front() } else { None };
        state.is_announced &= !state.waiting.is_empty();
        let is_over = state.is_stopping && state.waiting.is_empty();
        if let Some(taken) = &taken {
            state.usual_bytes = taken.batches.len();
            figures.queued.fetch_sub(taken.count, Relaxed);
            figures.queued_bytes.fetch_sub(taken.bytes, Relaxed);
        }
        Taken { batches: taken.map(|taken| (taken.up_to, taken.batches)), is_over }
    }

    pub(super) fn poke(&self) {
        self.state.lock().is_poked = true;
        self.wake.notify_one();
    }

    pub(super) fn stop(&self) {
        self.state.lock().is_stopping = true;
        self.wake.notify_one();
    }
}

impl State {
    /// `own` is a payload of this batch alone, if there is one.
    fn push(&mut self, batch: &[u8], own: Option<Payload>) {
        let fits = |last: &&mut Waiting| own.is_none() && last.batches.len() + batch.len() <= BYTES_MAX;
        if let Some(last) = self.waiting.back_mut().filter(fits) {
            last.batches.push(batch);
            last.count += 1;
            last.bytes += batch.len() as u64;
            last.up_to = self.pushed;
            return;
        }
        let batches = own.unwrap_or_else(|| {
            let mut batches = Payload::with_capacity(self.usual_bytes.max(batch.len()));
            batches.push(batch);
            batches
        });
        self.waiting.push_back(Waiting { batches, count: 1, bytes: batch.len() as u64, up_to: self.pushed });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(sizes: &[usize]) -> (Inbox, Figures) {
        let (inbox, figures) = (Inbox::default(), Figures::default());
        for size in sizes {
            inbox.push(&vec![0; *size], &figures);
        }
        inbox.announce();
        (inbox, figures)
    }

    fn up_to(taken: &Taken) -> Option<Seq> {
        taken.batches.as_ref().map(|(up_to, _)| *up_to)
    }

    #[test]
    fn a_take_is_bounded_and_in_order() {
        let (inbox, figures) = pushed(&[4, 4, 4, 100, 1, 70, 1]);
        let takes: Vec<_> = (0..4).map(|_| up_to(&inbox.take(Room::Some, None, &figures))).collect();
        assert_eq!(takes, [Some(Seq(3)), Some(Seq(4)), Some(Seq(5)), Some(Seq(6))]);
        assert_eq!((figures.queued.load(Relaxed), figures.queued_bytes.load(Relaxed)), (1, 1));
    }

    #[test]
    fn without_room_nothing_is_taken() {
        let (inbox, figures) = pushed(&[4]);
        inbox.poke();
        assert_eq!(up_to(&inbox.take(Room::None, None, &figures)), None);
        assert_eq!(up_to(&inbox.take(Room::Some, None, &figures)), Some(Seq(1)));
    }

    #[test]
    fn what_is_pushed_after_an_announcement_goes_along_and_needs_none() {
        let (inbox, figures) = pushed(&[4]);
        inbox.push(&[0; 4], &figures);
        assert_eq!(up_to(&inbox.take(Room::Some, None, &figures)), Some(Seq(2)));
        inbox.announce();
        inbox.push(&[0; 4], &figures);
        let patience = Some(Duration::from_millis(1));
        // Time may be over and the batch be taken, but it has not been announced.
        assert!(!inbox.state.lock().is_announced);
        assert_eq!(up_to(&inbox.take(Room::Some, patience, &figures)), Some(Seq(3)));
    }

    #[test]
    fn it_is_over_when_all_is_taken() {
        let (inbox, figures) = pushed(&[20, 20]);
        inbox.stop();
        assert!(!inbox.take(Room::Some, None, &figures).is_over);
        assert!(inbox.take(Room::Some, None, &figures).is_over);
    }
}
