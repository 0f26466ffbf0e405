//! One run: servers, clients, faults, and then the check of all that was seen.

use crate::checker::{Evidence, Limits, Verdict, check};
use crate::client::Router;
use crate::deployment::Deployment;
use crate::history::{ClientId, Clock, Operation, by_group};
use crate::load::{Board, Client, Kind, tag_of};
use crate::nemesis::{Fault, Nemesis};
use crate::random::Random;
use crate::target::{Disk, Guests, Layout, Programs};
use crate::volume::Volume;
use std::fmt::Write;
use std::io::{Error, Result};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a client waits for an answer. Longer than any fault, so that late answers count.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long all groups may take to be seen once more when everything is mended.
const LAST_LOOK_MAX: Duration = Duration::from_secs(30);

/// So many groups without an order are shown.
const SHOWN_MAX: usize = 2;

pub struct Options {
    pub layout: Layout,
    pub faults: Vec<Fault>,
    pub time: Duration,
    pub seed: u64,
    pub clients: u16,
    /// Operations per second of all clients together, about.
    pub rate: u64,
}

/// What a run has shown.
#[derive(Default)]
pub struct Report {
    pub operations: usize,
    pub unknown: usize,
    pub refused: u64,
    /// Of a client, until an operation was answered that was refused before, or took its time.
    pub longest_wait: Duration,
    pub groups: usize,
    pub unseen: usize,
    pub faults: Vec<String>,
    /// Connections between nodes that went through the proxies.
    pub carried: u64,
    /// Groups without an order, and the evidence of some.
    pub broken: Vec<String>,
    pub evidence: Vec<String>,
    pub undecided: Vec<String>,
    pub check_time: Duration,
}

pub fn run(options: &Options, programs: &Programs, home: &Path) -> Result<Report> {
    let mut random = Random::seeded(options.seed);
    let (layout, faults) = prepare(options, home);
    let mut deployment = Deployment::start(&layout, programs, home, &mut random.fork())?;
    let board = Board::new(&Kind::ALL);
    let mut nemesis = Nemesis::new(&faults, random.fork());
    let history = load(options, &mut deployment, &board, &mut nemesis, random)?;
    if let Some(address) = deployment.find_dead() {
        return Err(Error::other(format!("the server at {address} has ended by itself")));
    }
    let carried = deployment.network.as_ref().map_or(0, |network| network.links.carried.load(Ordering::Relaxed));
    drop(deployment);
    let mut report = Report { faults: nemesis.done, carried, ..history.report };
    check_all(history.operations, &board, &mut report);
    Ok(report)
}

/// What the faults that are possible need of the servers.
fn prepare(options: &Options, home: &Path) -> (Layout, Vec<Fault>) {
    let mut layout = options.layout.clone();
    let mut faults = options.faults.clone();
    faults.retain(|fault| fault.is_possible(layout.target));
    if faults.contains(&Fault::FillDisk) {
        match Volume::mount(&home.join("probe")) {
            Ok(_) => layout.disk = Disk::Small,
            Err(why) => {
                println!("no small volumes can be mounted here, so no disk is filled: {why}");
                faults.retain(|fault| *fault != Fault::FillDisk);
            }
        }
    }
    if faults.contains(&Fault::Join) {
        layout.guests = Guests::One;
    }
    (layout, faults)
}

struct History {
    operations: Vec<Operation>,
    report: Report,
}

fn load(
    options: &Options,
    deployment: &mut Deployment,
    board: &Board,
    nemesis: &mut Nemesis,
    mut random: Random,
) -> Result<History> {
    let clock = Clock::start();
    let pause = Duration::from_secs(1) * u32::from(options.clients) / options.rate.max(1) as u32;
    let (addresses, sharding) = (deployment.addresses(), options.layout.target.sharding());
    let mut clients: Vec<Client<'_>> = (0..options.clients)
        .map(|number| {
            let router = Router::new(addresses.clone(), sharding, PATIENCE, clock, random.fork());
            let (id, random) = (ClientId(number), random.fork());
            Client { id, router, clock, random, board, history: Vec::new(), refused: 0, longest_wait: Duration::ZERO }
        })
        .collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| client.run(&stop, pause));
        }
        let result = nemesis.run(deployment, Instant::now() + options.time).and_then(|()| deployment.heal());
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    let groups = Mutex::new(board.all());
    let until = Instant::now() + LAST_LOOK_MAX;
    let unseen = std::thread::scope(|scope| {
        let looking: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(|| client.look_at_all(&groups, until))).collect();
        looking.into_iter().map(|thread| thread.join().expect("no client panics")).sum()
    });
    let mut report = Report { unseen, groups: board.all().len(), ..Report::default() };
    let mut operations = Vec::new();
    for client in clients {
        report.refused += client.refused;
        report.longest_wait = report.longest_wait.max(client.longest_wait);
        operations.extend(client.history);
    }
    report.operations = operations.len();
    report.unknown = operations.iter().filter(|operation| !operation.is_known()).count();
    Ok(History { operations, report })
}

fn check_all(operations: Vec<Operation>, board: &Board, report: &mut Report) {
    let began = Instant::now();
    let kinds = board.all();
    for (group, operations) in by_group(operations) {
        let tag = tag_of(group, kinds[group.0 as usize].1);
        match check(&operations, Limits::default()) {
            Verdict::Linearizable => {}
            Verdict::Undecided => report.undecided.push(tag),
            Verdict::Broken(deepest) => {
                if report.evidence.len() < SHOWN_MAX {
                    report.evidence.push(format!("{tag}: {}", Evidence::of(&operations, deepest)));
                }
                report.broken.push(tag);
            }
        }
    }
    report.check_time = began.elapsed();
}

impl Report {
    /// In one line.
    pub fn figures(&self) -> String {
        let Report { operations, unknown, refused, groups, .. } = self;
        let (wait, check_time) = (self.longest_wait.as_millis(), self.check_time.as_secs_f64());
        let mut line = format!(
            "{operations} operations on {groups} groups, {unknown} without an answer; {refused} attempts refused, \
             longest wait {wait} ms; {} faults; checked in {check_time:.1} s",
            self.faults.len(),
        );
        if self.carried > 0 {
            write!(line, "; {} connections between nodes", self.carried).expect("writing to a String");
        }
        if self.unseen > 0 {
            write!(line, "; {} groups could not be looked at in the end", self.unseen).expect("writing to a String");
        }
        line
    }
}
