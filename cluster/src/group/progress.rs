//! How far a group has come, for whoever asks or waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use thiserror::Error;

use super::core::{Positions, ReplicaProgress};
use super::ids::{LogIndex, Seq, Term};
use super::role::Role;

/// The group came to an end before what was waited for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the group has stopped: {why}")]
pub struct Stopped {
    pub why: String,
}

#[derive(Default)]
pub(super) struct Progress {
    committed: AtomicU64,
    applied: AtomicU64,
    synced: AtomicU64,
    applied_index: AtomicU64,
    /// The group thread waits for something to be applied.
    awaits_applied: AtomicBool,
    /// Until when reads may be served from the lease, in nanoseconds since the group began.
    lease_until: AtomicU64,
    /// Guards nothing but waiting: the numbers above change without it, but waiters are woken with it.
    life: Mutex<Life>,
    change: Condvar,
}

#[derive(Default)]
struct Life {
    waiting: usize,
    serves: Serves,
    role: Option<Role>,
    replicas: Vec<ReplicaProgress>,
    positions: Positions,
    stopped: Option<Stopped>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Serves {
    #[default]
    NotYet,
    Yes,
}

impl Progress {
    pub(super) fn committed(&self) -> Seq {
        Seq(self.committed.load(Ordering::Acquire))
    }

    pub(super) fn applied(&self) -> Seq {
        Seq(self.applied.load(Ordering::Acquire))
    }

    pub(super) fn synced(&self) -> Seq {
        Seq(self.synced.load(Ordering::Acquire))
    }

    pub(super) fn applied_index(&self) -> LogIndex {
        LogIndex(self.applied_index.load(Ordering::SeqCst))
    }

    pub(super) fn note_committed(&self, up_to: Seq) {
        self.committed.store(up_to.0, Ordering::Release);
    }

    /// Two threads may learn of syncs, and the later one need not be the one that knows more.
    pub(super) fn note_synced(&self, up_to: Seq) {
        self.synced.fetch_max(up_to.0, Ordering::AcqRel);
    }

    pub(super) fn note_applied(&self, index: LogIndex, up_to: Option<Seq>) {
        if let Some(up_to) = up_to {
            self.applied.store(up_to.0, Ordering::Release);
        }
        self.applied_index.store(index.0, Ordering::SeqCst);
        let life = self.life.lock();
        if life.waiting > 0 {
            self.change.notify_all();
        }
    }

    pub(super) fn set_awaits_applied(&self, awaits: bool) {
        self.awaits_applied.store(awaits, Ordering::SeqCst);
    }

    pub(super) fn awaits_applied(&self) -> bool {
        self.awaits_applied.load(Ordering::SeqCst)
    }

    pub(super) fn set_lease(&self, until_ns: u64) {
        self.lease_until.store(until_ns, Ordering::Release);
    }

    pub(super) fn lease_until_ns(&self) -> u64 {
        self.lease_until.load(Ordering::Acquire)
    }

    pub(super) fn set_role(&self, role: Role) {
        self.life.lock().role = Some(role);
    }

    pub(super) fn role(&self) -> Role {
        self.life.lock().role.unwrap_or(Role::Follower { term: Term(0), leader: None })
    }

    pub(super) fn set_positions(&self, positions: Positions) {
        self.life.lock().positions = positions;
    }

    pub(super) fn positions(&self) -> Positions {
        self.life.lock().positions
    }

    pub(super) fn set_replicas(&self, replicas: Vec<ReplicaProgress>) {
        self.life.lock().replicas = replicas;
    }

    pub(super) fn replicas(&self) -> Vec<ReplicaProgress> {
        self.life.lock().replicas.clone()
    }

    pub(super) fn wait_applied_index(&self, index: LogIndex) -> Result<(), Stopped> {
        self.wait_until(|_| self.applied_index() >= index)
    }

    pub(super) fn note_serving(&self) {
        self.life.lock().serves = Serves::Yes;
        self.change.notify_all();
    }

    pub(super) fn note_stopped(&self, why: &str) {
        self.life.lock().stopped.get_or_insert_with(|| Stopped { why: why.to_owned() });
        self.change.notify_all();
    }

    pub(super) fn serves(&self) -> Serves {
        self.life.lock().serves
    }

    pub(super) fn wait_applied(&self, seq: Seq) -> Result<(), Stopped> {
        if self.applied() >= seq { Ok(()) } else { self.wait_until(|_| self.applied() >= seq) }
    }

    pub(super) fn wait_serving(&self) -> Result<(), Stopped> {
        self.wait_until(|life| life.serves == Serves::Yes)
    }

    fn wait_until(&self, is_reached: impl Fn(&Life) -> bool) -> Result<(), Stopped> {
        let mut life = self.life.lock();
        life.waiting += 1;
        let result = loop {
            if is_reached(&life) {
                break Ok(());
            }
            if let Some(stopped) = &life.stopped {
                break Err(stopped.clone());
            }
            self.change.wait(&mut life);
        };
        life.waiting -= 1;
        result
    }
}
