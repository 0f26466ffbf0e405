//! Throughput, CPU time and latency.

use crate::load::{self, Load, Outcome};
use crate::process::{Cores, Kind, SERVER_CORE, Server};
use crate::report::{Report, Samples};
use crate::{CONTENDERS, Effort};

const TESTS: [&str; 8] = ["set", "get", "incr", "lpush", "rpop", "sadd", "hset", "zadd"];

/// The outcomes of one contender over all rounds.
pub struct Runs(pub Vec<Outcome>);

impl Runs {
    pub fn figure(&self, of: impl Fn(&Outcome) -> f64) -> Samples {
        Samples::of(self.0.iter().map(of))
    }

    pub fn throughput(&self) -> Samples {
        self.figure(|run| run.requests_per_second)
    }

    pub fn cpu_us(&self) -> Samples {
        self.figure(|run| run.cpu_per_request.as_secs_f64() * 1e6)
    }
}

/// Runs the load against each server in turn, round after round. RPOP pops from a list that is filled before.
pub fn alternate(servers: &[Server], load: Load, rounds: usize) -> Vec<Runs> {
    let mut runs: Vec<Runs> = servers.iter().map(|_| Runs(Vec::new())).collect();
    for _ in 0..rounds {
        for (server, runs) in servers.iter().zip(&mut runs) {
            if load.test == "rpop" {
                load::run(server, Load { test: "lpush", pipeline: 16, ..load });
            }
            runs.0.push(load::run(server, load));
        }
    }
    runs
}

fn start_all() -> Vec<Server> {
    CONTENDERS.iter().map(|kind| Server::start(*kind, Cores::One(SERVER_CORE), 1)).collect()
}

pub fn thousands(samples: &Samples) -> String {
    format!("{:.0} ±{:.0}%", samples.median() / 1000.0, samples.spread_percent())
}

pub fn pipelined(effort: Effort, report: &mut Report) {
    report.heading("Pipeline 16");
    report.header(&[
        "test",
        "redis k/s",
        "basalt k/s",
        "null k/s",
        "basalt/redis",
        "basalt/null",
        "redis µs",
        "basalt µs",
        "null µs",
        "CPU ratio",
    ]);
    let servers = start_all();
    for test in TESTS {
        let requests = effort.pipelined_requests;
        let load = Load { test, pipeline: 16, requests, ..Load::USUAL };
        let runs = alternate(&servers, load, effort.rounds);
        let rate: Vec<Samples> = runs.iter().map(Runs::throughput).collect();
        let cpu: Vec<f64> = runs.iter().map(|runs| runs.cpu_us().median()).collect();
        report.row(&[
            test.to_owned(),
            thousands(&rate[0]),
            thousands(&rate[1]),
            thousands(&rate[2]),
            format!("{:.2}", rate[1].median() / rate[0].median()),
            format!("{:.2}", rate[1].median() / rate[2].median()),
            format!("{:.2}", cpu[0]),
            format!("{:.2}", cpu[1]),
            format!("{:.2}", cpu[2]),
            format!("**{:.2}**", cpu[1] / cpu[0]),
        ]);
    }
}

pub fn unpipelined(effort: Effort, report: &mut Report) {
    report.heading("No pipeline");
    report.header(&["test", "server", "k/s", "CPU µs", "CPU ratio", "p50 ms", "p99 ms", "p99.9 ms"]);
    let servers = start_all();
    for test in ["set", "get"] {
        let requests = effort.single_requests;
        let load = Load { test, requests, ..Load::USUAL };
        let runs = alternate(&servers, load, effort.rounds);
        let redis_cpu = runs[0].cpu_us().median();
        for (server, runs) in servers.iter().zip(&runs) {
            let cpu = runs.cpu_us().median();
            report.row(&[
                test.to_owned(),
                server.kind.name().to_owned(),
                thousands(&runs.throughput()),
                format!("{cpu:.2}"),
                format!("{:.2}", cpu / redis_cpu),
                format!("{:.3}", runs.figure(|run| run.p50_ms).median()),
                format!("{:.3}", runs.figure(|run| run.p99_ms).median()),
                format!("{:.3}", runs.figure(|run| run.p999_ms).median()),
            ]);
        }
    }
}

/// Two network threads against one, with two cores for everybody.
pub fn threads(effort: Effort, report: &mut Report) {
    report.heading("Network threads: two cores shared by server and a client with two threads, pipeline 16");
    report.header(&["test", "server", "io-threads", "k/s", "CPU µs"]);
    for test in ["set", "get"] {
        for (kind, threads) in [(Kind::Redis, 1), (Kind::Redis, 2), (Kind::Basalt, 1), (Kind::Basalt, 2)] {
            let servers = [Server::start(kind, Cores::All, threads)];
            let requests = effort.pipelined_requests;
            let load = Load { test, pipeline: 16, requests, client_threads: 2, cores: Cores::All, ..Load::USUAL };
            let runs = alternate(&servers, load, effort.rounds);
            report.row(&[
                test.to_owned(),
                kind.name().to_owned(),
                threads.to_string(),
                thousands(&runs[0].throughput()),
                format!("{:.2}", runs[0].cpu_us().median()),
            ]);
        }
    }
}
