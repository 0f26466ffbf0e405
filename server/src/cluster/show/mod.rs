//! How the cluster is shown to clients: CLUSTER NODES, SLOTS, SHARDS, INFO and LINKS, byte by byte as Redis does.
//!
//! Everything here is a pure function of a [`Scene`], and mostly of what the map says for these replies. Names,
//! addresses and figures that the map does not have come from who answers.

mod info;
mod links;
mod nodes;
#[cfg(test)]
pub(super) mod samples;
mod shards;
mod slots;
#[cfg(test)]
mod tests;

pub use info::info;
pub use links::links;
pub use nodes::{nodes, replicas};
pub use shards::shards;
pub use slots::slots;

use super::control::{Contact, Handshake, Traffic};
use super::route::Cover;
use basalt_cluster::ids::NodeId;
use basalt_cluster::map::{Address, ClusterMap};

/// What is shown, and by whom.
pub struct Scene<'a> {
    pub map: &'a ClusterMap,
    pub me: NodeId,
    pub endpoint: Endpoint,
    pub cover: Cover,
    pub contact: &'a dyn Fn(NodeId) -> Contact,
    pub handshakes: &'a [Handshake],
    pub traffic: &'a Traffic,
}

/// How clients are told where a node is: `cluster-preferred-endpoint-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Ip,
    Hostname,
    /// They go on with the host that they have asked.
    Unknown,
}

impl Endpoint {
    pub fn of_setting(text: &str) -> Endpoint {
        match text {
            "hostname" => Endpoint::Hostname,
            "unknown-endpoint" => Endpoint::Unknown,
            _ => Endpoint::Ip,
        }
    }

    /// The endpoint of a node in a topology; nothing is told as null.
    fn of(self, address: &Address) -> Option<String> {
        match self {
            Endpoint::Ip => Some(ip(address)),
            Endpoint::Hostname if address.hostname.is_empty() => Some("?".to_owned()),
            Endpoint::Hostname => Some(address.hostname.clone()),
            Endpoint::Unknown => None,
        }
    }

    /// The host in MOVED and ASK; nothing there means the host that the client has asked.
    pub fn in_redirection(self, address: &Address) -> String {
        self.of(address).unwrap_or_default()
    }
}

/// A node that nobody has connected to yet, and that was not told its address, does not know it.
fn ip(address: &Address) -> String {
    if address.ip.is_unspecified() { String::new() } else { address.ip.to_string() }
}
