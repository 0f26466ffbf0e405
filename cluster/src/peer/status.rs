//! What the transport knows about its connections, for CLUSTER LINKS, CLUSTER NODES, INFO and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use basalt_storage::clock::UnixMs;

use super::shared::Shared;
use super::wire::hello::Lane;
use crate::ids::NodeId;

/// Counters of the whole transport.
#[derive(Debug, Default)]
pub struct PeerFigures {
    /// Connections that were made, that could not be made, and that broke.
    pub connects: AtomicU64,
    pub connect_failures: AtomicU64,
    pub breaks: AtomicU64,
    /// Connections that other nodes made, and those that were sent away.
    pub accepts: AtomicU64,
    pub refusals: AtomicU64,
    /// What has passed over all connections of both directions.
    pub bytes_sent: AtomicU64,
    pub bytes_received: AtomicU64,
    /// Raft messages and heartbeats that were handed in, and those that were dropped at once: the queue was full, or
    /// the node cannot be reached.
    pub messages: AtomicU64,
    pub dropped_full: AtomicU64,
    pub dropped_unreachable: AtomicU64,
    pub calls: AtomicU64,
    pub call_timeouts: AtomicU64,
    /// Calls of other nodes, and those that were turned away because too many had no answer yet.
    pub incoming_calls: AtomicU64,
    pub incoming_calls_busy: AtomicU64,
    pub streams: AtomicU64,
    pub incoming_streams: AtomicU64,
}

/// What passes over one connection, counted by its task.
pub(super) struct Traffic {
    shared: Arc<Shared>,
    origin: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    /// When something was received last, in milliseconds after `origin`.
    heard_ms: AtomicU64,
    /// When something but pings was sent or received last.
    used_ms: AtomicU64,
}

impl Traffic {
    pub fn new(shared: &Arc<Shared>) -> Traffic {
        let (zero, origin) = (AtomicU64::default, Instant::now());
        Traffic { shared: shared.clone(), origin, sent: zero(), received: zero(), heard_ms: zero(), used_ms: zero() }
    }

    pub fn note_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
        self.shared.figures.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    pub fn note_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
        self.shared.figures.bytes_received.fetch_add(bytes as u64, Relaxed);
        self.heard_ms.store(self.now_ms(), Relaxed);
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub fn note_used(&self) {
        self.used_ms.store(self.now_ms(), Relaxed);
    }

    pub fn silent_for(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.heard_ms.load(Relaxed)))
    }

    pub fn idle_for(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.used_ms.load(Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }
}

/// Which side has made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    To,
    From,
}

/// How a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Closed, because there is nothing to say.
    Resting,
    /// Closed, because the node could not be reached; tried again when there is something to say.
    Failed {
        why: String,
    },
    Connecting,
    Connected,
}

/// One connection, or the place of one.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    pub node: NodeId,
    pub lane: Lane,
    pub direction: Direction,
    pub state: LinkState,
    /// Since when it is connected; else when it was first wanted.
    pub created: UnixMs,
    /// What waits to be sent, and what a socket is given at once.
    pub queued_bytes: usize,
    pub buffer_bytes: usize,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Messages that were dropped since the node is known.
    pub dropped: u64,
    pub round_trip: Option<Duration>,
}

/// How a node is, as seen over the control lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    pub is_connected: bool,
    /// When the ping was sent that has no answer yet.
    pub ping_sent: Option<UnixMs>,
    pub pong_received: Option<UnixMs>,
    pub round_trip: Option<Duration>,
}
