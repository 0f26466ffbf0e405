//! What this node counts of the checks that it has led, for metrics.

use super::report::{Report, Verdict};
use basalt_cluster::ids::GroupId;
use basalt_storage::clock::UnixMs;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub struct Figures {
    /// By verdict.
    checks: [AtomicU64; COUNTED.len()],
    known: Mutex<BTreeMap<GroupId, Known>>,
}

/// What there is to count: where there is one replica, nothing is compared.
const COUNTED: [Verdict; 4] = [Verdict::Equal, Verdict::Different, Verdict::Incomplete, Verdict::Failed];

/// What was last found of a group.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// When all of its replicas were last found equal in all slots.
    pub equal_at: Option<UnixMs>,
    /// In how many slots replicas differed when they were last compared.
    pub differing_slots: usize,
}

/// Whether all slots were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    All,
    Some,
}

impl Figures {
    pub(super) fn note(&self, report: &Report, extent: Extent, now: UnixMs) {
        let verdict = report.verdict();
        if let Some(at) = COUNTED.iter().position(|counted| *counted == verdict) {
            self.checks[at].fetch_add(1, Relaxed);
        }
        let mut known = self.known.lock();
        let known = known.entry(report.group).or_default();
        match verdict {
            Verdict::Equal if extent == Extent::All => *known = Known { equal_at: Some(now), differing_slots: 0 },
            // Those of which the group remembers something else are of no number.
            Verdict::Different => known.differing_slots = report.differing_slots().len().max(1),
            _ => {}
        }
    }

    /// Checks by what came of them.
    pub fn checks(&self) -> impl Iterator<Item = (&'static str, u64)> {
        COUNTED.iter().zip(&self.checks).map(|(verdict, count)| (verdict.name(), count.load(Relaxed)))
    }

    pub fn known(&self, group: GroupId) -> Option<Known> {
        self.known.lock().get(&group).copied()
    }
}
