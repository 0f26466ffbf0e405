//! ADDSLOTS to SETSLOT, in the words of redis-server 7.

use super::super::samples::{cluster, migration_id, node_id, range, serving, slot};
use super::super::{Change, ClusterMap, OpenSlot, Outcome};
use super::{done, elect, owners, refused};
use crate::ids::{ConfigEpoch, GroupId};
use basalt_storage::clock::UnixMs;

const AT: UnixMs = UnixMs(1);

fn assign(number: u8, first: u16, last: u16) -> Change {
    Change::AssignSlots { node: node_id(number), slots: vec![range(first, last)] }
}

fn migrating(number: u8, at: u16, to: u8) -> Change {
    Change::OpenMigrating { node: node_id(number), slot: slot(at), to: node_id(to) }
}

fn importing(number: u8, at: u16, from: u8) -> Change {
    Change::OpenImporting { node: node_id(number), slot: slot(at), from: node_id(from) }
}

fn give(number: u8, at: u16, to: u8) -> Change {
    Change::GiveSlot { node: node_id(number), slot: slot(at), to: node_id(to), id: migration_id(7), at: AT }
}

/// Two masters and a replica of the second; the first has slots 1 to 3.
fn small() -> ClusterMap {
    let mut map = cluster(3);
    done(&mut map, assign(1, 1, 3));
    done(&mut map, Change::Replicate { node: node_id(3), master: node_id(2) });
    map
}

#[test]
fn slots_are_assigned_all_or_none() {
    let mut map = small();
    let node = node_id(1);
    let several = |slots: &[u16]| slots.iter().map(|&number| range(number, number)).collect::<Vec<_>>();
    assert_eq!(refused(&mut map, assign(2, 0, 1)), "Slot 1 is already busy");
    let twice = Change::AssignSlots { node, slots: several(&[5, 6, 5]) };
    assert_eq!(refused(&mut map, twice), "Slot 5 specified multiple times");
    let busy_first = Change::AssignSlots { node, slots: several(&[3, 5, 5]) };
    assert_eq!(refused(&mut map, busy_first), "Slot 3 is already busy");
    assert_eq!(refused(&mut map, assign(3, 9, 9)), "Please use ADDSLOTS only with masters.");

    let free = Change::UnassignSlots { node, slots: several(&[1, 9]) };
    assert_eq!(refused(&mut map, free), "Slot 9 is already unassigned");
    let twice = Change::UnassignSlots { node, slots: several(&[1, 1]) };
    assert_eq!(refused(&mut map, twice), "Slot 1 specified multiple times");
    let foreign = Change::UnassignSlots { node: node_id(2), slots: several(&[1]) };
    assert_eq!(done(&mut map, foreign), Outcome::Unchanged);
    done(&mut map, Change::UnassignSlots { node, slots: several(&[1, 3]) });
    assert_eq!(owners(&map, [1, 2, 3]), [0, 1, 0]);
    done(&mut map, Change::FlushSlots { node });
    assert_eq!(map.slots().assigned(), 0);
    assert_eq!(done(&mut map, Change::FlushSlots { node }), Outcome::Unchanged);
}

#[test]
fn opening_is_refused_as_redis_refuses_it() {
    let mut map = small();
    assert_eq!(refused(&mut map, migrating(1, 9, 2)), "I'm not the owner of hash slot 9");
    assert_eq!(refused(&mut map, migrating(1, 1, 3)), "Target node is not a master");
    let unknown = format!("I don't know about node {}", node_id(9));
    assert_eq!(refused(&mut map, migrating(1, 1, 9)), unknown);
    assert_eq!(refused(&mut map, importing(1, 9, 9)), unknown);
    assert_eq!(refused(&mut map, importing(1, 1, 2)), "I'm already the owner of hash slot 1");
    assert_eq!(refused(&mut map, importing(1, 9, 3)), "Target node is not a master");
    assert_eq!(refused(&mut map, importing(3, 9, 1)), "Please use SETSLOT only with masters.");
    assert_eq!(refused(&mut map, give(1, 1, 9)), format!("Unknown node {}", node_id(9)));
    assert_eq!(refused(&mut map, give(1, 1, 3)), "Target node is not a master");
}

#[test]
fn a_slot_is_opened_handed_over_and_closed() {
    let mut map = small();
    done(&mut map, importing(2, 1, 1));
    done(&mut map, migrating(1, 1, 2));
    assert_eq!(done(&mut map, migrating(1, 1, 2)), Outcome::Unchanged);
    let (one, two) = (GroupId(1), GroupId(2));
    assert_eq!(map.open_slots()[&(one, slot(1))], OpenSlot::Migrating { to: two });
    assert_eq!(map.open_slots()[&(two, slot(1))], OpenSlot::Importing { from: one });

    // The target is told first, then the source.
    assert_eq!(done(&mut map, give(2, 1, 2)), Outcome::HandingOver(migration_id(7)));
    assert_eq!(done(&mut map, give(1, 1, 2)), Outcome::StillHandingOver(migration_id(7)));
    assert_eq!(owners(&map, [1]), [1]);
    let seen = map.version();
    done(&mut map, Change::CommitMigration { id: migration_id(7), seen, at: AT });
    assert_eq!(owners(&map, [1]), [2]);
    assert!(map.open_slots().is_empty() && map.migrations().is_empty());
    assert_eq!(map.shown_epoch(node_id(2)), map.current_epoch());
    // Everybody else has nothing to do.
    assert_eq!(done(&mut map, give(1, 1, 2)), Outcome::Unchanged);
}

#[test]
fn a_bystander_assigns_what_is_free_and_moves_nothing() {
    let mut map = cluster(3);
    done(&mut map, assign(1, 1, 1));
    assert_eq!(done(&mut map, give(3, 1, 2)), Outcome::Unchanged);
    done(&mut map, give(3, 2, 2));
    assert_eq!(owners(&map, [1, 2]), [1, 2]);
}

#[test]
fn closing_clears_only_the_flags_of_the_node_that_is_told() {
    let mut map = small();
    done(&mut map, importing(2, 1, 1));
    done(&mut map, migrating(1, 1, 2));
    done(&mut map, Change::CloseSlot { node: node_id(1), slot: slot(1) });
    assert_eq!(map.open_slots().len(), 1);
    done(&mut map, Change::CloseSlot { node: node_id(2), slot: slot(1) });
    assert!(map.open_slots().is_empty());
}

#[test]
fn open_slots_follow_the_group_to_its_new_leader() {
    let mut map = serving(3);
    done(&mut map, migrating(1, 1, 2));
    done(&mut map, Change::AddReplica { group: GroupId(1), node: node_id(3), wanted: super::super::Wanted::Voter });
    elect(&mut map, 1, 3);
    assert_eq!(owners(&map, [1]), [3]);
    assert_eq!(map.open_slots()[&(GroupId(1), slot(1))], OpenSlot::Migrating { to: GroupId(2) });
    done(&mut map, Change::CloseSlot { node: node_id(3), slot: slot(1) });
    assert!(map.open_slots().is_empty());
}

#[test]
fn a_repair_takes_a_slot_from_whoever_has_it() {
    let mut map = small();
    done(&mut map, migrating(1, 1, 2));
    done(&mut map, importing(2, 1, 1));
    let outcome = done(&mut map, Change::ForceOwn { node: node_id(2), slot: slot(1) });
    assert_eq!(outcome, Outcome::Bumped(map.current_epoch()));
    assert_eq!(owners(&map, [1, 2]), [2, 1]);
    assert!(map.open_slots().is_empty());
}

#[test]
fn epochs_are_bumped_only_by_those_who_have_not_the_highest() {
    let mut map = cluster(2);
    let node = node_id(1);
    let highest = map.current_epoch();
    assert_eq!(done(&mut map, Change::BumpEpoch { node }), Outcome::Bumped(highest.next()));
    assert_eq!(done(&mut map, Change::BumpEpoch { node }), Outcome::StillHighest(highest.next()));
    let set = Change::SetConfigEpoch { node, epoch: ConfigEpoch(4) };
    assert!(refused(&mut map, set.clone()).starts_with("The user can assign a config epoch only when"));
    let mut map = cluster(1);
    done(&mut map, set.clone());
    assert_eq!(refused(&mut map, set), "Node config epoch is already non-zero");
}

#[test]
fn a_transaction_is_applied_wholly_or_not() {
    let mut map = small();
    let half = Change::All(vec![assign(2, 9, 9), assign(2, 1, 1)]);
    assert_eq!(refused(&mut map, half), "Slot 1 is already busy");
    let version = map.version();
    let outcome = done(&mut map, Change::All(vec![assign(2, 9, 9), Change::BumpEpoch { node: node_id(2) }]));
    assert_eq!(map.version(), version.next());
    assert!(matches!(outcome, Outcome::All(outcomes) if outcomes.len() == 2));
    assert_eq!(refused(&mut map, Change::All(vec![Change::All(vec![])])), "A change inside a change is too much");
}
