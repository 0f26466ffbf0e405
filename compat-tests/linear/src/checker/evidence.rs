//! The smallest part of a history that has no order, in lines that people can read.

use super::search::{Deepest, Limits, Verdict, check, remains};
use crate::history::{End, Moment, Operation};
use crate::model::State;
use std::fmt;
use std::time::{Duration, Instant};

/// How long reads are looked for that do not matter.
const REDUCTION_MAX: Duration = Duration::from_secs(20);

/// So many lines are shown at least, if there are as many: what happened just before helps to understand.
const LINES: usize = 12;

/// Of what may have been there at first, so much is shown.
const STATES: usize = 3;

/// Operations of one group that cannot all have happened as they were answered.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// By the time of their requests.
    operations: Vec<Operation>,
    /// Operations that were all over before these began, and what they may have left.
    before: usize,
    at_first: Vec<State>,
    /// The first answer that does not fit: without it there would be an order.
    culprit: Operation,
    deepest: Deepest,
}

impl Evidence {
    /// `operations` are known to have no order.
    pub fn of(operations: &[Operation], deepest: Deepest) -> Evidence {
        let limits = Limits { steps: 500_000, time: Duration::from_secs(2) };
        let mut times: Vec<_> = operations.iter().filter(|one| one.is_known()).map(Operation::returned).collect();
        times.sort_unstable();
        // A history that ends earlier has an order if a later one has: so the first answer too many can be halved to.
        let broken = |count: usize| match check(&until(operations, &times, count), limits) {
            Verdict::Broken(deepest) => Some(deepest),
            Verdict::Linearizable | Verdict::Undecided => None,
        };
        let (mut good, mut bad, mut deepest) = (0, times.len(), deepest);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match broken(middle) {
                Some(found) => (bad, deepest) = (middle, found),
                None => good = middle,
            }
        }
        let mut evidence = until(operations, &times, bad);
        let at = evidence.iter().position(|one| one.returned() == times[bad - 1]).expect("it ends with that answer");
        let culprit = evidence[at].clone();
        let (mut index, began) = (0, Instant::now());
        while index < evidence.len() && began.elapsed() < REDUCTION_MAX {
            // A read changes nothing, so what has no order without it has none with it.
            if evidence[index].command.changes() || evidence[index] == culprit {
                index += 1;
                continue;
            }
            let read = evidence.remove(index);
            match check(&evidence, limits) {
                Verdict::Broken(found) => deepest = found,
                Verdict::Linearizable | Verdict::Undecided => {
                    evidence.insert(index, read);
                    index += 1;
                }
            }
        }
        evidence.sort_by_key(|one| one.invoked);
        let (before, at_first) = calm_before(&evidence, limits);
        Evidence { operations: evidence.split_off(before), before, at_first, culprit, deepest }
    }

    pub fn culprit(&self) -> &Operation {
        &self.culprit
    }

    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
}

/// The last moment, with enough behind it, at which nothing was under way: how many operations were over then, and what
/// they may have left.
fn calm_before(operations: &[Operation], limits: Limits) -> (usize, Vec<State>) {
    let (mut calm, mut over) = (0, Moment(0));
    for (index, operation) in operations.iter().enumerate() {
        if over < operation.invoked && index + LINES <= operations.len() {
            calm = index;
        }
        over = over.max(operation.returned());
    }
    match remains(&operations[..calm], limits) {
        Some(states) => (calm, states),
        None => (0, vec![State::default()]),
    }
}

/// The history as it was when `count` answers had come: others that were sent may have had an effect.
fn until(operations: &[Operation], times: &[Moment], count: usize) -> Vec<Operation> {
    let now = times[count - 1];
    let begun = operations.iter().filter(|one| one.invoked <= now);
    let seen = begun.map(|one| match one.returned() <= now {
        true => one.clone(),
        false => Operation { end: End::Unknown, ..one.clone() },
    });
    seen.filter(|one| one.is_known() || one.command.changes()).collect()
}

impl fmt::Display for Evidence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "no order explains the answer marked with `>` (times in ms; reads that do not matter left out)")?;
        let states: Vec<String> = self.at_first.iter().take(STATES).map(State::to_string).collect();
        let more = if self.at_first.len() > STATES { ", or something else" } else { "" };
        writeln!(out, "    after {} operations there was {}{more}", self.before, states.join(", or "))?;
        for operation in &self.operations {
            let mark = if *operation == self.culprit { '>' } else { ' ' };
            writeln!(out, "  {mark} {operation}")?;
        }
        let (order, all) = (self.deepest.order.len(), self.before + self.operations.len());
        write!(out, "the longest order has {order} of all {all} operations and leaves {}", self.deepest.state)
    }
}
