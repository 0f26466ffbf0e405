//! Connections: made when needed, made again, refused, closed.

use super::*;

#[test]
fn messages_of_a_group_arrive_in_order() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let lens = [10, 200_000, 0, 70_000, 1, 65_536, 300_000];
    for (number, len) in lens.iter().cycle().take(70).enumerate() {
        let mut body = vec![number as u8; *len];
        body.push(number as u8);
        a.transport.send(b.id, Lane::Append, Message::Raft(raft(5, body))).unwrap();
    }
    for (number, len) in lens.iter().cycle().take(70).enumerate() {
        let (from, message) = b.next_raft();
        assert_eq!((from, message.group, message.to), (a.id, GroupId(5), ReplicaId(2)));
        assert_eq!((message.body.len(), message.body[0]), (len + 1, number as u8));
    }
}

#[test]
fn three_nodes_talk_to_each_other_on_all_lanes() {
    let book = Book::default();
    let nodes = [Node::start(1, &book), Node::start(2, &book), Node::start(3, &book)];
    for from in &nodes {
        for to in nodes.iter().filter(|to| to.id != from.id) {
            for lane in [Lane::Control, Lane::Append] {
                let body = format!("{} {}", from.id, lane.name());
                from.transport.send(to.id, lane, Message::Raft(raft(1, body))).unwrap();
            }
            from.transport.send(to.id, Lane::Control, Message::Heartbeat(Bytes::from("alive"))).unwrap();
        }
    }
    for to in &nodes {
        let mut seen = Vec::new();
        while seen.len() < 6 {
            seen.push(to.next(|event| match event {
                Event::Raft(from, message) => Some((from, String::from_utf8(message.body.to_vec()).unwrap())),
                Event::Heartbeat(from, report) => Some((from, String::from_utf8(report.to_vec()).unwrap())),
                _ => None,
            }));
        }
        seen.sort();
        let others = nodes.iter().map(|node| node.id).filter(|node| *node != to.id);
        let mut expected: Vec<_> = others
            .flat_map(|from| {
                [(from, "alive".to_owned()), (from, format!("{from} append")), (from, format!("{from} control"))]
            })
            .collect();
        expected.sort();
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_node_that_was_started_again_is_found_again() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    a.echo(&b, "first");
    let address = b.address;
    drop(b);
    assert_eq!(a.next_change(LinkChange::Down), (id(2), Lane::Control));
    let error = a.transport.call(id(2), "anybody?", PATIENCE).wait().unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error}");
    let listener = TcpListener::bind(address).expect("the same port");
    let b = Node::start_with(2, &book, listener, Incarnation(2), quick());
    // Those that wait out the last pause are answered.
    a.echo(&b, "second");
    a.next_change(LinkChange::Up);
    b.echo(&a, "back");
}

#[test]
fn a_new_address_takes_effect_with_the_next_connection() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    a.echo(&b, "first");
    drop(b);
    a.next_change(LinkChange::Down);
    let b = Node::start_with(2, &book, bind(), Incarnation(2), quick());
    a.echo(&b, "second");
}

#[test]
fn raft_is_told_at_once_that_a_node_cannot_be_reached() {
    let book = Book::default();
    // A pause that does not end during the test.
    let timing = Timing { retry_first: PATIENCE * 4, retry_last: PATIENCE * 4, ..quick() };
    let a = Node::start_with(1, &book, bind(), Incarnation(1), timing);
    a.transport.send(id(2), Lane::Append, Message::Raft(raft(1, "lost"))).unwrap();
    assert_eq!(a.next_change(LinkChange::Down), (id(2), Lane::Append));
    let sent = a.transport.send(id(2), Lane::Append, Message::Raft(raft(1, "in vain")));
    assert_eq!(sent, Err(Dropped::Unreachable));
    assert_eq!(a.transport.figures().dropped_unreachable.load(Relaxed), 1);
    let links = a.transport.links();
    let append = links.iter().find(|link| link.lane == Lane::Append).unwrap();
    assert!(matches!(&append.state, LinkState::Failed { why } if why.contains("address")), "{append:?}");
    assert_eq!((append.dropped, append.queued_bytes), (1, 0));

    // The node turns up: no need to wait out the pause.
    let b = Node::start(2, &book);
    b.transport.send(a.id, Lane::Control, Message::Heartbeat(Bytes::from("here I am"))).unwrap();
    a.next(|event| matches!(event, Event::Heartbeat(..)).then_some(()));
    a.transport.send(id(2), Lane::Append, Message::Raft(raft(1, "found"))).unwrap();
    assert_eq!(b.next_raft().1.body, "found");
}

#[test]
fn a_node_of_another_cluster_is_sent_away() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    a.transport.set_cluster(ClusterId(8));
    let error = a.transport.call(b.id, "hello?", PATIENCE).wait().unwrap_err();
    let CallError::Unreachable(why) = &error else { panic!("{error}") };
    assert!(why.contains("refused by the other side: it belongs to cluster 0000000000000008"), "{why}");
    // Having joined, it is let in.
    a.transport.set_cluster(CLUSTER);
    a.echo(&b, "now?");
}

#[test]
fn another_node_at_the_address_is_noticed() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    book.note(id(3), b.address);
    let error = a.transport.call(id(3), "are you 3?", PATIENCE).wait().unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(why) if why.contains("looking for node 0303")), "{error}");
}

#[test]
fn a_node_that_was_forgotten_is_not_admitted() {
    let book = Book::default();
    let (a, b) = (Node::start(99, &book), Node::start(2, &book));
    let error = a.transport.call(b.id, "me again", PATIENCE).wait().unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(why) if why.contains("node 99 was forgotten")), "{error}");
}

#[test]
fn an_older_start_of_a_node_is_refused_once_a_later_one_is_known() {
    let book = Book::default();
    let (b, other) = (Node::start(2, &book), Book::default());
    other.note(b.id, b.address);
    let later = Node::start_with(1, &book, bind(), Incarnation(5), quick());
    later.echo(&b, "I am the fifth");
    let earlier = Node::start_with(1, &other, bind(), Incarnation(4), quick());
    let error = earlier.transport.call(b.id, "I am the fourth", PATIENCE).wait().unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(why) if why.contains("incarnation 5 is known")), "{error}");
    let latest = Node::start_with(1, &other, bind(), Incarnation(6), quick());
    latest.echo(&b, "I am the sixth");
    assert_eq!(later.next_change(LinkChange::Down), (b.id, Lane::Control));
}

#[test]
fn lanes_with_nothing_to_say_are_closed_and_opened_again() {
    let book = Book::default();
    let timing = Timing { idle: Duration::from_millis(20), ping: Duration::from_millis(5), ..quick() };
    let a = Node::start_with(1, &book, bind(), Incarnation(1), timing);
    let b = Node::start(2, &book);
    for _ in 0..3 {
        a.echo(&b, "busy");
        let state = || a.transport.links()[0].state.clone();
        until("the lane is closed", || state() == LinkState::Resting);
        until("the other side has noticed", || b.transport.links().is_empty());
    }
    assert_eq!(a.transport.figures().connects.load(Relaxed), 3);
    assert_eq!(a.transport.figures().breaks.load(Relaxed), 0);
}

#[test]
fn a_call_without_an_answer_keeps_its_lane_open() {
    let book = Book::default();
    let timing = Timing { idle: Duration::from_millis(1), ping: Duration::from_millis(1), ..quick() };
    let a = Node::start_with(1, &book, bind(), Incarnation(1), timing);
    let b = Node::start(2, &book);
    let call = a.transport.call(b.id, "think about it", PATIENCE);
    let (_, _, responder) = b.next_call();
    let round_trip = || a.transport.node_status(b.id).pong_received;
    let first = round_trip();
    until("some pings have passed", || round_trip() > first);
    responder.answer("done");
    assert_eq!(call.wait(), Ok(Bytes::from("done")));
    assert_eq!(a.transport.figures().connects.load(Relaxed), 1);
}

#[test]
fn the_state_of_nodes_and_links_is_known() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    assert_eq!(a.transport.node_status(b.id), NodeStatus::default());
    a.echo(&b, "hello");
    until("a ping is answered", || a.transport.node_status(b.id).round_trip.is_some());
    let status = a.transport.node_status(b.id);
    assert!(status.is_connected);
    assert!(status.pong_received.is_some_and(|at| at.0 >= 1_000_000));

    let links = a.transport.links();
    let to: Vec<_> = links.iter().map(|link| (link.node, link.lane, link.direction)).collect();
    let place = |lane| (b.id, lane, Direction::To);
    assert_eq!(to, [place(Lane::Control), place(Lane::Append), place(Lane::Bulk)]);
    assert_eq!((&links[0].state, &links[1].state), (&LinkState::Connected, &LinkState::Resting));
    assert!(links[0].bytes_sent > 0 && links[0].bytes_received > 0 && links[0].buffer_bytes > 0);
    let from = b.transport.links();
    assert_eq!(from.len(), 1);
    assert_eq!((from[0].node, from[0].lane, from[0].direction), (a.id, Lane::Control, Direction::From));
    assert_eq!(from[0].state, LinkState::Connected);

    a.transport.forget(b.id);
    until("the connection is closed", || b.transport.links().is_empty());
    assert!(a.transport.links().is_empty());
}

#[test]
fn who_knows_the_secret_is_talked_to() {
    let book = Book::default();
    let [a, b] = [1, 2].map(|number| Node::start_knowing(number, &book, "sesame, open yourself"));
    a.echo(&b, "known");
    b.echo(&a, "both ways");
    // Also by whoever does not know who listens there, as one that is to join a cluster.
    let asked = a.transport.call_address(b.address, "who are you?", PATIENCE);
    let (caller, question, responder) = b.next_call();
    assert_eq!((caller.standing, &question[..]), (Standing::Stranger, &b"who are you?"[..]));
    responder.answer("one who knows");
    assert_eq!(asked.wait(), Ok(Bytes::from("one who knows")));
}

#[test]
fn who_does_not_know_the_secret_is_told_so_by_both_sides() {
    let book = Book::default();
    let knows = Node::start_knowing(1, &book, "sesame, open yourself");
    let guesses = Node::start_knowing(2, &book, "barley, open yourself");
    let naive = Node::start(3, &book);
    let why = |from: &Node, to: &Node| match from.transport.call_address(to.address, "let me in", PATIENCE).wait() {
        Err(CallError::Unreachable(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(why(&guesses, &knows).contains("its `cluster-secret` is another"));
    assert!(why(&naive, &knows).contains("it has a `cluster-secret`, and this node has none"));
    assert!(why(&knows, &naive).contains("this node has a `cluster-secret`, and the other one has none"));
    assert_eq!(knows.transport.figures().accepts.load(Relaxed), 0);
}
