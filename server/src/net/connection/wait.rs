//! What a connection waits for: whatever comes first of mail, requests, room for replies, commits and time.

use super::forwarding::{FORWARDED_BACKLOG_MAX, Progress};
use super::{BACKLOG_MAX, Connection, Ended, READ_AHEAD_MAX};
use crate::durability::gate::Passage;
use crate::net::outbound::Terms;
use crate::net::workspace::{self, READ_SIZE};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// What woke the connection.
pub(super) enum Event {
    Mail,
    /// This many bytes are at the start of the thread's read buffer, or at the end of `input` or of `large`.
    Read(usize),
    Writable,
    /// The client has waited long enough for its keys.
    TimedOut,
    PauseOver,
    /// A batch is committed that output, or the next request, has waited for.
    Committed,
    /// Something has come of what other nodes answer.
    Forwarded(Progress),
}

impl Connection {
    pub(super) async fn wait(&mut self) -> Result<Event, Ended> {
        if self.is_paused || self.session.waiting.is_some() {
            return self.wait_held_back().await;
        }
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Waits while the client is blocked or paused, which may end with time.
    async fn wait_held_back(&mut self) -> Result<Event, Ended> {
        let server = self.server.clone();
        let mut pause = pin!(self.is_paused.then(|| server.pause.wait(&server)));
        let until = self.session.waiting.as_ref().and_then(|waiting| waiting.until);
        let mut timer = pin!(until.map(|until| tokio::time::sleep_until(until.into())));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(event) = self.poll(cx) {
                return Poll::Ready(event);
            }
            if let Some(timer) = timer.as_mut().as_pin_mut()
                && poll_timer(timer, cx)
            {
                return Poll::Ready(Ok(Event::TimedOut));
            }
            if let Some(pause) = pause.as_mut().as_pin_mut()
                && pause.poll(cx).is_ready()
            {
                return Poll::Ready(Ok(Event::PauseOver));
            }
            Poll::Pending
        })
        .await
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Ended>> {
        if self.poll_mail(cx) && self.may_take_mail() {
            return Poll::Ready(Ok(Event::Mail));
        }
        if let Some(forwarding) = &mut self.forwarding
            && self.backlog.len() <= FORWARDED_BACKLOG_MAX
            && let Poll::Ready(progress) = forwarding.poll(cx)
        {
            return Poll::Ready(Ok(Event::Forwarded(progress)));
        }
        let next = self.backlog.terms().next().copied();
        let may_be_committed = next.is_some_and(|next| self.poll_committed(next, cx) == Passage::Open);
        if may_be_committed || self.is_congested && self.poll_room(cx) == Passage::Open {
            return Poll::Ready(Ok(Event::Committed));
        }
        if self.backlog.is_ready() {
            if self.turn.is_over(cx) {
                return Poll::Pending;
            }
            if let Poll::Ready(ready) = self.stream.poll_write_ready(cx) {
                return Poll::Ready(ready.map(|()| Event::Writable).map_err(Ended::Io));
            }
        }
        if self.backlog.len() > BACKLOG_MAX || self.session.closing || self.is_at_end || self.input_is_full() {
            return Poll::Pending;
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(0)) if self.waits_for_disk() => {
                self.is_at_end = true;
                Poll::Pending
            }
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Ended::Eof)),
            Poll::Ready(Ok(bytes)) => Poll::Ready(Ok(Event::Read(bytes))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Ended::Io(error))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether there is mail; if not, the task of `cx` is woken when some comes.
    #[inline]
    fn poll_mail(&mut self, cx: &Context<'_>) -> bool {
        // The client's waker is behind a lock, and it is the same nearly every time.
        if self.waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.session.client.put_waker(cx.waker().clone());
        }
        // Looked at after the waker is in place, so that no mail slips by.
        self.session.client.has_mail()
    }

    /// Mail does not come in between the parts of a reply, unless it is the last there is.
    #[inline]
    fn may_take_mail(&self) -> bool {
        self.forwarding.as_ref().is_none_or(|forwarding| !forwarding.is_within_reply())
            || self.session.client.is_closing()
    }

    /// Whether output was committed that this connection holds; if not, its waker is left.
    fn poll_committed(&mut self, next: Terms, cx: &mut Context<'_>) -> Passage {
        if self.server.gate.reign() != self.reign {
            return Passage::Open;
        }
        if next.needs_lease && !self.server.gate.has_leases() {
            self.server.gate.wait_for_room(cx.waker());
            // Looked at again after the waker is in place, so that no renewal slips by.
            if !self.server.gate.has_leases() {
                return Passage::Closed;
            }
        }
        let next = next.depends_on.last;
        if self.awaited == next && !self.server.gate.is_committed(next) {
            return Passage::Closed;
        }
        self.awaited = next;
        self.server.gate.wait(next, cx.waker())
    }

    /// Whether there is room in the log again; if not, the waker is left.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Passage {
        let is_congested = || self.server.is_congested();
        if is_congested() {
            self.server.gate.wait_for_room(cx.waker());
        }
        // Looked at again after the waker is in place, so that no change slips by.
        if is_congested() { Passage::Closed } else { Passage::Open }
    }

    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.is_empty() {
            let mut workspace = workspace::take();
            let polled = self.stream.poll_read(cx, workspace.read_buffer());
            workspace::put_back(workspace);
            return polled;
        }
        if self.turn.is_over(cx) {
            return Poll::Pending;
        }
        if let Some(large) = self.large.as_mut().filter(|large| !large.is_whole()) {
            return large.poll_read(&mut self.stream, cx);
        }
        let missing = self.needed.saturating_sub(self.input.len());
        let spare = self.input.capacity() - self.input.len();
        if spare < missing.clamp(1, READ_SIZE) {
            if missing > READ_AHEAD_MAX {
                self.input.reserve(READ_AHEAD_MAX);
            } else {
                // The end is in sight, so there is no need to make room for more.
                self.input.reserve_exact(missing.max(READ_SIZE));
            }
        }
        self.stream.poll_read_behind(cx, &mut self.input, usize::MAX)
    }
}

fn poll_timer(timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> bool {
    timer.poll(cx).is_ready()
}
