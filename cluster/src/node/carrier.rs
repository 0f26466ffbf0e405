//! What passes between replicas of a group: out by the map, which says on which node a replica is, and in to the
//! replica that is meant, or to nobody.

use super::hosted::HostedReplicas;
use super::map_cell::MapCell;
use crate::group::core::{Delivery, Lane as RaftLane, PeerMessage};
use crate::group::{ApplyError, Group, GroupId, InstallRefused, ReplicaId, Shipment, Transport};
use crate::ids::NodeId;
use crate::peer::{BulkReceiver, Lane, Message, PeerTransport, RaftMessage};
use basalt_storage::effect::wire::{Malformed, Reader, put_varint};
use bytes::Bytes;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::Builder;

/// What the header of a stream begins with.
pub(super) const STREAM_OF_SNAPSHOT: u8 = b's';
pub(super) const STREAM_OF_SLOTS: u8 = b'm';

/// What the receiver of a snapshot says when it has taken it over.
const INSTALLED: &[u8] = b"installed";

pub struct Carrier {
    cell: Arc<MapCell>,
    /// Not held, since the groups hold this.
    hosted: Weak<HostedReplicas>,
    peers: OnceLock<Weak<PeerTransport>>,
}

impl Carrier {
    pub fn new(cell: Arc<MapCell>, hosted: &Arc<HostedReplicas>) -> Carrier {
        Carrier { cell, hosted: Arc::downgrade(hosted), peers: OnceLock::new() }
    }

    /// From now on messages leave. Until then they are lost, which Raft bears.
    pub fn connect(&self, peers: &Arc<PeerTransport>) {
        // Connecting twice would be the same transport.
        let _ = self.peers.set(Arc::downgrade(peers));
    }

    fn peers(&self) -> Option<Arc<PeerTransport>> {
        self.peers.get()?.upgrade()
    }

    fn replica(&self, group: GroupId, replica: ReplicaId) -> Option<Arc<Group>> {
        self.hosted.upgrade()?.group(group, replica)
    }

    fn node_of(&self, group: GroupId, replica: ReplicaId) -> Option<NodeId> {
        let map = self.cell.map()?;
        map.members(group)?.replica(replica).map(|replica| replica.node)
    }

    /// A message of another node's replica has arrived.
    pub fn receive(&self, message: &RaftMessage) {
        if let Some(group) = self.replica(message.group, message.to) {
            group.receive(&message.body);
        }
    }

    /// A snapshot begins to arrive: a thread of its own takes it in.
    pub fn take_in(&self, header: &Bytes, stream: BulkReceiver) {
        let group = match read_header(header) {
            Ok((group, replica)) => self.replica(group, replica),
            Err(_) => None,
        };
        let Some(group) = group else { return stream.refuse("there is no such replica here") };
        let take_in = move || {
            let mut stream = stream;
            match install(&group, &mut stream) {
                Ok(()) => stream.finish(INSTALLED),
                Err(why) => {
                    tracing::warn!(%why, "a snapshot could not be taken in");
                    stream.refuse(&why.to_string());
                }
            }
        };
        if let Err(error) = Builder::new().name("snapshot-in".into()).spawn(take_in) {
            tracing::error!(%error, "the system refused a thread for a snapshot");
        }
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn install(group: &Group, stream: &mut BulkReceiver) -> Result<(), AnyError> {
    let header = stream.next_blocking()?.ok_or("it has no header")?;
    let mut installation = match group.begin_install(&header) {
        // The answer to one that came before was lost. If this one were refused, another would follow.
        Err(InstallRefused::NotNewer) => return Ok(()),
        begun => begun?,
    };
    while let Some(chunk) = stream.next_blocking()? {
        installation.add(&chunk)?;
    }
    match installation.finish()? {
        Delivery::Installed => Ok(()),
        Delivery::Failed => Err("it was not wanted any more".into()),
    }
}

impl Transport for Carrier {
    fn send(&self, group: GroupId, message: PeerMessage) {
        let (Some(node), Some(peers)) = (self.node_of(group, message.to()), self.peers()) else { return };
        let lane = match message.lane() {
            RaftLane::Control => Lane::Control,
            RaftLane::Append => Lane::Append,
        };
        let body = Bytes::from(message.encode());
        let message = RaftMessage { group, from: message.from(), to: message.to(), body };
        // It is counted there, and Raft sends again what is not answered.
        let _ = peers.send(node, lane, Message::Raft(message));
    }

    fn ship(&self, group: GroupId, shipment: Shipment) {
        let (Some(node), Some(peers)) = (self.node_of(group, shipment.to()), self.peers()) else {
            return shipment.finish(Delivery::Failed);
        };
        let ship = move || {
            let delivery = match send_all(&peers, node, group, &shipment) {
                Ok(()) => Delivery::Installed,
                Err(why) => {
                    tracing::warn!(%why, %node, %group, "a snapshot could not be sent");
                    Delivery::Failed
                }
            };
            shipment.finish(delivery);
        };
        // If there is no thread, the shipment is dropped, which says that it failed.
        if let Err(error) = Builder::new().name(format!("snapshot-{group}")).spawn(ship) {
            tracing::error!(%error, "the system refused a thread for a snapshot");
        }
    }
}

fn send_all(peers: &PeerTransport, node: NodeId, group: GroupId, shipment: &Shipment) -> Result<(), AnyError> {
    let mut stream = peers.open_stream(node, header(group, shipment.to()))?;
    let exported =
        shipment.export(&mut |piece| stream.send_blocking(piece.into()).map_err(|error| ApplyError(Box::new(error))));
    // A receiver that has as much already does not wait for the rest.
    if stream.answer().is_some_and(|answer| answer == INSTALLED) {
        return Ok(());
    }
    exported?;
    if stream.finish_blocking()? == INSTALLED { Ok(()) } else { Err("its receiver says something strange".into()) }
}

fn header(group: GroupId, to: ReplicaId) -> Vec<u8> {
    let mut out = vec![STREAM_OF_SNAPSHOT];
    out.extend_from_slice(&group.0.to_be_bytes());
    put_varint(&mut out, to.0);
    out
}

fn read_header(bytes: &[u8]) -> Result<(GroupId, ReplicaId), Malformed> {
    let mut reader = Reader::new(bytes);
    Ok((GroupId(u32::from_be_bytes(reader.fixed()?)), ReplicaId(reader.varint()?)))
}
