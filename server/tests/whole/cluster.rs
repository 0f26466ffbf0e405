//! A whole cluster from a seed: nodes with their disks, what is between them, clients, and whatever goes wrong.
//!
//! A run has three phases. In the first, things go wrong. Then everything is healed, and within a minute there has to
//! be a cluster as it should be: every group led and with the members that it should have, every slot served, no
//! migration under way, nothing left of one, all replicas with the same data. At last clients read every key, and what
//! all clients have seen has to make sense.

use basalt_cluster::group::{Role, Start};
use basalt_cluster::ids::{ClusterId, ConfigEpoch, GroupId, Incarnation, ReplicaId, ShardId, Term};
use basalt_cluster::map::{
    Address, AutoBalance, Change, ClusterMap, FIRST_REPLICA, Failure, Founding, Job, Joining, MigrationKind, Mode,
    Removal, ReplicaStatus, Report, Settings, SlotRange, Wanted,
};
use basalt_cluster::placement::Scope;
use basalt_storage::clock::UnixMs;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::bugs::Bug;
use crate::clients::{Client, Operation, Outcome, node_of, site_of};
use crate::disk::Disk;
use crate::duties::migration_id;
use crate::ether::{Site, World};
use crate::evaluation::Reply;
use crate::faults::Faults;
use crate::history;
use crate::keys::{self, SLOTS, slot};
use crate::node::{Fate, Node};
use crate::records::{Record, Records};
use crate::replica::Surroundings;
use crate::rng::{Rng, pick};
use crate::truth::{Checked, Truth, Violation, fold, require};

const ROUNDS: u64 = 2500;

/// How long a round is, at most.
const ROUND_MS_MAX: u64 = 8;

/// Within this time after the last fault everything has to be well.
const SETTLING_MS: u64 = 60_000;

/// So long it has to stay well.
const QUIET_MS: u64 = 1_500;

/// How long a node with a part in a migration stands still at least, when that befalls it: another leads meanwhile.
const PAUSE_OF_PART_MS: u64 = 1_500;

const CLIENTS: usize = 5;

pub const ROOT: GroupId = GroupId(1000);

/// How a run ended, to compare a replay with the run it repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub violation: Option<Violation>,
    /// A digest of everything that happened.
    pub events: u64,
    pub acked: u64,
    pub unknown: u64,
    pub crashes: u64,
    pub migrations: u64,
    pub simulated_ms: u64,
    pub log: Vec<String>,
}

/// A node's place: what outlives its processes.
struct Place {
    node: Option<Node>,
    records: Arc<Mutex<Records>>,
    starts_at: u64,
    paused_until: u64,
    clock_offset: i64,
}

pub struct Cluster {
    rng: Rng,
    faults: Faults,
    world: World,
    places: Vec<Place>,
    clients: Vec<Client>,
    history: Vec<Operation>,
    truth: Truth,
    run: Run,
    now: u64,
    processes: u64,
    last_operation: u64,
    tick: u64,
    clients_rest: bool,
    /// When a further node comes, if one does.
    joins_at: Option<u64>,
}

impl Cluster {
    pub fn new(seed: u64, bug: Bug) -> Cluster {
        let mut rng = Rng::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let faults = Faults::draw(&mut rng);
        let sites = 3 + rng.below(2) as usize;
        let joins_at = rng.chance(300).then(|| rng.below(ROUNDS * 3));
        let world = World::new(seed, faults.clone(), bug);
        let map = Arc::new(found(sites, &mut rng));
        let places = (0..sites).map(|site| Place::new(&map, site)).collect();
        let clients = (0..CLIENTS).map(|client| Client::new(client % sites)).collect();
        let mut truth = Truth::default();
        truth.on_map(&map).expect("the first map is sound");
        Cluster {
            rng,
            faults,
            world,
            places,
            clients,
            history: Vec::new(),
            truth,
            run: Run::default(),
            now: 0,
            processes: 0,
            last_operation: 0,
            tick: 0,
            clients_rest: false,
            joins_at,
        }
    }

    /// Keeps a log of what happens.
    pub fn telling(self) -> Cluster {
        self.world.ether.lock().log = Some(Vec::new());
        self
    }

    pub fn run(mut self) -> Run {
        let checked = self.run_to_the_end();
        self.run.violation = checked.err();
        self.run.events = self.truth.events;
        self.run.migrations = self.truth.commits_of_migrations;
        self.run.simulated_ms = self.now;
        self.run.log = self.world.ether.lock().log.take().unwrap_or_default();
        self.places.clear();
        self.run
    }

    fn run_to_the_end(&mut self) -> Checked {
        for _ in 0..ROUNDS {
            self.fail_by_chance();
            self.round()?;
        }
        self.heal();
        let end = self.now + SETTLING_MS;
        let mut well_since = None;
        while self.now < end && well_since.is_none_or(|since| self.now < since + QUIET_MS) {
            self.round()?;
            well_since = if self.unsettled().is_none() { well_since.or(Some(self.now)) } else { None };
        }
        let unsettled = self.unsettled();
        if unsettled.is_some() {
            self.say_what_replicas_are();
        }
        require(unsettled.is_none(), "Settles", || unsettled.unwrap_or_default())?;
        self.read_everything()?;
        history::check(&self.history)
    }

    /// A node that was a cluster by itself asks to come in until it is; then it begins with its own group.
    fn let_join(&mut self) {
        let site = self.places.len();
        let Some(map) = self.truth.map().filter(|_| self.joins_at.is_some_and(|at| at <= self.now)) else { return };
        if map.member(node_of(site)).is_some() {
            let place = Place::alone(map, site);
            self.places.push(place);
            self.joins_at = None;
        } else if self.rng.chance(30) {
            self.order(joining(site));
        }
    }

    /// A few milliseconds of everybody.
    fn round(&mut self) -> Checked {
        self.now += 1 + self.rng.below(ROUND_MS_MAX);
        self.world.ether.lock().now = self.now;
        self.truth.note(self.now);
        self.let_join();
        self.start_what_is_down();
        self.deliver();
        self.act_as_clients()?;
        let scope = if self.faults.balance { Scope::All } else { Scope::OnlyDraining };
        for site in 0..self.places.len() {
            let place = &mut self.places[site];
            let Some(node) = place.node.as_mut().filter(|_| place.paused_until <= self.now) else { continue };
            let fate = node.step(
                scope,
                &mut Surroundings {
                    now: self.now,
                    wall: 1_000_000 + self.now as i64 + place.clock_offset,
                    rng: &mut self.rng,
                    faults: &self.faults,
                    truth: &mut self.truth,
                },
            )?;
            if fate == Fate::Ends {
                self.end_process(site);
            }
        }
        let places = &self.places;
        let is_alive =
            |(site, process): (Site, u64)| places[site].node.as_ref().is_some_and(|node| node.shared.number == process);
        self.world.ether.lock().break_streams(is_alive);
        self.take_answers()
    }

    fn start_what_is_down(&mut self) {
        for site in 0..self.places.len() {
            let place = &mut self.places[site];
            if place.node.is_none() && place.starts_at <= self.now {
                self.processes += 1;
                let records = place.records.clone();
                self.world.say(|| format!("{site} starts"));
                place.node = Some(Node::start(site, self.processes, self.world.clone(), records, place.clock_offset));
            }
        }
    }

    fn end_process(&mut self, site: Site) {
        self.run.crashes += 1;
        self.world.say(|| format!("{site} ends"));
        let place = &mut self.places[site];
        if let Some(node) = place.node.take() {
            let number = node.shared.number;
            drop(node);
            for client in 0..self.clients.len() {
                let doing = self.clients[client].now.as_ref();
                if doing.is_some_and(|doing| doing.at == Some((site, number))) {
                    self.end_operation(client, None);
                }
            }
        }
        self.places[site].starts_at = self.now + self.rng.below(2000);
    }

    fn deliver(&mut self) {
        let arrived = self.world.ether.lock().arrived();
        for (from, to, packet) in arrived {
            // What is stopped finds it when it goes on.
            match &self.places[to].node {
                Some(node) => node.shared.process.lock().take_in_packet(from, packet, self.now),
                None => self.world.ether.lock().tell_of_loss(from, to, packet),
            }
        }
    }

    fn act_as_clients(&mut self) -> Checked {
        let sites = self.places.len();
        for client in 0..self.clients.len() {
            if self.clients[client].has_lost_patience(self.now) {
                let was_evaluated = self.clients[client].now.as_ref().is_some_and(|doing| doing.at.is_some());
                match was_evaluated {
                    true => self.end_operation(client, None),
                    false => self.clients[client].now = None,
                }
            }
            if self.clients[client].now.is_none() && !self.clients_rest && self.rng.chance(self.faults.operations) {
                self.last_operation += 1;
                self.tick += 1;
                self.clients[client].begin(self.last_operation, self.tick, self.now, &mut self.rng);
            }
            let Some(site) = self.clients[client].asks(self.now) else { continue };
            let place = &self.places[site];
            if place.paused_until > self.now {
                self.clients[client].tries_again(self.now + 20);
                continue;
            }
            let Some(node) = &place.node else {
                let other = self.rng.below(sites as u64) as usize;
                self.clients[client].tries_elsewhere(other, self.now + 20);
                continue;
            };
            let doing = self.clients[client].now.as_ref().expect("it asks");
            let (id, key, act) = (doing.id, &keys::ALL[doing.operation.key], doing.operation.act);
            let owner = self.truth.owner(key.slot);
            let reply = node.shared.process.lock().evaluate(id, key, act, owner);
            let number = node.shared.number;
            match reply {
                Reply::Later => self.clients[client].was_evaluated(site, number),
                Reply::Moved(Some(to)) => self.clients[client].tries_elsewhere(site_of(to), self.now + 5),
                // Who waits too long at one place asks at another.
                Reply::Wait | Reply::Moved(None) if self.rng.chance(100) => {
                    let other = self.rng.below(sites as u64) as usize;
                    self.clients[client].tries_elsewhere(other, self.now + 10);
                }
                Reply::Wait | Reply::Moved(None) => self.clients[client].tries_again(self.now + 10),
            }
        }
        Ok(())
    }

    fn take_answers(&mut self) -> Checked {
        for site in 0..self.places.len() {
            let Some(node) = &self.places[site].node else { continue };
            let answered = std::mem::take(&mut node.shared.process.lock().answered);
            for (id, outcome) in answered {
                let is_his = |client: &Client| client.now.as_ref().is_some_and(|doing| doing.id == id);
                let client = self.clients.iter().position(is_his);
                match (outcome, client) {
                    (Outcome::Answer { seen, was_owner }, Some(client)) => {
                        self.truth.events = fold(self.truth.events, id);
                        self.end_operation(client, Some(seen));
                        let done = self.history.last();
                        let about =
                            || format!("operation {id} is answered by {site}, which did not own the slot: {done:?}");
                        require(was_owner, "OneOwnerPerSlot", about)?;
                    }
                    (Outcome::Unknown, Some(client)) => self.end_operation(client, None),
                    (_, None) => (),
                }
            }
        }
        Ok(())
    }

    fn end_operation(&mut self, client: usize, seen: Option<crate::clients::Seen>) {
        let Some(doing) = self.clients[client].now.take() else { return };
        let mut operation = doing.operation;
        self.tick += 1;
        self.run.acked += u64::from(seen.is_some());
        self.run.unknown += u64::from(seen.is_none());
        operation.ended = seen.map(|seen| (self.tick, seen));
        self.history.push(operation);
    }

    /// At the end everything can be read, and is.
    fn read_everything(&mut self) -> Checked {
        self.clients_rest = true;
        let end = self.now + SETTLING_MS;
        while self.clients.iter().any(|client| client.now.is_some()) && self.now < end {
            self.round()?;
        }
        for key in 0..keys::ALL.len() {
            let before = self.history.iter().filter(|one| one.ended.is_some()).count();
            while self.history.iter().filter(|one| one.ended.is_some()).count() == before {
                require(self.now < end, "Settles", || format!("{:?} cannot be read", keys::ALL[key]))?;
                if self.clients[0].now.is_none() {
                    self.last_operation += 1;
                    self.tick += 1;
                    self.clients[0].reads(key, self.last_operation, self.tick, self.now);
                }
                self.round()?;
            }
        }
        Ok(())
    }

    fn fail_by_chance(&mut self) {
        let sites = self.places.len();
        if self.rng.chance(self.faults.partition) {
            self.partition();
        }
        if self.rng.chance(self.faults.migration) {
            self.begin_migration();
        }
        if self.rng.chance(self.faults.cancel) {
            self.cancel_migration();
        }
        if self.rng.chance(self.faults.transfer) {
            self.transfer();
        }
        if self.rng.chance(self.faults.member_change) {
            self.change_members();
        }
        if self.rng.chance(self.faults.drain) {
            let node = node_of(self.rng.below(sites as u64) as usize);
            let removal = if self.rng.chance(400) { Removal::Wanted } else { Removal::NotWanted };
            self.order(Change::Drain { node, removal });
        }
        let site = self.rng.below(sites as u64) as usize;
        let busy = self.busy_site().filter(|_| self.rng.chance(700));
        if let Some(busy) = busy {
            if self.rng.chance(self.faults.kill_part) {
                return self.end_process(busy);
            }
            if self.rng.chance(self.faults.pause_part) {
                self.places[busy].paused_until = self.now + PAUSE_OF_PART_MS + self.rng.below(PAUSE_OF_PART_MS);
                return;
            }
        }
        if self.places[site].node.is_none() {
            return;
        }
        if self.rng.chance(self.faults.power_loss) {
            self.end_process(site);
            let records = self.places[site].records.clone();
            for record in records.lock().replicas.values() {
                record.disk.iter().for_each(|disk| disk.lose_power(&mut self.rng));
            }
        } else if self.rng.chance(self.faults.kill) {
            self.end_process(site);
        } else if self.rng.chance(self.faults.pause) {
            self.places[site].paused_until = self.now + self.rng.below(self.faults.pause_ms_max);
        } else if self.rng.chance(self.faults.clock_jump) {
            let offset = self.rng.below(20_000) as i64 - 10_000;
            self.places[site].clock_offset = offset;
            if let Some(node) = &self.places[site].node {
                node.shared.process.lock().clock_offset = offset;
            }
        }
    }

    fn partition(&mut self) {
        let sites = self.places.len();
        let kind = self.rng.below(10);
        let busy = self.busy_site();
        let ether = &mut *self.world.ether.lock();
        match (kind, busy) {
            (0..5, _) => ether.heal_links(),
            (5..7, Some(busy)) => ether.isolate(sites, busy),
            _ => ether.cut(sites, &mut self.rng),
        }
    }

    /// A node that leads the source or the target of a migration that is under way, or the root group.
    fn busy_site(&mut self) -> Option<Site> {
        let map = self.truth.map()?.clone();
        let groups = map.migrations_under_way().flat_map(|migration| [migration.source, migration.target]);
        let groups: Vec<GroupId> = groups.chain([ROOT]).collect();
        let group = pick(&mut self.rng, &groups)?;
        (0..self.places.len()).find(|site| {
            let node = self.places[*site].node.as_ref();
            node.is_some_and(|node| {
                let process = node.shared.process.lock();
                process.replicas.get(&group).is_some_and(|replica| replica.role.serves())
            })
        })
    }

    /// Somebody orders a change, at whichever node.
    fn order(&mut self, change: Change) {
        let site = self.rng.below(self.places.len() as u64) as usize;
        if let Some(node) = &self.places[site].node {
            node.shared.process.lock().tell(change, self.now);
        }
    }

    fn begin_migration(&mut self) {
        let Some(map) = self.truth.map().cloned() else { return };
        let first = self.rng.below(u64::from(SLOTS)) as u16;
        let last = (first + self.rng.below(4) as u16).min(SLOTS - 1);
        let Some(owner) = map.slots().owner(slot(first)) else { return };
        let of_owner = (first..=last).map(slot).take_while(|slot| map.slots().owner(*slot) == Some(owner));
        let slots = SlotRange::of_slots(of_owner);
        let to = node_of(self.rng.below(self.places.len() as u64) as usize);
        let kind = if self.rng.chance(500) { MigrationKind::FromSource } else { MigrationKind::ToTarget };
        let job = Job { id: migration_id(&mut self.rng), kind, slots, from: map.face(owner), to };
        let at = UnixMs(self.now as i64);
        self.order(Change::BeginMigrations { jobs: vec![job], at });
    }

    fn cancel_migration(&mut self) {
        let Some(map) = self.truth.map().cloned() else { return };
        let ids: Vec<_> = map.migrations_under_way().map(|migration| migration.id).collect();
        if let Some(id) = pick(&mut self.rng, &ids) {
            self.order(Change::AbortMigration { id, why: Failure::Cancelled, at: UnixMs(self.now as i64) });
        }
    }

    /// A leader hands over to whomever.
    fn transfer(&mut self) {
        let Some(site) = self.busy_site() else { return };
        let Some(node) = &self.places[site].node else { return };
        let process = &mut *node.shared.process.lock();
        let led: Vec<GroupId> =
            process.replicas.iter().filter(|(_, replica)| replica.role.serves()).map(|(group, _)| *group).collect();
        let Some(replica) = pick(&mut self.rng, &led).and_then(|group| process.replicas.get_mut(&group)) else {
            return;
        };
        let voters = replica.core.members().voters.clone();
        if let Some(to) = pick(&mut self.rng, &voters) {
            // It may not be able to take over.
            let _ = replica.core.transfer_leadership(to);
        }
    }

    /// A replica goes, or comes; placement mends it.
    fn change_members(&mut self) {
        let Some(map) = self.truth.map().cloned() else { return };
        let groups: Vec<GroupId> = map.groups().keys().copied().chain([ROOT]).collect();
        let Some(group) = pick(&mut self.rng, &groups) else { return };
        let Some(members) = map.members(group) else { return };
        let replicas: Vec<ReplicaId> = members.staying().map(|replica| replica.id).collect();
        if self.rng.chance(600) && replicas.len() > 2 {
            let replica = pick(&mut self.rng, &replicas).expect("there are three");
            self.order(Change::RemoveReplica { group, replica });
        } else {
            let node = node_of(self.rng.below(self.places.len() as u64) as usize);
            self.order(Change::AddReplica { group, node, wanted: Wanted::Voter });
        }
    }

    fn heal(&mut self) {
        self.world.say(|| "everything is healed".to_owned());
        self.faults.heal();
        {
            let ether = &mut *self.world.ether.lock();
            ether.faults.heal();
            ether.heal_links();
        }
        for place in &mut self.places {
            place.starts_at = place.starts_at.min(self.now);
            place.paused_until = self.now;
        }
    }

    /// What is still not as it should be.
    fn unsettled(&self) -> Option<String> {
        let map = self.truth.map()?;
        if let Some(migration) = map.migrations_under_way().next() {
            return Some(format!("{migration:?} is under way in {}", shown(map)));
        }
        let groups = map.groups().keys().copied().chain([ROOT]);
        groups.filter_map(|group| self.unsettled_group(map, group)).next().or_else(|| self.unserved_slot(map))
    }

    /// For whoever asks why it does not settle.
    fn say_what_replicas_are(&self) {
        for place in &self.places {
            let Some(node) = &place.node else { continue };
            let process = node.shared.process.lock();
            process.replicas.values().for_each(|replica| self.world.say(|| replica.described()));
        }
    }

    fn unsettled_group(&self, map: &ClusterMap, group: GroupId) -> Option<String> {
        let members = map.members(group)?;
        if !members.is_settled() {
            return Some(format!("the members of group {group} are not as they should be in {}", shown(map)));
        }
        let mut applied = BTreeMap::new();
        let mut leaders = 0;
        for info in &members.replicas {
            let Some(node) = self.places.get(site_of(info.node)).and_then(|place| place.node.as_ref()) else {
                return Some(format!("{} is down", info.node));
            };
            let process = node.shared.process.lock();
            let Some(replica) = process.replicas.get(&group) else {
                return Some(format!("group {group} has no replica on {}", info.node));
            };
            applied.insert(info.id, replica.applied);
            leaders += u32::from(matches!(replica.role, Role::Leader { serves: true, .. }));
            if let Some(mark) = replica.machine.data().and_then(|data| data.marks().first().cloned()) {
                return Some(format!("group {group} remembers {mark:?}"));
            }
            if process.map.version() != map.version() {
                return Some(format!("{} knows map {}", info.node, process.map.version()));
            }
        }
        if leaders != 1 {
            return Some(format!("{leaders} lead group {group}"));
        }
        let is_busy = self.clients.iter().any(|client| client.now.is_some());
        let first = applied.values().next();
        let agree = applied.values().all(|index| Some(index) == first);
        (!agree && !is_busy && self.clients_rest).then(|| format!("group {group} has applied {applied:?}"))
    }

    fn unserved_slot(&self, map: &ClusterMap) -> Option<String> {
        use basalt_server::cluster::slots::SlotState;
        let serves = |slot| {
            self.places.iter().filter_map(|place| place.node.as_ref()).any(|node| {
                let process = node.shared.process.lock();
                process.state(slot) == SlotState::Serving && process.holder(slot) == map.slots().owner(slot)
            })
        };
        let slot = keys::all_slots().find(|slot| !serves(*slot))?;
        let shown = self.places.iter().filter_map(|place| place.node.as_ref()).map(|node| {
            let process = node.shared.process.lock();
            (node.shared.site, process.state(slot), process.holder(slot), process.seals.len(), process.leaving.len())
        });
        let shown: Vec<_> = shown.collect();
        Some(format!("slot {} of {:?} is not served: {shown:?}", slot.number(), map.slots().owner(slot)))
    }
}

impl Place {
    fn new(map: &Arc<ClusterMap>, site: Site) -> Place {
        let mut replicas = BTreeMap::new();
        let groups = map.groups().iter().map(|(group, info)| (*group, &info.members));
        for (group, members) in groups.chain([(ROOT, &map.root().members)]) {
            let Some(mine) = members.on(node_of(site)) else { continue };
            let mut bytes = Vec::new();
            if group == ROOT {
                map.encode(&mut bytes);
            }
            let start = Start::Found { voters: members.replicas.iter().map(|replica| replica.id).collect() };
            let disk = Some(Arc::new(Disk::holding(bytes)));
            replicas.insert(group, Record { replica: mine.id, disk, start });
        }
        Place::with(map, replicas)
    }

    /// Of a node that has just come, with nothing but its home group.
    fn alone(map: &Arc<ClusterMap>, site: Site) -> Place {
        let disk = Some(Arc::new(Disk::default()));
        let record = Record { replica: FIRST_REPLICA, disk, start: Start::Found { voters: vec![FIRST_REPLICA] } };
        Place::with(map, BTreeMap::from([(home(site), record)]))
    }

    fn with(map: &Arc<ClusterMap>, replicas: BTreeMap<GroupId, Record>) -> Place {
        let records = Arc::new(Mutex::new(Records { replicas, map: map.clone() }));
        Place { node: None, records, starts_at: 0, paused_until: 0, clock_offset: 0 }
    }
}

/// Nodes and groups, to be read.
fn shown(map: &ClusterMap) -> String {
    let nodes = map.nodes().iter().map(|(id, node)| format!("{}: {:?} {:?}", site_of(*id), node.standing, node.health));
    let members = map.groups().iter().map(|(group, info)| (*group, &info.members)).chain([(ROOT, &map.root().members)]);
    let groups = members.map(|(group, members)| {
        let replicas = members.replicas.iter();
        let replicas =
            replicas.map(|one| format!("{} on {} {:?} {:?}", one.id.0, site_of(one.node), one.wanted, one.status));
        format!("group {group}: {}", replicas.collect::<Vec<_>>().join(", "))
    });
    nodes.chain(groups).collect::<Vec<_>>().join("; ")
}

fn home(site: Site) -> GroupId {
    GroupId(site as u32 + 1)
}

fn address(site: Site) -> Address {
    let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, site as u8 + 1));
    Address { ip, port: 7000, tls_port: None, peer_port: 17000, hostname: String::new() }
}

fn shard(site: Site) -> ShardId {
    ShardId::new([site as u8 + 1; ShardId::BYTES])
}

/// A cluster that has just been founded, and has its replicas: each group on three nodes.
fn found(sites: usize, rng: &mut Rng) -> ClusterMap {
    let settings = Settings {
        replicas: 2,
        repair_delay_ms: 2000 + rng.below(6000),
        node_timeout_ms: 1000,
        auto_balance: AutoBalance::No,
        migration_max_bytes_per_second: 0,
    };
    let mut map = ClusterMap::found(Founding {
        cluster_id: ClusterId(7),
        root: ROOT,
        node: node_of(0),
        home: home(0),
        shard: shard(0),
        address: address(0),
        incarnation: Incarnation(1),
        zone: String::new(),
        settings,
        mode: Mode::Durable,
    });
    let mut changes: Vec<Change> = (1..sites).map(joining).collect();
    let share = SLOTS / sites as u16;
    for site in 0..sites {
        let first = share * site as u16;
        let last = if site + 1 == sites { SLOTS - 1 } else { first + share - 1 };
        let range = SlotRange::new(slot(first), slot(last)).expect("in order");
        changes.push(Change::AssignSlots { node: node_of(site), slots: vec![range] });
    }
    for site in 0..sites {
        let others = (1..3).map(|step| node_of((site + step) % sites));
        let add = |node| Change::AddReplica { group: home(site), node, wanted: Wanted::Voter };
        changes.extend(others.map(add));
    }
    changes.extend((1..3).map(|site| Change::AddReplica { group: ROOT, node: node_of(site), wanted: Wanted::Voter }));
    for change in &changes {
        map.apply(change).expect("it fits");
    }
    for group in (0..sites).map(home).chain([ROOT]) {
        let members = map.members(group).expect("it was made");
        let present = members.replicas.iter().map(|replica| (replica.id, ReplicaStatus::Voter)).collect();
        let report = Report { term: members.leader.term, seen: map.version(), present };
        map.apply(&Change::ReportReplicas { group, report }).expect("it fits");
    }
    map
}

fn joining(site: usize) -> Change {
    Change::Join(Box::new(Joining {
        node: node_of(site),
        incarnation: Incarnation(1),
        address: address(site),
        zone: String::new(),
        epoch: ConfigEpoch(0),
        home: home(site),
        shard: shard(site),
        replica: FIRST_REPLICA,
        term: Term(0),
        claims: Vec::new(),
        mode: Mode::Durable,
    }))
}
