//! Scripts for slots: by number, by load, by weight, and not back and forth.

use super::super::{Budget, Scope, SlotLoad, Step, Why, slots, unassigned};
use super::{World, texts};
use crate::Slot;
use crate::ids::GroupId;
use crate::map::samples::{alone, cluster, joining, node_id, range, serving, slot};
use crate::map::{Change, Job, MigrationKind};

fn planned(world: &World) -> Vec<(u8, u8, usize)> {
    let moves = slots(&world.map, &world.load, world.now, &Budget::UNLIMITED, Scope::All);
    let step = |step: &Step| match step {
        Step::MoveSlots { from, to, slots, .. } => {
            let count = slots.iter().map(|range| range.count()).sum();
            (from.as_bytes()[0], to.as_bytes()[0], count)
        }
        other => panic!("{other}"),
    };
    moves.iter().map(|planned| step(&planned.step)).collect()
}

fn load(bytes: u64, operations: u64) -> SlotLoad {
    SlotLoad { bytes, operations }
}

#[test]
fn a_new_master_gets_its_part_in_whole_runs() {
    let mut world = World::new(2, 0);
    assert!(planned(&world).is_empty());
    world.apply(&Change::Join(Box::new(joining(3))));
    world.settle();
    let shares = world.shares(3);
    assert!(shares.iter().all(|&share| (5200..=5800).contains(&share)), "{shares:?}");
    // Each former owner keeps one run.
    assert_eq!(world.map.node_lines(node_id(1))[0].slots.len(), 1);
    assert!(world.plan().is_empty());
}

#[test]
fn weights_say_how_much_each_should_have() {
    let mut world = World::new(2, 0);
    world.load.weights.insert(node_id(1), 3);
    world.settle();
    let shares = world.shares(2);
    assert!((11900..=12400).contains(&shares[0]), "{shares:?}");
    world.load.weights.insert(node_id(1), 0);
    world.settle();
    assert_eq!(world.shares(2), [0, 16384]);
}

#[test]
fn bytes_are_spread_and_numbers_nearly_as_well() {
    let mut world = World::new(2, 0);
    world.measure(|slot| load(if slot.number() < 800 { 1_000_000 } else { 0 }, 0));
    world.settle();
    let heavy = Slot::all().take(800).filter(|&slot| world.map.owner(slot) == Some(node_id(1))).count();
    assert!((390..=410).contains(&heavy), "{heavy} of 800");
    let shares = world.shares(2);
    assert!(shares[0].abs_diff(shares[1]) < 3300, "{shares:?}");
}

#[test]
fn a_slot_that_is_hot_by_itself_stays_where_it_is() {
    let mut world = World::new(2, 0);
    world.measure(|slot| load(1000, if slot.number() == 5 { 1_000_000 } else { 0 }));
    assert!(planned(&world).is_empty(), "nothing would help");
    // If it has not all of the load, others leave.
    world.measure(|slot| load(1000, if slot.number() == 5 { 1_000_000 } else { 100 }));
    world.settle();
    assert_eq!(world.map.owner(slot(5)), Some(node_id(1)));
    let shares = world.shares(2);
    assert!((1000..6000).contains(&shares[0]), "{shares:?}");
}

#[test]
fn budgets_bound_a_plan_but_let_one_big_slot_pass() {
    let mut world = World::of(alone(1), 0);
    world.apply(&Change::AssignSlots { node: node_id(1), slots: vec![range(0, 16383)] });
    world.apply(&Change::Join(Box::new(joining(2))));
    world.measure(|_| load(100, 0));
    let count = |budget: Budget| -> usize {
        let moves = slots(&world.map, &world.load, world.now, &budget, Scope::All);
        let slots = moves.iter().map(|planned| match &planned.step {
            Step::MoveSlots { slots, .. } => slots.iter().map(|range| range.count()).sum(),
            _ => 0,
        });
        slots.sum()
    };
    assert_eq!(count(Budget { bytes: 1000, ..Budget::UNLIMITED }), 10);
    assert_eq!(count(Budget { bytes: 10, ..Budget::UNLIMITED }), 1);
    assert_eq!(count(Budget { slots: 7, ..Budget::UNLIMITED }), 7);
    assert_eq!(count(Budget { migrations: 2, ..Budget::UNLIMITED }), 2048);
    assert_eq!(count(Budget { migrations: 0, ..Budget::UNLIMITED }), 0);
    assert_eq!(slots(&world.map, &world.load, world.now, &Budget::UNLIMITED, Scope::OnlyDraining), []);
}

#[test]
fn what_is_on_its_way_counts_where_it_goes_and_open_slots_stay() {
    let mut world = World::of(alone(1), 0);
    world.apply(&Change::AssignSlots { node: node_id(1), slots: vec![range(0, 16383)] });
    world.apply(&Change::Join(Box::new(joining(2))));
    let moves = world.plan();
    world.carry_out(&moves);
    assert!(world.plan().is_empty(), "the same slots are not moved twice");
    assert_eq!(world.shares(2), [16384, 0]);

    let mut world = World::of(serving(2), 0);
    world.load.weights.insert(node_id(1), 0);
    world.apply(&Change::OpenMigrating { node: node_id(1), slot: slot(7), to: node_id(2) });
    world.settle();
    assert_eq!(world.shares(2), [1, 16383]);
}

#[test]
fn a_failed_master_takes_no_part() {
    let mut world = World::new(3, 0);
    world.load.weights.insert(node_id(1), 9);
    world.fail(1);
    assert!(planned(&world).is_empty());
    world.recover(1);
    assert!(planned(&world).iter().all(|(_, to, _)| *to == 1));
}

#[test]
fn reasons_name_the_parts_of_the_load() {
    let mut world = World::of(serving(2), 0);
    world.load.weights.insert(node_id(2), 3);
    let budget = Budget { slots: 1, ..Budget::UNLIMITED };
    let moves = slots(&world.map, &world.load, world.now, &budget, Scope::All);
    assert_eq!(
        texts(&moves),
        ["move slots 8191 (0 bytes, 0 operations a second) from 01 to 02: 01 has 50% of the 16384 slots and should \
          have 25%, 02 has 50% and should have 75%"]
    );
    assert!(format!("{:#}", moves[0]).starts_with("move 1 slots (0 bytes"), "{:#}", moves[0]);
    // The second node has a tenth of the bytes.
    let mut world = World::of(serving(2), 0);
    world.measure(|slot| load(if slot.number() < 8192 { 90_000 } else { 10_000 }, 0));
    let moves = slots(&world.map, &world.load, world.now, &budget, Scope::All);
    assert_eq!(
        texts(&moves),
        ["move slots 8191 (90000 bytes, 0 operations a second) from 01 to 02: 01 has 90% of the 819200000 bytes and \
          should have 50%, 02 has 10% and should have 50%"]
    );
    world.load.weights.insert(node_id(2), 3);
    world.drain(1);
    let moves = slots(&world.map, &world.load, world.now, &budget, Scope::OnlyDraining);
    assert_eq!(moves[0].why, Why::Draining(node_id(1)));
}

#[test]
fn slots_of_two_groups_of_one_leader_are_moved_group_by_group() {
    let mut world = World::of(serving(2), 0);
    world.apply(&Change::Join(Box::new(joining(3))));
    let wanted = crate::map::Wanted::Voter;
    world.apply(&Change::AddReplica { group: GroupId(1), node: node_id(2), wanted });
    world.react();
    world.fail(1);
    let leader = world.map.group(GroupId(1)).unwrap().members.on(node_id(2)).unwrap().id;
    world.apply(&Change::LeaderChanged { group: GroupId(1), replica: leader, term: crate::ids::Term(9) });
    let moves = world.plan();
    assert!(!moves.is_empty());
    world.carry_out(&moves);
}

#[test]
fn slots_that_nobody_owns_are_given_out_by_weight() {
    let mut world = World::of(cluster(3), 0);
    world.load.weights.insert(node_id(3), 2);
    world.apply(&Change::AssignSlots { node: node_id(1), slots: vec![range(100, 199)] });
    let moves = unassigned(&world.map, &world.load, world.now);
    world.carry_out(&moves);
    assert_eq!(world.shares(3), [4096, 4096, 8192]);
    assert!(unassigned(&world.map, &world.load, world.now).is_empty());
}

#[test]
fn a_job_of_the_balancer_is_told_from_a_clients() {
    let world = World::new(2, 0);
    let step = Step::MoveSlots { from: node_id(1), to: node_id(2), slots: vec![range(1, 2)], bytes: 0, operations: 0 };
    let id = crate::map::samples::migration_id(1);
    let Change::BeginMigrations { jobs, .. } = step.change(id, world.now) else { panic!("no migration") };
    let slots = vec![range(1, 2)];
    let (from, to) = (Some(node_id(1)), node_id(2));
    assert_eq!(jobs, [Job { id, kind: MigrationKind::Balancing, slots, from, to }]);
}
