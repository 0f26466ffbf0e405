//! Where this node is to be found, and where it finds others: from settings to addresses and sockets.

use crate::config::Config;
use basalt_cluster::map::{Address, AutoBalance, Mode, Settings};
use basalt_cluster::node::Seeds;
use basalt_cluster::peer::{Secret, Tls, TlsFiles};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::sync::Arc;

/// What other nodes are told if nothing else is set: the client port plus this.
const PEER_PORT_ADDED: u16 = 10_000;

/// Somewhere outside; nothing is sent there. Which address a packet would leave from is where others find this node.
const OUTSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// A node's address, and the sockets behind it.
pub struct Placed {
    pub address: Address,
    pub listeners: Vec<TcpListener>,
}

/// Finds out where this node is, and begins to listen for other nodes.
///
/// # Errors
/// What an operator has to change.
pub fn place(config: &Config) -> Result<Placed, String> {
    let address = address(config)?;
    let port = own_peer_port(config)?;
    let ips: Vec<IpAddr> = match explicit_ips(config) {
        ips if !ips.is_empty() => ips,
        _ if is_protected(config) => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        _ => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
    };
    let listen = |ip: IpAddr| {
        TcpListener::bind((ip, port))
            .map_err(|error| format!("Failed listening on port {port} (cluster, {ip}; see `cluster-port`): {error}"))
    };
    let listeners = ips.into_iter().map(listen).collect::<Result<_, _>>()?;
    Ok(Placed { address, listeners })
}

/// Where other nodes and clients find this one, by its settings.
pub fn address(config: &Config) -> Result<Address, String> {
    let port = set_port(config, "cluster-announce-port").or_else(|| set_port(config, "port"));
    let port = port.ok_or("a node of a cluster needs a `port` for clients")?;
    let peer_port = match set_port(config, "cluster-announce-bus-port") {
        Some(port) => port,
        None => own_peer_port(config)?,
    };
    let ip = match config.text("cluster-announce-ip").parse() {
        Ok(ip) => ip,
        Err(_) => find_ip(config),
    };
    Ok(Address { ip, port, tls_port: None, peer_port, hostname: config.text("cluster-announce-hostname") })
}

/// How this node keeps what clients give it.
pub fn mode(config: &Config) -> Mode {
    if config.text("mode") == "durable" { Mode::Durable } else { Mode::Cache }
}

/// What this node would have the cluster do.
pub fn settings(config: &Config) -> Settings {
    let by_mode = match mode(config) {
        Mode::Durable => 2,
        Mode::Cache => 0,
    };
    let number = |name: &str| u64::try_from(config.int(name)).unwrap_or_default();
    Settings {
        replicas: u8::try_from(config.int("cluster-replicas")).unwrap_or(by_mode),
        repair_delay_ms: number("cluster-repair-delay") * 1000,
        node_timeout_ms: number("cluster-node-timeout"),
        auto_balance: if config.is_yes("cluster-auto-balance") { AutoBalance::Yes } else { AutoBalance::No },
        migration_max_bytes_per_second: number("cluster-migration-max-bytes-per-second"),
    }
}

/// A port that is set; zero stands for none.
fn set_port(config: &Config, name: &str) -> Option<u16> {
    u16::try_from(config.int(name)).ok().filter(|port| *port != 0)
}

/// Where a node listens for others whose clients use this port, if nothing else is set. High ports have none.
pub fn peer_port_of(port: u16) -> Option<u16> {
    port.checked_add(PEER_PORT_ADDED)
}

/// What other nodes have to know, if `cluster-secret` is set.
pub fn secret(config: &Config) -> Result<Option<Secret>, String> {
    let text = config.text("cluster-secret");
    if text.is_empty() {
        return Ok(None);
    }
    Secret::new(&text).map(Some).map_err(|error| format!("cluster-secret: {error}"))
}

/// What connections between nodes are encrypted with, if `tls-cluster` is set. Reads files.
pub fn tls(config: &Config) -> Result<Option<Tls>, String> {
    if !config.is_yes("tls-cluster") {
        return Ok(None);
    }
    let path = |name: &str| config.text(name).into();
    let files = TlsFiles {
        certificate: path("tls-cert-file"),
        key: path("tls-key-file"),
        authorities: path("tls-ca-cert-file"),
        authorities_dir: path("tls-ca-cert-dir"),
    };
    Tls::read(&files).map(Some).map_err(|error| error.to_string())
}

/// The nodes of `cluster-join`, by host and the port for other nodes. Each is named as clients know it.
pub struct NodesToJoin(Vec<(String, u16)>);

impl NodesToJoin {
    pub fn of(config: &Config) -> Result<NodesToJoin, String> {
        config.text("cluster-join").split_whitespace().map(NodesToJoin::read).collect::<Result<_, _>>().map(NodesToJoin)
    }

    fn read(word: &str) -> Result<(String, u16), String> {
        let wrong = || format!("cluster-join: '{word}' is not HOST:PORT");
        let (host, port) = word.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        // Whose clients' port is so high has a `cluster-port` of its own, by which it may be named.
        let peer_port = peer_port_of(port).unwrap_or(port);
        Ok((host.trim_matches(['[', ']']).to_owned(), peer_port))
    }

    /// Where they are now. Blocks while names are looked up.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        for (host, port) in &self.0 {
            match (host.as_str(), *port).to_socket_addrs() {
                Ok(addresses) => found.extend(addresses),
                // Others may do, and this one may come to be.
                Err(error) => tracing::warn!(%error, host, "a node to join cannot be found by its name"),
            }
        }
        found
    }

    /// For a node that is to join them; none if there are none.
    pub fn into_seeds(self) -> Option<Seeds> {
        (!self.0.is_empty()).then(|| -> Seeds { Arc::new(move || self.addresses()) })
    }
}

fn own_peer_port(config: &Config) -> Result<u16, String> {
    let added = || set_port(config, "port").and_then(peer_port_of);
    set_port(config, "cluster-port")
        .or_else(added)
        .ok_or_else(|| "`port` plus 10000 is no port: set `cluster-port`".to_owned())
}

/// Only clients on this machine are let in, so only nodes on this machine make sense.
fn is_protected(config: &Config) -> bool {
    config.is_yes("protected-mode") && !config.needs_password()
}

/// The addresses that `bind` names, if it names any.
fn explicit_ips(config: &Config) -> Vec<IpAddr> {
    let bind = config.text("bind");
    let words = bind.split_whitespace().map(|word| word.trim_start_matches('-'));
    words.filter_map(|word| word.parse().ok()).filter(|ip: &IpAddr| !ip.is_unspecified()).collect()
}

fn find_ip(config: &Config) -> IpAddr {
    let explicit = explicit_ips(config);
    let others = NodesToJoin::of(config).map_or(Vec::new(), |nodes| nodes.addresses());
    if others.is_empty()
        && let Some(ip) = explicit.first()
    {
        return *ip;
    }
    if explicit.is_empty() && is_protected(config) {
        return IpAddr::V4(Ipv4Addr::LOCALHOST);
    }
    // Where nobody listens, others would not find it.
    let is_possible = |ip: &IpAddr| if explicit.is_empty() { !ip.is_unspecified() } else { explicit.contains(ip) };
    let towards = others.into_iter().chain([OUTSIDE]);
    let seen = towards.filter_map(|there| leaves_from(there).ok()).find(is_possible);
    seen.or_else(|| explicit.first().copied()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// The address from which a packet to somewhere would leave.
fn leaves_from(there: SocketAddr) -> std::io::Result<IpAddr> {
    let here: IpAddr = if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((here, 0))?;
    socket.connect(there)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::read_arguments;

    fn found_ip(options: &[&str]) -> IpAddr {
        let arguments: Vec<String> = options.iter().map(|&word| word.to_owned()).collect();
        let directives = read_arguments(&arguments).expect("options");
        find_ip(&Config::from_directives(directives, None).expect("valid options"))
    }

    #[test]
    fn a_node_is_announced_where_it_listens_though_packets_to_others_leave_from_elsewhere() {
        let others = ["--cluster-join", "127.0.0.1:7000"];
        let bound = IpAddr::from([127, 9, 9, 9]);
        assert_eq!(found_ip(&["--bind", "127.9.9.9"]), bound);
        assert_eq!(found_ip(&[&others[..], &["--bind", "127.9.9.9"]].concat()), bound);
        assert_eq!(found_ip(&[&others[..], &["--bind", "127.9.9.9 127.0.0.1"]].concat()), Ipv4Addr::LOCALHOST);
        assert_eq!(found_ip(&others), Ipv4Addr::LOCALHOST);
    }
}
