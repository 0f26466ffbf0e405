//! For how long nobody else can have become the leader.
//!
//! A *round* asks a majority whether this replica still leads (the read index of raft-rs). When it is confirmed, all
//! who confirmed have heard this leader after the round *began*, and vote for nobody else for one election timeout of
//! their own ([`super::promise`]). So the lease runs from the beginning of the round, by this replica's clock, and is
//! shorter than that timeout by a margin: a follower may make up for two ticks after a stall, its first tick may be
//! just due, and clocks run differently.
//!
//! The clock is monotonic and counts while the process is stopped, so a leader that was stopped finds its lease over.
//!
//! From the moment at which a leader asks another to take over there is no lease for the rest of its term: the request
//! may arrive at any time, and votes for it break promises.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Action, Core, TICK};

/// What a lease is shorter than an election timeout.
const MARGIN_TICKS: usize = 4;

/// Rounds that are asked for and not confirmed. Older ones are given up: a later one confirms as much.
const ROUNDS_MAX: usize = 16;

pub(super) struct Lease {
    length: Duration,
    /// Numbers rounds. Never used again: an answer to an earlier round must not confirm a later one.
    rounds: u64,
    under_way: VecDeque<Round>,
    /// By the clock of the caller.
    until: Option<Duration>,
    /// The last word to the outside.
    told: Option<Duration>,
    /// The term in which leases ended because of a transfer.
    suspended_in: Option<u64>,
}

struct Round {
    number: u64,
    began: Duration,
}

impl Lease {
    pub(super) fn new(election_ticks: usize) -> Lease {
        let length = TICK * election_ticks.saturating_sub(MARGIN_TICKS) as u32;
        Lease { length, rounds: 0, under_way: VecDeque::new(), until: None, told: None, suspended_in: None }
    }
}

impl Core {
    /// Begins to renew the lease. `now` is a monotonic clock from any beginning, always the same for one core. Does
    /// nothing where there is no lease to be had, or none is needed.
    pub fn begin_lease_round(&mut self, now: Duration) {
        // raft-rs would drop the question without an answer before it has committed something in its own term.
        if !self.leads() || self.is_sole_voter() || !self.node.raft.commit_to_current_term() {
            return;
        }
        let lease = &mut self.lease;
        lease.rounds += 1;
        lease.under_way.push_back(Round { number: lease.rounds, began: now });
        if lease.under_way.len() > ROUNDS_MAX {
            lease.under_way.pop_front();
        }
        self.node.read_index(lease.rounds.to_be_bytes().to_vec());
    }

    /// A majority has confirmed these rounds, and with them all earlier ones.
    pub(super) fn confirm_rounds(&mut self, confirmed: &[raft::ReadState]) {
        let numbers = confirmed.iter().filter_map(|state| state.request_ctx.as_slice().try_into().ok());
        let Some(newest) = numbers.map(u64::from_be_bytes).max() else { return };
        let lease = &mut self.lease;
        while let Some(round) = lease.under_way.front().filter(|round| round.number <= newest) {
            lease.until = lease.until.max(Some(round.began + lease.length));
            lease.under_way.pop_front();
        }
    }

    /// No leases in this term any more.
    pub(super) fn suspend_lease(&mut self) {
        self.lease.suspended_in = Some(self.node.raft.term);
        self.note_lease();
    }

    /// Says until when reads may be served, if that has changed.
    pub(super) fn note_lease(&mut self) {
        let term = self.node.raft.term;
        let is_possible = self.leads() && self.lease.suspended_in != Some(term);
        let is_alone = is_possible && self.is_sole_voter();
        let lease = &mut self.lease;
        if !is_possible {
            lease.until = None;
            lease.under_way.clear();
        }
        let until = if is_alone { Some(Duration::MAX) } else { lease.until };
        if until != lease.told {
            lease.told = until;
            self.actions.push_back(Action::Lease { until });
        }
    }

    fn is_sole_voter(&self) -> bool {
        self.node.store().state.members.is_alone(self.me)
    }
}
