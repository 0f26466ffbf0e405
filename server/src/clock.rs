//! The wall clock as evaluation sees it.

use crate::moment::{self, Moment};
use basalt_storage::clock::UnixMs;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall time from the monotonic clock, which is cheaper to read, plus an offset that is kept up to date.
pub struct WallClock {
    started: Instant,
    /// The wall time of the first moment, in microseconds: whole milliseconds would put the clock up to one behind, and
    /// let it jump at each synchronizing.
    first_at_us: AtomicI64,
    /// The time at which a test has stopped the clock; zero while it runs.
    stopped_at_ms: AtomicI64,
}

impl WallClock {
    pub fn start() -> WallClock {
        moment::calibrate();
        let clock =
            WallClock { started: Instant::now(), first_at_us: AtomicI64::new(0), stopped_at_ms: AtomicI64::new(0) };
        clock.synchronize();
        clock
    }

    /// Takes over changes of the system's clock.
    pub fn synchronize(&self) {
        moment::verify();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
        self.first_at_us.store(unix - Moment::now().microseconds(), Relaxed);
    }

    /// From now on it is this time, until the next call: tests tell their own time.
    pub fn stop_at(&self, time: UnixMs) {
        assert!(time.0 > 0, "a test's time is after the epoch");
        self.stopped_at_ms.store(time.0, Relaxed);
    }

    #[inline]
    pub fn now(&self) -> UnixMs {
        self.at(Moment::now())
    }

    /// The time at a moment of the monotonic clock.
    #[inline]
    pub fn at(&self, moment: Moment) -> UnixMs {
        match self.stopped_at_ms.load(Relaxed) {
            0 => UnixMs((self.first_at_us.load(Relaxed) + moment.microseconds()) / 1000),
            stopped => UnixMs(stopped),
        }
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
