//! What all nodes together must never contradict. Told about everything that happens, by whoever it happens to.

use basalt_cluster::Slot;
use basalt_cluster::group::{CommittedEntry, LogIndex, Term};
use basalt_cluster::ids::{GroupId, MapVersion};
use basalt_cluster::map::ClusterMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was found to be wrong: the name of the checker, and what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub checker: &'static str,
    pub what: String,
}

pub type Checked = Result<(), Violation>;

pub fn require(holds: bool, checker: &'static str, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { checker, what: what() }) }
}

#[derive(Default)]
pub struct Truth {
    leaders: BTreeMap<(GroupId, Term), u64>,
    /// Digests of what is committed, and of the state that it leads to.
    committed: BTreeMap<(GroupId, LogIndex), u64>,
    states: BTreeMap<(GroupId, LogIndex), u64>,
    /// The newest map that any replica of the root group has applied.
    map: Option<Arc<ClusterMap>>,
    /// A digest of all that was said here.
    pub events: u64,
    pub commits_of_migrations: u64,
}

pub fn fold(digest: u64, number: u64) -> u64 {
    (digest ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(7)
}

pub fn digest_of(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let digest = words.iter().fold(0xcbf2_9ce4_8422_2325, |digest, word| fold(digest, u64::from_le_bytes(*word)));
    rest.iter().fold(fold(digest, bytes.len() as u64), |digest, byte| fold(digest, u64::from(*byte)))
}

impl Truth {
    pub fn note(&mut self, number: u64) {
        self.events = fold(self.events, number);
    }

    /// `OneLeaderPerTerm`.
    pub fn on_lead(&mut self, group: GroupId, term: Term, process: u64) -> Checked {
        self.note(u64::from(group.0) << 32 | term.0);
        let leader = *self.leaders.entry((group, term)).or_insert(process);
        require(leader == process, "OneLeaderPerTerm", || format!("{leader} and {process} lead {group} in {term}"))
    }

    /// `SameLog`: at an index, all replicas of a group commit the same.
    pub fn on_commit(&mut self, group: GroupId, entry: &CommittedEntry) -> Checked {
        let batches = entry.batches().map(digest_of).fold(entry.time.map_or(1, |time| time.0 as u64), fold);
        let known = *self.committed.entry((group, entry.index)).or_insert_with(|| batches);
        self.events = fold(self.events, batches);
        require(known == batches, "SameLog", || format!("group {group} has committed two entries at {}", entry.index))
    }

    /// `ReplicasConverge`: at an index, all replicas of a group have the same state, whether it was applied, or came in
    /// a snapshot, or was there after a restart.
    pub fn on_state(&mut self, group: GroupId, applied: LogIndex, digest: u64) -> Checked {
        let known = *self.states.entry((group, applied)).or_insert(digest);
        require(known == digest, "ReplicasConverge", || format!("group {group} has two states at {applied}"))
    }

    /// `MapIsSound`: what must hold in every map holds, and it only grows.
    pub fn on_map(&mut self, map: &Arc<ClusterMap>) -> Checked {
        let known = self.version();
        if map.version() <= known {
            return Ok(());
        }
        self.note(map.version().0);
        map.check().map_err(|broken| Violation { checker: "MapIsSound", what: broken.to_string() })?;
        self.commits_of_migrations = map.migrations().values().filter(|one| one.is_committed()).count() as u64;
        self.map = Some(map.clone());
        Ok(())
    }

    pub fn version(&self) -> MapVersion {
        self.map.as_ref().map_or(MapVersion(0), |map| map.version())
    }

    pub fn map(&self) -> Option<&Arc<ClusterMap>> {
        self.map.as_ref()
    }

    /// Who owns a slot, as far as anybody can know.
    pub fn owner(&self, slot: Slot) -> Option<GroupId> {
        self.map.as_ref()?.slots().owner(slot)
    }
}
