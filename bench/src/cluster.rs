//! What a cluster costs: a node that looks up whose a slot is, copies that take part in every write, and nodes that
//! have nothing to do.

use crate::Effort;
use crate::cluster_nodes::{Cluster, Plan};
use crate::durable::{beside, latencies, rate};
use crate::load::{self, Load, Reach};
use crate::process::{Cores, Keeping, Kind, SERVER_CORE, Server};
use crate::report::{Report, Samples};
use crate::speed::{Runs, alternate};
use std::thread::sleep;
use std::time::Duration;

const DURABLE: Plan =
    Plan { kind: Kind::Basalt, keeping: Keeping::Disk("always"), cores: Cores::One(SERVER_CORE), nodes: 3, copies: 2 };

pub fn against_standalone(effort: Effort, report: &mut Report) {
    report.heading("A cluster of one node against a server without: cache mode, pipeline 16");
    report.header(&[
        "test",
        "alone k/s",
        "cluster k/s",
        "cluster/alone (rounds)",
        "goal",
        "alone CPU µs",
        "cluster CPU µs",
    ]);
    let alone = Server::start(Kind::Basalt, Cores::One(SERVER_CORE), 1);
    let plan = Plan { keeping: Keeping::Memory, nodes: 1, copies: 0, ..DURABLE };
    let mut servers = vec![alone];
    servers.append(&mut Cluster::with_one_owner(plan).nodes);
    for test in ["set", "get"] {
        let load = Load { test, pipeline: 16, requests: effort.pipelined_requests, ..Load::USUAL };
        let runs = alternate(&servers, load, effort.rounds);
        report.row(&[&[test.to_owned()][..], &beside(&runs, "0.95")].concat());
    }
}

/// Where the writes of a row go.
#[derive(Clone, Copy)]
enum Deployment {
    /// A server that is no cluster.
    Alone,
    /// All of them to the first node; there may be none besides.
    FirstNode(Plan),
    /// Each node leads a third of the slots, and follows the others in theirs.
    AllNodes(Plan),
}

/// The figures of a deployment over all rounds.
struct Shares {
    runs: Runs,
    /// CPU microseconds per write, by node.
    cpu_us: Vec<Vec<f64>>,
}

pub fn copies(effort: Effort, report: &mut Report) {
    let deployments = [
        ("no cluster", Deployment::Alone),
        ("1 node", Deployment::FirstNode(Plan { nodes: 1, copies: 0, ..DURABLE })),
        ("3 nodes, all slots on the first", Deployment::FirstNode(DURABLE)),
        ("3 nodes, slots spread", Deployment::AllNodes(DURABLE)),
    ];
    let load = Load { connections: 200, requests: effort.share(200_000), ..Load::USUAL };
    report.heading("Copies: SET, 64 bytes, fsync always, 200 connections; all nodes share one core and one disk");
    report.header(&["", "k/s", "p50, p99 ms", "node", "CPU µs per write", "to no cluster", "goal"]);
    // Each run has nodes of its own: those of another deployment would take their share of the core even when idle.
    let mut figures: Vec<Shares> =
        deployments.iter().map(|_| Shares { runs: Runs(Vec::new()), cpu_us: Vec::new() }).collect();
    for _ in 0..effort.rounds {
        for ((_, deployment), shares) in deployments.iter().zip(&mut figures) {
            shares.add(*deployment, load);
        }
    }
    let alone = figures[0].cpu(0).median();
    for ((name, deployment), shares) in deployments.iter().zip(&figures) {
        for node in 0..shares.cpu_us[0].len() {
            let (role, goal) = match (deployment, node) {
                (Deployment::Alone, _) | (Deployment::FirstNode(Plan { copies: 0, .. }), _) => ("the only one", ""),
                (Deployment::FirstNode(_), 0) => ("leader", "1.6"),
                (Deployment::FirstNode(_), _) => ("follower", "0.6"),
                (Deployment::AllNodes(_), _) => ("both", ""),
            };
            let cpu = shares.cpu(node);
            let once = |text: String| if node == 0 { text } else { String::new() };
            report.row(&[
                once((*name).to_owned()),
                once(rate(&shares.runs)),
                once(latencies(&shares.runs)),
                role.to_owned(),
                format!("{:.2} ±{:.0}%", cpu.median(), cpu.spread_percent()),
                format!("**{:.2}**", cpu.median() / alone),
                goal.to_owned(),
            ]);
        }
    }
}

impl Shares {
    fn add(&mut self, deployment: Deployment, load: Load) {
        let (nodes, load) = match deployment {
            Deployment::Alone => (vec![Server::start_keeping(DURABLE.kind, DURABLE.keeping, DURABLE.cores, 1)], load),
            // `redis-benchmark --cluster` wants at least two owners.
            Deployment::FirstNode(plan) => (Cluster::with_one_owner(plan).nodes, load),
            Deployment::AllNodes(plan) => {
                (Cluster::with_slots_spread(plan).nodes, Load { reach: Reach::Cluster, ..load })
            }
        };
        load::run(&nodes[0], Load { requests: load.requests / 10, ..load });
        let before: Vec<Duration> = nodes.iter().map(Server::cpu_time).collect();
        self.runs.0.push(load::run(&nodes[0], load));
        let spent = nodes.iter().zip(before).map(|(node, before)| node.cpu_time() - before);
        self.cpu_us.push(spent.map(|spent| spent.as_secs_f64() * 1e6 / load.requests as f64).collect());
    }

    fn cpu(&self, node: usize) -> Samples {
        Samples::of(self.cpu_us.iter().map(|round| round[node]))
    }
}

pub fn idle(effort: Effort, report: &mut Report) {
    const WINDOW: Duration = Duration::from_secs(20);
    report
        .heading(&format!("Three durable nodes that nobody asks anything: CPU in percent of a core, over {WINDOW:?}"));
    report.header(&["node", "percent", "goal"]);
    let cluster = Cluster::with_slots_spread(DURABLE);
    // What the start has left to do.
    sleep(WINDOW / 4);
    let mut percent = vec![Vec::new(); cluster.nodes.len()];
    for _ in 0..effort.rounds {
        let before: Vec<Duration> = cluster.nodes.iter().map(Server::cpu_time_of_all).collect();
        sleep(WINDOW);
        for ((node, before), percent) in cluster.nodes.iter().zip(before).zip(&mut percent) {
            let spent = node.cpu_time_of_all() - before;
            percent.push(spent.as_secs_f64() / WINDOW.as_secs_f64() * 100.0);
        }
    }
    for (number, percent) in percent.into_iter().enumerate() {
        let percent = Samples::of(percent);
        report.row(&[
            (number + 1).to_string(),
            format!("{:.2} ±{:.0}%", percent.median(), percent.spread_percent()),
            "2".to_owned(),
        ]);
    }
}
