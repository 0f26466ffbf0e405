//! Scripts for voters: how many, where, and in which order.

use super::super::replicas;
use super::{Step, World, has_step, texts};
use crate::ids::GroupId;
use crate::map::samples::migration_id;
use crate::map::samples::{alone, cluster, joining, node_id, range};
use crate::map::{Change, ClusterMap, Job, MigrationKind, ReplicaKind};

/// The root group of the samples.
const ROOT: u32 = 1001;

fn one_master(nodes: u8) -> ClusterMap {
    let mut map = alone(1);
    map.apply(&Change::AssignSlots { node: node_id(1), slots: vec![range(0, 16383)] }).unwrap();
    for number in 2..=nodes {
        map.apply(&Change::Join(Box::new(joining(number)))).unwrap();
    }
    map
}

fn replicate(world: &mut World, number: u8, master: u8) {
    world.apply(&Change::Replicate { node: node_id(number), master: node_id(master) });
}

#[test]
fn each_group_gets_the_wanted_copies_on_different_nodes() {
    let mut world = World::new(3, 2);
    world.settle();
    for group in [1, 2, 3, ROOT] {
        assert_eq!(world.voters(group), [1, 2, 3]);
    }
    // Nobody sees the guests.
    assert_eq!(world.map.replica_kind(GroupId(1), node_id(2)), ReplicaKind::Guest);
    assert!(world.map.node_lines(node_id(1)).iter().all(|line| line.role == crate::map::Role::Master));
}

#[test]
fn the_first_steps_and_their_reasons() {
    let world = World::new(2, 1);
    let moves = replicas(&world.map, world.now, usize::MAX);
    assert_eq!(
        texts(&moves),
        [
            "add a replica of group 1001 on 02: the group has 1 voters of 2 that are wanted",
            "add a replica of group 1 on 02: the group has 1 voters of 3 that are wanted",
            "add a replica of group 2 on 01: the group has 1 voters of 3 that are wanted",
        ]
    );
    assert_eq!(replicas(&world.map, world.now, 2).len(), 2);
    assert_eq!(replicas(&world.map, world.now, 0).len(), 0);
}

#[test]
fn what_is_being_built_counts_against_the_budget() {
    let mut world = World::new(3, 2);
    let moves = replicas(&world.map, world.now, 2);
    world.carry_out(&moves);
    assert!(replicas(&world.map, world.now, 2).is_empty());
    world.react();
    assert_eq!(replicas(&world.map, world.now, 2).len(), 2);
}

#[test]
fn a_master_with_one_replica_gets_a_guest_for_its_quorum() {
    let mut world = World::of(one_master(2), 0);
    replicate(&mut world, 2, 1);
    world.settle();
    assert_eq!(world.voters(1), [1, 2]);
    // Now there is a third node.
    world.apply(&Change::Join(Box::new(joining(3))));
    world.load.weights.insert(node_id(3), 0);
    world.settle();
    assert_eq!(world.voters(1), [1, 2, 3]);
    assert_eq!(world.map.replica_kind(GroupId(1), node_id(3)), ReplicaKind::Guest);
}

#[test]
fn groups_without_slots_get_no_copies() {
    let mut world = World::of(cluster(3), 2);
    world.settle();
    assert_eq!((world.voters(1), world.voters(2)), (vec![1], vec![2]));
    assert_eq!(world.voters(ROOT), [1, 2, 3]);
}

#[test]
fn voters_are_spread_over_zones_and_move_to_zones_that_come_later() {
    let mut world = World::of(one_master(5), 2);
    for number in 2..=5 {
        world.load.weights.insert(node_id(number), 0);
    }
    for (number, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "a")] {
        world.zone(number, zone);
    }
    world.settle();
    let voters = world.voters(1);
    assert!(voters.contains(&1) && voters.contains(&3) && voters.len() == 3, "{voters:?}");
    world.zone(5, "c");
    world.settle();
    assert_eq!(world.voters(1), [1, 3, 5]);
}

#[test]
fn a_silent_node_keeps_its_votes() {
    let mut world = World::new(3, 2);
    world.settle();
    for silent in 1..=3 {
        world.fail(silent);
        world.react();
        assert!(world.plan().is_empty(), "{:?}", texts(&world.plan()));
        world.recover(silent);
        world.settle();
        assert_eq!(world.voters(ROOT), [1, 2, 3]);
    }
}

#[test]
fn a_lost_node_is_replaced_after_the_delay_and_its_home_comes_back_with_it() {
    let mut world = World::new(4, 2);
    world.settle();
    let (former, victim) = (world.voters(1), 1);
    world.fail(victim);
    world.react();
    assert!(world.plan().is_empty(), "it may come back");
    world.wait();
    let first = world.plan();
    assert!(!has_step(&first, |step| matches!(step, Step::RemoveReplica { .. })), "copies are added first");
    assert!(texts(&first).iter().any(|text| text.ends_with("01 has been failed for too long")));
    world.settle();
    for group in [1, 2, 3, 4, ROOT] {
        let voters = world.voters(group);
        assert!(!voters.contains(&victim) && voters.len() == 3, "group {group}: {voters:?}");
    }
    assert!(former.contains(&victim));
    // It is back, with nothing: its home group takes it in again, and parts from a guest.
    world.recover(victim);
    world.settle();
    assert!(world.voters(1).contains(&victim) && world.voters(1).len() == 3);
    assert!(world.map.is_master(node_id(victim)));
}

#[test]
fn a_lost_vote_is_not_given_up_when_there_is_no_other_node() {
    let mut world = World::new(3, 2);
    world.settle();
    world.fail(3);
    world.wait();
    world.settle();
    assert_eq!(world.voters(1), [1, 2, 3]);
}

#[test]
fn a_drained_node_is_emptied_and_can_be_removed() {
    let mut world = World::new(4, 2);
    world.settle();
    world.drain(2);
    world.settle();
    let left = super::super::remaining(&world.map, node_id(2));
    assert!(left.is_nothing(), "{left:?}");
    assert_eq!(world.shares(4)[1], 0);
    world.apply(&Change::Forget { node: node_id(1), target: node_id(2) });
    assert!(world.map.node(node_id(2)).is_none());
    world.settle();
    assert_eq!(world.map.slots().assigned(), 16384);
}

#[test]
fn a_drained_node_has_to_go_also_if_copies_become_fewer() {
    let mut world = World::new(3, 2);
    world.settle();
    world.drain(3);
    world.settle();
    assert_eq!(world.voters(1), [1, 2]);
    assert!(super::super::remaining(&world.map, node_id(3)).is_nothing());
}

#[test]
fn fewer_copies_wanted_means_fewer_guests_but_never_fewer_homes() {
    let mut world = World::of(one_master(4), 4);
    for number in 2..=4 {
        world.load.weights.insert(node_id(number), 0);
    }
    replicate(&mut world, 2, 1);
    world.settle();
    assert_eq!(world.voters(1), [1, 2, 3, 4]);
    let mut settings = *world.map.settings();
    settings.replicas = 0;
    world.apply(&Change::Configure(settings));
    world.settle();
    let voters = world.voters(1);
    assert!(voters.len() == 3 && voters[..2] == [1, 2], "{voters:?}");
}

#[test]
fn slots_that_come_to_a_node_that_is_emptied_find_their_copies() {
    let mut world = World::new(4, 2);
    world.settle();
    let slots = vec![range(5000, 5000)];
    let job = Job { id: migration_id(1), kind: MigrationKind::ToTarget, slots, from: None, to: node_id(1) };
    world.apply(&Change::BeginMigrations { jobs: vec![job], at: world.now });
    world.drain(1);
    let replica = world.map.members(GroupId(1)).unwrap().on(node_id(2)).unwrap().id;
    world.apply(&Change::RemoveReplica { group: GroupId(1), replica });
    world.report(GroupId(1));
    assert_eq!(world.voters(1), [1, 3]);
    // The migration waits for that, and the node for the migration.
    let moves = replicas(&world.map, world.now, usize::MAX);
    assert!(has_step(&moves, |step| matches!(step, Step::AddReplica { group: GroupId(1), .. })), "{moves:#?}");
}
