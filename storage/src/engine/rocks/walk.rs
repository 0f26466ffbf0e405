//! Walking over keys: a slot in the order of hashes, and what is due in the order of expiries.

use super::engine::Engine;
use super::layout::{DUE, KEYS, MetaKey, PhysicalDb, parse_due, position_name, slot_prefix};
use super::read::parse;
use super::{corrupt, failed};
use crate::clock::UnixMs;
use crate::effect::DbIndex;
use crate::effect::wire::Malformed;
use crate::engine::EngineError;
use crate::slot::Slot;
use crate::value::Type;

/// A key that is due, and its database.
pub type DueKey = (DbIndex, Box<[u8]>);

impl Engine {
    /// Visits at least `max` keys of a slot, or all, from this hash on. Keys with equal hashes come together, so that
    /// the hash to go on from, which is returned, says it all; none at the end of the slot.
    ///
    /// A key that is there from the first call to the last is visited, whatever is applied in between.
    pub fn walk_slot(
        &self,
        db: DbIndex,
        slot: Slot,
        from_hash: u32,
        max: usize,
        visit: impl FnMut(&[u8], Type, Option<UnixMs>),
    ) -> Result<Option<u32>, EngineError> {
        let page = self.with_database(db, |physical| self.page(physical, slot, from_hash, max))?;
        Ok(page.show(visit))
    }

    /// Like [`Engine::walk_slot`], for a caller that knows what stands behind the database.
    pub fn walk_physical(
        &self,
        db: PhysicalDb,
        slot: Slot,
        from_hash: u32,
        max: usize,
        visit: impl FnMut(&[u8], Type, Option<UnixMs>),
    ) -> Result<Option<u32>, EngineError> {
        Ok(self.page(db, slot, from_hash, max)?.show(visit))
    }

    fn page(&self, db: PhysicalDb, slot: Slot, from_hash: u32, max: usize) -> Result<Page, EngineError> {
        let prefix = slot_prefix(self.group, db, slot);
        let mut entries = self.rocks.prefix_iterator(KEYS, &prefix, None);
        entries.seek([&prefix[..], &from_hash.to_be_bytes()].concat());
        let mut page = Page::default();
        let mut last = from_hash;
        while let Some((key, value)) = entries.item() {
            let key = MetaKey::parse(key).ok_or_else(|| corrupt("the key of a record")(NO_KEY))?;
            if page.keys.len() >= max.max(1) && key.hash != last {
                page.next = Some(key.hash);
                break;
            }
            last = key.hash;
            let meta = parse(value)?;
            let kind = meta.kind().map_err(corrupt("the record of a key"))?;
            page.keys.push((key.user_key.into(), kind.value_type(), meta.expiry));
            entries.next();
        }
        entries.status().map_err(failed("walking over keys"))?;
        Ok(page)
    }

    /// Keys whose time has come, the oldest first. They stay due until their deletion is applied.
    /// Those that are not meant are left out.
    pub fn due(&self, now: UnixMs, max: usize, is_meant: impl Fn(&[u8]) -> bool) -> Result<Vec<DueKey>, EngineError> {
        let numbers: Vec<_> = self.databases.read().map.clone();
        let floor = *self.due_floor.lock();
        let mut first = None;
        let mut found = Vec::new();
        let mut rows = self.rocks.prefix_iterator(DUE, &self.group.0.to_be_bytes(), None);
        rows.seek([&self.group.0.to_be_bytes()[..], &position_name(floor.at.0)].concat());
        while let Some(key) = rows.key() {
            let (at, db, key) = parse_due(key).ok_or_else(|| corrupt("the index of expiries")(NO_KEY))?;
            first.get_or_insert(at);
            if !at.is_due(now) || found.len() >= max {
                break;
            }
            // What is left of a flushed database has no number any more.
            if let Some(number) = numbers.iter().position(|other| *other == db).filter(|_| is_meant(key)) {
                found.push((DbIndex(number as u16), key.into()));
            }
            rows.next();
        }
        rows.status().map_err(failed("looking for what is due"))?;
        let mut known = self.due_floor.lock();
        if known.changes == floor.changes {
            known.at = first.unwrap_or(UnixMs(i64::MAX));
        }
        Ok(found)
    }
}

/// Some keys of a slot, and the hash behind them.
#[derive(Default)]
struct Page {
    keys: Vec<(Box<[u8]>, Type, Option<UnixMs>)>,
    next: Option<u32>,
}

impl Page {
    fn show(self, mut visit: impl FnMut(&[u8], Type, Option<UnixMs>)) -> Option<u32> {
        self.keys.iter().for_each(|(key, value_type, expiry)| visit(key, *value_type, *expiry));
        self.next
    }
}

const NO_KEY: Malformed = Malformed("it is no key of this family");
