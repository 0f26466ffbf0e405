//! What is done to a group of keys: one kind of value, or transactions over several.

use crate::model::{Command, Name, Text};
use crate::random::{Chance, Random};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Register,
    Counter,
    List,
    Set,
    Hash,
    Expiring,
    Transactions,
}

const REGISTER: Name = "register";
const COUNTER: Name = "counter";
const LIST: Name = "list";
const SET: Name = "set";
const HASH: Name = "hash";

/// Few, so that clients meet.
const MEMBERS: u64 = 6;
const FIELDS: u64 = 4;

impl Kind {
    pub const ALL: [Kind; 7] =
        [Kind::Register, Kind::Counter, Kind::List, Kind::Set, Kind::Hash, Kind::Expiring, Kind::Transactions];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Register => "register",
            Kind::Counter => "counter",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::Hash => "hash",
            Kind::Expiring => "expiring",
            Kind::Transactions => "transactions",
        }
    }

    /// What a client does next; `unique` is a text that no other operation has.
    pub fn command(self, random: &mut Random, unique: Text) -> Command {
        if let Some(command) = long(self, random, unique.clone()) {
            return command;
        }
        let chance = random.below(100);
        match self {
            Kind::Register => register(chance, unique),
            Kind::Counter => counter(chance, random),
            Kind::List => list(chance, unique),
            Kind::Set => set(chance, random),
            Kind::Hash => hash(chance, random, unique),
            Kind::Expiring => match chance {
                0..40 => Command::Get(REGISTER),
                40..85 => Command::SetPx(REGISTER, unique, 5 + random.below(200)),
                85..95 => Command::SetNx(REGISTER, unique),
                _ => Command::Del(REGISTER),
            },
            Kind::Transactions => {
                if random.percent(40) == Chance::Yes {
                    return part(random, unique, 0);
                }
                let count = 2 + random.below(3);
                Command::Multi((0..count).map(|number| part(random, unique.clone(), number)).collect())
            }
        }
    }

    /// What shows everything that is there in the end.
    pub fn last_look(self) -> Command {
        match self {
            Kind::Register | Kind::Expiring => Command::Get(REGISTER),
            Kind::Counter => Command::Get(COUNTER),
            Kind::List => Command::LRange(LIST),
            Kind::Set => Command::SMembers(SET),
            Kind::Hash => Command::HGetAll(HASH),
            Kind::Transactions => Command::Multi(vec![
                Command::Get(REGISTER),
                Command::Get(COUNTER),
                Command::LRange(LIST),
                Command::HGetAll(HASH),
            ]),
        }
    }
}

/// One command of a transaction; several of one transaction have different values.
fn part(random: &mut Random, unique: Text, number: u64) -> Command {
    let unique = Text::from(format!("{unique}.{number}"));
    let chance = random.below(100);
    match random.below(4) {
        0 => register(chance, unique),
        1 => counter(chance, random),
        2 => list(chance, unique),
        _ => hash(chance, random, unique),
    }
}

fn register(chance: u64, unique: Text) -> Command {
    match chance {
        0..45 => Command::Get(REGISTER),
        45..75 => Command::Set(REGISTER, unique),
        75..85 => Command::SetNx(REGISTER, unique),
        85..93 => Command::GetSet(REGISTER, unique),
        _ => Command::Del(REGISTER),
    }
}

/// What takes several requests or waits, and so cannot be in a transaction.
fn long(kind: Kind, random: &mut Random, unique: Text) -> Option<Command> {
    match (kind, random.below(100)) {
        // What it expects, its client has to look up.
        (Kind::Register, 0..10) => Some(Command::Swap(REGISTER, None, unique)),
        (Kind::List, 0..20) => Some(Command::LPopWait(LIST, 10 + random.below(200))),
        _ => None,
    }
}

fn counter(chance: u64, random: &mut Random) -> Command {
    match chance {
        0..30 => Command::Get(COUNTER),
        30..80 => Command::IncrBy(COUNTER, 1),
        _ => Command::DecrBy(COUNTER, 1 + random.below(5) as i64),
    }
}

fn list(chance: u64, unique: Text) -> Command {
    match chance {
        0..25 => Command::LRange(LIST),
        25..70 => Command::RPush(LIST, unique),
        _ => Command::LPop(LIST),
    }
}

fn set(chance: u64, random: &mut Random) -> Command {
    let member = Text::from(format!("m{}", random.below(MEMBERS)));
    match chance {
        0..30 => Command::SMembers(SET),
        30..70 => Command::SAdd(SET, member),
        _ => Command::SRem(SET, member),
    }
}

fn hash(chance: u64, random: &mut Random, unique: Text) -> Command {
    let number = random.below(FIELDS);
    match chance {
        0..30 => Command::HGetAll(HASH),
        30..70 => Command::HSet(HASH, format!("f{number}").into(), unique),
        _ => Command::HIncrBy(HASH, format!("n{number}").into(), 1),
    }
}
