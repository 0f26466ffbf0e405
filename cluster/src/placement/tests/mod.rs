//! Scripts for each kind of move, and whole clusters that carry out their plans.

mod balance;
mod convergence;
mod leaders;
mod lost;
mod replicas;
mod slots;

use super::{Budget, Load, Move, Scope, SlotLoad, Step, plan};
use crate::Slot;
use crate::ids::{GroupId, MigrationId, NodeId, Term};
use crate::map::samples::{node_id, serving};
use crate::map::{
    AutoBalance, Change, ClusterMap, Health, Part, Phase, Removal, ReplicaStatus, Report, Settings, Side, Wanted,
};
use basalt_storage::clock::UnixMs;

const AT: UnixMs = UnixMs(1_000_000);

/// A cluster with its load, in which time passes only when a test says so.
struct World {
    map: ClusterMap,
    load: Load,
    now: UnixMs,
    migrations: u32,
}

impl World {
    /// `count` masters that share the slots, each alone with its group, and `replicas` wanted.
    fn new(count: u8, replicas: u8) -> World {
        World::of(serving(count), replicas)
    }

    fn of(map: ClusterMap, replicas: u8) -> World {
        let mut world = World { map, load: Load::even(), now: AT, migrations: 0 };
        world.apply(&Change::Configure(Settings { replicas, ..Settings::default() }));
        world
    }

    fn apply(&mut self, change: &Change) {
        self.map.apply(change).unwrap_or_else(|refusal| panic!("{change:?}: {refusal}"));
        self.map.check().unwrap();
    }

    fn plan(&self) -> Vec<Move> {
        let scope = match self.map.settings().auto_balance {
            AutoBalance::Yes => Scope::All,
            AutoBalance::No => Scope::OnlyDraining,
        };
        plan(&self.map, &self.load, self.now, &Budget::UNLIMITED, scope)
    }

    /// All slots are measured.
    fn measure(&mut self, load: impl Fn(Slot) -> SlotLoad) {
        Slot::all().for_each(|slot| self.load.set(slot, load(slot)));
    }

    fn zone(&mut self, number: u8, zone: &str) {
        let info = self.map.node(node_id(number)).unwrap().clone();
        let (incarnation, address) = (info.incarnation, info.address);
        self.apply(&Change::Register { node: node_id(number), incarnation, address, zone: zone.to_owned() });
    }

    fn fail(&mut self, number: u8) {
        let health = Health::Failed { since: self.now };
        self.apply(&Change::SetHealth { node: node_id(number), health });
    }

    fn recover(&mut self, number: u8) {
        self.apply(&Change::SetHealth { node: node_id(number), health: Health::Up });
    }

    fn drain(&mut self, number: u8) {
        self.apply(&Change::Drain { node: node_id(number), removal: Removal::Wanted });
    }

    /// So long that who is failed counts as lost.
    fn wait(&mut self) {
        self.now.0 += self.map.settings().repair_delay_ms as i64;
    }

    fn carry_out(&mut self, moves: &[Move]) {
        for planned in moves {
            self.migrations += 1;
            let mut id = [0; MigrationId::BYTES];
            id[..4].copy_from_slice(&self.migrations.to_le_bytes());
            self.apply(&planned.step.change(MigrationId::new(id), self.now));
        }
    }

    /// Lets groups elect, hand over, change their members and move slots, as far as their majorities live.
    fn react(&mut self) {
        let groups: Vec<GroupId> = self.map.groups().keys().copied().chain([self.map.root().id]).collect();
        for group in groups {
            // Electing may remove nothing, but a report may end the last that held a group.
            if self.map.members(group).is_some() && self.has_majority(group) {
                self.elect(group);
                self.report(group);
            }
        }
        let under_way: Vec<(MigrationId, GroupId, GroupId)> =
            self.map.migrations_under_way().map(|moving| (moving.id, moving.source, moving.target)).collect();
        for (id, source, target) in under_way {
            if !self.has_majority(source) || !self.has_majority(target) {
                continue;
            }
            self.apply(&Change::CommitMigration { id, seen: self.map.version(), at: self.now });
            for side in [Side::Source, Side::Target] {
                self.apply(&Change::FinishMigration { id, side, seen: self.map.version(), at: self.now });
            }
            let is_done = |phase: &Phase| !matches!(phase, Phase::Finishing(sides) if sides.source == Part::Due);
            assert!(is_done(&self.map.migrations()[&id].phase));
        }
    }

    /// Plans and carries out until nothing is left to do, and says how many moves that took.
    fn settle(&mut self) -> usize {
        let mut count = 0;
        for _ in 0..200 {
            self.react();
            let moves = self.plan();
            if moves.is_empty() {
                return count;
            }
            count += moves.len();
            self.carry_out(&moves);
        }
        panic!("there is no end to it; next would be {:#?}", self.plan());
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.map.node(node).is_some_and(|node| node.is_up())
    }

    fn has_majority(&self, group: GroupId) -> bool {
        let voters: Vec<_> = self.map.members(group).unwrap().voters().collect();
        voters.iter().filter(|voter| self.is_up(voter.node)).count() * 2 > voters.len()
    }

    fn elect(&mut self, group: GroupId) {
        let members = self.map.members(group).unwrap();
        let able = |node: NodeId| self.is_up(node) && members.on(node).is_some_and(|replica| replica.is_firm());
        let preferred = self.map.group(group).map(|group| group.preferred).filter(|&node| able(node));
        let present = Some(members.leader.node).filter(|&node| able(node));
        let any = members.staying().map(|replica| replica.node).find(|&node| able(node));
        let Some(node) = preferred.or(present).or(any) else { return };
        if node != members.leader.node {
            let (replica, term) = (members.on(node).unwrap().id, Term(members.leader.term.0 + 1));
            self.apply(&Change::LeaderChanged { group, replica, term });
        }
    }

    fn report(&mut self, group: GroupId) {
        let members = self.map.members(group).unwrap();
        let keeps = |wanted| wanted != Wanted::Leaving;
        let present = members
            .replicas
            .iter()
            .filter(|replica| keeps(replica.wanted) || replica.id == members.leader.replica)
            .map(|replica| (replica.id, if self.is_up(replica.node) { ReplicaStatus::Voter } else { replica.status }))
            .filter(|(_, status)| *status != ReplicaStatus::Planned)
            .collect();
        let report = Report { term: members.leader.term, seen: self.map.version(), present };
        self.apply(&Change::ReportReplicas { group, report });
    }

    /// The numbers of the nodes with a voter of `group`.
    fn voters(&self, group: u32) -> Vec<u8> {
        let members = self.map.members(GroupId(group)).unwrap();
        let mut voters: Vec<u8> = members.voters().map(|voter| voter.node.as_bytes()[0]).collect();
        voters.sort_unstable();
        voters
    }

    /// How many slots clients find on each of the nodes `1..=count`.
    fn shares(&self, count: u8) -> Vec<usize> {
        let of = |number| super::remaining(&self.map, node_id(number)).slots;
        (1..=count).map(of).collect()
    }
}

fn texts(moves: &[Move]) -> Vec<String> {
    // Ids are long; the nodes of these tests are told apart by their first two digits.
    let short = |text: &str| if text.len() >= 40 { text[..2].to_owned() } else { text.to_owned() };
    let words = |planned: &Move| {
        let text = planned.to_string().replace(':', " :").replace(',', " ,");
        text.split(' ').map(short).collect::<Vec<_>>().join(" ").replace(" :", ":").replace(" ,", ",")
    };
    moves.iter().map(words).collect()
}

fn has_step(moves: &[Move], step: impl Fn(&Step) -> bool) -> bool {
    moves.iter().any(|planned| step(&planned.step))
}
