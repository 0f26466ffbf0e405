//! What all tasks of the transport share, and how they are told that something has changed for all of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::backoff::Chance;
use super::connection::Closed;
use super::handler::{AddressBook, PeerHandler};
use super::incoming::Sessions;
use super::limits::Timing;
use super::link::Peer;
use super::secret::Secret;
use super::socket::Socket;
use super::status::PeerFigures;
use super::tls::Tls;
use super::wire::hello::Me;
use super::wire::packet::{CallNumber, StreamNumber};
use crate::group::Clock;
use crate::ids::{ClusterId, Incarnation, NodeId};

pub(super) struct Shared {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub secret: Option<Secret>,
    /// Another one for connections to come, when certificates are changed; never from or to none.
    pub tls: RwLock<Option<Tls>>,
    pub timing: Timing,
    pub handler: Arc<dyn PeerHandler>,
    pub addresses: Arc<dyn AddressBook>,
    pub chance: Chance,
    pub clock: Clock,
    pub figures: PeerFigures,
    /// The runtime of the transport's thread.
    pub runtime: Handle,
    pub situation: watch::Sender<Situation>,
    /// Nodes that somebody has wanted to talk to. As many as there are nodes in the map, but for those not forgotten
    /// yet.
    pub peers: RwLock<HashMap<NodeId, Arc<Peer>>>,
    pub sessions: Mutex<Sessions>,
    pub last_number: AtomicU64,
}

/// What concerns all connections. A change ends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Situation {
    pub cluster: ClusterId,
    pub is_stopping: bool,
}

impl Shared {
    pub fn me(&self) -> Me {
        Me { cluster: self.situation().cluster, node: self.node, incarnation: self.incarnation }
    }

    pub fn situation(&self) -> Situation {
        *self.situation.borrow()
    }

    pub fn is_stopping(&self) -> bool {
        self.situation().is_stopping
    }

    /// Connects to a node, up to where it is told who dials. Takes no longer than that may take.
    pub async fn dial(&self, to: SocketAddr) -> Result<Socket, Closed> {
        let limit = self.timing.connect;
        let stream = timeout(limit, TcpStream::connect(to)).await.map_err(|_| Closed::NotInTime(limit))??;
        match self.tls() {
            Some(tls) => tls.dial(stream, to).await,
            None => Ok(Socket::Plain(stream)),
        }
    }

    /// The same for a connection that a node has made.
    pub async fn accept(&self, stream: TcpStream) -> Result<Socket, Closed> {
        match self.tls() {
            Some(tls) => tls.accept(stream).await,
            None => Ok(Socket::Plain(stream)),
        }
    }

    fn tls(&self) -> Option<Tls> {
        self.tls.read().clone()
    }

    pub fn next_call(&self) -> CallNumber {
        CallNumber(self.last_number.fetch_add(1, Relaxed) + 1)
    }

    pub fn next_stream(&self) -> StreamNumber {
        StreamNumber(self.last_number.fetch_add(1, Relaxed) + 1)
    }

    /// What this node knows of another as a peer; made when it is first asked for.
    pub fn peer(self: &Arc<Self>, node: NodeId) -> Arc<Peer> {
        if let Some(peer) = self.peers.read().get(&node) {
            return peer.clone();
        }
        self.peers.write().entry(node).or_insert_with(|| Peer::new(self, node)).clone()
    }

    /// Waits until connections that were made in this situation have to end.
    pub async fn changed(&self, made_in: Situation) -> Closed {
        let mut situation = self.situation.subscribe();
        // The sender lives as long as `self`.
        let now = situation.wait_for(|now| *now != made_in).await.map(|now| *now);
        if now.is_ok_and(|now| !now.is_stopping) { Closed::NewCluster } else { Closed::Stopping }
    }
}
