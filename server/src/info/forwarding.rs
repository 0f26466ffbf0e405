//! INFO's section `forwarding`: what this node has passed on to others (any-node service).

use super::Fields;
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;

pub fn forwarding(server: &Server, fields: &mut Fields) {
    let Some(figures) = server.cluster().map(|cluster| cluster.forwarding()) else { return };
    let clients = server.clients.all().iter().filter(|client| client.is_forwarded()).count();
    fields.put("forwarded_clients", clients);
    fields.put("forwarded_requests", figures.requests.load(Relaxed));
    fields.put("forwarded_batches", figures.batches.load(Relaxed));
    fields.put("forwarded_retries", figures.retries.load(Relaxed));
    fields.put("forwarded_unserved", figures.unserved.load(Relaxed));
    fields.put("forwarded_unknown_fates", figures.unknown_fates.load(Relaxed));
    fields.put("upstream_connections", figures.open.load(Relaxed));
    fields.put("upstream_connections_in_use", figures.in_use.load(Relaxed));
    fields.put("upstream_connections_opened", figures.opened.load(Relaxed));
    fields.put("upstream_connections_failed", figures.failed_openings.load(Relaxed));
}
