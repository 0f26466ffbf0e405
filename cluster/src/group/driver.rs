//! The group thread: does what the core asks for, one thing after the other.
//!
//! Group commit needs no timer: while one write is synced, the next entry gathers in the inbox.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::applier::bytes_of;
use super::core::{Action, Core};
use super::ids::Seq;
use super::inbox::Room;
use super::log::{Durability, LogError, LogWrite};
use super::progress::Serves;
use super::shared::{Fatal, Shared};
use super::syncer;

/// The unit in which elections and heartbeats are timed.
const TICK: Duration = Duration::from_millis(50);

/// After a stall, time is not caught up with: a burst of ticks would start elections that nobody needs.
const CATCH_UP_TICKS_MAX: u32 = 2;

/// How long to wait for those who were just answered, before the next write with a sync: for all of them during half of
/// the time that a sync takes, since whoever misses it waits for two; for half of them a little longer, since a sync
/// also costs CPU time, which the others need meanwhile. No longer than the maximum, because they may not come.
const GATHER_PART: u32 = 2;
const GATHER_ALL_MAX: Duration = Duration::from_millis(1);
const GATHER_HALF_MAX: Duration = Duration::from_millis(3);

pub(super) struct Driver<'a> {
    shared: &'a Shared,
    core: Core,
    /// Of the last write: a sync also covers all writes before it.
    last_write: Durability,
    /// How long the last write with a sync took.
    sync_time: Duration,
    ticked: Instant,
}

impl<'a> Driver<'a> {
    pub(super) fn new(shared: &'a Shared, core: Core) -> Driver<'a> {
        Driver { shared, core, last_write: Durability::Written, sync_time: Duration::ZERO, ticked: Instant::now() }
    }

    /// The body of the group thread. Ends when the group is stopped and nothing is left to write.
    pub(super) fn run(mut self) -> Result<(), Fatal> {
        loop {
            self.perform()?;
            self.note_serving();
            let room = if self.core.accepts_proposals() { Room::Some } else { Room::None };
            let patience = self.core.needs_ticks().then_some(TICK);
            let taken = self.shared.inbox.take(room, patience, &self.shared.figures);
            self.core.set_fsync(self.shared.fsync());
            self.core.on_applied(self.shared.progress.applied_index().max(self.core.applied()));
            self.tick();
            if let Some((up_to, batches)) = taken.batches {
                self.core.propose(up_to, (self.shared.clock)(), batches);
            }
            if taken.is_over {
                self.perform()?;
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
                    // Clients first: the state machine is in no hurry.
                    if let Some(up_to) = up_to {
                        self.tell_committed(up_to);
                    }
                    let bytes: usize = entries.iter().map(bytes_of).sum();
                    shared.figures.unapplied.fetch_add(entries.len() as u64, Relaxed);
                    shared.figures.unapplied_bytes.fetch_add(bytes as u64, Relaxed);
                    shared.apply_queue.push(entries);
                }
                Action::Unknown(batches) => shared.observer.unknown(batches),
                Action::Compact { before } => {
                    shared.store.compact(before).map_err(|error| Fatal(error.to_string()))?;
                    shared.figures.compactions.fetch_add(1, Relaxed);
                }
                // There is no transport yet. Raft takes it for a lost message.
                Action::Send(message) => tracing::debug!(to = message.to().0, "no way to reach another replica"),
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

    fn tell_committed(&self, up_to: Seq) {
        if self.last_write == Durability::Synced {
            let answered = up_to.0 - self.shared.progress.committed().0;
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

    fn note_serving(&self) {
        if self.shared.progress.serves() == Serves::NotYet && self.core.serves() {
            self.shared.progress.note_serving();
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
