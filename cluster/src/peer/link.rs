//! A link: one lane to one node, with what waits for it. Made when there is something to say, and made again after it
//! broke, but not at once.
//!
//! ```text
//!             offer                      hello                      nothing to say
//!  Resting ──────────► Connecting ──────────────► Connected ─────────────────────► Resting
//!     ▲  a call: Delayed ──┘  │                       │
//!     └──── until then ◄──────┴─── failed or broke ◄──┘   everything that waits fails
//! ```
//!
//! Invariants: in every phase but `Resting` exactly one task runs the link, and what is offered goes to the outbox;
//! in `Resting` the outbox is empty, but for a chunk of a stream that ended at that moment, which the other side
//! throws away. Both are changed under the lock of the phase, so nothing waits for a task that is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use basalt_storage::clock::UnixMs;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{timeout, timeout_at};

use super::backoff::Backoff;
use super::call::{CallError, Calls, PendingCall, result_of, shown};
use super::connection::{Closed, Introduced, write_all};
use super::handler::LinkChange;
use super::handshake::introduce;
use super::limits::{WRITE_BYTES, queue_bytes_max};
use super::outbox::{Flow, Full, Outbox};
use super::shared::{Shared, Situation};
use super::status::{Direction, LinkState, LinkStatus, NodeStatus, Traffic};
use super::stream::{BulkSender, OutgoingStreams, StreamError};
use super::wire::hello::{LANES, Lane};
use super::wire::packet::Packet;
use crate::ids::NodeId;

/// A node as this one talks to it.
pub(super) struct Peer {
    links: [Arc<Link>; LANES.len()],
}

pub(super) struct Link {
    node: NodeId,
    lane: Lane,
    outbox: Arc<Outbox>,
    calls: Calls,
    streams: Arc<OutgoingStreams>,
    state: Mutex<State>,
    forgotten: Notify,
    /// There is no reason to leave the node alone any longer.
    encouraged: Notify,
    dropped: AtomicU64,
}

struct State {
    phase: Phase,
    backoff: Backoff,
    /// Why the last attempt failed, if nothing has succeeded since. Said in the log when it changes.
    failure: Option<String>,
    created: UnixMs,
    traffic: Option<Arc<Traffic>>,
    pings: Pings,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// After a failure the node is left alone until then.
    Resting {
        until: Option<Instant>,
    },
    /// A task waits until then, because a call does.
    Delayed {
        until: Instant,
    },
    Connecting,
    Connected,
}

/// Pings of one connection, or of the one before it.
#[derive(Clone, Copy, Default)]
struct Pings {
    number: u64,
    /// That of the ping that has no answer yet.
    sent: Option<(Instant, UnixMs)>,
    answered: Option<UnixMs>,
    round_trip: Option<Duration>,
}

/// Why something was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    #[error("too much waits for the node")]
    Full,
    #[error("the node cannot be reached at the moment")]
    Unreachable,
    #[error("the message is too long")]
    TooLong,
    #[error("this node is stopping")]
    Stopped,
}

/// What to do with something for a node that is left alone for a while.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Drop,
    Wait,
}

impl Peer {
    pub fn new(shared: &Arc<Shared>, node: NodeId) -> Arc<Peer> {
        Arc::new(Peer { links: LANES.map(|lane| Link::new(shared, node, lane)) })
    }

    pub fn link(&self, lane: Lane) -> &Arc<Link> {
        &self.links[lane as usize]
    }

    pub fn links(&self) -> &[Arc<Link>] {
        &self.links
    }
}

impl Link {
    fn new(shared: &Arc<Shared>, node: NodeId, lane: Lane) -> Arc<Link> {
        let state = State {
            phase: Phase::Resting { until: None },
            backoff: Backoff::default(),
            failure: None,
            created: (shared.clock)(),
            traffic: None,
            pings: Pings::default(),
        };
        Arc::new(Link {
            node,
            lane,
            outbox: Arc::new(Outbox::new(queue_bytes_max(lane))),
            calls: Calls::default(),
            streams: Arc::default(),
            state: Mutex::new(state),
            forgotten: Notify::new(),
            encouraged: Notify::new(),
            dropped: AtomicU64::default(),
        })
    }

    /// Takes a packet for the node, and makes a connection if there is none. Never waits.
    pub fn offer(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        patience: Patience,
        push: impl FnOnce(&Outbox) -> Result<(), Full>,
    ) -> Result<(), Dropped> {
        let mut state = self.state.lock();
        if shared.is_stopping() {
            return Err(Dropped::Stopped);
        }
        let (is_left_alone, until) = match state.phase {
            Phase::Resting { until: Some(until) } => (until > Instant::now(), Some(until)),
            Phase::Delayed { until } => (true, Some(until)),
            _ => (false, None),
        };
        if is_left_alone && patience == Patience::Drop {
            return Err(Dropped::Unreachable);
        }
        push(&self.outbox).map_err(|Full| Dropped::Full)?;
        if let Phase::Resting { .. } = state.phase {
            state.phase = match until.filter(|_| is_left_alone) {
                Some(until) => Phase::Delayed { until },
                None => Phase::Connecting,
            };
            shared.runtime.spawn(self.clone().run(shared.clone()));
        }
        Ok(())
    }

    pub fn note_dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    pub fn call(self: &Arc<Self>, shared: &Arc<Shared>, question: Bytes, patience: Duration) -> PendingCall {
        let number = shared.next_call();
        let timeout_ms = patience.as_millis().min(u32::MAX.into()) as u32;
        let packet = Packet::Call { number, timeout_ms, body: question };
        let mut pending = None;
        // Known before it is sent, and not before the lock is held: the end of a former connection must not end it.
        let offered = self.offer(shared, Patience::Wait, |outbox| {
            pending = Some(self.calls.add(number, patience)?);
            outbox.push(Flow::Call(number), packet)
        });
        match offered {
            Ok(()) => pending.unwrap_or_else(|| PendingCall::failed(CallError::Full)),
            Err(dropped) => {
                self.calls.finish(number, Err(CallError::Full));
                PendingCall::failed(dropped.into())
            }
        }
    }

    pub fn open_stream(self: &Arc<Self>, shared: &Arc<Shared>, header: Bytes) -> Result<BulkSender, StreamError> {
        let stream = shared.next_stream();
        let mut sender = Err(StreamError::TooMany);
        let offered = self.offer(shared, Patience::Wait, |outbox| {
            sender = self.streams.open(stream, &self.outbox);
            if sender.is_ok() {
                outbox.push(Flow::Stream(stream), Packet::StreamOpen { stream, header })
            } else {
                Err(Full)
            }
        });
        match offered {
            Ok(()) => sender,
            Err(Dropped::Stopped) => Err(StreamError::Stopped),
            Err(Dropped::Full) => Err(StreamError::TooMany),
            Err(dropped) => Err(StreamError::Unreachable(dropped.to_string())),
        }
    }

    /// The node has been heard of: no reason to leave it alone any longer.
    pub fn encourage(&self) {
        let mut state = self.state.lock();
        match &mut state.phase {
            Phase::Resting { until } => *until = None,
            Phase::Delayed { .. } => self.encouraged.notify_one(),
            Phase::Connecting | Phase::Connected => return,
        }
        state.backoff.succeed();
    }

    /// Nobody wants to talk to the node any more.
    pub fn forget(&self) {
        self.forgotten.notify_one();
    }

    /// The transport ends, and its tasks are gone: what waits would wait for ever.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        let former = std::mem::replace(&mut state.phase, Phase::Resting { until: None });
        // It refers to what all links share, and that to the links: nobody would ever be gone.
        state.traffic = None;
        self.fail_waiting(&Closed::Stopping, former);
    }

    async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        let situation = shared.situation();
        let expired = || {
            shared.figures.call_timeouts.fetch_add(1, Relaxed);
        };
        let closed = tokio::select! {
            closed = self.connect_and_serve(&shared, situation) => closed,
            closed = shared.changed(situation) => closed,
            () = self.forgotten.notified() => Closed::Forgotten,
            () = self.calls.expire(expired) => Closed::Stopping,
        };
        self.end(&shared, &closed);
    }

    async fn connect_and_serve(&self, shared: &Arc<Shared>, situation: Situation) -> Closed {
        let phase = self.state.lock().phase;
        if let Phase::Delayed { until } = phase {
            // A cheer from before this phase only makes it shorter.
            let _ = timeout_at(until.into(), self.encouraged.notified()).await;
            self.state.lock().phase = Phase::Connecting;
        }
        let limit = shared.timing.connect;
        match timeout(2 * limit, self.connect(shared, situation)).await {
            Ok(Ok(introduced)) => self.serve(shared, introduced).await,
            Ok(Err(closed)) => closed,
            Err(_) => Closed::NotInTime(2 * limit),
        }
    }

    async fn connect(&self, shared: &Shared, situation: Situation) -> Result<Introduced, Closed> {
        let address = shared.addresses.address(self.node).ok_or(Closed::NoAddress)?;
        let socket = shared.dial(address).await?;
        let me = shared.me();
        let hello = me.hello(Some(situation.cluster), Some(self.node), self.lane);
        let introduced = introduce(socket, hello, shared.secret.as_ref()).await?;
        me.judge_answer(Some(self.node), &introduced.hello)?;
        Ok(introduced)
    }

    async fn serve(&self, shared: &Arc<Shared>, introduced: Introduced) -> Closed {
        let Introduced { mut reader, mut writer, .. } = introduced;
        let traffic = Arc::new(Traffic::new(shared));
        {
            let mut state = self.state.lock();
            state.phase = Phase::Connected;
            state.backoff.succeed();
            state.created = (shared.clock)();
            state.traffic = Some(traffic.clone());
            state.pings.sent = None;
            if state.failure.take().is_some() {
                tracing::info!("node {} can be reached again ({})", self.node, self.lane.name());
            }
        }
        shared.figures.connects.fetch_add(1, Relaxed);
        shared.handler.link(self.node, self.lane, LinkChange::Up);
        tokio::select! {
            closed = reader.run(&traffic, |packet| self.receive(shared, packet)) => closed,
            closed = write_all(&mut writer, &self.outbox, &traffic) => closed,
            closed = self.keep_alive(shared, &traffic) => closed,
        }
    }

    fn receive(&self, shared: &Shared, packet: Packet) -> Result<(), Closed> {
        match packet {
            Packet::Pong { number } => {
                let mut state = self.state.lock();
                let pings = &mut state.pings;
                if let Some((sent, _)) = pings.sent.take_if(|_| pings.number == number) {
                    pings.round_trip = Some(sent.elapsed());
                    pings.answered = Some((shared.clock)());
                }
            }
            Packet::Answer { number, outcome, body } => self.calls.finish(number, result_of(outcome, body)),
            Packet::StreamCredit { stream, bytes } => self.streams.credit(stream, bytes),
            Packet::StreamDone { stream, body } => self.streams.end(stream, Ok(body)),
            Packet::StreamRefuse { stream, text } => {
                self.streams.end(stream, Err(StreamError::Refused(shown(&text))));
            }
            other => return Err(Closed::OutOfPlace(other.encode().kind)),
        }
        Ok(())
    }

    /// Sends pings, and ends the connection when they are not answered or nothing else is said.
    async fn keep_alive(&self, shared: &Shared, traffic: &Traffic) -> Closed {
        let silence = shared.timing.silence_of(self.lane);
        loop {
            if traffic.silent_for() > silence && self.state.lock().pings.sent.is_some() {
                return Closed::Silent(silence);
            }
            if traffic.idle_for() > shared.timing.idle && self.rest() {
                return Closed::Idle;
            }
            self.ping(shared);
            tokio::time::sleep(shared.timing.ping).await;
        }
    }

    /// One ping at a time, so that they do not pile up before a peer that does not read.
    fn ping(&self, shared: &Shared) {
        let mut state = self.state.lock();
        if state.pings.sent.is_none() {
            state.pings.number += 1;
            state.pings.sent = Some((Instant::now(), (shared.clock)()));
            self.outbox.push_bounded(Flow::Urgent, Packet::Ping { number: state.pings.number });
        }
    }

    /// Ends the connection if there is nothing to say; from here on, who has something to say makes a new one.
    fn rest(&self) -> bool {
        let mut state = self.state.lock();
        let may_rest = self.outbox.is_empty() && self.calls.is_empty() && self.streams.is_empty();
        if may_rest {
            state.phase = Phase::Resting { until: None };
            state.traffic = None;
        }
        may_rest
    }

    /// The task of the link ends.
    fn end(&self, shared: &Shared, closed: &Closed) {
        if matches!(closed, Closed::Idle) {
            return;
        }
        let is_connected = {
            let mut state = self.state.lock();
            let former = state.phase;
            let is_connected = former == Phase::Connected;
            // These say nothing about whether the node can be reached.
            let is_ours = matches!(closed, Closed::NewCluster | Closed::Forgotten | Closed::Stopping);
            let pause = (!is_ours).then(|| state.backoff.fail(&shared.timing, (shared.chance)()));
            state.phase = Phase::Resting { until: pause.map(|pause| Instant::now() + pause) };
            state.traffic = None;
            state.pings.sent = None;
            self.fail_waiting(closed, former);
            let why = closed.to_string();
            if state.failure.as_ref() != Some(&why) {
                let verb = if is_connected { "lost" } else { "cannot reach" };
                tracing::warn!("{verb} node {} ({}): {why}", self.node, self.lane.name());
                state.failure = Some(why);
            }
            is_connected
        };
        let figures = &shared.figures;
        let counter = if is_connected { &figures.breaks } else { &figures.connect_failures };
        counter.fetch_add(1, Relaxed);
        shared.handler.link(self.node, self.lane, LinkChange::Down);
    }

    /// Called under the lock of the state, so that nothing new waits; `former` is what the link was when it ended.
    fn fail_waiting(&self, closed: &Closed, former: Phase) {
        let why = closed.to_string();
        let unsent = self.outbox.clear();
        let (why_sent, stream) = match closed {
            Closed::Stopping => (CallError::Stopped, StreamError::Stopped),
            _ if former == Phase::Connected => (CallError::Lost, StreamError::Lost),
            _ => (CallError::Lost, StreamError::Unreachable(why.clone())),
        };
        self.calls.fail(&unsent, &CallError::Unreachable(why), &why_sent);
        self.streams.fail(&stream);
    }

    pub fn status(&self) -> LinkStatus {
        let state = self.state.lock();
        let traffic = state.traffic.as_ref();
        LinkStatus {
            node: self.node,
            lane: self.lane,
            direction: Direction::To,
            state: match (state.phase, &state.failure) {
                (Phase::Connected, _) => LinkState::Connected,
                (Phase::Connecting, _) => LinkState::Connecting,
                (_, Some(why)) => LinkState::Failed { why: why.clone() },
                (_, None) => LinkState::Resting,
            },
            created: state.created,
            queued_bytes: self.outbox.bytes(),
            buffer_bytes: if state.phase == Phase::Connected { WRITE_BYTES } else { 0 },
            bytes_sent: traffic.map_or(0, |traffic| traffic.sent()),
            bytes_received: traffic.map_or(0, |traffic| traffic.received()),
            dropped: self.dropped.load(Relaxed),
            round_trip: state.pings.round_trip,
        }
    }

    pub fn node_status(&self) -> NodeStatus {
        let state = self.state.lock();
        NodeStatus {
            is_connected: state.phase == Phase::Connected,
            ping_sent: state.pings.sent.map(|(_, at)| at),
            pong_received: state.pings.answered,
            round_trip: state.pings.round_trip,
        }
    }
}

impl From<Dropped> for CallError {
    fn from(dropped: Dropped) -> CallError {
        match dropped {
            Dropped::Full => CallError::Full,
            Dropped::Stopped => CallError::Unreachable(dropped.to_string()),
            Dropped::Unreachable | Dropped::TooLong => CallError::Unreachable(dropped.to_string()),
        }
    }
}
