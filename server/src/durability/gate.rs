//! The gate: holds back what depends on batches that are not committed.
//!
//! Three things wait here: outputs of connections (each connection keeps its own and leaves a waker with the relay of
//! its thread), what evaluations have caused besides replies ([`Release`]s, let out in order by a thread of their own),
//! and clients that may not evaluate because too much is on its way. In cache mode evaluation is commit, and the gate
//! is always open.
//!
//! A batch can be lost: this node proposed it as the leader of a group, and stopped leading before it was committed. It
//! may be committed or not, so nobody who depends on it may be told anything: [`Losses`] knows such batches, and the
//! connections that hold output which depends on one are closed.
//!
//! Bound: one waker per connection; releases are as many as batches on their way, which the group bounds.

use super::losses::{Losses, Reign};
use super::relay::{self, Relay, insert_in_order};
use super::release::Release;
use crate::server::Server;
use basalt_storage::keyspace::high_water::Span;
use basalt_storage::seq::{Seq, SeqMark};
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

/// Where outputs and releases wait for their batch.
#[derive(Default)]
pub struct CommitGate {
    committed: SeqMark,
    losses: Losses,
    leases: OnceLock<Arc<dyn Leases>>,
    /// One for each network thread.
    relays: RwLock<Vec<Arc<Relay>>>,
    releases: Mutex<VecDeque<(Seq, Release)>>,
    /// There are releases, so their thread must be woken.
    has_releases: AtomicBool,
    released: Condvar,
}

/// Whether what was read here is still what is so. Without one it always is.
pub trait Leases: Send + Sync {
    /// Whether nobody else can have become the leader of a group that this node leads. If not, those who wait for room
    /// are woken when that has changed.
    fn are_valid(&self) -> bool;
}

/// Whether one has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Open,
    /// The waker will be woken.
    Closed,
}

impl CommitGate {
    #[inline]
    pub fn committed(&self) -> Seq {
        self.committed.load()
    }

    #[inline]
    pub fn is_committed(&self, seq: Seq) -> bool {
        seq == Seq::NONE || seq <= self.committed.load()
    }

    /// From now on nothing that was read leaves without a lease. Called once.
    pub fn ask(&self, leases: Arc<dyn Leases>) {
        assert!(self.leases.set(leases).is_ok(), "there is one who knows the leases");
    }

    #[inline]
    pub fn has_leases(&self) -> bool {
        self.leases.get().is_none_or(|leases| leases.are_valid())
    }

    /// How often this node has lost the lead of a group.
    #[inline]
    pub fn reign(&self) -> Reign {
        self.losses.reign()
    }

    /// Whether output that depends on these batches must not leave any more. What is committed already is not lost.
    pub fn is_lost(&self, span: Span) -> bool {
        self.losses.meet(span)
    }

    /// Batches whose fate was unknown since the start, about.
    pub fn lost_batches(&self) -> u64 {
        self.losses.batches()
    }

    /// The fate of these batches is unknown: whoever depends on one of them is never answered. To be said before the
    /// mark of what is committed passes them.
    pub fn note_lost(&self, batches: RangeInclusive<Seq>) {
        self.losses.note(batches);
        self.relays.read().iter().for_each(|relay| relay.wake_all());
    }

    /// This node does not lead a group any more: what was read of it and has not left must not leave.
    pub fn note_deposed(&self) {
        self.losses.note_deposed();
        self.relays.read().iter().for_each(|relay| relay.wake_all());
    }

    /// Leaves a waker that is woken when `seq` is committed, unless it is already.
    pub fn wait(&self, seq: Seq, waker: &Waker) -> Passage {
        if self.is_committed(seq) {
            return Passage::Open;
        }
        relay::own(|relay| relay.wait(seq, &self.committed, waker))
    }

    /// Leaves a waker that is woken when something on its way has arrived. Whoever leaves it then looks again.
    pub fn wait_for_room(&self, waker: &Waker) {
        relay::own(|relay| relay.wait_for_room(waker));
    }

    /// Something on its way has arrived.
    pub fn note_room(&self) {
        self.relays.read().iter().for_each(|relay| relay.note_room());
    }

    /// Serves the connections of the calling network thread, which runs this beside them; never ends. Batches that
    /// they have proposed are announced with `announce`.
    pub async fn relay(&self, announce: impl Fn()) {
        let relay = Arc::new(Relay::default());
        relay::adopt(relay.clone());
        self.relays.write().push(relay.clone());
        relay.run(&self.committed, announce).await;
    }

    /// Lets a release out when `seq` is committed: at once and on this thread, if it is.
    pub fn release(&self, server: &Server, seq: Seq, release: Release) {
        if !self.has_releases.load(Ordering::Acquire) && self.is_committed(seq) && self.losses.is_empty() {
            return release.let_out(server);
        }
        let mut releases = self.releases.lock();
        insert_in_order(&mut releases, seq, release);
        self.has_releases.store(true, Ordering::Release);
        // It may have been committed since.
        self.released.notify_one();
    }

    /// All batches up to this one are committed.
    pub fn note_committed(&self, seq: Seq) {
        self.committed.advance(seq);
        self.relays.read().iter().for_each(|relay| relay.note_committed(seq));
        if self.has_releases.load(Ordering::Acquire) {
            let _releases = self.releases.lock();
            self.released.notify_one();
        }
    }

    /// The next release whose batch is committed; waits for it. For the thread that lets releases out.
    pub(super) fn next_release(&self) -> Release {
        let mut releases = self.releases.lock();
        loop {
            if releases.front().is_some_and(|(awaited, _)| self.is_committed(*awaited)) {
                let (seq, release) = releases.pop_front().expect("the front was just looked at");
                return if self.is_lost(Span { first: seq, last: seq }) { release.lost() } else { release };
            }
            self.has_releases.store(!releases.is_empty(), Ordering::Release);
            self.released.wait(&mut releases);
        }
    }
}
