//! A client's socket, TCP or unix.

use socket2::SockRef;
use std::io::{self, IoSlice, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

pub struct Stream {
    socket: Socket,
    /// The last read has filled its buffer, so there may be more.
    was_filled: bool,
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
        Ok(Stream { socket, was_filled: false })
    }
}

impl Stream {
    /// Reads what has arrived; if that is nothing, the task of `cx` is woken when something does.
    ///
    /// Asking tokio to wait costs more than reading, so that is done only where nothing can be read: and behind a read
    /// that was full, as it gives other connections their turn.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if std::mem::take(&mut self.was_filled) {
            ready!(self.poll_read_ready(cx))?;
        }
        loop {
            match self.try_read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_read_ready(cx))?,
                result => {
                    self.was_filled = result.as_ref().is_ok_and(|bytes| *bytes == buf.len());
                    return Poll::Ready(result);
                }
            }
        }
    }

    #[inline]
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut bytes = 0;
        let tried = match &self.socket {
            Socket::Tcp(stream) => {
                stream.try_io(Interest::READABLE, || read_once(&SockRef::from(stream), buf, &mut bytes))
            }
            Socket::Unix(stream) => {
                stream.try_io(Interest::READABLE, || read_once(&SockRef::from(stream), buf, &mut bytes))
            }
        };
        if bytes > 0 { Ok(bytes) } else { tried.map(|()| 0) }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            Socket::Tcp(stream) => stream.poll_read_ready(cx),
            Socket::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Reads at most `most` bytes behind what `bytes` holds, into memory that it has already.
    pub fn poll_read_behind(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let spare = bytes.spare_capacity_mut();
        let most = most.min(spare.len());
        let mut buffer = ReadBuf::uninit(&mut spare[..most]);
        let polled = match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        };
        let read = buffer.filled().len();
        // SAFETY: reading has initialised the first `read` bytes behind the vector's end.
        unsafe { bytes.set_len(bytes.len() + read) };
        polled.map_ok(|()| read)
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

    pub fn try_write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // Nearly always, and a send takes less than a writev.
        if let [slice] = slices {
            return self.try_write(slice);
        }
        match &self.socket {
            Socket::Tcp(stream) => stream.try_write_vectored(slices),
            Socket::Unix(stream) => stream.try_write_vectored(slices),
        }
    }
}

/// Reads once. A read that leaves room has taken all there is, and says that it would block: from that tokio knows that
/// it has to wait, without a second call into the kernel.
fn read_once(mut socket: &socket2::Socket, buf: &mut [u8], bytes: &mut usize) -> io::Result<()> {
    *bytes = socket.read(buf)?;
    let has_left_room = (1..buf.len()).contains(bytes);
    if has_left_room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}
