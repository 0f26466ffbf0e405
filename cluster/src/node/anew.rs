//! Cache mode: replicas whose contents have ended with the process that had them.
//!
//! A replica in memory never comes back. When a node starts again and the map still has such a one for it, it asks for
//! another in its place ([`Change::RestartReplica`]), which the group's leader fills; the same if what a replica has is
//! worth nothing any more since it has led, and evaluated what may not have been committed ([`Stage::is_spoiled`]).
//!
//! If with it a majority is gone, the group begins anew on one of its nodes, with another replica and without a key
//! ([`Change::Refound`]): at once if it was the only copy; else when nobody has come to lead it for a while, because
//! more replicas may vote by now than the map knows of. What its migrations have copied so far is worth nothing then,
//! so they are taken back first; one that is past its commit has only to be finished.
//!
//! [`Stage::is_spoiled`]: super::host::Stage::is_spoiled

use super::decide::Decision;
use super::host::Node;
use crate::ids::{GroupId, NodeId, ReplicaId};
use crate::map::{Change, ClusterMap, Failure, Members, Mode, Phase, ReplicaInfo};
use crate::placement::is_given_up;
use basalt_storage::engine::EngineError;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a group that seems to have lost its majority waits for a leader that knows better. One would be elected,
/// and have told the root group, in less.
const PATIENCE: Duration = Duration::from_secs(10);

/// Slots that have lost their keys with the only processes that had them.
#[derive(Default)]
pub struct EmptiedSlots {
    /// This node was started again.
    pub by_restart: AtomicU64,
    /// Other nodes were lost, and this one, leading the root group, has given their slots to others; or it had a copy
    /// that was not enough.
    pub by_loss: AtomicU64,
    /// Since when groups that this node has a part in have been without a majority.
    since: Mutex<BTreeMap<GroupId, Instant>>,
}

/// One round: sees to the groups of this node that have lost a replica here, or too many.
pub(super) fn run(node: &Arc<Node>) {
    let map = node.map();
    if map.mode() == Mode::Durable {
        return;
    }
    let ended = match ended(node, &map) {
        Ok(ended) => ended,
        Err(error) => return tracing::error!(%error, "it cannot be read which replicas were here"),
    };
    for (group, info) in map.groups() {
        let Some(mine) = info.members.on(node.me) else { continue };
        let has_ended = ended.contains(group);
        if has_ended && info.members.replicas.len() == 1 {
            begin_anew(node, &map, *group, &node.emptied.by_restart);
            continue;
        }
        if has_ended {
            restart(node, *group, mine.id);
        }
        let emptied = &node.emptied;
        if !is_lost(node, &map, *group, &info.members, has_ended) {
            emptied.since.lock().remove(group);
        } else if heir(&map, *group) == Some(node.me)
            && emptied.since.lock().entry(*group).or_insert_with(Instant::now).elapsed() >= PATIENCE
        {
            let is_restart = info.members.replicas.iter().any(|one| info.members.has_ended(one)) || has_ended;
            begin_anew(node, &map, *group, if is_restart { &emptied.by_restart } else { &emptied.by_loss });
            emptied.since.lock().remove(group);
        }
    }
}

/// Groups of which the map has a replica here that an earlier process had, or that was given up.
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
    let was_here = |(group, replica): &(GroupId, ReplicaId)| {
        records.iter().any(|record| record.group == group.0 && record.replica >= replica.0)
    };
    Ok(missing.into_iter().filter(was_here).map(|(group, _)| group).collect())
}

/// Asks for another replica in place of one that has ended.
fn restart(node: &Node, group: GroupId, replica: ReplicaId) {
    match node.decide(Change::RestartReplica { group, node: node.me }) {
        Decision::Made(_) => {
            tracing::info!(%group, replica = replica.0, "what a replica had is gone: another takes its place");
        }
        // With it, too many are.
        Decision::Refused(why) => tracing::debug!(%group, %why, "no other replica takes the place of one that is gone"),
        Decision::Unknown => {}
    }
}

/// Whether too few voters of a group are left to decide anything: by what the map says and this node knows of itself;
/// or because nobody leads and a replica has ended, which may have become a voter unseen.
fn is_lost(node: &Node, map: &ClusterMap, group: GroupId, members: &Members, has_ended: bool) -> bool {
    let now = (node.clock)();
    let mine = members.on(node.me).map(|mine| mine.id);
    let is_gone = |one: &ReplicaInfo| members.has_ended(one) || has_ended && Some(one.id) == mine;
    let lives = |one: &ReplicaInfo| !is_gone(one) && !is_given_up(map, one.node, now);
    let leader = members.replica(members.leader.replica).filter(|leader| lives(leader));
    let is_led = match leader.map(|leader| leader.node) {
        Some(other) if other != node.me => map.node(other).is_some_and(|info| info.is_up()),
        Some(_) => node.hosted().of(group).is_some_and(|hosted| hosted.group.role().knows_leader()),
        None => false,
    };
    !members.has_majority(lives) || !is_led && !members.replicas.iter().all(lives)
}

/// The node on which a lost group begins anew: one of its own that lives, if possible the one that has led it last, or
/// that should.
fn heir(map: &ClusterMap, group: GroupId) -> Option<NodeId> {
    let info = map.group(group)?;
    let lives = |node: &NodeId| map.node(*node).is_some_and(|info| info.is_up());
    let staying = || info.members.staying().map(|replica| replica.node).filter(lives);
    let last = info.members.leader.node;
    [last, info.preferred].into_iter().find(|meant| staying().any(|node| node == *meant)).or_else(|| staying().min())
}

fn begin_anew(node: &Node, map: &ClusterMap, group: GroupId, counter: &AtomicU64) {
    for migration in map.migrations_under_way().filter(|migration| migration.concerns(group)) {
        if let Phase::Copying(_) = migration.phase {
            let why = Failure::Failed("a node that has a part in it has started again, without its keys".into());
            node.decide(Change::AbortMigration { id: migration.id, why, at: (node.clock)() });
        }
    }
    let slots = map.slots().count(group);
    match node.decide(Change::Refound { group, node: node.me }) {
        Decision::Made(_) => {
            counter.fetch_add(slots as u64, Relaxed);
            tracing::warn!(%group, slots, "too few copies of a group of this cache are left: its slots are empty");
        }
        Decision::Refused(why) => {
            tracing::info!(%group, %why, "a group that has lost its keys does not begin anew yet")
        }
        Decision::Unknown => {}
    }
}
