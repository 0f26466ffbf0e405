//! The bytes of a connection: as they are, or encrypted. The rest of the transport does not know which.
//!
//! Whoever writes has to flush: of an encrypted connection, what was taken may still wait to be sent. A socket that is
//! dropped says so to the other side, as far as that is possible without waiting.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// What is known to both ends of an encrypted connection and to nobody else, another one for each.
pub(super) type Binding = [u8; 32];

/// By which [`Binding`] is made out of what both ends know (RFC 8446, 7.5).
const BINDING_LABEL: &[u8] = b"EXPORTER-basalt-peer";

pub(super) enum Socket {
    Plain(TcpStream),
    /// Its TLS handshake is over.
    Encrypted(Box<TlsStream<BufReader<TcpStream>>>),
}

impl Socket {
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Socket::Plain(stream) => stream.set_nodelay(true),
            Socket::Encrypted(stream) => stream.get_ref().0.get_ref().set_nodelay(true),
        }
    }

    /// What proofs are bound to; none if whoever is on the way can read them anyway.
    pub fn binding(&self) -> io::Result<Option<Binding>> {
        let Socket::Encrypted(stream) = self else { return Ok(None) };
        let binding = [0; size_of::<Binding>()];
        let exported = match &**stream {
            TlsStream::Client(stream) => stream.get_ref().1.export_keying_material(binding, BINDING_LABEL, None),
            TlsStream::Server(stream) => stream.get_ref().1.export_keying_material(binding, BINDING_LABEL, None),
        };
        exported.map(Some).map_err(io::Error::other)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Whatever does not fit into the kernel's buffer now is not sent: the other side sees the end all the same.
        let _ = Pin::new(self).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Socket::Encrypted(stream) => match Pin::new(&mut **stream).poll_read(context, buffer) {
                // It has gone without saying so. Frames know their lengths, so nothing can be cut off unnoticed.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                other => other,
            },
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Encrypted(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(context),
            Socket::Encrypted(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Encrypted(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}
