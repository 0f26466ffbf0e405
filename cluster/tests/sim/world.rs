//! One simulated node from a seed: clients, the group's core, its disk, and faults between any two steps.
//!
//! Does with the core's actions what the group thread and the apply thread do, but one step at a time, in an order that
//! chance chooses. The shell's rules that matter (what is told when, what a sync covers) are repeated here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use basalt_cluster::group::core::{Action, Core, CoreOptions, WriteNumber};
use basalt_cluster::group::log::{Durability, LogWrite};
use basalt_cluster::group::{CommittedEntry, Fsync, LogIndex, LogStore, ReplicaId, Seq, Start, StartError, Term};
use basalt_storage::clock::UnixMs;

use crate::checkers::{
    AppliedNeverAhead, AppliedOnce, Checked, NoLostAck, NothingFalseAcked, OneLeaderPerTerm, OrderPerSlot, Violation,
    damage_refused, restart_works, settles,
};
use crate::disk::{Disk, Flush, Item, Op};
use crate::planted::Planted;
use crate::rng::Rng;

const STEPS: u64 = 600;

/// Steps without crashes and clients after which everything must have come to rest.
const SETTLING_STEPS: u64 = 20_000;

const SLOTS: u64 = 4;

/// How a run ended, to compare a replay with the run it repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub violation: Option<Violation>,
    /// A digest of everything that happened.
    pub events: u64,
    pub acked: u64,
    pub crashes: u64,
    pub compactions: u64,
}

pub struct World {
    rng: Rng,
    planted: Planted,
    disk: Arc<Disk>,
    node: Option<Node>,
    faults: Faults,
    clients: Clients,
    next_id: u64,
    processes: u64,
    is_damaged: bool,
    no_lost_ack: NoLostAck,
    order: OrderPerSlot,
    leaders: OneLeaderPerTerm,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Clients {
    Busy,
    Silent,
}

/// How likely things are in this run, per mille of steps.
struct Faults {
    power_loss: u64,
    kill: u64,
    sync_failure: u64,
    damage: u64,
    mode_change: u64,
    log_bytes_max: u64,
}

/// A process.
struct Node {
    core: Core,
    fsync: Fsync,
    inbox: Vec<Vec<u8>>,
    pushed: Seq,
    ids_by_seq: BTreeMap<u64, u64>,
    /// All that the client was told.
    committed: Seq,
    synced: Seq,
    write: Option<Underway>,
    last_write: Durability,
    background_sync: Option<(usize, Seq)>,
    to_apply: VecDeque<CommittedEntry>,
    applied: LogIndex,
    flush: Option<Flush>,
    saved: LogIndex,
    has_written: bool,
    has_served: bool,
}

struct Underway {
    write: Option<LogWrite>,
    durability: Durability,
    number: WriteNumber,
    unsynced: usize,
}

impl World {
    pub fn new(seed: u64, planted: Planted) -> World {
        let mut rng = Rng::new(seed);
        let faults = Faults {
            power_loss: rng.below(12),
            kill: rng.below(6),
            sync_failure: if rng.chance(300) { 30 } else { 0 },
            damage: if rng.chance(100) { 200 } else { 0 },
            mode_change: if rng.chance(300) { 10 } else { 0 },
            log_bytes_max: 400 << rng.below(6),
        };
        World {
            rng,
            planted,
            disk: Arc::new(Disk::new(planted)),
            node: None,
            faults,
            clients: Clients::Busy,
            next_id: 0,
            processes: 0,
            is_damaged: false,
            no_lost_ack: NoLostAck::default(),
            order: OrderPerSlot::default(),
            leaders: OneLeaderPerTerm::default(),
            outcome: Outcome { violation: None, events: 0, acked: 0, crashes: 0, compactions: 0 },
        }
    }

    pub fn run(mut self) -> Outcome {
        if let Err(violation) = self.run_to_the_end() {
            self.outcome.violation = Some(violation);
        }
        self.outcome
    }

    fn run_to_the_end(&mut self) -> Checked {
        for _ in 0..STEPS {
            self.fail_by_chance();
            if !self.step()? {
                return Ok(());
            }
        }
        self.clients = Clients::Silent;
        for _ in 0..SETTLING_STEPS {
            if !self.step()? || self.is_settled() {
                break;
            }
        }
        settles(self.is_damaged || self.is_settled(), || {
            let (pushed, committed) = self.node.as_ref().map_or_else(Default::default, |n| (n.pushed, n.committed));
            format!("{pushed:?} proposed, {committed:?} committed after {SETTLING_STEPS} steps")
        })?;
        self.check_data()
    }

    /// Says whether the run goes on: a damaged log ends it, as it should.
    fn step(&mut self) -> Result<bool, Violation> {
        if self.node.is_none() {
            return self.start();
        }
        let choice = self.rng.below(100);
        self.note(choice);
        match choice {
            0..20 => self.propose(),
            20..70 => self.log_thread()?,
            70..90 => self.apply_thread()?,
            90..96 => self.sync_thread()?,
            _ => self.flush_thread(),
        }
        Ok(true)
    }

    fn fail_by_chance(&mut self) {
        if self.node.is_none() {
            return;
        }
        if self.rng.chance(self.faults.power_loss) {
            self.node = None;
            self.outcome.crashes += 1;
            self.disk.lose_power(&mut self.rng);
            self.no_lost_ack.on_power_loss();
            if self.rng.chance(self.faults.damage) {
                self.is_damaged |= self.disk.damage(&mut self.rng);
            }
        } else if self.rng.chance(self.faults.kill) {
            self.node = None;
            self.outcome.crashes += 1;
        } else if self.rng.chance(self.faults.mode_change) {
            let fsync = [Fsync::Always, Fsync::EverySecond, Fsync::Never][self.rng.below(3) as usize];
            self.node.as_mut().expect("it runs").fsync = fsync;
        }
    }

    fn start(&mut self) -> Result<bool, Violation> {
        self.processes += 1;
        self.order.on_process();
        self.disk.open();
        AppliedNeverAhead::check_restart(&self.disk.contents.lock())?;
        let applied = self.disk.contents.lock().seen.applied;
        let options = CoreOptions {
            me: ReplicaId(1),
            start: Start::Alone,
            seed: 0,
            fsync: Fsync::Always,
            log_bytes_max: self.faults.log_bytes_max,
            election_ticks: 20..21,
        };
        let claimed = match self.planted {
            Planted::ReplayFromApplied if applied > LogIndex(2) => LogIndex(applied.0 - 1),
            Planted::ReplaySkipsOne if applied < self.disk.contents.lock().seen.last_index() => applied.next(),
            _ => applied,
        };
        let core = match Core::start(&options, self.disk.clone(), claimed) {
            Ok(_) if self.is_damaged => return Err(damage_refused()),
            Ok(core) => core,
            Err(StartError::Log(_)) if self.is_damaged => return Ok(false),
            Err(error) => return Err(restart_works(&error.to_string())),
        };
        self.node = Some(Node {
            core,
            fsync: Fsync::Always,
            inbox: Vec::new(),
            pushed: Seq(0),
            ids_by_seq: BTreeMap::new(),
            committed: Seq(0),
            synced: Seq(0),
            write: None,
            last_write: Durability::Written,
            background_sync: None,
            to_apply: VecDeque::new(),
            applied,
            flush: None,
            saved: applied,
            has_written: false,
            has_served: false,
        });
        Ok(true)
    }

    fn propose(&mut self) {
        let Some(node) = self.node.as_mut().filter(|node| node.has_served) else { return };
        if self.clients == Clients::Silent {
            return;
        }
        let item = Item { id: self.next_id, slot: self.rng.below(SLOTS) as u16 };
        self.next_id += 1;
        self.order.on_propose(item.id);
        node.pushed = Seq(node.pushed.0 + 1);
        node.ids_by_seq.insert(node.pushed.0, item.id);
        node.inbox.push(item.encode());
    }

    /// One step of what the group thread does: end a write, take an action, or take batches.
    fn log_thread(&mut self) -> Checked {
        let node = self.node.as_mut().expect("it runs");
        if let Some(write) = node.write.take() {
            return self.end_write(write);
        }
        if let Some(action) = node.core.next_action() {
            return self.perform(action);
        }
        node.core.set_fsync(node.fsync);
        node.core.on_applied(node.applied.max(node.core.applied()));
        let saved = if self.planted == Planted::CompactUnsaved { node.applied } else { node.saved };
        node.core.on_saved(saved.min(node.core.applied()));
        if !node.has_served && node.core.serves() {
            node.has_served = true;
            return self.check_data();
        }
        let count = self.rng.below(4).min(node.inbox.len() as u64) as usize;
        if count > 0 {
            let mut batches: Vec<_> = node.inbox.drain(..count).collect();
            if self.planted == Planted::QueueReversed {
                batches.reverse();
            }
            let up_to = Seq(node.pushed.0 - node.inbox.len() as u64);
            let first = Seq(up_to.0 + 1 - batches.len() as u64);
            node.core.propose(first, up_to, UnixMs(0), batches.iter().map(Vec::as_slice).collect());
        }
        Ok(())
    }

    fn perform(&mut self, action: Action) -> Checked {
        match action {
            Action::Write { write, durability, number } => self.begin_write(write, durability, number),
            Action::Commit { up_to, entries } => {
                if let Some(up_to) = up_to {
                    self.tell_committed(up_to)?;
                }
                let node = self.node.as_mut().expect("it runs");
                if self.planted == Planted::AppliedTwice && self.rng.chance(20) {
                    node.to_apply.extend(entries.iter().cloned());
                }
                node.to_apply.extend(entries);
            }
            Action::Compact { before } => {
                let more = if self.planted == Planted::CompactTooMuch { 2 } else { 0 };
                self.disk.compact(LogIndex(before.0 + more)).expect("this disk fails elsewhere");
                self.outcome.compactions += 1;
            }
            Action::Role(_) | Action::Lease { .. } => (),
            Action::Unknown(_) | Action::Send(_) | Action::Proven { .. } | Action::Ship(_) | Action::Install { .. } => {
                unreachable!("a sole voter never stops leading")
            }
        }
        Ok(())
    }

    fn begin_write(&mut self, mut write: LogWrite, mut durability: Durability, number: WriteNumber) {
        let is_first = self.node.as_ref().is_some_and(|node| !node.has_written);
        match self.planted {
            Planted::AckAtWrite => durability = Durability::Written,
            Planted::VoteNotSynced if is_first => durability = Durability::Written,
            Planted::CompactBeforeSync if write.entries.is_empty() => durability = Durability::Written,
            Planted::StateNotWithEntries if !write.entries.is_empty() => write.state = None,
            Planted::TruncatedTermLost => {
                if let Some(state) = write.state.as_mut().filter(|_| write.entries.is_empty()) {
                    state.truncated.term = Term(0);
                }
            }
            _ => (),
        }
        let node = self.node.as_mut().expect("it runs");
        node.has_written = true;
        let mut late = None;
        if self.planted == Planted::AckBeforeWrite {
            late = Some(write);
            node.core.on_written(number);
        } else {
            self.disk.append(Op::Log(write));
        }
        node.write = Some(Underway { write: late, durability, number, unsynced: self.disk.unsynced() });
    }

    fn end_write(&mut self, done: Underway) -> Checked {
        if done.durability == Durability::Synced && self.rng.chance(self.faults.sync_failure) {
            self.disk.fail_sync();
            if self.planted != Planted::FailedSyncRetried {
                // The process ends. What is acknowledged was synced before.
                self.node = None;
                return Ok(());
            }
        }
        let node = self.node.as_mut().expect("it runs");
        if let Some(write) = done.write {
            self.disk.append(Op::Log(write));
        } else {
            if done.durability == Durability::Synced {
                self.disk.sync_first(done.unsynced);
            }
            node.core.on_written(done.number);
        }
        node.last_write = done.durability;
        if node.core.leads() {
            self.leaders.on_lead(node.core.term(), self.processes)?;
        }
        Ok(())
    }

    fn tell_committed(&mut self, up_to: Seq) -> Checked {
        let node = self.node.as_mut().expect("it runs");
        let up_to = if self.planted == Planted::AckWholeQueue { node.pushed } else { up_to };
        let ids: Vec<u64> = ids_between(node, node.committed, up_to);
        node.committed = up_to;
        self.outcome.acked += ids.len() as u64;
        self.no_lost_ack.on_ack(&ids);
        // The promise of the mode: with `always`, an acknowledgement is a claim that it is on the disk.
        let is_synced = match self.planted {
            Planted::AckAtWrite | Planted::AckBeforeWrite => node.fsync == Fsync::Always,
            _ => node.last_write == Durability::Synced,
        };
        if is_synced { self.tell_synced(up_to) } else { Ok(()) }
    }

    fn tell_synced(&mut self, up_to: Seq) -> Checked {
        let node = self.node.as_mut().expect("it runs");
        let ids = ids_between(node, node.synced, up_to);
        node.synced = node.synced.max(up_to);
        self.no_lost_ack.on_synced(&ids);
        // A failed sync that was tried again lies to the checker too: it must find out from what is lost.
        if self.planted == Planted::FailedSyncRetried {
            return Ok(());
        }
        NothingFalseAcked::check(&ids, &self.disk.contents.lock())
    }

    /// One step of what the apply thread does: some entries in one write.
    fn apply_thread(&mut self) -> Checked {
        let node = self.node.as_mut().expect("it runs");
        let count = (1 + self.rng.below(4)).min(node.to_apply.len() as u64) as usize;
        let entries: Vec<_> = node.to_apply.drain(..count).collect();
        let Some(last) = entries.last().map(|entry| entry.index) else { return Ok(()) };
        AppliedNeverAhead::check_hand_over(last, self.disk.contents.lock().seen.last_index())?;
        let items: Vec<_> = entries.iter().flat_map(CommittedEntry::batches).map(Item::decode).collect();
        let data = Op::Data { items: items.clone(), applied: None };
        let index = Op::Data { items: Vec::new(), applied: Some(last) };
        match self.planted {
            Planted::AppliedAfterData => self.append_apart(data, index),
            Planted::AppliedBeforeData => self.append_apart(index, data),
            _ => self.disk.append(Op::Data { items, applied: Some(last) }),
        }
        self.node.as_mut().expect("it runs").applied = last;
        Ok(())
    }

    /// Two writes of what should be one: a flush may begin between them.
    fn append_apart(&mut self, one: Op, other: Op) {
        self.disk.append(one);
        if self.rng.chance(200) {
            self.node.as_mut().expect("it runs").flush = Some(self.disk.begin_flush());
        }
        self.disk.append(other);
    }

    /// One step of what the sync thread does: begin a sync, or end it.
    fn sync_thread(&mut self) -> Checked {
        let node = self.node.as_mut().expect("it runs");
        match node.background_sync.take() {
            None if node.fsync == Fsync::EverySecond => {
                node.background_sync = Some((self.disk.unsynced(), node.committed));
                Ok(())
            }
            None => Ok(()),
            Some((count, committed)) => {
                let committed = if self.planted == Planted::SyncedByLaterSync { node.committed } else { committed };
                self.disk.sync_first(count);
                self.tell_synced(committed)
            }
        }
    }

    /// One step of what flushes: begin it, or end it.
    fn flush_thread(&mut self) {
        let node = self.node.as_mut().expect("it runs");
        match node.flush.take() {
            None => node.flush = Some(self.disk.begin_flush()),
            Some(flush) => {
                node.saved = flush.applied;
                self.disk.end_flush(flush);
            }
        }
    }

    fn is_settled(&self) -> bool {
        let Some(node) = &self.node else { return false };
        let is_idle = node.inbox.is_empty() && node.write.is_none() && node.to_apply.is_empty();
        is_idle && node.has_served && node.committed == node.pushed
    }

    fn check_data(&mut self) -> Checked {
        let contents = self.disk.contents.lock();
        let items = &contents.seen.items;
        AppliedOnce::check(items)?;
        self.no_lost_ack.check(items)?;
        self.order.check(items)
    }

    fn note(&mut self, choice: u64) {
        let contents = self.disk.contents.lock();
        let seen = (contents.seen.applied.0, contents.seen.last_index().0, contents.durable.items.len() as u64);
        for number in [choice, seen.0, seen.1, seen.2] {
            self.outcome.events = (self.outcome.events ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(7);
        }
    }
}

fn ids_between(node: &Node, after: Seq, up_to: Seq) -> Vec<u64> {
    if up_to <= after { Vec::new() } else { node.ids_by_seq.range(after.0 + 1..=up_to.0).map(|(_, id)| *id).collect() }
}
