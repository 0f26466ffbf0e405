//! Connections that other nodes make: accepted, judged, and listened to.
//!
//! Invariant: of each node and lane, only the newest connection is listened to, and only of the node's latest start.
//! What an older one still holds is thrown away, since it may be older than what the newer one has brought.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use basalt_storage::clock::UnixMs;
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::call::{OpenCall, Responder, text};
use super::connection::{Closed, Introduced, write_all};
use super::handler::Caller;
use super::handshake::welcome;
use super::limits::{CONTROL_QUEUE_BYTES_MAX, HANDSHAKES_MAX, INCOMING_CALLS_MAX, STRANGERS_MAX, WRITE_BYTES};
use super::outbox::{Flow, Full, Outbox};
use super::shared::Shared;
use super::status::{Direction, LinkState, LinkStatus, Traffic};
use super::stream::IncomingStreams;
use super::wire::hello::{Hello, Lane, Refusal, Standing};
use super::wire::packet::{Outcome, Packet};
use crate::ids::{Incarnation, NodeId};

/// How long to wait when no connection can be accepted, most likely for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections of other nodes.
#[derive(Default)]
pub(super) struct Sessions {
    by_lane: HashMap<(NodeId, Lane), Arc<Session>>,
    /// The latest start of each node that has connected.
    incarnation_by_node: HashMap<NodeId, Incarnation>,
    strangers: usize,
    handshakes: usize,
}

/// A connection that was accepted.
struct Session {
    caller: Caller,
    lane: Lane,
    created: UnixMs,
    outbox: Arc<Outbox>,
    traffic: Traffic,
    streams: Arc<IncomingStreams>,
    open_calls: Arc<AtomicUsize>,
    is_replaced: AtomicBool,
    replaced: Notify,
}

/// Accepts until the runtime ends.
pub(super) async fn accept_all(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let mut sessions = shared.sessions.lock();
                // What is not let in is closed here.
                if sessions.handshakes < HANDSHAKES_MAX {
                    sessions.handshakes += 1;
                    shared.runtime.spawn(run(shared.clone(), stream, address));
                }
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection of another node: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn run(shared: Arc<Shared>, stream: TcpStream, address: SocketAddr) {
    let situation = shared.situation();
    let limit = shared.timing.connect;
    let welcomed = timeout(limit, async {
        let socket = shared.accept(stream).await?;
        welcome(socket, shared.secret.as_ref(), |hello| judge(&shared, hello, address)).await
    });
    let welcomed = welcomed.await;
    shared.sessions.lock().handshakes -= 1;
    let (introduced, session) = match welcomed.unwrap_or(Err(Closed::NotInTime(limit))) {
        Ok(welcomed) => welcomed,
        Err(closed) => {
            shared.figures.refusals.fetch_add(1, Relaxed);
            tracing::warn!("sent away a connection from {address}: {closed}");
            return;
        }
    };
    shared.figures.accepts.fetch_add(1, Relaxed);
    let closed = tokio::select! {
        closed = session.serve(&shared, introduced) => closed,
        closed = shared.changed(situation) => closed,
    };
    let Caller { node, .. } = session.caller;
    tracing::debug!("the connection of node {node} ({}) from {address} has ended: {closed}", session.lane.name());
}

/// Looks at a hello, and makes the session if it may be.
fn judge(shared: &Arc<Shared>, hello: &Hello, address: SocketAddr) -> Result<(Hello, Registered), Refusal> {
    let me = shared.me();
    let standing = me.judge(hello)?;
    let caller = Caller { node: hello.node, incarnation: hello.incarnation, standing, address };
    if standing == Standing::Member {
        shared.handler.admit(&caller).map_err(Refusal::Unwelcome)?;
    }
    let session = Arc::new(Session {
        caller,
        lane: hello.lane,
        created: (shared.clock)(),
        outbox: Arc::new(Outbox::new(CONTROL_QUEUE_BYTES_MAX)),
        traffic: Traffic::new(shared),
        streams: Arc::default(),
        open_calls: Arc::default(),
        is_replaced: AtomicBool::new(false),
        replaced: Notify::new(),
    });
    shared.sessions.lock().enter(&session)?;
    let peer = shared.peers.read().get(&hello.node).cloned();
    if let Some(peer) = peer.filter(|_| standing == Standing::Member) {
        peer.links().iter().for_each(|link| link.encourage());
    }
    let answer = me.hello(Some(me.cluster), Some(hello.node), hello.lane);
    Ok((answer, Registered { session, shared: shared.clone() }))
}

/// Leaves the list of sessions when it is dropped.
struct Registered {
    session: Arc<Session>,
    shared: Arc<Shared>,
}

impl std::ops::Deref for Registered {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.session.streams.fail();
        self.shared.sessions.lock().leave(&self.session);
    }
}

impl Sessions {
    fn enter(&mut self, session: &Arc<Session>) -> Result<(), Refusal> {
        let Caller { node, incarnation: said, standing, .. } = session.caller;
        if standing == Standing::Stranger {
            if self.strangers >= STRANGERS_MAX {
                return Err(Refusal::Unwelcome("too many strangers are connected".to_owned()));
            }
            self.strangers += 1;
            return Ok(());
        }
        let known = self.incarnation_by_node.entry(node).or_insert(said);
        if said < *known {
            return Err(Refusal::Incarnation { node, said, known: *known });
        }
        if said > *known {
            *known = said;
            self.by_lane.values().filter(|session| session.caller.node == node).for_each(|session| session.replace());
        }
        if let Some(former) = self.by_lane.insert((node, session.lane), session.clone()) {
            former.replace();
        }
        Ok(())
    }

    fn leave(&mut self, session: &Arc<Session>) {
        if session.caller.standing == Standing::Stranger {
            self.strangers -= 1;
            return;
        }
        let key = (session.caller.node, session.lane);
        if self.by_lane.get(&key).is_some_and(|current| Arc::ptr_eq(current, session)) {
            self.by_lane.remove(&key);
        }
    }

    /// Closes the connections of a node, and forgets what is known of it.
    pub fn forget(&mut self, node: NodeId) {
        self.incarnation_by_node.remove(&node);
        self.by_lane.values().filter(|session| session.caller.node == node).for_each(|session| session.replace());
    }

    pub fn status(&self) -> Vec<LinkStatus> {
        self.by_lane.values().map(|session| session.status()).collect()
    }
}

impl Session {
    fn replace(&self) {
        self.is_replaced.store(true, Relaxed);
        self.replaced.notify_one();
    }

    async fn serve(&self, shared: &Shared, introduced: Introduced) -> Closed {
        let Introduced { mut reader, mut writer, .. } = introduced;
        tokio::select! {
            closed = reader.run(&self.traffic, |packet| self.receive(shared, packet)) => closed,
            closed = write_all(&mut writer, &self.outbox, &self.traffic) => closed,
            () = self.replaced.notified() => Closed::Replaced,
            () = self.outbox.overflowed() => Closed::Overflow,
            closed = self.watch(shared.timing.abandoned) => closed,
        }
    }

    /// Ends the connection of a dialer that is gone without a word.
    async fn watch(&self, abandoned: Duration) -> Closed {
        loop {
            let silent = self.traffic.silent_for();
            if silent >= abandoned {
                return Closed::Silent(abandoned);
            }
            tokio::time::sleep(abandoned - silent).await;
        }
    }

    fn receive(&self, shared: &Shared, packet: Packet) -> Result<(), Closed> {
        if self.is_replaced.load(Relaxed) {
            return Err(Closed::Replaced);
        }
        let node = self.caller.node;
        match packet {
            Packet::Ping { number } => self.push(Flow::Urgent, Packet::Pong { number })?,
            Packet::Call { number, timeout_ms, body } => {
                shared.figures.incoming_calls.fetch_add(1, Relaxed);
                if self.open_calls.load(Relaxed) >= INCOMING_CALLS_MAX {
                    shared.figures.incoming_calls_busy.fetch_add(1, Relaxed);
                    let busy = Packet::Answer { number, outcome: Outcome::Busy, body: Bytes::new() };
                    return self.push(Flow::Call(number), busy);
                }
                let open = OpenCall::new(&self.open_calls);
                let limit = Duration::from_millis(timeout_ms.into());
                shared.handler.call(self.caller, body, Responder::wire(number, self.outbox.clone(), open, limit));
            }
            // Nothing else is a stranger's business.
            other if self.caller.standing == Standing::Stranger => return Err(Closed::OutOfPlace(other.encode().kind)),
            Packet::Raft(message) => shared.handler.raft(node, message),
            Packet::Heartbeat { body } => shared.handler.heartbeat(node, body),
            Packet::StreamOpen { stream, header } => match self.streams.open(stream, &self.outbox)? {
                Some(receiver) => {
                    shared.figures.incoming_streams.fetch_add(1, Relaxed);
                    shared.handler.stream(node, header, receiver);
                }
                None => {
                    let refusal = Packet::StreamRefuse { stream, text: text("too many streams at once") };
                    self.push(Flow::Stream(stream), refusal)?;
                }
            },
            Packet::StreamData { stream, body } => {
                self.streams.data(stream, body)?;
                // Credits wait for a sender that goes on sending without reading them.
                if self.outbox.bytes() > CONTROL_QUEUE_BYTES_MAX {
                    return Err(Closed::Overflow);
                }
            }
            Packet::StreamEnd { stream } => self.streams.end(stream, Ok(())),
            Packet::StreamAbort { stream, text } => self.streams.end(stream, Err(&text)),
            other => return Err(Closed::OutOfPlace(other.encode().kind)),
        }
        Ok(())
    }

    fn push(&self, flow: Flow, packet: Packet) -> Result<(), Closed> {
        self.outbox.push(flow, packet).map_err(|Full| Closed::Overflow)
    }

    fn status(&self) -> LinkStatus {
        LinkStatus {
            node: self.caller.node,
            lane: self.lane,
            direction: Direction::From,
            state: LinkState::Connected,
            created: self.created,
            queued_bytes: self.outbox.bytes(),
            buffer_bytes: WRITE_BYTES,
            bytes_sent: self.traffic.sent(),
            bytes_received: self.traffic.received(),
            dropped: 0,
            round_trip: None,
        }
    }
}
