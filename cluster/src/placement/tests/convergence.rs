//! Random clusters, to which random things happen: plans are always accepted, come to an end, and leave what is wanted.

use super::World;
use crate::Slot;
use crate::map::samples::{alone, joining, node_id, range};
use crate::map::{Change, Removal};
use crate::placement::SlotLoad;
use basalt_storage::rng::Rng;

fn random(rng: &mut Rng) -> World {
    let count = 1 + rng.below(7) as u8;
    let mut map = alone(1);
    map.apply(&Change::AssignSlots { node: node_id(1), slots: vec![range(0, 16383)] }).unwrap();
    for number in 2..=count {
        map.apply(&Change::Join(Box::new(joining(number)))).unwrap();
    }
    let mut world = World::of(map, rng.below(4) as u8);
    for number in 1..=count {
        world.zone(number, ["", "a", "b"][rng.below(3) as usize]);
        if rng.below(4) == 0 {
            world.load.weights.insert(node_id(number), rng.below(4) as u32);
        }
    }
    for number in 2..=count {
        if rng.below(4) == 0 {
            let master = node_id(1 + rng.below(u64::from(count)) as u8);
            // It may be no master any more, or itself.
            let _ = world.map.apply(&Change::Replicate { node: node_id(number), master });
        }
    }
    for slot in Slot::all() {
        if rng.below(3) == 0 {
            world.load.set(slot, SlotLoad { bytes: rng.below(1 << 20), operations: rng.below(1000) });
        }
    }
    world
}

#[test]
fn plans_come_to_an_end_and_leave_what_is_wanted() {
    let mut moves = 0;
    for seed in 0..16 {
        let mut rng = Rng::seeded(seed);
        let mut world = random(&mut rng);
        moves += world.settle();
        for _ in 0..4 {
            let number = 1 + rng.below(8) as u8;
            if world.map.member(node_id(number)).is_none() {
                continue;
            }
            match rng.below(4) {
                0 if world.map.groups().keys().all(|&group| survives(&world, group, number)) => world.fail(number),
                1 => world.recover(number),
                2 => world.drain(number),
                _ => world.apply(&Change::Drain { node: node_id(number), removal: Removal::NotWanted }),
            }
            moves += world.settle();
            world.wait();
            moves += world.settle();
            holds(&world);
        }
    }
    assert!(moves > 400, "only {moves} moves: too little happens");
}

/// Whether `group` has a majority without this node.
fn survives(world: &World, group: crate::ids::GroupId, number: u8) -> bool {
    let voters: Vec<_> = world.map.members(group).unwrap().voters().collect();
    let left = voters.iter().filter(|voter| voter.node != node_id(number) && world.is_up(voter.node));
    left.count() * 2 > voters.len()
}

fn holds(world: &World) {
    assert_eq!(world.map.slots().assigned(), 16384);
    let up = world.map.nodes().values().filter(|node| node.is_up()).count();
    for (group, _) in world.map.slots().owners() {
        let members = &world.map.group(group).unwrap().members;
        let wanted = 1 + usize::from(world.map.settings().replicas);
        let live = members.voters().filter(|voter| world.is_up(voter.node)).count();
        let draining = world.map.nodes().values().filter(|node| node.standing != crate::map::Standing::Member).count();
        assert!(live >= wanted.min(up.saturating_sub(draining)), "group {group} has {live} of {wanted}: {members:#?}");
    }
}
