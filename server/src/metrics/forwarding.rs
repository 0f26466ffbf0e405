//! With `cluster-enabled`: what was passed on to other nodes (any-node service).

use super::exposition::Samples;
use super::scrape::Scrape;
use super::{Metric, counter, gauge};
use crate::forward::Figures;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

pub const METRICS: &[Metric] = &[
    counter(
        "basalt_forwarded_requests_total",
        &[],
        "Requests that this node has passed on to others; a transaction is one. They count as calls there.",
        |scrape, samples| put(scrape, samples, |figures| &figures.requests),
    ),
    counter(
        "basalt_forwarded_batches_total",
        &[],
        "Groups of requests of one connection that have gone together.",
        |scrape, samples| put(scrape, samples, |figures| &figures.batches),
    ),
    counter(
        "basalt_forwarded_retries_total",
        &[],
        "Times that a request was tried again at another node, or later.",
        |scrape, samples| put(scrape, samples, |figures| &figures.retries),
    ),
    counter(
        "basalt_forwarded_failures_total",
        &["outcome"],
        "Requests that no node has executed in time, whose clients were told so (`unserved`), and connections of \
         clients that were closed because the fate of a request was unknown (`unknown`).",
        |scrape, samples| {
            if let Some(figures) = figures(scrape) {
                samples.put_for(&["unserved"], figures.unserved.load(Relaxed));
                samples.put_for(&["unknown"], figures.unknown_fates.load(Relaxed));
            }
        },
    ),
    gauge(
        "basalt_upstream_connections",
        &["state"],
        "Connections to the client ports of other nodes: `in-use` or `idle`.",
        |scrape, samples| {
            if let Some(figures) = figures(scrape) {
                let in_use = figures.in_use.load(Relaxed);
                samples.put_for(&["in-use"], in_use);
                samples.put_for(&["idle"], figures.open.load(Relaxed).saturating_sub(in_use));
            }
        },
    ),
    counter(
        "basalt_upstream_connections_opened_total",
        &["outcome"],
        "Attempts to connect to another node's client port: `ok` or `failed`.",
        |scrape, samples| {
            if let Some(figures) = figures(scrape) {
                let failed = figures.failed_openings.load(Relaxed);
                samples.put_for(&["ok"], figures.opened.load(Relaxed).saturating_sub(failed));
                samples.put_for(&["failed"], failed);
            }
        },
    ),
];

fn figures<'a>(scrape: &Scrape<'a>) -> Option<&'a Figures> {
    scrape.server.cluster().map(|cluster| &**cluster.forwarding())
}

fn put(scrape: &Scrape<'_>, samples: &mut Samples<'_>, counter: impl Fn(&Figures) -> &AtomicU64) {
    if let Some(figures) = figures(scrape) {
        samples.put(counter(figures).load(Relaxed));
    }
}
