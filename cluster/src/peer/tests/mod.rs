//! Whole transports on loopback, with ports from the kernel, and peers that misbehave.

mod calls;
mod encrypted;
mod links;
mod misbehaving;
mod streams;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use basalt_storage::clock::UnixMs;
use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::group::{GroupId, ReplicaId};

/// No test waits for so long unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

const CLUSTER: ClusterId = ClusterId(7);

enum Event {
    Raft(NodeId, RaftMessage),
    Heartbeat(NodeId, Bytes),
    Call(Caller, Bytes, Responder),
    Stream(NodeId, Bytes, BulkReceiver),
    Link(NodeId, Lane, LinkChange),
}

/// Posts what arrives, for the test to look at.
struct Post(Mutex<Sender<Event>>);

impl Post {
    fn put(&self, event: Event) {
        // The test may be over.
        let _ = self.0.lock().send(event);
    }
}

impl PeerHandler for Post {
    fn raft(&self, from: NodeId, message: RaftMessage) {
        self.put(Event::Raft(from, message));
    }

    fn heartbeat(&self, from: NodeId, report: Bytes) {
        self.put(Event::Heartbeat(from, report));
    }

    fn call(&self, from: Caller, question: Bytes, responder: Responder) {
        self.put(Event::Call(from, question, responder));
    }

    fn stream(&self, from: NodeId, header: Bytes, stream: BulkReceiver) {
        self.put(Event::Stream(from, header, stream));
    }

    fn link(&self, to: NodeId, lane: Lane, change: LinkChange) {
        self.put(Event::Link(to, lane, change));
    }

    fn admit(&self, from: &Caller) -> Result<(), String> {
        if from.node == id(99) { Err("node 99 was forgotten".to_owned()) } else { Ok(()) }
    }
}

#[derive(Clone, Default)]
struct Book(Arc<Mutex<HashMap<NodeId, SocketAddr>>>);

impl Book {
    fn note(&self, node: NodeId, address: SocketAddr) {
        self.0.lock().insert(node, address);
    }
}

impl AddressBook for Book {
    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.0.lock().get(&node).copied()
    }
}

/// A transport, and what has arrived at it.
struct Node {
    id: NodeId,
    transport: PeerTransport,
    events: Receiver<Event>,
    address: SocketAddr,
}

fn id(number: u8) -> NodeId {
    NodeId::new([number; 20])
}

fn quick() -> Timing {
    Timing { retry_first: Duration::from_millis(5), retry_last: Duration::from_millis(20), ..Timing::default() }
}

fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

impl Node {
    fn start(number: u8, book: &Book) -> Node {
        Node::start_with(number, book, bind(), Incarnation(1), quick())
    }

    fn start_with(number: u8, book: &Book, listener: TcpListener, incarnation: Incarnation, timing: Timing) -> Node {
        Node::start_as(number, book, listener, |options| PeerOptions { incarnation, timing, ..options })
    }

    /// One that asks whoever connects for this, and knows it.
    fn start_knowing(number: u8, book: &Book, secret: &str) -> Node {
        let secret = Secret::new(secret).expect("long enough");
        Node::start_as(number, book, bind(), |options| PeerOptions { secret: Some(secret), ..options })
    }

    fn start_as(
        number: u8,
        book: &Book,
        listener: TcpListener,
        change: impl FnOnce(PeerOptions) -> PeerOptions,
    ) -> Node {
        let (sender, events) = channel();
        let address = listener.local_addr().expect("its address");
        book.note(id(number), address);
        let lots = AtomicU64::new(number.into());
        let started = Instant::now();
        let options = change(PeerOptions {
            node: id(number),
            incarnation: Incarnation(1),
            cluster: CLUSTER,
            secret: None,
            tls: None,
            listeners: vec![listener],
            timing: quick(),
            chance: Box::new(move || lots.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed)),
            clock: Arc::new(move || UnixMs(1_000_000 + started.elapsed().as_millis() as i64)),
        });
        let handler = Arc::new(Post(Mutex::new(sender)));
        let transport = PeerTransport::start(options, handler, Arc::new(book.clone())).expect("a transport");
        Node { id: id(number), transport, events, address }
    }

    /// The next event that the test is interested in.
    fn next<T>(&self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let event = self.events.recv_timeout(until.saturating_duration_since(Instant::now()));
            if let Some(picked) = pick(event.expect("an event in time")) {
                return picked;
            }
        }
    }

    fn next_raft(&self) -> (NodeId, RaftMessage) {
        self.next(|event| match event {
            Event::Raft(from, message) => Some((from, message)),
            _ => None,
        })
    }

    fn next_call(&self) -> (Caller, Bytes, Responder) {
        self.next(|event| match event {
            Event::Call(from, question, responder) => Some((from, question, responder)),
            _ => None,
        })
    }

    fn next_stream(&self) -> (NodeId, Bytes, BulkReceiver) {
        self.next(|event| match event {
            Event::Stream(from, header, stream) => Some((from, header, stream)),
            _ => None,
        })
    }

    fn next_change(&self, wanted: LinkChange) -> (NodeId, Lane) {
        self.next(|event| match event {
            Event::Link(node, lane, change) if change == wanted => Some((node, lane)),
            _ => None,
        })
    }

    /// Asks, and has the other side answer with the question.
    fn echo(&self, other: &Node, question: &'static str) {
        let call = self.transport.call(other.id, question, PATIENCE);
        let (from, asked, responder) = other.next_call();
        assert_eq!((from.node, &asked[..]), (self.id, question.as_bytes()));
        responder.answer(asked);
        assert_eq!(call.wait(), Ok(Bytes::from(question)));
    }
}

fn raft(group: u32, body: impl Into<Bytes>) -> RaftMessage {
    RaftMessage { group: GroupId(group), from: ReplicaId(1), to: ReplicaId(2), body: body.into() }
}

/// Waits for something that nobody announces.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}
