//! The set of listening sockets, which CONFIG SET port and bind change while the server runs.

use super::io_thread::IoThreads;
use super::listener::{self, Service};
use crate::config::Config;
use crate::server::Server;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Weak};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// The listening sockets of a server.
#[derive(Default)]
pub struct Listeners(Mutex<Option<Open>>);

struct Open {
    server: Weak<Server>,
    threads: Arc<IoThreads>,
    runtime: Handle,
    tcp: Vec<OpenSocket>,
}

struct OpenSocket {
    address: SocketAddr,
    service: Service,
    task: JoinHandle<()>,
}

impl Listeners {
    /// Opens the first sockets; from then on [`Listeners::listen`] follows the settings. Must be called on the runtime
    /// that accepts.
    pub fn start(&self, server: &Arc<Server>, threads: Arc<IoThreads>) -> Result<(), String> {
        let open = Open { server: Arc::downgrade(server), threads, runtime: Handle::current(), tcp: Vec::new() };
        *self.0.lock() = Some(open);
        self.listen(&server.config)?;
        self.listen_unix(server)
    }

    /// Opens and closes TCP sockets until they are those of `bind`, `port` and `cluster-forward-port`. On failure
    /// nothing has changed.
    pub fn listen(&self, config: &Config) -> Result<(), String> {
        let mut guard = self.0.lock();
        let Some(open) = guard.as_mut() else { return Ok(()) };
        let Some(server) = open.server.upgrade() else { return Ok(()) };
        let bind_to = config.text("bind");
        let (port, forwarding_port) = (config.int("port") as u16, config.int("cluster-forward-port") as u16);
        if port != 0 && port == forwarding_port {
            return Err("`port` and `cluster-forward-port` must be two".to_owned());
        }
        let services = [(port, Service::AsSet), (forwarding_port, Service::Forwarding)];
        let mut wanted = Vec::new();
        for (port, service) in services {
            wanted.extend(addresses(&bind_to, port)?.into_iter().map(|wanted| (wanted, service)));
        }
        let backlog = config.int("tcp-backlog") as i32;
        let mut opened = Vec::new();
        for (Wanted { address, must_exist }, service) in &wanted {
            let is_this = |socket: &&OpenSocket| socket.address == *address && socket.service == *service;
            if open.tcp.iter().any(|socket| is_this(&socket)) {
                continue;
            }
            match bind(*address, backlog) {
                Ok(listener) => opened.push((*address, *service, listener)),
                Err(error) if !must_exist => tracing::debug!(%address, %error, "not listening on an optional address"),
                Err(error) => {
                    // The words of redis-server's log, by which scripts know that they have to take another port.
                    tracing::warn!(%address, %error, "Failed listening on port {}", address.port());
                    return Err("Unable to listen on this port. Check server logs.".to_owned());
                }
            }
        }
        if opened.is_empty() && open.tcp.is_empty() && !wanted.is_empty() {
            return Err(format!("Unable to listen on any of '{}'", bind_to));
        }
        open.tcp.retain(|socket| {
            let is_this =
                |(wanted, service): &(Wanted, Service)| wanted.address == socket.address && *service == socket.service;
            let keep = wanted.iter().any(is_this);
            if !keep {
                socket.task.abort();
            }
            keep
        });
        for (address, service, listener) in opened {
            let _context = open.runtime.enter();
            let listener = TcpListener::from_std(listener).map_err(|error| error.to_string())?;
            let accept = listener::accept_tcp(server.clone(), open.threads.clone(), listener, service);
            open.tcp.push(OpenSocket { address, service, task: open.runtime.spawn(accept) });
        }
        Ok(())
    }

    fn listen_unix(&self, server: &Arc<Server>) -> Result<(), String> {
        let path = server.config.text("unixsocket");
        if path.is_empty() {
            return Ok(());
        }
        let guard = self.0.lock();
        let Some(open) = guard.as_ref() else { return Ok(()) };
        let failed = |error: io::Error| format!("Unable to listen on the unix socket {path}: {error}");
        // A socket that an earlier process left behind is in the way.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let mode = server.config.int("unixsocketperm") as u32;
        if mode != 0 {
            std::fs::set_permissions(Path::new(&path), std::fs::Permissions::from_mode(mode)).map_err(failed)?;
        }
        open.runtime.spawn(listener::accept_unix(server.clone(), open.threads.clone(), listener, path));
        Ok(())
    }
}

pub(crate) struct Wanted {
    pub address: SocketAddr,
    pub must_exist: bool,
}

/// The addresses that `bind` names. Port 0 means none.
pub(crate) fn addresses(bind: &str, port: u16) -> Result<Vec<Wanted>, String> {
    let mut wanted: Vec<Wanted> = Vec::new();
    if port == 0 {
        return Ok(wanted);
    }
    for word in bind.split_whitespace() {
        let (name, must_exist) = match word.strip_prefix('-') {
            Some(name) => (name, false),
            None => (word, true),
        };
        let found: Vec<SocketAddr> = match name {
            "*" => vec![(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).into()],
            "::*" => vec![(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into()],
            host => match (host, port).to_socket_addrs() {
                Ok(found) => found.take(1).collect(),
                Err(_) if !must_exist => Vec::new(),
                Err(error) => return Err(format!("Unable to find the address '{host}': {error}")),
            },
        };
        for address in found {
            if !wanted.iter().any(|other| other.address == address) {
                wanted.push(Wanted { address, must_exist });
            }
        }
    }
    Ok(wanted)
}

pub(crate) fn bind(address: SocketAddr, backlog: i32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that the IPv4 socket of the same port can exist beside it.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_words_become_addresses() {
        let all = addresses("* -::* 127.0.0.1 127.0.0.1", 7).expect("known addresses");
        let shown: Vec<_> = all.iter().map(|wanted| (wanted.address.to_string(), wanted.must_exist)).collect();
        assert_eq!(shown, [("0.0.0.0:7".into(), true), ("[::]:7".into(), false), ("127.0.0.1:7".to_owned(), true)]);
        assert!(addresses("*", 0).expect("none").is_empty());
    }
}
