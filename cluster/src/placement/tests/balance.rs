//! Clusters whose slots differ in what they have: everybody gets a share of everything, and then it is quiet.

use super::World;
use crate::Slot;
use crate::map::Change;
use crate::map::samples::{joining, node_id};
use crate::placement::{Budget, Measure, Move, Scope, SlotLoad, Step, Why, slots};
use basalt_storage::rng::Rng;

/// Which parts of the bytes, of the operations and of the slots each of the nodes has.
fn parts(world: &World, count: u8) -> Vec<[f64; 3]> {
    let mut has = vec![[0.0; 3]; usize::from(count)];
    let mut total = [0.0; 3];
    for slot in Slot::all() {
        let (load, owner) = (world.load.slot(slot).unwrap_or_default(), world.map.owner(slot).unwrap());
        let of = &mut has[usize::from(owner.as_bytes()[0]) - 1];
        for (at, amount) in [load.bytes as f64, load.operations as f64, 1.0].into_iter().enumerate() {
            of[at] += amount;
            total[at] += amount;
        }
    }
    has.into_iter().map(|of| std::array::from_fn(|at| of[at] / f64::max(total[at], 1.0))).collect()
}

fn moves(world: &World, scope: Scope) -> Vec<Move> {
    slots(&world.map, &world.load, world.now, &Budget::UNLIMITED, scope)
}

fn moved_slots(moves: &[Move]) -> usize {
    let count = |step: &Step| match step {
        Step::MoveSlots { slots, .. } => slots.iter().map(|range| range.count()).sum(),
        _ => 0,
    };
    moves.iter().map(|planned| count(&planned.step)).sum()
}

/// Sizes as they are found: most slots small, few large, some very large.
fn skewed(rng: &mut Rng) -> SlotLoad {
    let scale = |rng: &mut Rng| (8.0 * rng.f64() * rng.f64() * rng.f64()).exp2() * (1.0 + rng.f64());
    SlotLoad { bytes: (100_000.0 * scale(rng)) as u64, operations: (3.0 * scale(rng)) as u64 }
}

fn skew(world: &mut World, rng: &mut Rng) {
    Slot::all().for_each(|slot| world.load.set(slot, skewed(rng)));
}

/// What is measured next time: each figure up to a fifth off.
fn noisy(load: SlotLoad, rng: &mut Rng) -> SlotLoad {
    let off = |number: u64, rng: &mut Rng| (number as f64 * (0.8 + 0.4 * rng.f64())) as u64;
    SlotLoad { bytes: off(load.bytes, rng), operations: off(load.operations, rng) }
}

#[test]
fn a_new_node_gets_its_share_of_bytes_and_operations_too() {
    for seed in 0..10 {
        let mut rng = Rng::seeded(seed);
        let count = 3 + rng.below(4) as u8;
        let mut world = World::new(count, 0);
        skew(&mut world, &mut rng);
        world.settle();
        world.apply(&Change::Join(Box::new(joining(count + 1))));
        let before = moved_slots(&moves(&world, Scope::All));
        world.settle();
        let fair = 1.0 / f64::from(count + 1);
        for (node, has) in parts(&world, count + 1).iter().enumerate() {
            let [bytes, operations, slots] = has.map(|part| part / fair);
            assert!((0.95..1.05).contains(&bytes) && (0.95..1.05).contains(&operations), "{seed}: {node} has {has:?}");
            assert!((0.75..1.25).contains(&slots), "{seed}: {node} has {has:?}");
        }
        assert!(before as f64 <= 16384.0 * fair * 1.5, "{before} slots move for a node that gets a part of {fair}");
    }
}

#[test]
fn a_range_that_is_heavy_is_spread() {
    let mut world = World::new(3, 0);
    world.measure(|slot| SlotLoad { bytes: if slot.number() < 1000 { 1 << 20 } else { 1 << 10 }, operations: 0 });
    assert!(parts(&world, 3)[0][0] > 0.9);
    let plan = moves(&world, Scope::OnlyOverloaded);
    assert!(matches!(plan[0].why, Why::Imbalance { measure: Measure::Bytes, .. }), "{plan:?}");
    // What is heavy moves, and little else.
    assert!(moved_slots(&plan) < 1024, "{}", moved_slots(&plan));
    world.carry_out(&plan);
    world.react();
    assert!(parts(&world, 3).iter().all(|has| (0.31..0.36).contains(&has[0])), "{:?}", parts(&world, 3));
    assert!(moves(&world, Scope::All).is_empty());
}

#[test]
fn hot_slots_part() {
    let mut world = World::new(3, 0);
    world.measure(|slot| SlotLoad { bytes: 50_000, operations: if slot.number() < 6 { 10_000 } else { 1 } });
    world.settle();
    let hot = |number| Slot::all().take(6).filter(|&slot| world.map.owner(slot) == Some(node_id(number))).count();
    assert_eq!([1, 2, 3].map(hot), [2, 2, 2]);
    assert!(parts(&world, 3).iter().all(|has| (0.31..0.36).contains(&has[0])), "{:?}", parts(&world, 3));
}

#[test]
fn where_nothing_is_nothing_moves_and_little_is_no_reason() {
    let mut world = World::new(3, 0);
    world.measure(|_| SlotLoad::default());
    assert!(moves(&world, Scope::All).is_empty());
    // A megabyte and some requests on one node.
    let is_first = |slot: Slot| slot.number() < 100;
    world.measure(|slot| if is_first(slot) { SlotLoad { bytes: 10_000, operations: 0 } } else { SlotLoad::default() });
    assert!(moves(&world, Scope::All).is_empty());
    world.measure(|slot| SlotLoad { bytes: 0, operations: u64::from(slot.number() == 7) * 20 });
    assert!(moves(&world, Scope::All).is_empty());
}

#[test]
fn figures_that_are_missing_count_as_the_mean() {
    let mut world = World::new(3, 0);
    let (mut rng, known) = (Rng::seeded(1), 8192);
    for slot in Slot::all().take(known) {
        world.load.set(slot, SlotLoad { bytes: 100_000 + rng.below(1000), operations: 10 });
    }
    assert!(moves(&world, Scope::All).is_empty(), "a node that says nothing has as much as others");
    // One slot says something: everything else is as heavy.
    let mut world = World::new(3, 0);
    world.load.set(Slot::of_key(b"some"), SlotLoad { bytes: 1 << 30, operations: 1 << 20 });
    assert!(moves(&world, Scope::All).is_empty());
}

/// Measures a hundred times what a cluster has, carries out what is planned each time, and says how often that is
/// anything.
fn plans_by_noise(world: &mut World, truth: &[SlotLoad], rng: &mut Rng) -> usize {
    let mut plans = 0;
    for round in 0..100 {
        Slot::all().zip(truth).for_each(|(slot, load)| world.load.set(slot, noisy(*load, rng)));
        let scope = if round % 2 == 0 { Scope::All } else { Scope::OnlyOverloaded };
        let plan = moves(world, scope);
        if !plan.is_empty() {
            plans += 1;
            world.carry_out(&plan);
            world.react();
        }
    }
    plans
}

#[test]
fn slots_do_not_wander() {
    for seed in 0..3 {
        let mut rng = Rng::seeded(seed);
        let mut world = World::new(4, 0);
        let truth: Vec<SlotLoad> = Slot::all().map(|_| skewed(&mut rng)).collect();
        world.measure(|slot| truth[usize::from(slot.number())]);
        world.settle();
        // What is just within the tolerance may be put right, once.
        let plans = plans_by_noise(&mut world, &truth, &mut rng);
        assert!(plans <= 1, "seed {seed}: {plans} plans");
    }
}

#[test]
fn slots_do_not_wander_beside_one_that_is_hot_by_itself() {
    let mut world = World::new(3, 0);
    let hot = |slot: Slot| SlotLoad { bytes: 100_000, operations: if slot.number() == 5 { 1 << 20 } else { 20 } };
    let truth: Vec<SlotLoad> = Slot::all().map(hot).collect();
    world.measure(hot);
    world.settle();
    assert_eq!(plans_by_noise(&mut world, &truth, &mut Rng::seeded(9)), 0);
}

#[test]
fn how_many_slots_somebody_has_is_their_own_affair() {
    let mut world = World::new(2, 0);
    world.load.weights.insert(node_id(1), 3);
    world.settle();
    world.load.weights.clear();
    assert!(moves(&world, Scope::OnlyOverloaded).is_empty());
    assert!(!moves(&world, Scope::All).is_empty());
}
