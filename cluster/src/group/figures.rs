//! What a group counts about itself, for INFO and metrics. Written by its threads, read by anybody at any time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets of a [`Latency`]: up to 1 µs, 2 µs, 4 µs and so on; the last takes all above half a minute.
pub const BUCKETS: usize = 26;

#[derive(Debug, Default)]
pub struct Figures {
    /// Batches that were handed in.
    pub proposals: AtomicU64,
    pub proposal_bytes: AtomicU64,
    /// Entries written to the log, also those that carry no batch.
    pub entries: AtomicU64,
    /// Bytes of these, headers included.
    pub log_bytes_written: AtomicU64,
    /// Bytes of log that are kept at the moment, about.
    pub log_bytes: AtomicU64,
    /// How long writes with a sync took. Each is one fsync.
    pub synced_writes: Latency,
    /// How long writes without a sync took.
    pub writes: Latency,
    /// How long the syncs of `fsync everysec` took.
    pub background_syncs: Latency,
    /// How long calls of the state machine took.
    pub applies: Latency,
    pub applied_entries: AtomicU64,
    pub compactions: AtomicU64,
    /// How often this replica has heard of a new leader, itself included; and how often that was itself.
    pub leader_changes: AtomicU64,
    pub elections_won: AtomicU64,
    /// Snapshots that other replicas have installed of what this one has sent, and those that this one has installed.
    pub snapshots_sent: AtomicU64,
    pub snapshots_installed: AtomicU64,
    /// Messages of other replicas for which there was no room, or that were not for this one.
    pub dropped_messages: AtomicU64,
    /// Batches that wait for the log, at the moment.
    pub queued: AtomicU64,
    pub queued_bytes: AtomicU64,
    /// Committed entries that are not applied, at the moment.
    pub unapplied: AtomicU64,
    pub unapplied_bytes: AtomicU64,
}

impl Figures {
    /// Adds what another group has counted.
    pub fn add(&self, other: &Figures) {
        let Figures {
            proposals,
            proposal_bytes,
            entries,
            log_bytes_written,
            log_bytes,
            synced_writes,
            writes,
            background_syncs,
            applies,
            applied_entries,
            compactions,
            leader_changes,
            elections_won,
            snapshots_sent,
            snapshots_installed,
            dropped_messages,
            queued,
            queued_bytes,
            unapplied,
            unapplied_bytes,
        } = other;
        let counters = [
            (&self.proposals, proposals),
            (&self.proposal_bytes, proposal_bytes),
            (&self.entries, entries),
            (&self.log_bytes_written, log_bytes_written),
            (&self.log_bytes, log_bytes),
            (&self.applied_entries, applied_entries),
            (&self.compactions, compactions),
            (&self.leader_changes, leader_changes),
            (&self.elections_won, elections_won),
            (&self.snapshots_sent, snapshots_sent),
            (&self.snapshots_installed, snapshots_installed),
            (&self.dropped_messages, dropped_messages),
            (&self.queued, queued),
            (&self.queued_bytes, queued_bytes),
            (&self.unapplied, unapplied),
            (&self.unapplied_bytes, unapplied_bytes),
        ];
        for (sum, counter) in counters {
            sum.fetch_add(counter.load(Relaxed), Relaxed);
        }
        self.synced_writes.add(synced_writes);
        self.writes.add(writes);
        self.background_syncs.add(background_syncs);
        self.applies.add(applies);
    }
}

/// How often something happened, how long it took, and how that is distributed.
#[derive(Debug, Default)]
pub struct Latency {
    pub count: AtomicU64,
    pub total_ns: AtomicU64,
    pub max_ns: AtomicU64,
    pub buckets: [AtomicU64; BUCKETS],
}

impl Latency {
    pub fn record(&self, took: Duration) {
        let ns = took.as_nanos() as u64;
        self.count.fetch_add(1, Relaxed);
        self.total_ns.fetch_add(ns, Relaxed);
        self.max_ns.fetch_max(ns, Relaxed);
        self.buckets[bucket(ns)].fetch_add(1, Relaxed);
    }

    fn add(&self, other: &Latency) {
        self.count.fetch_add(other.count.load(Relaxed), Relaxed);
        self.total_ns.fetch_add(other.total_ns.load(Relaxed), Relaxed);
        self.max_ns.fetch_max(other.max_ns.load(Relaxed), Relaxed);
        for (sum, count) in self.buckets.iter().zip(&other.buckets) {
            sum.fetch_add(count.load(Relaxed), Relaxed);
        }
    }

    /// The upper end of the bucket in which this share of the cases ends, in microseconds; 0 if there were none.
    pub fn quantile_us(&self, share: f64) -> u64 {
        let counts = self.buckets.each_ref().map(|count| count.load(Relaxed));
        let wanted = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let place = counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        if seen == 0 { 0 } else { 1 << place.unwrap_or(BUCKETS - 1) }
    }
}

fn bucket(ns: u64) -> usize {
    let us = ns.div_ceil(1000).max(1);
    (us.next_power_of_two().trailing_zeros() as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_bucket_that_ends_above_them() {
        let cases = [(1, 0), (1_000, 0), (1_001, 1), (2_000, 1), (2_001, 2), (u64::MAX / 2, BUCKETS - 1)];
        for (ns, expected) in cases {
            assert_eq!(bucket(ns), expected, "{ns} ns");
        }
    }

    #[test]
    fn quantiles_are_ends_of_buckets() {
        let latency = Latency::default();
        assert_eq!(latency.quantile_us(0.5), 0);
        for us in [1, 1, 1, 100] {
            latency.record(Duration::from_micros(us));
        }
        assert_eq!((latency.quantile_us(0.5), latency.quantile_us(0.99)), (1, 128));
    }
}
