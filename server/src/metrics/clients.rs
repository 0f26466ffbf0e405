//! Connections.

use super::exposition::Samples;
use super::scrape::Scrape;
use super::{Metric, counter, gauge};
use crate::client::{Client, ClientKind};
use crate::pubsub::Scope;
use std::sync::atomic::Ordering::Relaxed;

pub const METRICS: &[Metric] = &[
    gauge(
        "basalt_clients",
        &["type"],
        "Connected clients; `pubsub` are those with subscriptions.",
        |scrape, samples| {
            let pubsub = scrape.clients.iter().filter(|client| client.kind() == ClientKind::PubSub).count();
            samples.put_for(&["normal"], scrape.clients.len() - pubsub);
            samples.put_for(&["pubsub"], pubsub);
        },
    ),
    gauge("basalt_clients_max", &[], "Connections that are accepted at most (`maxclients`).", |scrape, samples| {
        samples.put(scrape.server.config.hot.maxclients.load(Relaxed));
    }),
    gauge(
        "basalt_clients_blocked",
        &[],
        "Clients that wait: for keys, for the end of a pause, or for somebody to serve their slot.",
        |scrape, samples| samples.put(scrape.server.blocked_clients()),
    ),
    gauge("basalt_clients_watching", &[], "Clients that WATCH keys.", |scrape, samples| {
        samples.put(scrape.clients.iter().filter(|client| client.info.watched.load(Relaxed) > 0).count());
    }),
    gauge("basalt_client_buffer_bytes", &["direction"], "Bytes in clients' buffers.", |scrape, samples| {
        samples.put_for(&["input"], sum(scrape, |client| client.figures().query));
        samples.put_for(&["output"], sum(scrape, Client::output_bytes));
    }),
    gauge("basalt_client_buffer_largest_bytes", &["direction"], "The largest of these buffers.", |scrape, samples| {
        samples.put_for(&["input"], largest(scrape, |client| client.figures().query));
        samples.put_for(&["output"], largest(scrape, Client::output_bytes));
    }),
    counter("basalt_connections_received_total", &[], "Connections that were made.", |scrape, samples| {
        samples.put(scrape.server.clients.received.load(Relaxed));
    }),
    counter(
        "basalt_connections_rejected_total",
        &[],
        "Connections refused: beyond `maxclients`, or by protected mode.",
        |scrape, samples| samples.put(scrape.server.clients.rejected.load(Relaxed)),
    ),
    counter(
        "basalt_clients_evicted_total",
        &[],
        "Clients disconnected for the memory that they used (`maxmemory-clients`).",
        |scrape, samples| samples.put(scrape.server.clients.evicted.load(Relaxed)),
    ),
    counter("basalt_network_bytes_total", &["direction"], "Bytes received from and sent to clients.", traffic_bytes),
    counter(
        "basalt_network_calls_total",
        &["direction"],
        "System calls that read or wrote them.",
        |scrape, samples| {
            let traffic = scrape.server.stats.traffic();
            samples.put_for(&["input"], traffic.reads);
            samples.put_for(&["output"], traffic.writes);
        },
    ),
    counter("basalt_event_loop_cycles_total", &[], "Wake-ups of network threads.", |scrape, samples| {
        samples.put(scrape.server.event_loops.cycles().count);
    }),
    counter(
        "basalt_event_loop_busy_seconds_total",
        &[],
        "Time that network threads were busy: one second per second and thread is all there is.",
        |scrape, samples| samples.put(scrape.server.event_loops.cycles().busy.as_secs_f64()),
    ),
    gauge("basalt_io_threads", &[], "Network threads.", |scrape, samples| {
        samples.put(scrape.server.config.io_threads());
    }),
    gauge("basalt_pubsub_channels", &["scope"], "Channels with subscribers.", |scrape, samples| {
        samples.put_for(&["global"], scrape.server.pubsub.channel_count(Scope::Global));
        samples.put_for(&["shard"], scrape.server.pubsub.channel_count(Scope::Shard));
    }),
    gauge("basalt_pubsub_patterns", &[], "Patterns with subscribers.", |scrape, samples| {
        samples.put(scrape.server.pubsub.pattern_count());
    }),
];

fn traffic_bytes(scrape: &Scrape<'_>, samples: &mut Samples<'_>) {
    let traffic = scrape.server.stats.traffic();
    samples.put_for(&["input"], traffic.received_bytes);
    samples.put_for(&["output"], traffic.sent_bytes);
}

fn sum(scrape: &Scrape<'_>, figure: impl Fn(&Client) -> usize) -> usize {
    scrape.clients.iter().map(|client| figure(client)).sum()
}

fn largest(scrape: &Scrape<'_>, figure: impl Fn(&Client) -> usize) -> usize {
    scrape.clients.iter().map(|client| figure(client)).max().unwrap_or(0)
}
