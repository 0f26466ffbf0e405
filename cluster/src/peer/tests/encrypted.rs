//! Nodes whose connections are encrypted, and whoever comes with something else.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::super::tls::samples::Authority;
use super::super::wire::hello::MAGIC;
use super::*;

fn with(number: u8, book: &Book, tls: Tls) -> Node {
    Node::start_as(number, book, bind(), |options| PeerOptions { tls: Some(tls), ..options })
}

/// Why a call did not come through.
fn why(from: &Node, to: &Node) -> String {
    match from.transport.call(to.id, "?", PATIENCE).wait() {
        Err(CallError::Unreachable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_passes_as_it_does_without() {
    let (book, authority) = (Book::default(), Authority::new("a"));
    let [a, b] = [1, 2].map(|number| with(number, &book, authority.tls(&[])));
    a.echo(&b, "there");
    b.echo(&a, "and back");
    let lens = [10, 200_000, 0, 70_000, 1, 65_536, 3_000_000];
    for (number, len) in lens.iter().cycle().take(35).enumerate() {
        let mut body = vec![number as u8; *len];
        body.push(number as u8);
        a.transport.send(b.id, Lane::Append, Message::Raft(raft(5, body))).unwrap();
    }
    for (number, len) in lens.iter().cycle().take(35).enumerate() {
        let (_, message) = b.next_raft();
        assert_eq!((message.body.len(), message.body[0]), (len + 1, number as u8));
    }
    let mut stream = a.transport.open_stream(b.id, "header").unwrap();
    let (_, _, mut receiver) = b.next_stream();
    let reading = std::thread::spawn(move || {
        let mut len = 0;
        while let Ok(Some(chunk)) = receiver.next_blocking() {
            len += chunk.len();
        }
        receiver.finish("all of it");
        len
    });
    for _ in 0..40 {
        stream.send_blocking(Bytes::from(vec![7; 200_000])).unwrap();
    }
    assert_eq!(stream.finish_blocking().unwrap(), "all of it");
    assert_eq!(reading.join().unwrap(), 40 * 200_000);
    // A stranger's call is encrypted too, and there are no other connections.
    let call = a.transport.call_address(b.address, "who is there?", PATIENCE);
    let (from, _, responder) = b.next_call();
    assert_eq!(from.standing, Standing::Stranger);
    responder.answer("b");
    assert_eq!(call.wait(), Ok(Bytes::from("b")));
}

#[test]
fn a_secret_is_asked_for_as_well() {
    let (book, authority) = (Book::default(), Authority::new("a"));
    let start = |number, text: &str| {
        let (tls, secret) = (Some(authority.tls(&[])), Some(Secret::new(text).expect("long enough")));
        Node::start_as(number, &book, bind(), |options| PeerOptions { tls, secret, ..options })
    };
    let (a, b) = (start(1, "sesame, open yourself"), start(2, "sesame, open yourself"));
    a.echo(&b, "both know it");
    let c = start(3, "barley, open yourself");
    assert!(why(&c, &a).contains("its `cluster-secret` is another"));
    let d = with(4, &book, authority.tls(&[]));
    assert!(why(&d, &a).contains("it has a `cluster-secret`"));
}

#[test]
fn nodes_of_other_authorities_are_kept_out_and_told_why() {
    let (a, b) = (Authority::new("a"), Authority::new("b"));
    let book = Book::default();
    let mine = with(1, &book, a.tls(&[]));
    let other = with(2, &book, b.tls(&[]));
    let trusting = with(3, &book, b.tls(&[&a]));
    let told = why(&other, &mine);
    assert!(told.contains("its certificate is not accepted: no authority"), "{told}");
    let told = why(&trusting, &mine);
    assert!(told.contains("it does not accept this node's certificate: no authority of its"), "{told}");
    // The other way round it is found out by whoever dials.
    let told = why(&mine, &trusting);
    assert!(told.contains("its certificate is not accepted: no authority"), "{told}");
    assert_eq!(mine.transport.figures().accepts.load(Relaxed), 0);
    until("both are sent away", || mine.transport.figures().refusals.load(Relaxed) == 2);
}

#[test]
fn nodes_with_and_without_tls_say_so_of_each_other() {
    let book = Book::default();
    let plain = Node::start(1, &book);
    let encrypted = with(2, &book, Authority::new("a").tls(&[]));
    let told = why(&plain, &encrypted);
    assert!(told.contains("it has `tls-cluster yes`, and this node has `tls-cluster no`"), "{told}");
    let told = why(&encrypted, &plain);
    assert!(told.contains("has it `tls-cluster yes`?"), "{told}");
    for node in [&plain, &encrypted] {
        assert_eq!(node.transport.figures().accepts.load(Relaxed), 0);
        until("the other is sent away", || node.transport.figures().refusals.load(Relaxed) == 1);
    }
}

/// Says something to a node, and waits until it is sent away.
fn nonsense(node: &Node, bytes: &[u8]) {
    let mut stream = TcpStream::connect(node.address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The other side may have heard enough before it has heard everything.
    let _ = stream.write_all(bytes);
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a client says first, as a node of the same authority would.
fn client_hello(authority: &Authority) -> Vec<u8> {
    let listener = bind();
    let book = Book::default();
    book.note(id(9), listener.local_addr().unwrap());
    let dialer = with(8, &book, authority.tls(&[]));
    let _call = dialer.transport.call(id(9), "?", PATIENCE);
    let (mut stream, _) = listener.accept().unwrap();
    let mut record = [0; 5];
    stream.read_exact(&mut record).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([record[3], record[4]]))];
    stream.read_exact(&mut body).unwrap();
    [&record[..], &body].concat()
}

#[test]
fn nonsense_is_sent_away_in_time_and_nobody_else_notices() {
    let (book, authority) = (Book::default(), Authority::new("a"));
    let timing = Timing { connect: Duration::from_millis(300), ..quick() };
    let tls = Some(authority.tls(&[]));
    let b = Node::start_as(2, &book, bind(), |options| PeerOptions { tls, timing, ..options });
    let a = with(1, &book, authority.tls(&[]));
    a.echo(&b, "before");
    let hello = client_hello(&authority);
    let mut flipped = hello.clone();
    flipped[5] ^= 1;
    // A handshake message of 16 MiB is announced, in records that never end.
    let mut endless = Vec::new();
    for _ in 0..64 {
        endless.extend_from_slice(&[0x16, 3, 1, 0x40, 0]);
        endless.extend_from_slice(&[&[1, 0xff, 0xff, 0xff][..], &[0; 0x4000 - 4]].concat());
    }
    let cases: [&[u8]; 10] = [
        // The first four wait for more, until it has been long enough.
        b"",
        &[0x16],
        &hello[..hello.len() / 2],
        &hello,
        &flipped,
        &[0xff; 100_000],
        &endless,
        b"GET / HTTP/1.1\r\n\r\n",
        &MAGIC,
        &[0x15, 3, 3, 0, 2, 2, 40],
    ];
    for bytes in cases {
        nonsense(&b, bytes);
    }
    // Gone in the middle.
    drop(TcpStream::connect(b.address).and_then(|mut stream| stream.write_all(&hello[..20])));
    until("all are sent away", || b.transport.figures().refusals.load(Relaxed) == cases.len() as u64 + 1);
    a.echo(&b, "after");
}

#[test]
fn connections_are_made_with_certificates_that_were_changed() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let book = Book::default();
    let [a, b] = [1, 2].map(|number| with(number, &book, old.tls(&[])));
    a.echo(&b, "first");
    for node in [&a, &b] {
        node.transport.put_tls(new.tls(&[]));
    }
    a.echo(&b, "over the connection that there is");
    let connects = a.transport.figures().connects.load(Relaxed);
    for node in [&a, &b] {
        node.transport.set_cluster(ClusterId(8));
    }
    until("there is a new connection", || {
        // It may be lost with the one that there was.
        let _ = a.transport.send(b.id, Lane::Control, Message::Heartbeat(Bytes::new()));
        a.transport.figures().connects.load(Relaxed) > connects
    });
    a.echo(&b, "over the new one");
    let c = with(3, &book, old.tls(&[]));
    let told = why(&c, &a);
    assert!(told.contains("its certificate is not accepted"), "{told}");
}
