//! What changes do to a map: laws for any of them, and scripts for each command.

mod joining;
mod laws;
mod membership;
mod migrations;
mod slots;
mod views;

use super::samples::{node_id, slot};
use super::{Applied, Change, ClusterMap, Outcome, Refusal};
use crate::ids::{GroupId, ReplicaId, Term};

/// Applies a change that must be accepted, and sees that the map stays sound.
fn done(map: &mut ClusterMap, change: Change) -> Outcome {
    let Applied { outcome, .. } = map.apply(&change).unwrap_or_else(|refusal| panic!("{change:?}: {refusal}"));
    map.check().unwrap();
    outcome
}

/// The words with which a change is refused.
fn refused(map: &mut ClusterMap, change: Change) -> String {
    let before = map.clone();
    let refusal: Refusal = map.apply(&change).expect_err("the change should have been refused");
    assert_eq!(*map, before);
    refusal.to_string()
}

/// The replica on node `number` is elected in `group`.
fn elect(map: &mut ClusterMap, group: u32, number: u8) {
    let members = map.members(GroupId(group)).unwrap();
    let replica: ReplicaId = members.replicas.iter().find(|replica| replica.node == node_id(number)).unwrap().id;
    let term = Term(members.leader.term.0 + 1);
    done(map, Change::LeaderChanged { group: GroupId(group), replica, term });
}

/// The numbers of the nodes that own these slots.
fn owners<const N: usize>(map: &ClusterMap, slots: [u16; N]) -> [u8; N] {
    slots.map(|number| map.owner(slot(number)).map_or(0, |node| node.as_bytes()[0]))
}
