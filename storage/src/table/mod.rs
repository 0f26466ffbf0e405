//! The one hash table: keyspace slots, sets, hashes and sorted-set members all lie in a `Table`.
//!
//! There are 16384 tables per database, most of them small, so an empty one is two words and an item costs one word
//! plus the gaps, about 9.5 bytes in all. A table is one sorted segment (`segment`) up to about a thousand items;
//! beyond, a directory of segments that split one at a time (`directory`), so that no insert ever stalls. `bucket`
//! packs an item's address with its tag, and `scan` walks in an order that growth does not change.
//!
//! Invariants that the unsafe code rests on:
//! - A bucket holds an address exactly while the table owns the item there: whoever writes an address into a bucket
//!   got it from `Item::into_raw`, and whoever gives an item away has first emptied or overwritten its bucket. (Only
//!   a panic inside `Item::key`, `Item::drop` or a visitor may leak items; none can free one twice.)
//! - An `ItemRef` is a bitwise second handle that is never dropped. It borrows the table, so that meanwhile no bucket
//!   changes and no item goes away.
//! - While `update` lends out an item, the table is borrowed exclusively and a guard writes the item's address back,
//!   also when the closure panics.
//! - A `Segment` owns a boxed slice of exactly `capacity` initialised buckets, or nothing when that is zero.
//! - No memory safety depends on a `Loc`, a `ScanCursor` or a hash: what they lead to is checked.

mod bucket;
mod directory;
mod scan;
mod segment;
#[cfg(test)]
mod tests;

use smallvec::SmallVec;
use std::hash::Hasher;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::OnceLock;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

pub use self::bucket::Mark;
use self::bucket::{Bucket, Tag};
use self::directory::Directory;
pub use self::scan::ScanCursor;
use self::segment::{CAPACITY_MAX, Segment};
use crate::rng::Rng;

/// What a table holds: a value that owns one heap allocation through one thin, 8-aligned, non-null pointer.
///
/// # Safety
/// - `into_raw` and `from_raw` round-trip ownership and do nothing else.
/// - The address is below 2^48.
/// - `key` is stable while the item is in a table, also when `Table::update` changes or moves the item.
/// - Several handles from `from_raw` may exist at once as long as they are only read, and none is dropped. (So the
///   type wraps a `NonNull`, not a `Box`, which claims to be the only one.)
pub unsafe trait Item: Sized {
    fn key(&self) -> &[u8];

    fn into_raw(self) -> NonNull<u8>;

    /// # Safety
    /// `raw` came from `into_raw` of the same type, and whoever calls this several times drops at most one result.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;
}

/// Where an item is. Valid until the next insert or removal in the same table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loc {
    /// The directory entry that holds the segment; zero without a directory.
    entry: u32,
    bucket: u32,
}

impl Loc {
    /// Both parts are bounded: entries by 2^18, and buckets by what a segment's capacity can be.
    #[inline]
    fn new(entry: usize, bucket: usize) -> Self {
        Self { entry: entry as u32, bucket: bucket as u32 }
    }
}

/// The hash that all tables of the process use. Its seed is random, so that no client can choose colliding keys.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    static SEED: OnceLock<(u64, SharedSeed)> = OnceLock::new();
    let (seed, shared) = SEED.get_or_init(|| {
        let mut rng = Rng::from_entropy();
        (rng.next_u64(), SharedSeed::from_u64(rng.next_u64()))
    });
    let mut hasher = FoldHasher::with_seed(*seed, shared);
    hasher.write(key);
    hasher.finish()
}

/// A set of items with distinct keys.
pub struct Table<T: Item> {
    root: Root,
    items: PhantomData<T>,
}

enum Root {
    One(Segment),
    Many(Box<Directory>),
}

/// A borrowed item.
pub struct ItemRef<'a, T: Item> {
    item: ManuallyDrop<T>,
    table: PhantomData<&'a T>,
}

const _: () = assert!(size_of::<Table<NeverItem>>() == 16, "there are 16384 tables in every database");

// SAFETY: a table owns its items and has no other state than they and plain memory, so it may go wherever they may.
unsafe impl<T: Item + Send> Send for Table<T> {}
// SAFETY: a shared table hands out shared items only, and has no interior mutability of its own.
unsafe impl<T: Item + Sync> Sync for Table<T> {}

impl<T: Item> Table<T> {
    pub const fn new() -> Self {
        Self { root: Root::One(Segment::EMPTY), items: PhantomData }
    }

    #[inline]
    pub fn len(&self) -> usize {
        match &self.root {
            Root::One(segment) => segment.len(),
            Root::Many(directory) => directory.len(),
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Loc> {
        let (entry, segment) = match &self.root {
            Root::One(segment) => (0, segment),
            Root::Many(directory) => {
                let owner = directory.owner(hash);
                (owner, &directory.entries()[owner].segment)
            }
        };
        // SAFETY: `find` passes addresses of occupied buckets only, and the handle dies in the closure.
        let bucket = segment.find(Tag::of(hash), |item| unsafe { ItemRef::<T>::new(item) }.key() == key)?;
        Some(Loc::new(entry, bucket))
    }

    /// Asks the processor for the buckets that [`Table::find`] will look at.
    #[inline]
    pub(crate) fn prefetch_buckets(&self, hash: u64) {
        self.segment_of(hash).prefetch_buckets(Tag::of(hash));
    }

    /// Asks the processor for the item that [`Table::find`] will look at.
    #[inline]
    pub(crate) fn prefetch_item(&self, hash: u64) {
        self.segment_of(hash).prefetch_item(Tag::of(hash));
    }

    /// Asks the processor for what finding each of these keys will look at: all buckets first, then all items.
    pub(crate) fn prefetch<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        let hashes: SmallVec<[u64; 32]> = keys.map(hash).collect();
        hashes.iter().for_each(|hash| self.prefetch_buckets(*hash));
        hashes.iter().for_each(|hash| self.prefetch_item(*hash));
    }

    #[inline]
    fn segment_of(&self, hash: u64) -> &Segment {
        match &self.root {
            Root::One(segment) => segment,
            Root::Many(directory) => &directory.entries()[directory.owner(hash)].segment,
        }
    }

    /// `find` for who needs neither the hash nor the place.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<ItemRef<'_, T>> {
        self.find(hash(key), key).map(|loc| self.at(loc))
    }

    /// The allocation of an item, for items that lend out parts of themselves for as long as the table is borrowed.
    #[inline]
    pub(crate) fn raw(&self, loc: Loc) -> NonNull<u8> {
        self.bucket(loc).item().expect("a place that is still valid")
    }

    #[inline]
    pub fn at(&self, loc: Loc) -> ItemRef<'_, T> {
        let item = self.bucket(loc).item().expect("a place that is still valid");
        // SAFETY: the bucket is occupied, and the result borrows the table.
        unsafe { ItemRef::new(item) }
    }

    /// Lends out an item for changes. The closure may put another in its place, if it has the same key.
    #[inline]
    pub fn update<R>(&mut self, loc: Loc, f: impl FnOnce(&mut T) -> R) -> R {
        let bucket = self.bucket_mut(loc);
        let raw = bucket.item().expect("a place that is still valid");
        // SAFETY: the bucket is occupied. The table is borrowed until the guard has stored the item again, so that
        // nobody sees the address that may be stale meanwhile.
        let item = ManuallyDrop::new(unsafe { T::from_raw(raw) });
        f(&mut WriteBack { bucket, item }.item)
    }

    /// Adds an item whose key is not in the table: the caller has just looked for it. `hash` is that of the function
    /// `hash`, by which a large table finds the item's new place when a segment splits.
    #[inline]
    pub fn insert_new(&mut self, hash: u64, item: T) -> Loc {
        let bucket = Bucket::new(item.into_raw(), Tag::of(hash), Mark::Clear);
        if let Root::One(segment) = &mut self.root {
            if segment.is_full() && segment.capacity() < CAPACITY_MAX {
                segment.grow();
            }
            if !segment.is_full() {
                return Loc::new(0, segment.insert(bucket));
            }
        }
        self.insert_in_directory(hash, bucket)
    }

    fn insert_in_directory(&mut self, hash: u64, bucket: Bucket) -> Loc {
        if let Root::One(segment) = &mut self.root {
            let segment = mem::replace(segment, Segment::EMPTY);
            self.root = Root::Many(Box::new(Directory::new(segment)));
        }
        let Root::Many(directory) = &mut self.root else { unreachable!("one segment has just become a directory") };
        let (owner, at) = directory.insert(hash, bucket, Self::rehash);
        Loc::new(owner, at)
    }

    fn rehash(bucket: Bucket) -> u64 {
        let item = bucket.item().expect("only occupied buckets move");
        // SAFETY: segments hold addresses of owned items only; the handle dies here.
        hash(unsafe { ItemRef::<T>::new(item) }.key())
    }

    /// Puts another item with the same key in a place; the mark stays.
    #[inline]
    pub fn replace(&mut self, loc: Loc, item: T) -> T {
        let bucket = self.bucket_mut(loc);
        let old = bucket.item().expect("a place that is still valid");
        *bucket = bucket.with_item(item.into_raw());
        // SAFETY: the table owned the old item, and its bucket has just been overwritten.
        unsafe { T::from_raw(old) }
    }

    #[inline]
    pub fn remove(&mut self, loc: Loc) -> T {
        let bucket = match &mut self.root {
            Root::One(segment) => {
                let removed = segment.remove(loc.bucket as usize);
                segment.shrink();
                removed
            }
            Root::Many(directory) => {
                let removed = directory.remove(loc.entry as usize, loc.bucket as usize);
                self.dissolve_directory();
                removed
            }
        };
        let item = bucket.item().expect("removed buckets were occupied");
        // SAFETY: the table owned the item, and its bucket is gone.
        unsafe { T::from_raw(item) }
    }

    /// Goes back to one segment if all have merged into one.
    fn dissolve_directory(&mut self) {
        if let Root::Many(directory) = &mut self.root
            && let Some(segment) = directory.take_last_segment()
        {
            self.root = Root::One(segment);
        }
    }

    /// Sets or clears the one bit that an item has for its owner.
    #[inline]
    pub fn mark(&mut self, loc: Loc, mark: Mark) {
        let bucket = self.bucket_mut(loc);
        assert!(!bucket.is_empty(), "a place that is still valid");
        *bucket = bucket.with_mark(mark);
    }

    #[inline]
    pub fn is_marked(&self, loc: Loc) -> bool {
        self.bucket(loc).mark() == Mark::Set
    }

    /// All items, in scan order.
    pub fn iter(&self) -> impl Iterator<Item = ItemRef<'_, T>> {
        let buckets = (0..self.entry_count()).flat_map(|entry| self.segment(entry).occupied());
        // SAFETY: `occupied` yields occupied buckets, and the results borrow the table.
        buckets.filter_map(|bucket| bucket.item()).map(|item| unsafe { ItemRef::new(item) })
    }

    /// Drops all items, in time proportional to their number.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// What the table itself has allocated, without its items.
    pub fn heap_bytes(&self) -> usize {
        match &self.root {
            Root::One(segment) => segment.heap_bytes(),
            Root::Many(directory) => directory.heap_bytes(),
        }
    }

    #[inline]
    fn entry_count(&self) -> usize {
        match &self.root {
            Root::One(_) => 1,
            Root::Many(directory) => directory.entries().len(),
        }
    }

    /// The segment in a directory entry: an empty one if the entry belongs to the segment of another.
    #[inline]
    fn segment(&self, entry: usize) -> &Segment {
        match &self.root {
            Root::One(segment) => segment,
            Root::Many(directory) => &directory.entries()[entry].segment,
        }
    }

    #[inline]
    fn bucket(&self, loc: Loc) -> Bucket {
        self.segment(loc.entry as usize).buckets()[loc.bucket as usize]
    }

    #[inline]
    fn bucket_mut(&mut self, loc: Loc) -> &mut Bucket {
        let segment = match &mut self.root {
            Root::One(segment) => segment,
            Root::Many(directory) => directory.segment_mut(loc.entry as usize),
        };
        &mut segment.buckets_mut()[loc.bucket as usize]
    }
}

impl<T: Item> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Item> Drop for Table<T> {
    fn drop(&mut self) {
        for entry in 0..self.entry_count() {
            for item in self.segment(entry).occupied().filter_map(Bucket::item) {
                // SAFETY: the table owns what its buckets point to, visits each once, and nobody reads them again.
                drop(unsafe { T::from_raw(item) });
            }
        }
    }
}

impl<'a, T: Item> ItemRef<'a, T> {
    /// # Safety
    /// `item` is the address in an occupied bucket of a table that stays borrowed for `'a`.
    #[inline]
    unsafe fn new(item: NonNull<u8>) -> Self {
        // SAFETY: the address came from `into_raw`, and `ManuallyDrop` keeps this second handle from being dropped.
        Self { item: ManuallyDrop::new(unsafe { T::from_raw(item) }), table: PhantomData }
    }
}

impl<T: Item> Deref for ItemRef<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.item
    }
}

/// Stores a lent item's address in its bucket again, whichever way the borrower leaves.
struct WriteBack<'a, T: Item> {
    bucket: &'a mut Bucket,
    item: ManuallyDrop<T>,
}

impl<T: Item> Drop for WriteBack<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the item is taken once, here, where the guard ends.
        let item = unsafe { ManuallyDrop::take(&mut self.item) };
        *self.bucket = self.bucket.with_item(item.into_raw());
    }
}

/// The items of a table that is given up; those not yet taken are dropped with it.
pub struct IntoIter<T: Item> {
    table: Table<T>,
    next: Loc,
}

impl<T: Item> IntoIterator for Table<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { table: self, next: Loc::new(0, 0) }
    }
}

impl<T: Item> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        while (self.next.entry as usize) < self.table.entry_count() {
            if self.next.bucket as usize == self.table.segment(self.next.entry as usize).capacity() {
                self.next = Loc::new(self.next.entry as usize + 1, 0);
                continue;
            }
            // The order of the segment suffers, but nobody looks for an item any more.
            let bucket = mem::replace(self.table.bucket_mut(self.next), Bucket::EMPTY);
            self.next.bucket += 1;
            if let Some(item) = bucket.item() {
                // SAFETY: the table owned the item, and its bucket has just been emptied.
                return Some(unsafe { T::from_raw(item) });
            }
        }
        None
    }
}

/// Stands for any item type where only the size of a table matters.
enum NeverItem {}

// SAFETY: there is no value of this type.
unsafe impl Item for NeverItem {
    fn key(&self) -> &[u8] {
        match *self {}
    }

    fn into_raw(self) -> NonNull<u8> {
        match self {}
    }

    unsafe fn from_raw(_: NonNull<u8>) -> Self {
        unreachable!("no pointer ever came from this type")
    }
}
