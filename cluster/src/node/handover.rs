//! Handing the lead over, while this node can still do it in order: to the node that should lead a group, or to whoever
//! is nearest, when this one is about to stop, or leads both groups between which a slot moves key by key.

use super::host::Node;
use super::hosted::Hosted;
use crate::group::{ReplicaProgress, Role};
use crate::ids::{GroupId, NodeId, ReplicaId, Term};
use crate::map::{ClusterMap, OpenSlot};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who has just begun to lead goes on for so long: the one before may fail again soon after it has come back.
const SETTLE: Duration = Duration::from_secs(5);

/// Between two attempts to hand a group over.
const RETRY: Duration = Duration::from_secs(2);

/// How long a node that stops waits until others lead.
const FAREWELL: Duration = Duration::from_secs(2);

/// The part of it in which the others come to know who does.
const NEWS: Duration = Duration::from_millis(500);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Since when this node has led its groups, and whom it would have let lead.
#[derive(Default)]
pub struct Reigns(Mutex<HashMap<GroupId, Reign>>);

struct Reign {
    term: Term,
    since: Instant,
    /// The node that should have led when the reign was last looked at.
    preferred: NodeId,
    tried: Option<Instant>,
}

impl Reigns {
    /// Whether it is time to hand over, in this term, to the node that should lead. An order that has come during the
    /// reign is followed at once.
    fn is_time(&self, group: GroupId, term: Term, preferred: NodeId) -> bool {
        let mut reigns = self.0.lock();
        let reign = current(&mut reigns, group, term, preferred);
        let is_order = std::mem::replace(&mut reign.preferred, preferred) != preferred;
        let has_settled = reign.since.elapsed() >= SETTLE;
        let may_try = reign.tried.is_none_or(|tried| tried.elapsed() >= RETRY);
        let is_time = is_order || has_settled && may_try;
        if is_time {
            reign.tried = Some(Instant::now());
        }
        is_time
    }

    /// Whether it is time to part with a group of which clients have nothing as long as this node leads it.
    fn is_time_to_part(&self, group: GroupId, term: Term, preferred: NodeId) -> bool {
        let mut reigns = self.0.lock();
        let reign = current(&mut reigns, group, term, preferred);
        let may_try = reign.tried.is_none_or(|tried| tried.elapsed() >= RETRY);
        if may_try {
            reign.tried = Some(Instant::now());
        }
        may_try
    }
}

/// What is remembered of this reign, which may just have begun.
fn current(reigns: &mut HashMap<GroupId, Reign>, group: GroupId, term: Term, preferred: NodeId) -> &mut Reign {
    let fresh = || Reign { term, since: Instant::now(), preferred, tried: None };
    let reign = reigns.entry(group).or_insert_with(fresh);
    if reign.term != term {
        *reign = fresh();
    }
    reign
}

/// One round: gives each group that another node should lead to that node, if it can take over.
pub(super) fn run(node: &Arc<Node>) {
    let map = node.map();
    for (group, hosted) in node.hosted().all() {
        let (Role::Leader { term, serves: true }, Some(info)) = (hosted.group.role(), map.group(group)) else {
            continue;
        };
        if has_both_ends(node, &map, group) && node.reigns.is_time_to_part(group, term, info.preferred) {
            let is_given = give_away(&hosted);
            tracing::info!(%group, is_given, "a slot moves between two groups that this node leads: parts with one");
            continue;
        }
        if !node.reigns.is_time(group, term, info.preferred) || info.preferred == node.me {
            continue;
        }
        let Some(successor) = able(&map, group, info.preferred, &hosted.group.replicas()) else { continue };
        match hosted.group.transfer_leadership(successor) {
            Ok(()) => {
                tracing::info!(%group, to = %info.preferred, "hands the lead over to the node that should have it")
            }
            Err(why) => tracing::debug!(%group, %why, "the lead is not handed over"),
        }
    }
}

/// Whether keys move between this group and another one that this node leads as well, and this one is to be led
/// elsewhere: the one that is not at home here, or the one that they leave.
fn has_both_ends(node: &Node, map: &ClusterMap, group: GroupId) -> bool {
    let is_at_home = |group: GroupId| map.group(group).is_some_and(|info| info.preferred == node.me);
    if is_at_home(group) {
        return false;
    }
    let is_led = |group: GroupId| node.hosted().of(group).is_some_and(|hosted| hosted.group.role().serves());
    map.open_slots().iter().any(|(&(source, _), open)| match *open {
        OpenSlot::Migrating { to } if group == source => is_led(to),
        OpenSlot::Migrating { to } if group == to => is_at_home(source) && is_led(source),
        _ => false,
    })
}

/// The replica on a node, if it could lead now.
fn able(map: &ClusterMap, group: GroupId, node: NodeId, progress: &[ReplicaProgress]) -> Option<ReplicaId> {
    let replica = map.members(group)?.on(node)?.id;
    let is_up = map.node(node).is_some_and(|info| info.is_up());
    let follows = |one: &&ReplicaProgress| one.replica == replica && one.votes && one.is_recent && !one.awaits_snapshot;
    (is_up && progress.iter().any(|one| follows(&one))).then_some(replica)
}

impl Node {
    /// Hands over all that this node leads, as far as there is somebody to take it, and waits until the others know,
    /// so that nobody sends clients here any more. Blocks for as long as that takes, and not for long. To be called
    /// before [`Node::stop`], while clients are still served: they are told where to go.
    pub fn hand_over(&self) {
        let deadline = Instant::now() + FAREWELL;
        let root = self.record.lock().root;
        self.part_with(deadline - NEWS, |group| group != root);
        // Last, since it writes down who leads the others; with time of its own.
        self.part_with(deadline, |group| group == root);
    }

    fn part_with(&self, deadline: Instant, is_meant: impl Fn(GroupId) -> bool) {
        let led = |(group, hosted): &(GroupId, Hosted)| is_meant(*group) && hosted.group.role().serves();
        let given = self.hosted().all().into_iter().filter(led).filter(|(_, hosted)| give_away(hosted));
        let given: Vec<(GroupId, Hosted)> = given.collect();
        if given.is_empty() {
            return;
        }
        let is_elsewhere = |(group, hosted): &(GroupId, Hosted)| {
            let follows = matches!(hosted.group.role(), Role::Follower { leader: Some(_), .. });
            follows && self.map().members(*group).is_none_or(|members| members.leader.node != self.me)
        };
        while !given.iter().all(is_elsewhere) && Instant::now() < deadline {
            // The roles change within some milliseconds, and this happens once in the life of a process.
            std::thread::sleep(LOOK_AGAIN);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.wait_until_known(self.map().version(), left.min(NEWS));
    }
}

/// Lets the voter lead that has most; whether there is one.
fn give_away(hosted: &Hosted) -> bool {
    let replicas = hosted.group.replicas();
    let others = replicas.iter().filter(|one| one.replica != hosted.replica && one.votes && one.is_recent);
    let Some(nearest) = others.max_by_key(|one| one.matched) else { return false };
    hosted.group.transfer_leadership(nearest.replica).is_ok()
}
