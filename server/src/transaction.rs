//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: a transaction's queue and its watches.
//!
//! EXEC locks the stripes of all queued commands at once and evaluates them without letting go, so a transaction is one
//! indivisible evaluation with one batch of effects.

use crate::server::Server;
use crate::session::Queued;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::{Key, View, WatchFlag};
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
        view.watch(db, &key, self.flag.clone());
        self.keys.push(Watched { db, key: bytes.into() });
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
    pub fn are_broken(&self, view: &View<'_>) -> bool {
        let has_come_due = |watched: &Watched| view.has_come_due(watched.db, &Key::new(&watched.key), &self.flag);
        self.flag.is_raised() || self.keys.iter().any(has_come_due)
    }
}
