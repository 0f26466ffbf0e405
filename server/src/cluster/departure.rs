//! What clients hear when slots leave this node: those who wait for keys, and those who listen to shard channels.
//!
//! Both are looked for after the slots' states have changed: whoever comes later is sent elsewhere when he asks.

use super::Cluster;
use super::admission::{CLUSTER_DOWN, NOT_SERVED};
use super::route::Cover;
use super::slots::SlotState;
use crate::blocked::End;
use crate::error::CommandError;
use crate::server::Server;
use basalt_storage::slot::{SLOT_COUNT, Slot};

/// What Redis tells those who wait at a master that becomes a replica, before it closes their connections. Also said
/// while nobody knows who the new master is.
pub const BECAME_REPLICA: CommandError =
    CommandError::new("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)");

impl Cluster {
    /// Ends what clients have here in these slots. Called without locks, after the states have changed.
    pub fn slots_left(&self, server: &Server, slots: &[Slot]) {
        if slots.is_empty() {
            return;
        }
        let mut is_left = vec![false; SLOT_COUNT];
        slots.iter().for_each(|slot| is_left[usize::from(slot.number())] = true);
        for (client, slot) in server.blocked.waiting_in(&|slot: Slot| is_left[usize::from(slot.number())]) {
            let error = match self.states.at(slot) {
                _ if self.cover() == Cover::Down => CLUSTER_DOWN,
                SlotState::Absent => NOT_SERVED,
                SlotState::Copied => BECAME_REPLICA,
                SlotState::Waiting | SlotState::Orphaned => BECAME_REPLICA,
                _ => self.moved(server, slot).unwrap_or(CLUSTER_DOWN),
            };
            server.blocked.end(server, client, End::Elsewhere(error));
        }
        let has_gone = |slot: Slot| is_left[usize::from(slot.number())] && !self.states.at(slot).keeps_waiters();
        server.pubsub.leave_slots(&has_gone);
    }

    /// The cluster is down: nobody can say when, so nobody goes on waiting.
    pub fn unblock_all(&self, server: &Server) {
        for (client, _) in server.blocked.waiting_in(&|_| true) {
            server.blocked.end(server, client, End::Error(CLUSTER_DOWN));
        }
    }
}
