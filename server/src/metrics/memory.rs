//! Memory by part.

use super::{Metric, counter, gauge};

pub const METRICS: &[Metric] = &[
    gauge("basalt_memory_used_bytes", &[], "Bytes that the server has allocated.", |scrape, samples| {
        samples.put(scrape.memory.used);
    }),
    gauge("basalt_memory_peak_bytes", &[], "The most that this was.", |scrape, samples| {
        samples.put(scrape.memory.peak);
    }),
    gauge(
        "basalt_memory_limit_bytes",
        &[],
        "Where eviction begins, or in durable mode where copies in memory go: `maxmemory`, or what takes its place. 0: \
         no limit.",
        |scrape, samples| samples.put(scrape.server.memory_limit()),
    ),
    gauge(
        "basalt_memory_part_bytes",
        &["part"],
        "What is used by whom: `dataset` (entries), `tables` (what finds them), `clients` (buffers), `server` (what \
         was used before there were any).",
        |scrape, samples| {
            let memory = &scrape.memory;
            samples.put_for(&["dataset"], memory.dataset());
            samples.put_for(&["tables"], memory.tables.iter().map(|(_, bytes)| bytes).sum::<u64>());
            samples.put_for(&["clients"], memory.clients);
            samples.put_for(&["server"], memory.at_start);
        },
    ),
    gauge(
        "basalt_memory_allocator_bytes",
        &["state"],
        "The allocator's view: in blocks in use, in pages with such blocks, in pages that the system \
         has given.",
        |scrape, samples| {
            let allocator = &scrape.memory.allocator;
            samples.put_for(&["allocated"], allocator.allocated);
            samples.put_for(&["active"], allocator.active);
            samples.put_for(&["resident"], allocator.resident);
        },
    ),
    gauge(
        "basalt_memory_machine_bytes",
        &[],
        "Memory of the machine, or of its control group (a container) if that may have less.",
        |_, samples| samples.put(crate::memory_report::available_bytes()),
    ),
    gauge("basalt_lazyfree_pending", &[], "Values that wait to be freed in the background.", |scrape, samples| {
        samples.put(scrape.server.keyspace.reaper().pending());
    }),
    counter("basalt_lazyfreed_total", &[], "Values freed in the background.", |scrape, samples| {
        samples.put(scrape.server.keyspace.reaper().freed());
    }),
];
