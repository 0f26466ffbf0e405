//! What a node that was not there knows of how a seal has ended.
//!
//! A seal says that slots may become another group's at any moment. When it is gone from a group's log, they have gone,
//! or they stay: only a newer map can tell. A group remembers the version of the map by which its slots were last
//! sealed; whoever comes to it with a map that is older, or that still has the migration as it was then, must not show
//! what there is of the slots, which may have been cleared away.

use basalt_cluster::ids::GroupId;
use basalt_cluster::map::{ClusterMap, Migration};
use basalt_storage::slot::{Slot, SlotSet};

/// The slots of a group that a map cannot say whose they are, if the group has seen a seal of this version.
pub fn undecided(map: &ClusterMap, group: GroupId, sealed: u64) -> SlotSet {
    if map.version().0 < sealed {
        return Slot::all().filter(|slot| map.slots().owner(*slot) == Some(group)).collect();
    }
    as_it_was(map, group, sealed).flat_map(Migration::all_slots).collect()
}

/// Whether a slot that the map says is the group's is one of [`undecided`].
pub fn is_undecided(map: &ClusterMap, group: GroupId, sealed: u64, slot: Slot) -> bool {
    map.version().0 < sealed || as_it_was(map, group, sealed).any(|migration| migration.moves(slot))
}

/// Migrations from a group that are in the map as they were when it was sealed.
fn as_it_was(map: &ClusterMap, group: GroupId, sealed: u64) -> impl Iterator<Item = &Migration> {
    let migrations = map.migrations_under_way();
    migrations.filter(move |migration| migration.source == group && migration.changed.0 <= sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::show::samples;
    use basalt_cluster::ids::MigrationId;
    use basalt_cluster::map::{Change, Job, MigrationKind, SlotRange};
    use basalt_storage::clock::UnixMs;

    const AT: UnixMs = UnixMs(1000);

    fn range(first: u16, last: u16) -> SlotRange {
        let slot = |number| Slot::new(number).expect("below 16384");
        SlotRange::new(slot(first), slot(last)).expect("in order")
    }

    fn undecided_of(map: &ClusterMap, group: GroupId, sealed: u64) -> Vec<u16> {
        let slots = undecided(map, group, sealed);
        let owned = Slot::all().filter(|slot| map.slots().owner(*slot) == Some(group));
        owned.for_each(|slot| assert_eq!(is_undecided(map, group, sealed, slot), slots.contains(slot)));
        slots.iter().map(Slot::number).collect()
    }

    #[test]
    fn an_old_map_does_not_know_how_a_seal_has_ended() {
        let [one, two] = [1, 2].map(samples::node);
        let mut map = samples::cluster(2);
        let source = map.node(one).expect("a member").home;
        let id = MigrationId::new([9; MigrationId::BYTES]);
        map.apply(&Change::AssignSlots { node: one, slots: vec![range(0, 5)] }).expect("they are nobody's");
        let before = map.clone();
        let kind = MigrationKind::FromSource;
        let job = Job { id, kind, slots: vec![range(2, 3)], from: Some(one), to: two };
        map.apply(&Change::BeginMigrations { jobs: vec![job], at: AT }).expect("it fits");
        let sealed = map.migrations()[&id].changed.0;
        // Nothing was ever sealed, or not for this migration.
        assert_eq!(undecided_of(&map, source, 0), [0u16; 0]);
        assert_eq!(undecided_of(&map, source, sealed - 1), [0u16; 0]);
        // It was sealed by this very record: the commit may have come.
        assert_eq!(undecided_of(&map, source, sealed), [2, 3]);
        // Of a map from before that nothing can be believed.
        assert_eq!(undecided_of(&before, source, sealed), [0, 1, 2, 3, 4, 5]);
        let target = map.node(two).expect("a member").home;
        assert_eq!(undecided_of(&map, target, sealed), [0u16; 0]);
        // Begun anew, the former copying can commit no more.
        map.apply(&Change::RestartMigration { id, at: AT }).expect("it is under way");
        assert_eq!(undecided_of(&map, source, sealed), [0u16; 0]);
    }
}
