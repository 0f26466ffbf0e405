//! The server under test through redis-rs: connect, pipeline, transactions, pub/sub, blocking, scan iteration.
//!
//! `BASALT_BIN` names the server; `./dev test` sets it. There is no way to skip: without it the tests fail.

use redis::{Client, Commands, Connection, ControlFlow, ErrorKind, PubSubCommands, RedisResult, Value};
use std::collections::{HashMap, HashSet};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// How long a server may take to start, and anything else to happen that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of its own for each test, stopped when the test is over, and its data removed.
struct Server {
    process: Child,
    client: Client,
    directory: PathBuf,
}

impl Server {
    fn start(protocol: &str) -> Self {
        let binary = env::var("BASALT_BIN").expect("BASALT_BIN names the server under test; ./dev test sets it");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        // Ports in use at one time differ, and so do processes that run these tests.
        let directory = env::temp_dir().join(format!("basalt-redis-rs-{}-{port}", std::process::id()));
        fs::create_dir_all(&directory).expect("the directory for temporary files can be written");
        let process = Command::new(binary)
            .args(["--port", &port.to_string(), "--save", ""])
            .current_dir(&directory)
            .stdout(Stdio::null())
            .spawn()
            .expect("the server can be started");
        let client = Client::open(format!("redis://127.0.0.1:{port}/{protocol}")).expect("a valid address");
        let server = Self { process, client, directory };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the server does not start");
            thread::yield_now();
        }
        server
    }

    fn connect(&self) -> Connection {
        self.client.get_connection_with_timeout(PATIENCE).expect("the server accepts connections")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is left to do if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        // What is left of it is in the way of nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs a test in both protocols, each with a server of its own.
fn in_both_protocols(test: impl Fn(&Server)) {
    for protocol in ["", "?protocol=resp3"] {
        test(&Server::start(protocol));
    }
}

#[test]
fn values_of_every_type() {
    in_both_protocols(|server| {
        let mut redis = server.connect();
        let () = redis.set("string", "value").expect("SET");
        assert_eq!(redis.get::<_, String>("string"), Ok("value".to_owned()));
        assert_eq!(redis.get::<_, Option<String>>("missing"), Ok(None));
        assert_eq!(redis.incr::<_, _, i64>("counter", 41), Ok(41));
        assert_eq!(redis.incr::<_, _, i64>("counter", 1), Ok(42));
        assert_eq!(redis.hset_multiple::<_, _, _, ()>("hash", &[("a", 1), ("b", 2)]), Ok(()));
        let hash: HashMap<String, i64> = redis.hgetall("hash").expect("HGETALL");
        assert_eq!(hash, HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
        assert_eq!(redis.rpush::<_, _, usize>("list", &["x", "y", "z"]), Ok(3));
        assert_eq!(redis.lrange::<_, Vec<String>>("list", 0, -1).expect("LRANGE"), ["x", "y", "z"]);
        assert_eq!(redis.sadd::<_, _, usize>("set", &["m", "n"]), Ok(2));
        let set: HashSet<String> = redis.smembers("set").expect("SMEMBERS");
        assert_eq!(set, HashSet::from(["m".to_owned(), "n".to_owned()]));
        assert_eq!(redis.zadd_multiple::<_, _, _, usize>("zset", &[(1.5, "low"), (2.5, "high")]), Ok(2));
        let zset: Vec<(String, f64)> = redis.zrange_withscores("zset", 0, -1).expect("ZRANGE");
        assert_eq!(zset, [("low".to_owned(), 1.5), ("high".to_owned(), 2.5)]);
        assert_eq!(redis.expire::<_, bool>("string", 100), Ok(true));
        assert_eq!(redis.ttl::<_, i64>("string"), Ok(100));
        assert_eq!(redis.del::<_, usize>(&["string", "hash", "missing"]), Ok(2));
    });
}

#[test]
fn errors_are_told_apart() {
    in_both_protocols(|server| {
        let mut redis = server.connect();
        let () = redis.set("string", "value").expect("SET");
        let wrong_type: RedisResult<Value> = redis.lpush("string", 1);
        let error = wrong_type.expect_err("a string is no list");
        assert_eq!(error.code(), Some("WRONGTYPE"));
        let unknown: RedisResult<Value> = redis::cmd("NOSUCH").query(&mut redis);
        assert_eq!(unknown.expect_err("no such command").kind(), ErrorKind::ResponseError);
        // The connection is as good as before.
        assert_eq!(redis.get::<_, String>("string"), Ok("value".to_owned()));
    });
}

#[test]
fn a_deep_pipeline_answers_in_order() {
    in_both_protocols(|server| {
        let mut redis = server.connect();
        let mut pipeline = redis::pipe();
        for number in 0..5_000 {
            pipeline.set(format!("key{number}"), number).ignore();
            pipeline.get(format!("key{number}"));
        }
        let answers: Vec<i64> = pipeline.query(&mut redis).expect("a pipeline");
        assert_eq!(answers, (0..5_000).collect::<Vec<_>>());
    });
}

#[test]
fn a_transaction_is_retried_when_a_watched_key_changes() {
    in_both_protocols(|server| {
        let mut redis = server.connect();
        let mut other = server.connect();
        let () = redis.set("counter", 10).expect("SET");
        let mut attempts = 0;
        let (value,): (i64,) = redis::transaction(&mut redis, &["counter"], |redis, pipeline| {
            attempts += 1;
            let value: i64 = redis.get("counter")?;
            if attempts == 1 {
                let () = other.set("counter", 20)?;
            }
            pipeline.set("counter", value + 1).ignore().get("counter").query(redis)
        })
        .expect("a transaction");
        assert_eq!((attempts, value), (2, 21));
    });
}

#[test]
fn messages_reach_subscribers_of_channels_and_patterns() {
    in_both_protocols(|server| {
        let mut listener = server.connect();
        let mut publisher = server.connect();
        let mut received = Vec::new();
        let sender = thread::spawn(move || {
            // Published again until both subscriptions are there to hear it.
            let deadline = Instant::now() + PATIENCE;
            while publisher.publish::<_, _, usize>("news", "hello").expect("PUBLISH") < 2 {
                assert!(Instant::now() < deadline, "nobody subscribes");
                thread::yield_now();
            }
        });
        let mut subscription = listener.as_pubsub();
        subscription.subscribe("news").expect("SUBSCRIBE");
        subscription.psubscribe("n*").expect("PSUBSCRIBE");
        // The last round reaches both; earlier ones may have reached only the channel.
        while !received.contains(&Some("n*".to_owned())) {
            let message = subscription.get_message().expect("a message");
            assert_eq!(message.get_payload::<String>(), Ok("hello".to_owned()));
            assert_eq!(message.get_channel_name(), "news");
            received.push(message.get_pattern::<Option<String>>().expect("a pattern or none"));
        }
        assert!(received.contains(&None));
        drop(subscription);
        sender.join().expect("the publisher ends");
        // After unsubscribing, the connection takes commands again.
        assert_eq!(redis::cmd("PING").query::<String>(&mut listener), Ok("PONG".to_owned()));
    });
}

#[test]
fn the_callback_interface_ends_when_told() {
    let server = Server::start("");
    let mut publisher = server.connect();
    let mut listener = server.connect();
    let heard = thread::spawn(move || {
        listener.subscribe(&["stop"], |message| ControlFlow::Break(message.get_payload::<String>().unwrap_or_default()))
    });
    let deadline = Instant::now() + PATIENCE;
    while publisher.publish::<_, _, usize>("stop", "now").expect("PUBLISH") == 0 {
        assert!(Instant::now() < deadline, "nobody subscribes");
        thread::yield_now();
    }
    assert_eq!(heard.join().expect("the listener ends"), Ok("now".to_owned()));
}

#[test]
fn a_blocked_client_gets_what_another_pushes() {
    in_both_protocols(|server| {
        let mut waiting = server.connect();
        let mut pushing = server.connect();
        let waiter = thread::spawn(move || waiting.blpop::<_, (String, String)>(&["queue"], 0.0));
        let () = pushing.rpush("queue", "job").expect("RPUSH");
        assert_eq!(waiter.join().expect("the waiter ends"), Ok(("queue".to_owned(), "job".to_owned())));
        assert_eq!(pushing.blpop::<_, Option<(String, String)>>(&["queue"], 0.01), Ok(None));
    });
}

#[test]
fn scans_iterate_over_everything_once() {
    in_both_protocols(|server| {
        let mut redis = server.connect();
        let mut pipeline = redis::pipe();
        for number in 0..1_000 {
            pipeline.set(format!("key:{number}"), number).ignore();
            pipeline.hset("hash", format!("field:{number}"), number).ignore();
            pipeline.sadd("set", number).ignore();
            pipeline.zadd("zset", number, number).ignore();
        }
        let () = pipeline.query(&mut redis).expect("a pipeline");
        let keys: HashSet<String> = all(redis.scan_match("key:*").expect("SCAN"));
        assert_eq!(keys.len(), 1_000);
        let fields: HashMap<String, i64> = all(redis.hscan("hash").expect("HSCAN"));
        assert_eq!(fields.len(), 1_000);
        assert_eq!(fields["field:7"], 7);
        let members: HashSet<i64> = all(redis.sscan("set").expect("SSCAN"));
        assert_eq!(members.len(), 1_000);
        let scored: HashMap<String, f64> = all(redis.zscan("zset").expect("ZSCAN"));
        assert_eq!(scored["999"], 999.0);
    });
}

/// Gathers an iteration.
fn all<T, C: FromIterator<T>>(iteration: redis::Iter<'_, T>) -> C
where
    T: redis::FromRedisValue,
{
    iteration.map(|item| item.expect("an element of the expected type")).collect()
}
