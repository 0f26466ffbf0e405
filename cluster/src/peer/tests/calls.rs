//! Questions and answers.

use super::*;

#[test]
fn questions_are_answered_from_both_sides() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    a.echo(&b, "from a");
    b.echo(&a, "from b");
}

#[test]
fn answers_may_come_late_and_in_any_order() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let calls: Vec<_> = (0..50u8).map(|number| a.transport.call(b.id, vec![number; 100_000], PATIENCE)).collect();
    let mut asked: Vec<_> = calls.iter().map(|_| b.next_call()).collect();
    asked.reverse();
    for (_, question, responder) in asked {
        responder.answer(question.slice(..10));
    }
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.wait(), Ok(Bytes::from(vec![number as u8; 10])));
    }
}

#[test]
fn calls_are_awaited_by_tasks_of_other_runtimes() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let call = a.transport.call(b.id, "a question", PATIENCE);
    let (_, _, responder) = b.next_call();
    assert!(responder.timeout() <= PATIENCE);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answering = std::thread::spawn(move || responder.answer("yes"));
    assert_eq!(runtime.block_on(call), Ok(Bytes::from("yes")));
    answering.join().unwrap();
}

#[test]
fn refused_and_forgotten_calls_are_told_apart() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let call = a.transport.call(b.id, "please", PATIENCE);
    b.next_call().2.refuse("not now");
    let refused = call.wait().unwrap_err();
    assert_eq!(refused, CallError::Refused("not now".to_owned()));
    assert!(!refused.may_have_happened());

    let call = a.transport.call(b.id, "please", PATIENCE);
    drop(b.next_call().2);
    let lost = call.wait().unwrap_err();
    assert_eq!(lost, CallError::Lost);
    assert!(lost.may_have_happened());
}

#[test]
fn calls_end_when_their_time_is_over_whatever_the_other_side_does() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let long = a.transport.call(b.id, "long", PATIENCE);
    let short = a.transport.call(b.id, "short", Duration::from_millis(30));
    assert_eq!(short.wait(), Err(CallError::Timeout));
    assert_eq!(a.transport.figures().call_timeouts.load(Relaxed), 1);
    let (_, question, responder) = b.next_call();
    assert_eq!(question, "long");
    responder.answer("still there");
    assert_eq!(long.wait(), Ok(Bytes::from("still there")));
    // The late answer finds nobody, and harms nobody.
    b.next_call().2.answer("too late");
    a.echo(&b, "and on");
}

#[test]
fn a_node_that_is_not_there_is_said_to_be_unreachable() {
    let book = Book::default();
    let a = Node::start(1, &book);
    let error = a.transport.call(id(2), "anybody?", PATIENCE).wait().unwrap_err();
    assert_eq!(error, CallError::Unreachable("its address is not known".to_owned()));
    // A port that nobody listens on.
    book.note(id(2), bind().local_addr().unwrap());
    let error = a.transport.call(id(2), "anybody?", PATIENCE).wait().unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(why) if why.contains("refused")), "{error}");
    assert!(!error.may_have_happened());
}

#[test]
fn calls_that_wait_for_an_answer_end_when_a_node_stops() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let one = a.transport.call(b.id, "to b", PATIENCE);
    let (_, _, responder) = b.next_call();
    b.transport.stop();
    assert_eq!(one.wait(), Err(CallError::Lost));
    responder.answer("to nobody");

    let c = Node::start(3, &book);
    let two = a.transport.call(c.id, "to c", PATIENCE);
    let (_, _, responder) = c.next_call();
    a.transport.stop();
    assert_eq!(two.wait(), Err(CallError::Stopped));
    responder.answer("to nobody");
    assert!(!a.transport.call(c.id, "again", PATIENCE).wait().unwrap_err().may_have_happened());
    assert_eq!(a.transport.call_address(c.address, "again", PATIENCE).wait(), Err(CallError::Stopped));
    assert_eq!(a.transport.send(c.id, Lane::Control, Message::Heartbeat(Bytes::new())), Err(Dropped::Stopped));
}

#[test]
fn strangers_may_call_across_clusters_and_by_address_alone() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    a.transport.set_cluster(ClusterId(1234));
    let call = a.transport.call_address(b.address, "may I join?", PATIENCE);
    let (from, question, responder) = b.next_call();
    assert_eq!((from.node, from.standing, from.incarnation), (a.id, Standing::Stranger, Incarnation(1)));
    assert!(from.address.ip().is_loopback());
    assert_eq!(question, "may I join?");
    responder.answer("yes");
    assert_eq!(call.wait(), Ok(Bytes::from("yes")));

    let nowhere = bind().local_addr().unwrap();
    let error = a.transport.call_address(nowhere, "?", PATIENCE).wait().unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error}");
    let silent = bind();
    let call = a.transport.call_address(silent.local_addr().unwrap(), "?", Duration::from_millis(30));
    assert_eq!(call.wait(), Err(CallError::Timeout));
    let error = a.transport.call_address(a.address, "am I there?", PATIENCE).wait().unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(why) if why.contains("this node itself")), "{error}");
}

#[test]
fn a_node_may_ask_itself_in_place() {
    let (responder, call) = Responder::local(PATIENCE);
    responder.answer("here");
    assert_eq!(call.wait(), Ok(Bytes::from("here")));
    let (responder, call) = Responder::local(PATIENCE);
    drop(responder);
    assert_eq!(call.wait(), Err(CallError::Lost));
}
