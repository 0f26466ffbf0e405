//! How large the resident values of a database are: for each type, how many there are of each power of two.
//!
//! Strings are measured in bytes, collections in elements. Each stripe's part of a database has counts of its own,
//! which change when a value passes from one class to the next; that is seldom, so counting costs little more than
//! measuring.

use super::Keyspace;
use super::slots::Slots;
use crate::effect::DbIndex;
use crate::entry::{Entry, EntryRef, ValueRef};
use crate::number;
use crate::slot::{StripeIndex, StripeSet};
use crate::value::Type;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Empty values, and each power of two that a length in 32 bits and a little more can have.
const CLASSES: usize = 36;
const TYPES: [Type; 5] = [Type::String, Type::List, Type::Set, Type::Hash, Type::Zset];

/// The counts of one stripe. Whoever frees many values at once, later and on another thread, takes them off then.
pub(crate) struct Sizes([AtomicU32; TYPES.len() * CLASSES]);

/// Which count a value belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Class(u16);

impl Class {
    #[inline]
    pub fn of(entry: EntryRef<'_>) -> Class {
        let (value_type, len) = match entry.value() {
            ValueRef::Int(number) => (Type::String, number::text_len(number) as u64),
            ValueRef::Str(bytes) => (Type::String, bytes.len() as u64),
            ValueRef::List(list) => (Type::List, list.len() as u64),
            ValueRef::Set(set) => (Type::Set, set.len() as u64),
            ValueRef::Hash(hash) => (Type::Hash, hash.len() as u64),
            ValueRef::Zset(zset) => (Type::Zset, zset.len() as u64),
            ValueRef::Outline(outline) => (outline.value_type(), outline.len()),
        };
        Class::new(value_type, len)
    }

    /// The class of a value of `len` bytes or elements.
    #[inline]
    pub fn new(value_type: Type, len: u64) -> Class {
        let power = (u64::BITS - len.leading_zeros()) as usize;
        Class((value_type as usize * CLASSES + power.min(CLASSES - 1)) as u16)
    }
}

impl Sizes {
    pub fn new() -> Sizes {
        Sizes([const { AtomicU32::new(0) }; _])
    }

    #[inline]
    pub(super) fn add(&self, class: Class) {
        self.0[usize::from(class.0)].fetch_add(1, Relaxed);
    }

    #[inline]
    pub(super) fn take(&self, class: Class) {
        self.0[usize::from(class.0)].fetch_sub(1, Relaxed);
    }

    /// Takes everything in these tables.
    pub fn take_all(&self, tables: &Slots) {
        tables.for_each_entry(|entry| self.take(Class::of(entry)));
    }

    /// Adds what `from`, which counts nothing else, has counted of these tables.
    pub fn add_all(&self, from: &Arc<Sizes>, tables: &Slots) {
        if Arc::strong_count(from) > 1 {
            // It has tables besides that are being freed.
            return tables.for_each_entry(|entry| self.add(Class::of(entry)));
        }
        self.0.iter().zip(&from.0).for_each(|(count, more)| _ = count.fetch_add(more.load(Relaxed), Relaxed));
    }

    /// Everything in these tables is counted by `to` from now on.
    pub fn pass_all(&self, tables: &Slots, to: &Sizes) {
        tables.for_each_entry(|entry| {
            let class = Class::of(entry);
            self.take(class);
            to.add(class);
        });
    }

    /// Changes an entry, and counts it as what it is then.
    #[inline]
    pub(super) fn change<R>(&self, entry: &mut Entry, change: impl FnOnce(&mut Entry) -> R) -> R {
        let before = Class::of(entry.as_ref());
        let result = change(entry);
        self.pass(before, Class::of(entry.as_ref()));
        result
    }

    /// Counts what was of one class as one of another.
    #[inline]
    pub(super) fn pass(&self, before: Class, after: Class) {
        if before != after {
            self.take(before);
            self.add(after);
        }
    }
}

/// How many values of one type have which size: the smallest size of a class (0, 1, 2, 4, 8 and so on), and how many
/// values there are from there up to the next; classes without values are left out.
pub type Distribution = Vec<(u64, u64)>;

impl Keyspace {
    /// The sizes of a database's resident values of each type that has any. Takes one stripe's lock after the other.
    pub fn size_distributions(&self, db: DbIndex) -> Vec<(Type, Distribution)> {
        let mut totals = [0u64; TYPES.len() * CLASSES];
        for index in StripeIndex::all() {
            let view = self.lock(StripeSet::of(index), crate::clock::UnixMs(0));
            let Some(database) = view.stripe(index).databases[db.0 as usize].as_deref() else { continue };
            totals
                .iter_mut()
                .zip(&database.sizes.0)
                .for_each(|(total, count)| *total += u64::from(count.load(Relaxed)));
        }
        let distribution = |counts: &[u64]| -> Distribution {
            let classes = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            classes.map(|(power, &count)| (if power == 0 { 0 } else { 1 << (power - 1) }, count)).collect()
        };
        let all = TYPES.into_iter().zip(totals.chunks(CLASSES)).map(|(kind, counts)| (kind, distribution(counts)));
        all.filter(|(_, distribution)| !distribution.is_empty()).collect()
    }
}

const _: () = {
    let mut number = 0;
    while number < TYPES.len() {
        assert!(TYPES[number] as usize == number);
        number += 1;
    }
};
