//! Simulation of one node's group from seeds: the real core, a disk that forgets, faults at any step.
//!
//! `./dev sim` runs seeds; `SEED=n ./dev sim` repeats one and says what happened. [`checkers`] say by name what must
//! hold, [`planted`] bugs show that they would notice if it did not.

mod checkers;
mod disk;
mod planted;
mod rng;
mod world;

use std::env;
use std::time::{Duration, Instant};

use planted::Planted;
use world::{Outcome, World};

/// Seeds that run when nothing else is asked for.
const SEEDS: u64 = 300;

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
