//! Durable mode against an append-only file: what a promise that survives the loss of power costs.

use crate::Effort;
use crate::load::Load;
use crate::process::{Cores, Keeping, Kind, SERVER_CORE, Server};
use crate::report::{Report, Samples};
use crate::speed::{Runs, alternate, thousands};

/// Key and value of one SET of redis-benchmark, as it is called here.
const PAYLOAD_BYTES: f64 = 16.0 + 64.0;

/// One row: what is asked for, how many requests at full effort, and what the ratio must reach.
struct Case {
    fsync: &'static str,
    connections: u32,
    pipeline: u32,
    requests: u64,
    goal: f64,
}

const CASES: [Case; 5] = [
    Case { fsync: "always", connections: 50, pipeline: 1, requests: 100_000, goal: 1.0 },
    Case { fsync: "always", connections: 200, pipeline: 1, requests: 200_000, goal: 1.3 },
    Case { fsync: "always", connections: 50, pipeline: 16, requests: 500_000, goal: 1.3 },
    Case { fsync: "always", connections: 1, pipeline: 1, requests: 4_000, goal: 0.8 },
    Case { fsync: "everysec", connections: 50, pipeline: 16, requests: 1_000_000, goal: 1.0 },
];

pub fn against_append_only_file(effort: Effort, report: &mut Report) {
    report.heading("Durable mode against `appendonly yes`: SET, 64 bytes");
    report.header(&[
        "fsync",
        "connections × pipeline",
        "redis k/s",
        "basalt k/s",
        "basalt/redis (rounds)",
        "goal",
        "redis CPU µs",
        "basalt CPU µs",
        "redis p50, p99 ms",
        "basalt p50, p99 ms",
    ]);
    for case in CASES {
        let servers = [Kind::Redis, Kind::Basalt].map(|kind| start(kind, Keeping::Disk(case.fsync)));
        let (connections, pipeline) = (case.connections, case.pipeline);
        let requests = effort.share(case.requests);
        let runs = alternate(&servers, Load { connections, pipeline, requests, ..Load::USUAL }, effort.rounds);
        report.row(&[
            case.fsync.to_owned(),
            format!("{connections} × {pipeline}"),
            rate(&runs[0]),
            rate(&runs[1]),
            ratios(&runs[1], &runs[0]),
            format!("{:.1}", case.goal),
            format!("{:.2}", runs[0].cpu_us().median()),
            format!("{:.2}", runs[1].cpu_us().median()),
            latencies(&runs[0]),
            latencies(&runs[1]),
        ]);
    }
}

pub fn against_cache(effort: Effort, report: &mut Report) {
    report.heading("Durable mode against cache mode: GET of resident keys, pipeline 16");
    report.header(&["cache k/s", "durable k/s", "durable/cache (rounds)", "goal", "cache CPU µs", "durable CPU µs"]);
    let servers = [Keeping::Memory, Keeping::Disk("everysec")].map(|keeping| start(Kind::Basalt, keeping));
    let load = Load { pipeline: 16, requests: effort.pipelined_requests, ..Load::USUAL };
    alternate(&servers, load, 1);
    report.row(&beside(&alternate(&servers, Load { test: "get", ..load }, effort.rounds), "0.95"));
}

/// Of two servers: their rates, the ratio of the second to the first, what it must reach, and CPU time per request.
pub fn beside(runs: &[Runs], goal: &str) -> [String; 6] {
    let cpu = |runs: &Runs| format!("{:.2}", runs.cpu_us().median());
    let ratio = ratios(&runs[1], &runs[0]);
    [rate(&runs[0]), rate(&runs[1]), ratio, goal.to_owned(), cpu(&runs[0]), cpu(&runs[1])]
}

/// Flushes and compactions come late, so one run is long, and there is one only.
pub fn written(effort: Effort, report: &mut Report) {
    report.heading("Bytes written to disk per byte of key and value: SET, 50 connections, pipeline 16, everysec");
    report.header(&["keys", "requests", "redis", "basalt"]);
    for (what, keys) in [("new", 1_000_000_000), ("1,000, again and again", 1000)] {
        let servers = [Kind::Redis, Kind::Basalt].map(|kind| start(kind, Keeping::Disk("everysec")));
        let load = Load { keys, pipeline: 16, requests: 2 * effort.pipelined_requests, ..Load::USUAL };
        let runs = alternate(&servers, load, 1);
        let ratio = |runs: &Runs| runs.figure(|run| run.bytes_written_per_request).median() / PAYLOAD_BYTES;
        let (redis, basalt) = (format!("{:.2}", ratio(&runs[0])), format!("{:.2}", ratio(&runs[1])));
        report.row(&[what.to_owned(), load.requests.to_string(), redis, basalt]);
    }
}

fn start(kind: Kind, keeping: Keeping) -> Server {
    Server::start_keeping(kind, keeping, Cores::One(SERVER_CORE), 1)
}

/// Of the ratios of each round: what disturbs a round disturbs both of its runs.
fn ratios(ours: &Runs, theirs: &Runs) -> String {
    let pairs = ours.0.iter().zip(&theirs.0);
    let samples = Samples::of(pairs.map(|(ours, theirs)| ours.requests_per_second / theirs.requests_per_second));
    format!("**{:.2}** ±{:.0}%", samples.median(), samples.spread_percent())
}

pub fn rate(runs: &Runs) -> String {
    let rate = runs.throughput();
    if rate.median() < 10_000.0 {
        return format!("{:.2} ±{:.0}%", rate.median() / 1000.0, rate.spread_percent());
    }
    thousands(&rate)
}

pub fn latencies(runs: &Runs) -> String {
    let (p50, p99) = (runs.figure(|run| run.p50_ms), runs.figure(|run| run.p99_ms));
    format!("{:.2}, {:.2}", p50.median(), p99.median())
}
