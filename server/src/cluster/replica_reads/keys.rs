//! What names no keys, on a replica: like Redis's, it shows all that it has a copy of, to whoever asks, as it is.

use crate::cluster::slots::SlotStates;
use crate::durability::replicas::{DB, Replica};
use crate::server::Server;
use basalt_storage::engine::{Engine, SlotCounts};
use basalt_storage::keyspace::{Stored, Unreadable};
use basalt_storage::slot::{Slot, StripeIndex};
use std::sync::Arc;

/// The keys of the slots that this node follows in and shows.
pub struct CopiedKeys<'s> {
    replica: Arc<Replica>,
    states: &'s SlotStates,
}

impl<'s> CopiedKeys<'s> {
    /// None on a node that shows no copies.
    pub fn of(server: &'s Server) -> Option<CopiedKeys<'s>> {
        let cluster = server.cluster()?;
        let replica = cluster.replica_reads()?.replica(cluster)?;
        cluster.is_replica().then_some(CopiedKeys { replica, states: cluster.states() })
    }

    fn engine(&self) -> Arc<Engine> {
        self.replica.engine().expect("only what is on disk is shown as a copy")
    }

    pub fn has(&self, slot: Slot) -> bool {
        self.states.at(slot).is_copied()
    }

    pub fn count(&self) -> SlotCounts {
        self.engine().count_in(DB, |slot| self.has(slot))
    }

    pub fn count_in(&self, slot: Slot) -> usize {
        if self.has(slot) { self.engine().counts(DB, slot).entries as usize } else { 0 }
    }

    pub fn count_in_stripe(&self, stripe: StripeIndex) -> u64 {
        let engine = self.engine();
        stripe.slots().filter(|slot| self.has(*slot)).map(|slot| engine.counts(DB, slot).entries).sum()
    }

    /// Shows about `count` keys of a slot in the order of their hashes, from one on; returns where to go on. Waits for
    /// the disk.
    pub fn walk(
        &self,
        slot: Slot,
        from: u32,
        count: usize,
        mut visit: impl FnMut(Stored<'_>),
    ) -> Result<Option<u32>, Unreadable> {
        let _kept = self.replica.keep();
        let show = |key: &[u8], value_type, expiry| visit(Stored { key, value_type, expiry });
        let walked = self.engine().walk_slot(DB, slot, from, count, show);
        walked.map_err(|error| Unreadable(error.to_string()))
    }
}
