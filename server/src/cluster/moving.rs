//! Keys that MIGRATE is just sending to the node that their slot goes to.
//!
//! As long as this node has a key, its copy is the true one, and nobody is sent to the other. So nothing may change the
//! key between the moment at which it is read and the one at which it is deleted here: whoever deleted it in between
//! would find it again over there. Requests that write to such a key are held back; those that only read go on.
//!
//! Keys are added under the lock of their stripe, in slots that are open for the keywise protocol: there every request
//! looks under its locks which keys are there ([`super::admission`]), and at this set.
//!
//! Bound: what the threads of [`crate::migrate`] have in hand.

use basalt_storage::keyspace::View;
use basalt_storage::slot::Slot;
use hashbrown::HashSet;
use parking_lot::Mutex;

#[derive(Default)]
pub struct Moving {
    keys: Mutex<HashSet<Box<[u8]>>>,
}

impl Moving {
    /// Holds back what would write to these keys, whose stripes the view has locked; nothing happens if another one
    /// moves already. Returns whether it is so now.
    pub fn begin<'a>(&self, view: &View<'_>, keys: impl Iterator<Item = &'a [u8]> + Clone) -> bool {
        let mut moving = self.keys.lock();
        if keys.clone().any(|key| moving.contains(key)) {
            return false;
        }
        for key in keys {
            assert!(view.stripes().contains(Slot::of_key(key).stripe()), "keys begin to move under their locks");
            moving.insert(key.into());
        }
        true
    }

    /// They may be written to again. Those who wait have to be woken then.
    pub fn end<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        let mut moving = self.keys.lock();
        for key in keys {
            moving.remove(key);
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.keys.lock().contains(key)
    }

    pub fn is_empty(&self) -> bool {
        self.keys.lock().is_empty()
    }
}
