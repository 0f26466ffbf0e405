//! What clients are shown, and what a node makes of the slots.

use super::super::samples::{all_done, cluster, joining, node_id, range, serving, slot};
use super::super::{Change, ClusterMap, Health, Known, OpenLine, Role, Seen, ShardHealth, SlotRange, Towards, Wanted};
use super::{done, elect};
use crate::ids::GroupId;
use basalt_storage::clock::UnixMs;

/// Two masters with the halves of the slots, and a replica of the first that has yet to be brought up to date.
fn sample() -> ClusterMap {
    let mut map = serving(2);
    done(&mut map, Change::Join(Box::new(joining(3))));
    done(&mut map, Change::Replicate { node: node_id(3), master: node_id(1) });
    map
}

fn fail(map: &mut ClusterMap, number: u8) {
    done(map, Change::SetHealth { node: node_id(number), health: Health::Failed { since: UnixMs(1) } });
}

fn texts(ranges: &[SlotRange]) -> Vec<String> {
    ranges.iter().map(SlotRange::to_string).collect()
}

#[test]
fn lines_have_maximal_runs_and_open_slots_only_for_the_node_that_answers() {
    let mut map = sample();
    let (one, two) = (node_id(1), node_id(2));
    done(&mut map, Change::OpenMigrating { node: one, slot: slot(5), to: two });
    done(&mut map, Change::OpenMigrating { node: one, slot: slot(2), to: two });
    let lines = map.node_lines(one);
    assert_eq!(lines.iter().map(|line| line.id).collect::<Vec<_>>(), [one, two, node_id(3)]);
    assert_eq!([texts(&lines[0].slots), texts(&lines[1].slots)], [["0-8191"], ["8192-16383"]]);
    assert_eq!((lines[2].role, lines[2].epoch), (Role::ReplicaOf(one), lines[0].epoch));
    let open = |number| OpenLine { slot: slot(number), towards: Towards::MigratingTo, node: two };
    assert_eq!(lines[0].open, [open(2), open(5)]);
    assert!(map.node_lines(two).iter().all(|line| line.open.is_empty()));

    // Both groups of one leader are shown as one run.
    done(&mut map, Change::AddReplica { group: GroupId(1), node: two, wanted: Wanted::Voter });
    elect(&mut map, 1, 2);
    let lines = map.node_lines(two);
    assert_eq!((texts(&lines[1].slots), lines[0].role), (vec!["0-16383".to_owned()], Role::ReplicaOf(two)));
    assert_eq!(lines[1].open, []);
    done(&mut map, Change::CloseSlot { node: two, slot: slot(5) });
    assert_eq!(map.open_slots().len(), 1);
}

#[test]
fn slots_list_replicas_that_are_up_and_have_a_full_copy() {
    let mut map = sample();
    let entries = map.slots_entries();
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[0].slots, entries[0].master), (range(0, 8191), node_id(1)));
    assert!(entries[0].replicas.is_empty());
    assert_eq!(map.shard_health(node_id(3)), ShardHealth::Loading);
    let report = all_done(&map, GroupId(1));
    done(&mut map, report);
    assert_eq!(map.slots_entries()[0].replicas, [node_id(3)]);
    // A master that is down is still the one to ask, until another leads.
    fail(&mut map, 1);
    assert_eq!(map.slots_entries()[0].master, node_id(1));
    fail(&mut map, 3);
    assert!(map.slots_entries()[0].replicas.is_empty());
}

#[test]
fn every_node_is_in_one_shard() {
    let mut map = sample();
    done(&mut map, Change::Join(Box::new(joining(4))));
    fail(&mut map, 2);
    let shards = map.shard_entries();
    let shape: Vec<_> = shards
        .iter()
        .map(|shard| (shard.master.id.as_bytes()[0], shard.master.health, texts(&shard.slots), shard.replicas.len()))
        .collect();
    let slots = |text: &str| vec![text.to_owned()];
    assert_eq!(
        shape,
        [
            (1, ShardHealth::Online, slots("0-8191"), 1),
            (2, ShardHealth::Fail, slots("8192-16383"), 0),
            (4, ShardHealth::Online, vec![], 0)
        ]
    );
}

#[test]
fn the_summary_counts_slots_by_the_health_of_those_who_serve_them() {
    let mut map = sample();
    done(&mut map, Change::UnassignSlots { node: node_id(1), slots: vec![range(0, 0)] });
    let summary = map.summary(node_id(3), |node| node == node_id(2));
    assert_eq!((summary.slots_assigned, summary.slots_ok, summary.slots_pfail), (16383, 8191, 8192));
    assert_eq!((summary.known_nodes, summary.size), (3, 2));
    assert_eq!(summary.my_epoch, map.shown_epoch(node_id(1)));
    fail(&mut map, 2);
    let summary = map.summary(node_id(3), |node| node == node_id(2));
    assert_eq!((summary.slots_pfail, summary.slots_fail), (0, 8192));
}

#[test]
fn a_node_sees_slots_by_who_leads_their_groups() {
    let mut map = serving(2);
    let (one, two) = (GroupId(1), GroupId(2));
    let me = node_id(1);
    let leads_own = |group| if group == one { Known::Leader(me) } else { Known::AsMapped };
    done(&mut map, Change::UnassignSlots { node: node_id(2), slots: vec![range(16383, 16383)] });
    done(&mut map, Change::OpenMigrating { node: me, slot: slot(3), to: node_id(2) });
    done(&mut map, Change::OpenImporting { node: me, slot: slot(9000), from: node_id(2) });
    let elsewhere = Seen::Elsewhere { group: two, node: node_id(2) };
    assert_eq!(
        map.seen_by(me, leads_own),
        [
            (range(0, 2), Seen::Serving { group: one }),
            (range(3, 3), Seen::Migrating { group: one, to: node_id(2) }),
            (range(4, 8191), Seen::Serving { group: one }),
            (range(8192, 8999), elsewhere),
            (range(9000, 9000), Seen::Importing { group: one, owner: two, node: node_id(2) }),
            (range(9001, 16382), elsewhere),
            (range(16383, 16383), Seen::Absent),
        ]
    );
    // Whoever comes to lead both ends of a slot that moves key by key can show only what one of them has.
    let leads_both = |_| Known::Leader(me);
    assert_eq!(map.seen_by(me, leads_both)[1], (range(3, 3), Seen::Waiting { group: one }));
    // The group knows better than the map.
    let lost = |group| if group == one { Known::Leaderless } else { Known::Leader(node_id(3)) };
    let seen = map.seen_by(me, lost);
    assert_eq!(seen[0], (range(0, 8191), Seen::Waiting { group: one }));
    assert_eq!(seen[1], (range(8192, 16382), Seen::Elsewhere { group: two, node: node_id(3) }));
    // Without a replica nobody serves, whatever the map says.
    assert_eq!(map.seen_by(me, |_| Known::AsMapped)[0].1, Seen::Waiting { group: one });
}

#[test]
fn a_node_that_was_forgotten_still_sees_itself() {
    let mut map = cluster(2);
    done(&mut map, Change::AddReplica { group: GroupId(1), node: node_id(2), wanted: Wanted::Voter });
    done(&mut map, Change::Forget { node: node_id(1), target: node_id(2) });
    let shown = |map: &ClusterMap, number| map.node_lines(node_id(number)).len();
    assert_eq!((shown(&map, 1), shown(&map, 2)), (1, 2));
    assert_eq!(map.member_count(), 1);
}
