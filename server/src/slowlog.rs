//! SLOWLOG: the commands that took longest to run, and those that waited longest for something else.
//!
//! Redis evaluates a command as soon as it has read it, and answers at once, so what its log knows of is evaluation.
//! Here a command may wait before it is let in, and its reply before it may leave; that is kept in a log of its own, so
//! that clients that read the other one find what they know.

use crate::client::Client;
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

/// What a command has waited for, besides evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// To be let in: its keys had to be read from disk, or nobody knew who serves its slot.
    Admission,
    /// With its reply ready: what it depends on was not committed, or it was not certain that this node still led.
    Commit,
}

impl Wait {
    pub fn name(self) -> &'static str {
        match self {
            Wait::Admission => "admission",
            Wait::Commit => "commit",
        }
    }
}

/// Both logs.
pub struct Slowlog {
    /// In microseconds; negative: nothing is logged.
    threshold_us: AtomicI64,
    length_max: AtomicUsize,
    evaluations: Mutex<Log<SlowEntry>>,
    waits: Mutex<Log<(SlowEntry, Wait)>>,
}

/// The newest entries first.
struct Log<E> {
    next_id: i64,
    entries: VecDeque<E>,
}

impl<E> Default for Log<E> {
    fn default() -> Log<E> {
        Log { next_id: 0, entries: VecDeque::new() }
    }
}

impl<E: Clone> Log<E> {
    fn push(&mut self, length_max: usize, entry: impl FnOnce(i64) -> E) {
        self.entries.push_front(entry(self.next_id));
        self.next_id += 1;
        self.entries.truncate(length_max);
    }

    fn newest(&self, count: usize) -> Vec<E> {
        self.entries.iter().take(count).cloned().collect()
    }
}

impl Default for Slowlog {
    fn default() -> Slowlog {
        Slowlog {
            threshold_us: AtomicI64::new(10_000),
            length_max: AtomicUsize::new(128),
            evaluations: Mutex::default(),
            waits: Mutex::default(),
        }
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
        self.evaluations.lock().entries.truncate(length_max);
        self.waits.lock().entries.truncate(length_max);
    }

    #[cold]
    pub fn note(&self, server: &Server, session: &Session, command: &Command, args: Args<'_>, duration: Duration) {
        let entry = |id| entry(id, server, &session.client, duration, abridged(command, args));
        self.evaluations.lock().push(self.length_max.load(Relaxed), entry);
    }

    /// A command was let in after a while.
    #[cold]
    pub fn note_admission(
        &self,
        server: &Server,
        session: &Session,
        command: &Command,
        args: Args<'_>,
        wait: Duration,
    ) {
        self.note_wait(server, &session.client, wait, Wait::Admission, abridged(command, args));
    }

    /// The reply to the client's last command, and maybe to some before it, may leave after a while.
    #[cold]
    pub fn note_commit(&self, server: &Server, client: &Client, wait: Duration) {
        let name = client.last_command().map_or("?", |command| command.full_name);
        self.note_wait(server, client, wait, Wait::Commit, vec![name.replace('|', " ").into_bytes()]);
    }

    fn note_wait(&self, server: &Server, client: &Client, duration: Duration, wait: Wait, arguments: Vec<Vec<u8>>) {
        let entry = |id| (entry(id, server, client, duration, arguments), wait);
        self.waits.lock().push(self.length_max.load(Relaxed), entry);
    }

    pub fn newest(&self, count: usize) -> Vec<SlowEntry> {
        self.evaluations.lock().newest(count)
    }

    pub fn newest_waits(&self, count: usize) -> Vec<(SlowEntry, Wait)> {
        self.waits.lock().newest(count)
    }

    /// Entries of evaluations.
    pub fn len(&self) -> usize {
        self.evaluations.lock().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn reset(&self) {
        self.evaluations.lock().entries.clear();
        self.waits.lock().entries.clear();
    }
}

fn entry(id: i64, server: &Server, client: &Client, duration: Duration, arguments: Vec<Vec<u8>>) -> SlowEntry {
    SlowEntry {
        id,
        unix_s: server.now().0 / 1000,
        duration,
        arguments,
        address: client.address.clone(),
        client_name: client.info.name.lock().clone(),
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
