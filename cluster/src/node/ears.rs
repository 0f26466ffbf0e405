//! What other nodes say to this one, and where they are. The transport's thread comes in here and must not wait, so
//! whatever takes time is done by threads of its own.

use super::carrier::{STREAM_OF_SLOTS, STREAM_OF_SNAPSHOT};
use super::decide::Decision;
use super::host::Node;
use super::map_cell::{MapCell, encoded};
use super::wire::{Answer, Beat, Greeting, Question};
use crate::ids::NodeId;
use crate::map::{Change, ClusterMap};
use crate::peer::{AddressBook, BulkReceiver, Caller, PeerHandler, RaftMessage, Responder, Standing};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::Builder;

/// The node's ears. Until there is a node behind them, they hear nothing.
#[derive(Default)]
pub struct Ears(OnceLock<Weak<Node>>);

impl Ears {
    pub fn listen_for(&self, node: &Arc<Node>) {
        // A node has one pair.
        let _ = self.0.set(Arc::downgrade(node));
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.0.get()?.upgrade()
    }
}

impl PeerHandler for Ears {
    fn raft(&self, _: NodeId, message: RaftMessage) {
        if let Some(node) = self.node() {
            node.carrier().receive(&message);
        }
    }

    fn heartbeat(&self, from: NodeId, report: Bytes) {
        if let (Some(node), Ok(beat)) = (self.node(), Beat::decode(&report)) {
            node.heard.note(from, beat);
        }
    }

    fn call(&self, from: Caller, question: Bytes, responder: Responder) {
        let Some(node) = self.node() else { return responder.refuse("this node is starting") };
        let question = match Question::decode(&question) {
            Ok(question) => question,
            Err(malformed) => return responder.refuse(&malformed.to_string()),
        };
        let answer = move || {
            let answer = node.answer(&from, question);
            match answer {
                Ok(answer) => responder.answer(answer.encode()),
                Err(why) => responder.refuse(&why),
            }
        };
        // The transport bounds how many calls are open.
        if let Err(error) = Builder::new().name("cluster-answer".into()).spawn(answer) {
            tracing::error!(%error, "the system refused a thread for a question of another node");
        }
    }

    fn stream(&self, _: NodeId, header: Bytes, stream: BulkReceiver) {
        let Some(node) = self.node() else { return stream.refuse("this node is starting") };
        match header.first() {
            Some(&STREAM_OF_SNAPSHOT) => node.carrier().take_in(&header.slice(1..), stream),
            Some(&STREAM_OF_SLOTS) => node.stage().take_in_slots(header.slice(1..), stream),
            _ => stream.refuse("a stream of an unknown kind"),
        }
    }

    /// Whoever was forgotten has no say any more.
    fn admit(&self, from: &Caller) -> Result<(), String> {
        let Some(node) = self.node() else { return Ok(()) };
        let was_removed = from.standing == Standing::Member && node.map().tombstones().contains_key(&from.node);
        if was_removed {
            Err("you were removed from this cluster: CLUSTER RESET makes you another node".into())
        } else {
            Ok(())
        }
    }
}

impl Node {
    /// What this node says to a question. Blocks. An error means that nothing was done.
    fn answer(self: &Arc<Self>, from: &Caller, question: Question) -> Result<Answer, String> {
        let is_stranger = from.standing == Standing::Stranger;
        match question {
            Question::Greet(_) => Ok(Answer::Greeting(self.greeting())),
            Question::Invite { address } if is_stranger => {
                // The one who asks waits for an answer, so it has it before this node comes to join it.
                self.join_later(address).map_err(|error| error.to_string())?;
                Ok(Answer::Accepted)
            }
            Question::Decide(Change::Join(joining)) if is_stranger => {
                if joining.node != from.node {
                    return Err("it asks for another node".into());
                }
                // Whoever came into a cluster that its only other node is about to leave would be left behind.
                let is_alone = self.map().member_count() == 1;
                let _stays = match self.joining.try_read() {
                    None if is_alone => return Err("this node is joining a cluster itself: ask again".into()),
                    lock => lock,
                };
                Ok(match self.decide(Change::Join(joining)) {
                    Decision::Made(applied) => {
                        let map = Some(encoded(&self.map()));
                        Answer::Decided { applied, map }
                    }
                    Decision::Refused(why) => Answer::Refused(why),
                    Decision::Unknown => return Err("the root group has no quorum".into()),
                })
            }
            _ if is_stranger => Err("this is for members of the cluster".into()),
            Question::Decide(change) => Ok(self.decide_here(change)),
            Question::Learn(map) => {
                let map = Arc::new(ClusterMap::decode(&map).map_err(|malformed| malformed.to_string())?);
                self.learn(&map).map_err(|error| error.to_string())?;
                Ok(Answer::Learned(map.version()))
            }
            Question::Loads => match self.root() {
                Some(_) => Ok(Answer::Loads(self.heard.loads.figures())),
                None => Err("this node has no replica of the root group".into()),
            },
            Question::Invite { .. } => Err("this node belongs to your cluster".into()),
            Question::Front(question) => self.stage().answer(&question).map(Answer::Front),
        }
    }

    pub(super) fn greeting(&self) -> Greeting {
        let map = self.map();
        Greeting { node: self.me, cluster: map.cluster_id(), members: map.member_count() as u64, mode: map.mode() }
    }
}

/// Where nodes are: by the map, until one is found elsewhere.
pub struct Addresses {
    cell: Arc<MapCell>,
    /// Where a node was found, and where it is by the map from which it had gone. When the map says something else, it
    /// has heard of it, and later.
    found: Mutex<BTreeMap<NodeId, Found>>,
}

struct Found {
    left: SocketAddr,
    is_at: SocketAddr,
}

impl Addresses {
    pub fn new(cell: Arc<MapCell>) -> Addresses {
        Addresses { cell, found: Mutex::default() }
    }

    /// This node of the cluster has said itself that it is there. Returns whether that is news.
    pub fn note(&self, node: NodeId, is_at: SocketAddr) -> bool {
        let Some(left) = self.by_map(node) else { return false };
        let is_news = self.address(node) != Some(is_at);
        if is_news {
            self.found.lock().insert(node, Found { left, is_at });
        }
        is_news
    }

    fn by_map(&self, node: NodeId) -> Option<SocketAddr> {
        let map = self.cell.map()?;
        let address = &map.node(node)?.address;
        Some(SocketAddr::new(address.ip, address.peer_port))
    }
}

impl AddressBook for Addresses {
    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        let by_map = self.by_map(node)?;
        let found = self.found.lock();
        Some(found.get(&node).filter(|found| found.left == by_map).map_or(by_map, |found| found.is_at))
    }
}
