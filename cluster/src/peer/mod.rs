//! How nodes talk to each other: Raft messages, reports, calls and bulk data, over connections that nobody has to look
//! after.
//!
//! ```text
//!  any thread                    the transport's thread                                  the other node's
//!  send(message)  ─► outbox of   Link: dials, says hello, writes,     ── control ──►     Session ─► PeerHandler
//!  call(question) ─► the link       pings, fails what waits when      ── append  ──►        raft, heartbeat,
//!  open_stream()  ─► of a lane      the connection breaks             ── bulk    ──►        call, stream
//! ```
//!
//! Each node dials those it has something to say to, so that two nodes have connections in both directions; what comes
//! back on one is only what answers it. [`wire`] is what passes, and pure; [`link`] is the side that dials,
//! [`incoming`] the side that is dialled, [`stranger`] a call to somebody unknown. [`outbox`] decides what goes first,
//! [`limits`] how much may wait. A [`socket`] is encrypted or not; by what is for [`tls`] to know.
//!
//! Invariants:
//! - nobody who sends ever waits for the network, but for senders of streams, who do it on purpose;
//! - Raft messages of one group on one lane arrive in order or not at all, also over a reconnect;
//! - every call ends once, and says whether it may have happened; a stream succeeds only when its receiver says so;
//! - nothing passes between nodes of different clusters, but for calls of strangers.

mod backoff;
mod call;
mod connection;
#[cfg(test)]
mod document;
mod handler;
mod handshake;
mod incoming;
pub mod limits;
mod link;
mod outbox;
mod secret;
mod shared;
mod socket;
pub mod status;
mod stranger;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod wait;
pub mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{Builder, JoinHandle, current};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

pub use backoff::Chance;
pub use call::{CallError, CallResult, PendingCall, Responder};
pub use handler::{AddressBook, Caller, LinkChange, PeerHandler};
pub use limits::Timing;
pub use link::Dropped;
pub use secret::{Secret, TooShort};
pub use status::{Direction, LinkState, LinkStatus, NodeStatus, PeerFigures};
pub use stream::{BulkReceiver, BulkSender, StreamError};
pub use tls::{Tls, TlsError, TlsFiles};
pub use wait::{block_on, block_on_for};
pub use wire::hello::{Lane, Standing};
pub use wire::packet::RaftMessage;

use crate::group::Clock;
use crate::ids::{ClusterId, Incarnation, NodeId};
use incoming::{Sessions, accept_all};
use link::{Link, Patience};
use outbox::Flow;
use shared::{Shared, Situation};
use wire::packet::Packet;
use wire::pieces::MESSAGE_BYTES_MAX;

/// What a transport has to know.
pub struct PeerOptions {
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// That of the node's own private cluster, as long as it has joined no other.
    pub cluster: ClusterId,
    /// What others have to know to be talked to; none if whoever reaches the port is trusted.
    pub secret: Option<Secret>,
    /// What connections are encrypted with, if they are: then there are no others.
    pub tls: Option<Tls>,
    /// Where other nodes dial.
    pub listeners: Vec<TcpListener>,
    pub timing: Timing,
    pub chance: Chance,
    pub clock: Clock,
}

/// What is sent and not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Raft(RaftMessage),
    /// A report about this node and its groups.
    Heartbeat(Bytes),
}

/// The connections to all other nodes, and the thread that serves them. Ends with [`PeerTransport::stop`], or when it
/// is dropped.
pub struct PeerTransport {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl PeerTransport {
    pub fn start(
        options: PeerOptions,
        handler: Arc<dyn PeerHandler>,
        addresses: Arc<dyn AddressBook>,
    ) -> io::Result<PeerTransport> {
        let PeerOptions { node, incarnation, cluster, secret, tls, listeners, timing, chance, clock } = options;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (situation, mut stopping) = watch::channel(Situation { cluster, is_stopping: false });
        let shared = Arc::new(Shared {
            node,
            incarnation,
            secret,
            tls: RwLock::new(tls),
            timing,
            handler,
            addresses,
            chance,
            clock,
            figures: PeerFigures::default(),
            runtime: runtime.handle().clone(),
            situation,
            peers: RwLock::default(),
            sessions: Mutex::new(Sessions::default()),
            last_number: Default::default(),
        });
        let mut listening = Vec::new();
        {
            let _inside = runtime.enter();
            for listener in listeners {
                listening.push(listener.local_addr()?);
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                runtime.spawn(accept_all(shared.clone(), listener));
            }
        }
        let thread = Builder::new().name("peer".to_owned()).spawn(move || {
            runtime.block_on(async {
                // The sender lives in what this runtime's tasks share.
                let _ = stopping.wait_for(|situation| situation.is_stopping).await;
            });
        })?;
        Ok(PeerTransport { shared, addresses: listening, thread: Mutex::new(Some(thread)) })
    }

    /// Where it listens.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Hands in a message for another node. Never waits; an error means that it will not arrive, which Raft has to be
    /// told. That it is taken does not mean that it will.
    pub fn send(&self, to: NodeId, lane: Lane, message: Message) -> Result<(), Dropped> {
        let figures = &self.shared.figures;
        figures.messages.fetch_add(1, Relaxed);
        let (flow, packet, len) = match message {
            // Votes and heartbeats of groups are small, and no call may hold them up.
            Message::Raft(message) if lane == Lane::Control => {
                let len = message.body.len();
                (Flow::Urgent, Packet::Raft(message), len)
            }
            Message::Raft(message) => {
                let len = message.body.len();
                (Flow::Group(message.group), Packet::Raft(message), len)
            }
            Message::Heartbeat(body) => {
                let len = body.len();
                (Flow::Urgent, Packet::Heartbeat { body }, len)
            }
        };
        let link = self.link(to, lane);
        let sent = if is_too_long(len) {
            Err(Dropped::TooLong)
        } else {
            link.offer(&self.shared, Patience::Drop, |outbox| outbox.push(flow, packet))
        };
        if let Err(dropped) = &sent {
            let counter = if *dropped == Dropped::Full { &figures.dropped_full } else { &figures.dropped_unreachable };
            counter.fetch_add(1, Relaxed);
            link.note_dropped();
        }
        sent
    }

    /// Asks another node. The answer is awaited by a task or waited for by a thread, and comes before the time is over
    /// or not at all.
    pub fn call(&self, to: NodeId, question: impl Into<Bytes>, timeout: Duration) -> PendingCall {
        let question = question.into();
        self.shared.figures.calls.fetch_add(1, Relaxed);
        if is_too_long(question.len()) {
            return PendingCall::failed(Dropped::TooLong.into());
        }
        self.link(to, Lane::Control).call(&self.shared, question, timeout)
    }

    /// Asks whoever listens there, as a stranger: to join, or to find out who it is.
    pub fn call_address(&self, to: SocketAddr, question: impl Into<Bytes>, timeout: Duration) -> PendingCall {
        let question = question.into();
        self.shared.figures.calls.fetch_add(1, Relaxed);
        let (sender, call) = PendingCall::new();
        let shared = self.shared.clone();
        self.shared.runtime.spawn(async move {
            // Nobody may wait any more.
            let _ = sender.send(stranger::call(shared, to, question, timeout).await);
        });
        call
    }

    /// Begins a stream of bulk data to another node.
    pub fn open_stream(&self, to: NodeId, header: impl Into<Bytes>) -> Result<BulkSender, StreamError> {
        let sender = self.link(to, Lane::Bulk).open_stream(&self.shared, header.into())?;
        self.shared.figures.streams.fetch_add(1, Relaxed);
        Ok(sender)
    }

    /// The node belongs to another cluster from now on. All connections end, and new ones say so.
    pub fn set_cluster(&self, cluster: ClusterId) {
        self.shared
            .situation
            .send_if_modified(|situation| std::mem::replace(&mut situation.cluster, cluster) != cluster);
    }

    /// Certificates have changed: connections are made with these from now on. Those that there are stay. Does nothing
    /// if connections are not encrypted, which stays as it is.
    pub fn put_tls(&self, tls: Tls) {
        if let Some(present) = &mut *self.shared.tls.write() {
            *present = tls;
        }
    }

    /// Closes what there is to a node that has left, and forgets it.
    pub fn forget(&self, node: NodeId) {
        let peer = self.shared.peers.write().remove(&node);
        if let Some(peer) = peer {
            peer.links().iter().for_each(|link| link.forget());
        }
        self.shared.sessions.lock().forget(node);
    }

    pub fn figures(&self) -> &PeerFigures {
        &self.shared.figures
    }

    /// All connections of both directions, those first that this node makes, in the order of nodes and lanes.
    pub fn links(&self) -> Vec<LinkStatus> {
        let order = |link: &LinkStatus| (link.node, link.lane);
        let peers: Vec<_> = self.shared.peers.read().values().cloned().collect();
        let mut links: Vec<_> = peers.iter().flat_map(|peer| peer.links()).map(|link| link.status()).collect();
        links.sort_by_key(order);
        let mut incoming = self.shared.sessions.lock().status();
        incoming.sort_by_key(order);
        links.append(&mut incoming);
        links
    }

    /// How a node is: whether its control lane is open, and how long pings take.
    pub fn node_status(&self, node: NodeId) -> NodeStatus {
        let peer = self.shared.peers.read().get(&node).cloned();
        peer.map_or_else(NodeStatus::default, |peer| peer.link(Lane::Control).node_status())
    }

    /// Closes all connections and ends the thread. Whatever waits ends with an error.
    pub fn stop(&self) {
        self.shared.situation.send_modify(|situation| situation.is_stopping = true);
        let thread = self.thread.lock().take();
        // A handler may hold the last reference to the transport.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != current().id()) {
            // If it has panicked, it has said so.
            let _ = thread.join();
        }
        let peers: Vec<_> = self.shared.peers.read().values().cloned().collect();
        peers.iter().flat_map(|peer| peer.links()).for_each(|link| link.abandon());
    }

    fn link(&self, to: NodeId, lane: Lane) -> Arc<Link> {
        self.shared.peer(to).link(lane).clone()
    }
}

impl Drop for PeerTransport {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Longer ones are not sent: the other side would not take them.
fn is_too_long(len: usize) -> bool {
    // Room for the fields.
    len > MESSAGE_BYTES_MAX - 64
}
