//! Streams of bulk data: chunks in order, as many in flight as the receiver has room for, and one acknowledgement.
//!
//! [`BulkSender`] waits when the receiver has not consumed what was sent: at most a window is under way, in queues and
//! sockets of both sides together. It succeeds when the receiver has said that it has done what was to be done, and
//! whatever ends it before is an error that the sender gets to know.

mod receiver;
mod sender;

use thiserror::Error;

pub use receiver::BulkReceiver;
pub(super) use receiver::IncomingStreams;
pub use sender::BulkSender;
pub(super) use sender::OutgoingStreams;

use super::limits::STREAM_CHUNK_OVERHEAD;

/// Why a stream has ended before its end. Nothing of it counts.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StreamError {
    #[error("the node could not be reached: {0}")]
    Unreachable(String),
    #[error("too many streams to this node")]
    TooMany,
    #[error("the receiver does not want it: {0}")]
    Refused(String),
    #[error("the sender gave it up: {0}")]
    Aborted(String),
    #[error("the connection broke")]
    Lost,
    #[error("a chunk of {0} bytes is too long")]
    TooLong(usize),
    #[error("this node is stopping")]
    Stopped,
}

/// What a chunk takes of the window.
fn cost(chunk: &[u8]) -> usize {
    chunk.len() + STREAM_CHUNK_OVERHEAD
}
