//! Calls: questions with one answer each, as the caller and as the one who answers sees them.
//!
//! A call ends exactly once: with its answer, or with a [`CallError`] that says whether it may have been executed all
//! the same. It is never sent twice.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};

use super::limits::{OUTGOING_CALLS_MAX, TEXT_BYTES_MAX};
use super::outbox::{Flow, Full, Outbox};
use super::wait::block_on;
use super::wire::packet::{CallNumber, Outcome, Packet};

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    #[error("the node could not be reached: {0}")]
    Unreachable(String),
    #[error("too many calls wait for the node")]
    Full,
    #[error("the node is busy")]
    Busy,
    #[error("{0}")]
    Refused(String),
    #[error("the connection broke, or the other node gave up, before there was an answer")]
    Lost,
    #[error("no answer in time")]
    Timeout,
    #[error("this node is stopping")]
    Stopped,
}

impl CallError {
    /// Whether the other node may have done what it was asked for, or may still do it.
    pub fn may_have_happened(&self) -> bool {
        match self {
            CallError::Unreachable(_) | CallError::Full | CallError::Busy | CallError::Refused(_) => false,
            CallError::Lost | CallError::Timeout | CallError::Stopped => true,
        }
    }
}

pub type CallResult = Result<Bytes, CallError>;

/// A call that is under way: awaited by a task, or waited for by a thread. Dropping it does not take the call back.
#[derive(Debug)]
pub struct PendingCall(oneshot::Receiver<CallResult>);

impl PendingCall {
    /// Blocks until the call ends. Not for threads that serve clients.
    pub fn wait(self) -> CallResult {
        block_on(self)
    }

    pub(super) fn new() -> (oneshot::Sender<CallResult>, PendingCall) {
        let (sender, receiver) = oneshot::channel();
        (sender, PendingCall(receiver))
    }

    pub(super) fn failed(error: CallError) -> PendingCall {
        let (sender, call) = PendingCall::new();
        // The receiver is right here.
        let _ = sender.send(Err(error));
        call
    }
}

impl Future for PendingCall {
    type Output = CallResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<CallResult> {
        // Whoever drops the other end does so because the transport ends.
        Pin::new(&mut self.0).poll(context).map(|result| result.unwrap_or(Err(CallError::Stopped)))
    }
}

/// The calls to one node that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Calls {
    inner: Mutex<Inner>,
    /// Rung when the first deadline has changed.
    bell: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    by_number: HashMap<CallNumber, (Instant, oneshot::Sender<CallResult>)>,
    by_deadline: BTreeSet<(Instant, CallNumber)>,
}

impl Calls {
    pub fn add(&self, number: CallNumber, timeout: Duration) -> Result<PendingCall, Full> {
        let deadline = Instant::now() + timeout;
        let (sender, call) = PendingCall::new();
        let mut inner = self.inner.lock();
        if inner.by_number.len() >= OUTGOING_CALLS_MAX {
            return Err(Full);
        }
        inner.by_number.insert(number, (deadline, sender));
        inner.by_deadline.insert((deadline, number));
        if inner.by_deadline.first() == Some(&(deadline, number)) {
            self.bell.notify_one();
        }
        Ok(call)
    }

    /// Ends a call. One that has ended already stays as it is.
    pub fn finish(&self, number: CallNumber, result: CallResult) {
        let mut inner = self.inner.lock();
        if let Some((deadline, sender)) = inner.by_number.remove(&number) {
            inner.by_deadline.remove(&(deadline, number));
            drop(inner);
            // Nobody may wait any more.
            let _ = sender.send(result);
        }
    }

    /// Ends all calls: those that had not been sent with one error, the others with another.
    pub fn fail(&self, unsent: &[CallNumber], why_unsent: &CallError, why_sent: &CallError) {
        for number in unsent {
            self.finish(*number, Err(why_unsent.clone()));
        }
        let rest = std::mem::take(&mut *self.inner.lock());
        for (_, sender) in rest.by_number.into_values() {
            let _ = sender.send(Err(why_sent.clone()));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.inner.lock().by_number.is_empty()
    }

    /// Ends calls whose time is over, for as long as it is polled.
    pub async fn expire(&self, expired: impl Fn()) {
        loop {
            let first = self.inner.lock().by_deadline.first().copied();
            match first {
                Some((deadline, number)) if deadline <= Instant::now() => {
                    expired();
                    self.finish(number, Err(CallError::Timeout));
                }
                Some((deadline, _)) => {
                    let changed = tokio::time::timeout_at(deadline.into(), self.bell.notified());
                    // Either there is an earlier deadline, or this one has come.
                    let _ = changed.await;
                }
                None => self.bell.notified().await,
            }
        }
    }
}

/// Answers one call, from any thread, at any time. Dropped without an answer, it tells the caller that nobody knows
/// what became of the call.
pub struct Responder {
    way: Option<Way>,
    timeout: Duration,
}

enum Way {
    Wire { number: CallNumber, outbox: Arc<Outbox>, open: OpenCall },
    Local(oneshot::Sender<CallResult>),
}

/// Counts the calls of a connection that have no answer yet.
pub(super) struct OpenCall(Arc<AtomicUsize>);

impl OpenCall {
    pub fn new(open: &Arc<AtomicUsize>) -> OpenCall {
        open.fetch_add(1, Relaxed);
        OpenCall(open.clone())
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Responder {
    pub(super) fn wire(number: CallNumber, outbox: Arc<Outbox>, open: OpenCall, timeout: Duration) -> Responder {
        Responder { way: Some(Way::Wire { number, outbox, open }), timeout }
    }

    /// One whose answer arrives in the same process: for nodes that ask themselves, and for tests.
    pub fn local(timeout: Duration) -> (Responder, PendingCall) {
        let (sender, call) = PendingCall::new();
        (Responder { way: Some(Way::Local(sender)), timeout }, call)
    }

    /// How long the caller meant to wait when it asked.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    pub fn answer(mut self, answer: impl Into<Bytes>) {
        self.finish(Outcome::Answered, answer.into());
    }

    /// What was asked for was not done and will not be.
    pub fn refuse(mut self, why: &str) {
        self.finish(Outcome::Refused, text(why));
    }

    fn finish(&mut self, outcome: Outcome, body: Bytes) {
        match self.way.take() {
            None => {}
            Some(Way::Local(sender)) => {
                // Nobody may wait any more.
                let _ = sender.send(result_of(outcome, body));
            }
            Some(Way::Wire { number, outbox, open }) => {
                if outbox.push(Flow::Call(number), Packet::Answer { number, outcome, body }).is_err() {
                    // The caller does not take its answers. It must not believe that nothing was done.
                    outbox.overflow();
                }
                drop(open);
            }
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.finish(Outcome::Unknown, Bytes::new());
    }
}

/// What an answer means for the caller.
pub(super) fn result_of(outcome: Outcome, body: Bytes) -> CallResult {
    match outcome {
        Outcome::Answered => Ok(body),
        Outcome::Refused => Err(CallError::Refused(shown(&body))),
        Outcome::Busy => Err(CallError::Busy),
        Outcome::Unknown => Err(CallError::Lost),
    }
}

/// An explanation for the other side, not longer than it has to be.
pub(super) fn text(why: &str) -> Bytes {
    Bytes::copy_from_slice(&why.as_bytes()[..why.len().min(TEXT_BYTES_MAX)])
}

/// An explanation from the other side, for logs.
pub(super) fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]).replace(char::is_control, " ")
}
