//! redis-benchmark as a child process, and what it says.

use crate::process::{CLIENT_CORE, Cores, Kind, Server, pin};
use std::process::Command;
use std::time::Duration;

/// One kind of load.
#[derive(Clone, Copy)]
pub struct Load {
    pub test: &'static str,
    pub connections: u32,
    /// Of this many keys each request takes one.
    pub keys: u64,
    pub pipeline: u32,
    pub requests: u64,
    pub client_threads: u32,
    pub cores: Cores,
    pub reach: Reach,
}

/// Where requests go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To one server.
    Server,
    /// To the node of its cluster that owns the slot.
    Cluster,
}

impl Load {
    pub const USUAL: Load = Load {
        test: "set",
        connections: 50,
        keys: 100_000,
        pipeline: 1,
        requests: 100_000,
        client_threads: 1,
        cores: Cores::One(CLIENT_CORE),
        reach: Reach::Server,
    };
}

/// What one run has shown.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub requests_per_second: f64,
    pub cpu_per_request: Duration,
    pub bytes_written_per_request: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
}

/// Runs a load against a server.
pub fn run(server: &Server, load: Load) -> Outcome {
    let (before, written) = (server.cpu_time(), server.bytes_written());
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &server.port().to_string(), "-t", load.test, "-n", &load.requests.to_string()]);
    command.args(["-c", &load.connections.to_string(), "-d", "64"]);
    command.args(["-r", &load.keys.to_string(), "-P", &load.pipeline.to_string()]);
    if load.reach == Reach::Cluster {
        command.arg("--cluster");
    }
    // If it is not told, it takes a thread for each node of a cluster.
    if load.client_threads > 1 || load.reach == Reach::Cluster {
        command.args(["--threads", &load.client_threads.to_string()]);
    }
    pin(&mut command, load.cores);
    let output = command.output().expect("redis-benchmark is installed (package redis-tools)");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "\n");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "redis-benchmark against {}: {text}{complaint}", server.kind.name());
    let (cpu, written) = (server.cpu_time() - before, server.bytes_written() - written);
    Outcome {
        requests_per_second: throughput(&text, server.kind),
        cpu_per_request: cpu / u32::try_from(load.requests).expect("fewer requests than u32 holds"),
        bytes_written_per_request: written as f64 / load.requests as f64,
        p50_ms: percentile(&text, 50.0),
        p99_ms: percentile(&text, 99.0),
        p999_ms: percentile(&text, 99.9),
    }
}

fn throughput(text: &str, kind: Kind) -> f64 {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("throughput summary: "));
    let number = line.and_then(|line| line.split(' ').next()).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("redis-benchmark against {} reports no throughput: {text}", kind.name()))
}

/// The latency that this share of the requests did not exceed, from lines like `99.902% <= 0.471 milliseconds`.
fn percentile(text: &str, wanted: f64) -> f64 {
    text.lines()
        .filter_map(|line| {
            let (share, rest) = line.trim().split_once("% <= ")?;
            Some((share.parse::<f64>().ok()?, rest.split(' ').next()?.parse::<f64>().ok()?))
        })
        .find(|(share, _)| *share >= wanted)
        .map_or(f64::NAN, |(_, latency)| latency)
}
