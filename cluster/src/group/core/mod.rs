//! Consensus of one group without threads, disks or clocks: the only module that names raft-rs.
//!
//! Inputs are calls ([`Core::propose`], [`Core::tick`], [`Core::receive`], [`Core::on_written`],
//! [`Core::on_applied`] and a few that are rare); after each, the caller takes [`Core::next_action`] until there is
//! none and does what it says, in order. The same core runs under [`super::driver`] and under the simulator.
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
//! What [`ready`] does not say itself is in files of its own: whom this replica has promised not to vote against
//! ([`promise`]), for how long nobody else can have become the leader ([`lease`]), how a follower learns how old its
//! state is ([`proof`]), how it hands over ([`transfer`]), who belongs to the group ([`members`]), how a replica gets a
//! whole copy ([`snapshot`]), and which messages are let in ([`screen`]).
//!
//! Batches of a leader that stops leading are of unknown fate, and so are batches handed in afterwards: this is said
//! once for each ([`Action::Unknown`]), and never followed by a commit notice for them.

mod action;
mod lease;
mod members;
mod promise;
mod proof;
mod ready;
mod record;
mod restart;
mod screen;
mod size;
mod snapshot;
#[cfg(test)]
mod tests;
mod transfer;
mod view;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use basalt_storage::clock::UnixMs;
use raft::eraftpb::MessageType;
use raft::{Config, RawNode, ReadOnlyOption, StateRole};

pub use action::{Action, Lane, PeerMessage, WriteNumber};
pub use members::{Desired, ReplicaProgress};
pub use restart::{BOOTSTRAP, StartError};
pub use snapshot::{Delivery, Verdict};
pub use transfer::{Queue, TransferRefused};

use super::entry::Payload;
use super::ids::{LogIndex, ReplicaId, Seq, Term};
use super::log::LogStore;
use super::options::{Fsync, Start, UNCOMMITTED_BYTES_MAX};
use super::role::Role;
use super::state::LogState;
use lease::Lease;
use promise::Promise;
use proof::Questions;
use ready::{InFlight, Proposal};
use restart::{Found, IsNew};
use size::{Keep, LogSize};
use transfer::Transfer;
use view::LogView;

/// Bytes of one append message: one follower's share of the leader's attention.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// Append messages under way to one follower.
const MESSAGES_IN_FLIGHT_MAX: usize = 64;

/// Bytes of committed entries handed out at once, so that a replay after a restart goes in steps.
const COMMIT_BYTES_MAX: u64 = 4 << 20;

/// The unit in which elections and heartbeats are timed.
pub const TICK: Duration = Duration::from_millis(50);

/// Election timeouts of a replica are drawn from this range of ticks, and heartbeats are sent ten times as often.
pub const ELECTION_TICKS: Range<usize> = 20..40;

const HEARTBEAT_TICKS: usize = 2;

#[derive(Clone, Debug)]
pub struct CoreOptions {
    pub me: ReplicaId,
    pub start: Start,
    pub fsync: Fsync,
    /// The log is cut when it has grown to this.
    pub log_bytes_max: u64,
    /// Usually [`ELECTION_TICKS`].
    pub election_ticks: Range<usize>,
    /// Of the election timeouts: raft-rs draws from its own source of randomness, which nobody could repeat. Another
    /// one with each start of a replica: answers to questions of a former life are told from others by it.
    pub seed: u64,
}

pub struct Core {
    node: RawNode<LogView>,
    me: ReplicaId,
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
    saved: LogIndex,
    log_bytes_max: u64,
    size: LogSize,
    /// The latest clock in any entry that was ever in the log.
    time: Option<UnixMs>,
    patience: Patience,
    promise: Promise,
    lease: Lease,
    questions: Questions,
    transfer: Option<Transfer>,
    desired: Vec<(ReplicaId, Desired)>,
    role: Role,
}

/// Draws election timeouts, since what raft-rs draws cannot be repeated.
struct Patience {
    ticks: Range<usize>,
    random: u64,
    drawn_for: (u64, StateRole),
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// The last entry of its log.
    pub last: LogIndex,
    /// As far as it knows.
    pub committed: LogIndex,
    pub applied: LogIndex,
}

impl Core {
    /// Starts from what the store holds and the state machine has applied. A sole voter elects itself at once.
    pub fn start(options: &CoreOptions, store: Arc<dyn LogStore>, applied: LogIndex) -> Result<Core, StartError> {
        let me = options.me;
        let Found { view, applied, time, sizes, is_new } = restart::find(store, me, &options.start, applied)?;
        let mut size = LogSize::new(options.log_bytes_max);
        sizes.into_iter().for_each(|(index, bytes)| size.add(index, bytes));
        let is_alone = view.state.members.is_alone(me);
        let written_state = if is_new == IsNew::Yes { LogState::default() } else { view.state.clone() };
        let election_ticks = options.election_ticks.clone();
        // What a replica has promised before it ended, nobody knows.
        let promise = match is_new {
            IsNew::No if !is_alone => Promise::of_a_former_run(election_ticks.start),
            IsNew::No | IsNew::Yes => Promise::none(election_ticks.start),
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let refused = |error: raft::Error| StartError::Refused(error.to_string());
        let node = RawNode::new(&config(options, applied), view, &logger).map_err(refused)?;
        let random = options.seed ^ me.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let patience = Patience { ticks: election_ticks.clone(), random, drawn_for: (u64::MAX, StateRole::Follower) };
        let mut core = Core {
            node,
            me,
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
            saved: applied,
            log_bytes_max: options.log_bytes_max,
            size,
            time,
            patience,
            promise,
            lease: Lease::new(election_ticks.start),
            questions: Questions::new(options.seed),
            transfer: None,
            desired: Vec::new(),
            role: Role::Follower { term: Term(0), leader: None },
        };
        core.draw_patience();
        if is_alone {
            core.node.campaign().map_err(refused)?;
        }
        Ok(core)
    }

    pub fn next_action(&mut self) -> Option<Action> {
        while self.actions.is_empty() && self.node.has_ready() {
            self.process_ready();
        }
        if self.actions.is_empty() {
            self.note_role();
        }
        self.actions.pop_front()
    }

    /// Makes one entry of batches from `first` to `up_to`, which all follow those of the call before.
    pub fn propose(&mut self, first: Seq, up_to: Seq, now: UnixMs, batches: Payload) {
        // raft-rs 0.7 would forward the proposal of a follower, and drop that of a leader about to hand over.
        if !self.leads() || self.node.raft.lead_transferee.is_some() {
            return self.refuse(first, up_to);
        }
        self.note_taken(first, up_to);
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

    /// The same for batches that the log must not get.
    pub fn refuse(&mut self, first: Seq, up_to: Seq) {
        self.note_taken(first, up_to);
        self.actions.push_back(Action::Unknown(first..=up_to));
    }

    fn note_taken(&mut self, first: Seq, up_to: Seq) {
        assert!(first > self.taken && up_to >= first, "batches {first:?} to {up_to:?} after {:?}", self.taken);
        self.taken = up_to;
    }

    /// Whether to go on proposing; batches wait outside while there is much to be committed. The bound is here and not
    /// in raft-rs, because that would drop a proposal, and a batch that was evaluated must not be dropped.
    pub fn accepts_proposals(&self) -> bool {
        // A leader whose hand-over comes to nothing goes on leading, and batches that wait are then not lost.
        self.uncommitted_bytes < UNCOMMITTED_BYTES_MAX && self.node.raft.lead_transferee.is_none()
    }

    pub fn tick(&mut self) {
        self.promise.tick();
        self.node.tick();
        self.draw_patience();
        self.tick_transfer();
        self.reconcile_members();
    }

    /// A sole voter that leads has nothing to do with the passing of time.
    pub fn needs_ticks(&self) -> bool {
        let members = &self.node.store().state.members;
        !self.leads() || !members.is_alone(self.me) || !members.learners.is_empty() || !self.agrees_on_members()
    }

    /// There is somebody besides this replica.
    pub fn has_others(&self) -> bool {
        self.node.raft.prs().iter().count() > 1
    }

    /// Something happens as soon as the state machine has applied more.
    pub fn awaits_applied(&self) -> bool {
        self.leads() && (!self.serves() || !self.agrees_on_members() && self.node.raft.has_pending_conf())
    }

    /// Takes a message of another replica. Messages that make no sense are ignored, as if they were lost.
    pub fn receive(&mut self, message: PeerMessage) {
        let message = message.0;
        let raft = &self.node.raft;
        if !screen::is_welcome(&message, self.me, raft.raft_log.last_index()) || self.promise.forbids(&message) {
            return;
        }
        let (kind, term) = (message.get_msg_type(), message.term);
        if kind == MessageType::MsgReadIndex && !self.takes_questions() {
            return;
        }
        if let Err(error) = self.node.step(message) {
            tracing::debug!(%error, "message of another replica ignored");
        }
        if matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat) && term == self.node.raft.term {
            self.promise.renew();
        }
        self.draw_patience();
    }

    /// The state machine has written everything up to here.
    pub fn on_applied(&mut self, index: LogIndex) {
        assert!(index <= self.delivered, "entry {index} is applied, but only {} were handed out", self.delivered);
        if index <= self.applied {
            return;
        }
        self.applied = index;
        self.tell_applied();
    }

    /// What the state machine has written up to here will be there after a restart, at the latest when the next write
    /// to the log is synced.
    pub fn on_saved(&mut self, index: LogIndex) {
        assert!(index <= self.applied, "entry {index} is saved, but only {} are applied", self.applied);
        if index <= self.saved {
            return;
        }
        self.saved = index;
        // Nobody lags behind a replica that is alone.
        let keep = if self.has_others() { Keep::Half } else { Keep::Nothing };
        if let Some(up_to) = self.size.take_excess(index, keep) {
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

    pub fn role(&self) -> Role {
        let term = self.term();
        if self.leads() {
            return Role::Leader { term, serves: self.serves() && self.transfer.is_none() };
        }
        let leader = Some(ReplicaId(self.node.raft.leader_id)).filter(|leader| leader.0 != 0);
        Role::Follower { term, leader }
    }

    pub fn term(&self) -> Term {
        Term(self.node.raft.term)
    }

    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// How far log and state machine are.
    pub fn positions(&self) -> Positions {
        let log = &self.node.raft.raft_log;
        Positions { last: LogIndex(log.last_index()), committed: LogIndex(log.committed), applied: self.applied }
    }

    pub fn log_bytes(&self) -> u64 {
        self.size.bytes()
    }

    /// Says what has changed about who leads, before anything that follows from it.
    fn note_role(&mut self) {
        if !self.leads() {
            self.transfer = None;
        }
        self.note_lease();
        let role = self.role();
        if role != self.role {
            self.role = role;
            self.actions.push_back(Action::Role(role));
        }
    }

    /// raft-rs draws a new timeout whenever it begins a term or a role; this replaces it by one from the seed.
    fn draw_patience(&mut self) {
        let now = (self.node.raft.term, self.node.raft.state);
        if now == self.patience.drawn_for {
            return;
        }
        let ticks = self.patience.draw();
        self.patience.drawn_for = now;
        self.node.raft.set_randomized_election_timeout(ticks);
    }
}

impl Patience {
    /// The splitmix64 sequence.
    fn draw(&mut self) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        self.ticks.start + (mixed % self.ticks.len() as u64) as usize
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
