//! Moments of a monotonic clock that costs little to read, as every command reads it.
//!
//! The kernel's clock takes several times as long as the processor's time stamp counter, from which it is computed. The
//! counter is used where the kernel itself goes by it (so it ticks evenly, on all cores alike), and for as long as both
//! agree: a virtual machine may wake up on another machine. Everywhere else a moment is one of the kernel's clock.

mod counter;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

/// Nanoseconds since the first moment of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// How long the counter is compared with the kernel's clock before it is used: to about a part in 100,000.
const CALIBRATION: Duration = Duration::from_millis(5);
/// The counter is given up when it is off by more than this part of what has passed.
const TOLERANCE_PARTS: u128 = 1000;
/// Less than this is no disagreement: a thread may lose the processor between two readings.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Nanoseconds per tick, times 2^32; zero while the kernel's clock is used.
static NANOSECONDS_PER_TICK: AtomicU64 = AtomicU64::new(0);
/// The counter at the first moment.
static FIRST_TICK: AtomicU64 = AtomicU64::new(0);
static FIRST: OnceLock<Instant> = OnceLock::new();

impl Moment {
    #[inline]
    pub fn now() -> Moment {
        match NANOSECONDS_PER_TICK.load(Relaxed) {
            0 => Moment(by_kernel().as_nanos() as u64),
            scale => Moment(by_counter(scale)),
        }
    }

    /// How long after `earlier` this is; nothing if it is not.
    #[inline]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Microseconds since the first moment.
    #[inline]
    pub fn microseconds(self) -> i64 {
        (self.0 / 1000) as i64
    }
}

#[inline]
fn by_counter(scale: u64) -> u64 {
    let ticks = counter::read().wrapping_sub(FIRST_TICK.load(Relaxed));
    ((u128::from(ticks) * u128::from(scale)) >> 32) as u64
}

#[cold]
fn by_kernel() -> Duration {
    FIRST.get_or_init(Instant::now).elapsed()
}

/// Begins to use the counter, where that is possible. To be called once the process starts; costs some milliseconds.
pub fn calibrate() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if !counter::is_trusted_by_kernel() {
            return;
        }
        let (first, first_tick) = reading();
        std::thread::sleep(CALIBRATION);
        let (last, last_tick) = reading();
        let ticks = last_tick.saturating_sub(first_tick);
        let scale = ((last - first).as_nanos() << 32).checked_div(u128::from(ticks)).unwrap_or(0);
        if scale == 0 {
            return;
        }
        let since_first = first - *FIRST.get_or_init(|| first);
        FIRST_TICK.store(first_tick.wrapping_sub(((since_first.as_nanos() << 32) / scale) as u64), Relaxed);
        NANOSECONDS_PER_TICK.store(scale as u64, Relaxed);
    });
}

/// Both clocks at one moment. Of several readings the fastest is taken: it was not interrupted.
fn reading() -> (Instant, u64) {
    let read = || {
        let before = counter::read();
        let moment = Instant::now();
        (counter::read().wrapping_sub(before), moment, before)
    };
    let (took, moment, before) = (0..16).map(|_| read()).min_by_key(|(took, ..)| *took).expect("several readings");
    (moment, before.wrapping_add(took / 2))
}

/// Gives the counter up if it no longer agrees with the kernel's clock. To be called now and then.
pub fn verify() {
    let scale = NANOSECONDS_PER_TICK.load(Relaxed);
    if scale == 0 {
        return;
    }
    let (by_kernel, by_counter) = (by_kernel(), Duration::from_nanos(by_counter(scale)));
    if disagree(by_kernel, by_counter) {
        NANOSECONDS_PER_TICK.store(0, Relaxed);
        tracing::warn!(
            ?by_kernel,
            ?by_counter,
            "the processor's clock has gone wrong; the kernel's is used from now on"
        );
    }
}

fn disagree(one: Duration, other: Duration) -> bool {
    let apart = one.abs_diff(other);
    apart > TOLERANCE && apart.as_nanos() * TOLERANCE_PARTS > one.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_follow_the_kernels_clock_whichever_clock_they_are_of() {
        for _ in 0..2 {
            let outer = Instant::now();
            let first = Moment::now();
            let inner = Instant::now();
            while inner.elapsed() < Duration::from_millis(5) {}
            let least = inner.elapsed();
            let passed = Moment::now().since(first);
            let most = outer.elapsed();
            assert!(passed * 100 > least * 99 && passed * 99 < most * 100, "{least:?} <= {passed:?} <= {most:?}");
            assert_eq!(first.since(Moment::now()), Duration::ZERO);
            calibrate();
            verify();
        }
    }

    #[test]
    fn small_differences_are_no_disagreement() {
        let day = Duration::from_secs(86_400);
        assert!(!disagree(Duration::from_millis(10), Duration::from_millis(90)));
        assert!(!disagree(day, day + Duration::from_secs(80)));
        assert!(disagree(day, day + Duration::from_secs(90)));
        assert!(disagree(Duration::from_secs(3), Duration::from_secs(1)));
    }
}
