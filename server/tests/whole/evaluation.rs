//! Clients' operations on a node: evaluated where the slot is served, and answered when what they depend on is
//! committed and the node still has its lease.

use basalt_cluster::group::Term;
use basalt_cluster::ids::{GroupId, NodeId};
use basalt_server::cluster::slots::SlotState;
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::encode;
use basalt_storage::keyspace::{Key, NewExpiry, StrRef, View, high_water};
use basalt_storage::slot::StripeSet;
use basalt_storage::types::{End, List};
use std::ops::RangeInclusive;

use crate::bugs::Bug;
use crate::clients::{Act, OperationId, Outcome, Seen};
use crate::keys::{ClientKey, STRIPE};
use crate::machine::DB;
use crate::process::Process;

/// An operation whose answer is held back.
pub struct Held {
    id: OperationId,
    group: GroupId,
    term: Term,
    /// The batches that it depends on; none if the last one is zero.
    first: u64,
    last: u64,
    only_reads: bool,
    seen: Seen,
    /// Whether the group owned the slot when it was evaluated.
    was_owner: bool,
}

/// What a node does with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Evaluated; the answer comes later.
    Later,
    Moved(Option<NodeId>),
    /// It is held back, and has to be tried again.
    Wait,
}

impl Process {
    /// Evaluates an operation if its slot is served here. `owner` is who owns the slot in truth.
    pub fn evaluate(&mut self, id: OperationId, key: &ClientKey, act: Act, owner: Option<GroupId>) -> Reply {
        let Some(group) = self.holder(key.slot).filter(|_| self.state(key.slot) == SlotState::Serving) else {
            return match self.state(key.slot) {
                SlotState::Elsewhere | SlotState::Copied => {
                    let owner = self.map.slots().owner(key.slot);
                    Reply::Moved(owner.and_then(|owner| self.leaders.get(&owner)).copied())
                }
                _ => Reply::Wait,
            };
        };
        let mut view = self.keyspace.lock(StripeSet::of(STRIPE), UnixMs(0));
        let seen = carry_out(&mut view, key, act);
        drop(view);
        let span = high_water::take_span();
        let batches = std::mem::take(&mut *self.sink.batches.lock());
        let only_reads = batches.is_empty();
        let replica = self.replicas.get_mut(&group).expect("it holds the slot");
        for (seq, batch) in batches {
            let mut bytes = Vec::new();
            encode(&batch, &mut bytes);
            replica.propose(seq, bytes);
        }
        let term = replica.role.term();
        // What has met its fate is depended on no more: a loss takes the numbers of other groups between its own.
        let committed = self.committed();
        let (first, last) = match span.last.0 > committed {
            true => (span.first.0.max(committed + 1), span.last.0),
            false => (0, 0),
        };
        let was_owner = owner == Some(group);
        self.held.push(Held { id, group, term, first, last, only_reads, seen, was_owner });
        Reply::Later
    }

    /// The last batch before which no group has one whose fate is not known.
    fn committed(&self) -> u64 {
        let waiting = self.replicas.values().filter(|replica| replica.settled < replica.proposed);
        waiting.map(|replica| replica.settled).fold(self.seqs.last(), u64::min)
    }

    /// Lets answers go, if it is time for them.
    pub fn release(&mut self, now: u64) {
        for held in std::mem::take(&mut self.held) {
            match self.fate(&held, now) {
                None => self.held.push(held),
                Some(outcome) => self.answered.push((held.id, outcome)),
            }
        }
    }

    fn fate(&self, held: &Held, now: u64) -> Option<Outcome> {
        let is_lost =
            |lost: &RangeInclusive<u64>| held.last > 0 && *lost.start() <= held.last && held.first <= *lost.end();
        if self.lost.iter().any(is_lost) {
            return Some(Outcome::Unknown);
        }
        let answer = || Some(Outcome::Answer { seen: held.seen.clone(), was_owner: held.was_owner });
        let Some(replica) = self.replicas.get(&held.group) else { return Some(Outcome::Unknown) };
        if held.last > replica.settled && self.bug() != Bug::AckedAtOnce {
            return None;
        }
        if !held.only_reads {
            return answer();
        }
        if !self.reigns(held.group, held.term) {
            return Some(Outcome::Unknown);
        }
        if replica.has_lease(now) { answer() } else { None }
    }

    /// These batches are of unknown fate, and so is what depends on them.
    pub fn note_lost(&mut self, batches: RangeInclusive<u64>) {
        self.lost.push(batches);
    }

    /// What has only read in a reign that is over is not answered.
    pub fn note_deposed(&mut self, group: GroupId) {
        let settled = self.replicas.get(&group).map_or(0, |replica| replica.settled);
        for held in std::mem::take(&mut self.held) {
            let is_void = held.group == group && held.only_reads && held.last <= settled;
            match is_void {
                true => self.answered.push((held.id, Outcome::Unknown)),
                false => self.held.push(held),
            }
        }
    }
}

fn carry_out(view: &mut View<'_>, key: &ClientKey, act: Act) -> Seen {
    let key = Key::new(&key.name);
    let number = |string: StrRef<'_>| match string {
        StrRef::Int(number) => number,
        StrRef::Bytes(_) | StrRef::Shared(_) => unreachable!("clients write numbers"),
    };
    match act {
        Act::Write(value) => {
            view.put_int(DB, &key, value as i64, NewExpiry::Clear);
            Seen::Done
        }
        Act::Delete => {
            view.delete(DB, &key);
            Seen::Done
        }
        Act::Read => {
            let seen = view.string(DB, &key).expect("clients use a key in one way").map(number);
            Seen::Register(seen.map(|number| number as u64))
        }
        Act::Add => {
            let change =
                |old: Option<StrRef<'_>>| Ok::<_, basalt_storage::keyspace::WrongType>(old.map_or(0, number) + 1);
            Seen::Number(view.change_to_int(DB, &key, change).expect("clients use a key in one way"))
        }
        Act::Count => {
            let seen = view.string(DB, &key).expect("clients use a key in one way").map(number);
            Seen::Number(seen.unwrap_or(0))
        }
        Act::Push(element) => {
            let mut list = view.existing_or_new::<List>(DB, &key).expect("clients use a key in one way");
            let bytes = element.to_string();
            list.push(End::Back, [bytes.as_bytes()].into_iter());
            Seen::Number(list.value().len() as i64)
        }
        Act::Range => {
            let list = view.list(DB, &key).expect("clients use a key in one way");
            let element = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
            let elements = list.map(|list| list.iter().filter_map(element).collect());
            Seen::List(elements.unwrap_or_default())
        }
    }
}
