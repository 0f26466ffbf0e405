//! What the threads of one group share, and how one of them ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

use basalt_storage::clock::UnixMs;

use super::applier::ApplyQueue;
use super::figures::Figures;
use super::freshness::{Freshness, News};
use super::ids::{LogIndex, Seq};
use super::inbox::Inbox;
use super::log::LogStore;
use super::machine::{Observer, StateMachine};
use super::mailbox::Mailbox;
use super::options::{Fsync, GroupOptions};
use super::progress::Progress;
use super::syncer::SyncBell;

/// Tells the time that is written into entries.
pub type Clock = Arc<dyn Fn() -> UnixMs + Send + Sync>;

pub(super) struct Shared {
    pub options: GroupOptions,
    pub store: Arc<dyn LogStore>,
    pub machine: Arc<dyn StateMachine>,
    pub observer: Arc<dyn Observer>,
    pub clock: Clock,
    pub inbox: Inbox,
    pub mailbox: Mailbox,
    /// What the lease's times are counted from.
    pub began: Instant,
    pub apply_queue: ApplyQueue,
    pub sync_bell: SyncBell,
    pub progress: Progress,
    pub freshness: Freshness,
    pub figures: Figures,
    fsync: AtomicU8,
    has_failed: AtomicBool,
    /// A snapshot is being received.
    pub is_installing: AtomicBool,
}

/// What makes it impossible to go on.
#[derive(Debug)]
pub(super) struct Fatal(pub String);

impl Shared {
    pub(super) fn new(
        options: GroupOptions,
        store: Arc<dyn LogStore>,
        machine: Arc<dyn StateMachine>,
        observer: Arc<dyn Observer>,
        clock: Clock,
    ) -> Shared {
        let fsync = AtomicU8::new(options.fsync as u8);
        let inbox = Inbox::new(options.seqs.clone());
        let apply_queue = ApplyQueue::new(options.apply_delay_max);
        Shared {
            options,
            store,
            machine,
            observer,
            clock,
            inbox,
            mailbox: Mailbox::default(),
            began: Instant::now(),
            apply_queue,
            sync_bell: SyncBell::default(),
            progress: Progress::default(),
            freshness: Freshness::default(),
            figures: Figures::default(),
            fsync,
            has_failed: AtomicBool::new(false),
            is_installing: AtomicBool::new(false),
        }
    }

    /// The state machine has written everything up to here.
    pub(super) fn note_applied(&self, index: LogIndex, up_to: Option<Seq>) {
        self.progress.note_applied(index, up_to);
        if self.freshness.note_applied(index) == News::Yes {
            self.observer.proven();
        }
    }

    pub(super) fn has_lease(&self, now: Instant) -> bool {
        let now = u64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX);
        now < self.progress.lease_until_ns()
    }

    pub(super) fn fsync(&self) -> Fsync {
        match self.fsync.load(Ordering::Relaxed) {
            0 => Fsync::Always,
            1 => Fsync::EverySecond,
            _ => Fsync::Never,
        }
    }

    pub(super) fn set_fsync(&self, fsync: Fsync) {
        self.fsync.store(fsync as u8, Ordering::Relaxed);
    }

    /// Runs the body of a thread. If it fails or panics, the group is over, and by [`super::options::abort`] the
    /// process.
    pub(super) fn run(&self, thread: &str, body: impl FnOnce(&Shared) -> Result<(), Fatal>) {
        let guard = PanicGuard { shared: self, thread };
        let result = body(self);
        std::mem::forget(guard);
        if let Err(Fatal(what)) = result {
            self.fail(&what);
        }
    }

    fn fail(&self, what: &str) {
        let group = self.options.group;
        let what = format!("group {group}: {what}");
        // The first failure is the one that matters; it may make other threads fail.
        if !self.has_failed.swap(true, Ordering::SeqCst) {
            (self.options.on_fatal)(&what);
        }
        self.progress.note_stopped(&what);
        self.apply_queue.close();
        self.inbox.stop();
        self.mailbox.close();
        self.sync_bell.stop();
    }
}

/// A thread that panics must not leave the others behind as if it still worked.
struct PanicGuard<'a> {
    shared: &'a Shared,
    thread: &'a str,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        self.shared.fail(&format!("the {} thread panicked", self.thread));
    }
}
