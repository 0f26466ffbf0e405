//! How many voters each group should have, and on which nodes.
//!
//! A group that owns slots, or is about to, should have the leader and the wanted copies, at least all nodes whose home
//! it is, and an odd number: a leader with one replica survives the loss of neither, so a third voter is added where
//! there is a node for it, and not shown to clients. A group without slots gets nothing. The root group has up to five.
//!
//! One step of a group at a time, and in an order in which no copy is lost: first add, then remove what is lost or to
//! be emptied, then what is too much. In cache mode a group without keys is not taken apart, but begins anew.

use super::fitness::{Fitness, fitness, usable};
use super::{Move, Step, Why};
use crate::ids::{GroupId, NodeId};
use crate::map::{ClusterMap, Members, Mode, ReplicaInfo, ReplicaStatus, VOTERS_MAX, Wanted};
use basalt_storage::clock::UnixMs;
use std::collections::BTreeMap;

/// The most voters of the root group: every change of the map goes to all of them.
const ROOT_VOTERS_MAX: usize = 5;

/// The next steps for all groups, while at most `budget` replicas are being built at once.
pub fn replicas(map: &ClusterMap, now: UnixMs, budget: usize) -> Vec<Move> {
    let mut site = Site::survey(map, now);
    let building = |members: &Members| members.staying().filter(|replica| !replica.is_settled()).count();
    let all = || map.groups().values().map(|group| &group.members).chain([&map.root().members]);
    let mut left = budget.saturating_sub(all().map(building).sum());
    let mut moves = Vec::new();
    for group in [map.root().id].into_iter().chain(map.groups().keys().copied()) {
        let Some(step) = site.refound(group).or_else(|| site.next_step(group)) else { continue };
        if let Step::AddReplica { node, .. } = step.step {
            if left == 0 {
                continue;
            }
            left -= 1;
            *site.hosted.entry(node).or_default() += 1;
        }
        moves.push(step);
    }
    moves
}

/// The cluster as placement sees it.
struct Site<'a> {
    map: &'a ClusterMap,
    now: UnixMs,
    usable: Vec<NodeId>,
    /// How many replicas each node has, and will have.
    hosted: BTreeMap<NodeId, usize>,
}

/// What a group should come to.
struct Target {
    voters: usize,
    /// Whether voters may be added, or only be taken away.
    may_grow: bool,
    homes: Vec<NodeId>,
}

impl<'a> Site<'a> {
    fn survey(map: &'a ClusterMap, now: UnixMs) -> Site<'a> {
        let mut hosted: BTreeMap<NodeId, usize> = BTreeMap::new();
        for replica in map.groups().values().flat_map(|group| group.members.staying()) {
            *hosted.entry(replica.node).or_default() += 1;
        }
        Site { map, now, usable: usable(map, now).collect(), hosted }
    }

    /// Whether there is anything to be decided about the copies of a group. In cache mode most have the one with which
    /// they began; and of one that has lost its majority nothing can be copied (see [`super::lost`]).
    fn has_copies(&self, group: GroupId) -> bool {
        let Some(members) = self.map.members(group) else { return false };
        match self.map.mode() {
            Mode::Durable => true,
            Mode::Cache => {
                let is_wanted = self.map.settings().replicas > 0 || members.replicas.len() > 1;
                is_wanted && members.has_majority(|replica| self.fitness(replica.node) != Fitness::Lost)
            }
        }
    }

    fn target(&self, group: GroupId) -> Target {
        if group == self.map.root().id {
            // A node that is silent for a moment keeps its vote: the fewer are there, the more each of them matters.
            let nodes = self.map.nodes().keys().filter(|&&node| self.fitness(node).counts());
            let voters = match nodes.count() {
                // Two survive the loss of neither, but neither is alone with what was decided.
                few @ 0..=2 => few,
                count => ROOT_VOTERS_MAX.min(count - (count + 1) % 2),
            };
            return Target { voters: voters.max(1), may_grow: true, homes: Vec::new() };
        }
        let homes: Vec<NodeId> =
            self.map.home_nodes(group).filter(|&node| fitness(self.map, node, self.now).counts()).collect();
        if self.map.slots().count(group) == 0 && !self.is_awaited(group) {
            return Target { voters: homes.len().max(1), may_grow: false, homes };
        }
        let nodes = self.map.nodes().keys().filter(|&&node| self.fitness(node).counts()).count();
        let copies = match self.map.mode().copies_max(nodes) {
            1 if self.map.mode() == Mode::Cache => 1,
            _ => 1 + usize::from(self.map.settings().replicas),
        };
        let voters = copies.max(homes.len());
        Target { voters: (voters + (voters + 1) % 2).min(VOTERS_MAX), may_grow: true, homes }
    }

    /// Whether the replicas of a group that are too many go all at once: in cache mode, if it has no slots. Were they
    /// taken away one by one, each would be needed until it has gone, but they end with their processes.
    fn begins_anew(&self, group: GroupId) -> bool {
        self.map.mode() == Mode::Cache && group != self.map.root().id && self.map.slots().count(group) == 0
    }

    /// It does so when it has nothing more to do with slots.
    fn refound(&self, group: GroupId) -> Option<Move> {
        if !self.begins_anew(group) || !self.map.is_idle(group) {
            return None;
        }
        let info = self.map.group(group)?;
        let (has, wanted, node) = (info.members.replicas.len(), self.target(group).voters, info.preferred);
        let can_stay = info.members.on(node).is_some() && self.fitness(node) == Fitness::Usable;
        let step = Step::Refound { group, node };
        (has > wanted && can_stay).then_some(Move { step, why: Why::TooManyVoters { has, wanted } })
    }

    fn next_step(&self, group: GroupId) -> Option<Move> {
        if group != self.map.root().id && !self.has_copies(group) {
            return None;
        }
        let members = self.map.members(group)?;
        let target = self.target(group);
        let live: Vec<&ReplicaInfo> = members
            .staying()
            .filter(|replica| replica.wanted == Wanted::Voter && self.fitness(replica.node).counts())
            .collect();
        let firm = live.iter().filter(|replica| replica.is_firm()).count();
        self.add_at_home(group, members, &target)
            .or_else(|| self.add_missing(group, members, &target, &live))
            .or_else(|| self.remove_unfit(group, members, &target, firm))
            .or_else(|| if firm == live.len() { self.remove_surplus(group, members, &target, &live) } else { None })
            .or_else(|| if firm == live.len() { self.add_zone(group, members, &target, &live) } else { None })
    }

    /// A node that lost its replica, or could not have one yet, gets it as soon as it can be used.
    fn add_at_home(&self, group: GroupId, members: &Members, target: &Target) -> Option<Move> {
        let mut without = target.homes.iter().filter(|&&node| {
            !members.is_on(node) && self.fitness(node) == Fitness::Usable && members.staying().count() < VOTERS_MAX
        });
        let node = *without.next()?;
        Some(Move { step: Step::AddReplica { group, node }, why: Why::HomeWithoutCopy })
    }

    fn add_missing(&self, group: GroupId, members: &Members, target: &Target, live: &[&ReplicaInfo]) -> Option<Move> {
        // Slots that are to come wait until the group has its copies, whatever becomes of it afterwards.
        let shall_shrink = self.slots_leave_first(group, target) && !self.is_awaited(group);
        if !target.may_grow || live.len() >= target.voters || shall_shrink {
            return None;
        }
        let node = self.candidate(members, live)?;
        let unfit = members.staying().find_map(|replica| self.why_unfit(replica.node));
        let why = unfit.unwrap_or(Why::TooFewVoters { has: live.len(), wanted: target.voters });
        Some(Move { step: Step::AddReplica { group, node }, why })
    }

    /// Only when those that remain are complete. A lost node may come back, so its vote is given up only for another; a
    /// node that is to be emptied has to go also if there is no other.
    fn remove_unfit(&self, group: GroupId, members: &Members, target: &Target, firm: usize) -> Option<Move> {
        if self.slots_leave_first(group, target) || self.begins_anew(group) {
            return None;
        }
        let possible = target.voters.min(self.usable.len()).max(1);
        let goes = |replica: &&ReplicaInfo| match self.fitness(replica.node) {
            Fitness::Lost => firm >= target.voters,
            Fitness::Emptying => firm >= possible,
            Fitness::Usable | Fitness::Silent => false,
        };
        let replica = members.staying().find(goes)?;
        let step = Step::RemoveReplica { group, replica: replica.id, node: replica.node };
        Some(Move { step, why: self.why_unfit(replica.node)? })
    }

    /// Takes away a guest from where most others are.
    fn remove_surplus(
        &self,
        group: GroupId,
        members: &Members,
        target: &Target,
        live: &[&ReplicaInfo],
    ) -> Option<Move> {
        if live.len() <= target.voters || self.begins_anew(group) {
            return None;
        }
        let replica = self.most_dispensable(members, target, live)?;
        let step = Step::RemoveReplica { group, replica: replica.id, node: replica.node };
        Some(Move { step, why: Why::TooManyVoters { has: live.len(), wanted: target.voters } })
    }

    /// Adds a voter in a zone that has none, if one that shares its zone can be given up for it.
    fn add_zone(&self, group: GroupId, members: &Members, target: &Target, live: &[&ReplicaInfo]) -> Option<Move> {
        if !target.may_grow || live.len() != target.voters {
            return None;
        }
        let dispensable = self.most_dispensable(members, target, live)?;
        let node = self.candidate(members, live)?;
        let is_better = self.crowd(dispensable.node, live) > 1 && self.crowd(node, live) == 0;
        is_better.then_some(Move { step: Step::AddReplica { group, node }, why: Why::SharedZone })
    }

    /// The guest, other than the leader, in the zone with most others, on the node that has most.
    fn most_dispensable<'r>(
        &self,
        members: &Members,
        target: &Target,
        live: &[&'r ReplicaInfo],
    ) -> Option<&'r ReplicaInfo> {
        let guests = live.iter().copied().filter(|replica| {
            replica.id != members.leader.replica
                && !target.homes.contains(&replica.node)
                && replica.status == ReplicaStatus::Voter
        });
        guests.max_by_key(|replica| (self.crowd(replica.node, live), self.hosts(replica.node), replica.id))
    }

    /// The node for another voter: in the zone with fewest others, and among those the one that has least.
    fn candidate(&self, members: &Members, live: &[&ReplicaInfo]) -> Option<NodeId> {
        let free = self.usable.iter().copied().filter(|&node| !members.is_on(node));
        free.min_by_key(|&node| (self.crowd(node, live), self.hosts(node), node))
    }

    /// Slots are on their way to the group.
    fn is_awaited(&self, group: GroupId) -> bool {
        self.map.migrations_under_way().any(|moving| moving.target == group)
    }

    /// A master that is emptied gives its slots to other masters; its group then goes with it.
    fn slots_leave_first(&self, group: GroupId, target: &Target) -> bool {
        let is_emptied = |node| self.fitness(node) == Fitness::Emptying && self.map.face(group) == Some(node);
        target.homes.is_empty() && self.map.home_nodes(group).any(is_emptied)
    }

    fn why_unfit(&self, node: NodeId) -> Option<Why> {
        match self.fitness(node) {
            Fitness::Lost => Some(Why::Lost(node)),
            Fitness::Emptying => Some(Why::Draining(node)),
            Fitness::Usable | Fitness::Silent => None,
        }
    }

    /// How many of these replicas are in the zone of `node`.
    fn crowd(&self, node: NodeId, live: &[&ReplicaInfo]) -> usize {
        let zone = |node| self.map.node(node).map(|info| info.zone.as_str());
        live.iter().filter(|replica| zone(replica.node) == zone(node)).count()
    }

    fn hosts(&self, node: NodeId) -> usize {
        self.hosted.get(&node).copied().unwrap_or(0)
    }

    fn fitness(&self, node: NodeId) -> Fitness {
        fitness(self.map, node, self.now)
    }
}
