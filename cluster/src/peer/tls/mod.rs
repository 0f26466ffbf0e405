//! Connections between nodes by TLS (`tls-cluster`): nobody on the way reads or changes what passes, and only who has a
//! certificate of the cluster's authorities takes part.
//!
//! [`files`] makes a [`Tls`] of what an operator gives; [`verify`] says whose certificate is good; [`failure`] says in
//! the operator's words why a handshake failed. Here the handshakes are made. A [`Socket`](super::socket::Socket) is
//! what comes out, and all that the rest of the transport sees.
//!
//! Invariants:
//! - TLS 1.3 only, since all who speak are nodes of this kind; both sides show a certificate;
//! - nothing is taken over from a former connection (no tickets): each one checks certificates anew, so that one that
//!   has expired, or whose authority was taken away, opens nothing more;
//! - who has not been let in yet takes bounded memory (rustls holds at most 64 KiB of a handshake) and bounded time,
//!   which is that of `Timing::connect`.

pub(super) mod failure;
mod files;
#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;
mod verify;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use files::{TlsError, TlsFiles};

use super::connection::Closed;
use super::limits::{TLS_READ_BYTES, WRITE_BYTES};
use super::socket::Socket;
use super::wire::hello::{MAGIC, what_is_it};
use verify::Authorities;

/// How long a connection that was not let in is still read from, so that the other side hears why before it hears that
/// what it has sent was not taken.
const PARTING: Duration = Duration::from_millis(100);

/// The types of records of which TLS begins with the first, and has the second if it fails.
const HANDSHAKE_RECORD: u8 = 0x16;
const ALERT_RECORD: u8 = 0x15;

/// What a node has for connections by TLS. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    dialer: Arc<ClientConfig>,
    acceptor: Arc<ServerConfig>,
}

impl Tls {
    /// Of a certificate that has been found good.
    fn new(own: CertifiedKey, roots: Arc<RootCertStore>, provider: Arc<CryptoProvider>) -> Result<Tls, Error> {
        let own = Arc::new(SingleCertAndKey::from(own));
        let authorities = Arc::new(Authorities::new(roots, &provider)?);
        let mut dialer = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(authorities.clone())
            .with_client_cert_resolver(own.clone());
        dialer.resumption = Resumption::disabled();
        let mut acceptor = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(authorities.of_dialers())
            .with_cert_resolver(own);
        acceptor.session_storage = Arc::new(NoServerSessionStorage {});
        acceptor.send_tls13_tickets = 0;
        Ok(Tls { dialer: Arc::new(dialer), acceptor: Arc::new(acceptor) })
    }

    /// The dialer's part of a handshake.
    pub(super) async fn dial(&self, stream: TcpStream, to: SocketAddr) -> Result<Socket, Closed> {
        // Of an address the other side is told nothing, and no name is checked.
        let name = ServerName::IpAddress(to.ip().into());
        let connecting = TlsConnector::from(self.dialer.clone())
            .connect_with(name, buffered(stream), |session| session.set_buffer_limit(Some(WRITE_BYTES)));
        let connected = connecting.await.map_err(|error| failure::of_dialer(&error))?;
        Ok(Socket::Encrypted(Box::new(connected.into())))
    }

    /// The acceptor's part.
    pub(super) async fn accept(&self, stream: TcpStream) -> Result<Socket, Closed> {
        let mut first = [0; MAGIC.len()];
        let len = stream.peek(&mut first).await?;
        if len == 0 {
            return Err(Closed::ByPeer);
        }
        let accepting = TlsAcceptor::from(self.acceptor.clone())
            .accept_with(buffered(stream), |session| session.set_buffer_limit(Some(WRITE_BYTES)));
        match accepting.into_fallible().await {
            Ok(accepted) => Ok(Socket::Encrypted(Box::new(accepted.into()))),
            Err((error, stream)) => {
                part(stream).await;
                Err(match first[0] {
                    HANDSHAKE_RECORD | ALERT_RECORD => failure::of_acceptor(&error),
                    _ if MAGIC.starts_with(&first[..len]) => Closed::NoTlsThere,
                    _ => Closed::NotABasalt(what_is_it(&first)),
                })
            }
        }
    }
}

/// What this node's connections are made with.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// rustls asks for a few KiB at a time, which would be a system call each.
fn buffered(stream: TcpStream) -> BufReader<TcpStream> {
    BufReader::with_capacity(TLS_READ_BYTES, stream)
}

/// Closes a connection whose other side has just been told why. Closed with something unread it would be reset, and
/// the reason be lost.
async fn part(mut stream: BufReader<TcpStream>) {
    let read_on = async {
        let mut thrown_away = [0; 4096];
        if stream.shutdown().await.is_ok() {
            while matches!(stream.read(&mut thrown_away).await, Ok(1..)) {}
        }
    };
    // There is nothing more to do for it.
    let _ = timeout(PARTING, read_on).await;
}
