//! What came of comparing the replicas of a group.

use super::wire::Found;
use basalt_cluster::group::LogIndex;
use basalt_cluster::ids::{GroupId, NodeId};
use basalt_cluster::map::SlotRange;
use basalt_storage::engine::StateDigest;
use basalt_storage::slot::Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub group: GroupId,
    /// Who has compared.
    pub leader: Option<NodeId>,
    /// The entry of the log after which they were compared; of the last portion of slots.
    pub applied: LogIndex,
    /// The nodes whose replicas were compared, the leader first.
    pub compared: Vec<NodeId>,
    /// Those whose replicas were not, and why.
    pub missing: Vec<(NodeId, String)>,
    /// The replicas that have something else than most, or than the leader if there is no majority.
    pub differences: Vec<(NodeId, Difference)>,
    /// Of what most have, for people who compare it with another one.
    pub digest: u64,
    /// That the leader's replica has read.
    pub bytes: u64,
    pub took: Duration,
    /// Why nothing was compared, or not all slots were.
    pub failure: Option<String>,
}

/// In what a replica differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// In ascending order.
    pub slots: Vec<Slot>,
    /// It remembers something else of slots on their way.
    pub has_other_marks: bool,
}

/// A report in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Equal,
    Different,
    /// Those that were compared are equal, and others were not compared.
    Incomplete,
    /// There is one replica, and nothing to compare it with.
    Alone,
    Failed,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::Different => "different",
            Verdict::Incomplete => "incomplete",
            Verdict::Alone => "alone",
            Verdict::Failed => "failed",
        }
    }
}

impl Difference {
    fn merge(&mut self, other: Difference) {
        self.slots.extend(other.slots);
        self.has_other_marks |= other.has_other_marks;
    }

    /// The slots as text: `5 7-9`, and `marks`.
    pub fn text(&self) -> String {
        let of_range = |range: SlotRange| match (range.first().number(), range.last().number()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let ranges = SlotRange::of_slots(self.slots.iter().copied()).into_iter().map(of_range);
        let marks = self.has_other_marks.then(|| "marks".to_owned());
        ranges.chain(marks).collect::<Vec<_>>().join(" ")
    }
}

impl Report {
    pub fn new(group: GroupId) -> Report {
        Report {
            group,
            leader: None,
            applied: LogIndex(0),
            compared: Vec::new(),
            missing: Vec::new(),
            differences: Vec::new(),
            digest: 0,
            bytes: 0,
            took: Duration::ZERO,
            failure: None,
        }
    }

    pub fn failed(group: GroupId, why: impl Into<String>) -> Report {
        Report { failure: Some(why.into()), ..Report::new(group) }
    }

    pub fn verdict(&self) -> Verdict {
        match self {
            // What was found is true whatever came later.
            Report { differences, .. } if !differences.is_empty() => Verdict::Different,
            Report { failure: Some(_), .. } => Verdict::Failed,
            Report { missing, .. } if !missing.is_empty() => Verdict::Incomplete,
            Report { compared, .. } if compared.len() < 2 => Verdict::Alone,
            _ => Verdict::Equal,
        }
    }

    /// The slots in which any replica differs.
    pub fn differing_slots(&self) -> BTreeSet<Slot> {
        self.differences.iter().flat_map(|(_, difference)| difference.slots.iter().copied()).collect()
    }

    /// Takes in what was found of one portion of the slots, the leader's first.
    pub fn add(&mut self, found: &[(NodeId, Found)]) {
        let Some((_, own)) = found.first() else { return };
        self.applied = own.applied;
        self.bytes += own.digest.bytes;
        self.digest = own.digest.slots.iter().fold(self.digest, |sum, (slot, of_slot)| {
            let place = 2 * u64::from(slot.number()) + 1;
            sum.wrapping_add(of_slot.wrapping_mul(place))
        });
        for (node, difference) in differences(found) {
            match self.differences.iter_mut().find(|(other, _)| *other == node) {
                Some((_, known)) => known.merge(difference),
                None => self.differences.push((node, difference)),
            }
        }
    }

    /// The replica of this node was not compared, at least not in all slots.
    pub fn miss(&mut self, node: NodeId, why: String) {
        self.compared.retain(|other| *other != node);
        self.missing.push((node, why));
    }
}

/// Who differs in what from most. If there is no majority, the leader's word, which is the first, is as good as any.
fn differences(found: &[(NodeId, Found)]) -> Vec<(NodeId, Difference)> {
    let of_slots = |digest: &StateDigest| digest.slots.iter().copied().collect::<BTreeMap<Slot, u64>>();
    let slots: Vec<BTreeMap<Slot, u64>> = found.iter().map(|(_, found)| of_slots(&found.digest)).collect();
    let mut differences = vec![Difference::default(); found.len()];
    let all: BTreeSet<Slot> = slots.iter().flat_map(|slots| slots.keys().copied()).collect();
    for slot in all {
        let digests: Vec<Option<u64>> = slots.iter().map(|slots| slots.get(&slot).copied()).collect();
        for at in minority(&digests) {
            differences[at].slots.push(slot);
        }
    }
    let marks: Vec<u64> = found.iter().map(|(_, found)| found.digest.marks).collect();
    for at in minority(&marks) {
        differences[at].has_other_marks = true;
    }
    let both = found.iter().map(|(node, _)| *node).zip(differences);
    both.filter(|(_, difference)| *difference != Difference::default()).collect()
}

/// The places of those that have not what most have, or the first one.
fn minority<T: PartialEq>(all: &[T]) -> Vec<usize> {
    let votes = |one: &T| all.iter().filter(|other| *other == one).count();
    let Some(first) = all.first().filter(|first| votes(first) < all.len()) else { return Vec::new() };
    let most = all.iter().find(|one| 2 * votes(one) > all.len()).unwrap_or(first);
    (0..all.len()).filter(|at| all[*at] != *most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId::new([number; NodeId::BYTES])
    }

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn found(name: u8, slots: &[(u16, u64)]) -> (NodeId, Found) {
        let slots = slots.iter().map(|(number, digest)| (slot(*number), *digest)).collect();
        (node(name), Found { applied: LogIndex(4), digest: StateDigest { slots, marks: 0, bytes: 10 } })
    }

    fn report(portions: &[&[(NodeId, Found)]]) -> Report {
        let mut report = Report::new(GroupId(1));
        report.compared = portions[0].iter().map(|(node, _)| *node).collect();
        portions.iter().for_each(|found| report.add(found));
        report
    }

    #[test]
    fn who_differs_from_most_is_named_with_the_slots() {
        let portion = [found(1, &[(1, 5), (2, 6)]), found(2, &[(1, 5), (2, 7)]), found(3, &[(1, 5), (2, 6), (9, 1)])];
        let report = report(&[&portion, &[found(1, &[]), found(2, &[(3, 3)]), found(3, &[])]]);
        assert_eq!(report.verdict(), Verdict::Different);
        let named: Vec<_> = report.differences.iter().map(|(node, it)| (*node, it.text())).collect();
        assert_eq!(named, [(node(2), "2-3".to_owned()), (node(3), "9".to_owned())]);
        assert_eq!(report.differing_slots().len(), 3);
        assert_eq!(report.bytes, 20);
    }

    #[test]
    fn a_leader_that_is_wrong_is_named_as_well() {
        let portion = [found(1, &[(1, 5)]), found(2, &[(1, 6)]), found(3, &[(1, 6)])];
        assert_eq!(report(&[&portion]).differences[0].0, node(1));
        // Of two, nobody knows.
        assert_eq!(report(&[&portion[..2]]).differences[0].0, node(2));
    }

    #[test]
    fn who_was_not_compared_is_not_different() {
        let equal = [found(1, &[(1, 5)]), found(2, &[(1, 5)])];
        let mut compared = report(&[&equal]);
        assert_eq!(compared.verdict(), Verdict::Equal);
        compared.miss(node(2), "away".to_owned());
        assert_eq!((compared.verdict(), compared.compared), (Verdict::Incomplete, vec![node(1)]));
        assert_eq!(report(&[&equal[..1]]).verdict(), Verdict::Alone);
        assert_eq!(Report::failed(GroupId(1), "why").verdict(), Verdict::Failed);
    }

    #[test]
    fn marks_count_too() {
        let mut portion = [found(1, &[]), found(2, &[])];
        portion[1].1.digest.marks = 1;
        assert_eq!(report(&[&portion]).differences[0].1.text(), "marks");
    }
}
