//! One replica of a group in one process: does with the actions of its core what the threads of a group do, one step at
//! a time. What concerns its node it hands out as events.

use basalt_cluster::group::core::{Action, Core, PeerMessage, Queue, TICK, Verdict as Offered, WriteNumber};
use basalt_cluster::group::log::{Durability, LogWrite};
use basalt_cluster::group::{CommittedEntry, LogIndex, LogStore, Role, Seq};
use basalt_cluster::ids::{GroupId, ReplicaId};
use basalt_storage::clock::UnixMs;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use basalt_server::durability::tap::Tap;

use crate::disk::{Disk, Flush, Saved};
use crate::faults::Faults;
use crate::machine::{Kind, Machine, Verdict};
use crate::rng::Rng;
use crate::truth::{Checked, Truth, Violation, digest_of};

const CATCH_UP_TICKS_MAX: u64 = 2;

const LEASE_ROUND_MS: u64 = 100;

/// Numbers the batches of a node.
#[derive(Clone, Default)]
pub struct Seqs(Arc<Mutex<u64>>);

impl Seqs {
    pub fn next(&self) -> u64 {
        let mut last = self.0.lock();
        *last += 1;
        *last
    }

    pub fn last(&self) -> u64 {
        *self.0.lock()
    }
}

/// What concerns the node.
pub enum Event {
    Send(PeerMessage),
    Ship {
        message: PeerMessage,
        saved: Saved,
    },
    Committed,
    Unknown(RangeInclusive<u64>),
    Role(Role),
    /// Changes of the map have met their fate, and the map is this one now.
    Decided(Vec<Verdict>),
    Applied,
    /// Its disk failed: the process ends.
    Failed,
}

/// What a step may use.
pub struct Surroundings<'a> {
    pub now: u64,
    pub wall: i64,
    pub rng: &'a mut Rng,
    pub faults: &'a Faults,
    pub truth: &'a mut Truth,
}

struct Underway {
    number: WriteNumber,
    done_at: u64,
    unsynced: usize,
    durability: Durability,
    installs: Option<Saved>,
}

pub struct Replica {
    pub group: GroupId,
    pub id: ReplicaId,
    pub core: Core,
    pub machine: Machine,
    pub role: Role,
    pub taps: Vec<Arc<Tap>>,
    pub arrived: VecDeque<PeerMessage>,
    /// It has served in this reign.
    pub has_served: bool,
    /// The newest version of the map by which slots were sealed before this reign.
    pub inherited_seal: u64,
    pub applied: LogIndex,
    /// The last batches of this process that are applied, whose fate is known, and that are lost.
    pub applied_seq: u64,
    pub settled: u64,
    pub lost: u64,
    /// The last batch that was handed in when slots of it were let go.
    pub left: u64,
    pub proposed: u64,
    process: u64,
    kind: Kind,
    disk: Arc<Disk>,
    inbox: VecDeque<(u64, Vec<u8>)>,
    write: Option<Underway>,
    to_apply: VecDeque<(CommittedEntry, Option<u64>)>,
    flush: Option<Flush>,
    saved: LogIndex,
    lease: Option<Duration>,
    ticked: u64,
    lease_round: u64,
    staged: Option<Saved>,
}

impl Replica {
    pub fn new(
        group: GroupId,
        id: ReplicaId,
        kind: Kind,
        core: Core,
        disk: Arc<Disk>,
        process: u64,
        now: u64,
    ) -> Replica {
        let machine = Machine::load(kind, &disk.saved().bytes);
        let (role, applied) = (core.role(), core.applied());
        Replica {
            group,
            id,
            core,
            machine,
            role,
            taps: Vec::new(),
            arrived: VecDeque::new(),
            has_served: false,
            inherited_seal: 0,
            applied,
            applied_seq: 0,
            settled: 0,
            lost: 0,
            left: 0,
            proposed: 0,
            process,
            kind,
            disk,
            inbox: VecDeque::new(),
            write: None,
            to_apply: VecDeque::new(),
            flush: None,
            saved: applied,
            lease: None,
            ticked: now,
            lease_round: now,
            staged: None,
        }
    }

    pub fn described(&self) -> String {
        let Replica { group, id, role, core, applied, saved, .. } = self;
        let writes = self.write.as_ref().map(|write| write.done_at);
        let waiting = (self.arrived.len(), self.inbox.len(), self.to_apply.len());
        let positions = core.positions();
        format!(
            "replica {id:?} of group {group}: {role:?}, {positions:?}, applied {applied:?}, saved {saved:?}, writing \
             until {writes:?}, waiting {waiting:?}, others {:?}",
            core.replicas()
        )
    }

    pub fn propose(&mut self, seq: u64, batch: Vec<u8>) {
        self.proposed = seq;
        self.inbox.push_back((seq, batch));
    }

    pub fn has_lease(&self, now: u64) -> bool {
        self.lease.is_some_and(|until| Duration::from_millis(now) < until)
    }

    pub fn has_settled(&self) -> bool {
        self.applied_seq >= self.left
    }

    /// The group's slots are not held any more, so nothing can come to depend on what is lost.
    pub fn settle(&mut self) {
        self.settled = self.settled.max(self.lost);
        self.applied_seq = self.applied_seq.max(self.lost);
    }

    /// Reports what is to be known of a state that came from somewhere else.
    pub fn check_state(&self, truth: &mut Truth) -> Checked {
        match &self.machine {
            Machine::Map(None) => Ok(()),
            machine => truth.on_state(self.group, self.applied, digest_of(&machine.bytes())),
        }
    }

    /// One step of the group thread; none if it has nothing to do, or waits for its disk.
    pub fn step(&mut self, world: &mut Surroundings<'_>) -> Result<Option<Event>, Violation> {
        loop {
            if let Some(write) = &self.write {
                if write.done_at > world.now {
                    return Ok(None);
                }
                if let Some(event) = self.end_write(world)? {
                    return Ok(Some(event));
                }
            }
            let Some(action) = self.core.next_action() else { return Ok(None) };
            if let Some(event) = self.perform(action, world)? {
                return Ok(Some(event));
            }
        }
    }

    /// What the group thread takes in when it has nothing else to do.
    pub fn take_input(&mut self, world: &mut Surroundings<'_>) {
        if self.write.is_some() {
            return;
        }
        for _ in 0..1 + world.rng.below(4) {
            if let Some(message) = self.arrived.pop_front() {
                self.core.receive(message);
            }
        }
        self.core.on_applied(self.applied.max(self.core.applied()));
        self.core.on_saved(self.saved.min(self.core.applied()));
        self.tick(world.now);
        if world.now >= self.lease_round + LEASE_ROUND_MS {
            self.lease_round = world.now;
            self.core.begin_lease_round(Duration::from_millis(world.now));
        }
        // Who does not lead learns at once that nothing will come of what waits.
        let room = if self.core.leads() { world.rng.below(5) } else { u64::MAX };
        let count = room.min(self.inbox.len() as u64) as usize;
        if count > 0 && self.core.accepts_proposals() {
            let taken: Vec<_> = self.inbox.drain(..count).collect();
            let (first, up_to) = (Seq(taken[0].0), Seq(taken[count - 1].0));
            let payload = taken.iter().map(|(_, batch)| batch.as_slice()).collect();
            self.core.propose(first, up_to, UnixMs(world.wall), payload);
        }
        let queue = if self.inbox.is_empty() { Queue::Empty } else { Queue::Waiting };
        self.core.advance_transfer(queue);
    }

    fn tick(&mut self, now: u64) {
        let due = (now - self.ticked) / TICK.as_millis() as u64;
        if due == 0 || !self.core.needs_ticks() {
            return;
        }
        self.ticked = now;
        (0..due.min(CATCH_UP_TICKS_MAX)).for_each(|_| self.core.tick());
    }

    fn perform(&mut self, action: Action, world: &mut Surroundings<'_>) -> Result<Option<Event>, Violation> {
        match action {
            Action::Send(message) => return Ok(Some(Event::Send(message))),
            Action::Write { write, durability, number } => self.begin_write(&write, durability, number, world),
            Action::Commit { up_to, entries } => {
                for entry in &entries {
                    world.truth.on_commit(self.group, entry)?;
                }
                let last = entries.len().saturating_sub(1);
                let numbered = entries.into_iter().enumerate();
                let up_to = up_to.map(|seq| seq.0);
                self.to_apply.extend(numbered.map(|(at, entry)| (entry, up_to.filter(|_| at == last))));
                if let Some(up_to) = up_to {
                    self.settled = self.settled.max(up_to);
                    return Ok(Some(Event::Committed));
                }
            }
            Action::Unknown(batches) => {
                let batches = batches.start().0..=batches.end().0;
                self.lost = self.lost.max(*batches.end());
                return Ok(Some(Event::Unknown(batches)));
            }
            Action::Compact { before } => self.disk.compact(before).expect("this disk fails elsewhere"),
            Action::Role(role) => {
                return Ok(Some(Event::Role(role)));
            }
            Action::Lease { until } => self.lease = until,
            Action::Proven { .. } => (),
            Action::Ship(message) => {
                let saved = self.state();
                let message = self.core.describe_snapshot(message, self.applied);
                let message = message.expect("the log is cut behind what is applied only");
                return Ok(Some(Event::Ship { message, saved }));
            }
            Action::Install { state, number } => {
                let mut verdicts = Vec::new();
                while !self.to_apply.is_empty() {
                    verdicts.extend(self.apply_one(world.truth)?);
                }
                let saved = self.staged.take().expect("its data is here");
                // What it would save is replaced.
                self.flush = None;
                self.disk.install(saved.clone(), state);
                self.begin_underway(number, Durability::Synced, Some(saved), world);
                if !verdicts.is_empty() {
                    return Ok(Some(Event::Decided(verdicts)));
                }
            }
        }
        Ok(None)
    }

    fn state(&self) -> Saved {
        Saved { bytes: Arc::new(self.machine.bytes()), applied: self.applied }
    }

    fn begin_write(
        &mut self,
        write: &LogWrite,
        durability: Durability,
        number: WriteNumber,
        world: &mut Surroundings<'_>,
    ) {
        self.disk.write(write, Durability::Written).expect("this disk fails elsewhere");
        self.begin_underway(number, durability, None, world);
    }

    fn begin_underway(
        &mut self,
        number: WriteNumber,
        durability: Durability,
        installs: Option<Saved>,
        world: &mut Surroundings<'_>,
    ) {
        let took = if durability == Durability::Synced {
            let slow = if world.rng.chance(world.faults.slow_sync) { world.rng.below(2500) } else { 0 };
            world.rng.below(world.faults.sync_ms_max + 1) + slow
        } else {
            0
        };
        let unsynced = self.disk.unsynced();
        self.write = Some(Underway { number, done_at: world.now + took, unsynced, durability, installs });
    }

    fn end_write(&mut self, world: &mut Surroundings<'_>) -> Result<Option<Event>, Violation> {
        let Some(done) = self.write.take() else { return Ok(None) };
        if done.durability == Durability::Synced {
            if world.rng.chance(world.faults.sync_failure) {
                self.disk.fail_sync();
                return Ok(Some(Event::Failed));
            }
            self.disk.sync_first(done.unsynced);
        }
        let installed = done.installs.is_some();
        if let Some(saved) = done.installs {
            self.machine = Machine::load(self.kind, &saved.bytes);
            (self.applied, self.saved) = (saved.applied, saved.applied);
            self.check_state(world.truth)?;
        }
        self.core.on_written(done.number);
        // A sole voter leads before anything of its term is on the disk, and can lead in the same again after a crash.
        if let Role::Leader { term, .. } = self.core.role() {
            world.truth.on_lead(self.group, term, self.process)?;
        }
        // The map may be a newer one.
        Ok(installed.then(|| Event::Decided(Vec::new())))
    }

    /// Some steps of the apply thread.
    pub fn apply(&mut self, world: &mut Surroundings<'_>) -> Result<Option<Event>, Violation> {
        if self.to_apply.is_empty() || self.is_installing() || world.rng.chance(300) {
            return Ok(None);
        }
        let mut verdicts = Vec::new();
        for _ in 0..1 + world.rng.below(4) {
            if !self.to_apply.is_empty() {
                verdicts.extend(self.apply_one(world.truth)?);
            }
        }
        let is_map = matches!(self.machine, Machine::Map(_));
        Ok(Some(if is_map { Event::Decided(verdicts) } else { Event::Applied }))
    }

    fn apply_one(&mut self, truth: &mut Truth) -> Result<Vec<Verdict>, Violation> {
        let Some((entry, seq)) = self.to_apply.pop_front() else { return Ok(Vec::new()) };
        let verdicts = self.machine.apply(&entry);
        self.applied = entry.index;
        self.applied_seq = self.applied_seq.max(seq.unwrap_or(0));
        for tap in &self.taps {
            tap.note(&entry).expect("nothing damages it");
        }
        if let Machine::Map(Some(map)) = &self.machine {
            truth.on_map(map)?;
        }
        self.check_state(truth)?;
        Ok(verdicts)
    }

    fn is_installing(&self) -> bool {
        self.write.as_ref().is_some_and(|write| write.installs.is_some())
    }

    /// A flush begins, or ends.
    pub fn flush(&mut self) {
        if self.is_installing() || matches!(self.machine, Machine::Map(None)) {
            return;
        }
        match self.flush.take() {
            // What has applied nothing yet has nothing to save.
            None if self.applied == self.saved => (),
            None => self.flush = Some(self.disk.begin_flush(self.state())),
            Some(flush) => {
                self.saved = flush.saved.applied;
                self.disk.end_flush(flush);
            }
        }
    }

    /// Offers a snapshot to the core. Says whether it is installed now.
    pub fn offer(&mut self, message: PeerMessage, saved: Saved) -> bool {
        if self.staged.is_some() || self.write.is_some() {
            return false;
        }
        let is_taken = self.core.receive_snapshot(message) == Offered::Install;
        if is_taken {
            self.staged = Some(saved);
        }
        is_taken
    }
}
