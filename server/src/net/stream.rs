//! A client's socket, TCP or unix.

use socket2::SockRef;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

pub struct Stream {
    socket: Socket,
    /// The last read has filled its buffer.
    may_hold_more: bool,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket on its way to the thread that will serve it.
pub enum RawStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl RawStream {
    /// Registers the socket with the runtime of this thread.
    pub fn adopt(self) -> io::Result<Stream> {
        let socket = match self {
            RawStream::Tcp(stream) => Socket::Tcp(TcpStream::from_std(stream)?),
            RawStream::Unix(stream) => Socket::Unix(UnixStream::from_std(stream)?),
        };
        Ok(Stream { socket, may_hold_more: false })
    }
}

impl Stream {
    /// Reads what has arrived; if that is nothing, the task of `cx` is woken when something does.
    ///
    /// Asking tokio to wait costs more than reading, so that is done only where nothing can be read. But a client that
    /// fills one buffer after the other is read by way of tokio, which gives other connections their turn in between.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let length = buf.len();
        let polled = match self.read_now(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut buf = ReadBuf::new(buf);
                self.poll_read_buf(cx, &mut buf).map_ok(|()| buf.filled().len())
            }
            result => Poll::Ready(result),
        };
        self.may_hold_more = matches!(polled, Poll::Ready(Ok(bytes)) if bytes == length);
        polled
    }

    /// Reads without waiting, from a socket that is not known to have been read empty.
    #[inline]
    fn read_now(&self, buf: &mut [u8]) -> io::Result<usize> {
        if self.may_hold_more {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut bytes = 0;
        let tried = match &self.socket {
            Socket::Tcp(stream) => {
                stream.try_io(Interest::READABLE, || read_some(SockRef::from(stream), buf, &mut bytes))
            }
            Socket::Unix(stream) => {
                stream.try_io(Interest::READABLE, || read_some(SockRef::from(stream), buf, &mut bytes))
            }
        };
        if bytes > 0 { Ok(bytes) } else { tried.map(|()| 0) }
    }

    /// Reads behind what `buf` holds.
    pub fn poll_read_buf(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            Socket::Tcp(stream) => stream.poll_write_ready(cx),
            Socket::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    #[inline]
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.socket {
            Socket::Tcp(stream) => stream.try_write(bytes),
            Socket::Unix(stream) => stream.try_write(bytes),
        }
    }
}

/// Reads once, and says that it would block if that has left nothing: tokio then knows without asking the kernel again.
#[inline]
fn read_some(socket: SockRef<'_>, buf: &mut [u8], bytes: &mut usize) -> io::Result<()> {
    *bytes = (&*socket).read(buf)?;
    let is_drained = (1..buf.len()).contains(bytes);
    if is_drained { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}
