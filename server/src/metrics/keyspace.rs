//! Keys: how many, found or not, expired, evicted.

use super::{Metric, counter, gauge};
use std::sync::atomic::Ordering::Relaxed;

pub const METRICS: &[Metric] = &[
    gauge("basalt_keys", &["db"], "Keys, wherever their values are.", |scrape, samples| {
        for db in scrape.databases() {
            samples.put_for(&[&db.0.to_string()], scrape.server.keyspace.key_count(db));
        }
    }),
    gauge("basalt_keys_with_expiry", &["db"], "Keys that have a time to live.", |scrape, samples| {
        for db in scrape.databases() {
            samples.put_for(&[&db.0.to_string()], scrape.server.keyspace.volatile_count(db));
        }
    }),
    gauge("basalt_key_ttl_average_seconds", &["db"], "Their time to live on average, estimated.", |scrape, samples| {
        for db in scrape.databases() {
            samples.put_for(&[&db.0.to_string()], scrape.server.average_ttl.ms(db) as f64 / 1000.0);
        }
    }),
    counter("basalt_keyspace_hits_total", &[], "Lookups by reads that found their key.", |scrape, samples| {
        samples.put(scrape.server.keyspace.stats.hits.load(Relaxed));
    }),
    counter("basalt_keyspace_misses_total", &[], "Lookups by reads that did not.", |scrape, samples| {
        samples.put(scrape.server.keyspace.stats.misses.load(Relaxed));
    }),
    counter("basalt_keyspace_changes_total", &[], "Changes of keys.", |scrape, samples| {
        samples.put(scrape.server.keyspace.stats.changes.load(Relaxed));
    }),
    counter("basalt_keys_expired_total", &[], "Keys whose time to live ran out.", |scrape, samples| {
        samples.put(scrape.server.keyspace.stats.expired.load(Relaxed));
    }),
    counter("basalt_keys_evicted_total", &[], "Keys that went for lack of memory.", |scrape, samples| {
        samples.put(scrape.server.keyspace.stats.evicted.load(Relaxed));
    }),
    gauge(
        "basalt_expiry_stale_ratio",
        &[],
        "Of the keys with a time to live, the share that is probably due and still there.",
        |scrape, samples| samples.put(scrape.server.expiry_cycle.stale_percent() / 100.0),
    ),
    counter("basalt_expiry_cycle_seconds_total", &[], "Time spent on deleting what is due.", |scrape, samples| {
        samples.put(scrape.server.expiry_cycle.cpu_us.load(Relaxed) as f64 / 1e6);
    }),
    counter(
        "basalt_expiry_cycles_cut_total",
        &[],
        "Rounds of deletion that ended for lack of time, with more to do.",
        |scrape, samples| samples.put(scrape.server.expiry_cycle.time_cap_reached.load(Relaxed)),
    ),
    counter(
        "basalt_eviction_exceeded_seconds_total",
        &[],
        "Time for which memory was above its limit.",
        |scrape, samples| samples.put(scrape.server.eviction.total_exceeded_us(scrape.server) as f64 / 1e6),
    ),
];
