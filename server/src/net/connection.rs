//! One client's connection: reads, has its requests answered, writes; waits for whatever comes first.
//!
//! One wake-up handles all complete requests that have arrived and answers them with one write, which comes behind the
//! reading of all connections that are ready at the same time. Requests are decoded where they were read: in a buffer
//! that all connections of a thread share, so that an idle connection holds none; only what is incomplete is copied
//! into the connection's own. A connection stays on its thread.

mod forwarding;
mod output;
mod query;
mod wait;

use super::large_argument::LargeArgument;
use super::outbound::Outbound;
use super::stream::Stream;
use super::turn::Turn;
use super::workspace;
use crate::blocked::End;
use crate::client::{Client, REPLY_BUFFER_MAX, REPLY_BUFFER_MIN};
use crate::dispatch::{self, Flow};
use crate::durability::losses::Reign;
use crate::error::CommandError;
use crate::forward::admission as forward;
use crate::limits;
use crate::moment::Moment;
use crate::pause::Waiting;
use crate::resp::ReplyBuf;
use crate::resp::batch::{Batch, Stop};
use crate::resp::decode::{Decoded, Decoder, Limits, ProtocolError};
use crate::server::Server;
use crate::session::{Awaited, Session};
use basalt_storage::seq::Seq;
use forwarding::Forwarding;
use output::{Left, others_first};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use wait::Event;

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
    /// Requests that other nodes answer.
    forwarding: Option<Forwarding>,
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
            forwarding: None,
            waker: None,
        }
    }

    /// Serves the client until one side has had enough.
    pub async fn serve(mut self) {
        let ended = loop {
            let event = self.wait().await;
            let stepped = match event.and_then(|event| self.step(event)) {
                Ok(Left::Reply) => {
                    others_first().await;
                    self.write_reply()
                }
                Ok(Left::Nothing) => Ok(()),
                Err(ended) => Err(ended),
            };
            if let Err(ended) = stepped.and_then(|()| self.settle()) {
                break ended;
            }
        };
        tracing::debug!(client = self.session.client.id.0, %ended, "connection closed");
        self.farewell();
    }

    #[inline]
    fn step(&mut self, event: Event) -> Result<Left, Ended> {
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
            Event::Forwarded(progress) => self.on_forwarded(progress)?,
        }
        if self.session.forwards.is_some() {
            self.start_forwarding();
        }
        self.flush()
    }

    /// Ends a step, when what may leave has left.
    #[inline]
    fn settle(&mut self) -> Result<(), Ended> {
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

    /// Whether requests or replies are on their way that only the disk holds up, or another node.
    fn waits_for_disk(&self) -> bool {
        let awaits_answer = self.session.waiting.as_ref().is_some_and(|waiting| waiting.awaited == Awaited::Answer);
        let is_forwarding = self.forwarding.as_ref().is_some_and(|forwarding| !forwarding.waits_for_keys());
        self.backlog.holds() || self.is_loading || self.is_congested || awaits_answer || is_forwarding
    }

    /// Whether the next request must not be answered yet.
    fn must_wait(&self) -> bool {
        self.session.waiting.is_some()
            || self.is_paused
            || self.is_loading
            || self.is_congested
            || self.forwarding.is_some()
    }

    /// A client that waits may send more requests, but not without bound.
    fn input_is_full(&self) -> bool {
        self.must_wait() && self.input.len() > READ_AHEAD_MAX
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
        // Requests behind one that waits wait as well.
        let answered = if self.must_wait() { Ok(0) } else { self.answer(read, &mut workspace.batch) };
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
                if let Some(cluster) = self.server.cluster() {
                    batch.slots().for_each(|slot| cluster.prefetch(slot));
                }
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
                    Flow::Next | Flow::Forwarded => {}
                    Flow::Blocked | Flow::Paused | Flow::Loading | Flow::Congested | Flow::Behind => return Ok(used),
                },
                Stop::Incomplete { needed } => {
                    self.needed = needed;
                    return Ok(used);
                }
                Stop::Broken(_) if self.session.forwards.is_some() => {
                    // It is found broken again when those before it are answered.
                    self.decoder.restart();
                    return Ok(used);
                }
                Stop::Broken(error) => self.refuse(error),
            }
        }
        Ok(used)
    }

    /// Whether requests were given away that others can join.
    fn is_batch_open(&self) -> bool {
        self.session.forwards.as_ref().is_some_and(|batch| !batch.is_full())
    }

    /// Whether the next request may be answered; `used` moves behind the one that was.
    #[inline]
    fn goes_on(&mut self, flow: Flow, used: &mut usize, end: usize) -> Result<bool, Ended> {
        match flow {
            Flow::Next => {
                *used = end;
                if self.out.len() > self.flush_size || self.out.is_excessive() {
                    self.flush_now()?;
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
                self.session.held_since.get_or_insert_with(Moment::now);
                Ok(false)
            }
            Flow::Congested => {
                self.is_congested = true;
                Ok(false)
            }
            Flow::Forwarded => {
                *used = end;
                Ok(self.is_batch_open())
            }
            Flow::Behind => Ok(false),
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
            Err(_) if self.session.forwards.is_some() => {
                self.decoder.restart();
                Ok(Flow::Behind)
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
        if let Some(copy) = mail.copy {
            self.session.routing().reads.take(copy);
        }
        if let Some(loaded) = mail.loaded {
            self.is_loading = false;
            self.session.load_failure = loaded.err();
            self.answer_input()?;
        }
        if mail.keys_have_left
            && let Some(waiting) = self.session.waiting.take()
        {
            forward::follow(&self.server, &mut self.session, waiting);
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
