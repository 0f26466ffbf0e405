//! What one request sees: a keyspace with the keys that it names, as they were after one entry of the group's log.

use super::ReplicaReads;
use crate::cluster::Cluster;
use crate::cluster::seals::is_undecided;
use crate::commands::Command;
use crate::durability::admission::for_each_need;
use crate::durability::replicas::Replica;
use crate::resp::Args;
use crate::server::Server;
use basalt_cluster::ids::GroupId;
use basalt_storage::engine::{EngineSnapshot, Tier};
use basalt_storage::keyspace::{Excerpt, Filled, Need, Unreadable};
use basalt_storage::slot::Slot;
use std::time::{Duration, Instant};

pub struct Copy {
    pub(super) excerpt: Excerpt,
    /// Its state is not older than that of this moment.
    pub(super) since: Instant,
}

impl Copy {
    /// Whether it is as new as the client wants it; without a bound any is.
    pub fn is_fresh(&self, bound: Option<Duration>) -> bool {
        is_fresh(self.since, bound)
    }
}

pub(super) fn is_fresh(since: Instant, bound: Option<Duration>) -> bool {
    bound.is_none_or(|bound| since.elapsed() <= bound)
}

/// How much of large values is put in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Extent {
    /// No more than the command needs, as far as that is known beforehand.
    #[default]
    AsNamed,
    Whole,
}

/// What became of filling a copy.
pub enum Attempt {
    Filled(Box<Copy>),
    /// It takes a thread that may wait.
    NeedsDisk,
    /// Nothing proves that the state is one to be shown.
    Unproven,
    /// The slot is on its way, or not this node's to show.
    Elsewhere,
}

impl ReplicaReads {
    /// Fills a copy with what commands name, all in one slot. At [`Tier::Memory`] it waits for nothing.
    pub(super) fn fill<'a>(
        &self,
        server: &Server,
        cluster: &Cluster,
        slot: Slot,
        commands: &mut dyn Iterator<Item = (&'static Command, Args<'a>)>,
        extent: Extent,
        tier: Tier,
    ) -> Result<Attempt, Unreadable> {
        let Some(replica) = self.replica(cluster) else { return Ok(Attempt::Elsewhere) };
        let kept = match tier {
            Tier::Memory => replica.try_keep(),
            Tier::Disk => Some(replica.keep()),
        };
        let Some(engine) = replica.engine() else { return Ok(Attempt::Elsewhere) };
        let state = match (&kept, tier) {
            (None, _) => None,
            (Some(_), Tier::Memory) => engine.try_snapshot(),
            (Some(_), Tier::Disk) => Some(engine.snapshot()),
        };
        // A state that is held stays, whatever becomes of what it was taken from.
        drop(kept);
        let Some(state) = state else { return Ok(Attempt::NeedsDisk) };
        if !is_shown(cluster, replica.id(), slot, &state) {
            return Ok(Attempt::Elsewhere);
        }
        let Some(since) = self.proven_since(&replica, &state) else { return Ok(Attempt::Unproven) };
        let mut excerpt = self.take_excerpt(server);
        let filled = fill(&mut excerpt, server, &state, commands, extent, tier);
        match filled {
            Ok(Filled::Yes) => Ok(Attempt::Filled(Box::new(Copy { excerpt, since }))),
            Ok(Filled::NeedsDisk) => {
                self.put_back(server, excerpt);
                Ok(Attempt::NeedsDisk)
            }
            Err(unreadable) => {
                self.put_back(server, excerpt);
                Err(unreadable)
            }
        }
    }

    fn proven_since(&self, replica: &Replica, state: &EngineSnapshot<'_>) -> Option<Instant> {
        let since = replica.group()?.fresh_since(state.applied())?;
        (since >= *self.more_copied.lock()).then_some(since)
    }

    /// Whether proof has come that is good enough, or is about to be looked at.
    pub(super) fn is_proven(&self, replica: &Replica, bound: Option<Duration>) -> bool {
        let since = replica.group().and_then(|group| group.fresh_since(replica.contents().applied()));
        since.is_some_and(|since| since >= *self.more_copied.lock() && is_fresh(since, bound))
    }
}

/// Whether a state of a group is what there is of a slot, as far as this node's map and the state itself know.
fn is_shown(cluster: &Cluster, group: GroupId, slot: Slot, state: &EngineSnapshot<'_>) -> bool {
    let picture = cluster.picture();
    let map = &picture.map;
    map.slots().owner(slot) == Some(group)
        && !state.is_on_its_way(slot)
        && !map.open_slots().contains_key(&(group, slot))
        && !is_undecided(map, group, state.sealed_version(), slot)
}

fn fill<'a>(
    excerpt: &mut Excerpt,
    server: &Server,
    state: &EngineSnapshot<'_>,
    commands: &mut dyn Iterator<Item = (&'static Command, Args<'a>)>,
    extent: Extent,
    tier: Tier,
) -> Result<Filled, Unreadable> {
    let now = server.now();
    let mut result = Ok(Filled::Yes);
    for (command, args) in commands {
        for_each_need(command, args, &mut |key, need| {
            if !matches!(result, Ok(Filled::Yes)) {
                return;
            }
            let need = if extent == Extent::Whole { Need::Value } else { need };
            result = excerpt.fill(state, key, need, tier, now);
        });
    }
    result
}
