//! Cache mode: slots of nodes that are lost, with and without migrations that they had a part in.

use super::super::{Load, Move, Step, lost, replicas};
use super::{AT, World};
use crate::Slot;
use crate::ids::NodeId;
use crate::map::samples::{alone_in, joining, migration_id, node_id, range};
use crate::map::{
    AutoBalance, Change, ClusterMap, GroupInfo, Job, Joining, MigrationKind, Mode, Settings, Side, Stage,
};

/// Masters of a cache that share the slots evenly.
fn caches(count: u8) -> World {
    let mut map: ClusterMap = alone_in(1, Mode::Cache);
    for number in 2..=count {
        let joining = Joining { mode: Mode::Cache, ..joining(number) };
        map.apply(&Change::Join(Box::new(joining))).unwrap();
    }
    let share = 16384 / u16::from(count);
    for number in 1..=count {
        let first = share * u16::from(number - 1);
        let last = if number == count { 16383 } else { first + share - 1 };
        map.apply(&Change::AssignSlots { node: node_id(number), slots: vec![range(first, last)] }).unwrap();
    }
    World::of(map, 0)
}

/// Carries out what is planned until there is nothing more; returns the kinds of steps.
fn carry_out(world: &mut World) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    loop {
        let moves = lost(&world.map, &Load::even(), world.now);
        if moves.is_empty() {
            return kinds;
        }
        for planned in moves {
            kinds.push(planned.step.kind());
            world.apply(&planned.step.change(migration_id(1), world.now));
        }
        assert!(kinds.len() < 20, "it comes to no end: {kinds:?}");
    }
}

#[test]
fn slots_of_a_lost_node_go_to_the_others_in_even_parts_and_not_before_its_time() {
    let mut world = caches(4);
    world.fail(4);
    assert!(carry_out(&mut world).is_empty(), "it may come back with them");
    world.wait();
    assert_eq!(carry_out(&mut world), ["give-up-slots"]);
    assert_eq!(world.shares(4), [5462, 5462, 5460, 0]);
    assert!(replicas(&world.map, world.now, 10).iter().all(|planned| matches!(&planned.step,
        Step::AddReplica { group, .. } | Step::RemoveReplica { group, .. } if *group == world.map.root().id)));
}

#[test]
fn migrations_with_a_lost_node_end_before_its_slots_go() {
    for (victim, step) in
        [(1, "abort-migration"), (2, "abort-migration"), (1, "finish-migration"), (2, "finish-migration")]
    {
        let mut world = caches(3);
        let (id, slots) = (migration_id(7), vec![range(0, 99)]);
        let job = Job { id, kind: MigrationKind::FromSource, slots, from: Some(node_id(1)), to: node_id(2) };
        world.apply(&Change::BeginMigrations { jobs: vec![job], at: AT });
        world.apply(&Change::ReportStage { id, stage: Stage::Tail, at: AT });
        if step == "finish-migration" {
            let seen = world.map.version();
            world.apply(&Change::CommitMigration { id, seen, at: AT });
        }
        world.fail(victim);
        world.wait();
        let kinds = carry_out(&mut world);
        assert_eq!(kinds[0], step);
        assert!(kinds.contains(&"give-up-slots"));
        // The other side does its own part, when it has seen that it is due.
        let other = if victim == 1 { Side::Target } else { Side::Source };
        let seen = world.map.migrations()[&id].changed;
        world.apply(&Change::FinishMigration { id, side: other, seen, at: AT });
        carry_out(&mut world);
        assert!(world.map.migrations_under_way().next().is_none());
        assert_eq!(world.shares(3)[usize::from(victim) - 1], 0);
        assert_eq!(world.map.slots().assigned(), 16384);
    }
}

#[test]
fn in_durable_mode_nothing_is_given_up() {
    let mut world = World::new(3, 0);
    world.fail(3);
    world.wait();
    assert!(carry_out(&mut world).is_empty());
}

#[test]
fn nobody_else_gets_anything_if_all_are_lost() {
    let mut world = caches(2);
    world.fail(1);
    world.fail(2);
    world.wait();
    assert!(carry_out(&mut world).is_empty());
    assert_eq!(world.map.slots().count(world.map.node(node_id(1)).unwrap().home), 8192);
}

/// Caches whose groups all have two further copies.
fn copied(count: u8) -> World {
    let mut world = caches(count);
    world.apply(&Change::Configure(Settings { replicas: 2, ..Settings::default() }));
    world.settle();
    let voters = |group: &GroupInfo| group.members.replicas.iter().filter(|one| one.is_firm()).count();
    assert!(world.map.groups().values().all(|group| voters(group) == 3));
    world
}

#[test]
fn a_group_with_copies_is_given_up_when_its_majority_is_lost_and_its_master() {
    let mut world = copied(5);
    let home = world.map.node(node_id(1)).unwrap().home;
    let there: Vec<NodeId> = world.map.members(home).unwrap().replicas.iter().map(|one| one.node).collect();
    let other = (2..=5).find(|number| there.contains(&node_id(*number))).unwrap();
    world.fail(1);
    world.wait();
    assert!(carry_out(&mut world).is_empty(), "the others have what it had");
    world.fail(other);
    world.wait();
    let kinds = carry_out(&mut world);
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == "give-up-slots"), "{kinds:?}");
    assert_eq!((world.map.slots().assigned(), world.map.slots().count(home)), (16384, 0));
    // Nobody tries to copy what nobody has.
    let adds = |planned: &Move| matches!(planned.step, Step::AddReplica { group, .. } if group == home);
    assert!(!world.plan().iter().any(adds));
}

#[test]
fn a_group_without_keys_begins_anew_and_needs_none_of_the_replicas_that_it_had() {
    let mut world = copied(3);
    world.apply(&Change::Configure(Settings { auto_balance: AutoBalance::No, ..*world.map.settings() }));
    let (node, slots) = (node_id(1), vec![range(0, 5460)]);
    let home = world.map.node(node).unwrap().home;
    let is_refounded = |planned: &Move| matches!(planned.step, Step::Refound { group, .. } if group == home);
    assert!(!world.plan().iter().any(is_refounded), "it has slots");
    world.apply(&Change::UnassignSlots { node, slots });
    // Keys come one by one.
    let (slot, from) = (Slot::new(9000).unwrap(), world.map.owner(Slot::new(9000).unwrap()).unwrap());
    world.apply(&Change::OpenImporting { node, slot, from });
    assert!(!world.plan().iter().any(is_refounded), "it may have keys");
    assert!(world.map.clone().apply(&Change::Refound { group: home, node }).is_err());
    world.apply(&Change::CloseSlot { node, slot });
    // Its only replica that shall stay in the end has just ended: the others could not do without it.
    world.apply(&Change::RestartReplica { group: home, node });
    let former = world.map.members(home).unwrap().next_replica;
    let planned: Vec<Move> = world.plan().into_iter().filter(is_refounded).collect();
    assert_eq!(planned.len(), 1);
    world.carry_out(&planned);
    let replicas = &world.map.members(home).unwrap().replicas;
    assert_eq!(replicas.iter().map(|one| (one.node, one.id)).collect::<Vec<_>>(), [(node, former)]);
    world.settle();
    assert_eq!(world.map.members(home).unwrap().replicas.len(), 1);
}

#[test]
fn two_caches_have_no_copies_since_neither_could_be_spared() {
    let mut world = caches(2);
    world.apply(&Change::Configure(Settings { replicas: 2, ..Settings::default() }));
    world.settle();
    assert!(world.map.groups().values().all(|group| group.members.replicas.len() == 1));
    let joining = Joining { mode: Mode::Cache, ..joining(3) };
    world.apply(&Change::Join(Box::new(joining)));
    world.settle();
    let copies = |number: u8| world.map.members(world.map.node(node_id(number)).unwrap().home).unwrap().replicas.len();
    assert_eq!([1, 2].map(copies), [3, 3]);
}
