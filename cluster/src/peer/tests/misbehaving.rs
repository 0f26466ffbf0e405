//! Peers that do not keep to the protocol.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::super::limits::{APPEND_QUEUE_BYTES_MAX, STREAM_WINDOW_BYTES};
use super::super::wire::frame::put_frame;
use super::super::wire::hello::{Hello, MAGIC, Me, VERSION};
use super::super::wire::packet::{CallNumber, Kind, Packet, StreamNumber};
use super::*;

/// A peer that the test plays itself.
struct Raw(TcpStream);

impl Raw {
    fn dial(node: &Node) -> Raw {
        let stream = TcpStream::connect(node.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Raw(stream)
    }

    fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("writing");
    }

    fn packet(&mut self, packet: Packet) {
        let mut bytes = Vec::new();
        packet.encode().put(&mut bytes);
        self.say(&bytes);
    }

    fn hello(&mut self, hello: Hello) {
        self.say(&MAGIC);
        self.packet(Packet::Hello(hello));
    }

    /// Everything until the other side closes. A reset is as good: it happens when it has not read everything.
    fn until_closed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut part = [0; 4096];
        loop {
            match self.0.read(&mut part) {
                Ok(0) => return bytes,
                Ok(count) => bytes.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn member(number: u8, lane: Lane) -> Hello {
    let me = Me { cluster: CLUSTER, node: id(number), incarnation: Incarnation(1) };
    me.hello(Some(CLUSTER), None, lane)
}

fn short_waits() -> Timing {
    Timing { connect: Duration::from_millis(50), ..quick() }
}

#[test]
fn nonsense_is_sent_away_and_nobody_else_notices() {
    let book = Book::default();
    let b = Node::start_with(2, &book, bind(), Incarnation(1), short_waits());
    let a = Node::start(1, &book);
    a.echo(&b, "before");
    let mut damaged = MAGIC.to_vec();
    put_frame(&mut damaged, Kind::Hello, b"", b"not a hello");
    let mut flipped = MAGIC.to_vec();
    Packet::Hello(member(9, Lane::Control)).encode().put(&mut flipped);
    flipped[20] ^= 1;
    let mut out_of_place = MAGIC.to_vec();
    Packet::Ping { number: 1 }.encode().put(&mut out_of_place);
    let nonsense: [&[u8]; 8] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        &[0xff; 100_000],
        &MAGIC,
        &damaged,
        &flipped,
        &out_of_place,
    ];
    for bytes in nonsense {
        let mut raw = Raw::dial(&b);
        // The other side may have heard enough before it has heard everything.
        let _ = raw.0.write_all(bytes);
        assert_eq!(raw.until_closed(), b"", "{bytes:?}");
    }
    let mut huge = Raw::dial(&b);
    huge.say(&MAGIC);
    huge.say(&u32::MAX.to_le_bytes());
    huge.say(&[0; 4]);
    assert_eq!(huge.until_closed(), b"");
    let mut half = Raw::dial(&b);
    half.say(&flipped[..30]);
    half.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(half.until_closed(), b"");
    a.echo(&b, "after");
    assert_eq!(b.transport.figures().refusals.load(Relaxed), nonsense.len() as u64 + 2);
}

#[test]
fn whoever_leaves_the_protocol_after_its_hello_is_cut_off() {
    let book = Book::default();
    let b = Node::start(2, &book);
    let stream = StreamNumber(1);
    let long = Bytes::from(vec![0; STREAM_WINDOW_BYTES / 20]);
    let data = Packet::StreamData { stream, body: long };
    let open = Packet::StreamOpen { stream, header: Bytes::new() };
    let offences: Vec<Vec<Packet>> = vec![
        vec![Packet::Hello(member(9, Lane::Control))],
        vec![Packet::Pong { number: 1 }],
        vec![Packet::StreamCredit { stream, bytes: 1 }],
        vec![open.clone(), open.clone()],
        [vec![open.clone()], vec![data; 25]].concat(),
        vec![open, Packet::StreamEnd { stream }, Packet::StreamData { stream, body: Bytes::new() }],
        vec![Packet::Begin { flow: 1, kind: Kind::Raft, total: u32::MAX }],
        vec![Packet::Piece { flow: 1, body: Bytes::from("of nothing") }],
    ];
    for packets in offences {
        let mut raw = Raw::dial(&b);
        raw.hello(member(9, Lane::Bulk));
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.clone().encode().put(&mut bytes));
        let _ = raw.0.write_all(&bytes);
        let said = raw.until_closed();
        assert!(said.starts_with(&MAGIC), "it said hello: {packets:?}");
    }
    let mut raw = Raw::dial(&b);
    raw.hello(member(9, Lane::Control));
    raw.say(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    raw.until_closed();
    until("all are gone", || b.transport.links().is_empty());
}

#[test]
fn strangers_may_do_nothing_but_call() {
    let book = Book::default();
    let b = Node::start(2, &book);
    let stranger = Hello { cluster: None, ..member(9, Lane::Control) };
    for packet in [
        Packet::Raft(raft(1, "let me in")),
        Packet::Heartbeat { body: Bytes::new() },
        Packet::StreamOpen { stream: StreamNumber(1), header: Bytes::new() },
    ] {
        let mut raw = Raw::dial(&b);
        raw.hello(stranger);
        raw.packet(packet);
        raw.until_closed();
    }
    let mut raw = Raw::dial(&b);
    raw.hello(Hello { lane: Lane::Append, ..stranger });
    let said = String::from_utf8_lossy(&raw.until_closed()).into_owned();
    assert!(said.contains("belongs to no cluster"), "{said}");
    let mut raw = Raw::dial(&b);
    raw.hello(stranger);
    raw.packet(Packet::Call { number: CallNumber(1), timeout_ms: 5, body: Bytes::from("join") });
    let first = b.next(Some);
    assert!(
        matches!(first, Event::Call(from, ..) if from.standing == Standing::Stranger),
        "none of the others arrived"
    );
}

#[test]
fn another_version_is_told_so() {
    let book = Book::default();
    let b = Node::start(2, &book);
    let mut raw = Raw::dial(&b);
    raw.hello(Hello { version: VERSION + 1, oldest: VERSION + 1, ..member(9, Lane::Control) });
    let said = String::from_utf8_lossy(&raw.until_closed()).into_owned();
    assert!(said.contains("versions 2 to 2 of the peer protocol, here 1 to 1"), "{said}");
}

#[test]
fn a_newer_connection_of_a_lane_replaces_the_older_one() {
    let book = Book::default();
    let b = Node::start(2, &book);
    let mut former = Raw::dial(&b);
    former.hello(member(9, Lane::Append));
    former.packet(Packet::Raft(raft(1, "first")));
    assert_eq!(b.next_raft().1.body, "first");
    let mut other_lane = Raw::dial(&b);
    other_lane.hello(member(9, Lane::Control));
    other_lane.packet(Packet::Raft(raft(1, "vote")));
    assert_eq!(b.next_raft().1.body, "vote");

    let mut newer = Raw::dial(&b);
    newer.hello(member(9, Lane::Append));
    newer.packet(Packet::Raft(raft(1, "second")));
    assert_eq!(b.next_raft().1.body, "second");
    let mut late = Vec::new();
    Packet::Raft(raft(1, "too late")).encode().put(&mut late);
    let _ = former.0.write_all(&late);
    former.until_closed();
    newer.packet(Packet::Raft(raft(1, "third")));
    assert_eq!(b.next_raft().1.body, "third");
    other_lane.packet(Packet::Raft(raft(1, "vote again")));
    assert_eq!(b.next_raft().1.body, "vote again");
}

/// Listens in the place of node 9, and says hello to the first who comes.
fn impostor(book: &Book, lane: Lane) -> std::thread::JoinHandle<Raw> {
    let listener = bind();
    book.note(id(9), listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Raw(stream);
        raw.hello(member(9, lane));
        raw
    })
}

#[test]
fn a_peer_that_does_not_read_is_given_up_and_costs_no_more_than_the_queue() {
    let book = Book::default();
    let timing = Timing { silence: Duration::from_millis(500), ping: Duration::from_millis(20), ..quick() };
    let a = Node::start_with(1, &book, bind(), Incarnation(1), timing);
    let peer = impostor(&book, Lane::Append);
    let body = Bytes::from(vec![1; 1 << 20]);
    let mut taken = 0;
    let dropped = loop {
        match a.transport.send(id(9), Lane::Append, Message::Raft(raft(1, body.clone()))) {
            Ok(()) => taken += 1,
            Err(dropped) => break dropped,
        }
        assert!(taken < 4 * APPEND_QUEUE_BYTES_MAX / body.len(), "there is no end");
    };
    assert_eq!(dropped, Dropped::Full);
    assert_eq!(a.transport.figures().dropped_full.load(Relaxed), 1);
    let queued = a.transport.links()[Lane::Append as usize].queued_bytes;
    assert!(queued <= APPEND_QUEUE_BYTES_MAX, "{queued} bytes");
    let raw = peer.join().unwrap();
    assert_eq!(a.next_change(LinkChange::Down), (id(9), Lane::Append));
    let links = a.transport.links();
    let append = &links[Lane::Append as usize];
    assert!(matches!(&append.state, LinkState::Failed { why } if why.contains("nothing was heard")), "{append:?}");
    assert_eq!(append.queued_bytes, 0);
    drop(raw);
}

#[test]
fn an_acceptor_that_is_no_basalt_is_named() {
    let book = Book::default();
    let a = Node::start_with(1, &book, bind(), Incarnation(1), short_waits());
    let cases: [(&'static [u8], &str); 4] = [
        (b"-ERR unknown command 'BASALT'\r\n", "the client port"),
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"", "closed the connection"),
        (&MAGIC, "closed the connection"),
    ];
    for (answer, expected) in cases {
        let listener = bind();
        book.note(id(9), listener.local_addr().unwrap());
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of the hello, so that closing is no reset.
            let mut hello = [0; MAGIC.len() + 9 + 61];
            stream.read_exact(&mut hello).unwrap();
            stream.write_all(answer).unwrap();
        });
        let error = a.transport.call(id(9), "?", PATIENCE).wait().unwrap_err();
        assert!(matches!(&error, CallError::Unreachable(why) if why.contains(expected)), "{error}");
        peer.join().unwrap();
    }
    // One that listens and says nothing.
    let silent = bind();
    book.note(id(9), silent.local_addr().unwrap());
    let error = a.transport.call(id(9), "?", PATIENCE).wait().unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(why) if why.contains("no connection within")), "{error}");
}

#[test]
fn a_caller_that_is_answered_with_nonsense_loses_its_calls() {
    let book = Book::default();
    let a = Node::start(1, &book);
    let peer = impostor(&book, Lane::Control);
    let call = a.transport.call(id(9), "?", PATIENCE);
    let mut raw = peer.join().unwrap();
    until("it is connected", || a.transport.node_status(id(9)).is_connected);
    // The call is on its way when the first ping has left; both leave together.
    let mut hello = [0; MAGIC.len() + 9 + 61 + 1];
    raw.0.read_exact(&mut hello).unwrap();
    raw.packet(Packet::Raft(raft(1, "this is not the way")));
    assert_eq!(call.wait(), Err(CallError::Lost));
}

#[test]
fn a_former_connection_does_not_give_way_to_one_that_proves_nothing() {
    let book = Book::default();
    let [a, b] = [1, 2].map(|number| Node::start_knowing(number, &book, "sesame, open yourself"));
    a.echo(&b, "first");
    let accepted = b.transport.figures().accepts.load(Relaxed);
    // It says that it is a, and sends a challenge, but cannot prove anything.
    let me = Me { cluster: CLUSTER, node: a.id, incarnation: Incarnation(9) };
    let mut false_one = TcpStream::connect(b.address).expect("a connection");
    let hello = Packet::Hello(me.hello(Some(CLUSTER), Some(b.id), Lane::Control));
    let mut said = MAGIC.to_vec();
    for packet in [hello, Packet::Challenge { nonce: [1; 32] }, Packet::Proof { code: [2; 32] }] {
        packet.encode().put(&mut said);
    }
    false_one.write_all(&said).expect("it is read");
    let mut answer = Vec::new();
    false_one.read_to_end(&mut answer).expect("it is closed");
    let refusal = String::from_utf8_lossy(&answer);
    assert!(refusal.contains("it does not know the `cluster-secret`"), "{refusal:?}");
    a.echo(&b, "still");
    assert_eq!(b.transport.figures().accepts.load(Relaxed), accepted);
}
