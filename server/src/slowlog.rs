//! SLOWLOG: the commands that took longest to run.

use crate::commands::Command;
use crate::redact;
use crate::resp::Args;
use crate::server::Server;
use crate::session::Session;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Arguments and bytes per argument that an entry keeps (Redis: `SLOWLOG_ENTRY_MAX_ARGC`, `SLOWLOG_ENTRY_MAX_STRING`).
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Clone, Debug)]
pub struct SlowEntry {
    pub id: i64,
    pub unix_s: i64,
    pub duration: Duration,
    pub arguments: Vec<Vec<u8>>,
    pub address: String,
    pub client_name: String,
}

/// The log, newest first.
pub struct Slowlog {
    /// In microseconds; negative: nothing is logged.
    threshold_us: AtomicI64,
    length_max: AtomicUsize,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    next_id: i64,
    entries: VecDeque<SlowEntry>,
}

impl Default for Slowlog {
    fn default() -> Slowlog {
        Slowlog { threshold_us: AtomicI64::new(10_000), length_max: AtomicUsize::new(128), log: Mutex::default() }
    }
}

impl Slowlog {
    #[inline]
    pub fn threshold(&self) -> Duration {
        match self.threshold_us.load(Relaxed) {
            negative if negative < 0 => Duration::MAX,
            us => Duration::from_micros(us as u64),
        }
    }

    pub fn configure(&self, threshold_us: i64, length_max: usize) {
        self.threshold_us.store(threshold_us, Relaxed);
        self.length_max.store(length_max, Relaxed);
        self.log.lock().entries.truncate(length_max);
    }

    #[cold]
    pub fn note(&self, server: &Server, session: &Session, command: &Command, args: Args<'_>, duration: Duration) {
        let mut log = self.log.lock();
        let id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(SlowEntry {
            id,
            unix_s: server.now().0 / 1000,
            duration,
            arguments: abridged(command, args),
            address: session.client.address.clone(),
            client_name: session.client.info.name.lock().clone(),
        });
        log.entries.truncate(self.length_max.load(Relaxed));
    }

    pub fn newest(&self, count: usize) -> Vec<SlowEntry> {
        self.log.lock().entries.iter().take(count).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.log.lock().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn reset(&self) {
        self.log.lock().entries.clear();
    }
}

fn abridged(command: &Command, args: Args<'_>) -> Vec<Vec<u8>> {
    let shown = if args.len() > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { args.len() };
    let mut arguments: Vec<Vec<u8>> = redact::shown(command, args)
        .take(shown)
        .map(|argument| match argument.len().checked_sub(ARGUMENT_BYTES_MAX) {
            None | Some(0) => argument.to_vec(),
            Some(more) => [&argument[..ARGUMENT_BYTES_MAX], format!("... ({more} more bytes)").as_bytes()].concat(),
        })
        .collect();
    if shown < args.len() {
        arguments.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    arguments
}
