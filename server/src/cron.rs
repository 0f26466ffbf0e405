//! What happens by itself, `hz` times a second: the clock is checked, memory is looked at, due keys go.
//!
//! Runs on thread 0 beside its connections, so everything here works in short slices and lets the connections have the
//! thread in between.

use crate::expiry_cycle::Sweeper;
use crate::server::Server;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the clock is compared with the system's, whatever `hz` says.
const CLOCK_INTERVAL: Duration = Duration::from_millis(100);

/// Compares the clock with the system's, and memory with its peak.
pub async fn keep_time(server: Arc<Server>) {
    let mut interval = tokio::time::interval(CLOCK_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        server.synchronize_clock();
        crate::memory::note_peak();
        if server.switches.cron.load(Relaxed) {
            server.persistence.tick(&server);
        }
        if let Some(cluster) = server.cluster() {
            cluster.tick(&server);
        }
        server.migrations.tick();
        server.sampler.sample(&server);
        server.average_ttl.sample(&server);
    }
}

/// Deletes keys that are due, for a bounded share of each period.
pub async fn expire_actively(server: Arc<Server>) {
    let mut sweeper = Sweeper::default();
    loop {
        let period = Duration::from_secs(1) / server.config.hot.hz.load(Relaxed).clamp(1, 500) as u32;
        let next = Instant::now() + period;
        if may_expire(&server) {
            sweeper.cycle(&server, period).await;
        }
        tokio::time::sleep_until(next).await;
    }
}

fn may_expire(server: &Server) -> bool {
    let switches = &server.switches;
    let is_on = switches.active_expiry.load(Relaxed) && switches.cron.load(Relaxed);
    is_on && !server.persistence.loading.is_active() && !server.pause.stops_expiry(server)
}
