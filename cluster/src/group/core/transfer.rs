//! Handing the lead over to another replica.
//!
//! First the leader says that it does not serve any more, and goes on proposing what was handed in before. When nothing
//! of that is left and the other one has everything, the leader's lease ends, and it asks the other one to campaign.
//! If the other one does not have everything in time, the leader just goes on. If it was asked and nothing came of it,
//! the request may still arrive at any time, so this leader takes a new term, in which that request means nothing.

use raft::eraftpb::{Message, MessageType};
use raft::{ProgressState, StateRole};
use thiserror::Error;

use super::Core;
use crate::group::ids::ReplicaId;

pub(super) enum Transfer {
    /// What was handed in before has to be committed, and to be with the other one.
    Draining { to: ReplicaId, left_ticks: usize },
    /// The other one was asked to campaign.
    Asked,
}

/// Whether batches wait outside of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Empty,
    Waiting,
}

/// Why the lead is not handed over.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TransferRefused {
    #[error("this replica does not lead")]
    NotLeader,
    #[error("the other replica is not a voter that follows this leader")]
    NotAFollower,
    #[error("the lead is being handed over already")]
    UnderWay,
}

impl Core {
    /// Begins to hand over. The role says when that is over: another leads, or this one serves again.
    pub fn transfer_leadership(&mut self, to: ReplicaId) -> Result<(), TransferRefused> {
        if !self.leads() {
            return Err(TransferRefused::NotLeader);
        }
        if self.transfer.is_some() {
            return Err(TransferRefused::UnderWay);
        }
        let is_voter = self.node.store().state.members.voters.contains(&to);
        let progress = self.node.raft.prs().get(to.0);
        let follows = progress.is_some_and(|one| one.state != ProgressState::Snapshot && one.recent_active);
        if to == self.me || !is_voter || !follows {
            return Err(TransferRefused::NotAFollower);
        }
        self.transfer = Some(Transfer::Draining { to, left_ticks: self.patience.ticks.start });
        Ok(())
    }

    /// Asks the other replica to campaign as soon as it has everything. Called after the role was told and all that
    /// waited by then has been proposed.
    pub fn advance_transfer(&mut self, queue: Queue) {
        let Some(Transfer::Draining { to, .. }) = self.transfer else { return };
        let last = self.node.raft.raft_log.last_index();
        let has_all = self.node.raft.prs().get(to.0).is_some_and(|progress| progress.matched == last);
        let was_told = self.role == self.role();
        if self.leads() && was_told && queue == Queue::Empty && self.proposals.is_empty() && has_all {
            self.suspend_lease();
            self.transfer = Some(Transfer::Asked);
            self.node.transfer_leader(to.0);
        }
    }

    pub(super) fn tick_transfer(&mut self) {
        // raft-rs gives up after an election timeout.
        let has_given_up = self.leads() && self.node.raft.lead_transferee.is_none();
        match &mut self.transfer {
            Some(Transfer::Draining { left_ticks: 0, .. }) => self.transfer = None,
            Some(Transfer::Draining { left_ticks, .. }) => *left_ticks -= 1,
            Some(Transfer::Asked) if has_given_up => self.take_new_term(),
            Some(Transfer::Asked) | None => (),
        }
    }

    fn take_new_term(&mut self) {
        let raft = &mut self.node.raft;
        let term = raft.term;
        raft.become_follower(term, 0);
        let mut message = Message { to: self.me.0, from: self.me.0, ..Message::default() };
        message.set_msg_type(MessageType::MsgTimeoutNow);
        if let Err(error) = raft.step(message) {
            tracing::debug!(%error, "no new term was begun");
        }
        assert!(raft.state != StateRole::Leader, "there is another voter, whom it takes to be elected");
        self.transfer = None;
        self.draw_patience();
    }
}
