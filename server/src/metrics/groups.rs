//! With `cluster-enabled`: nodes, slots, what passes between nodes.

use super::exposition::Samples;
use super::scrape::Scrape;
use super::{Metric, counter, gauge};
use crate::cluster::Cluster;
use crate::cluster::control::{LinkState, Quorum, Trust};
use crate::cluster::route::Cover;
use basalt_cluster::ids::NodeId;
use basalt_cluster::map::{Health, Role};

pub const METRICS: &[Metric] = &[
    gauge(
        "basalt_cluster_node_info",
        &["node", "role"],
        "Always 1; the name of this node, and whether it is shown as a `master` or a `replica`.",
        |scrape, samples| {
            with(scrape, |cluster| {
                let role = if cluster.is_replica() { "replica" } else { "master" };
                samples.put_for(&[&cluster.me().to_string(), role], 1);
            })
        },
    ),
    gauge("basalt_cluster_up", &[], "1 if commands are served: what CLUSTER INFO calls `ok`.", |scrape, samples| {
        with(scrape, |cluster| samples.put(u8::from(cluster.cover() == Cover::Up)));
    }),
    gauge(
        "basalt_cluster_root_in_reach",
        &[],
        "0 if this node has been out of touch with a quorum of the root group for longer than `cluster-node-timeout`.",
        |scrape, samples| with(scrape, |cluster| samples.put(u8::from(cluster.control().quorum() == Quorum::InReach))),
    ),
    gauge("basalt_cluster_nodes", &["health"], "Nodes by what the cluster knows of them.", |scrape, samples| {
        with(scrape, |cluster| {
            let map = cluster.control().map();
            let up = map.nodes().values().filter(|node| node.health == Health::Up).count();
            samples.put_for(&["up"], up);
            samples.put_for(&["failed"], map.nodes().len() - up);
        });
    }),
    gauge("basalt_cluster_slots", &["state"], "Slots by what becomes of their requests.", |scrape, samples| {
        with(scrape, |cluster| slots(cluster, samples));
    }),
    gauge("basalt_cluster_own_slots", &[], "Slots that clients are sent to this node for.", |scrape, samples| {
        with(scrape, |cluster| {
            let (picture, me) = (cluster.picture(), cluster.me());
            let own = picture.map.slots().owners().filter(|(group, _)| picture.leader(*group) == Some(me));
            samples.put(own.map(|(_, count)| count).sum::<usize>());
        });
    }),
    gauge("basalt_cluster_replicas", &[], "Nodes that are shown as replicas of this one.", |scrape, samples| {
        with(scrape, |cluster| {
            let picture = cluster.picture();
            samples.put(match picture.roles.role(cluster.me()) {
                Some(Role::ReplicaOf(_)) => 0,
                _ => picture.roles.replicas(cluster.me()).len(),
            });
        });
    }),
    gauge("basalt_cluster_map_version", &[], "How often the cluster's map has changed.", |scrape, samples| {
        with(scrape, |cluster| samples.put(cluster.control().map().version().0));
    }),
    gauge("basalt_cluster_current_epoch", &[], "The highest epoch of a node.", |scrape, samples| {
        with(scrape, |cluster| samples.put(cluster.control().map().current_epoch().0));
    }),
    gauge("basalt_cluster_migrations", &[], "Migrations of slots that are under way.", |scrape, samples| {
        with(scrape, |cluster| samples.put(cluster.control().map().migrations_under_way().count()));
    }),
    gauge(
        "basalt_cluster_held_clients",
        &[],
        "Clients whose request waits until it is known who serves its slot.",
        |scrape, samples| with(scrape, |cluster| samples.put(cluster.held_clients())),
    ),
    gauge("basalt_cluster_links_down", &[], "Other nodes to which there is no connection.", |scrape, samples| {
        with(scrape, |cluster| {
            let is_cut = |node: &NodeId| cluster.control().contact(*node).link == LinkState::Disconnected;
            samples.put(others(cluster).iter().filter(|node| is_cut(node)).count());
        });
    }),
    gauge("basalt_cluster_link_queued_bytes", &[], "Bytes that wait to be sent to other nodes.", |scrape, samples| {
        with(scrape, |cluster| {
            samples.put(cluster.control().links().iter().map(|link| link.buffer_used).sum::<usize>())
        });
    }),
    counter("basalt_cluster_messages_total", &["direction", "kind"], "Messages between nodes.", |scrape, samples| {
        with(scrape, |cluster| {
            let traffic = cluster.control().traffic();
            for (direction, kinds) in [("sent", &traffic.sent), ("received", &traffic.received)] {
                kinds.iter().for_each(|(kind, count)| samples.put_for(&[direction, kind], count));
            }
        });
    }),
    counter("basalt_cluster_bytes_total", &["direction"], "Bytes between nodes.", |scrape, samples| {
        with(scrape, |cluster| {
            let traffic = cluster.control().traffic();
            samples.put_for(&["sent"], traffic.sent_bytes);
            samples.put_for(&["received"], traffic.received_bytes);
        });
    }),
    counter(
        "basalt_cluster_messages_dropped_total",
        &[],
        "Messages that were not sent because too much was waiting.",
        |scrape, samples| with(scrape, |cluster| samples.put(cluster.control().traffic().cut_links)),
    ),
];

fn with(scrape: &Scrape<'_>, show: impl FnOnce(&Cluster)) {
    if let Some(cluster) = scrape.server.cluster() {
        show(cluster);
    }
}

fn others(cluster: &Cluster) -> Vec<NodeId> {
    cluster.control().map().nodes().keys().copied().filter(|node| *node != cluster.me()).collect()
}

fn slots(cluster: &Cluster, samples: &mut Samples<'_>) {
    let is_suspected = |node| cluster.control().contact(node).trust == Trust::Suspected;
    let summary = cluster.control().map().summary(cluster.me(), is_suspected);
    samples.put_for(&["ok"], summary.slots_ok);
    samples.put_for(&["suspected"], summary.slots_pfail);
    samples.put_for(&["failed"], summary.slots_fail);
    samples.put_for(&["unassigned"], basalt_storage::slot::SLOT_COUNT - summary.slots_assigned);
}
