//! A connection of this node to another one's client port.

use super::batch::encode_words;
use super::figures::{Counted, Figures};
use super::ledger::Ledger;
use super::outlet::Place;
use super::scanner::{Extent, Malformed, Scanner};
use crate::cluster::Cluster;
use crate::resp::{Output, Protocol};
use crate::server::Server;
use basalt_cluster::ids::NodeId;
use basalt_storage::slot::Slot;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long another node may take to accept a connection and to greet.
const OPENING_MAX: Duration = Duration::from_millis(1000);
/// A machine that has vanished is noticed after about this silence, whatever is waited for.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Bytes read at once.
const READ_SIZE: usize = 64 * 1024;
/// The longest error that a node sends: more is no reply.
const ERROR_MAX: usize = 64 * 1024;

/// Why a node cannot be asked. Nothing was sent to it that is to be executed.
#[derive(Debug, thiserror::Error)]
pub enum CannotAsk {
    #[error("{0} cannot be reached: {1}")]
    Unreachable(SocketAddr, io::Error),
    #[error("{0} refuses this node: {1}")]
    Refused(SocketAddr, String),
}

/// Looks, while an answer does not come, whether the node asked still has the slot: it may stand still, and another one
/// have taken over long ago.
#[derive(Clone, Copy)]
pub struct Vigil<'a> {
    pub cluster: &'a Cluster,
    pub slot: Slot,
    pub node: NodeId,
}

/// How often a vigil looks.
const VIGIL_INTERVAL: Duration = Duration::from_millis(500);
/// A node that has had no say for so long, and has not answered since, is not waited for.
const VIGIL_MAX: Duration = Duration::from_secs(5);

impl Vigil<'_> {
    fn has_it_lost_the_slot(&self) -> bool {
        self.cluster.picture().owner(self.slot).is_some_and(|owner| owner != self.node)
    }
}

/// The connection has ended within a reply, or instead of one.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// An error, without `-` and line break: it was given to nobody yet.
    Error(Vec<u8>),
    /// Something else, which has gone where it should.
    Passed,
}

/// Where replies go that are no errors.
pub enum Sink<'a, 'b> {
    Client(&'a mut Ledger<'b>),
    Nobody,
}

impl Sink<'_, '_> {
    async fn put(&mut self, bytes: &[u8], end: Place) {
        match self {
            Sink::Client(ledger) => ledger.put(bytes, end).await,
            Sink::Nobody => {}
        }
    }
}

/// A connection that this node has opened, and greeted with.
pub struct Upstream {
    pub socket: TcpStream,
    pub inbound: Inbound,
    _open: Counted,
}

/// What has arrived and is not used yet.
#[derive(Default)]
pub struct Inbound {
    bytes: Vec<u8>,
    at: usize,
}

impl Upstream {
    pub async fn open(
        server: &Server,
        figures: &Arc<Figures>,
        place: (SocketAddr, Protocol),
    ) -> Result<Upstream, CannotAsk> {
        let (address, protocol) = place;
        let opened = tokio::time::timeout(OPENING_MAX, async {
            let unreachable = |error| CannotAsk::Unreachable(address, error);
            let socket = TcpStream::connect(address).await.map_err(unreachable)?;
            prepare(&socket);
            let mut upstream =
                Upstream { socket, inbound: Inbound::default(), _open: Counted::new(figures, |figures| &figures.open) };
            upstream.greet(server, address, protocol).await?;
            Ok(upstream)
        });
        match opened.await {
            Ok(opened) => opened,
            Err(_) => Err(CannotAsk::Unreachable(address, io::ErrorKind::TimedOut.into())),
        }
    }

    /// Says who this is, and which protocol is spoken.
    async fn greet(&mut self, server: &Server, address: SocketAddr, protocol: Protocol) -> Result<(), CannotAsk> {
        let mut words: Vec<Vec<String>> = Vec::new();
        let password = server.config.password_of_nodes();
        if !password.is_empty() {
            words.push(vec!["AUTH".into(), password]);
        }
        if protocol == Protocol::Resp3 {
            words.push(vec!["HELLO".into(), "3".into()]);
        }
        // What this node has wrong it must hear: otherwise two that disagree could pass on a request for ever.
        words.push(["CLIENT", "CAPA", "redirect"].map(str::to_owned).into());
        let me = server.cluster().map(|cluster| cluster.me().to_string()).unwrap_or_default();
        words.push(vec!["CLIENT".into(), "SETNAME".into(), format!("basalt-forward-{me}")]);
        let mut greeting = Output::default();
        for words in &words {
            encode_words(&words.iter().map(String::as_str).collect::<Vec<_>>(), &mut greeting);
        }
        let unreachable = |error| CannotAsk::Unreachable(address, error);
        let mut sending = Sending { socket: &self.socket, output: greeting };
        std::future::poll_fn(|cx| sending.poll(cx)).await.map_err(unreachable)?;
        let mut complaint = None;
        for words in &words {
            let heard =
                self.inbound.reply(&self.socket, &mut Sink::Nobody, None).await.map_err(|broken| match broken {
                    Broken::Io(error) => CannotAsk::Unreachable(address, error),
                    Broken::Malformed(malformed) => CannotAsk::Refused(address, malformed.to_string()),
                })?;
            let Heard::Error(error) = heard else { continue };
            // A node without a password says so to AUTH, and one of another version may not know CAPA.
            let is_harmless = error.starts_with(b"ERR") && matches!(words[0].as_str(), "AUTH" | "CLIENT");
            if !is_harmless {
                complaint.get_or_insert_with(|| String::from_utf8_lossy(&error).into_owned());
            }
        }
        complaint.map_or(Ok(()), |complaint| Err(CannotAsk::Refused(address, complaint)))
    }

    /// Whether it can be used again: nothing has come that was not asked for, above all not its end.
    pub fn is_alive(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        // Asked of the system itself: the runtime may not have heard yet.
        let peeked = SockRef::from(&self.socket).peek(&mut byte);
        let is_silent = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        is_silent && self.inbound.is_empty()
    }
}

fn prepare(socket: &TcpStream) {
    // Requests are written whole, so waiting for more would only delay them.
    let _ = socket.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
    if let Err(error) = SockRef::from(socket).set_tcp_keepalive(&keepalive) {
        tracing::debug!(%error, "a connection to another node goes without keepalive");
    }
}

/// Bytes on their way to another node.
pub struct Sending<'a> {
    pub socket: &'a TcpStream,
    pub output: Output,
}

impl Sending<'_> {
    /// Sends what the socket takes; ready when all is sent, or cannot be.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        const SLICES_MAX: usize = 16;
        while !self.output.is_empty() {
            ready!(self.socket.poll_write_ready(cx))?;
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.output.slices(usize::MAX, &mut slices);
            match self.socket.try_write_vectored(&slices[..count]) {
                // The client's own buffers hold what is large, and free it.
                Ok(written) => self.output.advance(written, drop),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Inbound {
    fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Takes one reply. What is no error goes to `sink` as it comes.
    pub async fn reply(
        &mut self,
        socket: &TcpStream,
        sink: &mut Sink<'_, '_>,
        vigil: Option<Vigil<'_>>,
    ) -> Result<Heard, Broken> {
        self.fill(socket, vigil).await?;
        if self.bytes[self.at] == b'-' {
            return Ok(Heard::Error(self.error(socket, vigil).await?));
        }
        let mut scanner = Scanner::default();
        loop {
            let rest = &self.bytes[self.at..];
            match scanner.advance(rest)? {
                Extent::EndsAt(end) => {
                    sink.put(&rest[..end], Place::BetweenReplies).await;
                    self.at += end;
                    return Ok(Heard::Passed);
                }
                Extent::All => {
                    sink.put(rest, Place::WithinReply).await;
                    self.at = self.bytes.len();
                }
            }
            self.fill(socket, vigil).await?;
        }
    }

    async fn error(&mut self, socket: &TcpStream, vigil: Option<Vigil<'_>>) -> Result<Vec<u8>, Broken> {
        let mut line = Vec::new();
        loop {
            let rest = &self.bytes[self.at..];
            let end = memchr::memchr(b'\n', rest);
            line.extend_from_slice(&rest[..end.map_or(rest.len(), |end| end + 1)]);
            self.at += end.map_or(rest.len(), |end| end + 1);
            if end.is_some() {
                return match line.strip_suffix(b"\r\n") {
                    Some(line) => Ok(line[1..].to_vec()),
                    None => Err(Malformed.into()),
                };
            }
            if line.len() > ERROR_MAX {
                return Err(Malformed.into());
            }
            self.fill(socket, vigil).await?;
        }
    }

    /// Waits until there is something.
    async fn fill(&mut self, socket: &TcpStream, vigil: Option<Vigil<'_>>) -> io::Result<()> {
        if !self.is_empty() {
            return Ok(());
        }
        self.at = 0;
        self.bytes.clear();
        loop {
            await_bytes(socket, vigil).await?;
            self.bytes.reserve_exact(READ_SIZE);
            match socket.try_read_buf(&mut self.bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives back what an idle connection does not need.
    pub fn trim(&mut self) {
        if self.is_empty() {
            *self = Inbound::default();
        }
    }
}

async fn await_bytes(socket: &TcpStream, vigil: Option<Vigil<'_>>) -> io::Result<()> {
    let Some(vigil) = vigil else { return socket.readable().await };
    let mut lost_since = None;
    loop {
        if let Ok(readable) = tokio::time::timeout(VIGIL_INTERVAL, socket.readable()).await {
            return readable;
        }
        match vigil.has_it_lost_the_slot() {
            true if lost_since.get_or_insert_with(Instant::now).elapsed() > VIGIL_MAX => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            true => {}
            false => lost_since = None,
        }
    }
}
