//! The search for an order of one group's operations.
//!
//! Depth first: of the operations that may come next, one whose answer fits is taken, and the search goes on behind it;
//! where none fits it goes back. A set of taken operations that has left the same state before is not tried again: they
//! are remembered by a fingerprint of 128 bits, whose equality by chance is far less likely than an error of the
//! machine. An order is found when all operations that were answered are in it.
//!
//! Those without an answer make a search long, since each may be anywhere or nowhere. So they are tried last, because
//! most have had no effect that anybody saw; of equal ones the oldest first, because a younger one can do nothing that
//! it cannot; and a state is not tried again with more of them taken, because then fewer are left for what follows.

use super::timeline::Timeline;
use crate::history::{Moment, Operation};
use crate::model::State;
use crate::random::mix;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

/// How long a search may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub steps: u64,
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { steps: 20_000_000, time: Duration::from_secs(60) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    Broken(Deepest),
    /// The limits were reached.
    Undecided,
}

/// How far an order could be found, for those who look for the cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deepest {
    /// Operations in their order, by index.
    pub order: Vec<usize>,
    /// What they leave.
    pub state: State,
}

/// Operations may be in any order, but are all of one group.
pub fn check(operations: &[Operation], limits: Limits) -> Verdict {
    if operations.iter().filter(|operation| !operation.is_known()).count() > UNKNOWN_MAX {
        return Verdict::Undecided;
    }
    if operations.iter().all(|operation| !operation.is_known()) {
        return Verdict::Linearizable;
    }
    let mut search = Search::new(operations, limits);
    match search.next() {
        Step::Found(_) => Verdict::Linearizable,
        Step::Exhausted => Verdict::Broken(search.deepest),
        Step::GivenUp => Verdict::Undecided,
    }
}

/// All that operations which were all answered may leave; nothing if the limits are reached.
pub fn remains(operations: &[Operation], limits: Limits) -> Option<Vec<State>> {
    assert!(operations.iter().all(Operation::is_known), "what was not answered may come later");
    let mut search = Search::new(operations, limits);
    let mut states = if operations.is_empty() { vec![State::default()] } else { Vec::new() };
    loop {
        match search.next() {
            Step::Found(state) => states.push(state),
            Step::Exhausted => return Some(states),
            Step::GivenUp => return None,
        }
    }
}

/// How a search goes on.
enum Step {
    /// An order, which leaves this.
    Found(State),
    /// There are no more.
    Exhausted,
    GivenUp,
}

struct Search<'a> {
    operations: &'a [Operation],
    timeline: Timeline,
    limits: Limits,
    began: Instant,
    steps: u64,
    /// Operations with an answer that are not in the order yet.
    left: usize,
    /// Of the set of operations with an answer in the order.
    taken_print: u128,
    /// Those without one that are in the order.
    taken_unknown: Unknown,
    marks: Vec<Mark>,
    /// By what was taken and what it has left: with which operations without an answer.
    tried: HashMap<u128, Vec<Unknown>>,
    path: Vec<Frame>,
    deepest: Deepest,
}

/// A set of operations without an answer.
type Unknown = u128;

/// More of them in a group are not looked at; nobody would see the end of it.
const UNKNOWN_MAX: usize = Unknown::BITS as usize;

/// What stands for an operation in the sets of those taken.
#[derive(Clone, Copy)]
enum Mark {
    Known(u128),
    Unknown(Unknown),
}

/// What can be tried at one place of the order.
struct Frame {
    /// The state before it.
    state: State,
    candidates: Vec<(usize, State)>,
    taken: Option<usize>,
}

impl Search<'_> {
    fn new(operations: &[Operation], limits: Limits) -> Search<'_> {
        let mut search = Search {
            operations,
            timeline: Timeline::of(operations),
            limits,
            began: Instant::now(),
            steps: 0,
            left: operations.iter().filter(|operation| operation.is_known()).count(),
            taken_print: 0,
            taken_unknown: 0,
            marks: marks_of(operations),
            tried: HashMap::new(),
            path: Vec::new(),
            deepest: Deepest::default(),
        };
        search.descend(State::default());
        search
    }

    /// Goes on until the next order is found.
    fn next(&mut self) -> Step {
        loop {
            self.steps += 1;
            let looks_at_clock = self.steps.is_multiple_of(4096);
            if self.steps > self.limits.steps || looks_at_clock && self.began.elapsed() > self.limits.time {
                return Step::GivenUp;
            }
            let Some(frame) = self.path.last_mut() else { return Step::Exhausted };
            let former = frame.taken.take();
            let next = frame.candidates.pop();
            if let Some(former) = former {
                self.put_back(former);
            }
            match next {
                None => self.ascend(),
                Some((index, state)) => {
                    self.take(index);
                    match self.is_new(&state) {
                        true if self.left == 0 => return Step::Found(state),
                        true => self.descend(state),
                        false => {}
                    }
                }
            }
        }
    }

    fn take(&mut self, index: usize) {
        self.timeline.take_out(index);
        match self.marks[index] {
            Mark::Known(print) => {
                self.taken_print ^= print;
                self.left -= 1;
            }
            Mark::Unknown(bit) => self.taken_unknown |= bit,
        }
        self.path.last_mut().expect("an operation is taken at some place").taken = Some(index);
    }

    fn put_back(&mut self, index: usize) {
        self.timeline.put_back(index);
        match self.marks[index] {
            Mark::Known(print) => {
                self.taken_print ^= print;
                self.left += 1;
            }
            Mark::Unknown(bit) => self.taken_unknown &= !bit,
        }
    }

    /// Whether what is taken has not left this state before with as few operations, and remembers it.
    fn is_new(&mut self, state: &State) -> bool {
        let taken = self.taken_unknown;
        let sets = self.tried.entry(self.taken_print ^ print_of_state(state)).or_default();
        if sets.iter().any(|tried| tried & !taken == 0) {
            return false;
        }
        sets.retain(|tried| taken & !tried != 0);
        sets.push(taken);
        true
    }

    fn descend(&mut self, state: State) {
        let mut candidates: Vec<(usize, State)> = Vec::new();
        let mut older: Vec<usize> = Vec::new();
        self.timeline.candidates(|index| {
            let operation = &self.operations[index];
            if !operation.is_known() {
                if older.iter().any(|other| self.operations[*other].command == operation.command) {
                    return;
                }
                older.push(index);
            }
            let after = state.after(operation).into_iter();
            // Without an answer and without an effect is the same as never.
            let matters = |after: &State| operation.is_known() || *after != state;
            candidates.extend(after.filter(matters).map(|after| (index, after)));
        });
        // The last is tried first: the one that was answered first.
        candidates.sort_by_key(|(index, _)| std::cmp::Reverse(self.urgency(*index)));
        self.path.push(Frame { state, candidates, taken: None });
    }

    fn urgency(&self, index: usize) -> (Moment, Moment) {
        let operation = &self.operations[index];
        (operation.returned(), operation.invoked)
    }

    /// Nothing fits here.
    fn ascend(&mut self) {
        let order = self.path.len() - 1;
        if order >= self.deepest.order.len() {
            let state = self.path[order].state.clone();
            self.deepest = Deepest { order: self.path.iter().filter_map(|frame| frame.taken).collect(), state };
        }
        self.path.pop();
    }
}

fn marks_of(operations: &[Operation]) -> Vec<Mark> {
    let mut unknown = 0;
    let marks = operations.iter().enumerate().map(|(index, operation)| match operation.is_known() {
        true => Mark::Known(print_of_index(index as u64)),
        false => {
            unknown += 1;
            Mark::Unknown(1 << (unknown - 1))
        }
    });
    marks.collect()
}

fn print_of_index(index: u64) -> u128 {
    u128::from(mix(2 * index + 1)) << 64 | u128::from(mix(mix(2 * index + 2)))
}

fn print_of_state(state: &State) -> u128 {
    let half = |salt: u64| {
        // The standard hasher with fixed keys: the same in every run.
        let mut hasher = std::hash::DefaultHasher::new();
        salt.hash(&mut hasher);
        state.hash(&mut hasher);
        hasher.finish()
    };
    u128::from(half(0x5eed)) << 64 | u128::from(half(0xfeed))
}
