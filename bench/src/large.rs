//! Durable mode with much data: how soon it is served again after a restart, and how it is served when it is larger
//! than memory.

use crate::Effort;
use crate::client::{Client, field, request};
use crate::keys::{Rng, key, zipf};
use crate::process::{Cores, Keeping, Kind, Server};
use crate::report::{Report, quantiles};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Keys that one request writes while data is loaded.
const KEYS_AT_ONCE: u64 = 200;
/// Requests that are sent before the first reply is awaited.
const REQUESTS_AHEAD: usize = 20;
const MIB: u64 = 1 << 20;

/// How long it takes from the start of the process to the first answers.
pub fn restarts(effort: Effort, report: &mut Report) {
    let keys = effort.share(10_000_000);
    report.heading(&format!("Restart with {keys} keys of 64 bytes"));
    report.header(&[
        "stopped",
        "PING answered after s",
        "first GET after s",
        "1,000 random GETs, s",
        "disk MB",
        "RSS MB",
    ]);
    let mut server = Server::start_with(Kind::Basalt, Keeping::Disk("everysec"), Cores::All, 2, &[]);
    let mut client = Client::connect(server.port()).expect("the server listens");
    write(&mut client, 0..keys, 64);
    for (name, signal) in [("cleanly (SIGTERM)", libc::SIGTERM), ("killed (SIGKILL)", libc::SIGKILL)] {
        // What is not flushed yet is what a start has to do.
        write(&mut client, keys..keys + keys / 50, 64);
        let started = server.restart(signal);
        let mut first = ready(server.port());
        let ping = started.elapsed();
        assert_eq!(first.call(&[b"GET", key(keys / 3).as_bytes()]), "$64");
        let get = started.elapsed();
        let mut rng = Rng(7);
        let reads = Instant::now();
        for _ in 0..1000 {
            assert_eq!(first.call(&[b"GET", key(rng.below(keys)).as_bytes()]), "$64");
        }
        let reads = reads.elapsed();
        let storage = first.info("storage");
        assert_eq!(field(&storage, "keys_total"), (keys + keys / 50).to_string());
        report.row(&[
            name.to_owned(),
            format!("{:.2}", ping.as_secs_f64()),
            format!("{:.2}", get.as_secs_f64()),
            format!("{:.2}", reads.as_secs_f64()),
            megabytes(field(&storage, "disk_bytes").parse().unwrap_or(0)),
            megabytes(server.resident_bytes()),
        ]);
        client = first;
    }
}

/// Eight times as much data as memory, asked for as Zipf says, one request in ten a write.
pub fn larger_than_memory(effort: Effort, report: &mut Report) {
    const VALUE: usize = 1024;
    const CONNECTIONS: u64 = 16;
    let memory = effort.share(128 * MIB).max(32 * MIB);
    let engine = memory / 2;
    let keys = 8 * memory / (VALUE as u64 + 80);
    let seconds = effort.share(60).max(10);
    report.heading(&format!(
        "Data 8 × maxmemory: {keys} keys of 1 KiB, maxmemory {} MB, engine-memory {} MB; Zipf 0.99, 10 % writes, \
         {CONNECTIONS} connections, {seconds} s",
        memory / MIB,
        engine / MIB
    ));
    report.header(&[
        "fsync",
        "requests/s",
        "reads p50, p99, max ms",
        "writes p50, p99, max ms",
        "hit ratio",
        "RSS MB, most",
        "budget MB",
        "disk MB",
    ]);
    for fsync in ["everysec", "always"] {
        let (memory_text, engine_text) = (memory.to_string(), engine.to_string());
        let options = ["--maxmemory", &memory_text, "--engine-memory", &engine_text];
        let server = Server::start_with(Kind::Basalt, Keeping::Disk(fsync), Cores::All, 2, &options);
        let mut client = Client::connect(server.port()).expect("the server listens");
        write(&mut client, 0..keys, VALUE);
        let chances = zipf(keys);
        let (end, latencies) = (AtomicBool::new(false), Mutex::new((Vec::new(), Vec::new())));
        let mut most = 0;
        std::thread::scope(|scope| {
            for seed in 0..CONNECTIONS {
                let (chances, end, latencies, port) = (&chances, &end, &latencies, server.port());
                scope.spawn(move || {
                    let mut client = Client::connect(port).expect("the server listens");
                    let (mut rng, value) = (Rng(seed + 1), vec![b'v'; VALUE]);
                    let (mut reads, mut writes) = (Vec::new(), Vec::new());
                    while !end.load(Relaxed) {
                        // Popular keys are not neighbours.
                        let drawn = rng.fraction();
                        let rank = chances.partition_point(|chance| *chance < drawn) as u64;
                        let key = key(rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys);
                        let started = Instant::now();
                        if rng.below(10) == 0 {
                            client.call(&[b"SET", key.as_bytes(), &value]);
                            writes.push(started.elapsed());
                        } else {
                            client.call(&[b"GET", key.as_bytes()]);
                            reads.push(started.elapsed());
                        }
                    }
                    let mut all = latencies.lock().expect("no holder panics");
                    all.0.append(&mut reads);
                    all.1.append(&mut writes);
                });
            }
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(seconds) {
                most = server.resident_bytes().max(most);
                std::thread::sleep(Duration::from_millis(100));
            }
            end.store(true, Relaxed);
        });
        let (mut reads, mut writes) = latencies.into_inner().expect("no holder panics");
        let storage = client.info("storage");
        report.row(&[
            fsync.to_owned(),
            ((reads.len() + writes.len()) as u64 / seconds).to_string(),
            quantiles(&mut reads),
            quantiles(&mut writes),
            field(&storage, "residency_hit_ratio"),
            megabytes(most),
            megabytes(budget(memory, engine)),
            megabytes(field(&storage, "disk_bytes").parse().unwrap_or(0)),
        ]);
    }
}

/// What the documentation says that a durable server takes (`docs/design/0004-durable-mode.md`).
fn budget(memory: u64, engine: u64) -> u64 {
    memory + memory / 4 + engine + engine / 4 + 128 * MIB
}

/// Writes keys, many at once.
fn write(client: &mut Client, keys: std::ops::Range<u64>, value_bytes: usize) {
    let value = vec![b'v'; value_bytes];
    let mut ahead = 0;
    for first in keys.clone().step_by(KEYS_AT_ONCE as usize) {
        let names: Vec<String> = (first..keys.end.min(first + KEYS_AT_ONCE)).map(key).collect();
        let pairs = names.iter().flat_map(|name| [name.as_bytes(), &value]);
        let words: Vec<&[u8]> = std::iter::once(&b"MSET"[..]).chain(pairs).collect();
        client.send(&request(&words));
        ahead += 1;
        if ahead == REQUESTS_AHEAD {
            client.reply();
            ahead -= 1;
        }
    }
    (0..ahead).for_each(|_| drop(client.reply()));
}

/// A connection to a server that has just been started, once it answers.
fn ready(port: u16) -> Client {
    loop {
        if let Ok(mut client) = Client::connect(port) {
            client.send(&request(&[b"PING"]));
            if client.reply() == "+PONG" {
                return client;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn megabytes(bytes: u64) -> String {
    (bytes / MIB).to_string()
}
