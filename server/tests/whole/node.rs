//! A node while its process runs: what arrives, what its replicas do, its duties, and the threads of its migrations.

use basalt_cluster::group::Role;
use basalt_cluster::group::core::PeerMessage;
use basalt_cluster::ids::{GroupId, MigrationId};
use basalt_cluster::map::{ClusterMap, Side};
use basalt_cluster::placement::Scope;
use basalt_server::cluster::migration::ground::Ground;
use basalt_server::cluster::migration::part::{self, DEPARTURES_MAX};
use basalt_server::cluster::migration::{Arrivals, Figures, take_in};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::{Actor, Went};
use crate::asks::Asker;
use crate::clients::{node_of, site_of};
use crate::ether::{Packet, Site, World};
use crate::ground::{Receiver, SimGround};
use crate::process::{Process, Shared};
use crate::records::Records;
use crate::replica::{Event, Replica, Surroundings};
use crate::truth::{Checked, Violation};

/// What a group's thread does in one round at most.
const STEPS_MAX: u64 = 14;

/// How often is looked for migrations to play a part in.
const LOOK: Duration = Duration::from_millis(100);

/// A thread that stands still does so for longer than another node needs to come to lead, and up to twice as long.
const PAUSE_OF_THREAD_MS: u64 = 2_000;

pub struct Node {
    pub shared: Arc<Shared>,
    actors: Vec<Actor>,
}

impl Node {
    /// Starts a process with what lies on the node's disk.
    pub fn start(site: Site, number: u64, world: World, records: Arc<Mutex<Records>>, clock_offset: i64) -> Node {
        let me = node_of(site);
        let map: Arc<ClusterMap> = records.lock().map.clone();
        let mut process = Process::new((me, site, number), world.clone(), map, records);
        process.clock_offset = clock_offset;
        process.start_up();
        let (arrivals, figures) = (Arrivals::default(), Figures::default());
        let process = Mutex::new(process);
        let shared = Arc::new(Shared { site, number, me, world, arrivals, figures, process });
        let mover = SimGround(shared.clone());
        Node { shared, actors: vec![Actor::new(move || look_for_parts(&mover))] }
    }

    /// A few milliseconds of everything that runs in it.
    pub fn step(&mut self, scope: Scope, world: &mut Surroundings<'_>) -> Result<Fate, Violation> {
        {
            let process = &mut *self.shared.process.lock();
            process.check_start(world)?;
            let groups: Vec<GroupId> = process.replicas.keys().copied().collect();
            for group in groups {
                if process.step_group(group, world)? == Fate::Ends {
                    return Ok(Fate::Ends);
                }
            }
            process.do_duties(world.now, world.rng, scope);
            process.settle_asks(world.now);
            process.release(world.now);
        }
        self.accept_streams();
        self.let_actors_go_on(world)?;
        Ok(Fate::Lives)
    }

    fn accept_streams(&mut self) {
        let Shared { site, number, world, .. } = &*self.shared;
        let streams = world.ether.lock().accept_streams((*site, *number));
        for (id, header) in streams {
            let ground = SimGround(self.shared.clone());
            let receiver = Receiver { ground: ground.clone(), id };
            self.actors.push(Actor::new(move || take_in(&ground, &header, receiver)));
        }
    }

    fn let_actors_go_on(&mut self, world: &mut Surroundings<'_>) -> Checked {
        let mut at = 0;
        while at < self.actors.len() {
            let actor = &mut self.actors[at];
            if !actor.is_due(world.now) || world.rng.chance(200) {
                at += 1;
                continue;
            }
            if world.rng.chance(world.faults.pause_thread) {
                actor.stand_still(world.now + PAUSE_OF_THREAD_MS + world.rng.below(PAUSE_OF_THREAD_MS));
                at += 1;
                continue;
            }
            match actor.go_on() {
                Went::OnWaiting => at += 1,
                Went::ToItsEnd => drop(self.actors.remove(at)),
                Went::Wrong(what) => return Err(Violation { checker: "NoPanic", what }),
            }
            let begun = std::mem::take(&mut self.shared.process.lock().duties.parts_begun);
            for (id, side) in begun {
                let ground = SimGround(self.shared.clone());
                self.actors.push(Actor::new(move || play(&ground, id, side)));
            }
        }
        Ok(())
    }
}

/// What becomes of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Lives,
    /// Its disk has failed.
    Ends,
}

/// The body of the server's mover.
fn look_for_parts(ground: &SimGround) {
    loop {
        let Some(map) = ground.map() else { return };
        for (id, side, group) in part::due(&map) {
            if ground.reign(group).is_some() {
                begin(ground, id, side);
            }
        }
        let marks = {
            let process = ground.0.process.lock();
            let data = process.replicas.iter().filter_map(|(group, it)| Some((*group, it.machine.data()?)));
            data.flat_map(|(group, data)| data.marks().iter().map(move |mark| (group, mark.clone())))
                .collect::<Vec<_>>()
        };
        marks.iter().for_each(|(group, mark)| part::clear_away(ground, &map, *group, mark));
        ground.sleep(LOOK);
    }
}

/// Plays a part, if it is not being played already.
fn begin(ground: &SimGround, id: MigrationId, side: Side) {
    let process = &mut *ground.0.process.lock();
    let departures = process.playing.iter().filter(|(_, side)| *side == Side::Source).count();
    if side == Side::Source && departures >= DEPARTURES_MAX || !process.playing.insert((id, side)) {
        return;
    }
    process.duties.parts_begun.push((id, side));
}

fn play(ground: &SimGround, id: MigrationId, side: Side) {
    part::play(ground, id, side);
    if side == Side::Source {
        ground.unseal(id);
    }
    ground.0.process.lock().playing.remove(&(id, side));
}

impl Process {
    /// What it has started with must be what it was.
    fn check_start(&mut self, world: &mut Surroundings<'_>) -> Checked {
        for group in std::mem::take(&mut self.unchecked) {
            self.replicas.get(&group).map_or(Ok(()), |replica| replica.check_state(world.truth))?;
        }
        Ok(())
    }

    fn step_group(&mut self, group: GroupId, world: &mut Surroundings<'_>) -> Result<Fate, Violation> {
        for _ in 0..=world.rng.below(STEPS_MAX) {
            let Some(replica) = self.replicas.get_mut(&group) else { return Ok(Fate::Lives) };
            match replica.step(world)? {
                Some(event) => {
                    if self.handle(group, event, world.now) == Fate::Ends {
                        return Ok(Fate::Ends);
                    }
                }
                None => {
                    replica.take_input(world);
                    if world.rng.chance(400) {
                        break;
                    }
                }
            }
        }
        let Some(replica) = self.replicas.get_mut(&group) else { return Ok(Fate::Lives) };
        if let Some(event) = replica.apply(world)? {
            self.handle(group, event, world.now);
        }
        if let Some(replica) = self.replicas.get_mut(&group).filter(|_| world.rng.chance(60)) {
            replica.flush();
        }
        Ok(Fate::Lives)
    }

    fn handle(&mut self, group: GroupId, event: Event, now: u64) -> Fate {
        match event {
            Event::Send(message) => {
                if let Some(site) = self.site_of_replica(group, message.to()) {
                    self.world.send(self.site, site, Packet::Raft { group, bytes: message.encode() });
                }
            }
            Event::Ship { message, saved } => self.ship(group, message, saved),
            Event::Committed => (),
            Event::Unknown(batches) => {
                self.note_lost(batches);
                let replica =
                    self.replicas.get_mut(&group).filter(|replica| matches!(replica.role, Role::Follower { .. }));
                replica.into_iter().for_each(Replica::settle);
                self.note_applied();
            }
            Event::Role(role) => {
                self.world.say(|| format!("{} in group {group}: {role:?}", self.site));
                self.role_changed(group, role);
            }
            Event::Decided(verdicts) => {
                self.learn_from_root();
                self.decided(verdicts, now);
                self.note_applied();
            }
            Event::Applied => self.note_applied(),
            Event::Failed => return Fate::Ends,
        }
        Fate::Lives
    }

    fn ship(&mut self, group: GroupId, message: PeerMessage, saved: crate::disk::Saved) {
        let process = self.number;
        match self.site_of_replica(group, message.to()) {
            Some(site) => self.world.send(self.site, site, Packet::Snapshot { group, message, saved, process }),
            None => {
                let about = message.to().0;
                let packet = Packet::Shipped { group, about, is_installed: false, process };
                self.world.send(self.site, self.site, packet);
            }
        }
    }

    fn site_of_replica(&self, group: GroupId, replica: basalt_cluster::ids::ReplicaId) -> Option<Site> {
        let members = self.map.members(group)?;
        members.replica(replica).map(|replica| site_of(replica.node))
    }

    /// Takes what another node has sent.
    pub fn take_in_packet(&mut self, from: Site, packet: Packet, now: u64) {
        match packet {
            Packet::Raft { group, bytes } => {
                let message = PeerMessage::decode(&bytes).expect("nothing damages it");
                let is_gone = self.map.is_gone(group, message.from());
                if let Some(replica) = self.replicas.get_mut(&group).filter(|it| it.id == message.to() && !is_gone) {
                    replica.arrived.push_back(message);
                }
            }
            Packet::Snapshot { group, message, saved, process } => {
                let about = message.to().0;
                let replica = self.replicas.get_mut(&group).filter(|it| it.id == message.to());
                let is_installed = replica.is_some_and(|replica| replica.offer(message, saved));
                self.world.send(self.site, from, Packet::Shipped { group, about, is_installed, process });
            }
            Packet::Shipped { group, about, is_installed, process } => {
                use basalt_cluster::group::Delivery;
                let delivery = if is_installed { Delivery::Installed } else { Delivery::Failed };
                if let Some(replica) = self.replicas.get_mut(&group).filter(|_| process == self.number) {
                    replica.core.on_shipped(basalt_cluster::ids::ReplicaId(about), delivery);
                }
            }
            Packet::Beat { version } => drop(self.heard.insert(node_of(from), (now, version))),
            Packet::Learn { map } => self.learn_from_leader(map),
            Packet::Tell { change } => self.propose_change(change, Asker::Nobody, now),
            Packet::Ask { request, process, change } => {
                self.propose_change(change, Asker::There { site: from, process, request }, now);
            }
            Packet::Answer { request, process, answer } => {
                if process == self.number {
                    self.asks.answers.insert(request, answer);
                }
            }
        }
    }
}
