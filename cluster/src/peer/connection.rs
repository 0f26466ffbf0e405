//! What the two sides of a connection have in common once it is made: reading packets, writing what waits.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::limits::{READ_BYTES, WRITE_BYTES};
use super::outbox::Outbox;
use super::socket::Socket;
use super::status::Traffic;
use super::tls::failure;
use super::wire::frame::{FrameError, next_frame};
use super::wire::hello::{Hello, Refusal};
use super::wire::packet::{Kind, Malformed, Packet};
use super::wire::pieces::Assembler;

/// Buffers of connections that have little to say.
pub(super) const QUIET_BYTES: usize = 4 << 10;

/// Why a connection was not made, or has ended.
#[derive(Debug, Error)]
pub(super) enum Closed {
    #[error("its address is not known")]
    NoAddress,
    #[error("{0}")]
    Io(io::Error),
    #[error("the other side has closed the connection")]
    ByPeer,
    #[error("no connection within {0:?}")]
    NotInTime(Duration),
    #[error("this is {0}")]
    NotABasalt(&'static str),
    #[error("it has `tls-cluster no`, and this node has `tls-cluster yes`")]
    NoTlsThere,
    #[error("it has ended the connection where TLS should begin: has it `tls-cluster yes`?")]
    NoTlsAnswer,
    #[error("{0}")]
    Tls(String),
    #[error("refused here: {0}")]
    Refused(#[from] Refusal),
    #[error("refused by the other side: {0}")]
    RefusedByPeer(String),
    #[error("it has a `cluster-secret`, and this node has none")]
    SecretWanted,
    #[error("this node has a `cluster-secret`, and the other one has none")]
    NoSecretThere,
    #[error("its `cluster-secret` is another")]
    AnotherSecret,
    #[error("it has gone without proving that it knows the `cluster-secret`")]
    Unproven,
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("a packet out of place: {0:?}")]
    OutOfPlace(Kind),
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
    #[error("the other side does not take what it asks for")]
    Overflow,
    #[error("there is a newer connection")]
    Replaced,
    #[error("this node has joined another cluster")]
    NewCluster,
    #[error("the node was forgotten")]
    Forgotten,
    #[error("there was nothing to say")]
    Idle,
    #[error("this node is stopping")]
    Stopping,
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Closed {
        match failure::tls_error(&error) {
            Some(error) => Closed::Tls(failure::why(error)),
            None => Closed::Io(error),
        }
    }
}

/// A connection both sides of which have said hello.
pub(super) struct Introduced {
    pub hello: Hello,
    pub reader: PacketReader,
    pub writer: WriteHalf<Socket>,
}

pub(super) fn introduced(socket: Socket, hello: Hello, buffer: BytesMut) -> Introduced {
    let (half, writer) = tokio::io::split(socket);
    Introduced {
        hello,
        reader: PacketReader { half, buffer, assembler: Assembler::default(), wanted: QUIET_BYTES },
        writer,
    }
}

/// Packets out of a socket.
pub(super) struct PacketReader {
    half: ReadHalf<Socket>,
    buffer: BytesMut,
    assembler: Assembler,
    /// Room to read into.
    wanted: usize,
}

impl PacketReader {
    /// Hands over every packet that arrives, until the connection or the receiver has had enough.
    pub async fn run(&mut self, traffic: &Traffic, mut receive: impl FnMut(Packet) -> Result<(), Closed>) -> Closed {
        loop {
            if let Err(closed) = self.take_all(traffic, &mut receive) {
                return closed;
            }
            if self.buffer.capacity() - self.buffer.len() < self.wanted / 4 {
                self.buffer.reserve(self.wanted);
            }
            let room = self.buffer.capacity() - self.buffer.len();
            match self.half.read_buf(&mut self.buffer).await {
                Ok(0) => return Closed::ByPeer,
                Ok(count) => {
                    // Whoever has more to say than this gets more room.
                    self.wanted = if count == room { READ_BYTES } else { self.wanted };
                    traffic.note_received(count);
                }
                Err(error) => return error.into(),
            }
        }
    }

    fn take_all(
        &mut self,
        traffic: &Traffic,
        receive: &mut impl FnMut(Packet) -> Result<(), Closed>,
    ) -> Result<(), Closed> {
        while let Some(frame) = next_frame(&mut self.buffer)? {
            let kind = frame.kind;
            if !matches!(kind, Kind::Ping | Kind::Pong) {
                traffic.note_used();
            }
            if matches!(kind, Kind::Hello | Kind::Refusal | Kind::Challenge | Kind::Proof) {
                return Err(Closed::OutOfPlace(kind));
            }
            if let Some(packet) = self.assembler.take(frame)? {
                receive(packet)?;
            }
        }
        Ok(())
    }
}

/// Writes what the outbox holds, until the connection breaks.
pub(super) async fn write_all(writer: &mut WriteHalf<Socket>, outbox: &Outbox, traffic: &Traffic) -> Closed {
    let mut buffer = Vec::new();
    loop {
        outbox.fill(&mut buffer, WRITE_BYTES);
        if buffer.is_empty() {
            // There may be thousands of connections with nothing to say.
            buffer.shrink_to(QUIET_BYTES);
            outbox.filled().await;
            continue;
        }
        if let Err(error) = hand_over(writer, &buffer).await {
            return error.into();
        }
        traffic.note_sent(buffer.len());
        buffer.clear();
    }
}

/// Returns when the kernel has all of it.
async fn hand_over(writer: &mut WriteHalf<Socket>, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}
