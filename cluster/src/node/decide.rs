//! How a change of the map is decided: by the root group's leader, on whichever node that is.
//!
//! A change is answered when all nodes in reach know the map that has it, or after [`BARRIER`]: clients ask other nodes
//! right afterwards, and must find there what was just decided.

use super::host::Node;
use super::loads::load_of;
use super::map_cell::encoded;
use super::map_machine::MapMachine;
use super::proposal::Proposal;
use super::wire::{Answer, Question};
use crate::group::{Group, Role};
use crate::ids::{MapVersion, NodeId, ReplicaId};
use crate::map::{Applied, Change, ClusterMap, Health, ReplicaInfo};
use crate::peer::CallError;
use crate::placement::Load;
use basalt_storage::engine::EngineError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long is tried to reach the root group's leader, and waited for it to commit.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long nodes in reach may take to learn a map that was decided.
const BARRIER: Duration = Duration::from_secs(2);

/// A node that was not heard of for so long is out of reach: nobody waits for it.
const REACH: Duration = Duration::from_secs(1);

/// How long a node may take to say what slots cost.
const LOADS_PATIENCE: Duration = Duration::from_secs(1);

/// Between two attempts to find the leader.
const PAUSE: Duration = Duration::from_millis(50);

/// What has become of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Made(Applied),
    /// In the words that clients are told.
    Refused(String),
    /// It may be made, or not: the root group did not answer in time.
    Unknown,
}

impl Node {
    /// Has the root group decide about a change. Blocks for some seconds at most.
    pub fn decide(&self, change: Change) -> Decision {
        let deadline = Instant::now() + PATIENCE;
        let mut hint = None;
        while !self.is_stopping() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let answer = match self.leading_root() {
                Some((root, machine)) => self.propose(&root, &machine, change.clone(), left),
                None => self.ask_leader(&change, hint.take(), left),
            };
            match answer {
                Answer::Decided { applied, .. } => {
                    // The others have it already, says the leader; this node has to have it as well.
                    self.cell.wait(applied.version, BARRIER);
                    return Decision::Made(applied);
                }
                Answer::Refused(why) => return Decision::Refused(why),
                Answer::NotLeader(leader) => hint = leader,
                Answer::Learned(_) | Answer::Greeting(_) | Answer::Accepted | Answer::Front(_) | Answer::Loads(_) => {
                    break;
                }
            }
            std::thread::sleep(PAUSE);
        }
        Decision::Unknown
    }

    /// Decides as the root group's leader, or says who that may be. Blocks.
    pub(super) fn decide_here(&self, change: Change) -> Answer {
        match self.leading_root() {
            Some((root, machine)) => self.propose(&root, &machine, change, PATIENCE),
            None => Answer::NotLeader(self.root_leader()),
        }
    }

    fn propose(&self, root: &Group, machine: &MapMachine, change: Change, patience: Duration) -> Answer {
        let (ticket, verdict) = machine.expect();
        let proposal = Proposal { proposer: self.me, ticket, change };
        if root.propose(&proposal.encode()).is_err() {
            // This node has just joined another cluster, or lost this replica.
            machine.forget(ticket);
            return Answer::NotLeader(None);
        }
        match verdict.recv_timeout(patience) {
            Ok(Ok(applied)) => {
                self.wait_everywhere(applied.version);
                Answer::Decided { applied, map: None }
            }
            Ok(Err(refusal)) => Answer::Refused(refusal.to_string()),
            Err(_) => {
                machine.forget(ticket);
                // Whoever asks gives up as well: its time is over.
                Answer::NotLeader(None)
            }
        }
    }

    /// Waits until the nodes in reach know this map.
    fn wait_everywhere(&self, version: MapVersion) {
        self.bell.ring();
        self.wait_until_known(version, BARRIER);
    }

    /// Waits until the nodes in reach know this map, or one that is newer. Only voters of the root group hear of that.
    pub(super) fn wait_until_known(&self, version: MapVersion, patience: Duration) {
        let map = self.map();
        let is_up = |health: Health| health == Health::Up;
        let others = map.nodes().iter().filter(|(id, node)| **id != self.me && is_up(node.health));
        let others: Vec<NodeId> = others.map(|(id, _)| *id).collect();
        let is_out_of_reach = |node| self.heard.last(node).is_none_or(|last| last.at.elapsed() > REACH);
        self.heard.wait_for(&others, version, patience, is_out_of_reach);
    }

    /// This node's replica of the root group, if that leads and has applied all that was committed before.
    pub(super) fn leading_root(&self) -> Option<(Arc<Group>, MapMachine)> {
        let root = self.root()?.group;
        let machine = self.machine.lock().clone()?;
        root.role().serves().then_some((root, machine))
    }

    /// Who leads the root group, as far as this node knows.
    fn root_leader(&self) -> Option<NodeId> {
        let map = self.map();
        let members = &map.root().members;
        match self.root().map(|root| root.group.role()) {
            Some(Role::Follower { leader: Some(leader), .. }) => members.replica(leader).map(|replica| replica.node),
            Some(_) => None,
            None => Some(members.leader.node),
        }
    }

    /// Asks the leader, or who may know it.
    fn ask_leader(&self, change: &Change, hint: Option<NodeId>, patience: Duration) -> Answer {
        let map = self.map();
        let voters = map.root().members.replicas.iter().map(|replica| replica.node);
        let candidates = hint.into_iter().chain(self.root_leader()).chain(voters);
        let mut asked = vec![self.me];
        for node in candidates {
            if asked.contains(&node) {
                continue;
            }
            asked.push(node);
            let question = Question::Decide(change.clone()).encode();
            let answer = self.peers.call(node, question, patience).wait();
            match answer.map(|bytes| Answer::decode(&bytes)) {
                Ok(Ok(Answer::NotLeader(Some(leader)))) if !asked.contains(&leader) => {
                    return Answer::NotLeader(Some(leader));
                }
                Ok(Ok(Answer::NotLeader(_)) | Err(_)) => {}
                Ok(Ok(answer)) => return answer,
                // Changes say what is wanted, not how it differs: to ask for one again does no harm.
                Err(CallError::Stopped) => break,
                Err(_) => {}
            }
        }
        Answer::NotLeader(None)
    }

    /// What the slots cost, as far as the root group's leader knows, or another of its members. Blocks.
    pub fn load(&self) -> Load {
        if self.root().is_some() {
            return self.heard.loads.load();
        }
        let map = self.map();
        let voters = map.root().members.replicas.iter().map(|replica| replica.node);
        for node in self.root_leader().into_iter().chain(voters) {
            let answer = self.peers.call(node, Question::Loads.encode(), LOADS_PATIENCE).wait();
            if let Ok(Ok(Answer::Loads(figures))) = answer.map(|bytes| Answer::decode(&bytes)) {
                return load_of(&figures);
            }
        }
        Load::even()
    }

    /// Takes over a map that the root group's leader has sent, and keeps a copy for the next start.
    pub(super) fn learn(&self, map: &Arc<ClusterMap>) -> Result<(), EngineError> {
        let has_log = self.root().is_some_and(|root| has_log(root.replica, self.cell.map().as_deref(), map));
        if !has_log && map.version() > self.cell.version() {
            self.rocks.put_node_map(&encoded(map))?;
            self.cell.learn(map.clone());
        }
        Ok(())
    }
}

/// Whether a node learns of changes by its replica of the root group, so that it need not be told of them.
///
/// One that was removed has no log that goes on. And one that was away may be led by a replica that was made meanwhile:
/// without a newer map it does not know where that is, and nothing gets on that it does not answer.
pub fn has_log(replica: ReplicaId, known: Option<&ClusterMap>, new: &ClusterMap) -> bool {
    let members = &new.root().members;
    let is_known = |one: &ReplicaInfo| known.is_some_and(|known| known.root().members.replica(one.id).is_some());
    members.replica(replica).is_some() && members.replicas.iter().all(is_known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Wanted;
    use crate::map::samples::{cluster, node_id};

    #[test]
    fn who_knows_all_that_may_lead_learns_from_the_log() {
        let before = cluster(3);
        let mut after = before.clone();
        let mine = before.root().members.replicas[0].id;
        let group = before.root().id;
        let add = Change::AddReplica { group, node: node_id(3), wanted: Wanted::Voter };
        assert!(has_log(mine, Some(&before), &before));
        after.apply(&add).expect("it has none there");
        assert!(!has_log(mine, Some(&before), &after), "the new one may lead, and nobody here knows where it is");
        assert!(has_log(mine, Some(&after), &after));
        assert!(!has_log(mine, None, &after));
        assert!(!has_log(ReplicaId(99), Some(&after), &after), "a replica that was removed");
    }
}
