//! What this node tells the root group of itself and of the groups that it leads: where it is, who leads, which
//! replicas have come and gone. Told again until the map has it.

use super::anew;
use super::decide::Decision;
use super::host::Node;
use crate::group::{ReplicaProgress, Role};
use crate::ids::{GroupId, ReplicaId, Term};
use crate::map::{Change, ClusterMap, Members, Mode, ReplicaStatus, Report};
use std::sync::Arc;

/// One round: whatever the map does not know yet.
pub(super) fn run(node: &Arc<Node>) {
    anew::run(node);
    for change in missing(node) {
        match node.decide(change.clone()) {
            Decision::Made(_) => {}
            Decision::Refused(why) => tracing::debug!(?change, %why, "a report was refused"),
            // There is no use in asking for the others.
            Decision::Unknown => return,
        }
    }
}

fn missing(node: &Node) -> Vec<Change> {
    let map = node.map();
    let mut changes: Vec<Change> = register(node, &map).into_iter().collect();
    for (id, hosted) in node.hosted().all() {
        changes.extend(about_group(&map, id, hosted.replica, hosted.group.role(), &hosted.group.replicas()));
    }
    changes
}

/// What the map does not say yet of a group, as far as one of its replicas has to tell: `present` is whom a leader has.
pub fn about_group(
    map: &ClusterMap,
    group: GroupId,
    replica: ReplicaId,
    role: Role,
    present: &[ReplicaProgress],
) -> Vec<Change> {
    let (Role::Leader { term, serves: true }, Some(members)) = (role, map.members(group)) else {
        return Vec::new();
    };
    let lead = lead(members, group, replica, term);
    lead.into_iter().chain(replicas(map, members, group, term, present)).collect()
}

/// A process that has started, or has moved.
fn register(node: &Node, map: &ClusterMap) -> Option<Change> {
    let known = map.member(node.me)?;
    let is_known =
        known.incarnation == node.incarnation && known.address == *node.address.lock() && known.zone == node.zone;
    (!is_known).then(|| node.registration())
}

fn lead(members: &Members, group: GroupId, replica: ReplicaId, term: Term) -> Option<Change> {
    let known = members.leader;
    let is_news = (known.replica, known.term) != (replica, term) && known.term <= term;
    is_news.then_some(Change::LeaderChanged { group, replica, term })
}

/// Which replicas the group has, if that is not what the map says.
fn replicas(
    map: &ClusterMap,
    members: &Members,
    group: GroupId,
    term: Term,
    present: &[ReplicaProgress],
) -> Option<Change> {
    if present.is_empty() || map.mode() == Mode::Cache && !is_known_to_members(present) {
        return None;
    }
    let status =
        |progress: &ReplicaProgress| if progress.votes { ReplicaStatus::Voter } else { ReplicaStatus::Learner };
    let present: Vec<(ReplicaId, ReplicaStatus)> =
        present.iter().map(|progress| (progress.replica, status(progress))).collect();
    let of =
        |id: ReplicaId| present.iter().find(|(there, _)| *there == id).map_or(ReplicaStatus::Planned, |(_, is)| *is);
    let is_known =
        members.replicas.iter().all(|replica| replica.status == of(replica.id) && !has_gone(replica, &present));
    (!is_known).then(|| Change::ReportReplicas { group, report: Report { term, seen: map.version(), present } })
}

/// Whether the voters could go on without their leader. raft-rs elects by the members of which one knows that they are
/// committed; if only the leader does, and ends, those who are left count on others who have ended before. On disks all
/// of them come back.
fn is_known_to_members(present: &[ReplicaProgress]) -> bool {
    let voters = || present.iter().filter(|one| one.votes);
    let is_there = |one: &ReplicaProgress| one.is_recent && !one.awaits_snapshot;
    let knowing = voters().filter(|one| one.knows_members).count();
    2 * knowing > voters().count() && voters().all(|one| one.knows_members || !is_there(one))
}

/// Whether a replica that was to go has done so.
fn has_gone(replica: &crate::map::ReplicaInfo, present: &[(ReplicaId, ReplicaStatus)]) -> bool {
    replica.wanted == crate::map::Wanted::Leaving && present.iter().all(|(there, _)| *there != replica.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::LogIndex;

    fn voter(number: u64) -> ReplicaProgress {
        ReplicaProgress {
            replica: ReplicaId(number),
            matched: LogIndex(9),
            votes: true,
            knows_members: true,
            is_recent: true,
            awaits_snapshot: false,
        }
    }

    #[test]
    fn members_are_known_to_a_majority_and_to_all_who_are_there() {
        let ignorant = |number| ReplicaProgress { knows_members: false, ..voter(number) };
        let silent = |number| ReplicaProgress { is_recent: false, ..ignorant(number) };
        assert!(is_known_to_members(&[voter(1)]));
        assert!(!is_known_to_members(&[voter(1), ignorant(2)]));
        assert!(!is_known_to_members(&[voter(1), silent(2)]), "with the leader nobody knows");
        assert!(
            !is_known_to_members(&[voter(1), voter(2), ignorant(3)]),
            "it may have more in its log than the second"
        );
        assert!(is_known_to_members(&[voter(1), voter(2), silent(3)]));
        assert!(is_known_to_members(&[voter(1), voter(2), ReplicaProgress { votes: false, ..ignorant(3) }]));
    }
}
