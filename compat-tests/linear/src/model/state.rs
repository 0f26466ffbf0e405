//! What the keys of a group hold, and what a command makes of it.
//!
//! Everything is determined but the moment at which a key expires. Of that only bounds are known: clients know when
//! they have sent a request and when it was answered, not when it took effect in between. So a value with a time to
//! live has two bounds, and between them a command may find it or not; once somebody has not found it, it is gone.

use super::{Command, Name, Reply, Text};
use crate::history::{End, Moment, Operation};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How much too early a key may expire: clocks of servers count whole milliseconds, and may be read a little early.
pub const EARLY_MS: u64 = 20;

/// How much too late a key may be seen: a server may read its clock once for all that it does in one go, and a new
/// leader may have to catch up.
pub const LATE_MS: u64 = 1000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    values: BTreeMap<Name, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Text(Text, Life),
    List(Vec<Text>),
    Set(BTreeSet<Text>),
    Hash(BTreeMap<Text, Text>),
}

/// Between which times a value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Life {
    earliest: Moment,
    latest: Moment,
}

impl Life {
    const ENDLESS: Life = Life { earliest: Moment::NEVER, latest: Moment::NEVER };
}

impl State {
    /// What the operation may leave behind, if it takes effect on this; nothing if its answer cannot come from this.
    pub fn after(&self, operation: &Operation) -> Vec<State> {
        let mut possible = self.with_ends(operation);
        possible.retain_mut(|state| {
            let reply = state.run(&operation.command, operation);
            match &operation.end {
                End::Answered { reply: seen, .. } => reply == *seen,
                End::Unknown => true,
            }
        });
        possible
    }

    /// Runs a command at one moment; for those who make histories.
    pub fn run_at(&mut self, command: &Command, at: Moment) -> Reply {
        self.values.retain(|_, value| !matches!(value, Value::Text(_, life) if life.latest <= at));
        let end = End::Answered { at, reply: Reply::Ok };
        let (client, group) = (crate::history::ClientId(0), crate::history::GroupId(0));
        let exact = Operation { client, group, command: command.clone(), invoked: at, end };
        let reply = self.run(command, &exact);
        for value in self.values.values_mut() {
            if let Value::Text(_, life) = value
                && life.latest != Moment::NEVER
                && life.latest != life.earliest
            {
                let exact = life.earliest.plus_ms(EARLY_MS);
                *life = Life { earliest: exact, latest: exact };
            }
        }
        reply
    }

    /// This state with every choice of which of the operation's keys have expired.
    fn with_ends(&self, operation: &Operation) -> Vec<State> {
        let mut states = vec![self.clone()];
        for name in operation.command.names() {
            let Some(Value::Text(_, life)) = self.values.get(name) else { continue };
            if operation.returned() < life.earliest {
                continue;
            }
            let may_live = operation.invoked <= life.latest;
            let mut ended = states.clone();
            ended.iter_mut().for_each(|state| drop(state.values.remove(name)));
            if may_live {
                ended.retain(|state| !states.contains(state));
                states.extend(ended);
            } else {
                states = ended;
            }
        }
        states
    }

    fn run(&mut self, command: &Command, when: &Operation) -> Reply {
        self.try_run(command, when).unwrap_or_else(|code| Reply::Error(code.into()))
    }

    fn try_run(&mut self, command: &Command, when: &Operation) -> Result<Reply, &'static str> {
        use Command::*;
        Ok(match command {
            Get(name) => self.text(name)?.map_or(Reply::Nil, Reply::Text),
            Set(name, value) => self.set(name, value, Life::ENDLESS),
            SetNx(name, value) => {
                if self.values.contains_key(name) {
                    return Ok(Reply::Nil);
                }
                self.set(name, value, Life::ENDLESS)
            }
            GetSet(name, value) => {
                let former = self.text(name)?;
                self.set(name, value, Life::ENDLESS);
                former.map_or(Reply::Nil, Reply::Text)
            }
            SetPx(name, value, ms) => {
                let earliest = when.invoked.plus_ms(*ms).minus_ms(EARLY_MS);
                let latest = when.returned().plus_ms(*ms).plus_ms(LATE_MS);
                self.set(name, value, Life { earliest, latest })
            }
            Del(name) => Reply::Int(self.values.remove(name).is_some().into()),
            Swap(name, expected, value) => {
                if self.text(name)? != *expected {
                    return Ok(Reply::Nil);
                }
                self.set(name, value, Life::ENDLESS)
            }
            IncrBy(name, by) => self.add(name, *by)?,
            DecrBy(name, by) => self.add(name, -*by)?,
            RPush(name, element) => {
                let list = self.list(name)?;
                list.push(element.clone());
                Reply::Int(list.len() as i64)
            }
            // Who waits gets its element at one moment, when it comes; who waits in vain has seen none at first.
            LPop(name) | LPopWait(name, _) => {
                let list = self.list(name)?;
                let popped = if list.is_empty() { Reply::Nil } else { Reply::Text(list.remove(0)) };
                self.drop_empty(name);
                popped
            }
            LRange(name) => {
                let elements = self.list(name)?.iter().cloned().map(Reply::Text).collect();
                self.drop_empty(name);
                Reply::Array(elements)
            }
            SAdd(name, member) => Reply::Int(self.set_of(name)?.insert(member.clone()).into()),
            SRem(name, member) => {
                let was_there = self.set_of(name)?.remove(member);
                self.drop_empty(name);
                Reply::Int(was_there.into())
            }
            SMembers(name) => {
                let members = self.set_of(name)?.iter().cloned().map(Reply::Text).collect();
                self.drop_empty(name);
                Reply::Array(members)
            }
            HSet(name, field, value) => {
                Reply::Int(self.hash(name)?.insert(field.clone(), value.clone()).is_none().into())
            }
            HIncrBy(name, field, by) => {
                let hash = self.hash(name)?;
                let number = sum(hash.get(field), *by)?;
                hash.insert(field.clone(), number.to_string().into());
                Reply::Int(number)
            }
            HGetAll(name) => {
                let pairs = self.hash(name)?.iter();
                let flat = pairs.flat_map(|(field, value)| [field.clone(), value.clone()]).map(Reply::Text).collect();
                self.drop_empty(name);
                Reply::Array(flat)
            }
            Multi(commands) => Reply::Array(commands.iter().map(|command| self.run(command, when)).collect()),
        })
    }

    fn set(&mut self, name: &Name, value: &Text, life: Life) -> Reply {
        self.values.insert(name, Value::Text(value.clone(), life));
        Reply::Ok
    }

    fn text(&self, name: &Name) -> Result<Option<Text>, &'static str> {
        match self.values.get(name) {
            None => Ok(None),
            Some(Value::Text(text, _)) => Ok(Some(text.clone())),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn add(&mut self, name: &Name, by: i64) -> Result<Reply, &'static str> {
        let number = sum(self.text(name)?.as_ref(), by)?;
        let life = match self.values.get(name) {
            Some(Value::Text(_, life)) => *life,
            _ => Life::ENDLESS,
        };
        self.set(name, &number.to_string().into(), life);
        Ok(Reply::Int(number))
    }

    fn list(&mut self, name: &Name) -> Result<&mut Vec<Text>, &'static str> {
        match self.values.entry(name).or_insert_with(|| Value::List(Vec::new())) {
            Value::List(list) => Ok(list),
            _ => Err(WRONG_TYPE),
        }
    }

    fn set_of(&mut self, name: &Name) -> Result<&mut BTreeSet<Text>, &'static str> {
        match self.values.entry(name).or_insert_with(|| Value::Set(BTreeSet::new())) {
            Value::Set(set) => Ok(set),
            _ => Err(WRONG_TYPE),
        }
    }

    fn hash(&mut self, name: &Name) -> Result<&mut BTreeMap<Text, Text>, &'static str> {
        match self.values.entry(name).or_insert_with(|| Value::Hash(BTreeMap::new())) {
            Value::Hash(hash) => Ok(hash),
            _ => Err(WRONG_TYPE),
        }
    }

    /// A collection that holds nothing is no key.
    fn drop_empty(&mut self, name: &Name) {
        let is_empty = match self.values.get(name) {
            Some(Value::List(list)) => list.is_empty(),
            Some(Value::Set(set)) => set.is_empty(),
            Some(Value::Hash(hash)) => hash.is_empty(),
            Some(Value::Text(..)) | None => false,
        };
        if is_empty {
            self.values.remove(name);
        }
    }
}

const WRONG_TYPE: &str = "WRONGTYPE";
const NO_NUMBER: &str = "ERR";

fn sum(former: Option<&Text>, by: i64) -> Result<i64, &'static str> {
    let former = former.map_or(Ok(0), |text| text.parse::<i64>()).map_err(|_| NO_NUMBER)?;
    former.checked_add(by).ok_or(NO_NUMBER)
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.values.is_empty() {
            return write!(out, "nothing");
        }
        let values: Vec<String> = self.values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        write!(out, "{}", values.join(", "))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text, Life::ENDLESS) => write!(out, "\"{text}\""),
            Value::Text(text, life) => write!(out, "\"{text}\" (ends between {} and {})", life.earliest, life.latest),
            Value::List(list) => write!(out, "[{}]", list.join(" ")),
            Value::Set(set) => write!(out, "{{{}}}", set.iter().cloned().collect::<Vec<_>>().join(" ")),
            Value::Hash(hash) => {
                let pairs: Vec<String> = hash.iter().map(|(field, value)| format!("{field}: {value}")).collect();
                write!(out, "{{{}}}", pairs.join(", "))
            }
        }
    }
}
