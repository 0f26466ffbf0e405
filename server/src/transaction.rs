//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: a transaction's queue and its watches.
//!
//! EXEC locks the stripes of all queued commands at once and evaluates them without letting go, so a transaction is one
//! indivisible evaluation with one batch of effects.

use crate::server::Server;
use crate::session::Queued;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::{Key, WatchFlag};
use basalt_storage::slot::StripeSet;

/// The transaction state of one connection.
#[derive(Default)]
pub struct Transaction {
    pub phase: Phase,
    pub watches: Watches,
}

/// Whether commands are queued or run.
#[derive(Default)]
pub enum Phase {
    #[default]
    None,
    Queueing {
        queue: Vec<Queued>,
        /// A command could not be queued, so EXEC will refuse.
        is_broken: bool,
    },
}

impl Transaction {
    #[inline]
    pub fn is_queueing(&self) -> bool {
        matches!(self.phase, Phase::Queueing { .. })
    }

    /// A command was refused while queueing: EXEC must fail.
    pub fn note_refusal(&mut self) {
        if let Phase::Queueing { is_broken, .. } = &mut self.phase {
            *is_broken = true;
        }
    }

    /// Bytes held by queued commands.
    pub fn queued_bytes(&self) -> usize {
        match &self.phase {
            Phase::None => 0,
            Phase::Queueing { queue, .. } => {
                queue.iter().map(|queued| queued.args.heap_bytes() + size_of::<Queued>()).sum()
            }
        }
    }
}

/// The keys that a client watches, all with one flag.
#[derive(Default)]
pub struct Watches {
    flag: WatchFlag,
    keys: Vec<Watched>,
}

struct Watched {
    db: DbIndex,
    key: Box<[u8]>,
    /// It was due already when WATCH was called: its being deleted for that is no change.
    was_due: bool,
}

impl Watches {
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn add(&mut self, server: &Server, db: DbIndex, bytes: &[u8]) {
        if self.keys.iter().any(|watched| watched.db == db && *watched.key == *bytes) {
            return;
        }
        let key = Key::new(bytes);
        let mut view = server.keyspace.lock(StripeSet::of(key.slot.stripe()), server.now());
        view.stop_touching();
        view.stop_expiring();
        let was_due = view.peek(db, &key).and_then(|entry| entry.expiry()).is_some_and(|at| at.is_due(view.now()));
        view.watch(db, &key, self.flag.clone());
        self.keys.push(Watched { db, key: bytes.into(), was_due });
    }

    /// Forgets all watches.
    pub fn clear(&mut self, server: &Server) {
        for watched in self.keys.drain(..) {
            let key = Key::new(&watched.key);
            let mut view = server.keyspace.lock(StripeSet::of(key.slot.stripe()), server.now());
            view.unwatch(watched.db, &key, &self.flag);
        }
        self.flag = WatchFlag::default();
    }

    /// The stripes of all watched keys: EXEC checks them under their locks.
    pub fn stripes(&self) -> StripeSet {
        let of = |watched: &Watched| StripeSet::of(Key::new(&watched.key).slot.stripe());
        self.keys.iter().map(of).fold(StripeSet::EMPTY, StripeSet::union)
    }

    /// Whether a watched key has changed, or has come due since.
    pub fn are_broken(&self, view: &mut basalt_storage::keyspace::View<'_>) -> bool {
        let now = view.now();
        view.stop_expiring();
        let mut is_newly_due = |watched: &Watched| {
            let entry = view.peek(watched.db, &Key::new(&watched.key));
            !watched.was_due && entry.and_then(|entry| entry.expiry()).is_some_and(|at| at.is_due(now))
        };
        let broken = self.flag.is_raised() || self.keys.iter().any(&mut is_newly_due);
        view.resume_expiring();
        broken
    }
}
