//! Dumps: what is written, and what is loaded at the start.

use super::{Metric, counter, gauge};

pub const METRICS: &[Metric] = &[
    gauge("basalt_loading", &[], "1 while a dump is loaded, and clients are refused.", |scrape, samples| {
        samples.put(u8::from(scrape.server.persistence.loading.is_active()));
    }),
    gauge("basalt_dump_in_progress", &[], "1 while a dump is written in the background.", |scrape, samples| {
        samples.put(u8::from(scrape.server.persistence.report(scrape.server).is_in_background));
    }),
    gauge("basalt_dump_last_success", &[], "0 if the last dump in the background failed.", |scrape, samples| {
        samples.put(u8::from(!scrape.server.persistence.report(scrape.server).background_failed));
    }),
    gauge(
        "basalt_dump_last_timestamp_seconds",
        &[],
        "When the last dump succeeded, as Unix time; before the first, when the server started.",
        |scrape, samples| samples.put(scrape.server.persistence.saved_at_s()),
    ),
    gauge("basalt_dump_pending_changes", &[], "Changes that are in no dump.", |scrape, samples| {
        samples.put(scrape.server.persistence.report(scrape.server).changes);
    }),
    counter("basalt_dumps_total", &[], "Dumps that were written.", |scrape, samples| {
        samples.put(scrape.server.persistence.report(scrape.server).saves);
    }),
];
