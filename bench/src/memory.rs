//! Bytes per item: how much `used_memory` grows by a million items of one kind.

use crate::Effort;
use crate::process::{Cores, Kind, SERVER_CORE, Server};
use crate::report::Report;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Requests written before their replies are read.
const WINDOW: u64 = 1000;

/// One kind of item: the arguments of the command that adds the n-th.
type Item = fn(u64) -> Vec<String>;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Sixteen bytes that are no number.
fn sixteen(prefix: char, n: u64) -> String {
    format!("{prefix}{n:015}")
}

const ITEMS: [(&str, Item); 8] = [
    ("16-byte string under a 16-byte key", |n| words(&["SET", &sixteen('k', n), &sixteen('v', n)])),
    ("the same with a TTL", |n| words(&["SET", &sixteen('k', n), &sixteen('v', n), "EX", "100000"])),
    ("small integer under a 16-byte key", |n| words(&["SET", &sixteen('k', n), &(n % 1_000_000 + 10_000).to_string()])),
    ("16-byte member of one sorted set", |n| words(&["ZADD", "zset", &n.to_string(), &sixteen('m', n)])),
    ("16-byte member of one set", |n| words(&["SADD", "set", &sixteen('m', n)])),
    ("16-byte field with 16-byte value of one hash", |n| words(&["HSET", "hash", &sixteen('f', n), &sixteen('v', n)])),
    ("hash of five 8-byte fields", |n| {
        let mut hash = words(&["HSET", &sixteen('h', n)]);
        for field in 0..5 {
            hash.extend([format!("field-{field:02}"), format!("{:02}", (n + field) % 100)]);
        }
        hash
    }),
    ("16-byte element of one list", |n| words(&["RPUSH", "list", &sixteen('e', n)])),
];

/// What each may need, as a share of redis-server's bytes.
const GOALS: [f64; 8] = [0.55, 0.55, 0.55, 0.55, 0.55, 0.6, 0.7, 1.0];

pub fn per_item(effort: Effort, report: &mut Report) {
    report.heading(&format!("Memory: used_memory per item, {} items", effort.items));
    report.header(&["item", "redis-server", "basalt", "ratio", "goal"]);
    for ((name, item), goal) in ITEMS.iter().zip(GOALS) {
        let bytes = [Kind::Redis, Kind::Basalt].map(|kind| measure(kind, *item, effort.items));
        report.row(&[
            (*name).to_owned(),
            format!("{:.1}", bytes[0]),
            format!("{:.1}", bytes[1]),
            format!("**{:.2}**", bytes[1] / bytes[0]),
            format!("{goal:.2}"),
        ]);
    }
}

fn measure(kind: Kind, item: Item, items: u64) -> f64 {
    let server = Server::start(kind, Cores::One(SERVER_CORE), 1);
    let mut client = Client::connect(server.port());
    let before = client.used_memory();
    client.fill(item, items);
    let after = client.used_memory();
    (after - before) as f64 / items as f64
}

struct Client {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Client {
    fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        let writer = stream.try_clone().expect("a socket can be shared");
        Client { reader: BufReader::new(stream), writer }
    }

    fn fill(&mut self, item: Item, items: u64) {
        for start in (0..items).step_by(WINDOW as usize) {
            let end = (start + WINDOW).min(items);
            let requests: Vec<u8> = (start..end).flat_map(|n| encode(&item(n))).collect();
            self.writer.write_all(&requests).expect("the server reads");
            for _ in start..end {
                let reply = self.line();
                assert!(!reply.starts_with('-'), "a write failed: {reply}");
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("the server answers");
        line
    }

    fn used_memory(&mut self) -> i64 {
        self.writer.write_all(&encode(&words(&["INFO", "memory"]))).expect("the server reads");
        let length: usize = self.line()[1..].trim().parse().expect("a bulk reply");
        let mut text = vec![0; length + 2];
        self.reader.read_exact(&mut text).expect("the whole reply");
        let text = String::from_utf8_lossy(&text);
        let figure = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
        figure.and_then(|figure| figure.trim().parse().ok()).expect("INFO tells used_memory")
    }
}

fn encode(arguments: &[String]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        request.push_str(&format!("${}\r\n{argument}\r\n", argument.len()));
    }
    request.into_bytes()
}
