//! Several replicas of one group from a seed: the real cores, disks that forget, a network that loses and is cut, and
//! crashes, pauses, slow disks, transfers and changes of members between any two steps.
//!
//! A run has two phases. In the first, things go wrong; in the second everything is healed, and within a minute there
//! has to be a leader that serves, all members have to be what they should be, and all have to hold the same. What must
//! hold at any time is in [`truth`].

mod bugs;
mod faults;
mod network;
mod node;
mod truth;

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_cluster::group::core::{Core, CoreOptions, Delivery, Desired, ELECTION_TICKS, PeerMessage};
use basalt_cluster::group::{Fsync, LogIndex, ReplicaId, Role, Start, Term};

pub use bugs::Bug;

use crate::checkers::{AppliedNeverAhead, Checked, Violation, restart_works, settles};
use crate::disk::{Disk, Item};
use crate::planted::Planted;
use crate::rng::Rng;
use faults::Faults;
use network::Network;
use node::{Node, Surroundings, Wish};
use truth::Truth;

const ROUNDS: u64 = 3000;

/// How long a round is, at most.
const ROUND_MS_MAX: u64 = 8;

/// Within this time after the last fault everything has to be well.
const SETTLING_MS: u64 = 60_000;

/// So long it has to stay well.
const QUIET_MS: u64 = 3_000;

/// Replicas that may be added during a run.
const SPARES: u64 = 4;

const SNAPSHOT_MS_MAX: u64 = 300;

/// How a run ended, to compare a replay with the run it repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub violation: Option<Violation>,
    /// A digest of everything that happened.
    pub events: u64,
    pub acked: u64,
    pub crashes: u64,
    pub terms: u64,
    pub snapshots: u64,
    pub member_changes: u64,
    pub transfers: u64,
}

pub struct World {
    rng: Rng,
    bug: Bug,
    faults: Faults,
    phase: Phase,
    now: u64,
    network: Network,
    sites: BTreeMap<u64, Site>,
    founders: Vec<ReplicaId>,
    desired: BTreeMap<ReplicaId, Desired>,
    /// When the leader of now will be cut off, and when everybody is connected again.
    isolation: Option<(u64, u64)>,
    healing: Option<u64>,
    next_replica: u64,
    next_id: u64,
    processes: u64,
    shipments: Vec<Shipment>,
    reports: Vec<Report>,
    truth: Truth,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Faulty,
    Healing,
    Quiet,
}

/// A place where a replica lives: what outlives its processes.
struct Site {
    disk: Arc<Disk>,
    node: Option<Node>,
    start: Start,
    starts_at: u64,
    paused_until: u64,
    /// The replica was removed: nothing of it is left, and nobody starts it again.
    is_destroyed: bool,
}

/// A snapshot on its way.
struct Shipment {
    message: PeerMessage,
    items: Vec<Item>,
    from_process: u64,
    arrives_at: u64,
    is_lost: bool,
}

/// What became of a snapshot, on its way back.
struct Report {
    at: u64,
    to: u64,
    process: u64,
    about: ReplicaId,
    delivery: Delivery,
}

impl World {
    pub fn new(seed: u64, replicas: u64, bug: Bug) -> World {
        let mut rng = Rng::new(seed.wrapping_mul(31).wrapping_add(replicas));
        let faults = Faults::draw(seed, &mut rng);
        let founders: Vec<_> = (1..=replicas).map(ReplicaId).collect();
        let start = Start::Found { voters: founders.clone() };
        let sites = founders.iter().map(|id| (id.0, Site::new(start.clone()))).collect();
        World {
            rng,
            bug,
            faults,
            phase: Phase::Faulty,
            now: 0,
            network: Network::default(),
            sites,
            desired: founders.iter().map(|id| (*id, Desired::Voter)).collect(),
            founders,
            isolation: None,
            healing: None,
            next_replica: replicas + 1,
            next_id: 0,
            processes: 0,
            shipments: Vec::new(),
            reports: Vec::new(),
            truth: Truth::default(),
            outcome: Outcome::default(),
        }
    }

    pub fn run(mut self) -> Outcome {
        let checked = self.run_to_the_end();
        self.outcome.violation = checked.err();
        self.outcome.events = self.truth.events;
        self.outcome.acked = self.truth.acks;
        self.outcome
    }

    fn run_to_the_end(&mut self) -> Checked {
        for _ in 0..ROUNDS {
            self.fail_by_chance();
            self.act_as_client();
            self.round()?;
        }
        self.heal();
        // What was begun before, like a slow sync or a transfer, may still come to its end.
        let (begin, end) = (self.now + QUIET_MS, self.now + SETTLING_MS);
        while self.now < begin || self.now < end && self.unsettled().is_some() {
            self.round()?;
            self.destroy_removed();
        }
        let unsettled = self.unsettled();
        settles(unsettled.is_none(), || unsettled.unwrap_or_default())?;
        self.phase = Phase::Quiet;
        let (leader, term) = self.leader();
        let end = self.now + QUIET_MS;
        while self.now < end {
            self.round()?;
        }
        settles(self.leader() == (leader, term), || format!("{:?} leads after {leader} in {term}", self.leader()))?;
        let leader = self.sites[&leader].node.as_ref();
        settles(leader.is_some_and(|node| node.has_lease(self.now)), || "the leader has no lease".to_owned())
    }

    /// A few milliseconds of everybody.
    fn round(&mut self) -> Checked {
        self.now += 1 + self.rng.below(ROUND_MS_MAX);
        self.truth.note(self.now);
        self.start_what_is_down()?;
        self.deliver();
        self.deliver_snapshots();
        let mut wishes = Vec::new();
        let ids: Vec<u64> = self.sites.keys().copied().collect();
        for id in ids {
            let site = self.sites.get_mut(&id).expect("sites stay");
            let Some(node) = site.node.as_mut().filter(|_| site.paused_until <= self.now) else { continue };
            // Clients that wait for a process that was stopped are the first to be served.
            if self.rng.chance(300) {
                node.read(self.now, &self.truth)?;
            }
            node.step(&mut Surroundings {
                now: self.now,
                rng: &mut self.rng,
                faults: &self.faults,
                truth: &mut self.truth,
                wishes: &mut wishes,
            })?;
            let process = node.process;
            for wish in wishes.drain(..) {
                self.grant(id, process, wish);
            }
        }
        Ok(())
    }

    fn grant(&mut self, id: u64, process: u64, wish: Wish) {
        match wish {
            Wish::Send(message) => {
                let to = message.to().0;
                let is_voter = |node: &Node| node.core.members().voters.contains(&ReplicaId(to));
                let knows_itself = self.sites.get(&to).and_then(|site| site.node.as_ref()).is_some_and(is_voter);
                if self.bug == Bug::NoVotesToLearners && message.asks_for_vote() && !knows_itself {
                    return;
                }
                self.truth.note(id << 32 | to);
                self.network.send(&message, self.now, &self.faults, &mut self.rng);
            }
            Wish::Ship { message, items } => {
                self.outcome.snapshots += 1;
                let is_lost = self.rng.chance(self.faults.snapshot_loss);
                let arrives_at = self.now + self.rng.below(SNAPSHOT_MS_MAX);
                self.shipments.push(Shipment { message, items, from_process: process, arrives_at, is_lost });
            }
            Wish::End => self.end_process(id),
        }
    }

    fn end_process(&mut self, id: u64) {
        self.outcome.crashes += 1;
        let site = self.sites.get_mut(&id).expect("sites stay");
        site.node = None;
        site.starts_at = self.now + self.rng.below(2000);
    }

    fn start_what_is_down(&mut self) -> Checked {
        let ids: Vec<u64> = self.sites.keys().copied().collect();
        for id in ids {
            let site = self.sites.get_mut(&id).expect("sites stay");
            if site.node.is_some() || site.is_destroyed || site.starts_at > self.now {
                continue;
            }
            self.processes += 1;
            let is_first = site.disk.contents.lock().seen.log.state.is_none();
            site.disk.open();
            let applied = {
                let contents = site.disk.contents.lock();
                let empty = contents.seen.log.state.is_none();
                if !empty {
                    AppliedNeverAhead::check_restart(&contents)?;
                }
                contents.seen.applied
            };
            let options = CoreOptions {
                me: ReplicaId(id),
                start: site.start.clone(),
                fsync: Fsync::Always,
                log_bytes_max: self.faults.log_bytes_max,
                election_ticks: ELECTION_TICKS,
                seed: self.rng.next(),
            };
            let core = Core::start(&options, site.disk.clone(), applied);
            let mut core = core.map_err(|error| restart_works(&format!("{id}: {error}")))?;
            if self.bug == Bug::PromiseForgotten && !is_first {
                // As long as the promise lasts, and shorter than the shortest election timeout.
                (0..ELECTION_TICKS.start - 1).for_each(|_| core.tick());
            }
            core.set_desired(self.desired.iter().map(|(id, wanted)| (*id, *wanted)).collect());
            let node = Node::new(core, id, self.processes, site.disk.clone(), self.bug, self.now);
            node.check_start(&self.truth)?;
            site.node = Some(node);
        }
        Ok(())
    }

    fn deliver(&mut self) {
        for (to, message) in self.network.arrived(self.now) {
            if let Some(node) = self.sites.get_mut(&to).and_then(|site| site.node.as_mut()) {
                node.arrived.push_back(message);
            }
        }
    }

    fn deliver_snapshots(&mut self) {
        let (arrived, later) =
            std::mem::take(&mut self.shipments).into_iter().partition(|one| one.arrives_at <= self.now);
        self.shipments = later;
        let arrived: Vec<Shipment> = arrived;
        for shipment in arrived {
            let (from, to) = (shipment.message.from(), shipment.message.to());
            let is_lost = shipment.is_lost || self.network.is_cut(from.0, to.0) || self.network.is_cut(to.0, from.0);
            let site = self.sites.get_mut(&to.0).filter(|site| site.paused_until <= self.now && !is_lost);
            let node = site.and_then(|site| site.node.as_mut());
            let is_installed = node.is_some_and(|node| node.offer(shipment.message, shipment.items));
            let delivery = if is_installed { Delivery::Installed } else { Delivery::Failed };
            if self.bug == Bug::DeliveryNotReported && delivery == Delivery::Failed {
                continue;
            }
            let at = self.now + self.rng.below(self.faults.delay_ms_max + 1);
            self.reports.push(Report { at, to: from.0, process: shipment.from_process, about: to, delivery });
        }
        for report in std::mem::take(&mut self.reports) {
            let node = self.sites.get_mut(&report.to).and_then(|site| site.node.as_mut());
            match node.filter(|node| node.process == report.process) {
                Some(_) if report.at > self.now => self.reports.push(report),
                Some(node) => node.core.on_shipped(report.about, report.delivery),
                None => (),
            }
        }
    }

    fn act_as_client(&mut self) {
        let ids: Vec<u64> = self.sites.keys().copied().collect();
        let id = ids[self.rng.below(ids.len() as u64) as usize];
        let wants = self.rng.chance(self.faults.proposals);
        let slot = self.rng.below(4) as u16;
        let site = self.sites.get_mut(&id).expect("sites stay");
        let Some(node) = site.node.as_mut().filter(|_| site.paused_until <= self.now) else { return };
        // Those who have not noticed that it no longer leads go on, too.
        if wants && (node.role.serves() || self.rng.chance(20)) {
            let item = Item { id: self.next_id, slot };
            self.next_id += 1;
            node.propose(item);
        }
    }

    fn fail_by_chance(&mut self) {
        let ids: Vec<u64> = self.sites.keys().copied().collect();
        let id = ids[self.rng.below(ids.len() as u64) as usize];
        if self.rng.chance(self.faults.partition) {
            match self.rng.below(10) {
                0..5 => self.network.heal(),
                // What befalls the leader matters most.
                5..7 => self.network.isolate(&ids, self.leader().0),
                _ => self.network.cut(&ids, &mut self.rng),
            }
        }
        if self.rng.chance(self.faults.transfer) {
            self.transfer();
        }
        if self.rng.chance(self.faults.member_change) {
            self.change_members();
        }
        if self.rng.chance(self.faults.ambush) {
            self.ambush();
        }
        if let Some((_, leader)) = self.isolation.take_if(|(at, _)| *at <= self.now) {
            self.network.isolate(&ids, leader);
        }
        if self.healing.take_if(|at| *at <= self.now).is_some() {
            self.network.heal();
        }
        self.destroy_removed();
        // The worst moments are made more likely: an overruled log that was just put right, a snapshot half installed.
        let critical = ids.iter().copied().find(|id| self.is_critical(*id));
        let power_loss = self.faults.power_loss * if critical.is_some() { 40 } else { 1 };
        let id = critical.unwrap_or(id);
        let site = self.sites.get_mut(&id).expect("sites stay");
        if site.node.is_none() {
            return;
        }
        if self.rng.chance(power_loss) {
            site.disk.lose_power(&mut self.rng);
            if self.bug == Bug::NumberUsedAgain {
                (site.disk, site.start) = (Arc::new(Disk::new(Planted::Nothing)), Start::Empty);
            }
            self.end_process(id);
        } else if self.rng.chance(self.faults.kill) {
            self.end_process(id);
        } else if self.rng.chance(self.faults.pause) {
            site.paused_until = self.now + self.rng.below(self.faults.pause_ms_max);
        }
    }

    fn is_critical(&self, id: u64) -> bool {
        self.sites.get(&id).and_then(|site| site.node.as_ref()).is_some_and(Node::is_critical)
    }

    /// The leader is cut off while it has a lease, and everything is done to have another elected soon: all others are
    /// started anew, or have just been stopped, or the leader is about to hand over.
    fn ambush(&mut self) {
        let (leader, _) = self.leader();
        if leader == 0 {
            return;
        }
        let others: Vec<u64> = self.sites.keys().copied().filter(|id| *id != leader).collect();
        let at = match self.rng.below(3) {
            0 => {
                for id in others.into_iter().filter(|id| self.sites[id].node.is_some()).collect::<Vec<_>>() {
                    self.end_process(id);
                    self.sites.get_mut(&id).expect("sites stay").starts_at = self.now + self.rng.below(60);
                }
                self.now
            }
            1 => {
                let until = self.now + 900 + self.rng.below(700);
                others.iter().for_each(|id| self.sites.get_mut(id).expect("sites stay").paused_until = until);
                until + self.rng.below(80)
            }
            _ => {
                self.transfer();
                self.now + self.rng.below(100)
            }
        };
        self.isolation = Some((at, leader));
        self.healing = Some(at + 1000 + self.rng.below(3000));
    }

    fn transfer(&mut self) {
        let voters: Vec<ReplicaId> = self.desired.keys().copied().collect();
        let to = voters[self.rng.below(voters.len() as u64) as usize];
        let mut nodes = self.sites.values_mut().filter_map(|site| site.node.as_mut());
        let Some(leader) = nodes.find(|node| matches!(node.role, Role::Leader { .. })) else { return };
        if leader.core.transfer_leadership(to).is_ok() {
            self.outcome.transfers += 1;
        }
    }

    /// Somebody decides that the members should be others. At least one voter stays.
    fn change_members(&mut self) {
        let voters: Vec<ReplicaId> =
            self.desired.iter().filter(|(_, wanted)| **wanted == Desired::Voter).map(|(id, _)| *id).collect();
        let id = voters[self.rng.below(voters.len() as u64) as usize];
        let may_add = self.next_replica <= self.founders.len() as u64 + SPARES;
        match self.rng.below(4) {
            0 | 1 if may_add => {
                let id = self.next_replica;
                self.next_replica += 1;
                let wanted = if self.rng.chance(800) { Desired::Voter } else { Desired::Learner };
                self.desired.insert(ReplicaId(id), wanted);
                let mut site = Site::new(Start::Empty);
                site.starts_at = self.now + self.rng.below(500);
                self.sites.insert(id, site);
            }
            2 if voters.len() > 1 => {
                self.desired.insert(id, Desired::Leaving);
            }
            3 if voters.len() > 2 => {
                self.desired.insert(id, Desired::Learner);
            }
            _ => return,
        }
        self.outcome.member_changes += 1;
        self.tell_desired();
    }

    fn tell_desired(&mut self) {
        let desired: Vec<_> = self.desired.iter().map(|(id, wanted)| (*id, *wanted)).collect();
        for node in self.sites.values_mut().filter_map(|site| site.node.as_mut()) {
            node.core.set_desired(desired.clone());
        }
    }

    /// A replica goes when a leader that serves has members without it.
    fn destroy_removed(&mut self) {
        let nodes = || self.sites.values().filter_map(|site| site.node.as_ref());
        let newest = nodes().filter(|node| node.role.serves()).max_by_key(|node| node.core.term());
        let Some(members) = newest.map(|node| node.core.members().clone()) else { return };
        let leaving = self.desired.iter().filter(|(_, wanted)| **wanted == Desired::Leaving).map(|(id, _)| *id);
        let gone: Vec<ReplicaId> = leaving.filter(|id| !members.contain(*id)).collect();
        for id in gone {
            let site = self.sites.get_mut(&id.0).expect("sites stay");
            (site.node, site.is_destroyed) = (None, true);
        }
    }

    fn heal(&mut self) {
        self.phase = Phase::Healing;
        self.network.heal();
        (self.isolation, self.healing) = (None, None);
        self.faults.loss = 0;
        self.faults.repeat = 0;
        self.faults.delay_ms_max = self.faults.delay_ms_max.min(20);
        self.faults.slow_sync = 0;
        self.faults.sync_failure = 0;
        self.faults.snapshot_loss = 0;
        for site in self.sites.values_mut() {
            site.starts_at = site.starts_at.min(self.now);
            site.paused_until = self.now;
        }
    }

    /// The one who leads in the highest term, and that term.
    fn leader(&self) -> (u64, Term) {
        let nodes = self.sites.iter().filter_map(|(id, site)| Some((*id, site.node.as_ref()?)));
        let leaders = nodes.filter(|(_, node)| matches!(node.role, Role::Leader { .. }));
        leaders.map(|(id, node)| (id, node.role.term())).max_by_key(|(_, term)| *term).unwrap_or_default()
    }

    /// What is still not as it should be.
    fn unsettled(&self) -> Option<String> {
        let (leader, term) = self.leader();
        let Some(node) = self.sites.get(&leader).and_then(|site| site.node.as_ref()) else {
            return Some("nobody leads".to_owned());
        };
        if !node.role.serves() {
            return Some(format!("{leader} leads in {term} and does not serve"));
        }
        let of = |wanted| self.desired.iter().filter(move |(_, one)| **one == wanted).map(|(id, _)| *id);
        let members = node.core.members();
        let is_as_desired = members.voters.iter().copied().eq(of(Desired::Voter))
            && members.learners.iter().copied().eq(of(Desired::Learner))
            && members.outgoing_voters.is_empty();
        if !is_as_desired {
            let replicas = node.core.replicas();
            return Some(format!("the members are {members:?}, {:?} are wanted, {replicas:?}", self.desired));
        }
        let last: LogIndex = self.truth.last_committed();
        for id in of(Desired::Voter).chain(of(Desired::Learner)) {
            let site = &self.sites[&id.0];
            let applied = site.node.as_ref().map(|node| node.applied);
            if applied != Some(last) {
                let progress = node.core.replicas().into_iter().find(|one| one.replica == id);
                return Some(format!("{id:?} has applied {applied:?} of {last}, {leader} knows {progress:?}"));
            }
        }
        let busy = self.sites.iter().find(|(_, site)| site.node.as_ref().is_some_and(|node| !node.is_idle()));
        busy.map(|(id, _)| format!("{id} is still busy"))
    }
}

impl Site {
    fn new(start: Start) -> Site {
        let disk = Arc::new(Disk::new(Planted::Nothing));
        Site { disk, node: None, start, starts_at: 0, paused_until: 0, is_destroyed: false }
    }
}
