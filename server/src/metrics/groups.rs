//! With `cluster-enabled`: nodes, slots, what passes between nodes.

use super::exposition::Samples;
use super::log::distribution;
use super::scrape::Scrape;
use super::{Metric, counter, gauge, histogram};
use crate::cluster::Cluster;
use crate::cluster::control::{LinkState, Quorum, Trust};
use crate::cluster::migration::Figures;
use crate::cluster::route::Cover;
use crate::cluster::verify::{Known, Verifier};
use basalt_cluster::ids::NodeId;
use basalt_cluster::map::{Health, Role};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

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
    gauge("basalt_cluster_migrating_slots", &[], "Slots that these move.", |scrape, samples| {
        with(scrape, |cluster| {
            let map = cluster.control().map();
            samples.put(map.migrations_under_way().map(|migration| migration.all_slots().count()).sum::<usize>());
        });
    }),
    counter(
        "basalt_migrations_departed_total",
        &[],
        "Migrations of slots away from groups that this node led.",
        |scrape, samples| migrations(scrape, samples, |figures| &figures.departed),
    ),
    counter(
        "basalt_migration_hitches_total",
        &[],
        "Times this node could not go on with its part in a migration; it tries again, unless it was taken back.",
        |scrape, samples| migrations(scrape, samples, |figures| &figures.hitches),
    ),
    counter(
        "basalt_migration_bytes_total",
        &["direction"],
        "Bytes of migrating slots that this node has `sent` to other groups, or `received` from them.",
        |scrape, samples| {
            if let Some(figures) = figures(scrape) {
                samples.put_for(&["sent"], figures.sent_bytes.load(Relaxed));
                samples.put_for(&["received"], figures.received_bytes.load(Relaxed));
            }
        },
    ),
    histogram(
        "basalt_migration_sealed_duration_seconds",
        &[],
        "For how long requests for slots waited while these were given away.",
        |scrape, samples| {
            if let Some(figures) = figures(scrape) {
                samples.put_distribution(&[], &distribution(&figures.sealed));
            }
        },
    ),
    counter(
        "basalt_placement_steps_total",
        &["step"],
        "What the cluster has done by itself, told by the node that has decided it: `add-replica`, `remove-replica`, \
         `prefer-leader`, `move-slots`, `assign-slots`; in cache mode, for a group without keys, `refound-group`, and \
         when a node is lost, `abort-migration`, `finish-migration`, `give-up-slots`.",
        |scrape, samples| {
            with(scrape, |cluster| {
                let steps = cluster.control().placement_steps();
                steps.iter().for_each(|(step, count)| samples.put_for(&[step], count));
            });
        },
    ),
    counter(
        "basalt_cluster_emptied_slots_total",
        &["cause"],
        "Cache mode: slots that have lost their keys with the only process that had them, or with so many that the \
         others are no majority. `restart`: processes were started again, and their group has begun anew on this node. \
         `loss`: other nodes were failed for longer than `cluster-repair-delay`, and this one, leading the root group, \
         has given their slots to others, or a group has begun anew on this node.",
        |scrape, samples| {
            with(scrape, |cluster| {
                let emptied = cluster.control().emptied_slots();
                emptied.iter().for_each(|(cause, count)| samples.put_for(&[cause], count));
            });
        },
    ),
    counter(
        "basalt_verify_checks_total",
        &["result"],
        "Times this node has compared the replicas of a group that it led: all were `equal`, some were `different`, \
         those that were compared were equal (`incomplete`), or none were compared (`failed`).",
        |scrape, samples| {
            verifier(scrape, |verifier| {
                verifier.figures.checks().for_each(|(result, count)| samples.put_for(&[result], count));
            });
        },
    ),
    counter(
        "basalt_verify_read_bytes_total",
        &[],
        "Bytes of its replicas that this node has read to compare them with others.",
        |scrape, samples| verifier(scrape, |verifier| samples.put(verifier.digests().read_bytes())),
    ),
    gauge(
        "basalt_group_verified_timestamp_seconds",
        &["group"],
        "On the leader: when all replicas of the group were last found equal, since it has led checks.",
        |scrape, samples| {
            each_verified(scrape, |group, known| {
                if let Some(at) = known.equal_at {
                    samples.put_for(&[group], at.0 as f64 / 1000.0);
                }
            });
        },
    ),
    gauge(
        "basalt_group_differing_slots",
        &["group"],
        "On the leader: slots in which replicas of the group differed when they were last compared.",
        |scrape, samples| {
            each_verified(scrape, |group, known| samples.put_for(&[group], known.differing_slots));
        },
    ),
    counter(
        "basalt_replica_reads_total",
        &["outcome"],
        "Requests of clients that read here from a replica: `served`, or sent to the leader because nothing proved the \
         replica's state to be as new as the client wants it (`too-old`).",
        |scrape, samples| {
            if let Some(reads) = scrape.server.cluster().and_then(Cluster::replica_reads) {
                samples.put_for(&["served"], reads.figures.served.load(Relaxed));
                samples.put_for(&["too-old"], reads.figures.too_old.load(Relaxed));
            }
        },
    ),
    gauge(
        "basalt_cluster_held_clients",
        &[],
        "Clients whose request waits until it is known who serves its slot, or how old a replica's state is.",
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

fn figures<'a>(scrape: &Scrape<'a>) -> Option<&'a Figures> {
    scrape.server.cluster().and_then(|cluster| cluster.control().migration_figures())
}

fn migrations(scrape: &Scrape<'_>, samples: &mut Samples<'_>, counter: impl Fn(&Figures) -> &AtomicU64) {
    if let Some(figures) = figures(scrape) {
        samples.put(counter(figures).load(Relaxed));
    }
}

fn verifier(scrape: &Scrape<'_>, show: impl FnOnce(&Verifier)) {
    if let Some(verifier) = scrape.server.cluster().and_then(|cluster| cluster.control().verifier()) {
        show(verifier);
    }
}

/// The groups that this node leads and has compared.
fn each_verified(scrape: &Scrape<'_>, mut show: impl FnMut(&str, Known)) {
    verifier(scrape, |verifier| {
        for group in scrape.groups.iter().filter(|group| group.role.serves()) {
            if let Some(known) = verifier.figures.known(group.group) {
                show(&group.group.to_string(), known);
            }
        }
    });
}

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
