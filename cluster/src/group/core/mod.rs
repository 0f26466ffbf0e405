//! Consensus of one group without threads, disks or clocks: the only module that names raft-rs.
//!
//! Inputs are calls ([`Core::propose`], [`Core::tick`], [`Core::receive`], [`Core::on_written`],
//! [`Core::on_applied`]); after each, the caller takes [`Core::next_action`] until there is none and does what it
//! says, in order. The same core runs under [`super::driver`] and under the simulator.
//!
//! The order of the actions is the safety argument, for each `Ready` of raft-rs:
//! 1. messages of a leader, which may leave at once;
//! 2. what is committed (raft-rs 0.7 only commits here what this replica has persisted);
//! 3. the write of entries, void tail and state, in one piece;
//! 4. once that is done, in order of the writes: messages that vouch for it, and what it commits.
//!
//! Only the commit index changed? Then nothing is written: it goes with the next write, and a restart takes at least
//! what is applied for committed.
//!
//! Batches of a leader that stops leading are of unknown fate, and so are batches handed in afterwards: this is said
//! once for each ([`Action::Unknown`]), and never followed by a commit notice for them.

mod action;
mod record;
mod restart;
mod size;
#[cfg(test)]
mod tests;
mod view;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use basalt_storage::clock::UnixMs;
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, Entry, EntryType, Message, MessageType};
use raft::{Config, RawNode, ReadOnlyOption, Ready, StateRole};

pub use action::{Action, PeerMessage, WriteNumber};
pub use restart::{BOOTSTRAP, StartError};

use super::entry::{CommittedEntry, Payload};
use super::ids::{LogIndex, ReplicaId, Seq, Term};
use super::log::{Durability, LogStore, LogWrite};
use super::options::{Fsync, UNCOMMITTED_BYTES_MAX};
use super::state::LogState;
use record::record_of;
use restart::{Found, IsNew};
use size::LogSize;
use view::LogView;

/// Bytes of one append message: one follower's share of the leader's attention.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// Append messages under way to one follower.
const MESSAGES_IN_FLIGHT_MAX: usize = 64;

/// Bytes of committed entries handed out at once, so that a replay after a restart goes in steps.
const COMMIT_BYTES_MAX: u64 = 4 << 20;

/// Election timeouts of a replica are drawn from this range of ticks, and heartbeats are sent ten times as often.
pub const ELECTION_TICKS: Range<usize> = 20..40;

const HEARTBEAT_TICKS: usize = 2;

#[derive(Clone, Debug)]
pub struct CoreOptions {
    pub me: ReplicaId,
    pub fsync: Fsync,
    /// The log is cut when it has grown to this.
    pub log_bytes_max: u64,
    /// [`ELECTION_TICKS`], or a range of one in tests, because raft-rs draws from its own random source.
    pub election_ticks: Range<usize>,
}

pub struct Core {
    node: RawNode<LogView>,
    fsync: Fsync,
    /// Handed out before raft-rs is asked for more.
    actions: VecDeque<Action>,
    in_flight: VecDeque<InFlight>,
    writes: u64,
    /// The state record that the store will hold when all writes are done.
    written_state: LogState,
    /// Own entries that are not yet committed, in log order.
    proposals: VecDeque<Proposal>,
    uncommitted_bytes: usize,
    /// The last batch that was handed in.
    taken: Seq,
    delivered: LogIndex,
    applied: LogIndex,
    size: LogSize,
    time: Option<UnixMs>,
}

/// A write that is not done yet.
struct InFlight {
    number: WriteNumber,
    /// The last `Ready` that is persisted by it.
    ready: Option<u64>,
    /// Messages that must not leave before.
    held: Vec<Message>,
    compact_before: Option<LogIndex>,
}

struct Proposal {
    index: LogIndex,
    term: Term,
    first: Seq,
    up_to: Seq,
    bytes: usize,
}

impl Core {
    /// Starts from what the store holds and the state machine has applied. A sole voter elects itself at once.
    pub fn start(options: &CoreOptions, store: Arc<dyn LogStore>, applied: LogIndex) -> Result<Core, StartError> {
        let Found { view, applied, time, sizes, is_new } = restart::find(store, options.me, applied)?;
        let mut size = LogSize::new(options.log_bytes_max);
        sizes.into_iter().for_each(|(index, bytes)| size.add(index, bytes));
        let is_alone = view.state.members.voters == [options.me] && view.state.members.outgoing_voters.is_empty();
        let written_state = if is_new == IsNew::Yes { LogState::default() } else { view.state.clone() };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let refused = |error: raft::Error| StartError::Refused(error.to_string());
        let mut node = RawNode::new(&config(options, applied), view, &logger).map_err(refused)?;
        if is_alone {
            node.campaign().map_err(refused)?;
        }
        Ok(Core {
            node,
            fsync: options.fsync,
            actions: VecDeque::new(),
            in_flight: VecDeque::new(),
            writes: 0,
            written_state,
            proposals: VecDeque::new(),
            uncommitted_bytes: 0,
            taken: Seq(0),
            delivered: applied,
            applied,
            size,
            time,
        })
    }

    pub fn next_action(&mut self) -> Option<Action> {
        while self.actions.is_empty() && self.node.has_ready() {
            self.process_ready();
        }
        self.actions.pop_front()
    }

    /// Makes one entry of batches, the last of which is `up_to`; the first follows the last one of the call before.
    pub fn propose(&mut self, up_to: Seq, now: UnixMs, batches: Payload) {
        assert!(up_to > self.taken, "batches {up_to:?} proposed after {:?}", self.taken);
        let first = self.taken.next();
        self.taken = up_to;
        // raft-rs 0.7 would forward the proposal of a follower, and drop that of a leader about to hand over.
        if !self.leads() || self.node.raft.lead_transferee.is_some() {
            self.actions.push_back(Action::Unknown(first..=up_to));
            return;
        }
        let time = self.time.map_or(now, |time| time.max(now));
        self.time = Some(time);
        let payload = batches.seal(time);
        let bytes = payload.len();
        if self.node.propose(Vec::new(), payload).is_err() {
            self.actions.push_back(Action::Unknown(first..=up_to));
            return;
        }
        let index = LogIndex(self.node.raft.raft_log.last_index());
        self.uncommitted_bytes += bytes;
        self.proposals.push_back(Proposal { index, term: Term(self.node.raft.term), first, up_to, bytes });
    }

    /// Whether to go on proposing; batches wait outside while there is much to be committed. The bound is here and not
    /// in raft-rs, because that would drop a proposal, and a batch that was evaluated must not be dropped.
    pub fn accepts_proposals(&self) -> bool {
        self.uncommitted_bytes < UNCOMMITTED_BYTES_MAX
    }

    pub fn tick(&mut self) {
        self.node.tick();
    }

    /// A sole voter that leads has nothing to do with the passing of time.
    pub fn needs_ticks(&self) -> bool {
        let members = &self.node.store().state.members;
        !self.leads() || members.voters.len() > 1 || !members.learners.is_empty()
    }

    /// Takes a message of another replica. Messages that make no sense are ignored, as if they were lost.
    pub fn receive(&mut self, message: PeerMessage) {
        let message = message.0;
        // A proposal is only ever made by the process that evaluated it; snapshots cannot be installed yet.
        let unwanted = [MessageType::MsgPropose, MessageType::MsgSnapshot];
        if message.to != self.node.raft.id || unwanted.contains(&message.get_msg_type()) {
            return;
        }
        if let Err(error) = self.node.step(message) {
            tracing::debug!(%error, "message of another replica ignored");
        }
    }

    /// A write is on the disk, as far as was asked for. In the order in which they were handed out.
    pub fn on_written(&mut self, number: WriteNumber) {
        let done = self.in_flight.pop_front();
        let done = done.filter(|done| done.number == number).expect("writes end in the order in which they began");
        if let Some(ready) = done.ready {
            self.node.on_persist_ready(ready);
        }
        self.actions.extend(done.held.into_iter().map(|message| Action::Send(PeerMessage(message))));
        self.actions.extend(done.compact_before.map(|before| Action::Compact { before }));
    }

    /// The state machine has written everything up to here.
    pub fn on_applied(&mut self, index: LogIndex) {
        assert!(index <= self.delivered, "entry {index} is applied, but only {} were handed out", self.delivered);
        if index <= self.applied {
            return;
        }
        self.applied = index;
        self.node.advance_apply_to(index.0);
        if let Some(up_to) = self.size.take_excess(self.applied) {
            self.truncate(up_to);
        }
    }

    pub fn set_fsync(&mut self, fsync: Fsync) {
        self.fsync = fsync;
    }

    pub fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Whether this replica leads and its state machine holds all that any leader before it has committed.
    pub fn serves(&self) -> bool {
        self.leads() && self.node.raft.apply_to_current_term()
    }

    pub fn term(&self) -> Term {
        Term(self.node.raft.term)
    }

    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    pub fn log_bytes(&self) -> u64 {
        self.size.bytes()
    }

    fn process_ready(&mut self) {
        let mut ready = self.node.ready();
        assert!(ready.snapshot().is_empty(), "messages with snapshots are not let in");
        self.give_up_proposals();
        self.send(ready.take_messages());
        let committed = ready.take_committed_entries();
        let changes_members = committed.iter().any(|entry| entry.entry_type != EntryType::EntryNormal);
        if changes_members {
            // Members must be in the state record before the state machine can have applied the entry.
            self.persist(ready);
            self.change_members(&committed);
            self.write(LogWrite::default(), Durability::Written, None, Vec::new());
            self.commit(committed);
        } else {
            self.commit(committed);
            self.persist(ready);
        }
    }

    /// Steps 3 and 4: the write, and what waits for it. Ends raft-rs's hold on the `Ready`.
    fn persist(&mut self, mut ready: Ready) {
        let entries = ready.take_entries();
        let held = ready.take_persisted_messages();
        let (number, must_sync) = (ready.number(), ready.must_sync());
        let view = self.node.mut_store();
        let delete_tail = view.append(&entries);
        let mut is_new_term = false;
        if let Some(hard) = ready.hs() {
            let before = (view.state.term, view.state.vote);
            record::keep_hard_state(&mut view.state, hard);
            is_new_term = before != (view.state.term, view.state.vote);
        }
        self.node.advance_append_async(ready);
        for entry in &entries {
            self.size.add(LogIndex(entry.index), entry.data.len());
        }
        if must_sync {
            // A forgotten vote or term is a second vote: that is no matter of taste.
            let may_wait = self.fsync != Fsync::Always && !is_new_term;
            let durability = if may_wait { Durability::Written } else { Durability::Synced };
            let entries = entries.iter().map(record_of).collect();
            self.write(LogWrite { entries, delete_tail, state: None }, durability, Some(number), held);
        } else if let Some(last) = self.in_flight.back_mut() {
            // Telling raft-rs that this one is persisted says so of all before it.
            last.ready = Some(number);
            last.held.extend(held);
        } else {
            self.node.on_persist_ready(number);
            self.send(held);
        }
    }

    fn write(&mut self, mut write: LogWrite, durability: Durability, ready: Option<u64>, held: Vec<Message>) {
        let state = &self.node.store().state;
        if *state != self.written_state {
            write.state = Some(state.clone());
            self.written_state = state.clone();
        }
        self.writes += 1;
        let number = WriteNumber(self.writes);
        self.in_flight.push_back(InFlight { number, ready, held, compact_before: None });
        self.actions.push_back(Action::Write { write, durability, number });
    }

    fn commit(&mut self, entries: Vec<Entry>) {
        let Some(last) = entries.last().map(|entry| LogIndex(entry.index)) else { return };
        let mut up_to = None;
        let mut committed = Vec::with_capacity(entries.len());
        for entry in entries {
            let index = LogIndex(entry.index);
            assert!(index == self.delivered.next(), "entry {index} is committed after {}", self.delivered);
            self.delivered = index;
            let is_normal = entry.entry_type == EntryType::EntryNormal;
            let payload = if is_normal { entry.data } else { Default::default() };
            let mut one = CommittedEntry::new(index, payload).expect("checked when the log was read or made");
            one.seq = self.take_proposal(index, Term(entry.term));
            up_to = one.seq.or(up_to);
            committed.push(one);
        }
        self.node.mut_store().release(last);
        self.actions.push_back(Action::Commit { up_to, entries: committed });
    }

    /// The last batch of the entry, if it is this process's own.
    fn take_proposal(&mut self, index: LogIndex, term: Term) -> Option<Seq> {
        let proposal = self.proposals.front().filter(|proposal| proposal.index == index)?;
        // Proposals of earlier terms have been given up before.
        assert!(proposal.term == term, "entry {index} of this leader was overruled while it led");
        self.uncommitted_bytes -= proposal.bytes;
        self.proposals.pop_front().map(|proposal| proposal.up_to)
    }

    /// Says that the fate of proposals is unknown which were made in a reign that is over.
    fn give_up_proposals(&mut self) {
        let (leads, term) = (self.leads(), self.term());
        let is_lost = |proposal: &&Proposal| !leads || proposal.term != term;
        let Some(first) = self.proposals.front().filter(is_lost).map(|proposal| proposal.first) else { return };
        let mut last = first;
        while let Some(proposal) = self.proposals.front().filter(is_lost) {
            last = proposal.up_to;
            self.uncommitted_bytes -= proposal.bytes;
            self.proposals.pop_front();
        }
        self.actions.push_back(Action::Unknown(first..=last));
    }

    /// Applies committed configuration changes, each exactly once also over restarts.
    fn change_members(&mut self, committed: &[Entry]) {
        for entry in committed {
            let index = LogIndex(entry.index);
            if index <= self.node.store().state.members_index {
                continue;
            }
            let changed = match entry.entry_type {
                EntryType::EntryNormal => continue,
                EntryType::EntryConfChange => {
                    ConfChange::parse_from_bytes(&entry.data).map(|change| self.node.apply_conf_change(&change))
                }
                EntryType::EntryConfChangeV2 => {
                    ConfChangeV2::parse_from_bytes(&entry.data).map(|change| self.node.apply_conf_change(&change))
                }
            };
            let conf = changed.expect("made by raft-rs").expect("raft-rs refused it before it was proposed");
            let state = &mut self.node.mut_store().state;
            state.members = record::members_of(&conf);
            state.members_index = index;
        }
    }

    /// Writes where the log will begin, with a sync: it is also what puts the applied state up to there on the disk,
    /// which lies before it in the same order of writes. Only then may entries go.
    fn truncate(&mut self, up_to: LogIndex) {
        self.node.mut_store().truncate(up_to);
        self.write(LogWrite::default(), Durability::Synced, None, Vec::new());
        let write = self.in_flight.back_mut().expect("just begun");
        write.compact_before = Some(up_to.next());
    }

    fn send(&mut self, messages: Vec<Message>) {
        self.actions.extend(messages.into_iter().map(|message| Action::Send(PeerMessage(message))));
    }
}

fn config(options: &CoreOptions, applied: LogIndex) -> Config {
    Config {
        id: options.me.0,
        election_tick: options.election_ticks.start,
        heartbeat_tick: HEARTBEAT_TICKS,
        min_election_tick: options.election_ticks.start,
        max_election_tick: options.election_ticks.end,
        applied: applied.0,
        max_size_per_msg: MESSAGE_BYTES_MAX,
        max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
        check_quorum: true,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        skip_bcast_commit: false,
        batch_append: true,
        priority: 0,
        max_uncommitted_size: raft::NO_LIMIT,
        max_committed_size_per_ready: COMMIT_BYTES_MAX,
    }
}
