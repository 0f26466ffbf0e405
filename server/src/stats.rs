//! Per-command and per-error statistics: what INFO commandstats, latencystats and errorstats show.
//!
//! Each network thread has a block of counters of its own, so that counting costs no cache line that another thread
//! writes; whoever reads adds the blocks up.

use crate::commands::{self, Command, CommandId};
use crate::error::{CommandError, CommandResult};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Latency buckets: bucket n counts calls of less than 2^n nanoseconds.
pub const BUCKETS: usize = 40;
/// Error codes that are told apart; beyond that they are counted together, as a client could make them up.
const ERROR_CODES_MAX: usize = 128;

/// Counters of one command on one thread.
pub struct CommandCounters {
    pub calls: AtomicU64,
    pub nanoseconds: AtomicU64,
    pub failed: AtomicU64,
    pub rejected: AtomicU64,
    pub latency: [AtomicU64; BUCKETS],
}

/// The sum of a command's counters over all threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandTotals {
    pub calls: u64,
    pub nanoseconds: u64,
    pub failed: u64,
    pub rejected: u64,
    pub latency: Vec<u64>,
}

/// Bytes and system calls of one thread's connections.
#[derive(Default)]
struct TrafficCounters {
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

/// The sum of all threads' traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub reads: u64,
    pub writes: u64,
}

pub struct Stats {
    traffic: Vec<TrafficCounters>,
    threads: Vec<Vec<CommandCounters>>,
    errors: Mutex<HashMap<String, u64>>,
    pub error_replies: AtomicU64,
}

/// Adds to a counter that only this thread writes.
#[inline]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

impl Stats {
    pub fn new(threads: usize) -> Stats {
        let counters = || CommandCounters {
            calls: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            latency: [const { AtomicU64::new(0) }; BUCKETS],
        };
        let block = || commands::all().iter().map(|_| counters()).collect();
        Stats {
            threads: (0..threads).map(|_| block()).collect(),
            traffic: (0..threads).map(|_| TrafficCounters::default()).collect(),
            errors: Mutex::default(),
            error_replies: AtomicU64::new(0),
        }
    }

    #[inline]
    pub fn note_call(&self, thread: usize, id: CommandId, elapsed: Duration, result: &CommandResult) {
        let counters = &self.threads[thread][id.0];
        let nanoseconds = elapsed.as_nanos() as u64;
        add(&counters.calls, 1);
        add(&counters.nanoseconds, nanoseconds);
        let bucket = (u64::BITS - nanoseconds.leading_zeros()) as usize;
        add(&counters.latency[bucket.min(BUCKETS - 1)], 1);
        if let Err(error) = result {
            add(&counters.failed, 1);
            self.note_error(error);
        }
    }

    /// A read of a connection on this thread.
    #[inline]
    pub fn note_read(&self, thread: usize, bytes: usize) {
        add(&self.traffic[thread].received_bytes, bytes as u64);
        add(&self.traffic[thread].reads, 1);
    }

    /// A write of a connection on this thread.
    #[inline]
    pub fn note_write(&self, thread: usize, bytes: usize) {
        add(&self.traffic[thread].sent_bytes, bytes as u64);
        add(&self.traffic[thread].writes, 1);
    }

    pub fn traffic(&self) -> Traffic {
        let mut sum = Traffic::default();
        for counters in &self.traffic {
            sum.received_bytes += counters.received_bytes.load(Relaxed);
            sum.sent_bytes += counters.sent_bytes.load(Relaxed);
            sum.reads += counters.reads.load(Relaxed);
            sum.writes += counters.writes.load(Relaxed);
        }
        sum
    }

    /// A request that was refused before it ran.
    pub fn note_refusal(&self, thread: usize, command: Option<&Command>, error: &CommandError) {
        if let Some(command) = command {
            add(&self.threads[thread][command.id.0].rejected, 1);
        }
        self.note_error(error);
    }

    pub fn note_error(&self, error: &CommandError) {
        self.error_replies.fetch_add(1, Relaxed);
        let code = error.code();
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(code.as_ref()) {
            *count += 1;
        } else {
            let code = if errors.len() < ERROR_CODES_MAX { &*code } else { "ERRORSTATS_OVERFLOW" };
            *errors.entry(code.to_owned()).or_insert(0) += 1;
        }
    }

    pub fn totals(&self, id: CommandId) -> CommandTotals {
        let mut totals = CommandTotals { latency: vec![0; BUCKETS], ..CommandTotals::default() };
        for block in &self.threads {
            let counters = &block[id.0];
            totals.calls += counters.calls.load(Relaxed);
            totals.nanoseconds += counters.nanoseconds.load(Relaxed);
            totals.failed += counters.failed.load(Relaxed);
            totals.rejected += counters.rejected.load(Relaxed);
            for (sum, bucket) in totals.latency.iter_mut().zip(&counters.latency) {
                *sum += bucket.load(Relaxed);
            }
        }
        totals
    }

    /// Commands processed since the start or the last reset.
    pub fn calls(&self) -> u64 {
        self.threads.iter().flatten().map(|counters| counters.calls.load(Relaxed)).sum()
    }

    /// How long all commands took together.
    pub fn command_time(&self) -> Duration {
        let threads = self.threads.iter().flatten();
        Duration::from_nanos(threads.map(|counters| counters.nanoseconds.load(Relaxed)).sum())
    }

    /// Error codes and how often each was answered.
    pub fn errors(&self) -> Vec<(String, u64)> {
        let mut errors: Vec<_> = self.errors.lock().iter().map(|(code, count)| (code.clone(), *count)).collect();
        errors.sort();
        errors
    }

    pub fn reset(&self) {
        for counters in self.threads.iter().flatten() {
            for counter in [&counters.calls, &counters.nanoseconds, &counters.failed, &counters.rejected] {
                counter.store(0, Relaxed);
            }
            counters.latency.iter().for_each(|bucket| bucket.store(0, Relaxed));
        }
        self.errors.lock().clear();
        for counters in &self.traffic {
            for counter in [&counters.received_bytes, &counters.sent_bytes, &counters.reads, &counters.writes] {
                counter.store(0, Relaxed);
            }
        }
        self.error_replies.store(0, Relaxed);
    }
}
