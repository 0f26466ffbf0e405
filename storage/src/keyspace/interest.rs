//! Who must hear when a key changes: transactions that WATCH it, and clients that wait for it.
//!
//! Lives in the stripe of the key, under its lock, so that no change slips between looking and registering. The waiting
//! clients themselves are the server's concern; here is only their number.

use super::key::Key;
use crate::effect::DbIndex;
use hashbrown::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Raised when a watched key changed; shared between a client's transaction and the keys that it watches.
#[derive(Clone, Debug, Default)]
pub struct WatchFlag(Arc<AtomicBool>);

impl WatchFlag {
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }
}

#[derive(Default)]
struct Interest {
    watches: Vec<WatchFlag>,
    waiters: usize,
}

/// The interest in the keys of one stripe.
#[derive(Default)]
pub(super) struct Interests {
    by_key: HashMap<(DbIndex, Box<[u8]>), Interest>,
}

impl Interests {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Raises the flags of a key that changed; returns whether clients wait for it.
    pub(super) fn key_changed(&self, db: DbIndex, key: &[u8]) -> bool {
        let Some(interest) = self.by_key.get(&(db, Box::from(key))) else { return false };
        interest.watches.iter().for_each(WatchFlag::raise);
        interest.waiters > 0
    }

    pub(super) fn watch(&mut self, db: DbIndex, key: &Key<'_>, flag: WatchFlag) {
        self.by_key.entry((db, Box::from(key.bytes))).or_default().watches.push(flag);
    }

    pub(super) fn unwatch(&mut self, db: DbIndex, key: &Key<'_>, flag: &WatchFlag) {
        self.change(db, key, |interest| interest.watches.retain(|other| !Arc::ptr_eq(&other.0, &flag.0)));
    }

    pub(super) fn add_waiter(&mut self, db: DbIndex, key: &Key<'_>) {
        self.by_key.entry((db, Box::from(key.bytes))).or_default().waiters += 1;
    }

    pub(super) fn remove_waiter(&mut self, db: DbIndex, key: &Key<'_>) {
        self.change(db, key, |interest| {
            assert!(interest.waiters > 0, "every waiter is removed once");
            interest.waiters -= 1;
        });
    }

    fn change(&mut self, db: DbIndex, key: &Key<'_>, change: impl FnOnce(&mut Interest)) {
        let name = (db, Box::from(key.bytes));
        if let Some(interest) = self.by_key.get_mut(&name) {
            change(interest);
            if interest.watches.is_empty() && interest.waiters == 0 {
                self.by_key.remove(&name);
            }
        }
    }

    /// The keys of one database that somebody is interested in, with whether clients wait for them.
    pub(super) fn keys_of(&self, db: DbIndex) -> impl Iterator<Item = (&[u8], bool)> {
        self.by_key
            .iter()
            .filter(move |((of, _), _)| *of == db)
            .map(|((_, key), interest)| (&key[..], interest.waiters > 0))
    }
}
