//! How many entries each slot has: in memory as numbers, on disk as rows and a journal.
//!
//! A record for each slot that a write touches would double what a new key costs. So each write adds one record with
//! its changes to the journal, and now and then the journal is folded into the rows of the slots. Rows and journal
//! together are exact as of the applied index.

use super::corrupt;
use super::engine::{DatabaseCounts, Databases};
use super::failed;
use super::layout::{self, COUNTS, PhysicalDb, database_prefix, end_of};
use super::open::Rocks;
use crate::effect::wire::{Malformed, Reader, put_signed, put_varint};
use crate::engine::{EngineError, GroupId, LogIndex, SlotCounts};
use crate::slot::Slot;
use hashbrown::{HashMap, HashSet};
use rocksdb::WriteBatch;

/// A slot of a database.
pub(super) type Place = (PhysicalDb, Slot);

/// A change of the counts of one slot.
#[derive(Clone, Copy, Default)]
pub(super) struct Delta {
    pub entries: i64,
    pub volatile: i64,
}

/// The journal is folded when it has this many changes. Reading it at the start takes a moment only.
const CHANGES_MAX: usize = if cfg!(test) { 300 } else { 1 << 18 };

/// What the journal on disk has.
#[derive(Default)]
pub(super) struct Journal {
    changes: usize,
    /// The slots whose rows are out of date.
    stale: HashSet<Place>,
}

impl Journal {
    /// Writes changes, of which `changed` is the outcome; `flushed` have no counts any more.
    pub fn write(
        &mut self,
        batch: &mut WriteBatch,
        (rocks, group, index): (&Rocks, GroupId, LogIndex),
        deltas: &HashMap<Place, Delta>,
        changed: &HashMap<Place, SlotCounts>,
        (databases, flushed): (&Databases, &[PhysicalDb]),
    ) {
        let family = rocks.family(COUNTS);
        for db in flushed {
            let prefix = database_prefix(group, *db);
            batch.delete_range_cf(family, &prefix[..], &end_of(&prefix)[..]);
        }
        if !flushed.is_empty() {
            self.stale.retain(|(db, _)| !flushed.contains(db));
        }
        if changed.is_empty() {
            return;
        }
        self.stale.extend(changed.keys());
        self.changes += changed.len();
        if self.changes < CHANGES_MAX {
            let mut record = Vec::with_capacity(6 * changed.len());
            for place in changed.keys() {
                let (delta, (db, slot)) = (deltas[place], place);
                put_varint(&mut record, db.0.into());
                put_varint(&mut record, slot.number().into());
                put_signed(&mut record, delta.entries);
                put_signed(&mut record, delta.volatile);
            }
            batch.put([&journal(group)[..], &index.0.to_be_bytes()].concat(), record);
            return;
        }
        for place @ (db, slot) in self.stale.drain() {
            let there = || databases.counts.get(&db).map(|counts| counts.slots[usize::from(slot.number())]);
            let counts = changed.get(&place).copied().or_else(there).unwrap_or_default();
            let key = layout::slot_prefix(group, db, slot);
            if counts == SlotCounts::default() {
                batch.delete_cf(family, key);
            } else {
                let mut row = Vec::with_capacity(4);
                put_varint(&mut row, counts.entries);
                put_varint(&mut row, counts.volatile);
                batch.put_cf(family, key, row);
            }
        }
        self.changes = 0;
        batch.delete_range(&journal(group)[..], &end_of(&journal(group))[..]);
    }
}

/// What the keys of the journal begin with.
fn journal(group: GroupId) -> Vec<u8> {
    layout::group_property(group, "counts/")
}

/// The counts of these databases, and what of them is in the journal.
pub(super) fn load(
    rocks: &Rocks,
    group: GroupId,
    map: &[PhysicalDb],
) -> Result<(HashMap<PhysicalDb, DatabaseCounts>, Journal), EngineError> {
    let mut counts: HashMap<PhysicalDb, DatabaseCounts> = HashMap::new();
    for db in map {
        let mut rows = rocks.prefix_iterator(COUNTS, &database_prefix(group, *db), None);
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            let (slot, of_slot) = parse_row(key, value).map_err(corrupt("a count of entries"))?;
            counts.entry(*db).or_default().put(slot, of_slot);
            rows.next();
        }
        rows.status().map_err(failed("reading counts"))?;
    }
    let mut journal_read = Journal::default();
    let mut records = rocks.prefix_iterator("default", &journal(group), None);
    records.seek_to_first();
    while let Some(record) = records.value() {
        let mut reader = Reader::new(record);
        while !reader.is_empty() {
            let (place, delta) = parse_change(&mut reader).map_err(corrupt("the journal of counts"))?;
            journal_read.changes += 1;
            if !map.contains(&place.0) {
                continue;
            }
            let of_db = counts.entry(place.0).or_default();
            let there = of_db.slots[usize::from(place.1.number())];
            of_db.put(place.1, changed(place, there, delta)?);
            journal_read.stale.insert(place);
        }
        records.next();
    }
    records.status().map_err(failed("reading counts"))?;
    Ok((counts, journal_read))
}

/// The counts of a slot after a change.
pub(super) fn changed((db, slot): Place, there: SlotCounts, delta: Delta) -> Result<SlotCounts, EngineError> {
    let entries = there.entries.checked_add_signed(delta.entries);
    match (entries, there.volatile.checked_add_signed(delta.volatile)) {
        (Some(entries), Some(volatile)) => Ok(SlotCounts { entries, volatile }),
        _ => {
            let what = format!("the count of slot {} of database {}", slot.number(), db.0);
            Err(EngineError::Corrupt { what, detail: "more was deleted than was counted".to_owned() })
        }
    }
}

fn parse_row(key: &[u8], value: &[u8]) -> Result<(Slot, SlotCounts), Malformed> {
    let mut reader = Reader::new(key.get(8..).unwrap_or_default());
    let slot = Slot::new(u16::from_be_bytes(reader.fixed()?)).ok_or(NO_SLOT)?;
    let mut reader = Reader::new(value);
    Ok((slot, SlotCounts { entries: reader.varint()?, volatile: reader.varint()? }))
}

fn parse_change(reader: &mut Reader<'_>) -> Result<(Place, Delta), Malformed> {
    let db = u32::try_from(reader.varint()?).map_err(|_| Malformed("a database number of more than 32 bits"))?;
    let slot = u16::try_from(reader.varint()?).ok().and_then(Slot::new).ok_or(NO_SLOT)?;
    let delta = Delta { entries: reader.signed()?, volatile: reader.signed()? };
    Ok(((PhysicalDb(db), slot), delta))
}

const NO_SLOT: Malformed = Malformed("a slot that does not exist");
