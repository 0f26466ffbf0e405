//! Simulation of whole clusters from seeds: nodes that each have a replica of the root group and of data groups, whose
//! slots move while clients use them, under simulated networks, disks and clocks.
//!
//! What is real: Raft (`group::core`), the cluster's map and all that changes it, placement, the slot states of a node
//! ([`basalt_server::cluster::slots::Layout`]), keyspaces, their views and effects, and the whole of slot migration:
//! departure, arrival, what passes between them, and what is cleared away afterwards
//! ([`basalt_server::cluster::migration`]), on a ground of its own ([`ground`]). What is made here in the image of the
//! real thing, because that is threads, sockets and RocksDB: how a replica's threads do what its core asks
//! ([`replica`]), how a node asks for changes of the map and does its duties ([`asks`], [`duties`]), the engine
//! ([`machine`]), and how operations are evaluated and their answers held back ([`evaluation`]).
//!
//! | checker | says |
//! |---|---|
//! | `Linearizable` | what clients have seen of each key could have been, and no acknowledged write is lost |
//! | `OneOwnerPerSlot` | nobody answers for a slot that its group does not own |
//! | `ReplicasConverge` | replicas of a group at the same applied index have the same state |
//! | `SameLog`, `OneLeaderPerTerm` | what Raft promises |
//! | `MapIsSound` | `map/check.rs` holds after every change of the map |
//! | `Settles` | after healing all groups are led, all slots served, all migrations over and nothing left of them |
//! | `NoPanic` | nobody has found a contradiction: an effect that does not fit, a log that is not there |
//!
//! `./dev sim --whole` runs seeds; with `SEED=n` it repeats one and says what happened. Planted [`bugs`] show that the
//! checkers would notice.

mod actor;
mod asks;
mod bugs;
mod clients;
mod cluster;
mod disk;
mod duties;
mod ether;
mod evaluation;
mod faults;
mod ground;
mod history;
mod keys;
mod machine;
mod node;
mod process;
mod records;
mod replica;
mod rng;
mod streams;
mod truth;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bugs::Bug;
use cluster::{Cluster, Run};
use truth::Violation;

/// Seeds that run when nothing else is asked for.
const SEEDS: u64 = 20;

/// Within so many seeds each planted bug has to be found. They begin where those that are seldom found soon are.
const PLANTED_SEEDS: u64 = 400;
const PLANTED_FIRST: u64 = 150;

/// One of so many seeds runs twice, and must go the same way.
const REPLAY_EVERY: u64 = 20;

fn run(seed: u64, bug: Bug) -> Run {
    guarded(|| Cluster::new(seed, bug).run())
}

/// raft-rs, the core and keyspaces panic where they find a contradiction: that is found as well.
fn guarded(body: impl FnOnce() -> Run) -> Run {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let violation = Violation { checker: "NoPanic", what: actor::text_of(&*panic) };
        Run { violation: Some(violation), ..Run::default() }
    })
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// `SEED` for a single one; `SIM_SEEDS` or `SIM_SECONDS` for as many or as long; `SIM_FIRST` to begin elsewhere.
#[test]
fn whole_clusters_keep_every_promise() {
    actor::stay_on_one_core();
    if let Some(seed) = number("SEED") {
        let outcome = guarded(|| Cluster::new(seed, Bug::None).telling().run());
        outcome.log.iter().for_each(|line| println!("{line}"));
        println!("seed {seed}: {:?}", Run { log: Vec::new(), ..outcome.clone() });
        assert_eq!(outcome.violation, None);
        return;
    }
    let seconds = number("SIM_SECONDS").map(Duration::from_secs);
    let seeds = number("SIM_SEEDS").unwrap_or(if seconds.is_some() { u64::MAX } else { SEEDS });
    let first = number("SIM_FIRST").unwrap_or(0);
    let began = Instant::now();
    let mut sum = Run::default();
    let mut done = 0;
    while done < seeds && seconds.is_none_or(|seconds| began.elapsed() < seconds) {
        let seed = first + done;
        let outcome = run(seed, Bug::None);
        let failure = outcome.violation.as_ref();
        assert!(failure.is_none(), "seed {seed}: {failure:?}; repeat it with SEED={seed} ./dev sim --whole");
        if done % REPLAY_EVERY == 0 {
            assert_eq!(run(seed, Bug::None), outcome, "seed {seed} went another way the second time");
        }
        done += 1;
        sum.acked += outcome.acked;
        sum.unknown += outcome.unknown;
        sum.crashes += outcome.crashes;
        sum.migrations += outcome.migrations;
        sum.simulated_ms += outcome.simulated_ms;
    }
    println!(
        "whole clusters: {done} seeds in {:.1} s: {} s simulated, {} operations answered and {} of unknown fate, \
         {} crashes, {} migrations committed",
        began.elapsed().as_secs_f64(),
        sum.simulated_ms / 1000,
        sum.acked,
        sum.unknown,
        sum.crashes,
        sum.migrations
    );
    let is_busy = sum.acked > 100 * done && sum.crashes > done && sum.migrations > done;
    assert!(is_busy || done < 10, "the schedules do too little");
}

/// `BUG` for a single one, and `BUG_SEEDS` for more seeds than usual.
#[test]
fn planted_bugs_are_found() {
    actor::stay_on_one_core();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    let wanted = env::var("BUG").ok();
    let bugs: Vec<Bug> = match wanted {
        Some(name) => Bug::ALL.into_iter().chain(Bug::RARE).filter(|bug| name == format!("{bug:?}")).collect(),
        None => Bug::ALL.into(),
    };
    let seeds = number("BUG_SEEDS").unwrap_or(PLANTED_SEEDS);
    for bug in bugs {
        let found = (PLANTED_FIRST..PLANTED_FIRST + seeds).find_map(|seed| Some((seed, run(seed, bug).violation?)));
        match found {
            Some((seed, violation)) => println!("{bug:?}: {} at seed {seed}: {}", violation.checker, violation.what),
            None => missed.push(bug),
        }
    }
    std::panic::set_hook(hook);
    assert!(missed.is_empty(), "not found within {seeds} seeds: {missed:?}");
}
