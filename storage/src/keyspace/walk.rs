//! Looking at many keys: the pieces of SCAN and KEYS, RANDOMKEY's draw, and walks over whole databases.
//!
//! Nothing here changes an entry or its access stamp, and keys that are due are shown: whoever walks decides about
//! them.

use super::database::SlotTable;
use super::residency::Unreadable;
use super::view::{View, with_rng};
use super::{Key, Keyspace};
use crate::clock::UnixMs;
use crate::effect::DbIndex;
use crate::entry::EntryRef;
use crate::rng::Rng;
use crate::slot::{SLOTS_PER_STRIPE, Slot, StripeIndex};
use crate::table::ScanCursor;
use crate::value::Type;

/// A key that a walk has met.
#[derive(Clone, Copy, Debug)]
pub struct Met<'a> {
    pub key: &'a [u8],
    pub value_type: Type,
    /// It is logically gone.
    pub is_due: bool,
}

impl<'a> Met<'a> {
    pub(super) fn of(entry: EntryRef<'a>, now: UnixMs) -> Met<'a> {
        let is_due = entry.expiry().is_some_and(|at| at.is_due(now));
        Met { key: entry.key(), value_type: entry.value().type_of(), is_due }
    }
}

/// Where a walk stands within a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In its table: all entries are in memory.
    Table(ScanCursor),
    /// In the engine, at a hash.
    Engine(u32),
}

impl Place {
    pub const START: Place = Place::Table(ScanCursor::START);
    /// How many bits its number has.
    pub const BITS: u32 = ScanCursor::BITS + 1;

    /// Any number is a place, since clients may send any.
    pub fn from_number(number: u64) -> Place {
        match number >> ScanCursor::BITS & 1 {
            0 => Place::Table(ScanCursor::from_raw(number)),
            _ => Place::Engine(number as u32),
        }
    }

    pub fn number(self) -> u64 {
        match self {
            Place::Table(cursor) => cursor.raw(),
            Place::Engine(hash) => 1 << ScanCursor::BITS | u64::from(hash),
        }
    }
}

const _: () = assert!(ScanCursor::BITS >= u32::BITS, "a hash fits where a cursor fits");

impl View<'_> {
    /// Visits about `count` keys of a slot from a place on, or all up to its end; returns where to go on, if it is not
    /// at its end. What is there from the first call of a walk to the last is visited at least once, resident or cold:
    /// a walk through the table starts over in the engine when entries of the slot have become cold.
    pub fn walk_slot(
        &self,
        db: DbIndex,
        slot: Slot,
        place: Place,
        count: usize,
        mut visit: impl FnMut(Met<'_>),
    ) -> Result<Option<Place>, Unreadable> {
        self.see(slot);
        let has_cold = self.slot_table(db, slot).is_some_and(|slot| slot.cold != 0);
        let cursor = match place {
            Place::Table(cursor) if !has_cold => cursor,
            Place::Table(_) => return Ok(self.walk_cold_slot(db, slot, 0, count, visit)?.map(Place::Engine)),
            Place::Engine(from) => return Ok(self.walk_cold_slot(db, slot, from, count, visit)?.map(Place::Engine)),
        };
        let next = self.scan_slot(db, slot, cursor, count, |entry| visit(Met::of(entry, self.now())));
        Ok((!next.is_end()).then_some(Place::Table(next)))
    }

    fn slot_table(&self, db: DbIndex, slot: Slot) -> Option<&SlotTable> {
        let database = self.stripe(slot.stripe()).databases[db.0 as usize].as_deref()?;
        database.slots.slot(slot.within_stripe())
    }

    /// Number of keys in a slot.
    pub fn slot_len(&self, db: DbIndex, slot: Slot) -> usize {
        self.slot_table(db, slot).map_or(0, |slot| slot.table.len() + slot.cold as usize)
    }

    /// Visits about `count` resident entries of a slot from `cursor` on, or all up to its end.
    pub(super) fn scan_slot(
        &self,
        db: DbIndex,
        slot: Slot,
        cursor: ScanCursor,
        count: usize,
        mut visit: impl FnMut(EntryRef<'_>),
    ) -> ScanCursor {
        match self.slot_table(db, slot) {
            Some(slot) => slot.table.scan(cursor, count, |entry| visit(entry.as_ref())),
            None => ScanCursor::START,
        }
    }

    /// Visits all resident entries of a database in the stripes that the view holds.
    pub fn for_each_entry(&self, db: DbIndex, mut visit: impl FnMut(EntryRef<'_>)) {
        self.see_all();
        for stripe in self.stripes().iter() {
            let Some(database) = self.stripe(stripe).databases[db.0 as usize].as_deref() else { continue };
            for slot in database.slots.iter() {
                slot.table.iter().for_each(|entry| visit(entry.as_ref()));
            }
        }
    }

    /// Whether the entry is logically gone.
    pub fn is_due(&self, entry: EntryRef<'_>) -> bool {
        entry.expiry().is_some_and(|at| at.is_due(self.now()))
    }

    /// Deletes `key` if it is due; returns whether it is there afterwards. Does not count as an access.
    pub fn survives(&mut self, db: DbIndex, key: &Key<'_>) -> bool {
        self.find(db, key).is_some()
    }

    /// Any key of one stripe, each with the same chance; for a cold one, where to find it.
    pub fn random_place_of(&self, db: DbIndex, stripe: StripeIndex) -> Option<Drawn> {
        self.see_all();
        let database = self.stripe(stripe).databases[db.0 as usize].as_deref()?;
        with_rng(|rng| {
            let total = database.entries + database.cold;
            let mut rank = total.checked_sub(1).map(|last| rng.below(last + 1))?;
            if rank >= database.entries {
                return self.random_cold_place(db, stripe, rng);
            }
            for slot in database.slots.iter() {
                let len = slot.table.len() as u64;
                if rank < len {
                    return slot.table.random(rng).map(|entry| Drawn::Key(entry.as_ref().key().to_vec()));
                }
                rank -= len;
            }
            unreachable!("the count of a stripe is the sum of its tables")
        })
    }

    /// The first key of a slot with at least this hash, and whether it is due. Looking makes it no more resident.
    pub fn key_behind(&self, db: DbIndex, slot: Slot, from: u32) -> Result<Option<(Vec<u8>, bool)>, Unreadable> {
        let mut found = None;
        self.walk_slot(db, slot, Place::Engine(from), 1, |met| {
            found.get_or_insert_with(|| (met.key.to_vec(), met.is_due));
        })?;
        Ok(found)
    }
}

/// What was drawn.
pub enum Drawn {
    Key(Vec<u8>),
    /// A cold key of this slot, behind a hash.
    Cold {
        slot: Slot,
        from: u32,
    },
}

impl Keyspace {
    /// A stripe, each with a chance in proportion to its keys; none if the database is empty.
    pub fn random_stripe(&self, db: DbIndex, rng: &mut Rng) -> Option<StripeIndex> {
        let total = self.key_count(db);
        let mut rank = total.checked_sub(1).map(|last| rng.below(last + 1))?;
        for stripe in StripeIndex::all() {
            let count = self.stripe_key_count(db, stripe);
            if rank < count {
                return Some(stripe);
            }
            rank -= count;
        }
        // Keys went away while the counts were read: the first stripe that has any will do.
        StripeIndex::all().find(|stripe| self.stripe_key_count(db, *stripe) > 0)
    }
}

impl StripeIndex {
    /// The slots of the stripe in order.
    pub fn slots(self) -> impl DoubleEndedIterator<Item = Slot> {
        (0..SLOTS_PER_STRIPE).map(move |within| self.slot(within))
    }
}

#[cfg(test)]
mod tests {
    use super::super::NewExpiry;
    use super::*;
    use crate::slot::StripeSet;
    use hashbrown::HashMap;

    const DB: DbIndex = DbIndex(0);

    fn put(view: &mut View<'_>, name: &str) {
        view.put_string(DB, &Key::new(name.as_bytes()), b"v", NewExpiry::Clear);
    }

    /// A slot is given to keys by a tag, so that its table is large enough to split and merge under the walk.
    #[test]
    fn a_walk_sees_what_is_there_from_start_to_end() {
        let keyspace = Keyspace::new(1);
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
        let steady: Vec<String> = (0..3000).map(|number| format!("{{tag}}steady:{number}")).collect();
        let passing: Vec<String> = (0..9000).map(|number| format!("{{tag}}passing:{number}")).collect();
        steady.iter().for_each(|name| put(&mut view, name));
        let slot = Slot::of_key(b"{tag}");
        let (mut cursor, mut seen, mut turn) = (ScanCursor::START, HashMap::<Vec<u8>, usize>::new(), 0);
        loop {
            cursor = view.scan_slot(DB, slot, cursor, 50, |entry| *seen.entry_ref(entry.key()).or_default() += 1);
            if cursor.is_end() {
                break;
            }
            // The table grows to four times its size and shrinks again, in bursts.
            for name in &passing[turn * 300 % 9000..][..300] {
                if turn / 30 % 2 == 0 {
                    put(&mut view, name);
                } else {
                    view.delete(DB, &Key::new(name.as_bytes()));
                }
            }
            turn += 1;
        }
        assert!(turn > 30, "the table changed during the walk");
        assert!(steady.iter().all(|name| seen.contains_key(name.as_bytes())));
    }

    #[test]
    fn every_key_has_the_same_chance_to_be_drawn() {
        const KEYS: usize = 50;
        const DRAWS: usize = 20_000;
        let keyspace = Keyspace::new(1);
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
        // Half of the keys share one slot, and the others have one each.
        (0..KEYS / 2).for_each(|number| put(&mut view, &format!("{{tag}}{number}")));
        (0..KEYS / 2).for_each(|number| put(&mut view, &format!("key:{number}")));
        let mut rng = Rng::seeded(7);
        let mut drawn = HashMap::<Vec<u8>, usize>::new();
        for _ in 0..DRAWS {
            let stripe = keyspace.random_stripe(DB, &mut rng).expect("there are keys");
            let Some(Drawn::Key(key)) = view.random_place_of(DB, stripe) else { panic!("this stripe has keys") };
            *drawn.entry(key).or_default() += 1;
        }
        assert_eq!(drawn.len(), KEYS);
        let expected = DRAWS / KEYS;
        for (key, count) in drawn {
            // Six standard deviations of a count that is 400 on average.
            assert!(count.abs_diff(expected) < 120, "{}: {count}", key.escape_ascii());
        }
    }
}
