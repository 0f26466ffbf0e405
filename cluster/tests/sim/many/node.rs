//! One process of a replica: does with the actions of its core what the threads of a group do, one step at a time.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use basalt_cluster::group::core::{Action, Core, PeerMessage, Queue, TICK, WriteNumber};
use basalt_cluster::group::log::{Durability, LogWrite};
use basalt_cluster::group::{CommittedEntry, LogIndex, LogStore, Role, Seq};
use basalt_storage::clock::UnixMs;

use super::bugs::Bug;
use super::faults::Faults;
use super::truth::{self, Truth};
use crate::checkers::{Checked, Violation};
use crate::disk::{Disk, Flush, Item, Op};
use crate::rng::Rng;

/// What a process does in one round at most.
const STEPS_MAX: u64 = 12;

const CATCH_UP_TICKS_MAX: u64 = 2;

/// As long as the lease of a core with these election timeouts, for bugs that make it begin at another time.
const LEASE_MS: u64 = 800;

const LEASE_ROUND_MS: u64 = 100;

pub struct Node {
    pub core: Core,
    pub replica: u64,
    pub process: u64,
    pub disk: Arc<Disk>,
    bug: Bug,
    pub inbox: VecDeque<(Seq, Item)>,
    pushed: Seq,
    taken: Seq,
    id_by_seq: BTreeMap<u64, u64>,
    committed: Seq,
    unknown: Vec<RangeInclusive<Seq>>,
    write: Option<Underway>,
    to_apply: VecDeque<CommittedEntry>,
    pub applied: LogIndex,
    /// Of its own: when something is flushed must not change what happens between replicas.
    flush_rng: Rng,
    flush: Option<Flush>,
    saved: LogIndex,
    pub delivered: LogIndex,
    state: u64,
    pub role: Role,
    lease: Option<Duration>,
    ticked: u64,
    lease_round: u64,
    /// What was acknowledged when this replica, as a follower, asked how old its state is.
    asked: BTreeMap<Duration, LogIndex>,
    pub arrived: VecDeque<PeerMessage>,
    /// The data of a snapshot that its core has taken.
    staged: Option<Vec<Item>>,
    /// The last write cut off the end of the log.
    was_overruled: bool,
    /// Its disk failed.
    has_ended: bool,
}

struct Underway {
    number: WriteNumber,
    done_at: u64,
    unsynced: usize,
    durability: Durability,
    installs: Option<LogIndex>,
}

/// What a process wants of the world around it.
pub enum Wish {
    Send(PeerMessage),
    Ship {
        message: PeerMessage,
        items: Vec<Item>,
    },
    /// Its disk failed.
    End,
}

/// What a step may use.
pub struct Surroundings<'a> {
    pub now: u64,
    pub rng: &'a mut Rng,
    pub faults: &'a Faults,
    pub truth: &'a mut Truth,
    pub wishes: &'a mut Vec<Wish>,
}

impl Node {
    pub fn new(core: Core, replica: u64, process: u64, disk: Arc<Disk>, bug: Bug, now: u64) -> Node {
        let (applied, state) = {
            let contents = disk.contents.lock();
            (contents.seen.applied, truth::fold_items(truth::EMPTY, &contents.seen.items))
        };
        let (role, delivered) = (core.role(), core.applied());
        Node {
            core,
            replica,
            process,
            disk,
            bug,
            inbox: VecDeque::new(),
            pushed: Seq(0),
            taken: Seq(0),
            id_by_seq: BTreeMap::new(),
            committed: Seq(0),
            unknown: Vec::new(),
            write: None,
            to_apply: VecDeque::new(),
            applied,
            flush_rng: Rng::new(process << 8 | replica),
            flush: None,
            saved: applied,
            delivered,
            state,
            role,
            lease: None,
            ticked: now,
            lease_round: now,
            asked: BTreeMap::new(),
            arrived: VecDeque::new(),
            staged: None,
            was_overruled: false,
            has_ended: false,
        }
    }

    pub fn check_start(&self, truth: &Truth) -> Checked {
        truth.check_state(self.replica, self.applied, self.state)
    }

    pub fn propose(&mut self, item: Item) {
        // A counter that other groups use as well.
        self.pushed = Seq(self.pushed.0 + 1 + item.id % 3);
        self.id_by_seq.insert(self.pushed.0, item.id);
        self.inbox.push_back((self.pushed, item));
    }

    /// A client reads, if the leader may serve it.
    pub fn read(&mut self, now: u64, truth: &Truth) -> Checked {
        let leads = matches!(self.role, Role::Leader { .. });
        let serves = if self.bug == Bug::ReadsTooEarly { leads } else { self.role.serves() };
        let has_lease = match self.bug {
            Bug::LeaseForever | Bug::ReadsTooEarly => leads,
            _ => self.has_lease(now),
        };
        let serves = serves || (self.bug == Bug::LeaseThroughTransfer && leads && self.core.serves());
        if serves && has_lease { truth.on_read(self.replica, self.delivered) } else { Ok(()) }
    }

    /// Everything handed in has met its fate, and everything committed is applied.
    pub fn is_idle(&self) -> bool {
        let is_settled =
            |seq: &u64| *seq <= self.committed.0 || self.unknown.iter().any(|lost| lost.contains(&Seq(*seq)));
        let is_at_rest = self.write.is_none() && self.to_apply.is_empty() && self.inbox.is_empty();
        is_at_rest && self.id_by_seq.keys().rev().take_while(|seq| !is_settled(seq)).count() == 0
    }

    pub fn has_lease(&self, now: u64) -> bool {
        self.lease.is_some_and(|until| millis(now) < until)
    }

    /// Some steps of all its threads.
    pub fn step(&mut self, world: &mut Surroundings<'_>) -> Checked {
        for _ in 0..=world.rng.below(STEPS_MAX) {
            if let Some(write) = &self.write {
                let is_done = write.done_at <= world.now;
                let waits = world.faults.blocks && self.bug != Bug::SaidBeforeSync || write.installs.is_some();
                if is_done {
                    self.end_write(world)?;
                    if self.has_ended {
                        return Ok(());
                    }
                } else if waits {
                    break;
                }
            }
            // One write at a time; another action may come before it.
            if self.write.is_some() && self.bug != Bug::SaidBeforeSync {
                self.take_input(world)?;
                break;
            }
            match self.core.next_action() {
                Some(action) => self.perform(action, world)?,
                None => self.take_input(world)?,
            }
        }
        if world.rng.chance(600) && !self.is_installing() {
            self.apply(world)?;
        }
        if self.flush_rng.chance(200) {
            self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) {
        match self.flush.take() {
            None => self.flush = Some(self.disk.begin_flush()),
            Some(flush) => {
                self.saved = flush.applied;
                self.disk.end_flush(flush);
            }
        }
    }

    /// A crash would now meet a change that is easily done by halves.
    pub fn is_critical(&self) -> bool {
        self.is_installing() || self.was_overruled
    }

    fn is_installing(&self) -> bool {
        self.write.as_ref().is_some_and(|write| write.installs.is_some())
    }

    fn take_input(&mut self, world: &mut Surroundings<'_>) -> Checked {
        for _ in 0..world.rng.below(4) {
            if let Some(message) = self.arrived.pop_front() {
                self.core.receive(message);
            }
        }
        self.core.on_applied(self.applied.max(self.core.applied()));
        self.core.on_saved(self.saved.min(self.core.applied()));
        self.tick(world.now);
        if world.now >= self.lease_round + LEASE_ROUND_MS {
            self.lease_round = world.now;
            self.core.begin_lease_round(millis(world.now));
            // Not each time: a process takes few messages at a time.
            let is_turn = (world.now / LEASE_ROUND_MS + self.replica).is_multiple_of(3);
            if world.faults.asks && is_turn && self.core.begin_proof(millis(world.now)) {
                self.asked.insert(millis(world.now), world.truth.last_acked());
            }
        }
        let count = world.rng.below(4).min(self.inbox.len() as u64) as usize;
        if count > 0 && self.core.accepts_proposals() {
            let taken: Vec<_> = self.inbox.drain(..count).collect();
            let (first, up_to) = (taken[0].0, taken[count - 1].0);
            self.taken = up_to;
            let batches: Vec<Vec<u8>> = taken.iter().map(|(_, item)| item.encode()).collect();
            // Clocks of nodes differ.
            let clock = world.now as i64 + 37 * (self.replica as i64 % 3);
            self.core.propose(first, up_to, UnixMs(clock), batches.iter().map(Vec::as_slice).collect());
        }
        let queue = if self.inbox.is_empty() { Queue::Empty } else { Queue::Waiting };
        self.core.advance_transfer(queue);
        Ok(())
    }

    fn tick(&mut self, now: u64) {
        let due = (now - self.ticked) / TICK.as_millis() as u64;
        if due == 0 || !self.core.needs_ticks() {
            return;
        }
        self.ticked = now;
        (0..due.min(CATCH_UP_TICKS_MAX)).for_each(|_| self.core.tick());
    }

    fn perform(&mut self, action: Action, world: &mut Surroundings<'_>) -> Checked {
        match action {
            Action::Send(message) => world.wishes.push(Wish::Send(message)),
            Action::Write { write, durability, number } => self.begin_write(write, durability, number, world)?,
            Action::Commit { up_to, entries } => {
                for entry in &entries {
                    world.truth.on_commit(self.replica, entry, &self.disk.contents.lock())?;
                    self.delivered = entry.index;
                }
                self.acknowledge(up_to, world.truth)?;
                self.to_apply.extend(entries);
            }
            Action::Unknown(batches) => {
                if self.bug == Bug::UnknownAcknowledged {
                    self.acknowledge(Some(*batches.end()), world.truth)?;
                }
                self.unknown.push(batches);
            }
            Action::Compact { before } => self.disk.compact(before).expect("this disk fails elsewhere"),
            Action::Role(role) => {
                self.role = role;
                world.truth.note(role.term().0);
                if let Role::Leader { term, .. } = role {
                    world.truth.on_lead(self.replica, self.process, term, &self.disk.contents.lock())?;
                }
            }
            Action::Lease { until } => {
                let from_the_end = until.filter(|until| *until != Duration::MAX).map(|_| millis(world.now + LEASE_MS));
                match self.bug {
                    Bug::LeaseFromTheEnd => self.lease = from_the_end.or(until),
                    Bug::LeaseThroughTransfer if until.is_none() && self.core.leads() => (),
                    _ => self.lease = until,
                }
            }
            Action::Proven { since, index } => {
                let before = match self.bug {
                    Bug::ProofFromTheEnd => world.truth.last_acked(),
                    _ => self.asked[&since],
                };
                self.asked.retain(|asked, _| *asked > since);
                world.truth.on_proof(self.replica, before, index)?;
            }
            Action::Ship(message) => {
                let contents = self.disk.contents.lock();
                let mut items = contents.seen.items.clone();
                if self.bug == Bug::SnapshotTooOld {
                    items.pop();
                }
                let message = self.core.describe_snapshot(message, contents.seen.applied);
                let message = message.expect("the log is cut behind what is applied only");
                world.wishes.push(Wish::Ship { message, items });
            }
            Action::Install { state, number } => {
                while !self.to_apply.is_empty() {
                    self.apply(world)?;
                }
                let items = self.staged.take().expect("its data is here");
                // What it would save is replaced.
                self.flush = None;
                let applied = state.truncated.index;
                if self.bug == Bug::InstallInTwoWrites {
                    self.disk.append(Op::Install { items: items.clone(), applied, state: None });
                }
                self.disk.append(Op::Install { items, applied, state: Some(state) });
                self.begin_underway(number, Durability::Synced, Some(applied), world);
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, up_to: Option<Seq>, truth: &mut Truth) -> Checked {
        let Some(up_to) = up_to else { return Ok(()) };
        let up_to = if self.bug == Bug::AckWholeQueue { self.pushed } else { up_to };
        if up_to <= self.committed {
            return Err(Violation { checker: "AckOnce", what: format!("{up_to:?} after {:?}", self.committed) });
        }
        let told = self.id_by_seq.range(self.committed.0 + 1..=up_to.0);
        for (seq, id) in told.filter(|(seq, _)| !self.unknown.iter().any(|lost| lost.contains(&Seq(**seq)))) {
            truth.note(*seq);
            truth.on_ack(*id)?;
        }
        self.committed = up_to;
        if self.unknown.iter().any(|lost| lost.contains(&up_to)) {
            let what = format!("{up_to:?} was said to be of unknown fate");
            return Err(Violation { checker: "UnknownIsFinal", what });
        }
        Ok(())
    }

    fn begin_write(
        &mut self,
        mut write: LogWrite,
        mut durability: Durability,
        number: WriteNumber,
        world: &mut Surroundings<'_>,
    ) -> Checked {
        world.truth.on_write(&write.entries)?;
        self.was_overruled = write.delete_tail.is_some();
        match self.bug {
            Bug::VoteNotSynced if write.entries.is_empty() => durability = Durability::Written,
            Bug::TailKept => write.delete_tail = None,
            Bug::CompactBeforeSync if write.entries.is_empty() => durability = Durability::Written,
            Bug::MembersNotWritten => {
                if let Some(state) = &mut write.state {
                    let before = self.disk.contents.lock().seen.log.state.clone();
                    let before = before.filter(|before| !before.members.voters.is_empty());
                    if let Some(before) = before {
                        state.members = before.members;
                    }
                }
            }
            _ => (),
        }
        self.disk.append(Op::Log(write));
        self.begin_underway(number, durability, None, world);
        if self.bug == Bug::SaidBeforeSync {
            self.core.on_written(number);
        }
        Ok(())
    }

    fn begin_underway(
        &mut self,
        number: WriteNumber,
        durability: Durability,
        installs: Option<LogIndex>,
        world: &mut Surroundings<'_>,
    ) {
        let slow = if world.rng.chance(world.faults.slow_sync) { world.rng.below(2500) } else { 0 };
        let took =
            if durability == Durability::Synced { world.rng.below(world.faults.sync_ms_max + 1) + slow } else { 0 };
        let unsynced = self.disk.unsynced();
        self.write = Some(Underway { number, done_at: world.now + took, unsynced, durability, installs });
    }

    fn end_write(&mut self, world: &mut Surroundings<'_>) -> Checked {
        let Some(done) = self.write.take() else { return Ok(()) };
        if done.durability == Durability::Synced {
            if world.rng.chance(world.faults.sync_failure) {
                self.disk.fail_sync();
                self.has_ended = true;
                world.wishes.push(Wish::End);
                return Ok(());
            }
            self.disk.sync_first(done.unsynced);
        }
        if let Some(index) = done.installs {
            (self.applied, self.delivered, self.saved) = (index, index, index);
            self.state = truth::fold_items(truth::EMPTY, &self.disk.contents.lock().seen.items);
            world.truth.check_state(self.replica, self.applied, self.state)?;
        }
        if self.bug != Bug::SaidBeforeSync || done.installs.is_some() {
            self.core.on_written(done.number);
        }
        Ok(())
    }

    fn apply(&mut self, world: &mut Surroundings<'_>) -> Checked {
        let count = (1 + world.rng.below(4)).min(self.to_apply.len() as u64) as usize;
        let entries: Vec<_> = self.to_apply.drain(..count).collect();
        let Some(last) = entries.last().map(|entry| entry.index) else { return Ok(()) };
        let items: Vec<Item> = entries.iter().flat_map(CommittedEntry::batches).map(Item::decode).collect();
        self.state = truth::fold_items(self.state, &items);
        self.applied = last;
        if self.bug == Bug::AppliedAfterData {
            self.disk.append(Op::Data { items, applied: None });
            if self.flush_rng.chance(200) {
                self.flush = Some(self.disk.begin_flush());
            }
            self.disk.append(Op::Data { items: Vec::new(), applied: Some(last) });
        } else {
            self.disk.append(Op::Data { items, applied: Some(last) });
        }
        world.truth.check_state(self.replica, self.applied, self.state)
    }

    /// Offers a snapshot to the core. Says whether it is installed now.
    pub fn offer(&mut self, message: PeerMessage, items: Vec<Item>) -> bool {
        use basalt_cluster::group::core::Verdict;
        if self.staged.is_some() || self.is_installing() {
            return false;
        }
        let is_taken = self.core.receive_snapshot(message) == Verdict::Install;
        if is_taken {
            self.staged = Some(items);
        }
        is_taken
    }
}

fn millis(now: u64) -> Duration {
    Duration::from_millis(now)
}
