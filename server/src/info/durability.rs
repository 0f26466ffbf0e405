//! INFO's sections `durability` and `storage`: the log, what waits for it, what of the data is in memory, the engine.

use super::Fields;
use crate::durability::Durability;
use crate::memory_report::Report;
use crate::server::Server;
use basalt_cluster::group::Figures;
use basalt_cluster::group::figures::Latency;
use basalt_storage::effect::DbIndex;
use basalt_storage::outline::Outline;
use std::sync::atomic::Ordering::Relaxed;

/// The log of batches, and those on their way through it.
pub fn durability(server: &Server, fields: &mut Fields) {
    fields.put("mode", server.config.text("mode"));
    let Some(Durability { groups, .. }) = server.durability() else { return };
    fields.put("fsync", groups.fsync().name());
    fields.put("batches_committed", groups.committed().0);
    fields.put("batches_applied", groups.applied().0);
    fields.put("batches_synced", groups.synced().0);
    fields.put("log_is_congested", u8::from(groups.is_congested()));
    groups.with_figures(|figures| put_figures(fields, figures));
}

fn put_figures(fields: &mut Fields, figures: &Figures) {
    fields.put("batches_proposed", figures.proposals.load(Relaxed));
    fields.put("batch_bytes_proposed", figures.proposal_bytes.load(Relaxed));
    fields.put("log_entries_written", figures.entries.load(Relaxed));
    fields.put("log_bytes_written", figures.log_bytes_written.load(Relaxed));
    fields.put("log_bytes", figures.log_bytes.load(Relaxed));
    fields.put("log_queued_batches", figures.queued.load(Relaxed));
    fields.put("log_queued_bytes", figures.queued_bytes.load(Relaxed));
    fields.put("log_unapplied_bytes", figures.unapplied_bytes.load(Relaxed));
    put_latency(fields, "log_fsync", &figures.synced_writes);
    put_latency(fields, "log_write", &figures.writes);
    put_latency(fields, "log_background_sync", &figures.background_syncs);
    put_latency(fields, "apply", &figures.applies);
}

fn put_latency(fields: &mut Fields, name: &str, latency: &Latency) {
    let count = latency.count.load(Relaxed);
    fields.put(&format!("{name}_count"), count);
    if let Some(average) = (latency.total_ns.load(Relaxed) / 1000).checked_div(count) {
        fields.put(&format!("{name}_avg_us"), average);
        fields.put(&format!("{name}_p50_us"), latency.quantile_us(0.5));
        fields.put(&format!("{name}_p99_us"), latency.quantile_us(0.99));
        fields.put(&format!("{name}_max_us"), latency.max_ns.load(Relaxed) / 1000);
    }
}

/// What is in memory of the data, and what the engine does.
pub fn storage(server: &Server, fields: &mut Fields) {
    let Some(Durability { groups, space, pace, .. }) = server.durability() else { return };
    let keyspace = &server.keyspace;
    let residency = keyspace.residency();
    let total: u64 = (0..keyspace.databases()).map(|db| keyspace.key_count(DbIndex(db))).sum();
    let cold = residency.cold.load(Relaxed);
    let hits = keyspace.stats.hits.load(Relaxed);
    let awaited = residency.awaited_by_reads.load(Relaxed);
    fields.put("keys_total", total);
    fields.put("keys_resident", total.saturating_sub(cold));
    fields.put("keys_cold", cold);
    // Resident without their values, which are large.
    fields.put("keys_outlined", Outline::alive());
    fields.put("bytes_resident", Report::of(server).dataset());
    fields.put("keys_loaded", residency.loaded.load(Relaxed));
    fields.put("keys_loaded_in_place", residency.loaded_in_place.load(Relaxed));
    fields.put("keys_cooled", residency.cooled.load(Relaxed));
    fields.put("keys_awaited_by_reads", awaited);
    // Of the reads that found their key, those that did not wait for the disk.
    let ratio = if hits == 0 { 1.0 } else { hits.saturating_sub(awaited) as f64 / hits as f64 };
    fields.put("residency_hit_ratio", format!("{ratio:.4}"));
    let statistics = groups.rocks().statistics();
    fields.put("disk_bytes", statistics.disk_bytes);
    let space = space.report();
    fields.put("disk_free_bytes", space.free);
    fields.put("disk_reserve_bytes", space.reserve);
    fields.put("disk_full", u8::from(space.is_short));
    fields.put("disk_full_refusals", space.refusals);
    fields.put("table_bytes", statistics.table_bytes);
    fields.put("live_bytes", statistics.live_bytes);
    fields.put("memtable_bytes", statistics.memtable_bytes);
    fields.put("block_cache_bytes", statistics.cache_bytes);
    fields.put("block_cache_hits", statistics.cache_hits);
    fields.put("block_cache_misses", statistics.cache_misses);
    fields.put("bloom_filter_useful", statistics.filter_hits);
    fields.put("payload_bytes_written", statistics.payload_bytes_written);
    fields.put("wal_bytes_written", statistics.wal_bytes_written);
    fields.put("flush_bytes_written", statistics.flush_bytes_written);
    fields.put("compaction_bytes_written", statistics.compaction_bytes_written);
    fields.put("pending_compaction_bytes", statistics.pending_compaction_bytes);
    fields.put("running_compactions", statistics.running_compactions);
    let pace = pace.report();
    fields.put("level_0_files", pace.level_0_files);
    fields.put("full_memtables", pace.full_memtables);
    fields.put("write_pressure", format!("{:.3}", pace.pressure));
    fields.put("write_limit_bytes_per_second", pace.bytes_per_second.unwrap_or(0));
    fields.put("writers_held_us", pace.held_us);
    fields.put("write_stall_us", statistics.stalled_us);
    fields.put("background_errors", statistics.background_errors);
}
