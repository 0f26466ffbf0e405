//! Listeners: accept connections, refuse those beyond `maxclients`, and give each to the least loaded thread.

use super::io_thread::{Handover, IoThreads};
use super::stream::RawStream;
use crate::client::NewClient;
use crate::server::Server;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener};

/// How long a listener rests when the system gives it no more descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a listener does with requests that another node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// What `cluster-forward` says when a client comes.
    AsSet,
    Forwarding,
}

/// Accepts TCP connections for as long as the process lives.
pub async fn accept_tcp(server: Arc<Server>, threads: Arc<IoThreads>, listener: TcpListener, service: Service) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let local = stream.local_addr().map(|address| address.to_string()).unwrap_or_default();
                // Replies are written whole, so waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                set_keepalive(&server, &stream);
                match stream.into_std() {
                    Ok(stream) => {
                        let fd = stream.as_raw_fd();
                        let ends = Ends { address: address.to_string(), local, fd, service };
                        admit(&server, &threads, RawStream::Tcp(stream), ends).await;
                    }
                    Err(error) => tracing::warn!(%error, "an accepted connection was lost"),
                }
            }
            Err(error) => rest(error).await,
        }
    }
}

/// Accepts unix-socket connections for as long as the process lives.
pub async fn accept_unix(server: Arc<Server>, threads: Arc<IoThreads>, listener: UnixListener, path: String) {
    loop {
        match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                let (address, local) = (format!("{path}:0"), format!("{path}:0"));
                let ends = Ends { address, local, fd: stream.as_raw_fd(), service: Service::AsSet };
                admit(&server, &threads, RawStream::Unix(stream), ends).await;
            }
            Err(error) => rest(error).await,
        }
    }
}

struct Ends {
    address: String,
    local: String,
    fd: i32,
    service: Service,
}

async fn admit(server: &Arc<Server>, threads: &IoThreads, stream: RawStream, ends: Ends) {
    server.clients.received.fetch_add(1, Relaxed);
    if server.clients.count() >= server.config.hot.maxclients.load(Relaxed) {
        server.clients.rejected.fetch_add(1, Relaxed);
        return refuse(stream, TOO_MANY);
    }
    let is_unix = matches!(stream, RawStream::Unix(_));
    if !is_unix && is_unprotected_stranger(server, &ends.address) {
        server.clients.rejected.fetch_add(1, Relaxed);
        return refuse(stream, PROTECTED);
    }
    let thread = threads.least_loaded();
    let client = server.clients.register(NewClient {
        address: ends.address,
        local_address: ends.local,
        fd: i64::from(ends.fd),
        thread,
        now_ms: server.now().0,
    });
    client.info.is_unix_socket.store(is_unix, Relaxed);
    let is_forwarded = ends.service == Service::Forwarding || server.config.hot.cluster_forward.load(Relaxed);
    client.info.is_forwarded.store(is_forwarded && server.cluster().is_some(), Relaxed);
    threads.hand_over(thread, Handover { stream, client }).await;
}

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
const PROTECTED: &[u8] =
    b"-DENIED Basalt is in protected mode: no password is set, so only clients on this machine are \
    served. Set a password with requirepass, or turn protected-mode off if the network is trusted.\r\n";

/// Without a password, protected mode serves this machine only.
fn is_unprotected_stranger(server: &Server, address: &str) -> bool {
    let is_loopback = |address: std::net::SocketAddr| address.ip().to_canonical().is_loopback();
    !address.parse().is_ok_and(is_loopback) && !server.config.needs_password() && server.config.is_yes("protected-mode")
}

/// Says why, as far as the socket takes it without waiting.
fn refuse(stream: RawStream, reason: &[u8]) {
    let _ = match stream {
        RawStream::Tcp(mut stream) => stream.write_all(reason),
        RawStream::Unix(mut stream) => stream.write_all(reason),
    };
}

/// Applies `tcp-keepalive`: probes after that many seconds of silence, three of them.
fn set_keepalive(server: &Server, stream: &TcpStream) {
    let seconds = server.config.hot.tcp_keepalive_s.load(Relaxed);
    if seconds == 0 {
        return;
    }
    let interval = Duration::from_secs((seconds / 3).max(1));
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(seconds)).with_interval(interval).with_retries(3);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!(%error, "a connection goes without keepalive");
    }
}

async fn rest(error: io::Error) {
    tracing::warn!(%error, "accepting a connection failed; trying again shortly");
    tokio::time::sleep(ACCEPT_RETRY).await;
}
