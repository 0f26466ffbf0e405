//! Nodes that come, with and without claims, once and again.

use super::super::samples::{alone, alone_in, cluster, joining, node_id, range, slot};
use super::super::{Change, Joining, Mode, Outcome, Role, Settings, SlotClaim, Wanted};
use super::{done, owners, refused};
use crate::ids::{ConfigEpoch, GroupId, Incarnation, ReplicaId, SlotEpoch, Term};

fn join(joining: Joining) -> Change {
    Change::Join(Box::new(joining))
}

/// Node `number` with an epoch and one range of slots.
fn claiming(number: u8, epoch: u64, first: u16, last: u16) -> Joining {
    let claims = vec![SlotClaim { slots: range(first, last), epoch: SlotEpoch(3) }];
    Joining { epoch: ConfigEpoch(epoch), claims, ..joining(number) }
}

#[test]
fn slots_that_were_assigned_before_the_meeting_come_along() {
    let mut map = alone(1);
    done(&mut map, Change::AssignSlots { node: node_id(1), slots: vec![range(0, 9)] });
    done(&mut map, Change::SetConfigEpoch { node: node_id(1), epoch: ConfigEpoch(1) });
    done(&mut map, join(claiming(2, 2, 10, 19)));
    assert_eq!(owners(&map, [9, 10, 19, 20]), [1, 2, 2, 0]);
    assert_eq!(map.shown_epoch(node_id(2)), ConfigEpoch(2));
    // The home group goes on, with a later epoch than the one it has known.
    assert_eq!(map.slots().info(slot(10)).epoch, SlotEpoch(4));
    let group = map.group(GroupId(2)).unwrap();
    assert_eq!((group.members.leader.node, group.members.leader.term), (node_id(2), Term(1)));
    assert_eq!((map.role(node_id(2)), map.member_count()), (Some(Role::Master), 2));
}

#[test]
fn of_two_claims_the_one_with_the_higher_epoch_holds() {
    let mut map = alone(1);
    done(&mut map, Change::AssignSlots { node: node_id(1), slots: vec![range(0, 9)] });
    done(&mut map, Change::SetConfigEpoch { node: node_id(1), epoch: ConfigEpoch(5) });
    done(&mut map, join(claiming(2, 5, 5, 12)));
    assert_eq!(owners(&map, [5, 9, 10, 12]), [1, 1, 2, 2]);
    assert_ne!(map.shown_epoch(node_id(2)), ConfigEpoch(5));
    done(&mut map, join(claiming(3, 9, 0, 4)));
    assert_eq!(owners(&map, [0, 4, 5]), [3, 3, 1]);
    assert_eq!(map.current_epoch(), ConfigEpoch(9));
}

#[test]
fn joining_again_changes_nothing_and_other_claims_to_a_name_are_refused() {
    let mut map = cluster(2);
    assert_eq!(done(&mut map, join(joining(2))), Outcome::Unchanged);
    let elsewhere = Joining { home: GroupId(77), ..joining(2) };
    assert!(refused(&mut map, join(elsewhere)).contains("with another home group"));
    let same_group = Joining { node: node_id(3), ..joining(2) };
    assert!(refused(&mut map, join(same_group)).starts_with("Group 2 exists already"));
    let twice = Joining { claims: vec![SlotClaim { slots: range(1, 2), epoch: SlotEpoch(0) }; 2], ..joining(3) };
    assert_eq!(refused(&mut map, join(twice)), "Slot 1 specified multiple times");
}

#[test]
fn what_was_removed_comes_back_only_as_something_new() {
    let mut map = cluster(2);
    done(&mut map, Change::Forget { node: node_id(1), target: node_id(2) });
    assert!(map.tombstones().contains_key(&node_id(2)) && map.is_retired(GroupId(2)));
    // A message from before, or a node that was never reset.
    assert!(refused(&mut map, join(joining(2))).contains("was removed from this cluster"));
    let reset = Joining { home: GroupId(20), incarnation: Incarnation(2), ..joining(2) };
    assert!(refused(&mut map, join(Joining { incarnation: Incarnation(0), ..reset.clone() })).contains("removed"));
    done(&mut map, join(reset));
    assert!(map.tombstones().is_empty() && map.member(node_id(2)).is_some());
}

#[test]
fn a_node_that_is_leaving_has_to_wait() {
    let mut map = cluster(2);
    let (group, node) = (GroupId(1), node_id(2));
    done(&mut map, Change::AddReplica { group, node, wanted: Wanted::Voter });
    done(&mut map, Change::Leave { node });
    assert_eq!((map.member(node).is_some(), map.node(node).is_some()), (false, true));
    let reset = Joining { home: GroupId(20), incarnation: Incarnation(2), ..joining(2) };
    assert!(refused(&mut map, join(reset)).contains("is being removed"));
}

#[test]
fn an_older_process_has_no_say() {
    let mut map = cluster(2);
    let register = |incarnation| Change::Register {
        node: node_id(2),
        incarnation: Incarnation(incarnation),
        address: super::super::samples::address(9),
        zone: "north".to_owned(),
    };
    done(&mut map, register(5));
    assert_eq!(map.node(node_id(2)).unwrap().zone, "north");
    assert!(refused(&mut map, register(4)).contains("An older process"));
    assert_eq!(done(&mut map, register(5)), Outcome::Unchanged);
}

#[test]
fn all_nodes_are_in_one_mode_and_in_cache_mode_each_has_its_own_group_only() {
    let mut durable = alone(1);
    let cache_node = || Joining { mode: Mode::Cache, ..joining(2) };
    let why = "This cluster is in durable mode, and node 0202020202020202020202020202020202020202 in cache mode: all \
               nodes of a cluster must be in one";
    assert_eq!(refused(&mut durable, join(cache_node())), why);
    let mut cache = alone_in(1, Mode::Cache);
    assert!(refused(&mut cache, join(joining(2))).starts_with("This cluster is in cache mode"));
    done(&mut cache, join(cache_node()));
    done(&mut cache, Change::AssignSlots { node: node_id(1), slots: vec![range(0, 9)] });
    let with = |replicas| Change::Configure(Settings { replicas, ..Settings::default() });
    done(&mut cache, with(0));
    let add = Change::AddReplica { group: GroupId(1), node: node_id(2), wanted: Wanted::Voter };
    for change in [Change::Replicate { node: node_id(2), master: node_id(1) }, add.clone()] {
        assert!(refused(&mut cache, change).contains("there are no replicas"));
    }
    // Whoever has started again begins anew, under a later number and with the same slots.
    done(&mut cache, Change::Refound { group: GroupId(1), node: node_id(1) });
    let members = &cache.group(GroupId(1)).unwrap().members;
    assert_eq!((members.replicas.len(), members.leader.replica, members.leader.term), (1, ReplicaId(2), Term(0)));
    assert_eq!(owners(&cache, [0, 9, 10]), [1, 1, 0]);
    // Unless they are asked for.
    done(&mut cache, with(1));
    done(&mut cache, add);
}
