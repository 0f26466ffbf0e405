//! What must hold, by name. Fed by the simulation with what a client and a state machine would see.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use basalt_cluster::group::{LogIndex, Term};

use crate::disk::{Contents, Item};

/// What was found to be wrong: the name of the checker, and what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub checker: &'static str,
    pub what: String,
}

pub type Checked = Result<(), Violation>;

fn require(holds: bool, checker: &'static str, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { checker, what: what() }) }
}

/// What was acknowledged is there after every restart: after the end of a process all of it, after a loss of power
/// what was synced.
#[derive(Default)]
pub struct NoLostAck {
    acked: BTreeSet<u64>,
    synced: BTreeSet<u64>,
}

impl NoLostAck {
    pub fn on_ack(&mut self, ids: &[u64]) {
        self.acked.extend(ids);
    }

    pub fn on_synced(&mut self, ids: &[u64]) {
        self.synced.extend(ids);
    }

    pub fn on_power_loss(&mut self) {
        self.acked.clone_from(&self.synced);
    }

    pub fn check(&self, items: &[Item]) -> Checked {
        let there: HashSet<u64> = items.iter().map(|item| item.id).collect();
        let lost = self.acked.iter().chain(&self.synced).find(|id| !there.contains(id));
        require(lost.is_none(), "NoLostAck", || format!("{lost:?} was acknowledged and is gone"))
    }
}

/// What a client is told is true at that moment: it is in the log, and on the disk if that is claimed.
pub struct NothingFalseAcked;

impl NothingFalseAcked {
    pub fn check(ids: &[u64], contents: &Contents) -> Checked {
        let unsynced = ids.iter().find(|id| !contents.synced_items.contains(id));
        require(unsynced.is_none(), "NothingFalseAcked", || format!("{unsynced:?} is acknowledged before it is synced"))
    }
}

/// No batch is applied twice.
pub struct AppliedOnce;

impl AppliedOnce {
    pub fn check(items: &[Item]) -> Checked {
        let mut seen = HashSet::new();
        let twice = items.iter().find(|item| !seen.insert(item.id));
        require(twice.is_none(), "AppliedOnce", || format!("{twice:?} is applied twice"))
    }
}

/// For each slot, batches are applied in the order in which they were proposed; and of what one process has proposed,
/// what is there is a beginning, without a gap.
#[derive(Default)]
pub struct OrderPerSlot {
    /// All that was proposed, by process.
    proposed: Vec<Vec<u64>>,
}

impl OrderPerSlot {
    pub fn on_process(&mut self) {
        self.proposed.push(Vec::new());
    }

    pub fn on_propose(&mut self, id: u64) {
        self.proposed.last_mut().expect("a process runs").push(id);
    }

    pub fn check(&self, items: &[Item]) -> Checked {
        let mut last = BTreeMap::new();
        for item in items {
            let before = last.insert(item.slot, item.id);
            let holds = before.is_none_or(|before| before < item.id);
            require(holds, "OrderPerSlot", || format!("{item:?} is applied after {before:?}"))?;
        }
        let there: HashSet<u64> = items.iter().map(|item| item.id).collect();
        for process in &self.proposed {
            let gap = process.iter().skip_while(|id| there.contains(id)).find(|id| there.contains(id));
            require(gap.is_none(), "OrderPerSlot", || format!("{gap:?} is there, but not all before it"))?;
        }
        Ok(())
    }
}

/// The state machine never holds what the log has not.
pub struct AppliedNeverAhead;

impl AppliedNeverAhead {
    pub fn check_hand_over(index: LogIndex, log_end: LogIndex) -> Checked {
        require(index <= log_end, "AppliedNeverAhead", || format!("{index} is applied, the log ends at {log_end}"))
    }

    pub fn check_restart(contents: &Contents) -> Checked {
        AppliedNeverAhead::check_hand_over(contents.seen.applied, contents.seen.last_index())
    }
}

/// No two processes lead in one term.
#[derive(Default)]
pub struct OneLeaderPerTerm {
    leaders: BTreeMap<Term, u64>,
}

impl OneLeaderPerTerm {
    pub fn on_lead(&mut self, term: Term, process: u64) -> Checked {
        let leader = *self.leaders.entry(term).or_insert(process);
        require(leader == process, "OneLeaderPerTerm", || format!("processes {leader} and {process} lead in {term}"))
    }
}

/// A process starts from what any crash leaves behind, unless what was safe is damaged.
pub fn restart_works(error: &str) -> Violation {
    Violation { checker: "RestartWorks", what: format!("refused to start: {error}") }
}

/// A log with a damaged entry is not served from.
pub fn damage_refused() -> Violation {
    Violation { checker: "DamageRefused", what: "started from a log with a damaged entry".to_owned() }
}

/// When the faults end, everything proposed is committed and applied.
pub fn settles(is_settled: bool, what: impl FnOnce() -> String) -> Checked {
    require(is_settled, "Settles", what)
}
