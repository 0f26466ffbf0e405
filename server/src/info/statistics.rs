//! The stats section: what has been counted since the start or CONFIG RESETSTAT.

use super::{Fields, event_loop};
use crate::pubsub::Scope;
use crate::server::Server;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub fn stats(server: &Server, fields: &mut Fields) {
    let (rates, traffic, keyspace) = (server.sampler.rates(), server.stats.traffic(), &server.keyspace.stats);
    let count = |counter: &AtomicU64| counter.load(Relaxed);
    fields.put("total_connections_received", count(&server.clients.received));
    fields.put("total_commands_processed", server.stats.calls());
    fields.put("instantaneous_ops_per_sec", rates.commands);
    fields.put("total_net_input_bytes", traffic.received_bytes);
    fields.put("total_net_output_bytes", traffic.sent_bytes);
    // What passes between nodes is nearly all what is replicated.
    let between_nodes = server.cluster().map(|cluster| cluster.control().traffic()).unwrap_or_default();
    fields.put("total_net_repl_input_bytes", between_nodes.received_bytes);
    fields.put("total_net_repl_output_bytes", between_nodes.sent_bytes);
    let kbps = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    fields.put("instantaneous_input_kbps", kbps(rates.received_bytes));
    fields.put("instantaneous_output_kbps", kbps(rates.sent_bytes));
    fields.put("instantaneous_input_repl_kbps", kbps(rates.peer_received_bytes));
    fields.put("instantaneous_output_repl_kbps", kbps(rates.peer_sent_bytes));
    fields.put("rejected_connections", count(&server.clients.rejected));
    for field in ["sync_full", "sync_partial_ok", "sync_partial_err"] {
        fields.put(field, 0);
    }
    fields.put("expired_keys", count(&keyspace.expired));
    fields.put("expired_stale_perc", format!("{:.2}", server.expiry_cycle.stale_percent()));
    fields.put("expired_time_cap_reached_count", count(&server.expiry_cycle.time_cap_reached));
    fields.put("expire_cycle_cpu_milliseconds", count(&server.expiry_cycle.cpu_us) / 1000);
    fields.put("evicted_keys", count(&keyspace.evicted));
    fields.put("evicted_clients", count(&server.clients.evicted));
    fields.put("total_eviction_exceeded_time", server.eviction.total_exceeded_us(server) / 1000);
    fields.put("current_eviction_exceeded_time", server.eviction.current_exceeded_us(server) / 1000);
    fields.put("keyspace_hits", count(&keyspace.hits));
    fields.put("keyspace_misses", count(&keyspace.misses));
    fields.put("pubsub_channels", server.pubsub.channel_count(Scope::Global));
    fields.put("pubsub_patterns", server.pubsub.pattern_count());
    fields.put("pubsubshard_channels", server.pubsub.channel_count(Scope::Shard));
    // There are no forks.
    fields.put("latest_fork_usec", 0);
    fields.put("total_forks", 0);
    fields.put("migrate_cached_sockets", server.migrations.kept_links());
    // Nor replicas that expire keys, defragmentation and tracking.
    for field in [
        "slave_expires_tracked_keys",
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "total_active_defrag_time",
        "current_active_defrag_time",
        "tracking_total_keys",
        "tracking_total_items",
        "tracking_total_prefixes",
        "unexpected_error_replies",
    ] {
        fields.put(field, 0);
    }
    fields.put("total_error_replies", count(&server.stats.error_replies));
    fields.put("dump_payload_sanitizations", 0);
    fields.put("total_reads_processed", traffic.reads);
    fields.put("total_writes_processed", traffic.writes);
    // Every network thread reads and writes for itself.
    fields.put("io_threaded_reads_processed", if server.config.io_threads() > 1 { traffic.reads } else { 0 });
    fields.put("io_threaded_writes_processed", if server.config.io_threads() > 1 { traffic.writes } else { 0 });
    fields.put("reply_buffer_shrinks", 0);
    fields.put("reply_buffer_expands", 0);
    // Since Redis 7.2, like what follows.
    event_loop::put(server, fields);
    // There are no ACLs yet.
    for field in ["auth", "cmd", "key", "channel"] {
        fields.put(&format!("acl_access_denied_{field}"), 0);
    }
}
