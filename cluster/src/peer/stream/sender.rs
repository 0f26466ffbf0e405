//! The sending end of streams.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::call::text;
use super::super::limits::{STREAM_CHUNK_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX};
use super::super::outbox::{Flow, Outbox};
use super::super::wait::block_on;
use super::super::wire::packet::{Packet, StreamNumber};
use super::{StreamError, cost};

/// Sends one stream. Dropped before it has finished, it tells the receiver that the stream is worth nothing.
pub struct BulkSender {
    stream: Arc<Outgoing>,
    outbox: Arc<Outbox>,
    streams: Arc<OutgoingStreams>,
}

/// A stream as seen by its sender and by the connection.
struct Outgoing {
    number: StreamNumber,
    state: Mutex<State>,
    bell: Notify,
}

struct State {
    credit: usize,
    /// The receiver's answer, or why there is none.
    end: Option<Result<Bytes, StreamError>>,
}

/// The streams to one node.
#[derive(Default)]
pub(in crate::peer) struct OutgoingStreams {
    by_number: Mutex<HashMap<StreamNumber, Arc<Outgoing>>>,
}

impl BulkSender {
    /// Sends a chunk as soon as the receiver has room for it. An error is the end of the stream.
    pub async fn send(&mut self, chunk: Bytes) -> Result<(), StreamError> {
        if chunk.len() > STREAM_CHUNK_BYTES_MAX {
            return Err(StreamError::TooLong(chunk.len()));
        }
        while !self.take_credit(cost(&chunk))? {
            self.stream.bell.notified().await;
        }
        let stream = self.stream.number;
        // The credit bounds it.
        self.outbox.push_bounded(Flow::Stream(stream), Packet::StreamData { stream, body: chunk });
        Ok(())
    }

    /// Says that there is no more, and waits until the receiver has done with it what is to be done.
    pub async fn finish(self) -> Result<Bytes, StreamError> {
        let stream = self.stream.number;
        self.outbox.push_bounded(Flow::Stream(stream), Packet::StreamEnd { stream });
        loop {
            if let Some(end) = self.stream.state.lock().end.clone() {
                return end;
            }
            self.stream.bell.notified().await;
        }
    }

    /// What the receiver has answered, if it has already: it need not wait for the end.
    pub fn answer(&self) -> Option<Bytes> {
        self.stream.state.lock().end.clone().and_then(Result::ok)
    }

    /// Gives the stream up.
    pub fn abort(self, why: &str) {
        self.give_up(why);
    }

    /// Like [`BulkSender::send`], for threads that may wait.
    pub fn send_blocking(&mut self, chunk: Bytes) -> Result<(), StreamError> {
        block_on(self.send(chunk))
    }

    /// Like [`BulkSender::finish`], for threads that may wait.
    pub fn finish_blocking(self) -> Result<Bytes, StreamError> {
        block_on(self.finish())
    }

    fn take_credit(&self, cost: usize) -> Result<bool, StreamError> {
        let mut state = self.stream.state.lock();
        match &state.end {
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(_)) => Err(StreamError::Refused("it was answered before its end".to_owned())),
            None if state.credit < cost => Ok(false),
            None => {
                state.credit -= cost;
                Ok(true)
            }
        }
    }

    fn give_up(&self, why: &str) {
        let stream = self.stream.number;
        let is_open = self.stream.end(Err(StreamError::Aborted(why.to_owned())));
        // What waits of it is sent in vain; the receiver throws it away.
        if is_open {
            self.outbox.push_bounded(Flow::Stream(stream), Packet::StreamAbort { stream, text: text(why) });
        }
    }
}

impl Drop for BulkSender {
    fn drop(&mut self) {
        self.give_up("the sender went away");
        self.streams.by_number.lock().remove(&self.stream.number);
    }
}

impl Outgoing {
    /// Says whether it had not ended before.
    fn end(&self, end: Result<Bytes, StreamError>) -> bool {
        let mut state = self.state.lock();
        let is_first = state.end.is_none();
        state.end.get_or_insert(end);
        drop(state);
        self.bell.notify_one();
        is_first
    }
}

impl OutgoingStreams {
    /// A new stream, not announced yet.
    pub fn open(self: &Arc<Self>, number: StreamNumber, outbox: &Arc<Outbox>) -> Result<BulkSender, StreamError> {
        let mut by_number = self.by_number.lock();
        if by_number.len() >= STREAMS_MAX {
            return Err(StreamError::TooMany);
        }
        let state = Mutex::new(State { credit: STREAM_WINDOW_BYTES, end: None });
        let stream = Arc::new(Outgoing { number, state, bell: Notify::new() });
        by_number.insert(number, stream.clone());
        Ok(BulkSender { stream, outbox: outbox.clone(), streams: self.clone() })
    }

    /// The receiver has room again. Streams that have ended meanwhile have no use for it.
    pub fn credit(&self, number: StreamNumber, bytes: u32) {
        if let Some(stream) = self.by_number.lock().get(&number) {
            let mut state = stream.state.lock();
            // A receiver that gives more than it ever took does not make this node send more than a window.
            state.credit = (state.credit + bytes as usize).min(STREAM_WINDOW_BYTES);
            stream.bell.notify_one();
        }
    }

    pub fn end(&self, number: StreamNumber, end: Result<Bytes, StreamError>) {
        if let Some(stream) = self.by_number.lock().get(&number) {
            stream.end(end);
        }
    }

    /// Ends all streams.
    pub fn fail(&self, why: &StreamError) {
        for stream in self.by_number.lock().values() {
            stream.end(Err(why.clone()));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_number.lock().is_empty()
    }
}
