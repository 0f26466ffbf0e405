//! CLUSTER SHARDS: each master with its slots and its replicas, whether or not they are up.

use super::{Scene, ip};
use crate::resp::ReplyBuf;
use basalt_cluster::map::{ShardEntry, ShardHealth, ShardNode};

pub fn shards(scene: &Scene<'_>, out: &mut ReplyBuf) {
    let entries = scene.map.shard_entries();
    out.array(entries.len());
    for ShardEntry { slots, master, replicas } in entries {
        out.map(2);
        out.bulk_str("slots");
        out.array(2 * slots.len());
        for range in slots {
            out.integer(range.first().number().into());
            out.integer(range.last().number().into());
        }
        out.bulk_str("nodes");
        out.array(1 + replicas.len());
        write_node(scene, out, master, "master");
        replicas.into_iter().for_each(|replica| write_node(scene, out, replica, "replica"));
    }
}

fn write_node(scene: &Scene<'_>, out: &mut ReplyBuf, shown: ShardNode, role: &str) {
    let ShardNode { id, health } = shown;
    let address = &scene.map.node(id).expect("the map has every node that is shown").address;
    let has_name = !address.hostname.is_empty();
    out.map(7 + usize::from(has_name));
    out.bulk_str("id");
    out.bulk_str(&id.to_string());
    out.bulk_str("port");
    out.integer(address.port.into());
    out.bulk_str("ip");
    out.bulk_str(&ip(address));
    out.bulk_str("endpoint");
    // Unlike CLUSTER SLOTS, it says nothing rather than null.
    out.bulk_str(&scene.endpoint.in_redirection(address));
    if has_name {
        out.bulk_str("hostname");
        out.bulk_str(&address.hostname);
    }
    out.bulk_str("role");
    out.bulk_str(role);
    out.bulk_str("replication-offset");
    out.integer((scene.contact)(id).offset as i64);
    out.bulk_str("health");
    out.bulk_str(match health {
        // A node that answers is not the one that has failed.
        ShardHealth::Fail if id != scene.me => "fail",
        ShardHealth::Online | ShardHealth::Fail => "online",
        ShardHealth::Loading => "loading",
    });
}
