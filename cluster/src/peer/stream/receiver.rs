//! The receiving end of streams.
//!
//! Invariant: what a stream holds here, in its queue and in the consumer's hand, never exceeds a window; a sender that
//! sends more than it may ends its connection.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::call::{shown, text};
use super::super::limits::{STREAM_WINDOW_BYTES, STREAMS_MAX};
use super::super::outbox::{Flow, Outbox};
use super::super::wait::block_on;
use super::super::wire::packet::{Malformed, Packet, StreamNumber};
use super::{StreamError, cost};

/// A sender may have given up streams that their consumers here still hold.
const INCOMING_MAX: usize = 2 * STREAMS_MAX;

/// Credit is given in parts of this size, or when there is nothing left to consume.
const CREDIT_PART: usize = STREAM_WINDOW_BYTES / 4;

/// Receives one stream. Dropped before it has finished, it tells the sender that nobody wants it.
pub struct BulkReceiver {
    stream: Arc<Incoming>,
    outbox: Arc<Outbox>,
    streams: Arc<IncomingStreams>,
    is_answered: bool,
}

/// A stream as seen by its consumer and by the connection.
pub(in crate::peer) struct Incoming {
    number: StreamNumber,
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    /// What the sender has spent and not got back.
    spent: usize,
    /// The part of it that the consumer has done with.
    consumed: usize,
    /// The chunk that the consumer has got last: it is done with when the next is asked for.
    in_hand: usize,
    end: Option<Result<(), StreamError>>,
}

/// The streams of one connection.
#[derive(Default)]
pub(in crate::peer) struct IncomingStreams {
    by_number: Mutex<HashMap<StreamNumber, Arc<Incoming>>>,
}

impl BulkReceiver {
    /// The next chunk; nothing at the end, which calls for [`BulkReceiver::finish`]. An error is the end as well.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        self.give_back();
        loop {
            {
                let mut state = self.stream.state.lock();
                if let Some(Err(error)) = &state.end {
                    return Err(error.clone());
                }
                if let Some(chunk) = state.chunks.pop_front() {
                    state.in_hand = cost(&chunk);
                    return Ok(Some(chunk));
                }
                if state.end.is_some() {
                    return Ok(None);
                }
            }
            self.stream.bell.notified().await;
        }
    }

    /// Tells the sender that all of it is done with. Call it when what was received is safe.
    pub fn finish(mut self, answer: impl Into<Bytes>) {
        let stream = self.stream.number;
        self.is_answered = true;
        self.outbox.push_bounded(Flow::Stream(stream), Packet::StreamDone { stream, body: answer.into() });
    }

    pub fn refuse(mut self, why: &str) {
        self.answer_no(why);
    }

    /// Like [`BulkReceiver::next`], for threads that may wait.
    pub fn next_blocking(&mut self) -> Result<Option<Bytes>, StreamError> {
        block_on(self.next())
    }

    fn give_back(&self) {
        let mut state = self.stream.state.lock();
        state.consumed += std::mem::take(&mut state.in_hand);
        let is_worth_it = state.consumed >= CREDIT_PART || (state.chunks.is_empty() && state.consumed > 0);
        if is_worth_it && state.end.is_none() {
            let bytes = std::mem::take(&mut state.consumed);
            state.spent -= bytes;
            let stream = self.stream.number;
            // At most one for each part of a window that the sender has sent.
            self.outbox.push_bounded(Flow::Urgent, Packet::StreamCredit { stream, bytes: bytes as u32 });
        }
    }

    fn answer_no(&mut self, why: &str) {
        let is_over = matches!(self.stream.state.lock().end, Some(Err(_)));
        if !std::mem::replace(&mut self.is_answered, true) && !is_over {
            let stream = self.stream.number;
            self.outbox.push_bounded(Flow::Stream(stream), Packet::StreamRefuse { stream, text: text(why) });
        }
    }
}

impl Drop for BulkReceiver {
    fn drop(&mut self) {
        self.answer_no("the receiver went away");
        self.streams.by_number.lock().remove(&self.stream.number);
    }
}

impl IncomingStreams {
    /// A stream that the sender has opened; nothing if there are too many, which the sender is told.
    pub fn open(
        self: &Arc<Self>,
        number: StreamNumber,
        outbox: &Arc<Outbox>,
    ) -> Result<Option<BulkReceiver>, Malformed> {
        let mut by_number = self.by_number.lock();
        if by_number.contains_key(&number) {
            return Err(Malformed("a stream is opened twice"));
        }
        if by_number.len() >= INCOMING_MAX {
            return Ok(None);
        }
        let stream = Arc::new(Incoming { number, state: Mutex::default(), bell: Notify::new() });
        by_number.insert(number, stream.clone());
        Ok(Some(BulkReceiver { stream, outbox: outbox.clone(), streams: self.clone(), is_answered: false }))
    }

    /// A chunk has arrived. Those of streams that nobody wants any more are thrown away.
    pub fn data(&self, number: StreamNumber, chunk: Bytes) -> Result<(), Malformed> {
        let Some(stream) = self.by_number.lock().get(&number).cloned() else { return Ok(()) };
        let mut state = stream.state.lock();
        if state.end.is_some() {
            return Err(Malformed("a chunk after the end of its stream"));
        }
        state.spent += cost(&chunk);
        if state.spent > STREAM_WINDOW_BYTES {
            return Err(Malformed("a stream has sent more than its receiver has room for"));
        }
        state.chunks.push_back(chunk);
        drop(state);
        stream.bell.notify_one();
        Ok(())
    }

    pub fn end(&self, number: StreamNumber, end: Result<(), &[u8]>) {
        if let Some(stream) = self.by_number.lock().get(&number) {
            stream.end(end.map_err(|why| StreamError::Aborted(shown(why))));
        }
    }

    /// The connection has ended, and so have its streams.
    pub fn fail(&self) {
        for stream in self.by_number.lock().values() {
            stream.fail();
        }
    }
}

impl Incoming {
    fn end(&self, end: Result<(), StreamError>) {
        self.state.lock().end.get_or_insert(end);
        self.bell.notify_one();
    }

    /// Also when the end was announced: the answer would not arrive.
    fn fail(&self) {
        let mut state = self.state.lock();
        state.end = Some(Err(StreamError::Lost));
        state.chunks.clear();
        drop(state);
        self.bell.notify_one();
    }
}
