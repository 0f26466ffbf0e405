//! Where batches wait for the group thread. Pushed to under stripe locks, so a push only takes a short lock itself.
//!
//! The order of pushes is the order of [`Seq`] is the order in the log. Batches are put together here as the entries
//! that they will be, so that they are copied once and need no memory of their own. A large one is not even written out
//! before the group thread takes it, because those who push hold locks. Whoever pushes several batches says
//! so once, afterwards: the group thread is woken once for them, and writes them as one entry.
//!
//! Those who were just answered will soon ask again. If the next write began with the first of them, most would miss it
//! and wait for two; so the group thread waits for as many batches as there are clients, as far as one can see, but
//! not for long ([`Inbox::expect`]).

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::entry::Payload;
use super::figures::Figures;
use super::ids::{Seq, SeqCounter};
use super::options::ENTRY_BYTES_MAX;

/// A batch of this size is copied before the lock is taken, into an entry that begins with it.
const LARGE_BYTES: usize = if cfg!(test) { 64 } else { 64 << 10 };

/// What an entry holds at most, unless it is of one batch.
const BYTES_MAX: usize = if cfg!(test) { 32 } else { ENTRY_BYTES_MAX };

#[derive(Default)]
pub(super) struct Inbox {
    seqs: SeqCounter,
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
    /// For how many it is worth while to wait.
    gathering: Option<Gathering>,
    is_stopping: bool,
    /// Something besides batches wants the group thread's attention.
    is_poked: bool,
}

#[derive(Clone, Copy)]
struct Gathering {
    expected: u64,
    /// Before this all are waited for.
    soon: Instant,
    /// Then half of them, the others being on their way while these are written.
    until: Instant,
}

/// The group has been told to stop, or has failed: it drops the batch. Its number is never committed, so whoever waits
/// for that is not answered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLate(pub Seq);

/// Writes a batch out.
pub type WriteBatch = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

enum Contents {
    Written(Payload),
    /// A batch that is written when its turn has come.
    Unwritten(WriteBatch),
}

/// Batches that will be one entry.
struct Waiting {
    batches: Contents,
    count: u64,
    /// The bytes of the batches alone, as far as they are known.
    bytes: u64,
    first: Seq,
    up_to: Seq,
}

impl Waiting {
    /// They wait no longer.
    fn leave(&self, figures: &Figures) {
        figures.queued.fetch_sub(self.count, Relaxed);
        figures.queued_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// Whether a further entry may be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Some,
    None,
}

/// What the group thread gets to do.
pub(super) struct Taken {
    pub batches: Option<Batches>,
    /// There was no room for all that waits.
    pub has_more: bool,
    /// Nothing is left, and nothing more is to come.
    pub is_over: bool,
}

/// Batches for one entry. Between the first and the last of them there may be numbers that other groups have.
pub(super) struct Batches {
    pub first: Seq,
    pub up_to: Seq,
    pub count: u64,
    pub payload: Payload,
}

impl Inbox {
    pub(super) fn new(seqs: SeqCounter) -> Inbox {
        Inbox { seqs, ..Inbox::default() }
    }

    /// The group thread need not notice before [`Inbox::announce`].
    pub(super) fn push(&self, batch: &[u8], figures: &Figures) -> Result<Seq, TooLate> {
        let own: Option<Payload> = (batch.len() >= LARGE_BYTES).then(|| std::iter::once(batch).collect());
        let mut state = self.state.lock();
        let seq = self.number(&mut state, batch.len(), figures)?;
        state.push(batch, own);
        Ok(seq)
    }

    /// Like [`Inbox::push`] for a large batch: of about so many bytes, and an entry of its own.
    pub(super) fn push_unwritten(&self, about: usize, write: WriteBatch, figures: &Figures) -> Result<Seq, TooLate> {
        let mut state = self.state.lock();
        let seq = self.number(&mut state, about, figures)?;
        let batches = Contents::Unwritten(write);
        state.waiting.push_back(Waiting { batches, count: 1, bytes: about as u64, first: seq, up_to: seq });
        Ok(seq)
    }

    /// The number of a batch that is about to be pushed. Under the lock, so that the numbers of this group ascend.
    fn number(&self, state: &mut State, bytes: usize, figures: &Figures) -> Result<Seq, TooLate> {
        state.pushed = self.seqs.next();
        if state.is_stopping {
            return Err(TooLate(state.pushed));
        }
        figures.queued.fetch_add(1, Relaxed);
        figures.queued_bytes.fetch_add(bytes as u64, Relaxed);
        Ok(state.pushed)
    }

    /// All that has been pushed waits for the group thread.
    pub(super) fn announce(&self) {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            return;
        }
        state.is_announced = true;
        // While it gathers, the group thread wakes up by itself.
        let is_awaited = state.patience(Instant::now()).is_none();
        drop(state);
        if is_awaited {
            self.wake.notify_one();
        }
    }

    /// So many batches are about to be answered. Their clients may come back with as many: all that are on their way
    /// are worth waiting for during the first time, and half of them during the second.
    pub(super) fn expect(&self, answered: u64, all: Duration, half: Duration) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let expected = answered + state.count();
        state.gathering = Some(Gathering { expected, soon: now + all, until: now + half });
    }

    /// Waits until there is something to do, or `patience` is over.
    pub(super) fn take(&self, room: Room, patience: Option<Duration>, figures: &Figures) -> Taken {
        let mut state = self.state.lock();
        let over = patience.map(|patience| Instant::now() + patience);
        while !state.is_stopping && !state.is_poked {
            let gathered = if state.gathering.is_some() { state.patience(Instant::now()) } else { None };
            if gathered.is_none() && state.is_announced && room == Room::Some {
                break;
            }
            match gathered.into_iter().chain(over).min() {
                None => self.wake.wait(&mut state),
                Some(until) => {
                    let is_timeout = self.wake.wait_until(&mut state, until).timed_out();
                    if is_timeout && over.is_some_and(|over| until >= over) {
                        break;
                    }
                }
            }
        }
        state.is_poked = false;
        state.gathering = None;
        let taken = if room == Room::Some { state.waiting.pop_front() } else { None };
        state.is_announced &= !state.waiting.is_empty();
        let is_over = state.is_stopping && state.waiting.is_empty();
        if let Some(taken) = &taken {
            if let Contents::Written(batches) = &taken.batches {
                state.usual_bytes = batches.len();
            }
            taken.leave(figures);
        }
        let has_more = !state.waiting.is_empty();
        drop(state);
        let batches = taken.map(|Waiting { first, up_to, count, bytes, batches }| {
            let payload = match batches {
                Contents::Written(payload) => payload,
                Contents::Unwritten(write) => {
                    let mut payload = Payload::default();
                    payload.push_with(bytes as usize, write);
                    payload
                }
            };
            Batches { first, up_to, count, payload }
        });
        Taken { batches, has_more, is_over }
    }

    /// Takes all that waits, from the first to the last, to throw it away.
    pub(super) fn give_up(&self, figures: &Figures) -> Option<(Seq, Seq)> {
        let waiting = {
            let mut state = self.state.lock();
            (state.is_announced, state.gathering) = (false, None);
            std::mem::take(&mut state.waiting)
        };
        waiting.iter().for_each(|waiting| waiting.leave(figures));
        Some((waiting.front()?.first, waiting.back()?.up_to))
    }

    /// The last batch that was pushed. Whoever has seen a number that was given to this group before sees it here.
    pub(super) fn pushed(&self) -> Seq {
        self.state.lock().pushed
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
    fn count(&self) -> u64 {
        self.waiting.iter().map(|waiting| waiting.count).sum()
    }

    /// Until when the batches that are here have to wait for others.
    fn patience(&self, now: Instant) -> Option<Instant> {
        let Gathering { expected, soon, until } = self.gathering?;
        let count = if self.waiting.len() < 2 { self.count() } else { expected };
        if now < soon {
            return (count < expected).then_some(soon);
        }
        (now < until && count < expected / 2).then_some(until)
    }

    /// `own` is a payload of this batch alone, if there is one.
    fn push(&mut self, batch: &[u8], own: Option<Payload>) {
        if let Some(last) = self.waiting.back_mut()
            && let Contents::Written(batches) = &mut last.batches
            && own.is_none()
            && batches.len() + batch.len() <= BYTES_MAX
        {
            batches.push(batch);
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
        self.waiting.push_back(Waiting {
            batches: Contents::Written(batches),
            count: 1,
            bytes: batch.len() as u64,
            first: self.pushed,
            up_to: self.pushed,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(sizes: &[usize]) -> (Inbox, Figures) {
        let (inbox, figures) = (Inbox::default(), Figures::default());
        for size in sizes {
            inbox.push(&vec![0; *size], &figures).unwrap();
        }
        inbox.announce();
        (inbox, figures)
    }

    fn up_to(taken: &Taken) -> Option<Seq> {
        taken.batches.as_ref().map(|batches| batches.up_to)
    }

    #[test]
    fn a_take_is_bounded_and_in_order() {
        let (inbox, figures) = pushed(&[4, 4, 4, 100, 1, 70, 1]);
        let takes: Vec<_> = (0..4).map(|_| up_to(&inbox.take(Room::Some, None, &figures))).collect();
        assert_eq!(takes, [Some(Seq(3)), Some(Seq(4)), Some(Seq(5)), Some(Seq(6))]);
        assert_eq!((figures.queued.load(Relaxed), figures.queued_bytes.load(Relaxed)), (1, 1));
    }

    #[test]
    fn what_is_written_late_keeps_its_place() {
        let (inbox, figures) = pushed(&[4]);
        inbox.push_unwritten(9, Box::new(|bytes| bytes.extend_from_slice(b"late")), &figures).unwrap();
        inbox.push(b"last", &figures).unwrap();
        inbox.announce();
        assert_eq!(figures.queued_bytes.load(Relaxed), 17);
        let taken: Vec<_> = (0..3).filter_map(|_| inbox.take(Room::Some, None, &figures).batches).collect();
        let payloads = taken.iter().map(|batches| (batches.first, batches.up_to, batches.payload.clone()));
        let payload = |batch: &[u8]| std::iter::once(batch).collect::<Payload>();
        let expected = [(1, &[0; 4][..]), (2, b"late"), (3, b"last")];
        let expected = expected.map(|(seq, batch)| (Seq(seq), Seq(seq), payload(batch)));
        assert!(payloads.eq(expected));
        assert_eq!((figures.queued.load(Relaxed), figures.queued_bytes.load(Relaxed)), (0, 0));
    }

    #[test]
    fn what_is_given_up_does_not_come_with_what_is_pushed_later() {
        let (inbox, figures) = pushed(&[4, 4, 100]);
        assert_eq!(inbox.give_up(&figures), Some((Seq(1), Seq(3))));
        assert_eq!((figures.queued.load(Relaxed), figures.queued_bytes.load(Relaxed)), (0, 0));
        assert_eq!(inbox.give_up(&figures), None);
        inbox.push(&[0; 4], &figures).unwrap();
        inbox.announce();
        let batches = inbox.take(Room::Some, None, &figures).batches.expect("one was announced");
        assert_eq!((batches.first, batches.up_to), (Seq(4), Seq(4)));
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
        inbox.push(&[0; 4], &figures).unwrap();
        assert_eq!(up_to(&inbox.take(Room::Some, None, &figures)), Some(Seq(2)));
        inbox.announce();
        inbox.push(&[0; 4], &figures).unwrap();
        let patience = Some(Duration::from_millis(1));
        // Time may be over and the batch be taken, but it has not been announced.
        assert!(!inbox.state.lock().is_announced);
        assert_eq!(up_to(&inbox.take(Room::Some, patience, &figures)), Some(Seq(3)));
    }

    #[test]
    fn those_who_were_answered_are_waited_for() {
        let (inbox, figures) = pushed(&[1]);
        let (none, long) = (Duration::ZERO, Duration::from_secs(1000));
        inbox.expect(2, long, long);
        let patience = || inbox.state.lock().patience(Instant::now());
        assert!(patience().is_some());
        inbox.push(&[0], &figures).unwrap();
        assert!(patience().is_some());
        inbox.push(&[0], &figures).unwrap();
        assert!(patience().is_none(), "all have come");
        assert_eq!(up_to(&inbox.take(Room::Some, None, &figures)), Some(Seq(3)));
        inbox.push(&[0], &figures).unwrap();
        inbox.announce();
        inbox.expect(2, none, none);
        assert!(patience().is_none(), "it has taken too long");
        inbox.expect(1, none, long);
        assert!(patience().is_none(), "half of them are here");
        inbox.expect(3, none, long);
        assert!(patience().is_some());
        inbox.expect(2, Duration::from_micros(1), none);
        assert_eq!(up_to(&inbox.take(Room::Some, None, &figures)), Some(Seq(4)));
        inbox.push(&[0; 100], &figures).unwrap();
        inbox.push(&[0; 100], &figures).unwrap();
        inbox.expect(9, long, long);
        assert!(patience().is_none(), "an entry is full");
    }

    #[test]
    fn it_is_over_when_all_is_taken() {
        let (inbox, figures) = pushed(&[20, 20]);
        inbox.stop();
        assert_eq!(inbox.push(&[0], &figures), Err(TooLate(Seq(3))));
        assert_eq!(inbox.push_unwritten(1, Box::new(|_| ()), &figures), Err(TooLate(Seq(4))));
        assert_eq!(inbox.pushed(), Seq(4), "those who wait for all of them wait for ever");
        assert!(!inbox.take(Room::Some, None, &figures).is_over);
        assert!(inbox.take(Room::Some, None, &figures).is_over);
    }
}
