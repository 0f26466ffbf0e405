//! The batches' way into the groups of a cluster's node: each effect goes to the group that holds its slot.
//!
//! A command's effects lie in one slot, and so in one group. Only what concerns a whole database, or what the node
//! itself does to many keys at once, is of several groups: each gets its part as a batch of its own.

use super::log;
use super::relay;
use super::replicas::Replicas;
use basalt_cluster::group::TooLate;
use basalt_cluster::ids::GroupId;
use basalt_storage::effect::{Batch, Effect};
use basalt_storage::keyspace::{BatchSink, high_water};
use basalt_storage::seq::Seq;
use basalt_storage::slot::Slot;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Encodes batches and proposes them. Called under stripe locks.
pub(super) struct SplitSink {
    pub(super) replicas: Arc<Replicas>,
}

impl BatchSink for SplitSink {
    fn propose(&self, batch: Batch) -> Seq {
        let mut holders = batch.iter().map(|effect| self.holder(effect));
        let first = holders.next().flatten();
        let is_of_one = holders.all(|holder| holder == first);
        match first {
            Some(group) if is_of_one => self.propose_to(group, batch),
            _ => self.propose_parts(batch),
        }
    }
}

impl SplitSink {
    /// The group that holds what an effect changes; none if that is all of them.
    fn holder(&self, effect: &Effect) -> Option<GroupId> {
        match effect {
            // A key is renamed within its slot.
            Effect::Key { key, .. } | Effect::Rename { from: key, .. } => {
                let holder = self.replicas.holder(Slot::of_key(key));
                Some(holder.expect("only what is held is changed"))
            }
            Effect::Flush { .. } | Effect::SwapDb { .. } => None,
            Effect::Clear { .. } | Effect::Mark(_) | Effect::Unmark { .. } => {
                unreachable!("only who moves slots says this, and says it to one group")
            }
        }
    }

    fn propose_to(&self, group: GroupId, batch: Batch) -> Seq {
        let replica = self.replicas.replica(group).expect("a group that holds slots is here");
        if !replica.keeps_log() {
            return Seq::NONE;
        }
        let group = replica.group().expect("it runs before it holds anything");
        let seq = log::propose(group, batch).unwrap_or_else(|TooLate(never)| never);
        // A network thread announces all that came out of one look at its connections together.
        if !relay::announce_soon() {
            group.announce();
        }
        Seq(seq.0)
    }

    fn propose_parts(&self, batch: Batch) -> Seq {
        let holding = self.replicas.holding_groups();
        let mut parts: BTreeMap<GroupId, Batch> = BTreeMap::new();
        for effect in batch {
            match self.holder(&effect) {
                Some(group) => parts.entry(group).or_default().push(effect),
                None => holding.iter().for_each(|group| parts.entry(*group).or_default().push(effect.clone())),
            }
        }
        let mut last = Seq::NONE;
        for (group, part) in parts {
            last = self.propose_to(group, part);
            // Whoever is answered depends on all of them.
            high_water::raise(last);
        }
        last
    }
}
