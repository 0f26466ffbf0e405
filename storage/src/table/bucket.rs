//! One word of a segment: the address of an item, and in the 16 bits no address uses, its tag and its mark.
//!
//! The tag lies above the mark, so that a shift alone yields it. Provenance is kept: the word is a pointer and only
//! its address is mapped, never rebuilt from an integer.

use std::ptr::{self, NonNull};

const ADDRESS_BITS: u32 = 48;
const ADDRESS: usize = (1 << ADDRESS_BITS) - 1;
const MARK: usize = 1 << ADDRESS_BITS;
const TAG_SHIFT: u32 = ADDRESS_BITS + 1;

/// The part of a hash that orders the items of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(u16);

impl Tag {
    pub const BITS: u32 = 15;
    pub const ZERO: Self = Self(0);

    /// Mixes the low bits with bits that the directory, which takes them from the top, does not look at.
    #[inline]
    pub fn of(hash: u64) -> Self {
        Self::from_bits(hash ^ (hash >> 32))
    }

    #[inline]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits as u16 & ((1 << Self::BITS) - 1))
    }

    #[inline]
    pub fn bits(self) -> u64 {
        u64::from(self.0)
    }
}

/// The one bit per item that belongs to the owner of the table; the keyspace sets it on what has an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Clear,
    Set,
}

/// An occupied or empty word. It does not own what it points to: the table does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket(*mut u8);

impl Bucket {
    pub const EMPTY: Self = Self(ptr::null_mut());

    #[inline]
    pub fn new(item: NonNull<u8>, tag: Tag, mark: Mark) -> Self {
        let mark = if mark == Mark::Set { MARK } else { 0 };
        Self(item.as_ptr().map_addr(|address| {
            assert!(address <= ADDRESS, "an item lies beyond the 48 bits of user space");
            address | mark | usize::from(tag.0) << TAG_SHIFT
        }))
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.is_null()
    }

    /// The address of the item, or nothing if the bucket is empty.
    #[inline]
    pub fn item(self) -> Option<NonNull<u8>> {
        NonNull::new(self.0.map_addr(|address| address & ADDRESS))
    }

    /// The tag of the item; zero if the bucket is empty.
    #[inline]
    pub fn tag(self) -> Tag {
        Tag((self.0.addr() >> TAG_SHIFT) as u16)
    }

    #[inline]
    pub fn mark(self) -> Mark {
        if self.0.addr() & MARK == 0 { Mark::Clear } else { Mark::Set }
    }

    /// The same tag and mark on another address.
    #[inline]
    pub fn with_item(self, item: NonNull<u8>) -> Self {
        Self::new(item, self.tag(), self.mark())
    }

    #[inline]
    pub fn with_mark(self, mark: Mark) -> Self {
        Self(self.0.map_addr(|address| match mark {
            Mark::Clear => address & !MARK,
            Mark::Set => address | MARK,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_returns_what_was_packed() {
        let mut byte = 0u64;
        let item = NonNull::from(&mut byte).cast::<u8>();
        for tag in [0, 1, 0x4000, 0x7fff].map(Tag::from_bits) {
            for mark in [Mark::Clear, Mark::Set] {
                let bucket = Bucket::new(item, tag, mark);
                assert_eq!((bucket.item(), bucket.tag(), bucket.mark()), (Some(item), tag, mark));
                assert_eq!(bucket.with_mark(Mark::Set).mark(), Mark::Set);
                assert_eq!(bucket.with_mark(Mark::Clear).mark(), Mark::Clear);
                assert!(bucket.with_item(item) == bucket && !bucket.is_empty());
            }
        }
        assert!(Bucket::EMPTY.is_empty() && Bucket::EMPTY.item().is_none() && Bucket::EMPTY.tag() == Tag::ZERO);
    }
}
