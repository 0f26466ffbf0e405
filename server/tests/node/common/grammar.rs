//! Random commands from the table's own syntax: a command that is added to the table is generated without further ado.
//!
//! The syntax of a row (Redis's documentation notation) is parsed into a tree, and a walk through the tree with a
//! random generator yields arguments: each placeholder's name says what is likely to make sense there. Most commands
//! are valid this way; those that are not test that errors change nothing.

use basalt_server::commands::spec::{Flags, Group};
use basalt_server::commands::{self, Command};
use basalt_storage::clock::UnixMs;
use basalt_storage::rng::Rng;

/// A part of a command's syntax.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Word(String),
    Placeholder(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Optional(Box<Node>),
    Repeated(Box<Node>),
}

/// A command and how to write it.
pub struct Production {
    pub command: &'static Command,
    syntax: Node,
    weight: u64,
}

/// What commands are generated from.
pub struct Grammar {
    productions: Vec<Production>,
    total: u64,
}

/// Commands about keys and their values, and those that change whole databases. All else is about clients and the
/// server.
fn is_about_data(command: &Command) -> bool {
    let spec = command.spec;
    let by_group = matches!(
        spec.group,
        Group::Generic
            | Group::String
            | Group::List
            | Group::Set
            | Group::SortedSet
            | Group::Hash
            | Group::Bitmap
            | Group::HyperLogLog
            | Group::Geo
    );
    let by_name = matches!(spec.name, "flushall" | "flushdb" | "swapdb" | "select" | "watch" | "unwatch");
    (by_group || by_name) && !matches!(spec.name, "wait" | "waitaof" | "migrate") && !spec.flags.contains(Flags::ADMIN)
}

/// Commands that wipe much at once come seldom, so that there is something to wipe.
fn weight(name: &str) -> u64 {
    match name {
        "flushall" | "flushdb" | "swapdb" => 2,
        "move" | "select" | "watch" | "unwatch" | "keys" | "scan" | "randomkey" | "dump" | "object" => 20,
        "restore" | "copy" | "sort" => 60,
        "del" | "unlink" | "expire" | "pexpire" | "expireat" | "pexpireat" => 50,
        _ => 100,
    }
}

impl Grammar {
    pub fn of_data() -> Grammar {
        let production = |command: &'static Command| Production {
            command,
            syntax: parse(command.spec.syntax),
            weight: weight(command.spec.name),
        };
        let mut productions: Vec<Production> =
            commands::top_level().filter(|command| is_about_data(command)).map(production).collect();
        // The table has no order of its own; a seed must mean the same in every run.
        productions.sort_by_key(|production| production.command.spec.name);
        let total = productions.iter().map(|production| production.weight).sum();
        Grammar { productions, total }
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.productions.iter().map(|production| production.command.spec.name).collect()
    }

    /// One random command.
    pub fn generate(&self, rng: &mut Rng, world: &World) -> Vec<Vec<u8>> {
        let mut drawn = rng.below(self.total);
        let production = self.productions.iter().find(|production| {
            let is_it = drawn < production.weight;
            drawn = drawn.saturating_sub(production.weight);
            is_it
        });
        production.expect("weights add up").generate(rng, world)
    }
}

/// What commands refer to.
pub struct World {
    pub now: UnixMs,
    /// Payloads for RESTORE.
    pub dumps: Vec<Vec<u8>>,
}

impl Production {
    fn generate(&self, rng: &mut Rng, world: &World) -> Vec<Vec<u8>> {
        let name = self.command.spec.name;
        let mut writer =
            Writer { rng, world, family: self.command.spec.group, name, args: vec![name.into()], counted: None };
        writer.write(&self.syntax);
        writer.end_count();
        writer.args
    }
}

struct Writer<'a> {
    rng: &'a mut Rng,
    world: &'a World,
    family: Group,
    name: &'static str,
    args: Vec<Vec<u8>>,
    /// Position of a number of keys that is not known yet, and how many were written since.
    counted: Option<(usize, usize)>,
}

impl Writer<'_> {
    fn write(&mut self, node: &Node) {
        match node {
            Node::Word(word) => {
                self.end_count();
                self.args.push(word.clone().into_bytes());
            }
            Node::Placeholder(name) => {
                let value = self.value(name);
                self.args.push(value);
            }
            Node::Sequence(parts) => parts.iter().for_each(|part| self.write(part)),
            Node::Choice(ways) => {
                let way = self.rng.below(ways.len() as u64) as usize;
                self.write(&ways[way]);
            }
            Node::Optional(part) => {
                if self.rng.below(3) == 0 {
                    self.write(part);
                }
            }
            Node::Repeated(part) => {
                let most = if self.rng.below(20) == 0 { 40 } else { 4 };
                for _ in 0..self.rng.below(most) {
                    self.write(part);
                }
            }
        }
    }

    fn end_count(&mut self) {
        if let Some((at, count)) = self.counted.take() {
            self.args[at] = count.to_string().into_bytes();
        }
    }

    fn pick(&mut self, choices: &[&str]) -> Vec<u8> {
        choices[self.rng.below(choices.len() as u64) as usize].into()
    }

    fn number(&mut self, from: i64, to: i64) -> Vec<u8> {
        let number = from + self.rng.below((to - from) as u64) as i64;
        number.to_string().into_bytes()
    }

    fn value(&mut self, name: &str) -> Vec<u8> {
        if !is_key(name) && name != "numkeys" {
            self.end_count();
        }
        match name {
            _ if is_key(name) => {
                if let Some((_, count)) = &mut self.counted {
                    *count += 1;
                }
                self.key()
            }
            "numkeys" => {
                self.counted = Some((self.args.len(), 0));
                b"1".to_vec()
            }
            "field" | "member" | "member1" | "member2" | "element" | "pivot" | "value" | "string" => self.element(),
            "score" | "increment" | "decrement" => {
                self.pick(&["0", "1", "-1", "2", "7", "1.5", "-0.25", "3e2", "9223372036854775807", "inf", "-inf", "x"])
            }
            "min" | "max" if self.name.contains("lex") => self.pick(&["-", "+", "[a", "(b", "[5", "(f3", "[f9"]),
            "min" | "max" => self.pick(&["-inf", "+inf", "0", "(1", "2", "(7", "100", "-5"]),
            "start" | "stop" if self.name.starts_with("zrange") => {
                self.pick(&["0", "-1", "1", "3", "-3", "(1", "-inf", "+inf", "[a", "+", "-"])
            }
            "seconds" => self.number(-1, 6),
            "milliseconds" => self.number(-100, 4000),
            "ttl" => self.pick(&["0", "0", "1500", "1700000005000", "-1"]),
            "unix-time-seconds" => (self.world.now.0 / 1000 + self.rng.below(8) as i64 - 2).to_string().into_bytes(),
            "unix-time-milliseconds" => (self.world.now.0 + self.rng.below(5000) as i64 - 500).to_string().into_bytes(),
            "index" | "index1" | "index2" | "db" | "destination-db" if self.family == Group::Connection => {
                self.number(0, 3)
            }
            "index1" | "index2" | "db" | "destination-db" => self.number(0, 3),
            "offset" if matches!(self.family, Group::Bitmap | Group::String) => self.number(0, 300),
            "count" if self.name == "lrem" => self.number(-3, 4),
            "count" | "len" | "maxlen" | "num-matches" | "limit" => self.number(-2, 12),
            "start" | "stop" | "end" | "index" | "offset" | "rank" => self.number(-8, 9),
            "timeout" => self.pick(&["0", "0.5", "1"]),
            "cursor" => b"0".to_vec(),
            "bit" => self.number(0, 2),
            "encoding" => self.pick(&["u8", "i8", "u1", "i16", "u31", "i64", "u63"]),
            "longitude" => self.pick(&["13.361389", "15.087269", "-122.4", "2.35", "181"]),
            "latitude" => self.pick(&["38.115556", "37.502669", "37.8", "48.85", "86"]),
            "radius" | "width" | "height" => self.pick(&["0", "10", "200", "20000"]),
            "pattern" => self.pick(&["*", "k*", "w_*", "#", "k*->f1", "?5"]),
            "serialized-value" => match self.world.dumps.len() as u64 {
                0 => b"none yet".to_vec(),
                count => self.world.dumps[self.rng.below(count) as usize].clone(),
            },
            "frequency" => self.number(0, 256),
            "type" => self.pick(&["string", "list", "set", "zset", "hash"]),
            _ => self.element(),
        }
    }

    /// Mostly a key of the command's own family, so that it finds the type it wants.
    fn key(&mut self) -> Vec<u8> {
        let families = ["s", "l", "t", "z", "h", "g"];
        let own = match self.family {
            Group::String | Group::Bitmap | Group::HyperLogLog => Some("s"),
            Group::List => Some("l"),
            Group::Set => Some("t"),
            Group::SortedSet => Some("z"),
            Group::Hash => Some("h"),
            Group::Geo => Some("g"),
            _ => None,
        };
        let family = match own {
            Some(own) if self.rng.below(12) > 0 => own,
            _ => families[self.rng.below(6) as usize],
        };
        // A few keys share a slot.
        let number = self.rng.below(12);
        if number < 3 { format!("k{family}{{x}}{number}") } else { format!("k{family}{number}") }.into_bytes()
    }

    fn element(&mut self) -> Vec<u8> {
        match self.rng.below(40) {
            // Long enough to change the encoding of what holds it.
            0 => vec![b'x'; 70 + self.rng.below(200) as usize],
            1 => self.rng.next_u64().to_string().into_bytes(),
            2 => (self.rng.next_u64() as i64).to_string().into_bytes(),
            3 => b"3.25".to_vec(),
            4 => Vec::new(),
            5 => vec![0, 255, b'\r', b'\n'],
            6..=20 => self.number(-20, 200),
            _ => format!("f{}", self.rng.below(40)).into_bytes(),
        }
    }
}

fn is_key(name: &str) -> bool {
    matches!(name, "key" | "newkey" | "source" | "destination" | "destkey" | "sourcekey" | "key1" | "key2")
}

/// Parses the notation of Redis's documentation: `[optional]`, `<a | b>`, `repeated ...`, `WORD`, `placeholder`.
fn parse(syntax: &str) -> Node {
    let mut spaced = syntax.to_owned();
    for mark in ["[", "]", "<", ">", "|", "..."] {
        spaced = spaced.replace(mark, &format!(" {mark} "));
    }
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &tokens[..];
    let node = parse_choice(&mut rest);
    assert!(rest.is_empty(), "brackets match in {syntax:?}");
    node
}

fn parse_choice(rest: &mut &[&str]) -> Node {
    let mut ways = vec![Vec::new()];
    while let Some((token, after)) = rest.split_first() {
        if matches!(*token, "]" | ">") {
            break;
        }
        *rest = after;
        let way = ways.last_mut().expect("there is a first way");
        match *token {
            "|" => ways.push(Vec::new()),
            "..." => {
                // Inside brackets all of what they hold is repeated.
                let repeated = std::mem::take(way);
                way.push(Node::Repeated(Box::new(Node::Sequence(repeated))));
            }
            "[" | "<" => {
                let inner = parse_choice(rest);
                *rest = rest.split_first().expect("brackets match").1;
                way.push(if *token == "[" { Node::Optional(Box::new(inner)) } else { inner });
            }
            word if word.chars().all(|c| !c.is_ascii_lowercase()) => way.push(Node::Word(word.to_owned())),
            name => way.push(Node::Placeholder(name.to_owned())),
        }
    }
    let mut ways: Vec<Node> = ways.into_iter().map(Node::Sequence).collect();
    if ways.len() == 1 { ways.remove(0) } else { Node::Choice(ways) }
}
