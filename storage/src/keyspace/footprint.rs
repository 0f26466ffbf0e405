//! How much memory keys and tables take: what MEMORY and INFO report.

use super::database::Database;
use super::key::Key;
use super::view::View;
use super::{Counts, Keyspace};
use crate::clock::UnixMs;
use crate::effect::DbIndex;
use crate::entry::{EntryRef, ValueRef};
use crate::slot::{StripeIndex, StripeSet};

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
