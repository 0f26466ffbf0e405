//! Side-by-side benchmark of Basalt and redis-server: `./dev bench [--quick] [--record]
//! [speed|threads|memory|durable|durable-large|cluster|cluster-move ...]`.
//!
//! The server is pinned to one core and the client to the other; servers take turns within each round, so that what
//! disturbs the machine disturbs them alike; what counts are medians and ratios. A null server, which answers `+OK`
//! without looking, shows what the client can do at most. Needs redis-server, redis-benchmark and redis-cli on the
//! PATH, and the path of the basalt binary in BASALT_BIN (`./dev bench` sets it).

mod client;
mod cluster;
mod cluster_client;
mod cluster_nodes;
mod durable;
mod keys;
mod large;
mod load;
mod memory;
mod migration;
mod null_server;
mod process;
mod report;
mod speed;

use process::Kind;
use report::Report;

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Alternating rounds per figure.
    pub rounds: usize,
    /// Requests per run with pipelining, and without.
    pub pipelined_requests: u64,
    pub single_requests: u64,
    /// Items per memory figure.
    pub items: u64,
}

impl Effort {
    /// Of what is measured at full effort.
    pub fn share(self, full: u64) -> u64 {
        full * self.pipelined_requests / FULL.pipelined_requests
    }
}

const FULL: Effort = Effort { rounds: 5, pipelined_requests: 2_000_000, single_requests: 300_000, items: 1_000_000 };
const QUICK: Effort = Effort { rounds: 1, pipelined_requests: 400_000, single_requests: 60_000, items: 200_000 };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--null-server") {
        return null_server::run(arguments.get(1).and_then(|port| port.parse().ok()).unwrap_or(7990));
    }
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let parts: Vec<&str> = arguments.iter().map(String::as_str).filter(|name| !name.starts_with("--")).collect();
    let wants = |part: &str| parts.is_empty() || parts.contains(&part);
    let effort = if has("--quick") { QUICK } else { FULL };
    let mut report = Report::new(&arguments);
    if wants("speed") {
        speed::pipelined(effort, &mut report);
        speed::unpipelined(effort, &mut report);
    }
    if wants("threads") {
        speed::threads(effort, &mut report);
    }
    if wants("durable") {
        durable::against_append_only_file(effort, &mut report);
        durable::against_cache(effort, &mut report);
        durable::written(effort, &mut report);
    }
    if wants("durable-large") {
        large::restarts(effort, &mut report);
        large::larger_than_memory(effort, &mut report);
    }
    if wants("cluster") {
        cluster::against_standalone(effort, &mut report);
        cluster::copies(effort, &mut report);
        cluster::idle(effort, &mut report);
    }
    if wants("cluster") || wants("cluster-move") {
        migration::against_resharding(effort, &mut report);
    }
    if wants("memory") {
        memory::per_item(effort, &mut report);
    }
    print!("{}", report.text());
    if has("--record") {
        let path = report.record();
        println!("recorded in {}", path.display());
    }
}

/// The servers that take turns.
const CONTENDERS: [Kind; 3] = [Kind::Redis, Kind::Basalt, Kind::Null];
