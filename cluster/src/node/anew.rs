//! Cache mode: replicas whose contents have ended with the process that had them.
//!
//! A replica in memory never comes back. When a node starts again and the map still has such a one for it, the group
//! begins anew on this node, with another replica and without a key ([`Change::Refound`]). What its migrations have
//! copied so far is worth nothing then, so they are taken back first; one that is past its commit has only to be
//! finished.

use super::decide::Decision;
use super::host::Node;
use crate::ids::GroupId;
use crate::map::{Change, ClusterMap, Failure, Mode, Phase};
use basalt_storage::engine::EngineError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Slots that have lost their keys with the process, or the node, that had them.
#[derive(Default)]
pub struct EmptiedSlots {
    /// This node was started again.
    pub by_restart: AtomicU64,
    /// Another node was lost, and this one, leading the root group, has given its slots to others.
    pub by_loss: AtomicU64,
}

/// One round: has the groups of this node begin anew that have ended with an earlier process.
pub(super) fn run(node: &Arc<Node>) {
    let map = node.map();
    if map.mode() == Mode::Durable {
        return;
    }
    match ended(node, &map) {
        Ok(groups) => groups.into_iter().for_each(|group| begin_anew(node, &map, group)),
        Err(error) => tracing::error!(%error, "it cannot be read which replicas were here"),
    }
}

/// Groups of which the map has a replica here that an earlier process had.
fn ended(node: &Node, map: &ClusterMap) -> Result<Vec<GroupId>, EngineError> {
    // As long as this is held, nobody is about to run one of them.
    let _alone = node.hosting.lock();
    let is_missing = |group: &GroupId| node.hosted().of(*group).is_none();
    let here = map.groups().iter().filter_map(|(id, info)| Some((*id, info.members.on(node.me)?.id)));
    let missing: Vec<_> = here.filter(|(group, _)| is_missing(group)).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let records = node.rocks.replicas()?;
    let was_here = |(group, replica): &(GroupId, crate::ids::ReplicaId)| {
        records.iter().any(|record| record.group == group.0 && record.replica >= replica.0)
    };
    Ok(missing.into_iter().filter(was_here).map(|(group, _)| group).collect())
}

fn begin_anew(node: &Node, map: &ClusterMap, group: GroupId) {
    let has_part = |it: &&crate::map::Migration| it.source == group || it.target == group;
    for migration in map.migrations_under_way().filter(has_part) {
        if let Phase::Copying(_) = migration.phase {
            let why = Failure::Failed("a node that has a part in it has started again, without its keys".into());
            node.decide(Change::AbortMigration { id: migration.id, why, at: (node.clock)() });
        }
    }
    let slots = map.slots().count(group);
    match node.decide(Change::Refound { group, node: node.me }) {
        Decision::Made(_) => {
            node.emptied.by_restart.fetch_add(slots as u64, Relaxed);
            tracing::warn!(%group, slots, "this node has started again, in cache mode: its slots are empty");
        }
        Decision::Refused(why) => {
            tracing::info!(%group, %why, "a group that has lost its keys does not begin anew yet")
        }
        Decision::Unknown => {}
    }
}
