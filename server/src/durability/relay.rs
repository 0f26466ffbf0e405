//! Between the connections of one network thread and the group thread: one wake-up for many, in both directions.
//!
//! To wake a task of another thread's runtime costs a system call, and a commit may be what a hundred connections wait
//! for. So each network thread has one task, the relay, that is woken for all of them, and wakes those that are due
//! from within the thread, where it only means a place in a queue. The other way, connections that propose batches wake
//! the relay, which then has its turn behind all connections that are ready, and announces their batches together.
//!
//! Invariant: whoever finds that it has to wait leaves its waker under the lock under which it looked, and whoever
//! ends the wait looks at the wakers afterwards, so none is left behind.

use super::gate::Passage;
use basalt_storage::seq::{Seq, SeqMark};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// The wakers of one network thread.
#[derive(Default)]
pub(super) struct Relay {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the batch that they wait for.
    held: VecDeque<(Seq, Waker)>,
    /// Clients whose next write waits until less is on its way.
    congested: Vec<Waker>,
    /// Something on its way has arrived since the task ran.
    has_room: bool,
    /// Batches were proposed since the task ran.
    has_news: bool,
    task: Option<Waker>,
}

thread_local! {
    static OWN: RefCell<Option<Arc<Relay>>> = const { RefCell::new(None) };
}

/// The relay of the calling network thread.
pub(super) fn own<R>(f: impl FnOnce(&Relay) -> R) -> R {
    OWN.with_borrow(|relay| f(relay.as_ref().expect("connections live on network threads")))
}

/// Has what the calling network thread proposes announced when its connections have had their turn. False on other
/// threads.
pub(super) fn announce_soon() -> bool {
    OWN.with_borrow(|relay| relay.as_ref().map(|relay| relay.note_news()).is_some())
}

/// Makes this the relay of the calling thread.
pub(super) fn adopt(relay: Arc<Relay>) {
    OWN.set(Some(relay));
}

impl Relay {
    /// Leaves a waker that is woken when `seq` is committed, unless it is already.
    pub(super) fn wait(&self, seq: Seq, committed: &SeqMark, waker: &Waker) -> Passage {
        let mut state = self.state.lock();
        if seq <= committed.load() {
            return Passage::Open;
        }
        insert_in_order(&mut state.held, seq, waker.clone());
        Passage::Closed
    }

    pub(super) fn wait_for_room(&self, waker: &Waker) {
        self.state.lock().congested.push(waker.clone());
    }

    /// Batches up to `seq` have been committed.
    pub(super) fn note_committed(&self, seq: Seq) {
        let mut state = self.state.lock();
        let is_due = state.held.front().is_some_and(|(awaited, _)| *awaited <= seq);
        state.has_room |= !state.congested.is_empty();
        let task = if is_due || state.has_room { state.task.take() } else { None };
        drop(state);
        task.into_iter().for_each(Waker::wake);
    }

    /// Everybody looks again.
    pub(super) fn wake_all(&self) {
        let mut state = self.state.lock();
        let woken: Vec<Waker> = state.held.drain(..).map(|(_, waker)| waker).collect();
        state.congested.extend(woken);
        state.has_room = true;
        let task = state.task.take();
        drop(state);
        task.into_iter().for_each(Waker::wake);
    }

    /// Something on its way has arrived.
    pub(super) fn note_room(&self) {
        self.note_committed(Seq::NONE);
    }

    fn note_news(&self) {
        let mut state = self.state.lock();
        state.has_news = true;
        let task = state.task.take();
        drop(state);
        task.into_iter().for_each(Waker::wake);
    }

    /// The task: never ends.
    pub(super) async fn run(&self, committed: &SeqMark, announce: impl Fn()) {
        let mut due: Vec<Waker> = Vec::new();
        poll_fn(|cx| {
            let mut state = self.state.lock();
            state.task = Some(cx.waker().clone());
            let committed = committed.load();
            while state.held.front().is_some_and(|(awaited, _)| *awaited <= committed) {
                due.extend(state.held.pop_front().map(|(_, waker)| waker));
            }
            if std::mem::take(&mut state.has_room) {
                due.append(&mut state.congested);
            }
            let has_news = std::mem::take(&mut state.has_news);
            drop(state);
            if has_news {
                announce();
            }
            due.drain(..).for_each(Waker::wake);
            Poll::Pending
        })
        .await
    }
}

/// Most arrive in order, so the place is looked for from the end.
pub(super) fn insert_in_order<T>(queue: &mut VecDeque<(Seq, T)>, seq: Seq, item: T) {
    let behind = queue.iter().rev().take_while(|(other, _)| *other > seq).count();
    queue.insert(queue.len() - behind, (seq, item));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::{Context, Wake};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn one_waking_of_the_task_wakes_all_who_are_due() {
        let (relay, committed) = (Relay::default(), SeqMark::default());
        let (task, client, late) = (Arc::<Count>::default(), Arc::<Count>::default(), Arc::<Count>::default());
        let count = |of: &Arc<Count>| of.0.load(Relaxed);
        let announced = AtomicUsize::new(0);
        let mut run = pin!(relay.run(&committed, || {
            announced.fetch_add(1, Relaxed);
        }));
        let mut poll = || assert!(run.as_mut().poll(&mut Context::from_waker(&task.clone().into())).is_pending());
        poll();
        for seq in [3, 1, 2] {
            assert_eq!(relay.wait(Seq(seq), &committed, &client.clone().into()), Passage::Closed);
        }
        assert_eq!(relay.wait(Seq(4), &committed, &late.clone().into()), Passage::Closed);
        for seq in [1, 2, 3] {
            committed.advance(Seq(seq));
            relay.note_committed(Seq(seq));
        }
        assert_eq!((count(&task), count(&client)), (1, 0));
        poll();
        assert_eq!((count(&task), count(&client), count(&late)), (1, 3, 0));
        assert_eq!(relay.wait(Seq(3), &committed, &client.clone().into()), Passage::Open);
        relay.note_room();
        assert_eq!(count(&task), 1, "nobody waits for room");
        relay.wait_for_room(&late.clone().into());
        relay.note_room();
        poll();
        assert_eq!((count(&task), count(&late)), (2, 1));
        (0..2).for_each(|_| relay.note_news());
        assert_eq!((count(&task), announced.load(Relaxed)), (3, 0));
        poll();
        assert_eq!(announced.load(Relaxed), 1);
    }
}
