//! How much memory keys and tables take: what MEMORY and INFO report.

use super::database::Database;
use super::key::Key;
use super::slots::Slots;
use super::view::{View, with_rng};
use super::{Counts, Keyspace};
use crate::clock::UnixMs;
use crate::effect::DbIndex;
use crate::entry::{EntryRef, ValueRef};
use crate::slot::{Slot, StripeIndex, StripeSet};

/// Entries that are looked at to find out about how much all of them have.
const SAMPLES: usize = 16;
/// Fields or members that are looked at in each of them.
const PARTS_SAMPLED: usize = 4;

impl Keyspace {
    /// Bytes of the tables of one database, without the entries in them. Takes one stripe's lock after the other.
    pub fn table_bytes(&self, db: DbIndex) -> usize {
        let of_stripe = |stripe| {
            let view = self.lock(StripeSet::of(stripe), UnixMs(0));
            view.stripe(stripe).databases[db.0 as usize].as_deref().map_or(0, Database::table_bytes)
        };
        StripeIndex::all().map(of_stripe).sum()
    }

    /// Bytes of everything but the entries: tables, and what is kept per stripe.
    pub fn overhead_bytes(&self) -> u64 {
        let counts = self.counts.len() * self.databases as usize * size_of::<Counts>();
        let tables: usize = (0..self.databases).map(|number| self.table_bytes(DbIndex(number))).sum();
        (counts + tables) as u64
    }
}

impl Database {
    fn table_bytes(&self) -> usize {
        let tables: usize = self.slots.iter().map(|slot| slot.table.heap_bytes()).sum();
        size_of::<Database>() + self.slots.heap_bytes() + tables
    }
}

impl View<'_> {
    /// Bytes that a key takes: its entry with what is in memory of its value, of whose elements `samples` are looked at
    /// (0: all), and its share of the table.
    pub fn usage(&mut self, db: DbIndex, key: &Key<'_>, samples: usize) -> Option<usize> {
        let entry = self.glance(db, key)?.heap_bytes_sampled(samples);
        let database = self.stripe(key.slot.stripe()).databases[db.0 as usize].as_deref()?;
        let table = &database.slots.at(key.slot.within_stripe()).table;
        Some(entry + table.heap_bytes() / table.len().max(1))
    }
}

impl EntryRef<'_> {
    /// Like [`EntryRef::heap_bytes`], looking at this many fields or members of what has many; 0 means all.
    pub fn heap_bytes_sampled(self, samples: usize) -> usize {
        match self.value() {
            ValueRef::Set(set) => self.heap_bytes() - set.heap_bytes() + set.heap_bytes_sampled(samples),
            ValueRef::Hash(hash) => self.heap_bytes() - hash.heap_bytes() + hash.heap_bytes_sampled(samples),
            _ => self.heap_bytes(),
        }
    }
}

impl View<'_> {
    /// Looks at this many entries of a slot, or at all if there are not more: how many these were, and how many bytes
    /// they have, about.
    pub fn sample_slot(&self, db: DbIndex, slot: Slot, max: usize) -> (u64, u64) {
        let database = self.stripe(slot.stripe()).databases[db.0 as usize].as_deref();
        let Some(slot) = database.and_then(|database| database.slots.slot(slot.within_stripe())) else { return (0, 0) };
        let bytes_of = |entry: EntryRef<'_>| entry.heap_bytes_sampled(PARTS_SAMPLED) as u64;
        if slot.table.len() <= max {
            let bytes = slot.table.iter().map(|entry| bytes_of(entry.as_ref())).sum();
            return (slot.table.len() as u64, bytes);
        }
        let drawn =
            with_rng(|rng| (0..max).filter_map(|_| slot.table.random(rng).map(|it| bytes_of(it.as_ref()))).sum());
        (max as u64, drawn)
    }
}

impl Slots {
    /// About how many bytes tables and entries have. Costs no more for many entries than for few.
    pub(crate) fn bytes_about(&self) -> u64 {
        let (mut entries, mut tables) = (0, self.heap_bytes() as u64);
        for slot in self.iter() {
            entries += slot.table.len() as u64;
            tables += slot.table.heap_bytes() as u64;
        }
        let sampled = self.iter().flat_map(|slot| slot.table.iter()).take(SAMPLES);
        let bytes_of = |entry: EntryRef<'_>| entry.heap_bytes_sampled(PARTS_SAMPLED) as u64;
        let (count, bytes) =
            sampled.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + bytes_of(entry.as_ref())));
        tables + (bytes * entries).checked_div(count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::NewExpiry;
    use super::*;
    use crate::slot::Slot;

    #[test]
    fn what_slots_hold_is_estimated_by_some_of_their_entries() {
        for (entries, len) in [(3, 100_000), (1000, 200)] {
            let keyspace = Keyspace::new(1);
            let stripe = Slot::of_key(b"{tag}").stripe();
            let mut view = keyspace.lock(StripeSet::of(stripe), UnixMs(0));
            for number in 0..entries {
                let name = format!("{{tag}}{number}");
                view.put_string(DbIndex(0), &Key::new(name.as_bytes()), &vec![b'v'; len], NewExpiry::Clear);
            }
            let about = view.stripe(stripe).databases[0].as_deref().map_or(0, |it| it.slots.bytes_about()) as usize;
            let least = entries * len;
            assert!(least < about && about < least * 3 / 2 + 64 * entries, "{about} for {entries} of {len}");
        }
    }
}
