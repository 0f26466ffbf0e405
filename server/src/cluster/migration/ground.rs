//! What the parts of a migration stand on: their node, as far as they need it.
//!
//! Departure and arrival, what passes between them, and what is left to do afterwards know nothing else. So they can be
//! played on a node that is simulated, by the very same code, stopped wherever it waits (`server/tests/whole`). The
//! real ground is in [`super::on_node`].
//!
//! What may wait: [`Ground::decide`], [`Ground::sleep`], [`Ground::outwait_flushes`], [`Reigning::wait_applied`], and
//! all that streams do. Nothing else does; so the lock of [`Arrivals`] is never held while somebody waits.

use super::{Arrivals, Figures, Hitch};
use crate::durability::replicas::DB;
use crate::durability::tap::Tapped;
use basalt_cluster::group::Term;
use basalt_cluster::ids::{GroupId, MigrationId, NodeId};
use basalt_cluster::map::{Change, ClusterMap, Migration};
use basalt_cluster::node::Decision;
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::{Batch, Effect, Mark, Passage};
use basalt_storage::seq::Seq;
use basalt_storage::slot::Slot;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A node that has a part in a migration.
pub trait Ground: Clone {
    type Reign: Reigning;
    type Source: Copying;
    type Outgoing: Outgoing;

    /// None while this node is starting.
    fn me(&self) -> Option<NodeId>;

    /// The newest map that this node was told of. None while it is starting, and when it ends.
    fn map(&self) -> Option<Arc<ClusterMap>>;

    /// Has the root group decide about a change.
    fn decide(&self, change: Change) -> Decision;

    /// Learns the map as it is now. In a reign that had begun before, nobody then acts by an older map than the leaders
    /// before him have: slots that they have seen come and go are not taken for what they were.
    fn catch_up(&self) -> Result<(), Hitch> {
        match self.decide(Change::All(Vec::new())) {
            Decision::Made(applied) if self.map().is_some_and(|map| map.version() >= applied.version) => Ok(()),
            Decision::Made(_) => Err(Hitch::new("the map as it is now has not come here yet")),
            Decision::Refused(why) => Err(Hitch::new(why)),
            Decision::Unknown => Err(Hitch::new("the root group has no quorum")),
        }
    }

    /// None if this node does not lead the group, or not yet with all that was committed before.
    fn reign(&self, group: GroupId) -> Option<Self::Reign>;

    /// From now on what changes in the slots is heard of.
    fn listen(&self, reign: &Self::Reign, migration: &Migration) -> Result<Self::Source, Hitch>;

    /// Begins to send to another node.
    fn open_stream(&self, to: NodeId, header: &[u8]) -> Result<Self::Outgoing, Hitch>;

    /// What comes to this node.
    fn arrivals(&self) -> &Arrivals;

    fn figures(&self) -> &Figures;

    /// When this returns, nothing is evaluated in the slots any more.
    fn seal(&self, migration: &Migration);

    /// The slots may be evaluated again, if nothing else is against it.
    fn unseal(&self, id: MigrationId);

    /// While `body` runs, requests for the slots wait here even if the map gives them to another node, which may learn
    /// of that later.
    fn leaving<R>(&self, migration: &Migration, body: impl FnOnce() -> R) -> R;

    /// Brings the slots in line with the map and the roles.
    fn refresh(&self);

    /// Waits until a flush that has seen no passages is in the logs. One that begins later sees those that are applied.
    fn outwait_flushes(&self);

    fn now(&self) -> UnixMs;

    /// A clock that never goes back, from any beginning.
    fn clock(&self) -> Duration;

    fn sleep(&self, time: Duration);
}

/// A node's leading of a group, in one term.
pub trait Reigning: Clone {
    fn group(&self) -> GroupId;

    fn term(&self) -> Term;

    fn lasts(&self) -> bool;

    /// Hands a batch in. It is in the log only if the reign still lasts when it is applied.
    fn propose(&self, batch: Batch) -> Result<Seq, Hitch>;

    /// The same with a batch in its written form.
    fn propose_written(&self, batch: Vec<u8>) -> Result<Seq, Hitch>;

    /// Has what is committed applied now.
    fn hurry(&self);

    /// Waits until a batch is applied here.
    fn wait_applied(&self, seq: Seq) -> Result<(), Hitch>;

    /// What the group remembers of slots that come and go.
    fn marks(&self) -> Vec<Mark>;

    /// Whether there are keys in a slot in which nothing is evaluated.
    fn has_keys(&self, slot: Slot) -> bool;

    /// How what there is of slots is cleared away.
    fn clearing(&self) -> Clearing;

    /// Looks at about so many keys of a slot, in the order of their hashes, beginning with this hash.
    fn walk(&self, slot: Slot, from_hash: u32, most: usize) -> Result<Walked, Hitch>;

    /// Hands a batch in, and waits until it is applied.
    fn carry_out(&self, batch: Batch) -> Result<(), Hitch> {
        let seq = self.propose(batch)?;
        self.wait_applied(seq)
    }

    fn has_mark(&self, passage: Passage, name: &[u8; Mark::NAME_BYTES]) -> bool {
        self.marks().iter().any(|mark| mark.passage == passage && mark.name == *name)
    }

    fn unmark(&self, passage: Passage, name: &[u8; Mark::NAME_BYTES]) -> Result<(), Hitch> {
        if self.has_mark(passage, name) {
            self.carry_out(vec![Effect::Unmark { passage, name: *name }])
        } else {
            Ok(())
        }
    }

    /// Deletes what the group has in these slots, in which nobody evaluates anything. `hand_in` proposes a batch, and
    /// refuses when somebody else has begun to do something to the slots.
    fn clear(
        &self,
        slots: impl Iterator<Item = Slot>,
        hand_in: impl Fn(&Self, Batch) -> Result<Seq, Hitch>,
    ) -> Result<(), Hitch> {
        let carry_out = |batch| hand_in(self, batch).and_then(|seq| self.wait_applied(seq));
        // What was handed in before may be on its way still. It is applied in order, so from here on it is there to be
        // seen.
        carry_out(Batch::new())?;
        if self.clearing() == Clearing::AtOnce {
            return carry_out(slots.map(|slot| Effect::Clear { db: DB, slot, hashes: (0, u32::MAX) }).collect());
        }
        let (mut batch, mut keys, mut under_way) = (Batch::new(), 0, None);
        for slot in slots.filter(|slot| self.has_keys(*slot)) {
            let mut from = Some(0);
            while let Some(first) = from {
                let walked = self.walk(slot, first, CLEARED_AT_ONCE - keys)?;
                from = walked.next;
                keys += walked.keys;
                let last = from.map_or(u32::MAX, |next| next - 1);
                batch.push(Effect::Clear { db: DB, slot, hashes: (first, last) });
                if keys >= CLEARED_AT_ONCE {
                    // The next keys are looked at while these go.
                    let former = under_way.replace(hand_in(self, std::mem::take(&mut batch))?);
                    former.map_or(Ok(()), |former| self.wait_applied(former))?;
                    keys = 0;
                }
            }
        }
        match under_way {
            _ if !batch.is_empty() => carry_out(batch),
            Some(last) => self.wait_applied(last),
            None => Ok(()),
        }
    }
}

/// Keys that one log entry clears away, about: what one call of the state machine may take.
const CLEARED_AT_ONCE: usize = 1000;

/// How what there is of slots is cleared away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clearing {
    /// By entries of the log, of which none may take long to apply.
    InPieces,
    /// What is in memory alone is gone at once.
    AtOnce,
}

/// Keys of a slot that somebody has looked at.
#[derive(Clone, Copy, Debug)]
pub struct Walked {
    pub keys: usize,
    /// The hash of the next one, if there is one.
    pub next: Option<u32>,
}

/// Slots that are read, and listened to from before they are.
pub trait Copying {
    /// Hands out the slots, with what changes in them while that lasts.
    fn copy(&mut self, migration: &Migration, send: impl FnMut(Vec<u8>) -> Result<(), Hitch>) -> Result<(), Hitch>;

    /// What has changed since, if there is anything yet.
    fn next(&self) -> Result<Option<Tapped>, Hitch>;
}

/// A stream to another node.
pub trait Outgoing {
    fn send(&mut self, piece: Bytes) -> Result<(), Hitch>;

    /// Ends it, and waits for the answer.
    fn finish(self) -> Result<Bytes, Hitch>;

    /// The same, for so long at most: None when that has passed.
    fn finish_within(self, patience: Duration) -> Result<Option<Bytes>, Hitch>;
}

/// A stream from another node.
pub trait Incoming {
    /// None at its end.
    fn next(&mut self) -> Result<Option<Bytes>, Hitch>;

    fn finish(self, answer: &'static [u8]);

    fn refuse(self, why: &str);
}
