//! Which migrations this node has a part in, and the threads that play it.
//!
//! A node has a part in a migration for as long as it leads the source or the target. What there is to do stands in
//! the map and in the groups' logs, so whoever comes to lead goes on without being told. Each part has a thread of its
//! own while there is something to do.

use super::Hitch;
use super::departure::{Departure, Ended};
use super::figures::count;
use super::reign::Reign;
use crate::cluster::stage::Stage;
use crate::server::Server;
use basalt_cluster::ids::{GroupId, MigrationId};
use basalt_cluster::map::{
    Change, ClusterMap, Failure, Migration, MigrationKind, NodeInfo, Part, Phase, Side, Standing,
};
use basalt_cluster::node::{Decision, Node};
use basalt_storage::effect::{Mark, Passage};
use basalt_storage::slot::SlotSet;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often is looked for something to do, if nothing has changed.
const PERIOD: Duration = Duration::from_millis(100);

/// Migrations that leave this node at once.
const DEPARTURES_MAX: usize = 2;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// After so many attempts in vain, the slots stay where they are.
const ATTEMPTS_MAX: u32 = 300;

pub struct Mover {
    server: Weak<Server>,
    stage: Arc<Stage>,
    /// The parts that are being played.
    playing: Mutex<BTreeSet<(MigrationId, Side)>>,
    news: Mutex<bool>,
    bell: Condvar,
}

impl Mover {
    /// Starts the thread that looks; it ends with the process.
    pub fn start(server: &Arc<Server>, stage: &Arc<Stage>) -> std::io::Result<Arc<Mover>> {
        let mover = Arc::new(Mover {
            server: Arc::downgrade(server),
            stage: stage.clone(),
            playing: Mutex::default(),
            news: Mutex::new(false),
            bell: Condvar::new(),
        });
        let own = mover.clone();
        std::thread::Builder::new().name("slot-mover".into()).spawn(move || own.run())?;
        Ok(mover)
    }

    /// The map or a role has changed.
    pub fn wake(&self) {
        *self.news.lock() = true;
        self.bell.notify_one();
    }

    fn run(self: Arc<Self>) {
        while self.server.strong_count() > 0 {
            if let (Some(map), Some(_)) = (self.stage.map(), self.stage.node()) {
                self.look(&map);
            }
            let mut news = self.news.lock();
            if !*news {
                self.bell.wait_for(&mut news, PERIOD);
            }
            *news = false;
        }
    }

    fn look(self: &Arc<Self>, map: &ClusterMap) {
        for migration in map.migrations_under_way() {
            for side in [Side::Source, Side::Target] {
                if has_part(migration, side) && self.reign(group_of(migration, side)).is_some() {
                    self.begin(migration.id, side);
                }
            }
        }
        for replica in self.stage.replicas.all() {
            let marks = replica.contents().marks();
            for mark in marks.iter().filter(|mark| is_left_over(map, mark)) {
                self.clear_away(map, replica.id(), mark);
            }
        }
    }

    fn reign(&self, group: GroupId) -> Option<Reign> {
        Reign::of(&self.stage.replicas, group)
    }

    /// Plays a part, if it is not being played already.
    fn begin(self: &Arc<Self>, id: MigrationId, side: Side) {
        let key = (id, side);
        {
            let mut playing = self.playing.lock();
            let departures = playing.iter().filter(|(_, side)| *side == Side::Source).count();
            if side == Side::Source && departures >= DEPARTURES_MAX || !playing.insert(key) {
                return;
            }
        }
        let own = self.clone();
        let play = move || {
            own.play(id, side);
            if side == Side::Source {
                // Whoever comes to lead again finds in the log what is sealed.
                own.stage.unseal(id);
            }
            own.playing.lock().remove(&key);
            own.wake();
        };
        let name = if side == Side::Source { "slots-out" } else { "slots-in" };
        if let Err(error) = std::thread::Builder::new().name(name.into()).spawn(play) {
            tracing::error!(%error, "the system refused a thread");
            self.playing.lock().remove(&key);
        }
    }

    /// Until there is nothing to do, or another node has to do it.
    fn play(&self, id: MigrationId, side: Side) {
        let mut failures = 0;
        let mut is_said = false;
        loop {
            let (Some(server), Some(node), Some(map)) = (self.server.upgrade(), self.stage.node(), self.stage.map())
            else {
                return;
            };
            let Some(migration) = map.migrations().get(&id).filter(|migration| has_part(migration, side)) else {
                return;
            };
            let Some(reign) = self.reign(group_of(migration, side)) else { return };
            if !is_ready(&map, migration) {
                if !std::mem::replace(&mut is_said, true) {
                    tracing::info!(migration = %id, "slots wait until their new group has as many copies as they have");
                }
                drop((server, node));
                std::thread::sleep(PAUSE);
                continue;
            }
            let played = match (&migration.phase, side) {
                (Phase::Copying(_), _) => self.depart(&server, &node, reign, migration),
                (_, Side::Source) => self.end_departure(&server, &node, reign, migration),
                (_, Side::Target) => self.end_arrival(&server, &node, reign, migration),
            };
            let Err(hitch) = played else { continue };
            tracing::info!(migration = %id, ?side, %hitch, "slots do not move at the moment");
            count(&self.stage.migrations.hitches, 1);
            failures += 1;
            if failures >= ATTEMPTS_MAX && matches!(migration.phase, Phase::Copying(_)) {
                let why = Failure::Failed(hitch.to_string().chars().take(200).collect());
                node.decide(Change::AbortMigration { id, why, at: server.now() });
            }
            drop((server, node));
            std::thread::sleep(PAUSE);
        }
    }

    fn depart(&self, server: &Server, node: &Node, reign: Reign, migration: &Migration) -> Result<(), Hitch> {
        let departure = Departure { server, stage: &self.stage, node, reign };
        if migration.kind == MigrationKind::HandOver {
            return self.hand_over(&departure, migration);
        }
        match departure.attempt(migration.id)? {
            Ended::Committed => Ok(()),
            // The map that says so may be on its way.
            Ended::Over => Err(Hitch::new("it was taken back, or another node goes on")),
        }
    }

    /// Gives a slot away whose keys were moved one by one: it must be empty.
    fn hand_over(&self, departure: &Departure<'_>, migration: &Migration) -> Result<(), Hitch> {
        departure.seal(migration)?;
        let contents = departure.reign.replica.contents();
        let has_keys = migration.all_slots().any(|slot| contents.has_keys(slot));
        if has_keys {
            departure.unseal(migration.id)?;
            let number = migration.all_slots().next().map_or(0, |slot| slot.number());
            let why = Failure::Failed(format!(
                "Can't assign hashslot {number} to a different node while I still hold keys for this hash slot."
            ));
            departure.node.decide(Change::AbortMigration { id: migration.id, why, at: departure.server.now() });
            return Ok(());
        }
        departure.commit(migration)?;
        // Its record is gone, and what is left over is the seal.
        departure.unseal(migration.id)
    }

    /// After the commit what there is of the slots is cleared away; after an abort they are used again.
    fn end_departure(&self, server: &Server, node: &Node, reign: Reign, migration: &Migration) -> Result<(), Hitch> {
        let id = migration.id;
        if migration.is_committed() {
            reign.clear(migration.all_slots(), Reign::propose)?;
        }
        Departure { server, stage: &self.stage, node, reign }.unseal(id)?;
        finish(server, node, migration, Side::Source)
    }

    /// After the commit the slots are this group's; after an abort what was taken in of them is cleared away.
    fn end_arrival(&self, server: &Server, node: &Node, reign: Reign, migration: &Migration) -> Result<(), Hitch> {
        self.stage.arrivals.end(migration.id);
        if !migration.is_committed() {
            reign.clear(migration.all_slots(), Reign::propose)?;
        }
        reign.unmark(Passage::Arriving, migration.id.as_bytes())?;
        // Whoever comes for the slots next finds them here.
        self.stage.refresh();
        finish(server, node, migration, Side::Target)
    }

    /// A mark of a migration that is long over.
    fn clear_away(&self, map: &ClusterMap, group: GroupId, mark: &Mark) {
        let Some(reign) = self.reign(group) else { return };
        let id = MigrationId::new(mark.name);
        let cleared = match mark.passage {
            Passage::Sealed => Ok(()),
            Passage::Arriving => {
                self.stage.arrivals.end(id);
                let slots: SlotSet = mark.all_slots().filter(|slot| map.slots().owner(*slot) != Some(group)).collect();
                let arrivals = &self.stage.arrivals;
                reign.clear(slots.iter(), |reign, batch| arrivals.propose_unbound(&self.stage, reign, &slots, batch))
            }
        };
        if let Err(hitch) = cleared.and_then(|()| reign.unmark(mark.passage, &mark.name)) {
            tracing::info!(migration = %id, %hitch, "what is left over of a migration stays for now");
        }
        self.stage.unseal(id);
    }
}

fn group_of(migration: &Migration, side: Side) -> GroupId {
    match side {
        Side::Source => migration.source,
        Side::Target => migration.target,
    }
}

/// Whether there is something to do for the leader of this side.
fn has_part(migration: &Migration, side: Side) -> bool {
    match (&migration.phase, side) {
        (Phase::Copying(_), side) => side == Side::Source,
        (Phase::Finishing(sides) | Phase::Aborting { sides, .. }, Side::Source) => sides.source == Part::Due,
        (Phase::Finishing(sides) | Phase::Aborting { sides, .. }, Side::Target) => sides.target == Part::Due,
        (Phase::Ended(_), _) => false,
    }
}

/// Whether the target has as many copies as the source, or as there can be: nothing is to be less safe for having
/// moved. Placement gives a group that awaits slots what it needs.
fn is_ready(map: &ClusterMap, migration: &Migration) -> bool {
    let copies = |group| map.members(group).map_or(0, |it| it.replicas.iter().filter(|one| one.is_firm()).count());
    let stays = |node: &&NodeInfo| node.is_up() && node.standing == Standing::Member;
    let nodes = map.nodes().values().filter(stays).count();
    !matches!(migration.phase, Phase::Copying(_))
        || copies(migration.target) >= copies(migration.source).min(map.mode().copies_max(nodes))
}

/// Whether nobody will come to take the mark away: the map that this node knows is newer, and has no such migration
/// under way.
fn is_left_over(map: &ClusterMap, mark: &Mark) -> bool {
    let record = map.migrations().get(&MigrationId::new(mark.name));
    map.version().0 >= mark.version && record.is_none_or(|record| !record.is_under_way())
}

fn finish(server: &Server, node: &Node, migration: &Migration, side: Side) -> Result<(), Hitch> {
    let (id, seen, at) = (migration.id, migration.changed, server.now());
    match node.decide(Change::FinishMigration { id, side, seen, at }) {
        Decision::Unknown => Err(Hitch::new("the root group has no quorum")),
        Decision::Made(_) | Decision::Refused(_) => Ok(()),
    }
}
