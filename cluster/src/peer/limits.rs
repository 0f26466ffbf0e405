//! The bounds of all queues between nodes, and how long is waited for what.

use std::time::Duration;

use super::wire::hello::Lane;

/// What waits for a connection of each lane: above this, Raft messages are dropped and calls fail. A single message
/// that is longer passes when nothing else waits.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 16 << 20;
pub const APPEND_QUEUE_BYTES_MAX: usize = 64 << 20;
pub const BULK_QUEUE_BYTES_MAX: usize = 16 << 20;

/// What a message takes in a queue besides its bytes.
pub const MESSAGE_OVERHEAD: usize = 128;

/// What is handed to a socket with one call, about.
pub const WRITE_BYTES: usize = 128 << 10;

/// What is read from a socket with one call.
pub const READ_BYTES: usize = 64 << 10;

/// What is read from a socket with one call, if it is encrypted. Held by each such connection.
pub const TLS_READ_BYTES: usize = 32 << 10;

/// Calls that one connection may have begun and not answered. Those above are told that this node is busy.
pub const INCOMING_CALLS_MAX: usize = 4096;

/// Calls that wait for an answer from one node. Those above fail.
pub const OUTGOING_CALLS_MAX: usize = 65_536;

/// Streams that one node may send to another at once, as each of them sees it.
pub const STREAMS_MAX: usize = 8;

/// What a sender of a stream may have sent that the receiver has not consumed.
pub const STREAM_WINDOW_BYTES: usize = 1 << 20;

/// The longest chunk of a stream.
pub const STREAM_CHUNK_BYTES_MAX: usize = 256 << 10;

/// What a chunk costs of the window besides its bytes, so that empty ones are bounded as well.
pub const STREAM_CHUNK_OVERHEAD: usize = 64;

/// The longest explanation that is sent to another node.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Connections that have not said who they are. Further ones are closed at once.
pub const HANDSHAKES_MAX: usize = 256;

/// Connections of strangers. Further ones are closed at once.
pub const STRANGERS_MAX: usize = 64;

/// How long is waited for what. Tests have shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For a connection to be made, and then for the other side's hello.
    pub connect: Duration,
    /// Between two pings of a connection.
    pub ping: Duration,
    /// A dialer gives a connection up when it has received nothing for so long after a ping. Long for bulk: what is in
    /// the sockets' buffers has to pass before a ping does.
    pub silence: Duration,
    pub bulk_silence: Duration,
    /// An acceptor gives a connection up when it has received nothing for so long, not even pings.
    pub abandoned: Duration,
    /// A lane over which nothing but pings has passed for so long is closed.
    pub idle: Duration,
    /// How long a node that could not be reached is left alone: this after the first failure, twice as long after each
    /// further one, up to the last.
    pub retry_first: Duration,
    pub retry_last: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            connect: Duration::from_secs(2),
            ping: Duration::from_millis(500),
            silence: Duration::from_secs(2),
            bulk_silence: Duration::from_secs(15),
            abandoned: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            retry_first: Duration::from_millis(50),
            retry_last: Duration::from_secs(1),
        }
    }
}

impl Timing {
    pub fn silence_of(&self, lane: Lane) -> Duration {
        if lane == Lane::Bulk { self.bulk_silence } else { self.silence }
    }
}

/// The bound of a lane's queue.
pub fn queue_bytes_max(lane: Lane) -> usize {
    match lane {
        Lane::Control => CONTROL_QUEUE_BYTES_MAX,
        Lane::Append => APPEND_QUEUE_BYTES_MAX,
        Lane::Bulk => BULK_QUEUE_BYTES_MAX,
    }
}
