//! redis-rs's cluster client: writes and reads until standard input ends, then reads what it has written last, and
//! tells what it has seen so far, a line each time. `cluster-load ATTEMPTS PORT ...`
//!
//! Without pipelines, in which redis-rs 0.32 does not follow MOVED: it looks for that among the errors of a connection,
//! and a reply is none of these.

use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{Cmd, FromRedisValue, RedisResult};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;
use std::{env, io};

const CLIENTS: u32 = 3;
const KEYS: u64 = 100;
/// How often a client follows redirections, and the like, by itself: it does not rest between them, and sixteen times,
/// which is the default, are over within milliseconds.
const RETRIES: u32 = 60;
/// Milliseconds that it rests at most when it is told to try again: by default longer and longer, up to ten minutes.
const REST_MAX: u64 = 2000;
/// How often it is told how things stand.
const INTERVAL: Duration = Duration::from_millis(100);
/// Of a client for which nothing works any more, the first errors say enough.
const ERRORS_MAX: usize = 100;

/// What all clients have seen.
#[derive(Default)]
struct Seen {
    calls: u64,
    errors: Vec<String>,
}

impl Seen {
    fn error(&mut self, error: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        }
    }
}

fn main() {
    let numbers: Vec<u32> = env::args().skip(1).map(|word| word.parse().expect("a number")).collect();
    let (attempts, ports) = numbers.split_first().expect("ATTEMPTS PORT ...");
    let (seen, is_over) = (&Mutex::new(Seen::default()), &AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            // However it ends, whoever has started this wants no more of it.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            is_over.store(true, Relaxed);
        });
        let start = |number| scope.spawn(move || work(number, *attempts, ports, seen, is_over));
        let workers: Vec<ScopedJoinHandle<'_, ()>> = (0..CLIENTS).map(start).collect();
        while !workers.iter().all(ScopedJoinHandle::is_finished) {
            tell(seen);
            thread::park_timeout(INTERVAL);
        }
    });
    tell(seen);
}

fn tell(seen: &Mutex<Seen>) {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    println!("{}", serde_json::json!({ "calls": seen.calls, "errors": seen.errors }));
}

fn work(number: u32, attempts: u32, ports: &[u32], seen: &Mutex<Seen>, is_over: &AtomicBool) {
    let seen = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut user = match User::new(attempts, ports) {
        Ok(user) => user,
        Err(error) => return seen().error(format!("no client: {error}")),
    };
    let key = |turn: u64| format!("rust:{number}:{}", turn % KEYS);
    let mut turn = 0;
    while !is_over.load(Relaxed) {
        turn += 1;
        match user.use_key(&key(turn), &turn.to_string()) {
            Ok(()) => seen().calls += 1,
            Err(error) => seen().error(format!("turn {turn}: {error}")),
        }
    }
    for turn in turn.saturating_sub(KEYS) + 1..=turn {
        if let Err(error) = user.find(&key(turn), &turn.to_string()) {
            seen().error(format!("at the end, turn {turn}: {error}"));
        }
    }
}

/// A client, and what makes it anew.
struct User {
    client: ClusterClient,
    connection: ClusterConnection,
    attempts: u32,
}

impl User {
    fn new(attempts: u32, ports: &[u32]) -> RedisResult<User> {
        let places = ports.iter().map(|port| format!("redis://127.0.0.1:{port}/"));
        let client = ClusterClient::builder(places).retries(RETRIES).max_retry_wait(REST_MAX).build()?;
        let connection = client.get_connection()?;
        Ok(User { client, connection, attempts })
    }

    fn use_key(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.expect(&Cmd::set(key, value), "OK")?;
        let _: u64 = self.call(&Cmd::hset(hash(key), "field", value)).map_err(|error| error.to_string())?;
        self.find(key, value)
    }

    /// What `use_key` has written.
    fn find(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.expect(&Cmd::get(key), value)?;
        self.expect(&Cmd::hget(hash(key), "field"), value)
    }

    fn expect(&mut self, command: &Cmd, expected: &str) -> Result<(), String> {
        let answer: Option<String> = self.call(command).map_err(|error| error.to_string())?;
        let is_so = answer.as_deref() == Some(expected);
        if is_so { Ok(()) } else { Err(format!("{answer:?} instead of {expected:?}")) }
    }

    /// Again on a fresh connection if the error says that this one must be replaced (`is_unrecoverable_error`).
    ///
    /// By itself redis-rs 0.32 absorbs what a server answers, not that one is gone. It tries a node that refuses
    /// connections again and again without a pause, and asks none of the others who leads now. And where slots are, it
    /// asks on the connection that comes first, be it one that has ended, and then fails instead of asking the next.
    /// That is so with any server.
    fn call<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        let mut attempt = 1;
        loop {
            match command.query(&mut self.connection) {
                Err(error) if error.is_unrecoverable_error() && attempt < self.attempts => {
                    attempt += 1;
                    // Whoever cannot be asked now is asked in the next attempt.
                    if let Ok(connection) = self.client.get_connection() {
                        self.connection = connection;
                    }
                }
                result => return result,
            }
        }
    }
}

fn hash(key: &str) -> String {
    format!("{key}:hash")
}
