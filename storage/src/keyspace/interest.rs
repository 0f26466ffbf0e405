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

/// One transaction's watch of a key.
struct Watch {
    flag: WatchFlag,
    /// What was there when the watch began. That something goes away which was due then is no change.
    found: Sight,
}

/// What is seen of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sight {
    /// What is there, or that nothing is.
    #[default]
    Plain,
    /// An entry that is due: it is there for nobody, and goes away when somebody asks for it.
    Due,
}

/// How a key changed, as far as watches care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    Changed,
    /// It went away because it was due.
    Expired,
}

#[derive(Default)]
struct Interest {
    watches: Vec<Watch>,
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
    pub(super) fn key_changed(&mut self, db: DbIndex, key: &[u8], touch: Touch) -> bool {
        let Some(interest) = self.by_key.get_mut(&(db, Box::from(key))) else { return false };
        for watch in &mut interest.watches {
            // The next key of this name is another one, so the exception holds once.
            let is_known_end = std::mem::take(&mut watch.found) == Sight::Due && touch == Touch::Expired;
            if !is_known_end {
                watch.flag.raise();
            }
        }
        interest.waiters > 0
    }

    pub(super) fn watch(&mut self, db: DbIndex, key: &Key<'_>, flag: WatchFlag, found: Sight) {
        self.by_key.entry((db, Box::from(key.bytes))).or_default().watches.push(Watch { flag, found });
    }

    pub(super) fn unwatch(&mut self, db: DbIndex, key: &Key<'_>, flag: &WatchFlag) {
        self.change(db, key, |interest| interest.watches.retain(|other| !Arc::ptr_eq(&other.flag.0, &flag.0)));
    }

    /// What was there when this watch began, or has taken its place unseen.
    pub(super) fn found_by(&self, db: DbIndex, key: &Key<'_>, flag: &WatchFlag) -> Sight {
        let interest = self.by_key.get(&(db, Box::from(key.bytes)));
        let of_flag = |watch: &&Watch| Arc::ptr_eq(&watch.flag.0, &flag.0);
        interest.and_then(|interest| interest.watches.iter().find(of_flag)).map_or(Sight::Plain, |watch| watch.found)
    }

    /// Another entry that nobody can see has taken the key's place: for its watches nothing has changed.
    pub(super) fn replaced_unseen(&mut self, db: DbIndex, key: &[u8], by: Sight) {
        if let Some(interest) = self.by_key.get_mut(&(db, Box::from(key))) {
            interest.watches.iter_mut().for_each(|watch| watch.found = by);
        }
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
