//! How long a node that could not be reached is left alone.
//!
//! Pure: chance is handed in. The delay doubles with each failure in a row, up to a bound; the upper half of it is
//! chance, so that nodes that lost each other at the same time do not come back at the same time.

use std::time::Duration;

use super::limits::Timing;

/// A number that is different each time, from anywhere in its range.
pub type Chance = Box<dyn Fn() -> u64 + Send + Sync>;

#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure.
    pub fn fail(&mut self, timing: &Timing, chance: u64) -> Duration {
        let doubled = timing.retry_first.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let most = doubled.min(timing.retry_last);
        let half = most / 2;
        half + half.mul_f64(chance as f64 / u64::MAX as f64)
    }

    pub fn succeed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing() -> Timing {
        Timing { retry_first: Duration::from_millis(100), retry_last: Duration::from_millis(1000), ..Timing::default() }
    }

    #[test]
    fn delays_double_up_to_the_bound() {
        let mut backoff = Backoff::default();
        let delays: Vec<u128> = (0..6).map(|_| backoff.fail(&timing(), u64::MAX).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000]);
        backoff.succeed();
        assert_eq!(backoff.fail(&timing(), u64::MAX).as_millis(), 100);
    }

    #[test]
    fn chance_takes_away_half_at_most() {
        assert_eq!(Backoff::default().fail(&timing(), 0).as_millis(), 50);
        assert_eq!(Backoff::default().fail(&timing(), u64::MAX / 2).as_millis(), 75);
    }

    #[test]
    fn no_number_of_failures_is_too_many() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.fail(&timing(), u64::MAX).as_millis(), 1000);
    }
}
