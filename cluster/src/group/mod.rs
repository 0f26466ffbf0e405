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
//! With several replicas, messages leave through a [`Transport`] and come in by [`Group::receive`]; a [`Shipment`] and
//! an [`Installation`] are the two ends of a snapshot; [`Observer::role_changed`] says who leads, and
//! [`Group::lease_valid`] whether reads may be served.
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
mod freshness;
mod ids;
mod inbox;
mod install;
pub mod log;
mod machine;
mod mailbox;
pub mod memory_log;
pub mod options;
mod progress;
pub mod rocks_log;
mod role;
#[cfg(test)]
mod several_tests;
mod shared;
pub mod state;
mod syncer;
#[cfg(test)]
mod tests;
mod transport;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{Builder, JoinHandle, current};
use std::time::Instant;

use parking_lot::Mutex;

pub use self::core::{Delivery, Desired, Lane, PeerMessage, Positions, ReplicaProgress, StartError, TransferRefused};
pub use entry::CommittedEntry;
pub use figures::Figures;
pub use ids::{GroupId, LogIndex, ReplicaId, Seq, SeqCounter, Term};
pub use inbox::{TooLate, WriteBatch};
pub use install::{InstallRefused, Installation};
pub use log::{LogError, LogStore};
pub use machine::{ApplyError, Observer, SnapshotSink, StateMachine};
pub use options::{Fsync, GroupOptions, Start};
pub use progress::Stopped;
pub use rocks_log::RocksLog;
pub use role::Role;
pub use shared::Clock;
pub use transport::{ExportError, NoTransport, Shipment, Transport};

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
    /// Starts the replica from its log, or as [`GroupOptions::start`] says. If it decides alone, this returns when it
    /// leads and the state machine has applied all that was committed before, else at once.
    pub fn start(
        options: GroupOptions,
        store: Arc<dyn LogStore>,
        machine: Arc<dyn StateMachine>,
        observer: Arc<dyn Observer>,
        clock: Clock,
    ) -> Result<Arc<Group>, StartError> {
        let core_options = CoreOptions {
            me: options.me,
            start: options.start.clone(),
            // Replicas of a group must not draw the same, and nobody has to repeat it.
            seed: RandomState::new().hash_one(options.me),
            fsync: options.fsync,
            log_bytes_max: options.log_bytes_max,
            election_ticks: ELECTION_TICKS,
        };
        let applied = machine.applied();
        let core = Core::start(&core_options, store.clone(), applied)?;
        let decides_alone = core.members().is_alone(options.me);
        let name = format!("group-{}", options.group);
        let shared = Arc::new(Shared::new(options, store, machine, observer, clock));
        shared.progress.note_applied(core.applied(), None);
        let group = Group { shared: shared.clone(), threads: Mutex::default() };
        let spawn = |what: &'static str, body: Body| {
            let shared = shared.clone();
            let thread = Builder::new().name(format!("{name}-{what}"));
            thread.spawn(move || shared.run(what, body)).map_err(StartError::Thread)
        };
        let own = shared.clone();
        // Each is kept at once: dropping the group stops those that run when a later one cannot be started.
        let started = [
            spawn("apply", Box::new(applier::run)),
            spawn("sync", Box::new(syncer::run)),
            spawn("log", Box::new(move |_| Driver::new(&own, core).run())),
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
        if decides_alone {
            shared.progress.wait_serving().map_err(|stopped| StartError::Stopped(stopped.why))?;
        }
        Ok(Arc::new(group))
    }

    /// Hands in a batch. Called under stripe locks, so that the order of batches is that of evaluation: never waits.
    /// What becomes of it is told to the observer.
    pub fn propose(&self, batch: &[u8]) -> Result<Seq, TooLate> {
        let seq = self.propose_quietly(batch)?;
        self.announce();
        Ok(seq)
    }

    /// Hands in one of several batches: whoever does it calls [`Group::announce`] soon, and waits for nothing before.
    pub fn propose_quietly(&self, batch: &[u8]) -> Result<Seq, TooLate> {
        assert!(batch.len() <= BATCH_BYTES_MAX, "a batch of {} bytes", batch.len());
        self.shared.figures.proposals.fetch_add(1, Relaxed);
        self.shared.figures.proposal_bytes.fetch_add(batch.len() as u64, Relaxed);
        self.shared.inbox.push(batch, &self.shared.figures)
    }

    /// Like [`Group::propose_quietly`] for a large batch of about so many bytes. The group thread writes it out when
    /// its turn has come, since whoever proposes it holds locks.
    pub fn propose_unwritten(&self, about: usize, write: WriteBatch) -> Result<Seq, TooLate> {
        self.shared.figures.proposals.fetch_add(1, Relaxed);
        self.shared.figures.proposal_bytes.fetch_add(about as u64, Relaxed);
        self.shared.inbox.push_unwritten(about, write, &self.shared.figures)
    }

    /// Makes the group thread notice what was handed in.
    pub fn announce(&self) {
        self.shared.inbox.announce();
    }

    /// A message of another replica, as [`Transport::send`] was given it. From any thread; never waits. What makes no
    /// sense is dropped.
    pub fn receive(&self, bytes: &[u8]) {
        let message = PeerMessage::decode(bytes).filter(|message| message.to() == self.shared.options.me);
        if message.is_some_and(|message| self.shared.mailbox.message(message, bytes.len())) {
            self.shared.inbox.poke();
        } else {
            self.shared.figures.dropped_messages.fetch_add(1, Relaxed);
        }
    }

    /// Begins to receive a snapshot: `header` is the first piece of [`Shipment::export`].
    pub fn begin_install(&self, header: &[u8]) -> Result<Installation, InstallRefused> {
        Installation::begin(&self.shared, header)
    }

    /// What this replica is, as of the last change that the observer was told of.
    pub fn role(&self) -> Role {
        self.shared.progress.role()
    }

    /// Whether nobody else can have become the leader by now, so that what is in memory is the newest. To be asked
    /// before and after an evaluation; cheap. Asking keeps the lease alive: if there is none, ask again after
    /// [`Observer::lease_renewed`].
    pub fn lease_valid(&self, now: Instant) -> bool {
        let until = self.shared.progress.lease_until_ns();
        if until == u64::MAX {
            return true;
        }
        self.shared.mailbox.want_lease();
        let is_valid = self.shared.has_lease(now);
        if !is_valid {
            self.shared.inbox.poke();
        }
        is_valid
    }

    /// Begins to find out how old the state machine is, if this replica follows: [`Observer::proven`] says when there
    /// is something new to be learnt from [`Group::fresh_since`]. From any thread; never waits.
    pub fn prove(&self) {
        if !self.shared.mailbox.wants_proof.swap(true, Relaxed) {
            self.shared.inbox.poke();
        }
    }

    /// A moment at which everything was in the group's log up to `applied` that had been committed by then, so that a
    /// state with all of that is not older. None if nothing of the kind was proven yet.
    pub fn fresh_since(&self, applied: LogIndex) -> Option<Instant> {
        self.shared.freshness.since(applied)
    }

    /// Somebody reads from the state machine of this follower: for a while it applies at once what is committed.
    pub fn be_eager(&self) {
        self.shared.apply_queue.be_eager();
    }

    /// Hands the lead over. That it was begun is all this says: the role tells how it ends. Waits for the group thread.
    pub fn transfer_leadership(&self, to: ReplicaId) -> Result<(), TransferRefused> {
        let (answer, awaited) = mailbox::answer();
        self.order(mailbox::Order::Transfer { to, answer });
        awaited.wait().unwrap_or(Err(TransferRefused::NotLeader))
    }

    /// What the members should be: the leader makes it so, step by step. To be told to all replicas; a replica that is
    /// not mentioned is removed.
    pub fn set_desired(&self, desired: Vec<(ReplicaId, Desired)>) {
        self.order(mailbox::Order::Desired(desired));
    }

    /// How far the members are, if this replica leads.
    pub fn replicas(&self) -> Vec<ReplicaProgress> {
        self.shared.progress.replicas()
    }

    /// How far this replica is, as of the group thread's last round.
    pub fn positions(&self) -> Positions {
        self.shared.progress.positions()
    }

    fn order(&self, order: mailbox::Order) {
        self.shared.mailbox.order(order);
        self.shared.inbox.poke();
    }

    /// Too much waits to be written or applied: no further writes should be evaluated for a while.
    pub fn is_congested(&self) -> bool {
        let figures = &self.shared.figures;
        figures.queued_bytes.load(Relaxed) > PROPOSAL_QUEUE_BYTES_MAX as u64
            || figures.unapplied_bytes.load(Relaxed) > APPLY_LAG_BYTES_MAX as u64
    }

    /// The last batch that was handed in.
    pub fn proposed(&self) -> Seq {
        self.shared.inbox.pushed()
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

    /// Has this batch applied as soon as it is committed. Does not wait for it.
    pub fn hurry_to(&self, seq: Seq) {
        self.announce();
        self.shared.apply_queue.hurry(seq);
    }

    /// Blocks until the state machine holds this batch: not for network threads.
    pub fn wait_applied(&self, seq: Seq) -> Result<(), Stopped> {
        // The caller may be the one that has yet to announce it.
        self.hurry_to(seq);
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

    /// A copy of what was counted so far.
    pub fn figures_now(&self) -> Arc<Figures> {
        let copy = Figures::default();
        copy.add(self.figures());
        Arc::new(copy)
    }

    pub fn id(&self) -> GroupId {
        self.shared.options.group
    }

    /// This replica.
    pub fn me(&self) -> ReplicaId {
        self.shared.options.me
    }

    /// Writes, syncs and applies what was handed in, and ends the group's threads. What is proposed from now on is too
    /// late.
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
