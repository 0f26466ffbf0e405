//! Slows writers down before RocksDB does.
//!
//! When flushes or compactions fall behind, RocksDB delays or stops whole writes, and with the log's write stop all
//! clients at once. A thread looks at what is behind several times a second, and lets in less the more there is: each
//! stretch of time gets a share of bytes, and what comes later waits for the next. So all writers become slower by a
//! little, early, and reads are not held up.

use super::Durability;
use crate::server::Server;
use basalt_storage::engine::Backlog;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long a share of bytes is for.
const STRETCH: Duration = Duration::from_millis(20);
/// Time between two looks while nobody is slowed down.
const CALM: Duration = Duration::from_millis(100);
/// What is let in when the pressure has just begun to rise, and when RocksDB is about to slow writers down itself.
const BYTES_PER_SECOND: std::ops::RangeInclusive<u64> = (1 << 20)..=(64 << 20);
/// Where the pressure begins, and where it is full.
const LEVEL_0_FILES: std::ops::Range<u64> = 10..20;
const FULL_MEMTABLES: std::ops::Range<u64> = 1..3;
const COMPACTION_BYTES: std::ops::Range<u64> = (16 << 30)..(64 << 30);
const UNLIMITED: u64 = u64::MAX;

/// How much may be written now.
#[derive(Debug)]
pub struct Pace {
    /// Bytes of proposals, since the start, up to which writers are let in.
    limit: AtomicU64,
    /// In thousandths.
    pressure: AtomicU64,
    bytes_per_second: AtomicU64,
    /// Time during which writers had to wait, in microseconds.
    held_us: AtomicU64,
    level_0_files: AtomicU64,
    full_memtables: AtomicU64,
}

/// For INFO.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub pressure: f64,
    /// None while nobody is slowed down.
    pub bytes_per_second: Option<u64>,
    pub held_us: u64,
    pub level_0_files: u64,
    pub full_memtables: u64,
}

impl Default for Pace {
    fn default() -> Pace {
        let zero = || AtomicU64::new(0);
        Pace {
            limit: AtomicU64::new(UNLIMITED),
            pressure: zero(),
            bytes_per_second: AtomicU64::new(UNLIMITED),
            held_us: zero(),
            level_0_files: zero(),
            full_memtables: zero(),
        }
    }
}

impl Pace {
    /// Whether this stretch of time has had its share.
    #[inline]
    pub fn is_used_up(&self, durability: &Durability) -> bool {
        let limit = self.limit.load(Relaxed);
        limit != UNLIMITED && durability.groups.proposal_bytes() >= limit
    }

    pub fn report(&self) -> Report {
        let rate = self.bytes_per_second.load(Relaxed);
        Report {
            pressure: self.pressure.load(Relaxed) as f64 / 1000.0,
            bytes_per_second: (rate != UNLIMITED).then_some(rate),
            held_us: self.held_us.load(Relaxed),
            level_0_files: self.level_0_files.load(Relaxed),
            full_memtables: self.full_memtables.load(Relaxed),
        }
    }

    /// Gives the next stretch its share; returns whether writers may have waited for it.
    fn note(&self, backlog: Backlog, proposed: u64, elapsed: Duration) -> bool {
        let was_used_up = proposed >= self.limit.load(Relaxed);
        if was_used_up {
            self.held_us.fetch_add(elapsed.as_micros() as u64, Relaxed);
        }
        let pressure = pressure(backlog);
        let rate = rate(backlog, pressure);
        self.pressure.store((pressure * 1000.0) as u64, Relaxed);
        self.level_0_files.store(backlog.level_0_files, Relaxed);
        self.full_memtables.store(backlog.full_memtables, Relaxed);
        self.bytes_per_second.store(rate.unwrap_or(UNLIMITED), Relaxed);
        let share = |rate: u64| (u128::from(rate) * elapsed.max(STRETCH).as_micros() / 1_000_000) as u64;
        self.limit.store(rate.map_or(UNLIMITED, |rate| proposed.saturating_add(share(rate))), Relaxed);
        was_used_up
    }
}

/// How near RocksDB is to slowing writers down: zero while there is no reason to think of it, one when it does.
fn pressure(backlog: Backlog) -> f64 {
    let part = |value: u64, range: std::ops::Range<u64>| {
        value.saturating_sub(range.start) as f64 / (range.end - range.start) as f64
    };
    let highest = part(backlog.level_0_files, LEVEL_0_FILES)
        .max(part(backlog.full_memtables, FULL_MEMTABLES))
        .max(part(backlog.compaction_bytes, COMPACTION_BYTES));
    if backlog.is_stopped || backlog.delayed_bytes_per_second > 0 { 1.0 } else { highest.min(1.0) }
}

/// What may be written at this pressure; none for as much as there is.
fn rate(backlog: Backlog, pressure: f64) -> Option<u64> {
    if pressure == 0.0 {
        return None;
    }
    let (least, most) = (*BYTES_PER_SECOND.start(), *BYTES_PER_SECOND.end());
    let rate = least + ((most - least) as f64 * (1.0 - pressure)) as u64;
    Some(match backlog.delayed_bytes_per_second {
        0 => rate,
        // Log and state are both written.
        delayed => rate.max(delayed / 2),
    })
}

/// Starts the thread that looks; it ends with the server.
pub(super) fn start(server: &Arc<Server>) -> std::io::Result<()> {
    let server = Arc::downgrade(server);
    std::thread::Builder::new().name("pace".into()).spawn(move || run(&server))?;
    Ok(())
}

fn run(server: &Weak<Server>) {
    let mut looked = Instant::now();
    while let Some(server) = server.upgrade() {
        if let Some(durability) = server.durability() {
            let proposed = durability.groups.proposal_bytes();
            let backlog = durability.groups.rocks().backlog();
            if durability.pace.note(backlog, proposed, looked.elapsed()) {
                server.gate.note_room();
            }
        }
        looked = Instant::now();
        let is_calm = server.durability().is_none_or(|durability| durability.pace.limit.load(Relaxed) == UNLIMITED);
        drop(server);
        std::thread::sleep(if is_calm { CALM } else { STRETCH });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_become_slower_before_rocksdb_slows_them_down() {
        let at = |level_0_files| {
            let backlog = Backlog { level_0_files, ..Backlog::default() };
            rate(backlog, pressure(backlog))
        };
        assert_eq!(at(10), None);
        let rates: Vec<u64> = (11..=20).map(|files| at(files).expect("there is pressure")).collect();
        assert!(rates.is_sorted_by(|earlier, later| earlier > later), "{rates:?}");
        assert_eq!((rates[0] >> 20, rates[9] >> 20), (57, 1));
        let stopped = Backlog { is_stopped: true, ..Backlog::default() };
        assert_eq!(rate(stopped, pressure(stopped)), Some(1 << 20));
        let delayed = Backlog { delayed_bytes_per_second: 32 << 20, ..Backlog::default() };
        assert_eq!(rate(delayed, pressure(delayed)), Some(16 << 20));
    }

    #[test]
    fn every_stretch_has_its_share_and_the_pressure_goes_as_it_came() {
        let pace = Pace::default();
        let behind = Backlog { level_0_files: 15, ..Backlog::default() };
        assert!(!pace.note(behind, 1000, STRETCH), "nobody has waited");
        let share = pace.limit.load(Relaxed) - 1000;
        let rate = pace.report().bytes_per_second.expect("writers are slowed down");
        assert_eq!(share, rate * STRETCH.as_millis() as u64 / 1000);
        assert!(pace.note(behind, 1000 + share, STRETCH), "the share was used up");
        assert_eq!(pace.report().held_us, STRETCH.as_micros() as u64);
        pace.note(Backlog::default(), 5000, STRETCH);
        assert_eq!((pace.limit.load(Relaxed), pace.report().bytes_per_second), (UNLIMITED, None));
    }
}
