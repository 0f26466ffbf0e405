//! Bulk data.

use std::sync::atomic::AtomicUsize;

use super::super::limits::{STREAM_CHUNK_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX};
use super::*;

const CHUNK: usize = 100_000;

fn chunk(number: usize, len: usize) -> Bytes {
    Bytes::from((0..len).map(|at| (at + number) as u8).collect::<Vec<_>>())
}

#[test]
fn a_stream_arrives_in_order_and_is_acknowledged() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let lens = [0, 1, 65_536, 65_537, STREAM_CHUNK_BYTES_MAX, 10, CHUNK];
    let sending = a.transport.open_stream(b.id, "group 5").unwrap();
    let sender = std::thread::spawn(move || {
        let mut sending = sending;
        for (number, len) in lens.iter().cycle().take(100).enumerate() {
            sending.send_blocking(chunk(number, *len)).unwrap();
        }
        sending.finish_blocking()
    });
    let (from, header, mut stream) = b.next_stream();
    assert_eq!((from, &header[..]), (a.id, &b"group 5"[..]));
    for (number, len) in lens.iter().cycle().take(100).enumerate() {
        assert_eq!(stream.next_blocking(), Ok(Some(chunk(number, *len))), "chunk {number}");
    }
    assert_eq!(stream.next_blocking(), Ok(None));
    stream.finish("all of it");
    assert_eq!(sender.join().unwrap(), Ok(Bytes::from("all of it")));
}

#[test]
fn a_slow_consumer_holds_up_its_stream_and_nobody_else() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let mut slow = a.transport.open_stream(b.id, "slow").unwrap();
    let sender = std::thread::spawn(move || {
        for number in 0..100 {
            slow.send_blocking(chunk(number, CHUNK)).unwrap();
            counted.fetch_add(1, Relaxed);
        }
        slow.finish_blocking()
    });
    let (_, _, mut slow) = b.next_stream();
    let window = STREAM_WINDOW_BYTES / CHUNK;
    until("the window is used up", || sent.load(Relaxed) >= window);
    // Everything else passes, on the same lane too.
    a.echo(&b, "in between");
    let mut quick = a.transport.open_stream(b.id, "quick").unwrap();
    quick.send_blocking(chunk(0, 10)).unwrap();
    let (_, _, mut receiver) = b.next_stream();
    assert_eq!(receiver.next_blocking(), Ok(Some(chunk(0, 10))));
    receiver.finish("");
    assert_eq!(quick.finish_blocking(), Ok(Bytes::new()));
    for number in 0..100 {
        assert!(sent.load(Relaxed) <= number + window, "no more than a window is under way");
        assert_eq!(slow.next_blocking(), Ok(Some(chunk(number, CHUNK))));
    }
    assert_eq!(slow.next_blocking(), Ok(None));
    slow.finish("at last");
    assert_eq!(sender.join().unwrap(), Ok(Bytes::from("at last")));
}

#[test]
fn a_receiver_may_answer_before_the_end() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let mut sending = a.transport.open_stream(b.id, "group 5").unwrap();
    sending.send_blocking(chunk(0, CHUNK)).unwrap();
    assert_eq!(sending.answer(), None);
    b.next_stream().2.finish("had it");
    until("the answer is here", || sending.answer() == Some(Bytes::from("had it")));
    assert!(sending.send_blocking(chunk(1, CHUNK)).is_err());
    assert_eq!(sending.finish_blocking(), Ok(Bytes::from("had it")));
}

#[test]
fn either_side_may_give_up() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let sending = a.transport.open_stream(b.id, "refused").unwrap();
    b.next_stream().2.refuse("no such group");
    assert_eq!(sending.finish_blocking(), Err(StreamError::Refused("no such group".to_owned())));

    let mut sending = a.transport.open_stream(b.id, "dropped by its receiver").unwrap();
    drop(b.next_stream());
    let gone = StreamError::Refused("the receiver went away".to_owned());
    let mut result = Ok(());
    // More than a window, so that it cannot all be sent before the refusal is seen.
    for number in 0..50 {
        result = result.and_then(|()| sending.send_blocking(chunk(number, CHUNK)));
    }
    assert_eq!(result, Err(gone));

    let mut sending = a.transport.open_stream(b.id, "dropped by its sender").unwrap();
    sending.send_blocking(chunk(0, 10)).unwrap();
    let (_, _, mut stream) = b.next_stream();
    assert_eq!(stream.next_blocking(), Ok(Some(chunk(0, 10))));
    drop(sending);
    assert_eq!(stream.next_blocking(), Err(StreamError::Aborted("the sender went away".to_owned())));

    let sending = a.transport.open_stream(b.id, "aborted").unwrap();
    let (_, _, mut stream) = b.next_stream();
    sending.abort("out of date");
    assert_eq!(stream.next_blocking(), Err(StreamError::Aborted("out of date".to_owned())));
}

#[test]
fn a_stream_ends_with_its_connection_on_both_sides() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let mut sending = a.transport.open_stream(b.id, "cut").unwrap();
    sending.send_blocking(chunk(0, 10)).unwrap();
    let (_, _, stream) = b.next_stream();
    b.transport.stop();
    assert_eq!(sending.finish_blocking(), Err(StreamError::Lost));
    drop(stream);

    let c = Node::start(3, &book);
    let sending = a.transport.open_stream(c.id, "cut").unwrap();
    let (_, _, mut stream) = c.next_stream();
    a.transport.stop();
    assert_eq!(stream.next_blocking(), Err(StreamError::Lost));
    assert!(matches!(sending.finish_blocking(), Err(StreamError::Stopped | StreamError::Lost)));
    assert!(matches!(a.transport.open_stream(c.id, "again"), Err(StreamError::Stopped)));
}

#[test]
fn a_stream_to_nobody_fails() {
    let book = Book::default();
    let a = Node::start(1, &book);
    let sending = a.transport.open_stream(id(2), "anybody?").unwrap();
    assert!(matches!(sending.finish_blocking(), Err(StreamError::Unreachable(_))));
}

#[test]
fn streams_and_chunks_are_bounded() {
    let book = Book::default();
    let (a, b) = (Node::start(1, &book), Node::start(2, &book));
    let mut open: Vec<_> = (0..STREAMS_MAX).map(|_| a.transport.open_stream(b.id, "one").unwrap()).collect();
    assert!(matches!(a.transport.open_stream(b.id, "too many"), Err(StreamError::TooMany)));
    let too_long = Bytes::from(vec![0; STREAM_CHUNK_BYTES_MAX + 1]);
    assert_eq!(open[0].send_blocking(too_long), Err(StreamError::TooLong(STREAM_CHUNK_BYTES_MAX + 1)));
    open.pop();
    let mut again = a.transport.open_stream(b.id, "again").unwrap();
    again.send_blocking(chunk(0, 10)).unwrap();
    let mut stream = b.next(|event| match event {
        Event::Stream(_, header, stream) if header == "again" => Some(stream),
        _ => None,
    });
    assert_eq!(stream.next_blocking(), Ok(Some(chunk(0, 10))));
}
