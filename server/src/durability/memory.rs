//! Cache mode in a cluster: what the groups of a node have in common: the keyspace, and who is told of changes.
//!
//! As long as each group has one replica, evaluation is commit and nothing is recorded, nor is output held. Only while
//! slots leave are changes listened to ([`Memory::follow`]). When the first of this node's groups gets further
//! replicas, recording begins and does not end again: batches of such a group go into its log ([`super::in_memory`]),
//! those of the others nowhere.

use super::replicas::{DB, Replicas};
use super::split::SplitSink;
use crate::server::Server;
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::Batch;
use basalt_storage::keyspace::follow::Followed;
use basalt_storage::keyspace::{BatchSink, Keyspace};
use basalt_storage::seq::Seq;
use basalt_storage::slot::SlotSet;
use parking_lot::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// What the groups of a node have in common.
pub struct Memory {
    server: Weak<Server>,
    listeners: Arc<Listeners>,
}

impl Memory {
    pub fn new(server: &Arc<Server>) -> Arc<Memory> {
        let listeners = Arc::new(Listeners::default());
        server.keyspace.offer_to(listeners.clone());
        Arc::new(Memory { server: Arc::downgrade(server), listeners })
    }

    /// Without a server, for tests of replicas.
    #[cfg(test)]
    pub fn alone() -> Arc<Memory> {
        Arc::new(Memory { server: Weak::new(), listeners: Arc::default() })
    }

    /// The groups that batches go to. Called once.
    pub fn connect(&self, replicas: &Arc<Replicas>) {
        let connected = self.listeners.replicas.set(Arc::downgrade(replicas));
        assert!(connected.is_ok(), "a node has one set of replicas");
    }

    /// Whether any group has a log that carries something.
    #[inline]
    pub fn has_logs(&self) -> bool {
        self.listeners.has_logs.load(Ordering::Acquire)
    }

    /// From now on batches are recorded, and given to the groups that keep a log. Whoever locks a stripe afterwards
    /// knows that everything evaluated there later is.
    pub fn begin_logs(&self) {
        let Some(server) = self.server.upgrade() else { return };
        // Not under the lock below, which those take who hold stripes.
        server.keyspace.await_batches();
        let _followers = self.listeners.followers.write();
        self.listeners.has_logs.store(true, Ordering::Release);
        server.keyspace.start_recording();
    }

    /// Follows slots until what is returned is dropped.
    pub fn follow(self: &Arc<Self>, slots: SlotSet) -> Following {
        let followed = Arc::new(Followed::new(DB, slots));
        self.change_followers(|all| all.push(followed.clone()));
        Following { followed, memory: self.clone() }
    }

    fn change_followers(&self, change: impl FnOnce(&mut Vec<Arc<Followed>>)) {
        let mut all = self.listeners.followers.write();
        change(&mut all);
        let Some(server) = self.server.upgrade() else { return };
        match all.is_empty() && !self.has_logs() {
            true => server.keyspace.stop_recording(),
            false => server.keyspace.start_recording(),
        }
    }

    pub(super) fn server(&self) -> Option<Arc<Server>> {
        self.server.upgrade()
    }

    pub fn now(&self) -> UnixMs {
        self.server.upgrade().map_or(UnixMs(0), |server| server.now())
    }

    /// An empty keyspace beside the one that clients see.
    pub fn beside(&self) -> Keyspace {
        self.server.upgrade().map_or_else(|| Keyspace::new(1), |server| server.keyspace.beside())
    }
}

/// Told of all batches while there are any.
#[derive(Default)]
struct Listeners {
    followers: RwLock<Vec<Arc<Followed>>>,
    replicas: OnceLock<Weak<Replicas>>,
    has_logs: AtomicBool,
}

impl BatchSink for Listeners {
    fn propose(&self, batch: Batch) -> Seq {
        self.followers.read().iter().for_each(|followed| followed.note(&batch));
        if !self.has_logs.load(Ordering::Acquire) {
            return Seq::NONE;
        }
        let replicas = self.replicas.get().and_then(Weak::upgrade);
        replicas.map_or(Seq::NONE, |replicas| SplitSink { replicas }.propose(batch))
    }
}

/// Slots that are followed.
pub struct Following {
    pub followed: Arc<Followed>,
    memory: Arc<Memory>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.memory.change_followers(|all| all.retain(|other| !Arc::ptr_eq(other, &self.followed)));
    }
}
