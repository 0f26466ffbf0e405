//! Simulation of groups from seeds: the real core, a disk that forgets, faults at any step. [`world`] has a group with
//! one replica and everything that can happen to its disk, [`many`] has several replicas and a network.
//!
//! `./dev sim` runs seeds; `SEED=n ./dev sim` repeats one and says what happened. [`checkers`] say by name what must
//! hold, [`planted`] bugs show that they would notice if it did not.

mod checkers;
mod disk;
mod many;
mod planted;
mod rng;
mod world;

use std::env;
use std::time::{Duration, Instant};

use checkers::Violation;
use many::Bug;
use planted::Planted;
use world::{Outcome, World};

/// Seeds that run when nothing else is asked for.
const SEEDS: u64 = 300;

/// The same for groups of several replicas, whose runs are longer.
const SEEDS_OF_MANY: u64 = 30;
const PLANTED_SEEDS_OF_MANY: u64 = 300;

/// Within so many seeds each planted bug has to be found.
const PLANTED_SEEDS: u64 = 500;

/// One of so many seeds runs twice, and must go the same way.
const REPLAY_EVERY: u64 = 50;

fn run(seed: u64, planted: Planted) -> Outcome {
    World::new(seed, planted).run()
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// `SEED` for a single one; `SIM_SEEDS` or `SIM_SECONDS` for as many or as long; `SIM_FIRST` to begin elsewhere.
#[test]
fn random_schedules_keep_every_promise() {
    if let Some(seed) = number("SEED") {
        let outcome = run(seed, Planted::Nothing);
        println!("seed {seed}: {outcome:?}");
        assert_eq!(outcome.violation, None);
        return;
    }
    let seconds = number("SIM_SECONDS").map(Duration::from_secs);
    let seeds = number("SIM_SEEDS").unwrap_or(if seconds.is_some() { u64::MAX } else { SEEDS });
    let first = number("SIM_FIRST").unwrap_or(0);
    let began = Instant::now();
    let (mut done, mut acked, mut crashes, mut compactions) = (0, 0, 0, 0);
    while done < seeds && seconds.is_none_or(|seconds| began.elapsed() < seconds) {
        let seed = first + done;
        let outcome = run(seed, Planted::Nothing);
        let failure = outcome.violation.as_ref();
        assert!(failure.is_none(), "seed {seed}: {failure:?}; repeat it with SEED={seed} ./dev sim");
        if done % REPLAY_EVERY == 0 {
            assert_eq!(run(seed, Planted::Nothing), outcome, "seed {seed} went another way the second time");
        }
        done += 1;
        acked += outcome.acked;
        crashes += outcome.crashes;
        compactions += outcome.compactions;
    }
    println!(
        "{done} seeds in {:.1} s: {acked} batches acknowledged, {crashes} crashes, {compactions} compactions",
        began.elapsed().as_secs_f64()
    );
    let is_busy = acked > done && crashes > done / 10 && compactions > done / 10;
    assert!(is_busy || done < 100, "the schedules do too little");
}

#[test]
fn planted_bugs_are_found() {
    let mut missed = Vec::new();
    for planted in Planted::ALL {
        let found = (0..PLANTED_SEEDS).find_map(|seed| Some((seed, run(seed, planted).violation?)));
        match found {
            Some((seed, violation)) => {
                println!("{planted:?}: {} at seed {seed}: {}", violation.checker, violation.what)
            }
            None => missed.push(planted),
        }
    }
    assert!(missed.is_empty(), "not found within {PLANTED_SEEDS} seeds: {missed:?}");
}

/// Replicas in groups that are simulated.
const SIZES: [u64; 2] = [3, 5];

fn run_many(seed: u64, replicas: u64, bug: Bug) -> many::Outcome {
    // raft-rs and the core end the process where they find a contradiction: that is found as well.
    let outcome = std::panic::catch_unwind(|| many::World::new(seed, replicas, bug).run());
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let violation = Violation { checker: "NoPanic", what: text.unwrap_or("a panic").to_owned() };
        many::Outcome { violation: Some(violation), ..many::Outcome::default() }
    })
}

/// As above, for groups of several replicas; `REPLICAS` for the size of a single one.
#[test]
fn groups_of_several_replicas_keep_every_promise() {
    if let Some(seed) = number("SEED") {
        let outcome = run_many(seed, number("REPLICAS").unwrap_or(SIZES[0]), Bug::None);
        println!("seed {seed}: {outcome:?}");
        assert_eq!(outcome.violation, None);
        return;
    }
    let seconds = number("SIM_SECONDS").map(|seconds| Duration::from_secs(seconds) / SIZES.len() as u32);
    let seeds = number("SIM_SEEDS").unwrap_or(if seconds.is_some() { u64::MAX } else { SEEDS_OF_MANY });
    let first = number("SIM_FIRST").unwrap_or(0);
    for replicas in SIZES {
        let began = Instant::now();
        let mut sum = many::Outcome::default();
        let mut done = 0;
        while done < seeds && seconds.is_none_or(|seconds| began.elapsed() < seconds) {
            let seed = first + done;
            let outcome = run_many(seed, replicas, Bug::None);
            let failure = outcome.violation.as_ref();
            assert!(
                failure.is_none(),
                "{replicas} replicas: {failure:?}; repeat it with SEED={seed} REPLICAS={replicas} ./dev sim"
            );
            if done % REPLAY_EVERY == 0 {
                let again = run_many(seed, replicas, Bug::None);
                assert_eq!(again, outcome, "seed {seed} went another way the second time");
            }
            done += 1;
            sum.acked += outcome.acked;
            sum.crashes += outcome.crashes;
            sum.snapshots += outcome.snapshots;
            sum.member_changes += outcome.member_changes;
            sum.transfers += outcome.transfers;
        }
        println!(
            "{replicas} replicas: {done} seeds in {:.1} s: {} batches acknowledged, {} crashes, {} snapshots, \
             {} changes of members, {} transfers",
            began.elapsed().as_secs_f64(),
            sum.acked,
            sum.crashes,
            sum.snapshots,
            sum.member_changes,
            sum.transfers
        );
        let is_busy = sum.acked > 50 * done && sum.crashes > done && sum.snapshots > done && sum.member_changes > done;
        assert!(is_busy || done < 20, "the schedules do too little");
    }
}

#[test]
fn bugs_planted_between_replicas_are_found() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let runs = (0..PLANTED_SEEDS_OF_MANY).flat_map(|seed| SIZES.map(|replicas| (seed, replicas)));
        let found = runs.into_iter().find_map(|(seed, size)| Some((seed, size, run_many(seed, size, bug).violation?)));
        match found {
            Some((seed, size, violation)) => {
                println!("{bug:?}: {} at seed {seed} of {size}: {}", violation.checker, violation.what)
            }
            None => missed.push(bug),
        }
    }
    std::panic::set_hook(hook);
    assert!(missed.is_empty(), "not found within {PLANTED_SEEDS_OF_MANY} seeds: {missed:?}");
}
