//! A group: one Raft log of batches of effects, and the order in which they become durable and visible.
//!
//! ```text
//!  network threads              group thread                        apply thread
//!  propose(batch) ─► inbox ─►   one entry of many batches     ──►   StateMachine::apply, several entries a call
//!    ► Seq                      log write + fsync                   Observer::applied
//!                               Observer::committed
//! ```
//!
//! [`core`] decides (no threads, no disk, no clock; the only place that knows raft-rs), [`driver`] performs. A third
//! thread ([`syncer`]) syncs once a second when the log is not synced with each write. Everything that waits has a
//! bound in [`options`].
//!
//! Invariants:
//! - a batch is committed only after its entry is in the log of a majority, with `fsync always` on their disks;
//! - [`Seq`] order is log order;
//! - the state machine gets every committed entry exactly once and in order, also over restarts;
//! - no entry leaves the log before the state that contains it is on the disk;
//! - when a write or a sync of the log fails, the process ends; it is never tried again.

mod applier;
pub mod core;
mod driver;
pub mod entry;
pub mod figures;
mod ids;
mod inbox;
pub mod log;
mod machine;
pub mod memory_log;
pub mod options;
mod progress;
pub mod rocks_log;
mod shared;
pub mod state;
mod syncer;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{Builder, JoinHandle, current};

use parking_lot::Mutex;

pub use self::core::StartError;
pub use entry::CommittedEntry;
pub use figures::Figures;
pub use ids::{GroupId, LogIndex, ReplicaId, Seq, Term};
pub use log::{LogError, LogStore};
pub use machine::{ApplyError, Observer, StateMachine};
pub use options::{Fsync, GroupOptions};
pub use progress::Stopped;
pub use rocks_log::RocksLog;
pub use shared::Clock;

use self::core::{Core, CoreOptions, ELECTION_TICKS};
use driver::Driver;
use options::{APPLY_LAG_BYTES_MAX, BATCH_BYTES_MAX, PROPOSAL_QUEUE_BYTES_MAX};
use shared::{Fatal, Shared};

/// What a thread of a group does.
type Body = Box<dyn FnOnce(&Shared) -> Result<(), Fatal> + Send>;

/// A running group. Stopped by [`Group::stop`], or when it is dropped.
pub struct Group {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Group {
    /// Starts the group from its log, or founds it. Returns when the state machine has applied all that was committed
    /// before and this replica leads.
    pub fn start(
        options: GroupOptions,
        store: Arc<dyn LogStore>,
        machine: Arc<dyn StateMachine>,
        observer: Arc<dyn Observer>,
        clock: Clock,
    ) -> Result<Arc<Group>, StartError> {
        let core_options = CoreOptions {
            me: options.me,
            fsync: options.fsync,
            log_bytes_max: options.log_bytes_max,
            election_ticks: ELECTION_TICKS,
        };
        let core = Core::start(&core_options, store.clone(), machine.applied())?;
        let name = format!("group-{}", options.group);
        let shared = Arc::new(Shared::new(options, store, machine, observer, clock));
        let group = Group { shared: shared.clone(), threads: Mutex::default() };
        let spawn = |what: &'static str, body: Body| {
            let shared = shared.clone();
            let thread = Builder::new().name(format!("{name}-{what}"));
            thread.spawn(move || shared.run(what, body)).map_err(StartError::Thread)
        };
        // Each is kept at once: dropping the group stops those that run when a later one cannot be started.
        let started = [
            spawn("apply", Box::new(applier::run)),
            spawn("sync", Box::new(syncer::run)),
            spawn("log", Box::new(move |shared| Driver::new(shared, core).run())),
        ];
        let mut result = Ok(());
        for thread in started {
            match thread {
                Ok(thread) => group.threads.lock().push(thread),
                Err(error) => result = Err(error),
            }
        }
        if result.is_err() {
            // The thread that closes the queue may be the one that is missing.
            shared.apply_queue.close();
        }
        result?;
        shared.progress.wait_serving().map_err(|stopped| StartError::Stopped(stopped.why))?;
        Ok(Arc::new(group))
    }

    /// Hands in a batch. Called under stripe locks, so that the order of batches is that of evaluation: never waits,
    /// never fails. What becomes of it is told to the observer.
    pub fn propose(&self, batch: &[u8]) -> Seq {
        let seq = self.propose_quietly(batch);
        self.announce();
        seq
    }

    /// Hands in one of several batches: whoever does it calls [`Group::announce`] soon, and waits for nothing before.
    pub fn propose_quietly(&self, batch: &[u8]) -> Seq {
        assert!(batch.len() <= BATCH_BYTES_MAX, "a batch of {} bytes", batch.len());
        self.shared.figures.proposals.fetch_add(1, Relaxed);
        self.shared.figures.proposal_bytes.fetch_add(batch.len() as u64, Relaxed);
        self.shared.inbox.push(batch, &self.shared.figures)
    }

    /// Makes the group thread notice what was handed in.
    pub fn announce(&self) {
        self.shared.inbox.announce();
    }

    /// Too much waits to be written or applied: no further writes should be evaluated for a while.
    pub fn is_congested(&self) -> bool {
        let figures = &self.shared.figures;
        figures.queued_bytes.load(Relaxed) > PROPOSAL_QUEUE_BYTES_MAX as u64
            || figures.unapplied_bytes.load(Relaxed) > APPLY_LAG_BYTES_MAX as u64
    }

    /// The last batch that is committed.
    pub fn committed(&self) -> Seq {
        self.shared.progress.committed()
    }

    /// The last batch that the state machine has written.
    pub fn applied(&self) -> Seq {
        self.shared.progress.applied()
    }

    /// The last batch that survives the loss of power.
    pub fn synced(&self) -> Seq {
        self.shared.progress.synced()
    }

    /// Has what is committed applied now, and not when there is more of it. Does not wait for it.
    pub fn hurry(&self) {
        let committed = self.committed();
        if committed > self.applied() {
            self.shared.apply_queue.hurry(committed);
        }
    }

    /// Blocks until the state machine holds this batch: not for network threads.
    pub fn wait_applied(&self, seq: Seq) -> Result<(), Stopped> {
        // The caller may be the one that has yet to announce it.
        self.announce();
        self.shared.apply_queue.hurry(seq);
        self.shared.progress.wait_applied(seq)
    }

    pub fn fsync(&self) -> Fsync {
        self.shared.fsync()
    }

    /// Takes effect with the next entry.
    pub fn set_fsync(&self, fsync: Fsync) {
        self.shared.set_fsync(fsync);
        self.shared.sync_bell.ring();
    }

    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// Writes, syncs and applies what was handed in, and ends the group's threads. Nothing may be proposed any more.
    pub fn stop(&self) {
        self.shared.inbox.stop();
        let threads = std::mem::take(&mut *self.threads.lock());
        // The apply thread is the last to end, when the group thread has closed its queue.
        self.shared.sync_bell.stop();
        // An observer may hold the last reference to whoever owns the group: then it is one of these that stops it, and
        // they end by themselves.
        if threads.iter().any(|thread| thread.thread().id() == current().id()) {
            return;
        }
        for thread in threads {
            // One that panicked has said so.
            let _ = thread.join();
        }
        self.shared.progress.note_stopped("it was told to");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop();
    }
}
