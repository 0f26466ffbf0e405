//! How nodes that were clusters by themselves become one (`CLUSTER MEET`, `--cluster-join`).
//!
//! One joins the other, they do not merge: a node that is alone gives up its private root group, and its home group
//! goes along unchanged. That the node asks is written down first, so that after a crash it asks again: the other
//! cluster may have let it in, and knows it by its name. The steps, and what a crash between them leaves:
//!
//! 1. `joining` is in the node's record: it asks again at its next start;
//! 2. the other root group has committed: asked again, it says the same;
//! 3. the record names the other cluster, and the private root group's replica is gone, in one write: it has joined.

use super::decide::Decision;
use super::host::{Node, NodeError};
use super::map_cell::encoded;
use super::wire::{Answer, Greeting, Question};
use crate::ids::{MigrationId, Term};
use crate::map::{AutoBalance, Change, ClusterMap, Joining, Refusal, Roles, SlotClaim};
use crate::peer::CallError;
use crate::placement::{self, Budget, Load, Move, Scope};
use basalt_storage::engine::ReplicaRecord;
use basalt_storage::rng::Rng;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

const CALL_PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to join, for as long as the node is to belong there.
const RETRY: Duration = Duration::from_secs(1);

/// Between two searches for nodes that cannot be reached.
const SEARCH_AGAIN: Duration = Duration::from_secs(2);

/// When no further node has come for so long, the slots of a new cluster are given out.
const QUIET: Duration = Duration::from_secs(2);

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Where nodes listen that are members of the cluster to join, as far as is known when it is asked. May block for as
/// long as it takes to look up names.
pub type Seeds = Arc<dyn Fn() -> Vec<SocketAddr> + Send + Sync>;

/// Whom to join of those who listen somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Anybody,
    /// A cluster of several nodes, but nobody who is alone: of many that start together some would otherwise find the
    /// one and some the other.
    Clusters,
}

/// What has come of an attempt.
enum Met {
    /// This node is a member of the cluster now.
    Cluster,
    /// Whoever listens there is alone, and was not to be joined.
    SomebodyAlone,
}

/// Why two nodes did not meet.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    #[error("{0} does not answer: {1}")]
    NoAnswer(SocketAddr, String),
    #[error("both nodes belong to clusters with other nodes: one of them has to leave its cluster first")]
    BothHaveOthers,
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl Node {
    /// Makes this node and the one that listens there members of one cluster. Blocks.
    pub fn meet(self: &Arc<Self>, address: SocketAddr) -> Result<(), MeetError> {
        let own = self.own_address();
        if address == own {
            return Ok(());
        }
        let theirs = self.greet(address)?;
        let mine = self.greeting();
        if theirs.cluster == mine.cluster {
            return Ok(());
        }
        // Whoever is invited would be refused when it comes, and nobody here would hear of that.
        if theirs.mode != mine.mode {
            let refusal = Refusal::OtherMode { node: theirs.node, there: theirs.mode, here: mine.mode };
            return Err(MeetError::Refused(refusal.to_string()));
        }
        if mine.members == 1 {
            return self.join(address, Choice::Anybody).map(|_| ());
        }
        if theirs.members > 1 {
            return Err(MeetError::BothHaveOthers);
        }
        let invitation = Question::Invite { address: own };
        match self.ask_stranger(address, &invitation)? {
            Answer::Accepted => Ok(()),
            _ => Err(MeetError::NoAnswer(address, "it says something strange".into())),
        }
    }

    /// Goes on where a start was cut off, or begins to join, as the node was told.
    pub(super) fn resume_joining(self: &Arc<Self>, wished: Option<Seeds>) -> Result<(), NodeError> {
        let begun = self.record.lock().joining;
        if let Some(seeds) = wished.clone() {
            self.keep_searching(seeds)?;
        }
        match (begun, &wished) {
            (None, None) => Ok(()),
            (None, Some(_)) if self.map().member_count() > 1 => Ok(()),
            _ => self.keep_joining(begun, wished),
        }
    }

    /// Joins the cluster of whoever listens there, on a thread of its own that tries until it is a member of one.
    pub(super) fn join_later(self: &Arc<Self>, address: SocketAddr) -> Result<(), NodeError> {
        self.keep_joining(Some(address), None)
    }

    /// `begun` is who was asked already, and may have let this node in. It may have moved since, so the seeds are asked
    /// as well.
    fn keep_joining(self: &Arc<Self>, begun: Option<SocketAddr>, seeds: Option<Seeds>) -> Result<(), NodeError> {
        let node = Arc::downgrade(self);
        let mut chance = Rng::from_entropy();
        let alone = move || {
            let node = node.upgrade().filter(|node| !node.is_stopping());
            node.filter(|node| node.map().member_count() == 1)
        };
        let keep_joining = move || {
            while let Some(own) = alone().map(|node| node.own_address()) {
                // Asked anew each time: names may come to mean others.
                let named = seeds.as_ref().map_or_else(Vec::new, |seeds| seeds());
                for (address, choice) in candidates(begun, named, own) {
                    let Some(node) = alone() else { return };
                    match node.join(address, choice) {
                        Ok(Met::Cluster) => return node.share_out(),
                        Ok(Met::SomebodyAlone) => {}
                        Err(error) => {
                            tracing::warn!(%address, %error, "could not join a cluster; trying again");
                            if matches!(error, MeetError::Refused(_)) {
                                // Most likely it joins another itself: that one is the one to join, and not the next.
                                break;
                            }
                        }
                    }
                }
                std::thread::sleep(RETRY.mul_f64(0.5 + chance.f64()));
            }
        };
        Builder::new().name("cluster-join".into()).spawn(keep_joining)?;
        Ok(())
    }

    /// Looks for members that cannot be reached where the map says that they are: when all have come back at other
    /// addresses, there is nobody who could be told. The names by which they were joined still lead to them.
    fn keep_searching(self: &Arc<Self>, seeds: Seeds) -> Result<(), NodeError> {
        let node = Arc::downgrade(self);
        let keep_searching = move || {
            while let Some(node) = node.upgrade().filter(|node| !node.is_stopping()) {
                if node.misses_somebody() {
                    node.search(&seeds);
                }
                drop(node);
                std::thread::sleep(SEARCH_AGAIN);
            }
        };
        Builder::new().name("cluster-search".into()).spawn(keep_searching)?;
        Ok(())
    }

    fn misses_somebody(&self) -> bool {
        let map = self.map();
        let mut others = map.nodes().keys().filter(|node| **node != self.me);
        others.any(|node| !self.peers.node_status(*node).is_connected)
    }

    fn search(&self, seeds: &Seeds) {
        let own = self.own_address();
        for address in seeds().into_iter().filter(|address| *address != own) {
            let Ok(theirs) = self.greet(address) else { continue };
            let is_of_us = theirs.cluster == self.map().cluster_id() && theirs.node != self.me;
            if is_of_us && self.addresses.note(theirs.node, address) {
                tracing::info!(node = %theirs.node, %address, "found a node at another address");
            }
        }
    }

    /// Gives every node its share of the slots, if the cluster has been brought up by nodes that were told to join each
    /// other, and nobody gives it slots. All of them want to do this; the first one does.
    fn share_out(self: &Arc<Self>) {
        let mut quiet_since = Instant::now();
        let mut members = 0;
        loop {
            let map = self.map();
            let is_wanted = map.slots().assigned() == 0 && map.settings().auto_balance == AutoBalance::Yes;
            if self.is_stopping() || !is_wanted {
                return;
            }
            if map.member_count() != members {
                (members, quiet_since) = (map.member_count(), Instant::now());
            }
            if members > 1 && quiet_since.elapsed() >= QUIET {
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let now = (self.clock)();
        let shares = placement::unassigned(&self.map(), &Load::even(), now);
        let change = |share: &Move| share.step.change(MigrationId::new([0; MigrationId::BYTES]), now);
        match self.decide(Change::All(shares.iter().map(change).collect())) {
            Decision::Made(_) => {
                tracing::info!(nodes = members, "gave every node its share of the slots");
                self.share_with_the_late();
            }
            // Somebody else has.
            Decision::Refused(why) => tracing::debug!(%why, "slots are given out already"),
            Decision::Unknown => tracing::warn!("slots could not be given out: the root group has no quorum"),
        }
    }

    /// Whoever has come while the shares were decided, unknown to this node, gets one as well: to the steward such a
    /// node would be one that was brought in later, and with which somebody may have plans.
    fn share_with_the_late(&self) {
        let (map, now, mut rng) = (self.map(), (self.clock)(), Rng::from_entropy());
        let has_slots = |node| map.slots().owners().any(|(group, _)| map.face(group) == Some(node));
        if Roles::of(&map).masters().all(has_slots) {
            return;
        }
        let moves = placement::slots(&map, &Load::even(), now, &Budget::UNLIMITED, Scope::All);
        let begin = moves.iter().map(|planned| planned.step.change(MigrationId::random(&mut rng), now)).collect();
        match self.decide(Change::All(begin)) {
            Decision::Made(_) => tracing::info!("a node has come meanwhile, and gets its share as well"),
            Decision::Refused(why) => tracing::debug!(%why, "a node that has come meanwhile gets its share later"),
            Decision::Unknown => tracing::warn!("a node that has come meanwhile gets its share later"),
        }
    }

    /// Joins the cluster of whoever listens there. Blocks.
    fn join(self: &Arc<Self>, address: SocketAddr, choice: Choice) -> Result<Met, MeetError> {
        // As long as this is held nobody is let in here (`Node::answer`). Two that ask each other refuse each other
        // then, until chance lets one come first.
        let _one_at_a_time = self.joining.write();
        if self.map().member_count() > 1 {
            return Ok(Met::Cluster);
        }
        let theirs = self.greet(address)?;
        if choice == Choice::Clusters && theirs.members == 1 {
            return Ok(Met::SomebodyAlone);
        }
        let claims = self.claims()?;
        self.note_joining(Some(address))?;
        let asked = self.ask_stranger(address, &Question::Decide(Change::Join(Box::new(claims))));
        match asked? {
            Answer::Decided { map: Some(map), .. } => {
                let map = ClusterMap::decode(&map).map_err(|error| MeetError::Refused(error.to_string()))?;
                self.enter(&Arc::new(map))?;
                Ok(Met::Cluster)
            }
            Answer::Refused(why) => {
                self.note_joining(None)?;
                Err(MeetError::Refused(why))
            }
            _ => Err(MeetError::NoAnswer(address, "it says something strange".into())),
        }
    }

    fn greet(&self, address: SocketAddr) -> Result<Greeting, MeetError> {
        match self.ask_stranger(address, &Question::Greet(self.greeting()))? {
            Answer::Greeting(greeting) => Ok(greeting),
            _ => Err(MeetError::NoAnswer(address, "it says something strange".into())),
        }
    }

    fn ask_stranger(&self, address: SocketAddr, question: &Question) -> Result<Answer, MeetError> {
        let answer = self.peers.call_address(address, question.encode(), CALL_PATIENCE).wait();
        let no_answer = |why: String| MeetError::NoAnswer(address, why);
        let answer = answer.map_err(|error| match error {
            CallError::Refused(why) => MeetError::Refused(why),
            error => no_answer(error.to_string()),
        })?;
        Answer::decode(&answer).map_err(|error| no_answer(error.to_string()))
    }

    /// Where other nodes find this one.
    fn own_address(&self) -> SocketAddr {
        let address = self.address.lock();
        SocketAddr::new(address.ip, address.peer_port)
    }

    /// What this node brings along: the slots of its home group, and it must have no others.
    fn claims(&self) -> Result<Joining, MeetError> {
        let map = self.map();
        let home = map.node(self.me).map(|node| node.home);
        let Some((home, group)) = home.and_then(|home| Some((home, map.group(home)?))) else {
            return Err(MeetError::Refused("this node has no group of its own: CLUSTER RESET gives it one".into()));
        };
        if map.slots().count(home) < map.slots().assigned() {
            return Err(MeetError::Refused(
                "this node serves slots of groups that are not its own, and would lose them: move them to it first"
                    .into(),
            ));
        }
        let epochs = map.slots().runs(|owner| (owner == home).then_some(()));
        let claims = epochs.into_iter().flat_map(|(range, ())| {
            range
                .slots()
                .map(|slot| SlotClaim { slots: crate::map::SlotRange::one(slot), epoch: map.slots().info(slot).epoch })
        });
        let hosted = self.hosted.of(home);
        Ok(Joining {
            node: self.me,
            incarnation: self.incarnation,
            address: self.address.lock().clone(),
            zone: self.zone.clone(),
            epoch: map.shown_epoch(self.me),
            home,
            shard: group.shard,
            replica: group.members.leader.replica,
            term: hosted.map_or(Term(0), |hosted| hosted.group.role().term()),
            claims: merge(claims),
            mode: map.mode(),
        })
    }

    fn note_joining(&self, address: Option<SocketAddr>) -> Result<(), NodeError> {
        let mut record = self.record.lock();
        record.joining = address;
        Ok(self.rocks.put_node_record(&record.encode(), &[])?)
    }

    /// Belongs to the cluster of this map from now on.
    fn enter(&self, map: &Arc<ClusterMap>) -> Result<(), NodeError> {
        let _alone = self.hosting.lock();
        let mut record = self.record.lock().clone();
        let old = self.hosted.remove(record.root);
        *self.machine.lock() = None;
        if let Some(old) = &old {
            old.group.stop();
        }
        let gone = old.map(|old| ReplicaRecord { group: record.root.0, replica: old.replica.0, store: None });
        let of_old_root = |there: &ReplicaRecord| there.group == record.root.0;
        let store = self.rocks.replicas()?.into_iter().find(of_old_root).and_then(|there| there.store);
        record.cluster = map.cluster_id();
        record.root = map.root().id;
        record.joining = None;
        self.rocks.put_node_map(&encoded(map))?;
        self.rocks.put_node_record(&record.encode(), gone.as_slice())?;
        if let Some(store) = store {
            self.rocks.delete_store(store)?;
        }
        tracing::info!(cluster = %record.cluster, nodes = map.member_count(), "joined a cluster");
        *self.record.lock() = record;
        self.peers.set_cluster(map.cluster_id());
        self.cell.learn(map.clone());
        Ok(())
    }
}

/// Whom to ask in which order, and which of them must not be alone: those behind whoever was asked before, and behind
/// this node itself. Nodes may all be told the same names, their own among them: so the first of them is joined.
fn candidates(begun: Option<SocketAddr>, named: Vec<SocketAddr>, own: SocketAddr) -> Vec<(SocketAddr, Choice)> {
    let (mut choice, mut found) = (Choice::Anybody, Vec::new());
    for address in begun.into_iter().chain(named) {
        if address != own {
            found.push((address, choice));
        }
        if address == own || begun == Some(address) {
            choice = Choice::Clusters;
        }
    }
    found
}

/// Neighbours with the same epoch become one claim.
fn merge(claims: impl Iterator<Item = SlotClaim>) -> Vec<SlotClaim> {
    let mut merged: Vec<SlotClaim> = Vec::new();
    for claim in claims {
        let follows = merged.last().is_some_and(|last| {
            last.epoch == claim.epoch && last.slots.last().number() + 1 == claim.slots.first().number()
        });
        match merged.last_mut() {
            Some(last) if follows => {
                last.slots = crate::map::SlotRange::new(last.slots.first(), claim.slots.last())
                    .expect("a range that grows at its end");
            }
            _ => merged.push(claim),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::Choice::{Anybody, Clusters};
    use super::*;

    #[test]
    fn the_first_of_the_names_is_joined_and_others_only_if_they_are_clusters() {
        let [a, b, c] = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let names = || vec![a, b, c];
        assert_eq!(candidates(None, names(), a), [(b, Clusters), (c, Clusters)]);
        assert_eq!(candidates(None, names(), c), [(a, Anybody), (b, Anybody)]);
        assert_eq!(candidates(Some(b), vec![a], c), [(b, Anybody), (a, Clusters)]);
        assert_eq!(candidates(Some(a), vec![], c), [(a, Anybody)]);
    }
}
