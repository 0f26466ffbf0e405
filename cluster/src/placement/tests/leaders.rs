//! Scripts for who should lead.

use super::super::{Step, Why, leaders};
use super::World;
use crate::ids::{GroupId, NodeId};
use crate::map::samples::{joining, node_id, serving};
use crate::map::{AutoBalance, Change, Settings};

fn preferred(world: &World) -> Vec<(GroupId, NodeId)> {
    let steps = leaders(&world.map, world.now, usize::MAX).into_iter().map(|planned| planned.step);
    steps.filter_map(|step| if let Step::Prefer { group, node } = step { Some((group, node)) } else { None }).collect()
}

/// Slots stay where they are, so that only leaders move.
fn without_balancing(world: &mut World) {
    let settings = Settings { auto_balance: AutoBalance::No, ..*world.map.settings() };
    world.apply(&Change::Configure(settings));
}

#[test]
fn a_group_is_led_at_home_as_long_as_its_home_can() {
    let mut world = World::new(3, 2);
    world.settle();
    assert!(preferred(&world).is_empty());
    world.fail(1);
    world.wait();
    world.react();
    assert!(preferred(&world).is_empty(), "a guest that leads for it does not become the one that should");
}

#[test]
fn a_replica_at_home_takes_over_from_a_master_that_is_drained() {
    let mut world = World::of(serving(2), 1);
    world.apply(&Change::Join(Box::new(joining(3))));
    world.apply(&Change::Replicate { node: node_id(3), master: node_id(1) });
    world.settle();
    let before = world.map.slots().clone();
    world.drain(1);
    assert_eq!(preferred(&world), [(GroupId(1), node_id(3))]);
    let why = leaders(&world.map, world.now, 1)[0].why;
    assert_eq!(why, Why::Draining(node_id(1)));
    assert!(leaders(&world.map, world.now, 0).is_empty());
    world.settle();
    assert_eq!(world.map.slots(), &before, "no slot has to move for that");
    assert!(world.map.is_master(node_id(3)));
    assert!(super::super::remaining(&world.map, node_id(1)).is_nothing());
}

#[test]
fn groups_that_have_outlived_their_home_are_spread() {
    let mut world = World::new(4, 2);
    without_balancing(&mut world);
    world.settle();
    for number in [1, 2] {
        world.fail(number);
        world.wait();
        world.settle();
        // All that it has led is led by the lowest now.
        world.apply(&Change::Forget { node: node_id(4), target: node_id(number) });
        world.settle();
    }
    let leads = |number| world.map.faced_by(node_id(number)).count();
    assert_eq!([leads(3), leads(4)], [2, 2]);
    assert_eq!(world.map.slots().assigned(), 16384);
}
