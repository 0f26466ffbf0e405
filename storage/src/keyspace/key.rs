//! A key with what finding it needs: computed once per command, used by every lookup.

use crate::slot::Slot;
use crate::table;

/// A key's bytes, its slot and its hash in the slot's table.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub slot: Slot,
    pub(crate) hash: u64,
}

impl<'a> Key<'a> {
    /// The slot of a key whose hash is not needed.
    #[inline]
    pub fn slot_of(bytes: &[u8]) -> Slot {
        Slot::of_key(bytes)
    }

    #[inline]
    pub fn new(bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, slot: Slot::of_key(bytes), hash: table::hash(bytes) }
    }
}
