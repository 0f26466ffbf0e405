//! What clients have done and seen: the input of the checker.
//!
//! An operation is in the history if it may have had an effect or was answered. One that was refused with an error that
//! means "not executed" never happened; one whose answer never came may take effect at any time after it was sent, or
//! never. Times come from one monotonic clock, so all clients are threads of one process.

use crate::model::{Command, Reply};
use std::fmt;
use std::time::Instant;

/// Nanoseconds since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    pub const NEVER: Moment = Moment(u64::MAX);

    pub fn plus_ms(self, ms: u64) -> Moment {
        Moment(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }

    pub fn minus_ms(self, ms: u64) -> Moment {
        Moment(self.0.saturating_sub(ms.saturating_mul(1_000_000)))
    }
}

/// As milliseconds, which is what people read.
impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Moment::NEVER {
            return out.pad("?");
        }
        out.pad(&format!("{}.{:03}", self.0 / 1_000_000, self.0 / 1000 % 1000))
    }
}

/// The one clock of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    pub fn now(&self) -> Moment {
        Moment(self.0.elapsed().as_nanos() as u64)
    }
}

/// Keys that are checked together, because transactions may touch several of them: those that share a hash tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u16);

/// One request of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub client: ClientId,
    pub group: GroupId,
    pub command: Command,
    pub invoked: Moment,
    pub end: End,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Answered {
        at: Moment,
        reply: Reply,
    },
    /// The connection broke or nothing came for too long.
    Unknown,
}

impl Operation {
    /// When it had taken effect, if it ever did.
    pub fn returned(&self) -> Moment {
        match self.end {
            End::Answered { at, .. } => at,
            End::Unknown => Moment::NEVER,
        }
    }

    pub fn is_known(&self) -> bool {
        matches!(self.end, End::Answered { .. })
    }
}

/// One line, times first.
impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:>12} .. {:<12} client {:<3} ", self.invoked, self.returned(), self.client.0)?;
        match &self.end {
            End::Answered { reply, .. } => write!(out, "{} -> {reply}", self.command),
            End::Unknown => write!(out, "{} -> no answer", self.command),
        }
    }
}

/// Sorts operations by the groups that are checked one by one. What cannot be told apart from not having happened (a
/// read without an answer) is left out.
pub fn by_group(operations: Vec<Operation>) -> Vec<(GroupId, Vec<Operation>)> {
    let mut groups: Vec<(GroupId, Vec<Operation>)> = Vec::new();
    let mut operations = operations;
    operations.retain(|operation| operation.is_known() || operation.command.changes());
    operations.sort_by_key(|operation| (operation.group, operation.invoked));
    for operation in operations {
        match groups.last_mut() {
            Some((group, members)) if *group == operation.group => members.push(operation),
            _ => groups.push((operation.group, vec![operation])),
        }
    }
    groups
}
