//! One client's connection: reads, has its requests answered, writes; waits for whatever comes first.
//!
//! One wake-up handles all complete requests that have arrived and answers them with one write. Requests are decoded
//! where they were read: in a buffer that all connections of a thread share, so that an idle connection holds none; only
//! what is incomplete is copied into the connection's own. A connection stays on its thread.

use super::stream::Stream;
use crate::blocked::End;
use crate::client::Client;
use crate::dispatch::{self, Flow};
use crate::error::CommandError;
use crate::resp::ReplyBuf;
use crate::resp::batch::{Batch, Stop};
use crate::resp::decode::{Decoded, Decoder, Limits, ProtocolError};
use crate::server::Server;
use crate::session::Session;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::ReadBuf;
use tokio::time::Sleep;

/// Bytes read at once.
const READ_SIZE: usize = 64 * 1024;
/// Input beyond the first read grows by at most this much ahead of what has arrived.
const READ_AHEAD_MAX: usize = 1024 * 1024;
/// A client that does not read its replies is not read from either, once this much waits for it.
const BACKLOG_MAX: usize = 64 * 1024 * 1024;
/// Output of one wake-up is written in pieces of this size, so that a long pipeline does not pile up replies.
const FLUSH_SIZE: usize = 256 * 1024;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
    static BATCH: RefCell<Batch> = RefCell::default();
}

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
}

/// What woke the connection.
enum Event {
    Mail,
    /// This many bytes are at the start of the thread's read buffer, or at the end of `input`.
    Read(usize),
    Writable,
    /// The client has waited long enough for its keys.
    TimedOut,
    PauseOver,
}

pub struct Connection {
    stream: Stream,
    server: Arc<Server>,
    session: Session,
    decoder: Decoder,
    /// What has arrived and is not answered yet.
    input: Vec<u8>,
    /// How much of `input` must be there before decoding makes sense.
    needed: usize,
    out: ReplyBuf,
    /// What could not be written yet, from `written` on.
    backlog: Vec<u8>,
    written: usize,
    is_paused: bool,
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
            needed: 1,
            out: ReplyBuf::default(),
            backlog: Vec::new(),
            written: 0,
            is_paused: false,
        }
    }

    /// Serves the client until one side has had enough.
    pub async fn serve(mut self) {
        let ended = loop {
            match self.step().await {
                Ok(()) => {}
                Err(ended) => break ended,
            }
        };
        tracing::debug!(client = self.session.client.id.0, %ended, "connection closed");
        self.farewell();
    }

    async fn step(&mut self) -> Result<(), Ended> {
        match self.wait().await? {
            Event::Mail => self.on_mail()?,
            Event::Read(bytes) => self.on_read(bytes)?,
            Event::Writable => self.write_backlog()?,
            Event::TimedOut => {
                // Whether it was served just now or times out: the answer comes by mail.
                self.server.blocked.end(&self.server, self.session.client.id, End::Timeout);
            }
            Event::PauseOver => {
                self.is_paused = false;
                self.answer_input()?;
            }
        }
        self.flush()
    }

    async fn wait(&mut self) -> Result<Event, Ended> {
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
        if self.session.client.poll_mail(cx) {
            return Poll::Ready(Ok(Event::Mail));
        }
        if !self.backlog.is_empty()
            && let Poll::Ready(ready) = self.stream.poll_write_ready(cx)
        {
            return Poll::Ready(ready.map(|()| Event::Writable).map_err(Ended::Io));
        }
        if self.backlog_len() > BACKLOG_MAX || self.session.closing || self.input_is_full() {
            return Poll::Pending;
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Ended::Eof)),
            Poll::Ready(Ok(bytes)) => Poll::Ready(Ok(Event::Read(bytes))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Ended::Io(error))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// A client that waits may send more requests, but not without bound.
    fn input_is_full(&self) -> bool {
        (self.session.waiting.is_some() || self.is_paused) && self.input.len() > READ_AHEAD_MAX
    }

    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.is_empty() {
            return READ_BUFFER.with_borrow_mut(|shared| {
                let mut buffer = ReadBuf::new(shared);
                self.stream.poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            });
        }
        let missing = self.needed.saturating_sub(self.input.len());
        self.input.reserve(missing.clamp(READ_SIZE, READ_AHEAD_MAX));
        let mut buffer = ReadBuf::uninit(self.input.spare_capacity_mut());
        let polled = self.stream.poll_read(cx, &mut buffer);
        let bytes = buffer.filled().len();
        // SAFETY: `poll_read` has initialised the first `bytes` bytes behind the vector's end.
        unsafe { self.input.set_len(self.input.len() + bytes) };
        polled.map_ok(|()| bytes)
    }

    #[inline]
    fn on_read(&mut self, bytes: usize) -> Result<(), Ended> {
        let info = &self.session.client.info;
        info.received_bytes.fetch_add(bytes as u64, Relaxed);
        info.last_active_ms.store(self.server.now().0, Relaxed);
        if !self.input.is_empty() {
            return self.answer_input();
        }
        // Nothing awaits between the read and here, so the shared buffer is still ours; it is taken out while commands
        // run, because they may not find it borrowed.
        let shared = READ_BUFFER.take();
        let answered = self.answer(&shared[..bytes]);
        if let Ok(used) = answered {
            self.input.extend_from_slice(&shared[used..bytes]);
        }
        READ_BUFFER.set(shared);
        answered.map(drop)
    }

    fn answer_input(&mut self) -> Result<(), Ended> {
        if self.input.len() < self.needed || self.session.waiting.is_some() || self.is_paused {
            return Ok(());
        }
        let input = std::mem::take(&mut self.input);
        let used = self.answer(&input)?;
        if used < input.len() {
            self.input = input;
            self.input.drain(..used);
        }
        Ok(())
    }

    /// Answers the requests in `input`, as far as they are complete; returns how many bytes they took.
    #[inline]
    fn answer(&mut self, input: &[u8]) -> Result<usize, Ended> {
        let mut batch = BATCH.take();
        let answered = self.answer_in_batches(input, &mut batch);
        BATCH.set(batch);
        answered
    }

    #[inline]
    fn answer_in_batches(&mut self, input: &[u8], batch: &mut Batch) -> Result<usize, Ended> {
        let mut used = 0;
        self.needed = 1;
        self.session.clock = Instant::now();
        while used < input.len() && !self.session.closing {
            let limits = self.server.config.request_limits(&self.session);
            let stop = batch.fill(&mut self.decoder, input, used, limits);
            if batch.len() > 1 {
                self.server.keyspace.prefetch(self.session.db, batch.keys(input));
            }
            for index in 0..batch.len() {
                let flow = match batch.args(index, input) {
                    None => Flow::Next,
                    Some(args) => dispatch::dispatch(&self.server, &mut self.session, args, &mut self.out),
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
                    Flow::Blocked | Flow::Paused => return Ok(used),
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
                if self.out.bytes().len() > FLUSH_SIZE {
                    self.flush()?;
                }
                Ok(!self.session.closing)
            }
            Flow::Blocked => {
                *used = end;
                Ok(false)
            }
            Flow::Paused => {
                self.is_paused = true;
                Ok(false)
            }
        }
    }

    fn answer_inline(&mut self, input: &[u8], used: &mut usize, limits: Limits) -> Result<Flow, Ended> {
        let rest = &input[*used..];
        match self.decoder.decode(rest, limits) {
            Ok(Decoded::Request { bytes }) => {
                let flow = match self.decoder.args(rest) {
                    None => Flow::Next,
                    Some(args) => dispatch::dispatch(&self.server, &mut self.session, args, &mut self.out),
                };
                self.decoder.finish();
                let end = *used + bytes;
                self.goes_on(flow, used, end)?;
                Ok(flow)
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
        self.out.error(&CommandError::owned(error.to_string()));
        self.session.closing = true;
    }

    fn on_mail(&mut self) -> Result<(), Ended> {
        let mail = self.session.client.take_mail();
        self.out.raw(&mail.bytes);
        if let Some(reason) = mail.close {
            return Err(Ended::Ordered(reason));
        }
        if mail.unblocked {
            self.session.waiting = None;
            self.answer_input()?;
        }
        Ok(())
    }

    fn backlog_len(&self) -> usize {
        self.backlog.len() - self.written
    }

    /// Writes what the last wake-up has produced.
    #[inline]
    fn flush(&mut self) -> Result<(), Ended> {
        if !self.out.bytes().is_empty() {
            if self.backlog.is_empty() {
                let written = self.try_write(self.out.bytes())?;
                self.backlog.extend_from_slice(&self.out.bytes()[written..]);
            } else {
                self.backlog.extend_from_slice(self.out.bytes());
            }
            self.out.clear();
        }
        if self.session.closing && self.backlog.is_empty() { Err(Ended::Done) } else { Ok(()) }
    }

    fn write_backlog(&mut self) -> Result<(), Ended> {
        self.written += self.try_write(&self.backlog[self.written..])?;
        if self.written == self.backlog.len() {
            self.backlog = Vec::new();
            self.written = 0;
        }
        Ok(())
    }

    #[inline]
    fn try_write(&self, bytes: &[u8]) -> Result<usize, Ended> {
        let written = match self.stream.try_write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(Ended::Io(error)),
        };
        self.session.client.info.sent_bytes.fetch_add(written as u64, Relaxed);
        Ok(written)
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
        server.clients.forget(id);
    }
}

fn poll_timer(timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> bool {
    timer.poll(cx).is_ready()
}
