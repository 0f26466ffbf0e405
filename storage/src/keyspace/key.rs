//! A key with what finding it needs: computed once per command, used by every lookup.

use crate::slot::Slot;
use crate::table;

/// Slot and hash of a key, computed ahead of its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashedKey {
    pub(super) slot: Slot,
    pub(super) hash: u64,
}

impl HashedKey {
    #[inline]
    pub fn of(bytes: &[u8]) -> HashedKey {
        HashedKey { slot: Slot::of_key(bytes), hash: table::hash(bytes) }
    }

    #[inline]
    pub fn slot(self) -> Slot {
        self.slot
    }

    /// The key again. `bytes` must be what [`HashedKey::of`] was given.
    #[inline]
    pub fn with_bytes(self, bytes: &[u8]) -> Key<'_> {
        Key { bytes, slot: self.slot, hash: self.hash }
    }
}

/// A key's bytes, its slot and its hash in the slot's table.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub slot: Slot,
    pub(crate) hash: u64,
}

impl<'a> Key<'a> {
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, slot: Slot::of_key(bytes), hash: table::hash(bytes) }
    }
}
