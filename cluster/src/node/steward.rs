//! What the root group's leader decides for the cluster: finds nodes failed and up again, and puts replicas and leaders
//! where they should be ([`crate::placement`]).

use super::decide::Decision;
use super::host::Node;
use crate::ids::{MigrationId, NodeId};
use crate::map::{AutoBalance, Change, ClusterMap, Health};
use crate::placement::{self, Budget, Load, Scope, Step};
use basalt_storage::rng::Rng;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What may be under way at the same time in the whole cluster, or be decided in one round.
const BUDGET: Budget = Budget { replicas: 4, leaders: 4, migrations: 4, ..Budget::UNLIMITED };

/// So long after a node has come, slots move to it by themselves.
const BALANCE_DELAY: Duration = Duration::from_secs(30);

/// So long a node has to have much more than its share until slots move between nodes that have been there.
const OVERLOAD_DELAY: Duration = Duration::from_secs(60);

/// How often is looked whether one has.
const OVERLOAD_LOOK: Duration = Duration::from_secs(5);

/// To look at all slots costs a millisecond. When there was nothing to do and the map is the same, that has time.
const REST: Duration = Duration::from_secs(1);

/// One round.
pub(super) fn run(node: &Arc<Node>) {
    if node.leading_root().is_none() {
        return node.watch.lead_no_more();
    }
    let map = node.map();
    for (id, health) in judge(node, &map) {
        let verdict = node.decide(Change::SetHealth { node: id, health });
        match (verdict, health) {
            (Decision::Made(_), Health::Failed { .. }) => tracing::warn!(node = %id, "a node has failed"),
            (Decision::Made(_), Health::Up) => {
                tracing::info!(node = %id, "a node is up again");
                node.watch.note_back(id);
            }
            (Decision::Refused(why), _) => tracing::debug!(node = %id, %why, "the health of a node was refused"),
            (Decision::Unknown, _) => return,
        }
    }
    place(node);
}

/// Takes the next steps towards what is wanted.
fn place(node: &Node) {
    let (map, now, mut rng) = (node.map(), (node.clock)(), Rng::from_entropy());
    if !node.watch.is_to_plan(map.version(), REST) {
        return;
    }
    let load = node.heard.loads.load();
    let is_awaited = is_spreading_due(node, &map, &load);
    let scope = if is_awaited { Scope::All } else { Scope::OnlyDraining };
    let moves = placement::plan(&map, &load, now, &BUDGET, scope);
    if moves.is_empty() {
        node.watch.note_in_place(map.version());
    }
    let is_balanced = !moves.iter().any(|planned| matches!(planned.step, Step::MoveSlots { .. }));
    if is_awaited && is_balanced && map.migrations_under_way().next().is_none() {
        node.watch.note_spread();
    }
    for step in moves {
        match node.decide(step.step.change(MigrationId::random(&mut rng), now)) {
            Decision::Made(_) => {
                node.watch.count_step(step.step.kind());
                tracing::info!("placement: {step:#}");
                if let Step::GiveUp { node: lost, slots, .. } = &step.step {
                    let slots = slots.iter().map(|range| range.slots().count()).sum::<usize>();
                    node.emptied.by_loss.fetch_add(slots as u64, Relaxed);
                    node.watch.note_given_up(*lost);
                    tracing::warn!(node = %lost, slots, "a node is lost: its slots are empty, and those of others now");
                }
            }
            Decision::Refused(why) => tracing::debug!("placement: {step:#}: {why}"),
            Decision::Unknown => return,
        }
    }
}

/// Whether slots are to be spread anew. What somebody has put where it is stays there, unless a node has much more to
/// bear than others for longer than a moment; and for nodes that are new room is made. Whoever has just brought one in
/// may have plans with it, so that takes a while. What has begun goes on to the end.
fn is_spreading_due(node: &Node, map: &ClusterMap, load: &Load) -> bool {
    if map.settings().auto_balance == AutoBalance::No {
        return false;
    }
    if node.watch.is_to_weigh(OVERLOAD_LOOK) {
        let relief = placement::slots(map, load, (node.clock)(), &Budget::UNLIMITED, Scope::OnlyOverloaded);
        node.watch.note_weighed(!relief.is_empty());
    }
    node.watch.has_newcomer(BALANCE_DELAY) || node.watch.is_overloaded(OVERLOAD_DELAY)
}

/// Nodes whose health is not what the map says.
fn judge(node: &Node, map: &ClusterMap) -> Vec<(NodeId, Health)> {
    let timeout = map.settings().node_timeout();
    let mut news = Vec::new();
    node.watch.note_members(map.nodes().keys());
    for (id, info) in map.nodes().iter().filter(|(id, _)| **id != node.me) {
        let silence = node.heard.last(*id).map(|last| last.at.elapsed());
        // A new leader gives everybody the time that it takes to be heard, and so has everybody who is new.
        let watched = node.watch.watched_for(*id);
        let is_silent = silence.map_or(watched, |silence| silence.min(watched)) > timeout;
        let is_heard = silence.is_some_and(|silence| silence < timeout);
        match info.health {
            Health::Up if is_silent => news.push((*id, Health::Failed { since: (node.clock)() })),
            Health::Failed { .. } if is_heard => news.push((*id, Health::Up)),
            _ => {}
        }
    }
    news
}
