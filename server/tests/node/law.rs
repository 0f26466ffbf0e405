//! **The law of the house**: applying the recorded effects to an empty keyspace gives what the commands have made.
//!
//! Random commands of all families run against a server: alone, in transactions, from several clients, with clients
//! that wait for keys and are served, with keys that expire while nobody looks and keys that are evicted. All the while
//! the effects are recorded, and again and again they are applied to a second keyspace, which must then hold the same
//! keys with the same values and expiries. To replay a failure, give its seed to `stream`.

use crate::common::grammar::{Grammar, World};
use crate::common::{TestClient, TestServer, image};
use basalt_server::{eviction, expiry_cycle};
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::Batch;
use basalt_storage::eviction::Policy;
use basalt_storage::keyspace::{BatchSink, Keyspace};
use basalt_storage::rng::Rng;
use basalt_storage::seq::Seq;
use std::sync::{Arc, Mutex};

/// Commands of one piece; the pieces below together make more than a million.
const COMMANDS: usize = 70_000;
const CLIENTS: usize = 4;
/// Commands between two comparisons.
const CHECK_EVERY: usize = 500;

#[derive(Default)]
struct Recorder(Mutex<Vec<Batch>>);

impl BatchSink for Recorder {
    fn propose(&self, batch: Batch) -> Seq {
        assert!(!batch.is_empty(), "a batch has effects");
        self.0.lock().expect("no holder panics").push(batch);
        // Committed as soon as it is recorded: see `law_threads`.
        Seq::NONE
    }
}

/// Two keyspaces that must be the same: the server's, and the one that effects are applied to.
struct Law {
    seed: u64,
    test: TestServer,
    recorder: Arc<Recorder>,
    replica: Keyspace,
    /// Commands since the last comparison, to show when it fails.
    since: Vec<String>,
    batches: usize,
}

impl Law {
    fn new(seed: u64) -> Law {
        let test = TestServer::start();
        let recorder = Arc::new(Recorder::default());
        test.server.keyspace.record_to(recorder.clone());
        let replica = Keyspace::new(test.server.keyspace.databases());
        Law { seed, test, recorder, replica, since: Vec::new(), batches: 0 }
    }

    fn check(&mut self) {
        let batches = std::mem::take(&mut *self.recorder.0.lock().expect("no holder panics"));
        self.batches += batches.len();
        let keyspace = &self.test.server.keyspace;
        for batch in batches {
            // Followers have another idea of the time; it must not matter.
            self.replica.apply(batch, UnixMs(1));
        }
        let (original, replica) = (image::of(keyspace), image::of(&self.replica));
        if original != replica {
            let difference = image::difference(&original, &replica);
            panic!("seed {}:\n{difference}\nafter\n{}", self.seed, self.since.join("\n"));
        }
        image::assert_counts(keyspace, &original);
        image::assert_counts(&self.replica, &replica);
        self.since.clear();
    }
}

const POLICIES: [&str; 6] =
    ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl", "volatile-random"];

/// Runs one piece: everything that happens follows from the seed, but for what the server itself draws at random.
fn stream(seed: u64) {
    let grammar = Grammar::of_data();
    let mut rng = Rng::seeded(seed);
    let mut law = Law::new(seed);
    let mut clients: Vec<TestClient> = (0..CLIENTS).map(|_| law.test.client()).collect();
    let mut world = World { now: law.test.now(), dumps: Vec::new() };
    let (mut called, mut answered) = (0, 0);
    while called < COMMANDS {
        law.test.advance(rng.below(20) as i64);
        world.now = law.test.now();
        let which = rng.below(CLIENTS as u64) as usize;
        if clients[which].is_waiting() {
            clients[which].take_mail();
        }
        if clients[which].is_waiting() {
            if rng.below(4) == 0 {
                law.since.push(format!("client {which} times out"));
                clients[which].time_out();
            }
            continue;
        }
        let command = next_command(&grammar, &mut rng, &world, &clients[which]);
        let shown: Vec<String> = command.iter().map(|arg| arg.escape_ascii().to_string()).collect();
        law.since.push(format!("client {which}: {}", shown.join(" ")));
        let reply = clients[which].call(&command);
        answered += usize::from(reply.as_ref().is_some_and(|reply| reply.first() != Some(&b'-')));
        keep_dump(&command, reply.as_deref(), &mut world);
        happen(&mut law, &mut rng);
        called += 1;
        if called % CHECK_EVERY == 0 {
            law.check();
        }
    }
    law.check();
    assert!(answered > COMMANDS / 3, "only {answered} of {COMMANDS} commands made sense");
    assert!(law.batches > COMMANDS / 7, "only {} batches of effects", law.batches);
}

/// A command, or a step of a transaction.
fn next_command(grammar: &Grammar, rng: &mut Rng, world: &World, client: &TestClient) -> Vec<Vec<u8>> {
    let word = |word: &str| vec![word.as_bytes().to_vec()];
    match (client.session.transaction.is_queueing(), rng.below(100)) {
        (false, 0..=2) => word("multi"),
        (true, 0..=14) => word("exec"),
        (true, 15..=16) => word("discard"),
        _ => grammar.generate(rng, world),
    }
}

/// Remembers what DUMP answered, for RESTORE.
fn keep_dump(command: &[Vec<u8>], reply: Option<&[u8]>, world: &mut World) {
    const KEPT: usize = 50;
    let Some(reply) = reply.filter(|reply| command[0] == b"dump" && reply.starts_with(b"$") && reply[1] != b'-') else {
        return;
    };
    let start = reply.iter().position(|byte| *byte == b'\n').expect("a bulk string has a header") + 1;
    if world.dumps.len() == KEPT {
        world.dumps.remove(0);
    }
    world.dumps.push(reply[start..reply.len() - 2].to_vec());
}

/// What happens without a command.
fn happen(law: &mut Law, rng: &mut Rng) {
    let server = &law.test.server;
    match rng.below(400) {
        0 => drop(expiry_cycle::sweep_all(server)),
        1 => {
            let policy = POLICIES[rng.below(POLICIES.len() as u64) as usize];
            let count = 1 + rng.below(6) as usize;
            law.since.push(format!("evict {count} by {policy}"));
            eviction::evict_some(server, Policy::named(policy).expect("a known policy"), count);
        }
        2 => law.test.advance(2000),
        _ => {}
    }
}

macro_rules! pieces {
    ($($name:ident = $seed:expr),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                stream($seed);
            }
        )*
    };
}

pieces! {
    piece_01 = 1, piece_02 = 2, piece_03 = 3, piece_04 = 4, piece_05 = 5, piece_06 = 6, piece_07 = 7, piece_08 = 8,
    piece_09 = 9, piece_10 = 10, piece_11 = 11, piece_12 = 12, piece_13 = 13, piece_14 = 14, piece_15 = 15,
    piece_16 = 16,
}

/// The grammar comes from the table; should a family drop out of it, the law would hold for nothing.
#[test]
fn all_families_take_part() {
    let names = Grammar::of_data().names();
    for name in [
        "set", "incr", "del", "hset", "sadd", "lpush", "zadd", "blpop", "bzpopmin", "setbit", "pfadd", "geoadd",
        "expire", "restore", "sort", "flushall", "swapdb", "copy",
    ] {
        assert!(names.contains(&name), "{name} is not generated: {names:?}");
    }
    assert!(!names.iter().any(|name| matches!(*name, "shutdown" | "debug" | "config" | "monitor")), "{names:?}");
}
