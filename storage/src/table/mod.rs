//! The one hash table of the crate. Interim implementation behind the final signatures: see the next commit.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::rng::Rng;

/// A value that owns one heap allocation through one thin, 8-aligned, non-null pointer.
///
/// # Safety
/// `into_raw` and `from_raw` round-trip ownership; `key()` is stable while the item is in a table; the address is
/// below 2^48.
pub unsafe trait Item: Sized {
    fn key(&self) -> &[u8];
    fn into_raw(self) -> NonNull<u8>;
    /// # Safety
    /// `raw` came from `into_raw` of the same type, and ownership is taken only once.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loc(u32, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Clear,
    Set,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScanCursor(u64);

impl ScanCursor {
    pub const START: Self = Self(0);
    pub const BITS: u32 = 38;
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw & ((1 << Self::BITS) - 1))
    }
    pub const fn raw(self) -> u64 {
        self.0
    }
    pub const fn is_end(self) -> bool {
        self.0 == 0
    }
}

pub struct ItemRef<'a, T: Item> {
    item: ManuallyDrop<T>,
    table: PhantomData<&'a T>,
}

impl<T: Item> Deref for ItemRef<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.item
    }
}

pub fn hash(key: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    static SEED: OnceLock<foldhash::quality::RandomState> = OnceLock::new();
    let mut hasher = SEED.get_or_init(Default::default).build_hasher();
    hasher.write(key);
    hasher.finish()
}

pub struct Table<T: Item> {
    items: Vec<(T, Mark)>,
}

impl<T: Item> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Item> Table<T> {
    pub const fn new() -> Self {
        Self { items: Vec::new() }
    }
    pub fn len(&self) -> usize {
        self.items.len()
    }
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
    pub fn find(&self, _hash: u64, key: &[u8]) -> Option<Loc> {
        self.items.iter().position(|(item, _)| item.key() == key).map(|i| Loc(0, i as u32))
    }
    fn borrow(item: &T) -> ItemRef<'_, T> {
        // SAFETY: a bitwise copy that is never dropped and lives no longer than the original is borrowed.
        ItemRef { item: ManuallyDrop::new(unsafe { std::ptr::read(item) }), table: PhantomData }
    }
    pub fn at(&self, loc: Loc) -> ItemRef<'_, T> {
        Self::borrow(&self.items[loc.1 as usize].0)
    }
    pub fn update<R>(&mut self, loc: Loc, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.items[loc.1 as usize].0)
    }
    pub fn insert_new(&mut self, _hash: u64, item: T) -> Loc {
        self.items.push((item, Mark::Clear));
        Loc(0, self.items.len() as u32 - 1)
    }
    pub fn replace(&mut self, loc: Loc, item: T) -> T {
        std::mem::replace(&mut self.items[loc.1 as usize].0, item)
    }
    pub fn remove(&mut self, loc: Loc) -> T {
        self.items.swap_remove(loc.1 as usize).0
    }
    pub fn mark(&mut self, loc: Loc, mark: Mark) {
        self.items[loc.1 as usize].1 = mark;
    }
    pub fn is_marked(&self, loc: Loc) -> bool {
        self.items[loc.1 as usize].1 == Mark::Set
    }
    pub fn get(&self, key: &[u8]) -> Option<ItemRef<'_, T>> {
        self.find(hash(key), key).map(|loc| self.at(loc))
    }
    pub fn iter(&self) -> impl Iterator<Item = ItemRef<'_, T>> {
        self.items.iter().map(|(item, _)| Self::borrow(item))
    }
    /// Visits at least `count` items unless the end is reached.
    pub fn scan(&self, _cursor: ScanCursor, _count: usize, visit: impl FnMut(&T)) -> ScanCursor {
        self.items.iter().map(|(item, _)| item).for_each(visit);
        ScanCursor::START
    }
    /// Visits the marked among about `max_examined` items, from `from` on, in scan order.
    pub fn scan_marked(&self, _from: ScanCursor, _max_examined: usize, mut visit: impl FnMut(Loc, &T)) -> ScanCursor {
        for (i, (item, mark)) in self.items.iter().enumerate() {
            if *mark == Mark::Set {
                visit(Loc(0, i as u32), item);
            }
        }
        ScanCursor::START
    }
    /// Like `scan_marked`, and moves the marked items for which `due` holds from the table to `taken`.
    pub fn take_marked(
        &mut self,
        _from: ScanCursor,
        _max_examined: usize,
        mut due: impl FnMut(&T) -> bool,
        taken: &mut Vec<T>,
    ) -> ScanCursor {
        taken.extend(self.items.extract_if(.., |(item, mark)| *mark == Mark::Set && due(item)).map(|(item, _)| item));
        ScanCursor::START
    }
    pub fn random(&self, rng: &mut Rng) -> Option<ItemRef<'_, T>> {
        if self.is_empty() {
            return None;
        }
        Some(Self::borrow(&self.items[rng.below(self.items.len() as u64) as usize].0))
    }
    pub fn sample_marked(&self, _rng: &mut Rng, _max_probes: usize) -> Option<ItemRef<'_, T>> {
        self.items.iter().find(|(_, mark)| *mark == Mark::Set).map(|(item, _)| Self::borrow(item))
    }
    pub fn clear(&mut self) {
        self.items.clear();
    }
    pub fn heap_bytes(&self) -> usize {
        self.items.capacity() * size_of::<(T, Mark)>()
    }
}

impl<T: Item> IntoIterator for Table<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;
    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self.items.into_iter())
    }
}

pub struct IntoIter<T: Item>(std::vec::IntoIter<(T, Mark)>);

impl<T: Item> Iterator for IntoIter<T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.0.next().map(|(item, _)| item)
    }
}
