//! Which node has a key, and what to do when it has it no more.

use super::connection::{Connection, Failure};
use crate::history::{Clock, Moment};
use crate::model::{Command, Reply};
use crate::random::Random;
use std::collections::HashMap;
use std::io::Error;
use std::net::SocketAddr;
use std::time::Duration;

const SLOTS: usize = 16384;

/// The codes of errors that say that nothing was done.
const NOT_DONE: &[&str] = &[
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "READONLY",
    "EXECABORT",
    "NOSPACE",
    "OOM",
    "UNBLOCKED",
    "MISCONF",
    "BUSY",
    "NOREPLICAS",
];

/// Of so many exchanges one ends with the connection, after the requests were sent: what becomes of them, nobody sees.
const HANGS_UP_ONE_IN: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharding {
    /// Every key is at the first address.
    None,
    /// Where keys are is asked with CLUSTER SLOTS and learned from redirections.
    Slots,
}

/// What became of an operation that was sent, or was to be.
#[derive(Debug)]
pub enum Attempt {
    Answered {
        invoked: Moment,
        reply: Reply,
    },
    /// It has not happened; it may be tried again.
    NotDone,
    /// It has not happened, because the key was changed by others.
    Refrained,
    Unknown {
        invoked: Moment,
    },
}

/// One client's view of the cluster, and its connections.
pub struct Router {
    seeds: Vec<SocketAddr>,
    sharding: Sharding,
    patience: Duration,
    clock: Clock,
    random: Random,
    owners: Vec<Option<SocketAddr>>,
    is_stale: bool,
    connections: HashMap<SocketAddr, Connection>,
}

impl Router {
    pub fn new(seeds: Vec<SocketAddr>, sharding: Sharding, patience: Duration, clock: Clock, random: Random) -> Router {
        assert!(!seeds.is_empty(), "somebody has to be known");
        let (owners, connections) = (vec![None; SLOTS], HashMap::new());
        Router { seeds, sharding, patience, clock, random, owners, is_stale: true, connections }
    }

    /// Tries once; whoever is asked is where the key was last known to be.
    pub fn attempt(&mut self, tag: &str, command: &Command) -> Attempt {
        if self.is_stale && self.sharding == Sharding::Slots {
            self.refresh();
        }
        let slot = slot_of(tag);
        let address = match (self.sharding, self.owners[slot]) {
            (Sharding::Slots, Some(owner)) => owner,
            (Sharding::Slots, None) => self.seeds[self.random.index(self.seeds.len())],
            (Sharding::None, _) => self.seeds[0],
        };
        let requests = requests(tag, command);
        let Command::Swap(name, expected, _) = command else { return self.send(slot, address, &requests) };
        // Whoever changes the key before it is watched is seen here, and afterwards by EXEC.
        let watch = [command.words(tag), Command::Get(name).words(tag)];
        let held = match self.send(slot, address, &watch) {
            Attempt::Answered { reply: Reply::Text(text), .. } => Ok(Some(text)),
            Attempt::Answered { reply: Reply::Nil, .. } => Ok(None),
            _ => Err(Attempt::NotDone),
        };
        if held.as_ref().ok() != Some(expected) {
            // The watch, if there is one, ends with the connection.
            self.connections.remove(&address);
            return held.err().unwrap_or(Attempt::Refrained);
        }
        match self.send(slot, address, &requests) {
            Attempt::Answered { reply: Reply::Nil, .. } => Attempt::Refrained,
            attempt => attempt,
        }
    }

    fn send(&mut self, slot: usize, address: SocketAddr, requests: &[Vec<String>]) -> Attempt {
        let invoked = self.clock.now();
        let error = match self.exchange(address, requests) {
            Ok(Reply::Error(error)) => error,
            Ok(reply) => return Attempt::Answered { invoked, reply },
            Err(Failure::NotSent(_)) => {
                self.forget(slot);
                return Attempt::NotDone;
            }
            Err(Failure::Lost(_)) => {
                self.forget(slot);
                return Attempt::Unknown { invoked };
            }
        };
        let words: Vec<&str> = error.split(' ').collect();
        let elsewhere = words.get(2).and_then(|address| address.parse::<SocketAddr>().ok());
        match (words[0], elsewhere) {
            ("MOVED", Some(owner)) => {
                self.is_stale = true;
                self.owners[slot] = Some(owner);
                Attempt::NotDone
            }
            // Only a command by itself can be asked for at the other end.
            ("ASK", Some(owner)) if requests.len() == 1 => self.ask(owner, &requests[0]),
            (code, _) if NOT_DONE.contains(&code) => {
                self.is_stale |= code == "CLUSTERDOWN" || code == "READONLY";
                Attempt::NotDone
            }
            (code, _) => Attempt::Answered { invoked, reply: Reply::Error(code.into()) },
        }
    }

    fn ask(&mut self, owner: SocketAddr, request: &[String]) -> Attempt {
        let invoked = self.clock.now();
        match self.exchange(owner, &[vec!["ASKING".to_owned()], request.to_vec()]) {
            Ok(Reply::Error(error)) if NOT_DONE.contains(&code_of(&error)) => Attempt::NotDone,
            Ok(Reply::Error(error)) => Attempt::Answered { invoked, reply: Reply::Error(code_of(&error).into()) },
            Ok(reply) => Attempt::Answered { invoked, reply },
            Err(Failure::NotSent(_)) => Attempt::NotDone,
            Err(Failure::Lost(_)) => Attempt::Unknown { invoked },
        }
    }

    /// Sends requests together. The reply is the last one's, but an error that sends a transaction elsewhere is more
    /// to the point than the end of that transaction. Once in a while nobody waits for the replies.
    fn exchange(&mut self, address: SocketAddr, requests: &[Vec<String>]) -> Result<Reply, Failure> {
        let mut connection = match self.connections.remove(&address) {
            Some(connection) => connection,
            None => Connection::open(address, self.patience).map_err(Failure::NotSent)?,
        };
        let is_patient = self.random.below(HANGS_UP_ONE_IN) > 0;
        let mut exchange = || {
            let mut requests = requests;
            if let [begin, rest @ ..] = requests
                && begin[0] == "MULTI"
            {
                // If it is refused, what follows would be carried out one by one.
                connection.send(std::slice::from_ref(begin))?;
                match connection.read()? {
                    Reply::Ok => requests = rest,
                    refusal => return Ok(refusal),
                }
            }
            connection.send(requests)?;
            if !is_patient {
                return Err(Error::other("the client has hung up"));
            }
            let mut redirection = None;
            let mut last = Reply::Nil;
            for _ in requests {
                last = connection.read()?;
                if let Reply::Error(error) = &last
                    && matches!(code_of(error), "MOVED" | "ASK")
                {
                    redirection.get_or_insert(last.clone());
                }
            }
            match last {
                Reply::Error(_) => Ok(redirection.unwrap_or(last)),
                last => Ok(last),
            }
        };
        let reply = exchange().map_err(Failure::Lost)?;
        self.connections.insert(address, connection);
        Ok(reply)
    }

    fn forget(&mut self, slot: usize) {
        self.is_stale = true;
        self.owners[slot] = None;
    }

    /// Asks any node who has what; after a failure another one may be asked next time.
    fn refresh(&mut self) {
        let address = self.seeds[self.random.index(self.seeds.len())];
        let Ok(Reply::Array(ranges)) = self.exchange(address, &[vec!["CLUSTER".to_owned(), "SLOTS".to_owned()]]) else {
            return;
        };
        self.is_stale = false;
        for range in ranges {
            let Some((first, last, owner)) = parse_range(&range) else { continue };
            self.owners[first..=last].fill(Some(owner));
        }
    }
}

fn code_of(error: &str) -> &str {
    error.split(' ').next().unwrap_or_default()
}

/// A range of CLUSTER SLOTS: its first and last slot, and its master.
fn parse_range(range: &Reply) -> Option<(usize, usize, SocketAddr)> {
    let Reply::Array(parts) = range else { return None };
    let [Reply::Int(first), Reply::Int(last), Reply::Array(master), ..] = &parts[..] else { return None };
    let [Reply::Text(host), Reply::Int(port), ..] = &master[..] else { return None };
    let slots = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
    let owner = format!("{host}:{port}").parse().ok()?;
    (slots.start() <= slots.end() && *slots.end() < SLOTS).then_some((*slots.start(), *slots.end(), owner))
}

fn requests(tag: &str, command: &Command) -> Vec<Vec<String>> {
    match command {
        Command::Multi(commands) => transaction(tag, commands),
        Command::Swap(name, _, value) => transaction(tag, &[Command::Set(name, value.clone())]),
        _ => vec![command.words(tag)],
    }
}

fn transaction(tag: &str, commands: &[Command]) -> Vec<Vec<String>> {
    let queued = commands.iter().map(|command| command.words(tag));
    let (begin, end) = (vec!["MULTI".to_owned()], vec!["EXEC".to_owned()]);
    std::iter::once(begin).chain(queued).chain([end]).collect()
}

/// CRC16 (XMODEM) of a hash tag, modulo the number of slots.
fn slot_of(tag: &str) -> usize {
    usize::from(crc16::State::<crc16::XMODEM>::calculate(tag.as_bytes())) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(slot_of("123456789"), 0x31c3);
        assert_eq!(slot_of("foo"), 12182);
    }

    #[test]
    fn ranges_of_cluster_slots() {
        let node =
            |port| Reply::Array(vec![Reply::Text("127.0.0.1".into()), Reply::Int(port), Reply::Text("id".into())]);
        let range = Reply::Array(vec![Reply::Int(0), Reply::Int(5460), node(7000), node(7001)]);
        assert_eq!(parse_range(&range), Some((0, 5460, "127.0.0.1:7000".parse().expect("an address"))));
        let beyond = Reply::Array(vec![Reply::Int(0), Reply::Int(16384), node(7000)]);
        assert_eq!(parse_range(&beyond), None);
    }
}
