//! The group thread: does what the core asks for, one thing after the other.
//!
//! Group commit needs no timer: while one write is synced, the next entry gathers in the inbox.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::applier::bytes_of;
use super::core::{Action, Core, Delivery, Queue, TICK, Verdict, WriteNumber};
use super::freshness::{News, Proof};
use super::ids::{LogIndex, Seq, Term};
use super::inbox::{Batches, Room};
use super::log::{Durability, LogError, LogWrite};
use super::machine::SnapshotSink;
use super::mailbox::{Answer, Order};
use super::progress::Serves;
use super::role::Role;
use super::shared::{Fatal, Shared};
use super::state::LogState;
use super::syncer;
use super::transport::Shipment;

/// After a stall, time is not caught up with: a burst of ticks would start elections that nobody needs.
const CATCH_UP_TICKS_MAX: u32 = 2;

/// How long to wait for those who were just answered, before the next write with a sync: for all of them during half of
/// the time that a sync takes, since whoever misses it waits for two; for half of them a little longer, since a sync
/// also costs CPU time, which the others need meanwhile. No longer than the maximum, because they may not come.
const GATHER_PART: u32 = 2;
const GATHER_ALL_MAX: Duration = Duration::from_millis(1);
const GATHER_HALF_MAX: Duration = Duration::from_millis(3);

/// How often the lease is renewed while somebody reads, and how soon it is asked for again when there is none.
const LEASE_ROUND: Duration = Duration::from_millis(100);
const LEASE_RETRY: Duration = Duration::from_millis(10);

/// How soon a follower asks again: each question is a round of heartbeats. And how soon if it has got no answer.
const PROOF_PAUSE: Duration = Duration::from_millis(5);
const PROOF_RETRY: Duration = Duration::from_millis(50);

pub(super) struct Driver<'a> {
    shared: &'a Arc<Shared>,
    core: Core,
    /// The last entry that the apply thread was given.
    handed_out: LogIndex,
    /// The data of a snapshot that the core has taken, and who waits for it to be installed.
    staged: Option<(Box<dyn SnapshotSink>, Answer<Verdict>)>,
    /// The last batches of entries whose fate is open, and how many each has: other groups have numbers between.
    proposed: VecDeque<(Seq, u64)>,
    lease_round: Instant,
    proof_asked: Instant,
    had_others: bool,
    /// The last term of which the leader was known.
    known_reign: Option<Term>,
    /// The term in which this replica leads, as its observer knows it.
    own_reign: Option<Term>,
    /// What waits for the log was evaluated in a reign that is over.
    waits_in_vain: bool,
    /// Of the last write: a sync also covers all writes before it.
    last_write: Durability,
    /// How long the last write with a sync took.
    sync_time: Duration,
    ticked: Instant,
}

impl<'a> Driver<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, core: Core) -> Driver<'a> {
        let now = Instant::now();
        let last_write = Durability::Written;
        Driver {
            shared,
            core,
            handed_out: LogIndex(0),
            staged: None,
            proposed: VecDeque::new(),
            lease_round: now,
            proof_asked: now,
            had_others: true,
            known_reign: None,
            own_reign: None,
            waits_in_vain: false,
            last_write,
            sync_time: Duration::ZERO,
            ticked: now,
        }
    }

    /// The body of the group thread. Ends when the group is stopped and nothing is left to write.
    pub(super) fn run(mut self) -> Result<(), Fatal> {
        loop {
            self.perform()?;
            // Said before looking once more: what is applied from now on wakes this thread.
            let awaits_applied = self.core.awaits_applied();
            self.shared.progress.set_awaits_applied(awaits_applied);
            if awaits_applied {
                self.shared.apply_queue.hurry_all();
            }
            self.note_applied();
            self.perform()?;
            self.note_progress();
            self.ask_for_proof();
            self.perform()?;
            self.refuse_what_waits();
            let room = if self.core.accepts_proposals() { Room::Some } else { Room::None };
            let patience = self.core.needs_ticks().then_some(if self.is_pausing() { PROOF_PAUSE } else { TICK });
            let taken = self.shared.inbox.take(room, patience, &self.shared.figures);
            self.core.set_fsync(self.shared.fsync());
            self.note_applied();
            self.tick();
            for order in self.shared.mailbox.take() {
                self.follow(order)?;
            }
            self.renew_lease();
            if let Some(Batches { first, up_to, count, payload }) = taken.batches {
                self.proposed.push_back((up_to, count));
                self.core.propose(first, up_to, (self.shared.clock)(), payload);
            }
            self.core.advance_transfer(if taken.has_more { Queue::Waiting } else { Queue::Empty });
            if taken.is_over {
                self.perform()?;
                self.shared.mailbox.close();
                self.shared.apply_queue.close();
                return syncer::sync_now(self.shared);
            }
        }
    }

    fn perform(&mut self) -> Result<(), Fatal> {
        let shared = self.shared;
        while let Some(action) = self.core.next_action() {
            match action {
                Action::Write { write, durability, number } => {
                    self.write(&write, durability).map_err(|error| Fatal(error.to_string()))?;
                    self.core.on_written(number);
                }
                Action::Commit { up_to, entries } => {
                    // Whoever sees that something is committed sees the log that has it.
                    shared.progress.set_positions(self.core.positions());
                    // Clients first: the state machine is in no hurry.
                    if let Some(up_to) = up_to {
                        self.tell_committed(up_to);
                    }
                    let bytes: usize = entries.iter().map(bytes_of).sum();
                    shared.figures.unapplied.fetch_add(entries.len() as u64, Relaxed);
                    shared.figures.unapplied_bytes.fetch_add(bytes as u64, Relaxed);
                    self.handed_out = entries.last().map_or(self.handed_out, |entry| entry.index);
                    shared.apply_queue.push(entries);
                }
                Action::Unknown(batches) => {
                    self.forget_proposed(*batches.end());
                    shared.observer.unknown(batches);
                }
                Action::Compact { before } => {
                    shared.store.compact(before).map_err(|error| Fatal(error.to_string()))?;
                    shared.figures.compactions.fetch_add(1, Relaxed);
                }
                Action::Role(role) => {
                    self.count_leader(role);
                    shared.progress.set_role(role);
                    shared.observer.role_changed(role);
                    let reign = matches!(role, Role::Leader { .. }).then(|| role.term());
                    let former = std::mem::replace(&mut self.own_reign, reign);
                    self.waits_in_vain |= former.is_some() && former != reign;
                }
                Action::Lease { until } => self.note_lease(until),
                Action::Proven { since, index } => self.note_proof(Proof { since: shared.began + since, index }),
                Action::Send(message) => shared.options.transport.send(shared.options.group, message),
                Action::Ship(message) => {
                    shared.options.transport.ship(shared.options.group, Shipment::new(shared, message));
                }
                Action::Install { state, number } => self.install(&state, number)?,
            }
        }
        shared.figures.log_bytes.store(self.core.log_bytes(), Relaxed);
        Ok(())
    }

    fn write(&mut self, write: &LogWrite, durability: Durability) -> Result<(), LogError> {
        let began = Instant::now();
        self.shared.store.write(write, durability)?;
        let figures = &self.shared.figures;
        let latency = if durability == Durability::Synced { &figures.synced_writes } else { &figures.writes };
        let took = began.elapsed();
        latency.record(took);
        self.sync_time = if durability == Durability::Synced { took } else { Duration::ZERO };
        figures.entries.fetch_add(write.entries.len() as u64, Relaxed);
        figures.log_bytes_written.fetch_add(write.entry_bytes() as u64, Relaxed);
        self.last_write = durability;
        Ok(())
    }

    fn count_leader(&mut self, role: Role) {
        if !role.knows_leader() || self.known_reign == Some(role.term()) {
            return;
        }
        self.known_reign = Some(role.term());
        self.shared.figures.leader_changes.fetch_add(1, Relaxed);
        if matches!(role, Role::Leader { .. }) {
            self.shared.figures.elections_won.fetch_add(1, Relaxed);
        }
    }

    /// What was evaluated in a reign that is over must not get into the log in a later one: others may have changed
    /// meanwhile what it changes. The observer knows of the end, so nothing more of that reign comes.
    fn refuse_what_waits(&mut self) {
        if std::mem::take(&mut self.waits_in_vain)
            && let Some((first, up_to)) = self.shared.inbox.give_up(&self.shared.figures)
        {
            self.core.refuse(first, up_to);
        }
    }

    /// How many batches of this group there are up to here that have not met their fate before.
    fn forget_proposed(&mut self, up_to: Seq) -> u64 {
        let mut count = 0;
        while let Some((_, batches)) = self.proposed.front().filter(|(last, _)| *last <= up_to) {
            count += batches;
            self.proposed.pop_front();
        }
        count
    }

    fn tell_committed(&mut self, up_to: Seq) {
        let answered = self.forget_proposed(up_to);
        if self.last_write == Durability::Synced {
            let all = (self.sync_time / GATHER_PART).min(GATHER_ALL_MAX);
            self.shared.inbox.expect(answered, all, (3 * self.sync_time).min(GATHER_HALF_MAX));
        }
        self.shared.progress.note_committed(up_to);
        self.shared.observer.committed(up_to);
        if self.last_write == Durability::Synced {
            self.shared.progress.note_synced(up_to);
            self.shared.observer.synced(up_to);
        }
    }

    fn note_applied(&mut self) {
        self.core.on_applied(self.shared.progress.applied_index().max(self.core.applied()));
        self.core.on_saved(self.shared.machine.saved().min(self.core.applied()));
    }

    fn note_progress(&mut self) {
        let progress = &self.shared.progress;
        if progress.serves() == Serves::NotYet && self.core.serves() {
            progress.note_serving();
        }
        // A replica that is alone says so once, when the last other one has gone.
        progress.set_positions(self.core.positions());
        let has_others = self.core.has_others();
        if has_others || self.had_others {
            progress.set_replicas(self.core.replicas());
        }
        self.had_others = has_others;
    }

    fn follow(&mut self, order: Order) -> Result<(), Fatal> {
        match order {
            Order::Message(message) => self.core.receive(message),
            Order::Transfer { to, answer } => answer.give(self.core.transfer_leadership(to)),
            Order::Desired(desired) => self.core.set_desired(desired),
            Order::Describe { message, index, answer } => answer.give(self.core.describe_snapshot(message, index)),
            Order::Shipped { to, delivery } => {
                if delivery == Delivery::Installed {
                    self.shared.figures.snapshots_sent.fetch_add(1, Relaxed);
                }
                self.core.on_shipped(to, delivery);
            }
            Order::Offer { message, data, answer } => match self.core.receive_snapshot(message) {
                Verdict::Install => {
                    self.staged = Some((data, answer));
                    // At once, so that nothing comes between.
                    self.perform()?;
                }
                Verdict::Discard => answer.give(Verdict::Discard),
            },
        }
        Ok(())
    }

    /// Makes a snapshot the state of this replica.
    fn install(&mut self, state: &LogState, number: WriteNumber) -> Result<(), Fatal> {
        let (data, answer) = self.staged.take().expect("the core takes a snapshot only when its data is here");
        let shared = self.shared;
        shared.apply_queue.hurry_all();
        shared.progress.wait_applied_index(self.handed_out).map_err(|stopped| Fatal(stopped.why))?;
        let index = state.truncated.index;
        data.install(state).map_err(|error| Fatal(format!("a snapshot could not be installed: {error}")))?;
        self.handed_out = index;
        shared.note_applied(index, None);
        shared.figures.snapshots_installed.fetch_add(1, Relaxed);
        shared.observer.installed(index);
        self.core.on_written(number);
        answer.give(Verdict::Install);
        Ok(())
    }

    fn renew_lease(&mut self) {
        if !self.shared.mailbox.wants_lease.load(Relaxed) || !self.core.leads() {
            return;
        }
        let now = Instant::now();
        let pause = if self.shared.has_lease(now) { LEASE_ROUND } else { LEASE_RETRY };
        if now.duration_since(self.lease_round) >= pause {
            self.shared.mailbox.wants_lease.store(false, Relaxed);
            self.lease_round = now;
            self.core.begin_lease_round(now.duration_since(self.shared.began));
        }
    }

    fn ask_for_proof(&mut self) {
        let wanted = &self.shared.mailbox.wants_proof;
        let now = Instant::now();
        let pause = if self.core.awaits_proof() { PROOF_RETRY } else { PROOF_PAUSE };
        let is_due = now.duration_since(self.proof_asked) >= pause;
        if is_due && wanted.load(Relaxed) && self.core.begin_proof(now.duration_since(self.shared.began)) {
            wanted.store(false, Relaxed);
            self.proof_asked = now;
        }
    }

    /// Whether a question waits only for the last one to be long enough ago.
    fn is_pausing(&self) -> bool {
        let is_idle = || !self.core.awaits_proof() && self.proof_asked.elapsed() < PROOF_PAUSE;
        self.shared.mailbox.wants_proof.load(Relaxed) && !self.core.leads() && is_idle()
    }

    fn note_proof(&self, proof: Proof) {
        let shared = self.shared;
        if shared.freshness.add(proof, || shared.progress.applied_index()) == News::Yes {
            shared.observer.proven();
        } else {
            shared.apply_queue.hurry_all();
        }
    }

    fn note_lease(&self, until: Option<Duration>) {
        let had_lease = self.shared.has_lease(Instant::now());
        let until_ns = until.map_or(0, |until| u64::try_from(until.as_nanos()).unwrap_or(u64::MAX));
        self.shared.progress.set_lease(until_ns);
        if until.is_some() && !had_lease {
            self.shared.observer.lease_renewed();
        }
    }

    fn tick(&mut self) {
        if !self.core.needs_ticks() {
            return;
        }
        let due = self.ticked.elapsed().as_millis() / TICK.as_millis();
        if due > 0 {
            self.ticked = Instant::now();
        }
        for _ in 0..due.min(CATCH_UP_TICKS_MAX.into()) {
            self.core.tick();
        }
    }
}
