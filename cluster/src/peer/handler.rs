//! The seams between the transport and the node: what arrives, and where other nodes are.

use std::net::SocketAddr;

use bytes::Bytes;

use super::call::Responder;
use super::stream::BulkReceiver;
use super::wire::hello::{Lane, Standing};
use super::wire::packet::RaftMessage;
use crate::ids::{Incarnation, NodeId};

/// Who is at the other end of a connection that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// A stranger's calls may ask to join, and little else.
    pub standing: Standing,
    /// Where it comes from. The port is not the one on which it listens.
    pub address: SocketAddr,
}

/// What has become of a connection that this node makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// It is open. What was said to be lost may be sent again.
    Up,
    /// It could not be made, or it broke: Raft messages that were sent over it may be lost.
    Down,
}

/// Takes what arrives. Called on the transport's only thread: must return soon and wait for nothing, or all peers wait.
///
/// Raft messages and heartbeats come in the order in which they were sent, for each group and lane. Who they are for is
/// not checked: that is up to those who know the groups' records.
pub trait PeerHandler: Send + Sync {
    /// A message for a replica. One that cannot be kept is dropped: Raft sends it again.
    fn raft(&self, from: NodeId, message: RaftMessage);

    /// A node's report.
    fn heartbeat(&self, from: NodeId, report: Bytes);

    /// A question. The answer may come later and from any thread.
    fn call(&self, from: Caller, question: Bytes, responder: Responder);

    /// A stream of bulk data: to be received by a task or a thread of the handler's own.
    fn stream(&self, from: NodeId, header: Bytes, stream: BulkReceiver);

    /// What has become of a connection. With `Down`, the groups' leaders have to be told that the node cannot be
    /// reached.
    fn link(&self, _to: NodeId, _lane: Lane, _change: LinkChange) {}

    /// Whether a node of this cluster may connect: not one that was forgotten. The text is told to it.
    fn admit(&self, _from: &Caller) -> Result<(), String> {
        Ok(())
    }
}

/// Knows where nodes listen for their peers. Asked for each connection that is made.
pub trait AddressBook: Send + Sync {
    fn address(&self, node: NodeId) -> Option<SocketAddr>;
}
