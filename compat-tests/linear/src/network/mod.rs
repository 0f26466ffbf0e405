//! The links between the nodes of a cluster, in the hands of the nemesis: nodes are announced with the ports of proxies
//! in this process, which pass bytes on, late, or not at all.
//!
//! | file | has |
//! |---|---|
//! | `links` | what may pass from whom to whom |
//! | `dialer` | which process has opened a connection |
//!
//! Bytes that may not pass are kept, and pass when the link is mended, as after lost packets that are sent again.

mod dialer;
mod links;

pub use links::{Links, Passage};

use std::io::{Read, Result, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

/// The id of the process that runs as a node, or 0.
pub type Pid = Arc<AtomicU32>;

/// A proxy for each node. Their threads end with this process.
pub struct Network {
    pub links: Arc<Links>,
    /// Where the nodes are to be announced.
    pub ports: Vec<u16>,
}

impl Network {
    /// In front of the ports at which nodes listen to each other.
    pub fn start(buses: &[SocketAddr], pids: &[Pid]) -> Result<Network> {
        let links = Arc::new(Links::of(buses.len()));
        let mut ports = Vec::new();
        for (node, bus) in buses.iter().enumerate() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            ports.push(listener.local_addr()?.port());
            let (bus, links, pids) = (*bus, links.clone(), pids.to_vec());
            thread::Builder::new().name(format!("proxy-{node}")).spawn(move || {
                // A listener fails for good only if it is closed.
                for stream in listener.incoming().flatten() {
                    links.carried.fetch_add(1, Relaxed);
                    // Whoever dials finds a closed connection, as with a node that is not there.
                    let _ = carry(stream, bus, node, &links, &pids);
                }
            })?;
        }
        Ok(Network { links, ports })
    }
}

/// Connects a dialer to the node that it wants.
fn carry(dialed: TcpStream, bus: SocketAddr, node: usize, links: &Arc<Links>, pids: &[Pid]) -> Result<()> {
    let from = dialer::find(dialed.peer_addr()?, pids);
    let upstream = TcpStream::connect(bus)?;
    for (source, sink, way) in [
        (dialed.try_clone()?, upstream.try_clone()?, from.map(|from| (from, node))),
        (upstream, dialed, from.map(|from| (node, from))),
    ] {
        source.set_nodelay(true)?;
        let links = links.clone();
        thread::Builder::new().spawn(move || pump(source, sink, &links, way))?;
    }
    Ok(())
}

fn pump(mut source: TcpStream, mut sink: TcpStream, links: &Links, way: Option<(usize, usize)>) {
    let mut buffer = [0; 16 << 10];
    loop {
        let read = source.read(&mut buffer).unwrap_or(0);
        if let Some((from, to)) = way {
            links.wait(from, to);
        }
        if read == 0 || sink.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // One of them may be closed already.
    let _ = source.shutdown(Shutdown::Both);
    let _ = sink.shutdown(Shutdown::Both);
}
