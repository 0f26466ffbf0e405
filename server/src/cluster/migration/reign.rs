//! What a leader does to its group without evaluating anything, for as long as it leads.

use super::Hitch;
use crate::durability::log;
use crate::durability::replicas::DB;
use crate::durability::replicas::{Replica, Replicas};
use basalt_cluster::group::{self, Group, Role, Term, TooLate};
use basalt_cluster::ids::GroupId;
use basalt_storage::effect::{Batch, Effect, Mark, Passage};
use basalt_storage::seq::Seq;
use basalt_storage::slot::Slot;
use std::sync::Arc;

/// Keys that one log entry clears away, about: what one call of the state machine may take.
const CLEARED_AT_ONCE: usize = 1000;

/// This node leads a group, in this term.
#[derive(Clone)]
pub struct Reign {
    pub replica: Arc<Replica>,
    pub term: Term,
    replicas: Arc<Replicas>,
}

impl Reign {
    /// None if this node does not lead the group, or not yet with all that was committed before.
    pub fn of(replicas: &Arc<Replicas>, group: GroupId) -> Option<Reign> {
        let replica = replicas.replica(group)?;
        match replica.snapshot() {
            seen if seen.serves => Some(Reign { term: seen.role.term(), replica, replicas: replicas.clone() }),
            _ => None,
        }
    }

    pub fn lasts(&self) -> bool {
        matches!(self.replica.role(), Role::Leader { term, .. } if term == self.term)
    }

    fn check(&self) -> Result<(), Hitch> {
        if self.lasts() { Ok(()) } else { Err(Hitch::new("this node does not lead the group any more")) }
    }

    /// Hands a batch in. It is in the log only if the reign still lasts when it is applied.
    pub fn propose(&self, batch: Batch) -> Result<Seq, Hitch> {
        self.with_group(|group| log::propose(group, batch))
    }

    /// The same with a batch in its written form.
    pub fn propose_written(&self, batch: Vec<u8>) -> Result<Seq, Hitch> {
        self.with_group(|group| log::propose_written(group, batch))
    }

    fn with_group(&self, propose: impl FnOnce(&Group) -> Result<group::Seq, TooLate>) -> Result<Seq, Hitch> {
        self.check()?;
        let group = self.replica.group().expect("a group that serves runs");
        let seq = propose(group).map_err(|TooLate(_)| Hitch::new("the group does not run here any more"))?;
        group.announce();
        Ok(Seq(seq.0))
    }

    /// Has what is committed applied now.
    pub fn hurry(&self) {
        self.replica.group().into_iter().for_each(|group| group.hurry());
    }

    /// Waits until a batch is applied here.
    pub fn wait_applied(&self, seq: Seq) -> Result<(), Hitch> {
        self.replicas.wait_replica(&self.replica, seq);
        // What is lost counts as applied; but then another leads.
        self.check()
    }

    /// Hands a batch in, and waits until it is applied.
    pub fn carry_out(&self, batch: Batch) -> Result<(), Hitch> {
        let seq = self.propose(batch)?;
        self.wait_applied(seq)
    }

    pub fn has_mark(&self, passage: Passage, name: &[u8; Mark::NAME_BYTES]) -> bool {
        self.replica.contents().marks().iter().any(|mark| mark.passage == passage && mark.name == *name)
    }

    pub fn unmark(&self, passage: Passage, name: &[u8; Mark::NAME_BYTES]) -> Result<(), Hitch> {
        if self.has_mark(passage, name) {
            self.carry_out(vec![Effect::Unmark { passage, name: *name }])
        } else {
            Ok(())
        }
    }

    /// Deletes what the group has in these slots, in which nobody evaluates anything. `hand_in` proposes a batch, and
    /// refuses when somebody else has begun to do something to the slots.
    pub fn clear(
        &self,
        slots: impl Iterator<Item = Slot>,
        hand_in: impl Fn(&Reign, Batch) -> Result<Seq, Hitch>,
    ) -> Result<(), Hitch> {
        let carry_out = |batch| hand_in(self, batch).and_then(|seq| self.wait_applied(seq));
        // What was handed in before may be on its way still. It is applied in order, so from here on it is there to be
        // seen.
        carry_out(Batch::new())?;
        let Some(engine) = self.replica.engine() else {
            let clear = |slot| Effect::Clear { db: DB, slot, hashes: (0, u32::MAX) };
            return carry_out(slots.map(clear).collect());
        };
        let (mut batch, mut keys) = (Batch::new(), 0);
        for slot in slots.filter(|slot| engine.counts(DB, *slot).entries > 0) {
            let mut from = Some(0);
            while let Some(first) = from {
                from = engine.walk_slot(DB, slot, first, CLEARED_AT_ONCE - keys, |_, _, _| keys += 1)?;
                let last = from.map_or(u32::MAX, |next| next - 1);
                batch.push(Effect::Clear { db: DB, slot, hashes: (first, last) });
                if keys >= CLEARED_AT_ONCE {
                    carry_out(std::mem::take(&mut batch))?;
                    keys = 0;
                }
            }
        }
        if batch.is_empty() { Ok(()) } else { carry_out(batch) }
    }
}
