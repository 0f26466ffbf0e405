//! Access stamps: what eviction knows about an entry's use (Redis documentation, "Key eviction").
//!
//! LRU: 24 bits of seconds. LFU: 16 bits of minutes since the last decay, 8 bits of a logarithmic counter.

use crate::clock::UnixMs;
use crate::entry::Stamp;
use crate::keyspace::{AccessPolicy, Settings};
use crate::rng::Rng;
use std::sync::atomic::Ordering::Relaxed;

const LRU_MASK: u64 = (1 << Stamp::BITS) - 1;
/// A new key starts here, so that it is not evicted before it could prove itself.
const LFU_INITIAL: u8 = 5;

/// The stamp of an entry that is created now.
#[inline]
pub fn fresh(settings: &Settings, now: UnixMs) -> Stamp {
    match settings.access_policy() {
        AccessPolicy::Lru => lru(now),
        AccessPolicy::Lfu => lfu(minutes(now), LFU_INITIAL),
    }
}

/// The stamp of an entry that is read or written now.
#[inline]
pub fn touched(stamp: Stamp, settings: &Settings, now: UnixMs, rng: &mut Rng) -> Stamp {
    match settings.access_policy() {
        AccessPolicy::Lru => lru(now),
        AccessPolicy::Lfu => {
            let counter = frequency(stamp, settings, now);
            lfu(minutes(now), increment(counter, settings.lfu_log_factor.load(Relaxed), rng))
        }
    }
}

/// Milliseconds since the last access, under LRU.
pub fn idle_ms(stamp: Stamp, now: UnixMs) -> u64 {
    let (then, now) = (u64::from(stamp.bits()), seconds(now));
    // The clock wraps around; a stamp ahead of it is from before the wrap.
    (if now >= then { now - then } else { now + LRU_MASK + 1 - then }) * 1000
}

/// The logarithmic access counter after decay, under LFU.
pub fn frequency(stamp: Stamp, settings: &Settings, now: UnixMs) -> u8 {
    decayed(stamp, settings.lfu_decay_time.load(Relaxed), now)
}

/// The same for a counter that loses one in every `decay_time` minutes, or none in 0.
pub fn decayed(stamp: Stamp, decay_time: usize, now: UnixMs) -> u8 {
    let (then, counter) = ((stamp.bits() >> 8) as u16, stamp.bits() as u8);
    if decay_time == 0 {
        return counter;
    }
    let periods = u64::from(minutes(now).wrapping_sub(then)) / decay_time as u64;
    counter.saturating_sub(periods.min(255) as u8)
}

/// The stamp of an entry that was last used `idle_s` seconds ago (RESTORE IDLETIME).
pub fn lru_idle(idle_s: u64, now: UnixMs) -> Stamp {
    Stamp::new(((now.0 as u64 / 1000).wrapping_sub(idle_s) & LRU_MASK) as u32)
}

/// The stamp of an entry with this access counter (RESTORE FREQ).
pub fn lfu_counter(counter: u8, now: UnixMs) -> Stamp {
    lfu(minutes(now), counter)
}

fn increment(counter: u8, log_factor: usize, rng: &mut Rng) -> u8 {
    let above = f64::from(counter.saturating_sub(LFU_INITIAL));
    if counter < u8::MAX && rng.f64() < 1.0 / (above * log_factor as f64 + 1.0) { counter + 1 } else { counter }
}

#[inline]
fn lru(now: UnixMs) -> Stamp {
    Stamp::new(seconds(now) as u32)
}

#[inline]
fn lfu(minutes: u16, counter: u8) -> Stamp {
    Stamp::new(u32::from(minutes) << 8 | u32::from(counter))
}

#[inline]
fn seconds(now: UnixMs) -> u64 {
    (now.0 as u64 / 1000) & LRU_MASK
}

#[inline]
fn minutes(now: UnixMs) -> u16 {
    (now.0 as u64 / 60_000) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lru_counts_idle_time_across_the_wrap() {
        let settings = Settings::default();
        let wrap = UnixMs(((LRU_MASK as i64) - 1) * 1000);
        let stamp = fresh(&settings, wrap);
        assert_eq!(idle_ms(stamp, UnixMs(wrap.0 + 9000)), 9000);
    }

    #[test]
    fn lfu_grows_logarithmically_and_decays_by_the_minute() {
        let settings = Settings::default();
        settings.put_access_policy(AccessPolicy::Lfu);
        let (mut rng, now) = (Rng::seeded(1), UnixMs(1_700_000_000_000));
        let mut stamp = fresh(&settings, now);
        for _ in 0..10_000 {
            stamp = touched(stamp, &settings, now, &mut rng);
        }
        let hot = frequency(stamp, &settings, now);
        assert!((30..120).contains(&hot), "10,000 hits give a counter of {hot}");
        assert_eq!(frequency(stamp, &settings, UnixMs(now.0 + 10 * 60_000)), hot - 10);
    }
}
