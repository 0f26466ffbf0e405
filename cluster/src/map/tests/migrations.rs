//! Whole slots that move, step by step, and what is refused meanwhile.

use super::super::samples::{migration_id, node_id, range, serving, slot};
use super::super::{Change, ClusterMap, Ending, Failure, Job, MigrationKind, Outcome, Part, Phase, Side, Stage};
use super::{done, elect, owners, refused};
use crate::ids::{GroupId, MapVersion};
use basalt_storage::clock::UnixMs;

const AT: UnixMs = UnixMs(1);

fn job(number: u8, from: Option<u8>, to: u8, first: u16, last: u16) -> Job {
    let from = from.map(node_id);
    let (kind, slots) = (MigrationKind::FromSource, vec![range(first, last)]);
    Job { id: migration_id(number), kind, slots, from, to: node_id(to) }
}

fn begin(jobs: Vec<Job>) -> Change {
    Change::BeginMigrations { jobs, at: AT }
}

fn finish(map: &ClusterMap, side: Side) -> Change {
    Change::FinishMigration { id: migration_id(1), side, seen: map.version(), at: AT }
}

/// Three masters; slots 0 to 9 are on their way from the first to the second.
fn moving() -> ClusterMap {
    let mut map = serving(3);
    done(&mut map, begin(vec![job(1, Some(1), 2, 0, 9)]));
    map
}

fn phase(map: &ClusterMap) -> &Phase {
    &map.migrations()[&migration_id(1)].phase
}

#[test]
fn slots_change_their_owner_at_the_commit_and_are_free_when_both_sides_are_done() {
    let mut map = moving();
    done(&mut map, Change::ReportStage { id: migration_id(1), stage: Stage::Tail, at: AT });
    assert_eq!(owners(&map, [0, 9, 10]), [1, 1, 1]);
    let epoch = map.slots().info(slot(0)).epoch;
    let seen = map.version();
    done(&mut map, Change::CommitMigration { id: migration_id(1), seen, at: AT });
    assert_eq!(owners(&map, [0, 9, 10]), [2, 2, 1]);
    assert_eq!(map.slots().info(slot(0)).epoch, epoch.next());
    assert_eq!(map.shown_epoch(node_id(2)), map.current_epoch());
    let again = Change::CommitMigration { id: migration_id(1), seen: map.version(), at: AT };
    assert_eq!(done(&mut map, again), Outcome::Unchanged);

    let unaware = Change::FinishMigration { id: migration_id(1), side: Side::Source, seen: MapVersion(1), at: AT };
    assert_eq!(done(&mut map, unaware), Outcome::Unchanged);
    let source = finish(&map, Side::Source);
    done(&mut map, source.clone());
    assert!(matches!(phase(&map), Phase::Finishing(sides) if sides.source == Part::Done));
    assert!(refused(&mut map, begin(vec![job(2, Some(2), 3, 0, 0)])).contains("already migrating slot 0"));
    let target = finish(&map, Side::Target);
    done(&mut map, target);
    assert_eq!(*phase(&map), Phase::Ended(Ending::Done));
    done(&mut map, begin(vec![job(2, Some(2), 3, 0, 0)]));
}

#[test]
fn what_is_taken_back_stays_bound_until_both_sides_have_cleared_it_away() {
    let mut map = moving();
    let abort = Change::AbortMigration { id: migration_id(1), why: Failure::Cancelled, at: AT };
    done(&mut map, abort.clone());
    assert_eq!(done(&mut map, abort), Outcome::Unchanged);
    let commit = Change::CommitMigration { id: migration_id(1), seen: map.version(), at: AT };
    assert!(refused(&mut map, commit).contains("has been taken back"));
    for side in [Side::Target, Side::Source] {
        let finish = finish(&map, side);
        done(&mut map, finish);
    }
    assert_eq!(*phase(&map), Phase::Ended(Ending::NotDone(Failure::Cancelled)));
    assert_eq!(owners(&map, [0, 9]), [1, 1]);
}

#[test]
fn a_copying_that_begins_anew_commits_no_more_as_it_was() {
    let mut map = moving();
    let seen = map.version();
    done(&mut map, Change::ReportStage { id: migration_id(1), stage: Stage::Sealed, at: AT });
    done(&mut map, Change::RestartMigration { id: migration_id(1), at: AT });
    assert_eq!(*phase(&map), Phase::Copying(Stage::Starting));
    let late = Change::CommitMigration { id: migration_id(1), seen, at: AT };
    assert!(refused(&mut map, late).contains("has begun anew"));
    assert_eq!(owners(&map, [0, 9]), [1, 1]);
    let seen = map.version();
    done(&mut map, Change::CommitMigration { id: migration_id(1), seen, at: AT });
    assert!(refused(&mut map, Change::RestartMigration { id: migration_id(1), at: AT }).contains("past the point"));
}

#[test]
fn after_the_commit_it_is_too_late() {
    let mut map = moving();
    let seen = map.version();
    done(&mut map, Change::CommitMigration { id: migration_id(1), seen, at: AT });
    let abort = Change::AbortMigration { id: migration_id(1), why: Failure::Cancelled, at: AT };
    assert!(refused(&mut map, abort).contains("past the point"));
}

#[test]
fn beginning_is_refused_in_the_words_that_clients_know() {
    let mut map = serving(3);
    let refusal = |map: &mut ClusterMap, jobs| refused(map, begin(jobs));
    assert_eq!(refusal(&mut map, vec![job(1, Some(1), 2, 9000, 9000)]), "Slots are not served by this node.");
    assert_eq!(refusal(&mut map, vec![job(1, Some(1), 9, 0, 0)]), format!("Unknown node name: {}", node_id(9)));
    assert_eq!(refusal(&mut map, vec![job(1, Some(1), 1, 0, 0)]), "Target node can not be this node");
    assert_eq!(
        refusal(&mut map, vec![job(1, Some(1), 2, 0, 4), job(2, Some(1), 3, 4, 5)]),
        "Slot ranges in migrations overlap"
    );
    assert!(refusal(&mut map, vec![job(1, None, 3, 0, 9000)]).contains("different groups"));
    let (one, two) = (node_id(1), node_id(2));
    done(&mut map, Change::OpenMigrating { node: one, slot: slot(3), to: two });
    assert_eq!(refusal(&mut map, vec![job(1, Some(1), 2, 0, 4)]), "Slots are being manually migrated");
    done(&mut map, Change::CloseSlot { node: one, slot: slot(3) });
    done(&mut map, Change::OpenImporting { node: two, slot: slot(3), from: one });
    assert_eq!(refusal(&mut map, vec![job(1, Some(1), 2, 0, 4)]), "Slots are being manually imported");
    done(&mut map, begin(vec![job(1, None, 2, 5, 6)]));
    assert_eq!(refusal(&mut map, vec![job(2, Some(1), 3, 6, 7)]), "I am already migrating slot 6.");
}

#[test]
fn slots_on_their_way_are_left_alone_by_everything_else() {
    let mut map = moving();
    let (one, two, three) = (node_id(1), node_id(2), node_id(3));
    let changes = [
        Change::UnassignSlots { node: one, slots: vec![range(9, 10)] },
        Change::FlushSlots { node: one },
        Change::ForceOwn { node: three, slot: slot(4) },
        Change::OpenMigrating { node: one, slot: slot(4), to: two },
        Change::OpenImporting { node: three, slot: slot(4), from: one },
        Change::GiveSlot { node: two, slot: slot(4), to: two, id: migration_id(8), at: AT },
    ];
    for change in changes {
        let words = refused(&mut map, change);
        assert!(words.contains("is being migrated by"), "{words}");
    }
}

#[test]
fn a_migration_goes_on_under_another_leader() {
    let mut map = moving();
    let group = GroupId(1);
    done(&mut map, Change::AddReplica { group, node: node_id(3), wanted: super::super::Wanted::Voter });
    elect(&mut map, 1, 3);
    let migration = &map.migrations()[&migration_id(1)];
    assert_eq!((map.source_node(migration), map.target_node(migration)), (Some(node_id(3)), Some(node_id(2))));
    let seen = map.version();
    done(&mut map, Change::CommitMigration { id: migration_id(1), seen, at: AT });
    assert_eq!(owners(&map, [0, 10]), [2, 3]);
}

#[test]
fn an_empty_target_is_not_given_up_while_it_is_awaited() {
    let mut map = serving(1);
    for number in [2, 3] {
        done(&mut map, Change::Join(Box::new(super::super::samples::joining(number))));
    }
    done(&mut map, begin(vec![job(1, Some(1), 2, 0, 9)]));
    let forget = Change::Forget { node: node_id(1), target: node_id(2) };
    assert!(refused(&mut map, forget).contains("is being migrated"));
    let replicate = Change::Replicate { node: node_id(2), master: node_id(3) };
    assert!(refused(&mut map, replicate).contains("is being migrated"));
}

#[test]
fn a_hand_over_that_fails_leaves_a_record_for_whoever_waits() {
    let mut map = serving(2);
    let id = migration_id(9);
    done(&mut map, Change::GiveSlot { node: node_id(1), slot: slot(5), to: node_id(2), id, at: AT });
    let why = Failure::Failed("keys remain".to_owned());
    done(&mut map, Change::AbortMigration { id, why: why.clone(), at: AT });
    assert_eq!(map.migrations()[&id].phase, Phase::Ended(Ending::NotDone(why)));
    assert!(map.migration_of(slot(5)).is_none());
}
