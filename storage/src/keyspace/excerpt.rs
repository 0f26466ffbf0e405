//! A keyspace beside the node's, for one evaluation that only reads.
//!
//! A replica that does not lead shows nothing in memory. Who reads from it has the keys that the request names put in
//! here, all from one state of the engine: so the evaluation sees the group's data as of one log entry, and nothing
//! that happens meanwhile. What is due is not put in. Nothing that is done here is recorded, and nobody else sees it.
//!
//! Of a large value only the outline is put in, and the parts that the command names, if that is enough for it. Should
//! the evaluation look at a part that nobody has named, it sees none, and [`Excerpt::is_short`] says that what has come
//! of it is worth nothing: then the value is put in whole, and the command is evaluated again.

use super::key::Key;
use super::outlines::Need;
use super::residency::{ColdStore, OwnedName, Stored, Unreadable};
use super::{Keyspace, Stats};
use crate::clock::UnixMs;
use crate::effect::DbIndex;
use crate::engine::{EngineError, EngineSnapshot, Extent, Found, Lookup, Part, PartName, PhysicalDb, Summary, Tier};
use crate::entry::Entry;
use crate::outline::Outline;
use crate::rdb::values::Limits;
use crate::slot::{Slot, StripeSet};
use crate::value::{Str, Value};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The only database of a cluster, and of this keyspace.
const DB: DbIndex = DbIndex(0);

pub struct Excerpt {
    keyspace: Keyspace,
    parts: Arc<Parts>,
    /// What was put in.
    keys: Vec<Box<[u8]>>,
}

/// Whether a key could be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    Yes,
    /// Only where the disk must not be waited for.
    NeedsDisk,
}

impl Excerpt {
    /// An empty one. What is large in it is freed where what is large in `keyspace` is.
    pub fn beside(keyspace: &Keyspace) -> Excerpt {
        let excerpt = Keyspace::with_reaper(1, keyspace.reaper.clone());
        let parts = Arc::new(Parts::default());
        excerpt.read_through(parts.clone(), &[PhysicalDb(0)], PhysicalDb(1));
        Excerpt { keyspace: excerpt, parts, keys: Vec::new() }
    }

    /// Takes over how values are encoded.
    pub fn adopt(&self, keyspace: &Keyspace) {
        self.keyspace.settings.copy(&keyspace.settings);
    }

    /// To be evaluated in.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Whether an evaluation has looked at something that was not put in.
    pub fn is_short(&self) -> bool {
        self.parts.is_short.load(Relaxed)
    }

    /// Puts in what a command needs of a key. All of a request is to come from one state, at one time.
    pub fn fill(
        &mut self,
        state: &EngineSnapshot<'_>,
        key: &Key<'_>,
        need: Need<'_>,
        tier: Tier,
        now: UnixMs,
    ) -> Result<Filled, Unreadable> {
        let unreadable = |error: EngineError| Unreadable(error.to_string());
        let limits = Limits::of(&self.keyspace.settings);
        let mut view = self.keyspace.lock(StripeSet::of(key.slot.stripe()), now);
        if view.revisit(DB, key).is_none() {
            let extent = if let Need::Value = need { Extent::Whole } else { self.keyspace.outline_extent() };
            let loaded = match state.load(DB, key, tier, extent, &limits).map_err(unreadable)? {
                Found::Found(loaded) if loaded.expiry.is_some_and(|at| at.is_due(now)) => return Ok(Filled::Yes),
                Found::Found(loaded) => loaded,
                Found::Absent => return Ok(Filled::Yes),
                Found::NeedsDisk => return Ok(Filled::NeedsDisk),
            };
            let stamp = view.core.fresh_stamp();
            view.attach(DB, key, Entry::new(key.bytes, loaded.value, loaded.expiry, stamp));
            self.keys.push(key.bytes.into());
        }
        let Some(outline) = view.outline_at(DB, key) else { return Ok(Filled::Yes) };
        let names = match need {
            Need::Presence | Need::Outline => return Ok(Filled::Yes),
            Need::Value => None,
            Need::Parts(select) => select(outline.len()),
        };
        match names {
            Some(names) => {
                for name in names {
                    match state.part(outline, name, tier).map_err(unreadable)? {
                        Found::NeedsDisk => return Ok(Filled::NeedsDisk),
                        Found::Found(part) => self.parts.put(outline, name, Some(part)),
                        Found::Absent => self.parts.put(outline, name, None),
                    }
                }
            }
            // A large value is not put together where nobody must wait.
            None if tier == Tier::Memory => return Ok(Filled::NeedsDisk),
            None => {
                let value = state.value(outline, &limits).map_err(unreadable)?;
                view.put_completed(DB, key, value);
            }
        }
        Ok(Filled::Yes)
    }

    /// Forgets all that was put in. What was counted is added to what `stats` counts.
    pub fn clear(&mut self, stats: &Stats) {
        for bytes in self.keys.drain(..) {
            let key = Key::new(&bytes);
            let mut view = self.keyspace.lock(StripeSet::of(key.slot.stripe()), UnixMs(i64::MIN));
            view.delete(DB, &key);
        }
        self.parts.clear();
        let own = &self.keyspace.stats;
        for (own, all) in [(&own.hits, &stats.hits), (&own.misses, &stats.misses)] {
            let count = own.swap(0, Relaxed);
            if count > 0 {
                all.fetch_add(count, Relaxed);
            }
        }
    }
}

/// The parts that were put in, by the version of their value; none for those that are not there.
#[derive(Default)]
struct Parts {
    known: Mutex<HashMap<(u64, OwnedName), Option<Part>>>,
    is_short: AtomicBool,
}

impl Parts {
    fn put(&self, outline: &Outline, name: PartName<'_>, part: Option<Part>) {
        self.known.lock().insert((outline.version, name.into()), part);
    }

    fn clear(&self) {
        let mut known = self.known.lock();
        if !known.is_empty() {
            known.clear();
        }
        self.is_short.store(false, Relaxed);
    }
}

impl ColdStore for Parts {
    /// There are no cold entries.
    fn load(&self, _: PhysicalDb, _: &Key<'_>, _: Tier, _: Extent) -> Result<Lookup, Unreadable> {
        Ok(Found::Absent)
    }

    fn summary(&self, _: PhysicalDb, _: &Key<'_>, _: Tier) -> Result<Found<Summary>, Unreadable> {
        Ok(Found::Absent)
    }

    fn part(&self, _: Slot, outline: &Outline, name: PartName<'_>, _: Tier) -> Result<Found<Part>, Unreadable> {
        Ok(match self.known.lock().get(&(outline.version, name.into())) {
            Some(Some(part)) => Found::Found(part.clone()),
            Some(None) => Found::Absent,
            None => {
                self.is_short.store(true, Relaxed);
                // As long as it should be: who asks for a range of a string takes it for granted.
                match name {
                    PartName::Range { len, .. } => Found::Found(Part::Bytes(vec![0; len as usize])),
                    _ => Found::Absent,
                }
            }
        })
    }

    fn value(&self, _: Slot, _: &Outline) -> Result<Value, Unreadable> {
        self.is_short.store(true, Relaxed);
        Ok(Value::Str(Str::Int(0)))
    }

    fn walk_slot(
        &self,
        _: PhysicalDb,
        _: Slot,
        _: u32,
        _: usize,
        _: &mut dyn FnMut(Stored<'_>),
    ) -> Result<Option<u32>, Unreadable> {
        Ok(None)
    }
}
