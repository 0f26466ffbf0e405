//! The commands that clients send, each with at most a few keys of one group.

use std::fmt;
use std::sync::Arc;

pub type Text = Arc<str>;

/// The part of a key behind its hash tag. Each name holds values of one type only.
pub type Name = &'static str;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Get(Name),
    Set(Name, Text),
    SetNx(Name, Text),
    GetSet(Name, Text),
    /// With the time to live in milliseconds.
    SetPx(Name, Text, u64),
    Del(Name),
    /// WATCH, and a transaction that sets the key if it holds what is expected; one that was refused is no operation.
    Swap(Name, Option<Text>, Text),
    IncrBy(Name, i64),
    DecrBy(Name, i64),
    RPush(Name, Text),
    LPop(Name),
    /// BLPOP, with the time that it waits in milliseconds.
    LPopWait(Name, u64),
    LRange(Name),
    SAdd(Name, Text),
    SRem(Name, Text),
    SMembers(Name),
    HSet(Name, Text, Text),
    HIncrBy(Name, Text, i64),
    HGetAll(Name),
    /// All at one moment.
    Multi(Vec<Command>),
}

impl Command {
    /// Whether it can change anything.
    pub fn changes(&self) -> bool {
        match self {
            Command::Get(_) | Command::LRange(_) | Command::SMembers(_) | Command::HGetAll(_) => false,
            Command::Multi(commands) => commands.iter().any(Command::changes),
            _ => true,
        }
    }

    pub fn names(&self) -> Vec<Name> {
        use Command::*;
        match self {
            Get(name) | Del(name) | LPop(name) | LRange(name) | SMembers(name) | HGetAll(name) => vec![name],
            Set(name, _) | SetNx(name, _) | GetSet(name, _) | SetPx(name, _, _) => vec![name],
            IncrBy(name, _) | DecrBy(name, _) | RPush(name, _) => vec![name],
            Swap(name, _, _) | LPopWait(name, _) => vec![name],
            SAdd(name, _) | SRem(name, _) | HSet(name, _, _) | HIncrBy(name, _, _) => vec![name],
            Multi(commands) => commands.iter().flat_map(Command::names).collect(),
        }
    }

    /// The words of a request; `tag` is the group's. Of what takes more than one request, the first.
    pub fn words(&self, tag: &str) -> Vec<String> {
        use Command::*;
        let key = |name: &Name| format!("{{{tag}}}{name}");
        let words = |verb: &str, name: &Name, rest: &[&str]| {
            let mut words = vec![verb.to_owned(), key(name)];
            words.extend(rest.iter().map(|word| (*word).to_owned()));
            words
        };
        match self {
            Get(name) => words("GET", name, &[]),
            Set(name, value) => words("SET", name, &[value]),
            SetNx(name, value) => words("SET", name, &[value, "NX"]),
            GetSet(name, value) => words("GETSET", name, &[value]),
            SetPx(name, value, ms) => words("SET", name, &[value, "PX", &ms.to_string()]),
            Del(name) => words("DEL", name, &[]),
            IncrBy(name, by) => words("INCRBY", name, &[&by.to_string()]),
            DecrBy(name, by) => words("DECRBY", name, &[&by.to_string()]),
            RPush(name, element) => words("RPUSH", name, &[element]),
            LPop(name) => words("LPOP", name, &[]),
            LPopWait(name, ms) => words("BLPOP", name, &[&format!("{:.3}", *ms as f64 / 1000.0)]),
            Swap(name, _, _) => words("WATCH", name, &[]),
            LRange(name) => words("LRANGE", name, &["0", "-1"]),
            SAdd(name, member) => words("SADD", name, &[member]),
            SRem(name, member) => words("SREM", name, &[member]),
            SMembers(name) => words("SMEMBERS", name, &[]),
            HSet(name, field, value) => words("HSET", name, &[field, value]),
            HIncrBy(name, field, by) => words("HINCRBY", name, &[field, &by.to_string()]),
            HGetAll(name) => words("HGETALL", name, &[]),
            Multi(_) => vec!["MULTI".to_owned()],
        }
    }
}

/// As one would type it, without the tag.
impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Multi(commands) => {
                let commands: Vec<String> = commands.iter().map(Command::to_string).collect();
                write!(out, "MULTI [{}]", commands.join("; "))
            }
            Command::Swap(name, expected, value) => {
                let expected = expected.as_ref().map_or("nothing".to_owned(), |text| format!("\"{text}\""));
                write!(out, "WATCH {name}, which holds {expected}; MULTI [SET {name} {value}]")
            }
            _ => write!(out, "{}", self.words("").join(" ").replace("{}", "")),
        }
    }
}
