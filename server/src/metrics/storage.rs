//! Durable mode: the engine, the disk, and what of the data is in memory.

use super::exposition::Samples;
use super::scrape::{Disk, Scrape};
use super::{Metric, counter, gauge};
use basalt_storage::keyspace::ResidencyStats;
use basalt_storage::outline::Outline;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

pub const METRICS: &[Metric] = &[
    gauge("basalt_cold_keys", &[], "Keys that are on disk only.", |scrape, samples| {
        residency(scrape, samples, |stats| &stats.cold);
    }),
    gauge("basalt_outlined_keys", &[], "Large values of which memory has the outline only.", |scrape, samples| {
        disk(scrape, samples, |_| Outline::alive());
    }),
    counter("basalt_keys_loaded_total", &[], "Keys read from disk into memory.", |scrape, samples| {
        residency(scrape, samples, |stats| &stats.loaded);
    }),
    counter(
        "basalt_keys_loaded_in_place_total",
        &[],
        "Those of them that were read during evaluation, under locks.",
        |scrape, samples| residency(scrape, samples, |stats| &stats.loaded_in_place),
    ),
    counter("basalt_keys_cooled_total", &[], "Copies in memory that were dropped.", |scrape, samples| {
        residency(scrape, samples, |stats| &stats.cooled);
    }),
    counter("basalt_keys_awaited_total", &[], "Keys for which a read has waited for the disk.", |scrape, samples| {
        residency(scrape, samples, |stats| &stats.awaited_by_reads);
    }),
    gauge("basalt_disk_used_bytes", &[], "Bytes of the data directory's files.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.statistics.disk_bytes);
    }),
    gauge("basalt_disk_free_bytes", &[], "Bytes that are free on its volume.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.space.free);
    }),
    gauge("basalt_disk_reserve_bytes", &[], "Bytes that are left free (`disk-reserve`).", |scrape, samples| {
        disk(scrape, samples, |disk| disk.space.reserve);
    }),
    gauge("basalt_disk_full", &[], "1 while writes are refused for lack of room.", |scrape, samples| {
        disk(scrape, samples, |disk| u64::from(disk.space.is_short));
    }),
    counter("basalt_disk_full_refusals_total", &[], "Commands that were refused for it.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.space.refusals);
    }),
    gauge("basalt_rocksdb_table_bytes", &[], "Bytes of the tables on disk.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.statistics.table_bytes);
    }),
    gauge("basalt_rocksdb_live_bytes", &[], "What a full compaction would leave of them, about.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.statistics.live_bytes);
    }),
    gauge("basalt_rocksdb_level_files", &["level"], "Tables per level, of all families.", |scrape, samples| {
        for (level, files) in scrape.disk.iter().flat_map(|disk| disk.level_files.iter().enumerate()) {
            samples.put_for(&[&level.to_string()], files);
        }
    }),
    gauge("basalt_rocksdb_memtable_bytes", &[], "What is not flushed yet.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.statistics.memtable_bytes);
    }),
    gauge(
        "basalt_rocksdb_full_memtables",
        &[],
        "Memtables that wait to be flushed, of the family with most of them.",
        |scrape, samples| disk(scrape, samples, |disk| disk.backlog.full_memtables),
    ),
    gauge("basalt_rocksdb_block_cache_bytes", &[], "Bytes of cached blocks.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.statistics.cache_bytes);
    }),
    counter("basalt_rocksdb_block_cache_hits_total", &[], "Blocks found in the cache.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.statistics.cache_hits);
    }),
    counter("basalt_rocksdb_block_cache_misses_total", &[], "Blocks read from disk.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.statistics.cache_misses);
    }),
    counter("basalt_rocksdb_bloom_useful_total", &[], "Reads that a bloom filter has spared.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.statistics.filter_hits);
    }),
    counter(
        "basalt_rocksdb_written_bytes_total",
        &["what"],
        "Bytes written: `payload` is what was handed in, `wal`, `flush` and `compaction` are what went to disk for it; \
         their ratio is the write amplification.",
        |scrape, samples| {
            let Some(Disk { statistics, .. }) = &scrape.disk else { return };
            samples.put_for(&["payload"], statistics.payload_bytes_written);
            samples.put_for(&["wal"], statistics.wal_bytes_written);
            samples.put_for(&["flush"], statistics.flush_bytes_written);
            samples.put_for(&["compaction"], statistics.compaction_bytes_written);
        },
    ),
    gauge("basalt_rocksdb_pending_compaction_bytes", &[], "Bytes that are to be compacted.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.statistics.pending_compaction_bytes);
    }),
    gauge("basalt_rocksdb_running_compactions", &[], "Compactions that run.", |scrape, samples| {
        disk(scrape, samples, |disk| disk.statistics.running_compactions);
    }),
    gauge("basalt_rocksdb_write_stopped", &[], "1 while RocksDB takes no writes at all.", |scrape, samples| {
        disk(scrape, samples, |disk| u64::from(disk.backlog.is_stopped));
    }),
    counter("basalt_rocksdb_stall_seconds_total", &[], "Time for which RocksDB held writers up.", |scrape, samples| {
        put(scrape, samples, |disk| disk.statistics.stalled_us as f64 / 1e6);
    }),
    gauge(
        "basalt_rocksdb_background_errors",
        &[],
        "Failed flushes and compactions; any is a reason to look at the log.",
        |scrape, samples| disk(scrape, samples, |disk| disk.statistics.background_errors),
    ),
    gauge(
        "basalt_write_pressure_ratio",
        &[],
        "How far the engine is behind: from 0 on writers are slowed down, at 1 RocksDB would begin to do so itself.",
        |scrape, samples| put(scrape, samples, |disk| disk.pace.pressure),
    ),
    gauge(
        "basalt_write_limit_bytes_per_second",
        &[],
        "What writers are let write now; 0 while they are not slowed down.",
        |scrape, samples| disk(scrape, samples, |disk| disk.pace.bytes_per_second.unwrap_or(0)),
    ),
    counter("basalt_writers_held_seconds_total", &[], "Time for which writers were held back.", |scrape, samples| {
        put(scrape, samples, |disk| disk.pace.held_us as f64 / 1e6);
    }),
];

fn put(scrape: &Scrape<'_>, samples: &mut Samples<'_>, value: impl Fn(&Disk<'_>) -> f64) {
    if let Some(disk) = &scrape.disk {
        samples.put(value(disk));
    }
}

/// The same for whole numbers, which need not become floats.
fn disk(scrape: &Scrape<'_>, samples: &mut Samples<'_>, value: impl Fn(&Disk<'_>) -> u64) {
    if let Some(disk) = &scrape.disk {
        samples.put(value(disk));
    }
}

fn residency(scrape: &Scrape<'_>, samples: &mut Samples<'_>, of: impl Fn(&ResidencyStats) -> &AtomicU64) {
    disk(scrape, samples, |_| of(scrape.server.keyspace.residency()).load(Relaxed));
}
