//! The gate: holds back what depends on batches that are not committed.
//!
//! Three things wait here: outputs of connections (each connection keeps its own and leaves a waker), what evaluations
//! have caused besides replies ([`Release`]s, let out in order by a thread of their own), and clients that may not
//! evaluate because too much is on its way. In cache mode evaluation is commit, and the gate is always open.
//!
//! Bound: one waker per connection; releases are as many as batches on their way, which the group bounds.

use super::release::Release;
use crate::server::Server;
use basalt_storage::seq::{Seq, SeqMark};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

/// Where outputs and releases wait for their batch.
#[derive(Default)]
pub struct CommitGate {
    committed: SeqMark,
    /// By the batch that they wait for.
    waiting: Mutex<VecDeque<(Seq, Waker)>>,
    /// Clients whose next write waits until less is on its way.
    congested: Mutex<Vec<Waker>>,
    releases: Mutex<VecDeque<(Seq, Release)>>,
    /// There are releases, so their thread must be woken.
    has_releases: AtomicBool,
    released: Condvar,
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

    /// Leaves a waker that is woken when `seq` is committed, unless it is already.
    pub fn wait(&self, seq: Seq, waker: &Waker) -> Passage {
        let mut waiting = self.waiting.lock();
        // Looked at under the lock, so that no commit slips by.
        if self.is_committed(seq) {
            return Passage::Open;
        }
        insert_in_order(&mut waiting, seq, waker.clone());
        Passage::Closed
    }

    /// Leaves a waker that is woken when something on its way has arrived. Whoever leaves it then looks again.
    pub fn wait_for_room(&self, waker: &Waker) {
        self.congested.lock().push(waker.clone());
    }

    /// Something on its way has arrived.
    pub fn note_room(&self) {
        std::mem::take(&mut *self.congested.lock()).into_iter().for_each(Waker::wake);
    }

    /// Lets a release out when `seq` is committed: at once and on this thread, if it is.
    pub fn release(&self, server: &Server, seq: Seq, release: Release) {
        if !self.has_releases.load(Ordering::Acquire) && self.is_committed(seq) {
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
        let mut due: Vec<Waker> = Vec::new();
        {
            let mut waiting = self.waiting.lock();
            while waiting.front().is_some_and(|(awaited, _)| *awaited <= seq) {
                due.extend(waiting.pop_front().map(|(_, waker)| waker));
            }
        }
        due.into_iter().for_each(Waker::wake);
        self.note_room();
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
                let (_, release) = releases.pop_front().expect("the front was just looked at");
                return release;
            }
            self.has_releases.store(!releases.is_empty(), Ordering::Release);
            self.released.wait(&mut releases);
        }
    }
}

/// Most arrive in order, so the place is looked for from the end.
fn insert_in_order<T>(queue: &mut VecDeque<(Seq, T)>, seq: Seq, item: T) {
    let behind = queue.iter().rev().take_while(|(other, _)| *other > seq).count();
    queue.insert(queue.len() - behind, (seq, item));
}
