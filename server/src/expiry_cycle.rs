//! The active expiry cycle: which stripes are swept, for how long, and when it is enough.
//!
//! A cycle may take the share of CPU that Redis's slow cycle takes (`active-expire-effort`). It always spends a tenth
//! of that on whatever is due, so that few keys among many go in time, and the rest only while it pays: as long as more
//! of what it looks at is due than the effort says to put up with. It works in slices so short that a request which
//! comes right behind one hardly notices.

use crate::commands::ctx::Outcome;
use crate::server::Server;
use basalt_storage::effect::DbIndex;
use basalt_storage::slot::{STRIPE_COUNT, StripeIndex, StripeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Longest time without letting others have the thread.
const SLICE: Duration = Duration::from_micros(25);
/// Entries walked over under one lock.
const STEP: usize = 16;
/// Weight of one cycle in the running average of stale keys.
const STALE_WEIGHT: f64 = 0.05;

/// Statistics of the cycle.
#[derive(Default)]
pub struct ExpiryCycle {
    /// The share of keys that are probably due but still there, as the bits of an `f64`.
    stale_share: AtomicU64,
    /// Cycles that ended for lack of time (INFO's `expired_time_cap_reached_count`).
    pub time_cap_reached: AtomicU64,
    /// Microseconds spent (INFO's `expire_cycle_cpu_milliseconds`).
    pub cpu_us: AtomicU64,
}

impl ExpiryCycle {
    /// INFO's `expired_stale_perc`.
    pub fn stale_percent(&self) -> f64 {
        f64::from_bits(self.stale_share.load(Relaxed)) * 100.0
    }

    pub fn reset(&self) {
        self.stale_share.store(0, Relaxed);
        self.time_cap_reached.store(0, Relaxed);
    }

    fn note(&self, report: &Report) {
        self.cpu_us.fetch_add(report.used.as_micros() as u64, Relaxed);
        let share = if report.volatile == 0 { 0.0 } else { report.expired as f64 / report.volatile as f64 };
        let before = f64::from_bits(self.stale_share.load(Relaxed));
        let after = before * (1.0 - STALE_WEIGHT) + share.min(1.0) * STALE_WEIGHT;
        self.stale_share.store(after.to_bits(), Relaxed);
    }
}

/// How long a cycle may take, and what it puts up with.
struct Limits {
    most: Duration,
    least: Duration,
    acceptable_stale: f64,
}

impl Limits {
    /// By `active-expire-effort`, 1 to 10.
    fn new(effort: u64, period: Duration) -> Limits {
        let above_default = (effort.clamp(1, 10) - 1) as u32;
        let most = period * (25 + 2 * above_default) / 100;
        Limits { most, least: most / 10, acceptable_stale: f64::from(10 - above_default) / 100.0 }
    }
}

/// What a cycle has done so far.
#[derive(Default)]
struct Report {
    used: Duration,
    examined: u64,
    expired: u64,
    /// Keys with an expiry in the stripes that were passed.
    volatile: u64,
}

impl Report {
    fn is_enough(&self, limits: &Limits) -> bool {
        self.used >= limits.most
            || self.used >= limits.least && (self.expired as f64) < self.examined as f64 * limits.acceptable_stale
    }
}

/// The cycle's own state: which stripe of which database comes next.
#[derive(Default)]
pub struct Sweeper {
    next: usize,
}

impl Sweeper {
    /// One cycle: at most once around all stripes of all databases.
    pub async fn cycle(&mut self, server: &Server, period: Duration) {
        let limits = Limits::new(server.config.hot.active_expire_effort.load(Relaxed), period);
        let mut report = Report::default();
        let mut slice = Instant::now();
        let stripes = server.keyspace.databases() as usize * STRIPE_COUNT;
        for _ in 0..stripes {
            let (db, stripe) = self.place();
            report.volatile += server.keyspace.stripe_volatile_count(db, stripe);
            while !step(server, db, stripe, &mut report) {
                if slice.elapsed() >= SLICE {
                    report.used += slice.elapsed();
                    server.latency.note(server, "expire-cycle", slice.elapsed());
                    tokio::task::yield_now().await;
                    slice = Instant::now();
                }
                if report.is_enough(&limits) {
                    if report.used >= limits.most {
                        server.expiry_cycle.time_cap_reached.fetch_add(1, Relaxed);
                    }
                    server.expiry_cycle.note(&report);
                    return;
                }
            }
            self.next = (self.next + 1) % stripes;
        }
        report.used += slice.elapsed();
        server.expiry_cycle.note(&report);
    }

    fn place(&self) -> (DbIndex, StripeIndex) {
        let stripe = StripeIndex::all().nth(self.next % STRIPE_COUNT).expect("below the number of stripes");
        (DbIndex((self.next / STRIPE_COUNT) as u16), stripe)
    }
}

/// One step under the lock of a stripe; returns whether nothing is left to do in it.
fn step(server: &Server, db: DbIndex, stripe: StripeIndex, report: &mut Report) -> bool {
    let now = server.now();
    if !server.keyspace.stripe_next_due(db, stripe).is_due(now) {
        return true;
    }
    let mut outcome = Outcome::default();
    let mut view = server.keyspace.lock(StripeSet::of(stripe), now);
    let swept = view.sweep_expired(db, stripe, STEP);
    outcome.settle(server, &mut view);
    drop(view);
    outcome.release(server);
    report.examined += swept.examined as u64;
    report.expired += swept.expired as u64;
    swept.is_complete
}

/// Sweeps everything that is due, at once: what a test calls in the place of the cycle.
pub fn sweep_all(server: &Server) -> u64 {
    let mut report = Report::default();
    for number in 0..server.keyspace.databases() {
        for stripe in StripeIndex::all() {
            while !step(server, DbIndex(number), stripe, &mut report) {}
        }
    }
    report.expired
}
