//! What clients may cost, and who is closed when it is too much: output limits, `maxmemory-clients`, idle time.
//!
//! Connections check their own output and report their own memory after each wake-up, and only if a limit is set; what
//! no wake-up would notice (idle clients, output that stays) is found by a walk over all clients, [`patrol`].

use crate::client::{Client, ClientKind};
use crate::config::setting::OutputLimits;
use crate::server::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often all clients are looked at.
const PATROL_INTERVAL: Duration = Duration::from_millis(100);
/// Idle clients give back their buffers after this long, in milliseconds.
const IDLE_MS: i64 = 2000;

/// The limits in force, and the memory that is counted against them.
#[derive(Default)]
pub struct ClientLimits {
    normal: OutputLimit,
    pubsub: OutputLimit,
    /// What all clients use, as far as they have reported it; kept only while `maxmemory-clients` is set.
    reported_bytes: AtomicI64,
    /// What clients use that were told to close, but have not gone yet.
    condemned_bytes: AtomicI64,
}

/// Zero: no limit.
#[derive(Default)]
struct OutputLimit {
    hard_bytes: AtomicU64,
    soft_bytes: AtomicU64,
    soft_seconds: AtomicU64,
}

impl ClientLimits {
    pub fn configure_output(&self, limits: &OutputLimits) {
        for (limit, kind) in [(&self.normal, ClientKind::Normal), (&self.pubsub, ClientKind::PubSub)] {
            let wanted = limits.of(kind);
            limit.hard_bytes.store(wanted.hard_bytes, Relaxed);
            limit.soft_bytes.store(wanted.soft_bytes, Relaxed);
            limit.soft_seconds.store(wanted.soft_seconds, Relaxed);
        }
    }

    /// Memory that will be free as soon as the clients that were chosen for it have gone.
    #[inline]
    pub fn condemned_bytes(&self) -> u64 {
        self.condemned_bytes.load(Relaxed).max(0) as u64
    }

    fn output(&self, kind: ClientKind) -> &OutputLimit {
        match kind {
            ClientKind::Normal => &self.normal,
            ClientKind::PubSub => &self.pubsub,
        }
    }

    /// The most output that may wait for a client of this kind.
    #[inline]
    pub fn output_max(&self, kind: ClientKind) -> usize {
        match self.output(kind).hard_bytes.load(Relaxed) {
            0 => usize::MAX,
            bytes => bytes as usize,
        }
    }

    /// Whether so much output is too much: at once beyond the hard limit, after a while beyond the soft one.
    pub fn is_output_excessive(&self, client: &Client, bytes: usize, now_ms: i64) -> bool {
        let limit = self.output(client.kind());
        let exceeds = |limit: &AtomicU64| limit.load(Relaxed) != 0 && bytes as u64 > limit.load(Relaxed);
        if exceeds(&limit.hard_bytes) {
            return true;
        }
        let since = &client.info.soft_limit_since_ms;
        if !exceeds(&limit.soft_bytes) {
            since.store(0, Relaxed);
            return false;
        }
        match since.load(Relaxed) {
            0 => {
                since.store(now_ms, Relaxed);
                false
            }
            start => now_ms - start > limit.soft_seconds.load(Relaxed) as i64 * 1000,
        }
    }
}

/// Reports what a client uses, and closes the largest clients while all together use more than `maxmemory-clients`.
pub fn report_memory(server: &Server, client: &Client) {
    let max = server.config.hot.maxmemory_clients.load(Relaxed);
    if max == 0 {
        return;
    }
    let total = client.figures().total() as i64;
    let change = total - client.info.reported_bytes.swap(total, Relaxed);
    let sum = server.client_limits.reported_bytes.fetch_add(change, Relaxed) + change;
    if sum > max as i64 {
        evict(server);
    }
}

/// Takes back what a client that goes had reported.
pub fn forget_memory(server: &Server, client: &Client) {
    let reported = client.info.reported_bytes.swap(0, Relaxed);
    server.client_limits.reported_bytes.fetch_sub(reported, Relaxed);
    let condemned = client.info.condemned_bytes.swap(0, Relaxed);
    server.client_limits.condemned_bytes.fetch_sub(condemned, Relaxed);
}

/// Closes the largest clients until the others stay below `maxmemory-clients`. Those that CLIENT NO-EVICT protects
/// count, but stay.
pub fn evict(server: &Server) {
    let max = server.config.hot.maxmemory_clients.load(Relaxed) as i64;
    if max == 0 {
        return;
    }
    let mut clients: Vec<(i64, Arc<Client>)> =
        server.clients.all().into_iter().map(|client| (client.figures().total() as i64, client)).collect();
    for (total, client) in &clients {
        server.clients.while_registered(client.id, || {
            let change = total - client.info.reported_bytes.swap(*total, Relaxed);
            server.client_limits.reported_bytes.fetch_add(change, Relaxed);
        });
    }
    let mut sum: i64 = clients.iter().map(|(total, _)| total).sum();
    clients.sort_by_key(|(total, _)| std::cmp::Reverse(*total));
    for (total, client) in clients.iter().filter(|(_, client)| !client.info.no_evict.load(Relaxed)) {
        if sum <= max {
            return;
        }
        sum -= total;
        server.clients.evicted.fetch_add(1, Relaxed);
        forget_memory(server, client);
        server.clients.while_registered(client.id, || {
            let change = total - client.info.condemned_bytes.swap(*total, Relaxed);
            server.client_limits.condemned_bytes.fetch_add(change, Relaxed);
        });
        client.close("clients use more memory than maxmemory-clients");
    }
}

/// Looks at all clients, time and again.
pub async fn patrol(server: Arc<Server>) {
    let mut interval = tokio::time::interval(PATROL_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if server.switches.cron.load(Relaxed) {
            server.clients.all().iter().for_each(|client| inspect(&server, client));
        }
    }
}

fn inspect(server: &Server, client: &Client) {
    let (info, now_ms) = (&client.info, server.now().0);
    let idle_ms = now_ms - info.last_active_ms.load(Relaxed);
    let timeout_ms = server.config.hot.timeout_s.load(Relaxed) as i64 * 1000;
    let is_waiting = info.is_blocked.load(Relaxed) || info.is_monitor.load(Relaxed);
    if timeout_ms > 0 && idle_ms > timeout_ms && !is_waiting && client.kind() == ClientKind::Normal {
        return client.close("idle for longer than timeout");
    }
    if client.output_bytes() > 0 && server.client_limits.is_output_excessive(client, client.output_bytes(), now_ms) {
        return client.close("its output is beyond client-output-buffer-limit");
    }
    let peak_reset_ms = server.switches.reply_buffer_peak_reset_ms.load(Relaxed);
    if peak_reset_ms >= 0 && idle_ms >= peak_reset_ms.min(IDLE_MS) && client.holds_buffers() {
        client.post(|inbox| inbox.trim = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Clients, NewClient};
    use crate::config::setting;

    #[test]
    fn the_soft_limit_counts_from_when_it_was_first_exceeded() {
        let limits = ClientLimits::default();
        let normal = setting::OutputLimit { hard_bytes: 100, soft_bytes: 50, soft_seconds: 3 };
        limits.configure_output(&OutputLimits { normal, ..OutputLimits::default() });
        let (address, local_address) = (String::new(), String::new());
        let new = NewClient { address, local_address, fd: 0, thread: 0, now_ms: 1 };
        let client = Clients::default().register(new);
        for (bytes, now_ms, excessive) in [
            (100, 1000, false),
            (100, 4000, false),
            (100, 4001, true),
            (50, 5000, false),
            (51, 9000, false),
            (101, 9001, true),
        ] {
            assert_eq!(limits.is_output_excessive(&client, bytes, now_ms), excessive, "{bytes} at {now_ms}");
        }
    }
}
