//! One client's connection: reads, has its requests answered, writes; waits for whatever comes first.
//!
//! One wake-up handles all complete requests that have arrived and answers them with one write. Requests are decoded
//! where they were read: in a buffer that all connections of a thread share, so that an idle connection holds none;
//! only what is incomplete is copied into the connection's own. A connection stays on its thread.

mod query;

use super::large_argument::LargeArgument;
use super::outbound::{Outbound, Terms};
use super::stream::Stream;
use super::turn::Turn;
use super::workspace::{self, READ_SIZE};
use crate::blocked::End;
use crate::client::{Client, REPLY_BUFFER_MAX, REPLY_BUFFER_MIN};
use crate::dispatch::{self, Flow};
use crate::durability::Durability;
use crate::durability::gate::Passage;
use crate::durability::losses::Reign;
use crate::error::CommandError;
use crate::limits;
use crate::moment::Moment;
use crate::pause::Waiting;
use crate::resp::ReplyBuf;
use crate::resp::batch::{Batch, Stop};
use crate::resp::decode::{Decoded, Decoder, Limits, ProtocolError};
use crate::server::Server;
use crate::session::{Awaited, Session};
use basalt_storage::keyspace::high_water::{self, Span};
use basalt_storage::seq::Seq;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use tokio::time::Sleep;

/// Input beyond the first read grows by at most this much ahead of what has arrived.
const READ_AHEAD_MAX: usize = 1024 * 1024;
/// A client that does not read its replies is not read from either, once this much waits for it.
const BACKLOG_MAX: usize = 64 * 1024 * 1024;
/// Output of one wake-up is written in pieces of this size, so that a long pipeline does not pile up replies.
const FLUSH_SIZE: usize = 256 * 1024;

/// What an active client is said to use of the thread's read buffer: what Redis gives each client.
const READ_SHARE: usize = 20 * 1024;
/// Most that a client may send before it has proved who it is.
const UNAUTHENTICATED_QUERY_MAX: u64 = 1024 * 1024;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the client closed the connection")]
    Eof,
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Ordered(&'static str),
    #[error("the server closed the connection")]
    Done,
    #[error("its output is beyond client-output-buffer-limit")]
    OutputLimit,
    #[error("its request is beyond client-query-buffer-limit")]
    QueryLimit,
    #[error("it waits for a write of which nobody knows whether it has happened")]
    UnknownFate,
}

/// What woke the connection.
enum Event {
    Mail,
    /// This many bytes are at the start of the thread's read buffer, or at the end of `input` or of `large`.
    Read(usize),
    Writable,
    /// The client has waited long enough for its keys.
    TimedOut,
    PauseOver,
    /// A batch is committed that output, or the next request, has waited for.
    Committed,
}

pub struct Connection {
    stream: Stream,
    server: Arc<Server>,
    session: Session,
    decoder: Decoder,
    /// What has arrived and is not answered yet.
    input: Vec<u8>,
    /// The argument that comes behind `input`, if it is large.
    large: Option<LargeArgument>,
    /// The size of the buffer that the last request needed for itself: shown until the next read, so that CLIENT LIST
    /// tells who sends much.
    freed: usize,
    /// How much of `input` must be there before decoding makes sense.
    needed: usize,
    /// Output beyond this is written before the next request is answered.
    flush_size: usize,
    out: ReplyBuf,
    /// What could not be written yet, or waits for a commit.
    backlog: Outbound,
    turn: Turn,
    /// The commit that this connection has left its waker for.
    awaited: Seq,
    /// What was evaluated since then has met no loss.
    reign: Reign,
    /// There was no room in the log for what the next request may write.
    is_congested: bool,
    /// The next request waits for mail: its keys are being read from disk, or the cluster has to answer.
    is_loading: bool,
    /// The client sends nothing more. What it has sent is answered before the connection ends.
    is_at_end: bool,
    is_paused: bool,
    /// What the client's mail wakes.
    waker: Option<Waker>,
}

impl Connection {
    pub fn new(stream: Stream, server: Arc<Server>, client: Arc<Client>) -> Connection {
        let is_authenticated = !server.config.needs_password();
        Connection {
            stream,
            session: Session::new(client, is_authenticated),
            server,
            decoder: Decoder::default(),
            input: Vec::new(),
            large: None,
            freed: 0,
            needed: 1,
            flush_size: FLUSH_SIZE,
            out: ReplyBuf::default(),
            backlog: Outbound::default(),
            turn: Turn::default(),
            awaited: Seq::NONE,
            reign: Reign::default(),
            is_congested: false,
            is_loading: false,
            is_at_end: false,
            is_paused: false,
            waker: None,
        }
    }

    /// Serves the client until one side has had enough.
    pub async fn serve(mut self) {
        let ended = loop {
            let event = self.wait().await;
            if let Err(ended) = event.and_then(|event| self.step(event)) {
                break ended;
            }
        };
        tracing::debug!(client = self.session.client.id.0, %ended, "connection closed");
        self.farewell();
    }

    #[inline]
    fn step(&mut self, event: Event) -> Result<(), Ended> {
        self.look_for_losses()?;
        match event {
            Event::Mail => self.on_mail()?,
            Event::Read(bytes) => self.on_read(bytes)?,
            Event::Writable => {
                self.write_backlog()?;
                // Requests may have been left because there was too much output.
                self.answer_input()?;
            }
            Event::TimedOut => {
                // Whether it was served just now or times out: the answer comes by mail.
                self.server.blocked.end(&self.server, self.session.client.id, End::Timeout);
                if let Some(waiting) = &mut self.session.waiting {
                    waiting.until = None;
                }
            }
            Event::Committed => {
                self.let_out()?;
                self.is_congested = false;
                self.answer_input()?;
            }
            Event::PauseOver => {
                self.note_pause(Waiting::Ends);
                self.answer_input()?;
            }
        }
        self.flush()?;
        if self.is_at_end && !self.waits_for_disk() {
            return Err(Ended::Eof);
        }
        self.report_memory();
        Ok(())
    }

    /// Reports what the client uses, if that is limited. The buffer for replies, which is empty now, is then kept no
    /// larger than it is said to be.
    #[inline]
    fn report_memory(&mut self) {
        if self.server.config.hot.maxmemory_clients.load(Relaxed) != 0 {
            self.out.shrink_to(REPLY_BUFFER_MAX);
            limits::report_memory(&self.server, &self.session.client);
        }
    }

    fn note_pause(&mut self, change: Waiting) {
        self.is_paused = change == Waiting::Begins;
        self.session.client.info.is_blocked.store(self.is_paused, Relaxed);
        self.server.pause.note_waiting(change);
    }

    async fn wait(&mut self) -> Result<Event, Ended> {
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
        if self.poll_mail(cx) {
            return Poll::Ready(Ok(Event::Mail));
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
        let is_congested = || self.server.durability().is_some_and(Durability::is_congested);
        if is_congested() {
            self.server.gate.wait_for_room(cx.waker());
        }
        // Looked at again after the waker is in place, so that no change slips by.
        if is_congested() { Passage::Closed } else { Passage::Open }
    }

    /// Whether requests or replies are on their way that only the disk holds up.
    fn waits_for_disk(&self) -> bool {
        let awaits_answer = self.session.waiting.as_ref().is_some_and(|waiting| waiting.awaited == Awaited::Answer);
        self.backlog.holds() || self.is_loading || self.is_congested || awaits_answer
    }

    /// Whether the next request must not be answered yet.
    fn must_wait(&self) -> bool {
        self.session.waiting.is_some() || self.is_paused || self.is_loading || self.is_congested
    }

    /// A client that waits may send more requests, but not without bound.
    fn input_is_full(&self) -> bool {
        self.must_wait() && self.input.len() > READ_AHEAD_MAX
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

    #[inline]
    fn on_read(&mut self, bytes: usize) -> Result<(), Ended> {
        let info = &self.session.client.info;
        info.received_bytes.fetch_add(bytes as u64, Relaxed);
        self.server.stats.note_read(self.session.client.thread, bytes);
        info.last_active_ms.store(self.server.now().0, Relaxed);
        if !self.input.is_empty() {
            self.turn.note(bytes);
            self.check_query()?;
            self.complete_large();
            let answered = self.answer_input();
            self.publish_query();
            return answered;
        }
        info.query_bytes.store(bytes, Relaxed);
        // Of the share that it has of the thread's buffer: what it costs must not depend on how much of that is in use.
        info.query_free_bytes.store(READ_SHARE.saturating_sub(bytes), Relaxed);
        // Nothing awaits between the read and here, so what was read is still in the workspace.
        let mut workspace = workspace::take();
        let read = &workspace.read[..bytes];
        let answered = self.answer(read, &mut workspace.batch);
        if let Ok(used) = answered
            && used < bytes
        {
            self.input.extend_from_slice(&read[used..]);
            self.set_large_apart();
        }
        workspace::put_back(workspace);
        self.publish_query();
        answered.map(drop)
    }

    fn answer_input(&mut self) -> Result<(), Ended> {
        if self.input.len() < self.needed || self.must_wait() || self.backlog.len() > BACKLOG_MAX {
            return Ok(());
        }
        let input = std::mem::take(&mut self.input);
        let mut workspace = workspace::take();
        let answered = self.answer(&input, &mut workspace.batch);
        workspace::put_back(workspace);
        let used = answered?;
        let apart = self.bytes_apart();
        if used > 0 {
            self.let_go_apart();
        }
        if used < input.len() {
            self.input = input;
            self.input.drain(..used);
            self.set_large_apart();
        } else {
            self.freed = input.capacity() + apart;
        }
        Ok(())
    }

    /// Answers the requests in `input`, as far as they are complete; returns how many bytes they took.
    #[inline]
    fn answer(&mut self, input: &[u8], batch: &mut Batch) -> Result<usize, Ended> {
        let mut used = 0;
        self.needed = 1;
        self.session.clock = Moment::now();
        let output_max = self.server.client_limits.output_max(self.session.client.kind());
        self.out.limit(output_max);
        self.flush_size = FLUSH_SIZE.min(output_max);
        while used < input.len() && !self.session.closing {
            if used > 0 {
                self.let_go_apart();
            }
            let limits = self.server.config.request_limits(&self.session);
            let stop = batch.fill(&mut self.decoder, input, used, limits);
            if batch.len() > 1 {
                batch.prefetch(&self.server.keyspace, self.session.db, input);
            }
            for index in 0..batch.len() {
                self.take_mail()?;
                let flow = match batch.args(index, input) {
                    None => Flow::Next,
                    Some(args) => {
                        let args = args.with_apart(self.decoder.apart());
                        dispatch::dispatch(&self.server, &mut self.session, args, &mut self.out)
                    }
                };
                if !self.goes_on(flow, &mut used, batch.end(index))? {
                    // What was decoded ahead is decoded again when its turn comes.
                    self.decoder.restart();
                    return Ok(used);
                }
            }
            match stop {
                Stop::Full => {}
                Stop::Inline => match self.answer_inline(input, &mut used, limits)? {
                    Flow::Next => {}
                    Flow::Blocked | Flow::Paused | Flow::Loading | Flow::Congested => return Ok(used),
                },
                Stop::Incomplete { needed } => {
                    self.needed = needed;
                    return Ok(used);
                }
                Stop::Broken(error) => self.refuse(error),
            }
        }
        Ok(used)
    }

    /// Whether the next request may be answered; `used` moves behind the one that was.
    #[inline]
    fn goes_on(&mut self, flow: Flow, used: &mut usize, end: usize) -> Result<bool, Ended> {
        match flow {
            Flow::Next => {
                *used = end;
                if self.out.len() > self.flush_size || self.out.is_excessive() {
                    self.flush()?;
                    self.report_memory();
                }
                Ok(!self.session.closing && self.backlog.len() <= BACKLOG_MAX)
            }
            Flow::Blocked => {
                *used = end;
                Ok(false)
            }
            Flow::Paused => {
                self.note_pause(Waiting::Begins);
                Ok(false)
            }
            Flow::Loading => {
                self.is_loading = true;
                Ok(false)
            }
            Flow::Congested => {
                self.is_congested = true;
                Ok(false)
            }
        }
    }

    fn answer_inline(&mut self, input: &[u8], used: &mut usize, limits: Limits) -> Result<Flow, Ended> {
        let rest = &input[*used..];
        match self.decoder.decode(rest, limits) {
            Ok(Decoded::Request { bytes }) => {
                self.take_mail()?;
                let flow = match self.decoder.args(rest) {
                    None => Flow::Next,
                    Some(args) => dispatch::dispatch(&self.server, &mut self.session, args, &mut self.out),
                };
                self.decoder.finish();
                let end = *used + bytes;
                let goes_on = self.goes_on(flow, used, end)?;
                Ok(if goes_on { flow } else { Flow::Blocked })
            }
            Ok(Decoded::Incomplete { needed }) => {
                self.needed = needed;
                // Nothing blocks the client, but nothing more can be answered either.
                Ok(Flow::Blocked)
            }
            Err(error) => {
                self.refuse(error);
                Ok(Flow::Next)
            }
        }
    }

    fn refuse(&mut self, error: ProtocolError) {
        tracing::debug!(client = self.session.client.id.0, %error, "protocol error");
        self.out.error(&CommandError::of_bytes(error.reply()));
        self.session.closing = true;
    }

    /// What others sent before a request is answered comes before its reply.
    #[inline]
    fn take_mail(&mut self) -> Result<(), Ended> {
        if self.session.client.has_mail() { self.on_mail() } else { Ok(()) }
    }

    fn on_mail(&mut self) -> Result<(), Ended> {
        let mail = self.session.client.take_mail();
        if !mail.large.is_empty() {
            self.out.add(mail.large);
        }
        self.out.raw(&mail.bytes);
        if !mail.left_channels.is_empty() {
            self.session.leave_channels(&mail.left_channels, &mut self.out);
        }
        if let Some(reason) = mail.close {
            return Err(Ended::Ordered(reason));
        }
        if mail.trim {
            self.trim();
        }
        if let Some(loaded) = mail.loaded {
            self.is_loading = false;
            self.session.load_failure = loaded.err();
            self.answer_input()?;
        }
        if let Some(result) = mail.unblocked {
            dispatch::end_wait(&self.server, &mut self.session, &result);
            self.answer_input()?;
        }
        Ok(())
    }

    /// Gives back what an idle connection does not need.
    fn trim(&mut self) {
        let info = &self.session.client.info;
        self.out.shrink_to(REPLY_BUFFER_MIN);
        if self.server.switches.reply_buffer_resizing.load(Relaxed) {
            info.reply_buffer_bytes.store(REPLY_BUFFER_MIN, Relaxed);
        }
        info.reply_peak_bytes.store(0, Relaxed);
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        info.query_free_bytes.store(self.input.capacity() - self.input.len(), Relaxed);
    }

    #[inline]
    fn publish_output(&self) {
        let info = &self.session.client.info;
        info.output_bytes.store(self.backlog.len(), Relaxed);
        info.output_spare_bytes.store(self.backlog.spare(), Relaxed);
    }

    /// Writes what the last wake-up has produced.
    #[inline]
    fn flush(&mut self) -> Result<(), Ended> {
        if self.out.is_excessive() {
            return Err(Ended::OutputLimit);
        }
        if !self.out.is_empty() {
            self.check_output()?;
            let depends_on = high_water::take_span();
            let gate = &self.server.gate;
            let (committed, needs_lease) = (gate.committed(), !gate.has_leases());
            // Looked at last: what is lost is said before it counts as committed, and before no lease is asked for.
            if gate.reign() != self.reign {
                // What was evaluated on both sides of a loss may be anything.
                return Err(Ended::UnknownFate);
            }
            if self.backlog.holds() || needs_lease || depends_on.last > committed {
                let first = depends_on.first.max(Seq(committed.0 + 1));
                let depends_on = Span { first, ..depends_on };
                self.backlog.hold(&mut self.out, Terms { depends_on, needs_lease });
            } else if !self.backlog.is_empty() {
                self.backlog.add(&mut self.out);
            } else if let Some(bytes) = self.out.in_one_piece() {
                let written = self.try_write(bytes)?;
                if written < bytes.len() {
                    self.backlog.add(&mut self.out);
                    self.backlog.note_written(written);
                }
            } else {
                self.backlog.add(&mut self.out);
                self.write()?;
            }
            self.publish_output();
            self.out.clear();
        }
        if self.session.closing && self.backlog.is_empty() { Err(Ended::Done) } else { Ok(()) }
    }

    /// Ends the connection if output that it holds must not leave any more. Called before anything is evaluated and
    /// before anything is let out.
    #[inline]
    fn look_for_losses(&mut self) -> Result<(), Ended> {
        let reign = self.server.gate.reign();
        if reign == self.reign {
            return Ok(());
        }
        self.reign = reign;
        // Its waker is gone with the loss.
        self.awaited = Seq::NONE;
        let is_lost = |terms: &Terms| terms.needs_lease || self.server.gate.is_lost(terms.depends_on);
        if self.backlog.terms().any(is_lost) { Err(Ended::UnknownFate) } else { Ok(()) }
    }

    /// Writes the output that is committed by now.
    fn let_out(&mut self) -> Result<(), Ended> {
        let was_ready = self.backlog.is_ready();
        let gate = &self.server.gate;
        let (committed, has_leases) = (gate.committed(), gate.has_leases());
        // Looked at last, as in `flush`.
        self.look_for_losses()?;
        self.backlog.release(|terms| terms.depends_on.last <= committed && (!terms.needs_lease || has_leases));
        // If there was something to write before, the client has no room for it.
        if !was_ready {
            self.write()?;
        }
        self.publish_output();
        Ok(())
    }

    /// Checks the output limits before anything is written, as what is beyond them must not be seen.
    #[inline]
    fn check_output(&self) -> Result<(), Ended> {
        let (client, new) = (&self.session.client, self.out.len());
        let info = &client.info;
        // A figure that has no other use than to be shown, so it may lag behind a little.
        if new > info.reply_peak_bytes.load(Relaxed) {
            info.reply_peak_bytes.store(new, Relaxed);
            if self.server.switches.reply_buffer_resizing.load(Relaxed) {
                info.reply_buffer_bytes.store(new.clamp(REPLY_BUFFER_MIN, REPLY_BUFFER_MAX), Relaxed);
            }
        }
        let total = new + self.backlog.len();
        if total <= REPLY_BUFFER_MAX {
            return Ok(());
        }
        let limits = &self.server.client_limits;
        if limits.is_output_excessive(client, total, self.server.now().0) { Err(Ended::OutputLimit) } else { Ok(()) }
    }

    fn write_backlog(&mut self) -> Result<(), Ended> {
        self.write()?;
        self.publish_output();
        Ok(())
    }

    /// Writes of the backlog what may leave.
    fn write(&mut self) -> Result<(), Ended> {
        let keyspace = &self.server.keyspace;
        let written = self.backlog.write(&self.stream, |bytes| keyspace.reaper().let_go(bytes))?;
        self.turn.note(written);
        self.note_sent(written);
        Ok(())
    }

    #[inline]
    fn try_write(&self, bytes: &[u8]) -> Result<usize, Ended> {
        let written = match self.stream.try_write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(Ended::Io(error)),
        };
        self.note_sent(written);
        Ok(written)
    }

    #[inline]
    fn note_sent(&self, bytes: usize) {
        self.session.client.info.sent_bytes.fetch_add(bytes as u64, Relaxed);
        self.server.stats.note_write(self.session.client.thread, bytes);
    }

    /// Leaves nothing of the client behind.
    fn farewell(&mut self) {
        let (server, id) = (&*self.server, self.session.client.id);
        if self.session.waiting.is_some() {
            server.blocked.end(server, id, End::Disconnect);
        }
        self.session.transaction.watches.clear(server);
        self.session.unsubscribe_all(server);
        if self.session.is_monitor {
            server.monitors.remove(id);
        }
        if self.is_paused {
            server.pause.note_waiting(Waiting::Ends);
        }
        server.clients.forget(id);
        let reaper = server.keyspace.reaper();
        self.backlog.clear(|bytes| reaper.let_go(bytes));
        self.decoder.take_apart().into_iter().for_each(|bytes| reaper.let_go(bytes));
        self.input = Vec::new();
        self.large = None;
        self.out = ReplyBuf::default();
        limits::forget_memory(server, &self.session.client);
    }
}

fn poll_timer(timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> bool {
    timer.poll(cx).is_ready()
}
