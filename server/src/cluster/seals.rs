//! What a node that was not there knows of how a seal has ended.
//!
//! A seal says that slots may become another group's at any moment. When it is gone from a group's log, they have gone,
//! or they stay: only a newer map can tell. A group remembers the version of the map by which its slots were last
//! sealed; whoever comes to it with a map that is older, or that still has the migration as it was then, must not show
//! what there is of the slots, which may have been cleared away.

use basalt_cluster::ids::GroupId;
use basalt_cluster::map::ClusterMap;
use basalt_storage::slot::{Slot, SlotSet};

/// The slots of a group that a map cannot say whose they are, if the group has seen a seal of this version.
pub fn undecided(map: &ClusterMap, group: GroupId, sealed: u64) -> SlotSet {
    if map.version().0 < sealed {
        return Slot::all().filter(|slot| map.slots().owner(*slot) == Some(group)).collect();
    }
    let migrations = map.migrations_under_way();
    let as_it_was = migrations.filter(|migration| migration.source == group && migration.changed.0 <= sealed);
    as_it_was.flat_map(|migration| migration.all_slots()).collect()
}
