//! Who belongs to the group, and how that becomes what it should be.
//!
//! What the members should be is told from outside ([`Core::set_desired`]). The leader compares it with what they are,
//! and proposes one step at a time, each when the one before is applied: any leader can go on where another stopped.
//! Newcomers are added as learners and promoted when they have caught up; voters are demoted before they are removed.
//!
//! Traps that shape it: a leader never demotes or removes itself, but hands over first (raft-rs would let it lead on);
//! a voter is never removed at once, and of two voters one is demoted by a joint change (else the one that goes may be
//! the only one to know that it was decided); joint configurations are left by an explicit change, which every new
//! leader proposes if it finds one (raft-rs's own leaving gets lost with a leader).

use protobuf::Message as _;
use raft::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, Entry, EntryType,
};
use raft::{ProgressState, StateRole};

use super::{Core, record};
use crate::group::ids::{LogIndex, ReplicaId};

/// A learner that is behind by no more entries than this has caught up.
const PROMOTION_LAG_MAX: u64 = 256;

/// What a replica should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Desired {
    Voter,
    Learner,
    /// No member, like one that is not mentioned.
    Leaving,
}

/// What a leader knows about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaProgress {
    pub replica: ReplicaId,
    /// The log of that replica is known to agree with the leader's up to here, and to be on its disk.
    pub matched: LogIndex,
    pub votes: bool,
    /// It has heard that the members are what they are, and could be elected by them.
    pub knows_members: bool,
    /// It was heard within about an election timeout.
    pub is_recent: bool,
    /// It is being sent a snapshot.
    pub awaits_snapshot: bool,
}

impl Core {
    /// What the members should be. Nothing happens while the list has no voter. Every replica is told, since any may
    /// come to lead.
    pub fn set_desired(&mut self, desired: Vec<(ReplicaId, Desired)>) {
        self.desired = desired;
        self.reconcile_members();
    }

    /// All members, this replica included; nothing if this replica does not lead.
    pub fn replicas(&self) -> Vec<ReplicaProgress> {
        if !self.leads() {
            return Vec::new();
        }
        let state = &self.node.store().state;
        let mut replicas: Vec<_> = self
            .node
            .raft
            .prs()
            .iter()
            .map(|(id, progress)| {
                let replica = ReplicaId(*id);
                ReplicaProgress {
                    replica,
                    matched: LogIndex(progress.matched),
                    votes: state.members.voters.contains(&replica),
                    knows_members: replica == self.me || progress.committed_index >= state.members_index.0,
                    is_recent: progress.recent_active || replica == self.me,
                    awaits_snapshot: progress.state == ProgressState::Snapshot,
                }
            })
            .collect();
        replicas.sort_by_key(|progress| progress.replica);
        replicas
    }

    /// The members as this replica knows them.
    pub fn members(&self) -> &crate::group::state::Members {
        &self.node.store().state.members
    }

    /// The members are what they should be.
    pub(super) fn agrees_on_members(&self) -> bool {
        let members = &self.node.store().state.members;
        let is = |list: &[ReplicaId], id: &ReplicaId| list.contains(id);
        let wanted = |id: &ReplicaId| self.wanted(*id);
        let has_all = self.desired.iter().all(|(id, wanted)| match wanted {
            Desired::Voter => is(&members.voters, id),
            Desired::Learner => is(&members.learners, id),
            Desired::Leaving => true,
        });
        let has_no_other = members.voters.iter().all(|id| wanted(id) == Desired::Voter)
            && members.learners.iter().all(|id| wanted(id) == Desired::Learner);
        !self.knows_desired() || (members.outgoing_voters.is_empty() && has_all && has_no_other)
    }

    /// One step towards what is desired, if it is time for one.
    pub(super) fn reconcile_members(&mut self) {
        let is_time = self.serves() && self.transfer.is_none() && !self.node.raft.has_pending_conf();
        if !is_time || !self.leaves_joint() && (!self.knows_desired() || self.agrees_on_members()) {
            return;
        }
        if self.leaves_joint() {
            return self.propose_members(ConfChangeV2::default());
        }
        let change = self.addition().or_else(|| self.promotion()).or_else(|| self.removal());
        match change.or_else(|| self.demotion()) {
            Some(change) => self.propose_members(change),
            None => self.hand_over_before_leaving(),
        }
    }

    fn knows_desired(&self) -> bool {
        self.desired.iter().any(|(_, wanted)| *wanted == Desired::Voter)
    }

    fn leaves_joint(&self) -> bool {
        !self.node.store().state.members.outgoing_voters.is_empty()
    }

    fn wanted(&self, replica: ReplicaId) -> Desired {
        let found = self.desired.iter().find(|(id, _)| *id == replica);
        found.map_or(Desired::Leaving, |(_, wanted)| *wanted)
    }

    fn addition(&self) -> Option<ConfChangeV2> {
        let members = &self.node.store().state.members;
        let is_new = |id: &ReplicaId| !members.voters.contains(id) && !members.learners.contains(id);
        let wanted = self.desired.iter().filter(|(_, wanted)| *wanted != Desired::Leaving);
        let id = wanted.map(|(id, _)| *id).find(is_new)?;
        Some(simple(id, ConfChangeType::AddLearnerNode))
    }

    fn promotion(&self) -> Option<ConfChangeV2> {
        let members = &self.node.store().state.members;
        let has_caught_up = |id: &&ReplicaId| {
            let (begin, committed) = (self.node.raft.raft_log.first_index(), self.node.raft.raft_log.committed);
            // In an idle group, one that has everything may not be in raft-rs's state of replication.
            self.node.raft.prs().get(id.0).is_some_and(|progress| {
                // One that still waits for its first snapshot is near in a short log, and cannot vote for long.
                let is_near = progress.matched + 1 >= begin && progress.matched + PROMOTION_LAG_MAX >= committed;
                progress.state != ProgressState::Snapshot && progress.recent_active && is_near
            })
        };
        let learners = members.learners.iter().filter(|id| self.wanted(**id) == Desired::Voter);
        let id = learners.filter(has_caught_up).min()?;
        Some(simple(*id, ConfChangeType::AddNode))
    }

    /// Of a learner that should be none, unless it is this replica: one may have come to lead whose demotion is what it
    /// has committed first.
    fn removal(&self) -> Option<ConfChangeV2> {
        let learners = &self.node.store().state.members.learners;
        let id = learners.iter().find(|id| **id != self.me && self.wanted(**id) == Desired::Leaving)?;
        Some(simple(*id, ConfChangeType::RemoveNode))
    }

    /// Of a voter that should be none, unless it is this replica.
    fn demotion(&self) -> Option<ConfChangeV2> {
        let voters = &self.node.store().state.members.voters;
        let id = *voters.iter().find(|id| **id != self.me && self.wanted(**id) != Desired::Voter)?;
        // Those who stay must be able to decide something.
        let stays = voters.iter().filter(|other| **other != id);
        let is_there = |id: &&ReplicaId| {
            **id == self.me || self.node.raft.prs().get(id.0).is_some_and(|progress| progress.recent_active)
        };
        let (all, there) = (stays.clone().count(), stays.filter(is_there).count());
        if there <= all / 2 {
            return None;
        }
        let mut change = simple(id, ConfChangeType::AddLearnerNode);
        if all == 1 {
            change.set_transition(ConfChangeTransition::Explicit);
        }
        Some(change)
    }

    /// Nothing else is left to do, or can be done: if this replica should not be a voter, another has to lead.
    fn hand_over_before_leaving(&mut self) {
        if self.wanted(self.me) == Desired::Voter {
            return;
        }
        let voters = &self.node.store().state.members.voters;
        let stays = voters.iter().filter(|id| **id != self.me && self.wanted(**id) == Desired::Voter);
        let matched = |id: &&ReplicaId| self.node.raft.prs().get(id.0).map(|progress| progress.matched);
        let Some(to) = stays.max_by_key(matched).copied() else { return };
        if let Err(refused) = self.transfer_leadership(to) {
            tracing::debug!(%refused, "this replica should leave, but nobody can take over yet");
        }
    }

    fn propose_members(&mut self, change: ConfChangeV2) {
        // raft-rs replaces a change that does not fit by an empty entry: then it is proposed again after that one.
        if let Err(error) = self.node.propose_conf_change(Vec::new(), change) {
            tracing::debug!(%error, "a change of members was not proposed");
        }
    }

    /// Applies committed configuration changes, each exactly once also over restarts.
    pub(super) fn change_members(&mut self, committed: &[Entry]) {
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
        self.stop_leading_if_removed();
    }

    /// A leader that is no member any more must not go on: raft-rs leaves it in its place, and panics when it is
    /// answered or when its disk has written something. It may have come to lead before it knew what a former leader
    /// had decided. What is committed is told first, so that those who stay know that they can do without it.
    fn stop_leading_if_removed(&mut self) {
        let raft = &mut self.node.raft;
        if raft.state == StateRole::Leader && raft.prs().get(raft.id).is_none() {
            raft.bcast_append();
            raft.ping();
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
    }
}

fn simple(replica: ReplicaId, kind: ConfChangeType) -> ConfChangeV2 {
    let mut single = ConfChangeSingle { node_id: replica.0, ..ConfChangeSingle::default() };
    single.set_change_type(kind);
    let mut change = ConfChangeV2::default();
    change.mut_changes().push(single);
    change
}
