//! CLUSTER SLOTS: the topology as most clients read it.

use super::{Endpoint, Scene, ip};
use crate::resp::ReplyBuf;
use basalt_cluster::ids::NodeId;
use basalt_cluster::map::{NodeInfo, SlotsEntry};

/// Writes the runs of slots in ascending order, each with its master and that one's replicas.
pub fn slots(scene: &Scene<'_>, out: &mut ReplyBuf) {
    let entries = scene.map.slots_entries();
    out.array(entries.len());
    for SlotsEntry { slots, master, replicas } in entries {
        out.array(3 + replicas.len());
        out.integer(slots.first().number().into());
        out.integer(slots.last().number().into());
        for id in std::iter::once(master).chain(replicas) {
            let node = scene.map.node(id).expect("the map has every node that is shown");
            write_node(scene, out, id, node);
        }
    }
}

fn write_node(scene: &Scene<'_>, out: &mut ReplyBuf, id: NodeId, node: &NodeInfo) {
    let address = &node.address;
    out.array(4);
    out.bulk_or_null(scene.endpoint.of(address).as_deref().map(str::as_bytes));
    out.integer(address.port.into());
    out.bulk_str(&id.to_string());
    let mut metadata = Vec::new();
    if scene.endpoint != Endpoint::Ip {
        metadata.push(("ip", ip(address)));
    }
    if scene.endpoint != Endpoint::Hostname && !address.hostname.is_empty() {
        metadata.push(("hostname", address.hostname.clone()));
    }
    out.map(metadata.len());
    for (name, value) in metadata {
        out.bulk_str(name);
        out.bulk_str(&value);
    }
}
