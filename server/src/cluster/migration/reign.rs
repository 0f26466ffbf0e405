//! What a leader does to its group without evaluating anything, for as long as it leads.

use super::Hitch;
use super::ground::{Clearing, Reigning, Walked};
use crate::durability::contents::Contents;
use crate::durability::log;
use crate::durability::replicas::{DB, Replica, Replicas};
use basalt_cluster::group::{self, Group, Role, Term, TooLate};
use basalt_cluster::ids::GroupId;
use basalt_storage::effect::{Batch, Mark};
use basalt_storage::seq::Seq;
use basalt_storage::slot::Slot;
use std::sync::Arc;

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

    fn check(&self) -> Result<(), Hitch> {
        if self.lasts() { Ok(()) } else { Err(Hitch::new("this node does not lead the group any more")) }
    }

    fn with_group(&self, propose: impl FnOnce(&Group) -> Result<group::Seq, TooLate>) -> Result<Seq, Hitch> {
        self.check()?;
        let group = self.replica.group().expect("a group that serves runs");
        let seq = propose(group).map_err(|TooLate(_)| Hitch::new("the group does not run here any more"))?;
        group.announce();
        Ok(Seq(seq.0))
    }
}

impl Reigning for Reign {
    fn group(&self) -> GroupId {
        self.replica.id()
    }

    fn term(&self) -> Term {
        self.term
    }

    fn lasts(&self) -> bool {
        matches!(self.replica.role(), Role::Leader { term, .. } if term == self.term)
    }

    fn propose(&self, batch: Batch) -> Result<Seq, Hitch> {
        self.with_group(|group| log::propose(group, batch))
    }

    fn propose_written(&self, batch: Vec<u8>) -> Result<Seq, Hitch> {
        self.with_group(|group| log::propose_written(group, batch))
    }

    fn hurry(&self) {
        self.replica.group().into_iter().for_each(|group| group.hurry());
    }

    fn wait_applied(&self, seq: Seq) -> Result<(), Hitch> {
        self.replicas.wait_replica(&self.replica, seq);
        // What is lost counts as applied; but then another leads.
        self.check()
    }

    fn marks(&self) -> Vec<Mark> {
        self.replica.contents().marks()
    }

    fn has_keys(&self, slot: Slot) -> bool {
        self.replica.contents().has_keys(slot)
    }

    fn clearing(&self) -> Clearing {
        match self.replica.contents() {
            Contents::OnDisk(_) => Clearing::InPieces,
            Contents::Memory(_) => Clearing::AtOnce,
        }
    }

    fn walk(&self, slot: Slot, from_hash: u32, most: usize) -> Result<Walked, Hitch> {
        let engine = self.replica.engine().ok_or_else(|| Hitch::new("what is in memory alone has no order"))?;
        let mut keys = 0;
        let next = engine.walk_slot(DB, slot, from_hash, most, |_, _, _| keys += 1)?;
        Ok(Walked { keys, next })
    }
}
