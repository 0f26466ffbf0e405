//! Memory: what is used, by whom, and what the system sees of it.

use super::{Fields, human};
use crate::memory_report::{Report, percent, system_bytes};
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;

pub fn memory(server: &Server, fields: &mut Fields) {
    let report = Report::of(server);
    let (used, peak, rss, startup, clients) =
        (report.used, report.peak, report.resident, report.at_start, report.clients);
    let share = |part: u64, whole: u64| format!("{:.2}%", percent(part, whole));
    fields.put_bytes("used_memory", used);
    fields.put_bytes("used_memory_rss", rss);
    fields.put_bytes("used_memory_peak", peak);
    fields.put("used_memory_peak_perc", share(used, peak));
    fields.put("used_memory_overhead", report.overhead());
    fields.put("used_memory_startup", startup);
    fields.put("used_memory_dataset", report.dataset());
    fields.put("used_memory_dataset_perc", share(report.dataset(), used.saturating_sub(startup)));
    let allocator = &report.allocator;
    fields.put("allocator_allocated", allocator.allocated);
    fields.put("allocator_active", allocator.active);
    fields.put("allocator_resident", allocator.resident);
    fields.put_bytes("total_system_memory", system_bytes());
    // There are no scripts yet.
    fields.put("used_memory_lua", 0);
    fields.put("used_memory_vm_eval", 0);
    fields.put("used_memory_lua_human", human(0));
    fields.put("used_memory_scripts_eval", 0);
    for field in ["number_of_cached_scripts", "number_of_functions", "number_of_libraries"] {
        fields.put(field, 0);
    }
    fields.put("used_memory_vm_functions", 0);
    fields.put_bytes("used_memory_vm_total", 0);
    fields.put("used_memory_functions", 0);
    fields.put_bytes("used_memory_scripts", 0);
    fields.put_bytes("maxmemory", server.config.maxmemory());
    if server.durability().is_some() {
        // What bounds the copies in memory: `maxmemory`, or what takes its place where none is set.
        fields.put_bytes("resident_limit", server.memory_limit());
    }
    fields.put("maxmemory_policy", server.config.text("maxmemory-policy"));
    let ratio = |whole: u64, part: u64| format!("{:.2}", whole as f64 / part.max(1) as f64);
    let beyond = |whole: u64, part: u64| whole as i64 - part as i64;
    fields.put("allocator_frag_ratio", ratio(allocator.active, allocator.allocated));
    fields.put("allocator_frag_bytes", beyond(allocator.active, allocator.allocated));
    fields.put("allocator_rss_ratio", ratio(allocator.resident, allocator.active));
    fields.put("allocator_rss_bytes", beyond(allocator.resident, allocator.active));
    fields.put("rss_overhead_ratio", ratio(rss, allocator.resident));
    fields.put("rss_overhead_bytes", beyond(rss, allocator.resident));
    fields.put("mem_fragmentation_ratio", ratio(rss, used));
    fields.put("mem_fragmentation_bytes", beyond(rss, used));
    fields.put("mem_not_counted_for_evict", 0);
    fields.put("mem_replication_backlog", 0);
    fields.put("mem_total_replication_buffers", 0);
    fields.put("mem_clients_slaves", 0);
    fields.put("mem_clients_normal", clients);
    let links = server.cluster().map(|cluster| cluster.control().links()).unwrap_or_default();
    fields.put("mem_cluster_links", links.iter().map(|link| link.buffer_allocated).sum::<usize>());
    fields.put("mem_aof_buffer", 0);
    fields.put("mem_allocator", "jemalloc-5.3.0");
    fields.put("active_defrag_running", 0);
    fields.put("lazyfree_pending_objects", server.keyspace.reaper().pending());
    fields.put("lazyfreed_objects", server.keyspace.reaper().freed());
    fields.put("maxmemory_clients", server.config.hot.maxmemory_clients.load(Relaxed));
}
