//! How fast the transport is between two nodes of one process over loopback: `cargo run -p basalt-cluster --example
//! peer_speed`. Both ends share the machine, so that each figure is what one core does for both. With the files of a
//! certificate, its key and its authority as arguments, the same by TLS.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use basalt_cluster::group::{GroupId, ReplicaId};
use basalt_cluster::ids::{ClusterId, Incarnation, NodeId};
use basalt_cluster::peer::{
    AddressBook, BulkReceiver, Caller, Lane, Message, PeerHandler, PeerOptions, PeerTransport, RaftMessage, Responder,
    Timing, Tls, TlsFiles,
};
use basalt_storage::clock::UnixMs;
use bytes::Bytes;

#[derive(Default)]
struct Counting {
    messages: AtomicU64,
}

impl PeerHandler for Counting {
    fn raft(&self, _from: NodeId, _message: RaftMessage) {
        self.messages.fetch_add(1, Relaxed);
    }

    fn heartbeat(&self, _from: NodeId, _report: Bytes) {}

    fn call(&self, _from: Caller, question: Bytes, responder: Responder) {
        responder.answer(question);
    }

    fn stream(&self, _from: NodeId, _header: Bytes, mut stream: BulkReceiver) {
        std::thread::spawn(move || {
            while let Ok(Some(_)) = stream.next_blocking() {}
            stream.finish("");
        });
    }
}

struct Book(Vec<(NodeId, SocketAddr)>);

impl AddressBook for Book {
    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.0.iter().find(|(id, _)| *id == node).map(|(_, address)| *address)
    }
}

/// What the command line says of TLS.
fn tls() -> Option<Tls> {
    let mut paths = std::env::args().skip(1).map(Into::into);
    let (certificate, key, authorities) = (paths.next()?, paths.next()?, paths.next()?);
    let files = TlsFiles { certificate, key, authorities, ..TlsFiles::default() };
    Some(Tls::read(&files).unwrap_or_else(|error| panic!("{error}")))
}

fn main() {
    let tls = tls();
    let ids = [1, 2].map(|number| NodeId::new([number; 20]));
    let listeners = ids.map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let address = |listener: &TcpListener| listener.local_addr().expect("its address");
    let book = Arc::new(Book(ids.iter().copied().zip(listeners.iter().map(address)).collect()));
    let handler = Arc::new(Counting::default());
    let mut listeners = listeners.into_iter();
    let [a, _b] = ids.map(|node| {
        let options = PeerOptions {
            node,
            incarnation: Incarnation(1),
            cluster: ClusterId(1),
            secret: None,
            tls: tls.clone(),
            listeners: listeners.by_ref().take(1).collect(),
            timing: Timing::default(),
            chance: Box::new(|| 0),
            clock: Arc::new(|| UnixMs(0)),
        };
        PeerTransport::start(options, handler.clone(), book.clone()).expect("a transport")
    });
    let to = ids[1];

    let count = 5_000;
    let start = Instant::now();
    for _ in 0..count {
        a.call(to, "a question", Duration::from_secs(5)).wait().expect("an answer");
    }
    println!("calls, one at a time: {:.1} us each", start.elapsed().as_secs_f64() * 1e6 / f64::from(count));

    for (len, count) in [(100, 500_000u64), (4096, 100_000), (1 << 20, 1000)] {
        let body = Bytes::from(vec![7; len]);
        let before = handler.messages.load(Relaxed);
        let start = Instant::now();
        let mut sent = 0;
        while sent < count {
            let (group, from) = (GroupId(1), ReplicaId(1));
            let message = Message::Raft(RaftMessage { group, from, to: ReplicaId(2), body: body.clone() });
            match a.send(to, Lane::Append, message) {
                Ok(()) => sent += 1,
                Err(_) => std::thread::yield_now(),
            }
        }
        // Those that were on their way when a connection broke are lost.
        let (breaks, sending) = (a.figures().breaks.load(Relaxed), Instant::now());
        while handler.messages.load(Relaxed) < before + count && sending.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        let lost = before + count - handler.messages.load(Relaxed);
        if lost > 0 {
            println!("{lost} of {count} messages were lost, {breaks} connections broke");
        }
        let took = start.elapsed().as_secs_f64();
        let rate = count as f64 / took;
        println!("messages of {len} bytes: {rate:.0} /s, {:.0} MB/s", rate * len as f64 / 1e6);
    }

    let start = Instant::now();
    let mut stream = a.open_stream(to, "").expect("a stream");
    let (chunk, count) = (Bytes::from(vec![7; 256 << 10]), 4000);
    for _ in 0..count {
        stream.send_blocking(chunk.clone()).expect("room");
    }
    stream.finish_blocking().expect("an acknowledgement");
    println!("one stream: {:.0} MB/s", f64::from(count) * chunk.len() as f64 / 1e6 / start.elapsed().as_secs_f64());
}
