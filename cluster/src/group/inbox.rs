//! Where batches wait for the group thread. Pushed to under stripe locks, so a push only takes a short lock itself.
//!
//! The order of pushes is the order of [`Seq`] is the order in the log. Whoever pushes several batches says so once,
//! afterwards: the group thread is woken once for them, and writes them as one entry.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::figures::Figures;
use super::ids::Seq;

#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Vec<u8>>,
    /// The last batch that was pushed.
    pushed: Seq,
    /// Some of the batches have been announced.
    is_announced: bool,
    is_stopping: bool,
    /// Something besides batches wants the group thread's attention.
    is_poked: bool,
}

/// What the group thread gets to do.
pub(super) struct Taken {
    pub batches: Vec<Vec<u8>>,
    /// The last batch that was ever taken.
    pub up_to: Seq,
    /// Nothing is left, and nothing more is to come.
    pub is_over: bool,
}

impl Inbox {
    /// The group thread need not notice before [`Inbox::announce`].
    pub(super) fn push(&self, batch: Vec<u8>, figures: &Figures) -> Seq {
        figures.queued.fetch_add(1, Relaxed);
        figures.queued_bytes.fetch_add(batch.len() as u64, Relaxed);
        let mut state = self.state.lock();
        assert!(!state.is_stopping, "a batch was proposed to a group that is stopping");
        state.pushed = state.pushed.next();
        state.batches.push_back(batch);
        state.pushed
    }

    /// All that has been pushed waits for the group thread.
    pub(super) fn announce(&self) {
        let mut state = self.state.lock();
        if !state.batches.is_empty() {
            state.is_announced = true;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Waits until there is something to do, or `patience` is over.
    pub(super) fn take(&self, bytes_max: usize, patience: Option<Duration>, figures: &Figures) -> Taken {
        let mut state = self.state.lock();
        while (!state.is_announced || bytes_max == 0) && !state.is_stopping && !state.is_poked {
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
        let taken = state.take(bytes_max);
        drop(state);
        let bytes: usize = taken.batches.iter().map(Vec::len).sum();
        figures.queued.fetch_sub(taken.batches.len() as u64, Relaxed);
        figures.queued_bytes.fetch_sub(bytes as u64, Relaxed);
        taken
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
    /// As many whole batches as fit, and at least one unless the bound is zero.
    fn take(&mut self, bytes_max: usize) -> Taken {
        let mut bytes = 0;
        let mut fits = |batch: &Vec<u8>| {
            bytes += batch.len();
            bytes <= bytes_max
        };
        let mut count = self.batches.iter().take_while(|batch| fits(batch)).count();
        if count == 0 && bytes_max > 0 {
            count = self.batches.len().min(1);
        }
        let batches: Vec<_> = self.batches.drain(..count).collect();
        self.is_announced &= !self.batches.is_empty();
        let up_to = Seq(self.pushed.0 - self.batches.len() as u64);
        Taken { batches, up_to, is_over: self.is_stopping && self.batches.is_empty() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(sizes: &[usize]) -> (Inbox, Figures) {
        let (inbox, figures) = (Inbox::default(), Figures::default());
        for size in sizes {
            inbox.push(vec![0; *size], &figures);
        }
        inbox.announce();
        (inbox, figures)
    }

    #[test]
    fn a_take_is_bounded_and_in_order() {
        let (inbox, figures) = pushed(&[4, 4, 4, 100, 1]);
        let mut takes = Vec::new();
        for _ in 0..3 {
            let taken = inbox.take(8, None, &figures);
            takes.push((taken.batches.iter().map(Vec::len).collect::<Vec<_>>(), taken.up_to));
        }
        assert_eq!(takes, [(vec![4, 4], Seq(2)), (vec![4], Seq(3)), (vec![100], Seq(4))]);
        assert_eq!(figures.queued.load(Relaxed), 1);
    }

    #[test]
    fn what_is_pushed_after_an_announcement_goes_along_and_needs_none() {
        let (inbox, figures) = pushed(&[4]);
        inbox.push(vec![0; 4], &figures);
        assert_eq!(inbox.take(8, None, &figures).up_to, Seq(2));
        inbox.announce();
        inbox.push(vec![0; 4], &figures);
        let patience = Some(Duration::from_millis(1));
        // Time may be over and the batch be taken, but it has not been announced.
        assert!(!inbox.state.lock().is_announced);
        assert_eq!(inbox.take(8, patience, &figures).up_to, Seq(3));
    }

    #[test]
    fn it_is_over_when_all_is_taken() {
        let (inbox, figures) = pushed(&[4, 4]);
        inbox.stop();
        assert!(!inbox.take(4, None, &figures).is_over);
        assert!(inbox.take(4, None, &figures).is_over);
    }
}
