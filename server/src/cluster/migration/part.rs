//! Playing one side of a migration: which there is to play, and what to do next, by the record in the map.

use super::Hitch;
use super::departure::{Departure, Ended};
use super::figures::count;
use super::ground::{Ground, Reigning};
use basalt_cluster::ids::{GroupId, MigrationId};
use basalt_cluster::map::{
    Change, ClusterMap, Failure, Migration, MigrationKind, Mode, NodeInfo, Part, Phase, Side, Standing,
};
use basalt_cluster::node::Decision;
use basalt_storage::effect::{Effect, Mark, Passage};
use basalt_storage::slot::SlotSet;
use std::time::Duration;

/// Migrations that leave a node at once.
pub const DEPARTURES_MAX: usize = 2;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// After so many attempts in vain, the slots stay where they are.
const ATTEMPTS_MAX: u32 = 300;

/// What there is to play, for whoever leads the group.
pub fn due(map: &ClusterMap) -> impl Iterator<Item = (MigrationId, Side, GroupId)> {
    let sides = |migration| [Side::Source, Side::Target].map(|side| (migration, side));
    let parts = map.migrations_under_way().flat_map(sides).filter(|(migration, side)| has_part(migration, *side));
    parts.map(|(migration, side)| (migration.id, side, group_of(migration, side)))
}

/// Until there is nothing to do, or another node has to do it.
pub fn play(ground: &impl Ground, id: MigrationId, side: Side) {
    let mut failures = 0;
    let mut is_said = false;
    let mut caught_up_in = None;
    loop {
        let Some(map) = ground.map() else { return };
        let Some(migration) = map.migrations().get(&id).filter(|migration| has_part(migration, side)) else {
            return;
        };
        let Some(reign) = ground.reign(group_of(migration, side)) else { return };
        if caught_up_in != Some(reign.term()) {
            match ground.catch_up() {
                Ok(()) => caught_up_in = Some(reign.term()),
                Err(_) => ground.sleep(PAUSE),
            }
            continue;
        }
        if !is_ready(&map, migration) {
            if !std::mem::replace(&mut is_said, true) {
                tracing::info!(migration = %id, "slots wait until their new group has as many copies as they have");
            }
            // Those who wait for them are served meanwhile.
            if reign.has_mark(Passage::Sealed, id.as_bytes())
                && let Err(hitch) = (Departure { ground, reign }).start_over(id)
            {
                tracing::info!(migration = %id, %hitch, "slots that do not move stay sealed for now");
            }
            ground.sleep(PAUSE);
            continue;
        }
        let played = match (&migration.phase, side) {
            (Phase::Copying(_), _) => depart(ground, reign, migration),
            (_, Side::Source) => end_departure(ground, reign, migration),
            (_, Side::Target) => end_arrival(ground, reign, migration),
        };
        let Err(hitch) = played else { continue };
        tracing::info!(migration = %id, ?side, %hitch, "slots do not move at the moment");
        count(&ground.figures().hitches, 1);
        failures += 1;
        if failures >= ATTEMPTS_MAX && matches!(migration.phase, Phase::Copying(_)) {
            let why = Failure::Failed(hitch.to_string().chars().take(200).collect());
            ground.decide(Change::AbortMigration { id, why, at: ground.now() });
        }
        ground.sleep(PAUSE);
    }
}

fn depart<G: Ground>(ground: &G, reign: G::Reign, migration: &Migration) -> Result<(), Hitch> {
    let departure = Departure { ground, reign };
    if migration.kind == MigrationKind::HandOver {
        return hand_over(&departure, migration);
    }
    match departure.attempt(migration.id)? {
        Ended::Committed => Ok(()),
        // The map that says so may be on its way.
        Ended::Over => Err(Hitch::new("it was taken back, or another node goes on")),
    }
}

/// Gives a slot away whose keys were moved one by one: it must be empty.
fn hand_over<G: Ground>(departure: &Departure<'_, G>, migration: &Migration) -> Result<(), Hitch> {
    departure.seal(migration)?;
    let has_keys = migration.all_slots().any(|slot| departure.reign.has_keys(slot));
    if has_keys {
        departure.unseal(migration.id)?;
        let number = migration.all_slots().next().map_or(0, |slot| slot.number());
        let why = Failure::Failed(format!(
            "Can't assign hashslot {number} to a different node while I still hold keys for this hash slot."
        ));
        let ground = departure.ground;
        ground.decide(Change::AbortMigration { id: migration.id, why, at: ground.now() });
        return Ok(());
    }
    departure.commit(migration)?;
    // Its record is gone, and what is left over is the seal.
    departure.unseal(migration.id)
}

/// After the commit what there is of the slots is cleared away; after an abort they are used again.
fn end_departure<G: Ground>(ground: &G, reign: G::Reign, migration: &Migration) -> Result<(), Hitch> {
    let id = migration.id;
    if migration.is_committed() {
        reign.clear(migration.all_slots(), G::Reign::propose)?;
    }
    Departure { ground, reign }.unseal(id)?;
    finish(ground, migration, Side::Source)
}

/// After the commit the slots are this group's; after an abort what was taken in of them is cleared away.
fn end_arrival<G: Ground>(ground: &G, reign: G::Reign, migration: &Migration) -> Result<(), Hitch> {
    ground.arrivals().end(migration.id);
    if !migration.is_committed() {
        reign.clear(migration.all_slots(), G::Reign::propose)?;
    }
    reign.unmark(Passage::Arriving, migration.id.as_bytes())?;
    // Whoever comes for the slots next finds them here.
    ground.refresh();
    finish(ground, migration, Side::Target)
}

/// Clears away what a mark says that there is, if nobody needs it, and this node leads the group that remembers it.
pub fn clear_away(ground: &impl Ground, map: &ClusterMap, group: GroupId, mark: &Mark) {
    if is_left_over(map, mark) {
        clear_up(ground, group, mark);
    } else if is_in_the_way(map, mark) {
        make_room(ground, group, mark);
    }
}

/// Clears away what is left over of a migration that is long over.
fn clear_up(ground: &impl Ground, group: GroupId, mark: &Mark) {
    let Some(reign) = ground.reign(group) else { return };
    let Some(map) = ground.catch_up().ok().and_then(|()| ground.map()).filter(|map| is_left_over(map, mark)) else {
        return;
    };
    let id = MigrationId::new(mark.name);
    let cleared = match mark.passage {
        Passage::Sealed => Ok(()),
        Passage::Arriving => {
            let arrivals = ground.arrivals();
            arrivals.end(id);
            let slots: SlotSet = mark.all_slots().filter(|slot| map.slots().owner(*slot) != Some(group)).collect();
            reign.clear(slots.iter(), |reign, batch| arrivals.propose_unbound(ground, reign, &slots, batch))
        }
    };
    if let Err(hitch) = cleared.and_then(|()| reign.unmark(mark.passage, &mark.name)) {
        tracing::info!(migration = %id, %hitch, "what is left over of a migration stays for now");
    }
    ground.unseal(id);
}

/// Clears away what has come of slots in memory, which keeps their new group from getting the copies that they wait
/// for.
fn make_room(ground: &impl Ground, group: GroupId, mark: &Mark) {
    let Some(reign) = ground.reign(group) else { return };
    let id = MigrationId::new(mark.name);
    // After that nobody can have it committed.
    let Decision::Made(_) = ground.decide(Change::RestartMigration { id, at: ground.now() }) else { return };
    let arrivals = ground.arrivals();
    arrivals.end(id);
    let unmark = Effect::Unmark { passage: mark.passage, name: mark.name };
    let made = reign
        .clear(mark.all_slots(), |reign, batch| arrivals.propose_ended(id, reign, batch))
        .and_then(|()| arrivals.propose_ended(id, &reign, vec![unmark]))
        .and_then(|seq| reign.wait_applied(seq));
    match made {
        Ok(()) => tracing::info!(migration = %id, "slots that arrive make room for copies of those that are there"),
        Err(hitch) => tracing::info!(migration = %id, %hitch, "slots that arrive stay for now"),
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

/// Whether the target has as many copies as the source, or as a group should have, or as there can be: nothing is to be
/// less safe for having moved. Placement gives a group that awaits slots what it should have, and no more; a source may
/// have more for a while, and a source that is emptied until its slots have left.
fn is_ready(map: &ClusterMap, migration: &Migration) -> bool {
    let copies = |group| map.members(group).map_or(0, |it| it.replicas.iter().filter(|one| one.is_firm()).count());
    let stays = |node: &&NodeInfo| node.is_up() && node.standing == Standing::Member;
    let nodes = map.nodes().values().filter(stays).count();
    let wanted = 1 + usize::from(map.settings().replicas);
    let enough = copies(migration.source).min(map.mode().copies_max(nodes)).min(wanted);
    !matches!(migration.phase, Phase::Copying(_)) || copies(migration.target) >= enough
}

/// Whether nobody will come to take the mark away: the map that this node knows is newer, and has no such migration
/// under way.
fn is_left_over(map: &ClusterMap, mark: &Mark) -> bool {
    let record = map.migrations().get(&MigrationId::new(mark.name));
    map.version().0 >= mark.version && record.is_none_or(|record| !record.is_under_way())
}

/// Whether slots on their way into memory wait for copies of their new group, which cannot be made of what is half
/// there.
fn is_in_the_way(map: &ClusterMap, mark: &Mark) -> bool {
    let record = map.migrations().get(&MigrationId::new(mark.name));
    let waits = |record: &Migration| matches!(record.phase, Phase::Copying(_)) && !is_ready(map, record);
    map.mode() == Mode::Cache && mark.passage == Passage::Arriving && record.is_some_and(waits)
}

fn finish(ground: &impl Ground, migration: &Migration, side: Side) -> Result<(), Hitch> {
    let (id, seen, at) = (migration.id, migration.changed, ground.now());
    match ground.decide(Change::FinishMigration { id, side, seen, at }) {
        Decision::Unknown => Err(Hitch::new("the root group has no quorum")),
        Decision::Made(_) | Decision::Refused(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::show::samples;
    use basalt_cluster::map::{Job, ReplicaStatus, Report, Wanted};

    /// Gives a group voters on these nodes as well.
    fn replicate(map: &mut ClusterMap, group: GroupId, nodes: &[u8]) {
        for number in nodes {
            let add = Change::AddReplica { group, node: samples::node(*number), wanted: Wanted::Voter };
            map.apply(&add).expect("it has none");
        }
        let members = map.members(group).expect("a group of the sample");
        let present = members.replicas.iter().map(|replica| (replica.id, ReplicaStatus::Voter)).collect();
        let report = Report { term: members.leader.term, seen: map.version(), present };
        map.apply(&Change::ReportReplicas { group, report }).expect("its leader says so");
    }

    #[test]
    fn slots_wait_until_their_new_group_has_the_copies_that_it_should_have() {
        let [one, two] = [1, 2].map(samples::node);
        let mut map = samples::cluster(5);
        let [source, target] = [one, two].map(|node| map.node(node).expect("a member").home);
        let slots = vec![samples::range(0, 9)];
        map.apply(&Change::AssignSlots { node: one, slots: slots.clone() }).expect("they are free");
        let id = MigrationId::new([7; MigrationId::BYTES]);
        let job = Job { id, kind: MigrationKind::FromSource, slots, from: Some(one), to: two };
        let at = basalt_storage::clock::UnixMs(1);
        map.apply(&Change::BeginMigrations { jobs: vec![job], at }).expect("they are free to go");
        let is_ready = |map: &ClusterMap| super::is_ready(map, &map.migrations()[&id]);
        assert!(is_ready(&map), "one copy is as many as there is");
        // One more than there should be, as while a replica moves to another node.
        replicate(&mut map, source, &[2, 3, 4]);
        assert!(!is_ready(&map), "the target has one copy");
        replicate(&mut map, target, &[3]);
        assert!(!is_ready(&map), "the target has two copies");
        replicate(&mut map, target, &[4]);
        assert!(is_ready(&map), "the target has all that it will ever have");
    }
}
