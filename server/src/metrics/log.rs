//! Durable mode: groups and their logs.

use super::exposition::{Distribution, Samples};
use super::scrape::Scrape;
use super::{Metric, counter, gauge, histogram};
use crate::cluster::control::GroupStatus;
use basalt_cluster::group::Figures;
use basalt_cluster::group::figures::{BUCKETS, Latency};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

const GROUP: &[&str] = &["group"];

pub const METRICS: &[Metric] = &[
    gauge(
        "basalt_group_role",
        &["group", "kind", "role"],
        "Always 1; `leader`, `leader-elect` (it does not serve yet, or hands over) or `follower`. The kind is `root` \
         (the map), `home` (its leader is this node if it is up) or `guest`.",
        |scrape, samples| {
            for group in &scrape.groups {
                samples.put_for(&[&group.group.to_string(), group.kind, group.role.name()], 1);
            }
        },
    ),
    gauge("basalt_group_has_leader", GROUP, "0 if this node knows of nobody who leads.", |scrape, samples| {
        each(scrape, samples, |group| u64::from(group.role.knows_leader()));
    }),
    gauge("basalt_group_term", GROUP, "Raft's term: it grows with each election.", |scrape, samples| {
        each(scrape, samples, |group| group.role.term().0);
    }),
    gauge("basalt_group_log_last_index", GROUP, "The last entry of the log.", |scrape, samples| {
        each(scrape, samples, |group| group.positions.last.0);
    }),
    gauge("basalt_group_log_committed_index", GROUP, "The last entry known to be committed.", |scrape, samples| {
        each(scrape, samples, |group| group.positions.committed.0);
    }),
    gauge(
        "basalt_group_log_applied_index",
        GROUP,
        "The last entry in the engine, as of the group's last round of work.",
        |scrape, samples| {
            each(scrape, samples, |group| group.positions.applied.0);
        },
    ),
    gauge("basalt_group_log_bytes", GROUP, "Bytes of log that are kept, about.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.log_bytes);
    }),
    gauge(
        "basalt_group_replica_lag_entries",
        &["group", "replica"],
        "On the leader: entries that a follower does not have yet.",
        |scrape, samples| {
            each_follower(scrape, samples, |group, at| {
                group.positions.last.0.saturating_sub(group.followers[at].matched.0)
            })
        },
    ),
    gauge(
        "basalt_group_replica_up",
        &["group", "replica"],
        "On the leader: 1 if the follower was heard within about an election timeout.",
        |scrape, samples| each_follower(scrape, samples, |group, at| u64::from(group.followers[at].is_recent)),
    ),
    gauge(
        "basalt_group_replica_awaits_snapshot",
        &["group", "replica"],
        "On the leader: 1 while the follower is being sent a snapshot.",
        |scrape, samples| each_follower(scrape, samples, |group, at| u64::from(group.followers[at].awaits_snapshot)),
    ),
    counter("basalt_group_proposals_total", GROUP, "Batches that evaluation has handed in.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.proposals);
    }),
    counter("basalt_group_proposal_bytes_total", GROUP, "Their bytes.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.proposal_bytes);
    }),
    counter("basalt_group_entries_total", GROUP, "Entries written to the log.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.entries);
    }),
    counter("basalt_group_log_bytes_written_total", GROUP, "Their bytes, headers included.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.log_bytes_written);
    }),
    counter("basalt_group_applied_entries_total", GROUP, "Entries applied to the engine.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.applied_entries);
    }),
    counter(
        "basalt_group_leader_changes_total",
        GROUP,
        "How often this replica has heard of a new leader, itself included.",
        |scrape, samples| figure(scrape, samples, |figures| &figures.leader_changes),
    ),
    counter("basalt_group_elections_won_total", GROUP, "How often that was itself.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.elections_won);
    }),
    counter(
        "basalt_group_snapshots_total",
        &["group", "direction"],
        "Copies of the whole state: `sent` to replicas that lacked too much, and `installed` here.",
        |scrape, samples| {
            for group in &scrape.groups {
                let (name, figures) = (group.group.to_string(), &group.figures);
                samples.put_for(&[&name, "sent"], figures.snapshots_sent.load(Relaxed));
                samples.put_for(&[&name, "installed"], figures.snapshots_installed.load(Relaxed));
            }
        },
    ),
    counter("basalt_group_compactions_total", GROUP, "How often the log was cut.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.compactions);
    }),
    counter(
        "basalt_group_dropped_messages_total",
        GROUP,
        "Messages of other replicas for which there was no room, or that were not for this one.",
        |scrape, samples| figure(scrape, samples, |figures| &figures.dropped_messages),
    ),
    gauge("basalt_group_queued_batches", GROUP, "Batches that wait for the log.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.queued);
    }),
    gauge("basalt_group_queued_bytes", GROUP, "Their bytes.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.queued_bytes);
    }),
    gauge("basalt_group_unapplied_entries", GROUP, "Committed entries that are not applied.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.unapplied);
    }),
    gauge("basalt_group_unapplied_bytes", GROUP, "Their bytes.", |scrape, samples| {
        figure(scrape, samples, |figures| &figures.unapplied_bytes);
    }),
    histogram(
        "basalt_group_log_fsync_duration_seconds",
        GROUP,
        "Writes to the log with a sync, each of which is one fsync.",
        |scrape, samples| latency(scrape, samples, |figures| &figures.synced_writes),
    ),
    histogram(
        "basalt_group_log_write_duration_seconds",
        GROUP,
        "Writes to the log without a sync.",
        |scrape, samples| {
            latency(scrape, samples, |figures| &figures.writes);
        },
    ),
    histogram(
        "basalt_group_log_background_sync_duration_seconds",
        GROUP,
        "The syncs of `fsync everysec`.",
        |scrape, samples| latency(scrape, samples, |figures| &figures.background_syncs),
    ),
    histogram("basalt_group_apply_duration_seconds", GROUP, "Writes to the engine.", |scrape, samples| {
        latency(scrape, samples, |figures| &figures.applies);
    }),
    gauge(
        "basalt_log_congested",
        &[],
        "1 while writers wait because too much is on its way into the logs, or out of them into the engine.",
        |scrape, samples| {
            if let Some(disk) = &scrape.disk {
                samples.put(u8::from(disk.durability.groups.is_congested()));
            }
        },
    ),
    counter(
        "basalt_unknown_fate_batches_total",
        &[],
        "Batches of which this node does not know whether they were committed, because it stopped to lead before; \
         whoever waited for one was disconnected.",
        |scrape, samples| {
            if scrape.disk.is_some() {
                samples.put(scrape.server.gate.lost_batches());
            }
        },
    ),
];

fn each(scrape: &Scrape<'_>, samples: &mut Samples<'_>, value: impl Fn(&GroupStatus) -> u64) {
    for group in &scrape.groups {
        samples.put_for(&[&group.group.to_string()], value(group));
    }
}

fn each_follower(scrape: &Scrape<'_>, samples: &mut Samples<'_>, value: impl Fn(&GroupStatus, usize) -> u64) {
    for group in &scrape.groups {
        for (at, progress) in group.followers.iter().enumerate() {
            samples.put_for(&[&group.group.to_string(), &progress.replica.0.to_string()], value(group, at));
        }
    }
}

fn figure(scrape: &Scrape<'_>, samples: &mut Samples<'_>, of: impl Fn(&Figures) -> &AtomicU64) {
    each(scrape, samples, |group| of(&group.figures).load(Relaxed));
}

fn latency(scrape: &Scrape<'_>, samples: &mut Samples<'_>, of: impl Fn(&Figures) -> &Latency) {
    for group in &scrape.groups {
        samples.put_distribution(&[&group.group.to_string()], &distribution(of(&group.figures)));
    }
}

pub fn distribution(latency: &Latency) -> Distribution {
    let cases = |bucket: usize| latency.buckets[bucket].load(Relaxed);
    // The last bucket takes all that is above the end of the one before.
    let steps = (0..BUCKETS - 1).map(|bucket| ((1u64 << bucket) as f64 / 1e6, cases(bucket))).collect();
    Distribution { steps, above: cases(BUCKETS - 1), sum_s: latency.total_ns.load(Relaxed) as f64 / 1e9 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_shown_below_the_end_above_them() {
        let latency = Latency::default();
        for took in [Duration::from_micros(1), Duration::from_micros(3), Duration::from_secs(3600)] {
            latency.record(took);
        }
        let Distribution { steps, above, sum_s } = distribution(&latency);
        assert_eq!(&steps[..3], [(1e-6, 1), (2e-6, 0), (4e-6, 1)]);
        assert_eq!((above, sum_s), (1, 3600.000004));
    }
}
