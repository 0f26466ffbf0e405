//! A node that gives all it has to an empty one: Basalt's atomic migration against redis-cli's `reshard` between two
//! redis-servers, while a client goes on using the keys.

use crate::Effort;
use crate::client::{Client, request};
use crate::cluster_client::ClusterClient;
use crate::cluster_nodes::{Cluster, Plan, address, client, name};
use crate::keys::{Rng, key};
use crate::process::{Cores, Keeping, Kind};
use crate::report::{Report, Samples, quantiles};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 1024;
/// Keys that are written before the replies for the former so many are awaited.
const KEYS_AT_ONCE: u64 = 500;

/// The client begins a request so often, whatever has become of the last one: so what waits in a long pause is counted.
/// Seldom enough that a SET has reached the disk before the next is due.
const REQUEST_INTERVAL: Duration = Duration::from_millis(20);
/// What the servers are given to come to rest after they were filled.
const REST: Duration = Duration::from_secs(5);
/// How long the client is watched before anything moves.
const BEFORE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const MIGRATION_MAX: Duration = Duration::from_secs(1200);

struct Contender {
    name: &'static str,
    kind: Kind,
    keeping: Keeping,
}

const CONTENDERS: [Contender; 3] = [
    Contender { name: "basalt, atomic, fsync always", kind: Kind::Basalt, keeping: Keeping::Disk("always") },
    Contender { name: "redis, by key, appendfsync always", kind: Kind::Redis, keeping: Keeping::Disk("always") },
    Contender { name: "redis, by key, no AOF", kind: Kind::Redis, keeping: Keeping::Memory },
];

pub fn against_resharding(effort: Effort, report: &mut Report) {
    let keys = effort.share(1_000_000).max(100_000);
    report.heading(&format!(
        "All slots of a node to an empty one: {keys} strings of 1 KiB, no copies, migration rate not limited; all \
         processes on all cores"
    ));
    let rounds: Vec<Vec<Trial>> = (0..effort.rounds.min(3))
        .map(|_| CONTENDERS.iter().map(|contender| trial(contender, keys)).collect())
        .collect();
    report.header(&["", "s", "MB/s", "basalt is faster by (rounds)", "goal"]);
    for (number, contender) in CONTENDERS.iter().enumerate() {
        let seconds = |round: &Vec<Trial>| round[number].took.as_secs_f64();
        let took = Samples::of(rounds.iter().map(seconds));
        let ratio = Samples::of(rounds.iter().map(|round| seconds(round) / round[0].took.as_secs_f64()));
        let megabytes = keys as f64 * VALUE_BYTES as f64 / 1e6;
        report.row(&[
            contender.name.to_owned(),
            format!("{:.1} ±{:.0}%", took.median(), took.spread_percent()),
            format!("{:.0}", megabytes / took.median()),
            format!("**{:.2}** ±{:.0}%", ratio.median(), ratio.spread_percent()),
            if number == 0 { String::new() } else { "3".to_owned() },
        ]);
    }
    report.heading(&format!(
        "Meanwhile a client that begins a GET or a SET of any of the keys every {REQUEST_INTERVAL:?}"
    ));
    report.header(&["", "when", "requests", "GET p50, p99, max ms", "SET p50, p99, max ms"]);
    for (number, contender) in CONTENDERS.iter().enumerate() {
        for (phase, when) in ["before", "while slots move"].into_iter().enumerate() {
            let mut all = Latencies::default();
            for latencies in rounds.iter().map(|round| &round[number].phases[phase]) {
                all.reads.extend(&latencies.reads);
                all.writes.extend(&latencies.writes);
            }
            let [count, reads, writes] = all.shown();
            report.row(&[contender.name.to_owned(), when.to_owned(), count, reads, writes]);
        }
    }
}

/// What one migration has shown.
struct Trial {
    took: Duration,
    /// Before slots move, and while they do.
    phases: [Latencies; 2],
}

#[derive(Default)]
struct Latencies {
    reads: Vec<Duration>,
    writes: Vec<Duration>,
}

fn trial(contender: &Contender, keys: u64) -> Trial {
    let Contender { kind, keeping, .. } = *contender;
    let cluster = Cluster::with_one_owner(Plan { kind, keeping, cores: Cores::All, nodes: 2, copies: 0 });
    let [source, target] = &cluster.nodes[..] else { unreachable!("there are two nodes") };
    fill(&mut client(source), keys);
    sleep(REST);
    let is_over = AtomicBool::new(false);
    let (requests, began, took) = scope(|scope| {
        let requests = scope.spawn(|| use_keys(source.port(), keys, &is_over));
        sleep(BEFORE);
        let began = Instant::now();
        let end = End(&is_over);
        match kind {
            Kind::Basalt => migrate(&mut client(source), &name(target)),
            _ => reshard(&address(source), &name(source), &name(target)),
        }
        let took = began.elapsed();
        drop(end);
        (requests.join().expect("the client is served"), began, took)
    });
    assert_eq!(client(target).call(&[b"DBSIZE"]), format!(":{keys}"), "all keys have come");
    assert_eq!(client(source).call(&[b"DBSIZE"]), ":0", "all keys have gone");
    let mut trial = Trial { took, phases: Default::default() };
    for request in requests {
        let latencies = &mut trial.phases[usize::from(request.due >= began)];
        let kind = if request.writes() { &mut latencies.writes } else { &mut latencies.reads };
        kind.push(request.took);
    }
    // A whole report takes long.
    eprintln!("{}: {:.2} s, {}", contender.name, took.as_secs_f64(), trial.phases[1].shown().join(" "));
    trial
}

impl Latencies {
    /// How many there are, and what they were.
    fn shown(&mut self) -> [String; 3] {
        let count = self.reads.len() + self.writes.len();
        [count.to_string(), quantiles(&mut self.reads), quantiles(&mut self.writes)]
    }
}

/// Ends the client when it is dropped: also if the migration fails, or nobody would ever hear of that.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Basalt's way. Returns when nothing is left to be done on either side.
fn migrate(source: &mut Client, target: &str) {
    let words: [&[u8]; 7] = [b"CLUSTER", b"MIGRATESLOTS", b"SLOTSRANGE", b"0", b"16383", b"NODE", target.as_bytes()];
    source.call(&words);
    let began = Instant::now();
    loop {
        let texts = source.texts(&[b"CLUSTER", b"GETSLOTMIGRATIONS"]);
        let state = texts.iter().position(|text| text == "state").map(|at| texts[at + 1].as_str());
        match state {
            Some("success") => return,
            Some("failed" | "cancelled") => panic!("the migration has failed: {texts:?}"),
            _ => assert!(began.elapsed() < MIGRATION_MAX, "the migration takes too long: {texts:?}"),
        }
        sleep(LOOK_AGAIN);
    }
}

/// Redis's way.
fn reshard(source: &str, from: &str, to: &str) {
    let mut command = Command::new("redis-cli");
    command.args(["--cluster", "reshard", source, "--cluster-from", from, "--cluster-to", to]);
    command.args(["--cluster-slots", "16384", "--cluster-pipeline", "100", "--cluster-yes"]);
    let output = command.output().expect("redis-cli is installed (package redis-tools)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "redis-cli: {}", text.lines().next_back().unwrap_or_default());
}

/// Values that cannot be compressed, since redis-server sends keys compressed, and RocksDB stores them so.
struct Values(Vec<u8>);

impl Values {
    fn new() -> Values {
        let mut rng = Rng(3);
        Values((0..1 << 20).map(|_| rng.below(256) as u8).collect())
    }

    fn of(&self, number: u64) -> &[u8] {
        let first = Rng(number).below((self.0.len() - VALUE_BYTES) as u64) as usize;
        &self.0[first..first + VALUE_BYTES]
    }
}

fn fill(client: &mut Client, keys: u64) {
    let values = Values::new();
    let mut unanswered = 0;
    for first in (0..keys).step_by(KEYS_AT_ONCE as usize) {
        let some = first..keys.min(first + KEYS_AT_ONCE);
        let requests: Vec<Vec<u8>> =
            some.clone().map(|number| request(&[b"SET", key(number).as_bytes(), values.of(number)])).collect();
        client.send(&requests.concat());
        (0..unanswered).for_each(|_| drop(client.reply()));
        unanswered = some.end - some.start;
    }
    (0..unanswered).for_each(|_| drop(client.reply()));
    assert_eq!(client.call(&[b"DBSIZE"]), format!(":{keys}"));
}

/// One request of the client that goes on.
struct Request {
    number: u64,
    due: Instant,
    /// From when it was due: what waits for those before it waits as well.
    took: Duration,
}

impl Request {
    /// Every other one.
    fn writes(&self) -> bool {
        self.number % 2 == 1
    }
}

fn use_keys(port: u16, keys: u64, is_over: &AtomicBool) -> Vec<Request> {
    let (mut client, mut rng, values) = (ClusterClient::new(port), Rng(5), Values::new());
    let (mut requests, mut due) = (Vec::new(), Instant::now());
    for number in 0.. {
        if is_over.load(Relaxed) {
            break;
        }
        sleep(due.saturating_duration_since(Instant::now()));
        let chosen = rng.below(keys);
        let mut request = Request { number, due, took: Duration::ZERO };
        let name = key(chosen);
        match request.writes() {
            true => client.call(name.as_bytes(), &[b"SET", name.as_bytes(), values.of(chosen)]),
            false => client.call(name.as_bytes(), &[b"GET", name.as_bytes()]),
        }
        request.took = due.elapsed();
        requests.push(request);
        due += REQUEST_INTERVAL;
    }
    requests
}
