//! Masters and replicas, failovers, and nodes that go.

use super::super::samples::{address, all_done, cluster, node_id, serving};
use super::super::{
    Change, ClusterMap, Force, Health, Outcome, ReplicaKind, ReplicaStatus, Report, Role, Roles, Wanted,
};
use super::{done, elect, owners, refused};
use crate::ids::{GroupId, Incarnation, MapVersion, ReplicaId, Term};
use basalt_storage::clock::UnixMs;

fn replicate(number: u8, master: u8) -> Change {
    Change::Replicate { node: node_id(number), master: node_id(master) }
}

fn forget(number: u8, target: u8) -> Change {
    Change::Forget { node: node_id(number), target: node_id(target) }
}

fn failover(number: u8, force: Force) -> Change {
    Change::Failover { node: node_id(number), force }
}

/// Node 1 serves everything, node 2 is its replica and up to date, node 3 an empty master.
fn pair() -> ClusterMap {
    let mut map = serving(1);
    for number in [2, 3] {
        done(&mut map, Change::Join(Box::new(super::super::samples::joining(number))));
    }
    done(&mut map, replicate(2, 1));
    let report = all_done(&map, GroupId(1));
    done(&mut map, report);
    map
}

fn role(map: &ClusterMap, number: u8) -> String {
    match map.role(node_id(number)) {
        None => "none".to_owned(),
        Some(Role::Master) => "master".to_owned(),
        Some(Role::ReplicaOf(master)) => format!("replica of {}", master.as_bytes()[0]),
    }
}

#[test]
fn an_empty_master_becomes_a_replica_and_gives_up_its_group() {
    let map = pair();
    assert_eq!(role(&map, 2), "replica of 1");
    assert!(map.is_retired(GroupId(2)));
    let members = &map.group(GroupId(1)).unwrap().members;
    assert_eq!(members.on(node_id(2)).map(|replica| replica.status), Some(ReplicaStatus::Voter));
    assert_eq!(map.replica_kind(GroupId(1), node_id(2)), ReplicaKind::Home);
    assert_eq!(map.shown_epoch(node_id(2)), map.shown_epoch(node_id(1)));
    assert_eq!(map.shard_of(node_id(2)), map.shard_of(node_id(1)));
    let roles = Roles::of(&map);
    assert_eq!(roles.replicas(node_id(1)), [node_id(2)]);
    assert_eq!(roles.masters().collect::<Vec<_>>(), [node_id(1), node_id(3)]);
}

#[test]
fn replicating_is_refused_as_redis_refuses_it() {
    let mut map = pair();
    assert_eq!(refused(&mut map, replicate(3, 9)), format!("Unknown node {}", node_id(9)));
    assert_eq!(refused(&mut map, replicate(3, 3)), "Can't replicate myself");
    assert_eq!(refused(&mut map, replicate(3, 2)), "I can only replicate a master, not a replica.");
    assert_eq!(
        refused(&mut map, replicate(1, 3)),
        "To set a master the node must be empty and without assigned slots."
    );
    assert_eq!(done(&mut map, replicate(2, 1)), Outcome::Unchanged);
}

#[test]
fn a_replica_changes_its_master_and_is_let_go_by_the_former() {
    let mut map = pair();
    done(&mut map, replicate(2, 3));
    assert_eq!(role(&map, 2), "replica of 3");
    let former = &map.group(GroupId(1)).unwrap().members;
    assert_eq!(former.leaving().map(|replica| replica.node).collect::<Vec<_>>(), [node_id(2)]);
    // Back again before it has gone: the old replica must go first.
    done(&mut map, replicate(2, 1));
    assert!(map.group(GroupId(1)).unwrap().members.on(node_id(2)).is_none());
    let report = all_done(&map, GroupId(1));
    done(&mut map, report);
    assert!(!map.group(GroupId(1)).unwrap().members.is_on(node_id(2)));
}

#[test]
fn replicas_of_an_empty_master_go_along_with_it() {
    let mut map = cluster(3);
    done(&mut map, replicate(2, 3));
    done(&mut map, replicate(3, 1));
    assert_eq!([role(&map, 1), role(&map, 2), role(&map, 3)], ["master", "replica of 1", "replica of 1"]);
    assert_eq!(map.groups().len(), 1);
}

#[test]
fn when_a_leader_dies_its_replica_takes_over_and_roles_return() {
    let mut map = pair();
    done(&mut map, Change::SetHealth { node: node_id(1), health: Health::Failed { since: UnixMs(5) } });
    let epoch = map.current_epoch();
    elect(&mut map, 1, 2);
    assert_eq!([role(&map, 1), role(&map, 2)], ["replica of 2", "master"]);
    assert_eq!(owners(&map, [0, 16383]), [2, 2]);
    assert_eq!(map.shown_epoch(node_id(2)), epoch.next());
    // It comes back as a replica; then the group hands over to the one it prefers.
    done(&mut map, Change::SetHealth { node: node_id(1), health: Health::Up });
    assert_eq!(map.group(GroupId(1)).unwrap().preferred, node_id(1));
    elect(&mut map, 1, 1);
    assert_eq!([role(&map, 1), role(&map, 2)], ["master", "replica of 1"]);
}

#[test]
fn a_guest_that_leads_is_shown_with_the_slots_of_both() {
    let mut map = serving(2);
    done(&mut map, Change::AddReplica { group: GroupId(1), node: node_id(2), wanted: Wanted::Voter });
    assert_eq!([role(&map, 1), role(&map, 2)], ["master", "master"]);
    elect(&mut map, 1, 2);
    assert_eq!([role(&map, 1), role(&map, 2)], ["replica of 2", "master"]);
    assert_eq!(owners(&map, [0, 16383]), [2, 2]);
    assert_eq!(map.faced_by(node_id(2)).collect::<Vec<_>>(), [GroupId(1), GroupId(2)]);
    assert_eq!(map.receiving_group(node_id(2)), Some(GroupId(2)));
}

#[test]
fn an_empty_group_keeps_its_master_whoever_leads_it() {
    let mut map = cluster(2);
    done(&mut map, Change::AddReplica { group: GroupId(1), node: node_id(2), wanted: Wanted::Voter });
    elect(&mut map, 1, 2);
    assert_eq!([role(&map, 1), role(&map, 2)], ["master", "master"]);
}

#[test]
fn failover_is_asked_of_a_replica_with_a_full_copy() {
    let mut map = pair();
    assert_eq!(refused(&mut map, failover(1, Force::HandOver)), "You should send CLUSTER FAILOVER to a replica");
    done(&mut map, Change::SetHealth { node: node_id(1), health: Health::Failed { since: UnixMs(5) } });
    assert_eq!(
        refused(&mut map, failover(2, Force::HandOver)),
        "Master is down or failed, please use CLUSTER FAILOVER FORCE"
    );
    done(&mut map, failover(2, Force::Campaign));
    assert_eq!(map.group(GroupId(1)).unwrap().preferred, node_id(2));
    done(&mut map, replicate(3, 1));
    assert!(refused(&mut map, failover(3, Force::Campaign)).contains("does not yet hold a full copy"));
}

#[test]
fn forgetting_is_refused_as_redis_refuses_it_and_repeated_without_an_error() {
    let mut map = pair();
    assert_eq!(refused(&mut map, forget(1, 1)), "I tried hard but I can't forget myself...");
    assert_eq!(refused(&mut map, forget(1, 9)), format!("Unknown node {}", node_id(9)));
    assert_eq!(refused(&mut map, forget(2, 1)), "Can't forget my master!");
    assert!(refused(&mut map, forget(3, 1)).contains("serves slots"));
    done(&mut map, forget(1, 3));
    assert_eq!(done(&mut map, forget(2, 3)), Outcome::Unchanged);
    // The replica goes from sight at once, and for good when its group has parted from it.
    done(&mut map, forget(1, 2));
    assert_eq!(Roles::of(&map).role(node_id(2)), None);
    assert!(map.node(node_id(2)).is_some());
    let report = all_done(&map, GroupId(1));
    done(&mut map, report);
    assert!(map.node(node_id(2)).is_none() && map.tombstones().contains_key(&node_id(2)));
    assert_eq!(done(&mut map, forget(1, 2)), Outcome::Unchanged);
}

#[test]
fn an_empty_master_is_forgotten_by_its_own_replica() {
    let mut map = cluster(3);
    done(&mut map, replicate(3, 2));
    let report = all_done(&map, GroupId(2));
    done(&mut map, report);
    done(&mut map, forget(3, 2));
    assert_eq!([role(&map, 1), role(&map, 3)], ["master", "master"]);
    assert_eq!(map.receiving_group(node_id(3)), Some(GroupId(2)));
}

#[test]
fn the_last_voter_stays() {
    let mut map = cluster(2);
    assert!(refused(&mut map, forget(2, 1)).contains("only voter of the root group"));
    let group = GroupId(1);
    assert!(
        refused(&mut map, Change::RemoveReplica { group, replica: ReplicaId(1) })
            .contains("would be left without a voter")
    );
    // A planned voter is no voter yet.
    done(&mut map, Change::AddReplica { group, node: node_id(2), wanted: Wanted::Voter });
    refused(&mut map, Change::RemoveReplica { group, replica: ReplicaId(1) });
    let report = all_done(&map, group);
    done(&mut map, report);
    done(&mut map, Change::RemoveReplica { group, replica: ReplicaId(1) });
}

#[test]
fn reports_count_only_from_the_leader_and_with_its_knowledge() {
    let mut map = pair();
    let group = GroupId(1);
    let replica = map.group(group).unwrap().members.on(node_id(2)).unwrap().id;
    let unaware = map.version();
    done(&mut map, Change::RemoveReplica { group, replica });
    let present = vec![(ReplicaId(1), ReplicaStatus::Voter)];
    let report = |term: u64, seen: MapVersion| Change::ReportReplicas {
        group,
        report: Report { term: Term(term), seen, present: present.clone() },
    };
    assert_eq!(done(&mut map, report(0, unaware)), Outcome::Unchanged);
    let aware = map.version();
    assert_eq!(done(&mut map, report(3, aware)), Outcome::Unchanged);
    let on_two = |map: &ClusterMap| map.replicas_on(node_id(2)).map(|(group, _)| group).collect::<Vec<_>>();
    assert_eq!((on_two(&map), map.is_gone(group, replica)), (vec![group], false));
    done(&mut map, report(0, aware));
    assert!(map.group(group).unwrap().members.replica(replica).is_none());
    assert_eq!((on_two(&map), map.is_gone(group, replica)), (vec![], true));
    assert!(map.is_gone(GroupId(2), ReplicaId(1)), "its former group was given up");
    assert!(!map.is_gone(group, ReplicaId(99)) && !map.is_gone(GroupId(99), ReplicaId(1)));
}

#[test]
fn older_terms_change_no_leader() {
    let mut map = pair();
    elect(&mut map, 1, 2);
    let old = Change::LeaderChanged { group: GroupId(1), replica: ReplicaId(1), term: Term(1) };
    assert_eq!(done(&mut map, old), Outcome::Unchanged);
    let nobody = Change::LeaderChanged { group: GroupId(1), replica: ReplicaId(77), term: Term(9) };
    assert_eq!(refused(&mut map, nobody), "Group 1 has no such replica");
}

#[test]
fn a_replica_without_a_log_comes_back_as_another() {
    let mut map = pair();
    let group = GroupId(1);
    let old = map.group(group).unwrap().members.on(node_id(2)).unwrap().id;
    done(&mut map, Change::RestartReplica { group, node: node_id(2) });
    let members = &map.group(group).unwrap().members;
    let new = members.on(node_id(2)).unwrap();
    assert!(new.id > old && members.replica(old).is_some_and(|replica| replica.wanted == Wanted::Leaving));
    // With its majority the group has lost everything.
    let epoch = map.slots().info(super::slot(0)).epoch;
    done(&mut map, Change::Refound { group, node: node_id(1) });
    let members = &map.group(group).unwrap().members;
    assert_eq!(members.replicas.len(), 1);
    assert!(members.leader.replica > old && map.slots().info(super::slot(0)).epoch > epoch);
}

#[test]
fn only_a_group_that_has_lost_its_majority_begins_anew_and_only_where_it_is() {
    let mut map = pair();
    let group = GroupId(1);
    let three = Change::AddReplica { group, node: node_id(3), wanted: Wanted::Voter };
    done(&mut map, three);
    let report = all_done(&map, group);
    done(&mut map, report);
    let refound = |number| Change::Refound { group, node: node_id(number) };
    assert!(refused(&mut map, refound(1)).contains("has a majority that lives"));
    done(&mut map, Change::RestartReplica { group, node: node_id(2) });
    // One has ended, one is asking, and one alone decides nothing.
    assert!(map.clone().apply(&refound(1)).is_ok());
    let members = &map.group(group).unwrap().members;
    assert!(members.has_majority(|_| true) && !members.has_majority(|one| one.node == node_id(1)));
    done(&mut map, refound(3));
    assert!(refused(&mut map, refound(1)).contains("replica"), "it has none of what there is now");
}

#[test]
fn a_group_whose_home_has_gone_is_led_by_a_guest_until_it_is_empty() {
    let mut map = serving(2);
    let group = GroupId(2);
    done(&mut map, Change::AddReplica { group, node: node_id(1), wanted: Wanted::Voter });
    let report = all_done(&map, group);
    done(&mut map, report);
    elect(&mut map, 2, 1);
    done(&mut map, forget(1, 2));
    let report = all_done(&map, group);
    done(&mut map, report);
    assert_eq!((owners(&map, [0, 16383]), map.group(group).unwrap().preferred), ([1, 1], node_id(1)));
    assert_eq!(map.nodes().len(), 1);
    done(&mut map, Change::FlushSlots { node: node_id(1) });
    assert!(map.is_retired(group));
}

#[test]
fn addresses_that_cannot_be_used_are_refused() {
    let mut map = cluster(1);
    let mut address = address(1);
    address.hostname = "h".repeat(256);
    let register = Change::Register { node: node_id(1), incarnation: Incarnation(1), address, zone: String::new() };
    assert!(refused(&mut map, register).contains("not usable"));
}
