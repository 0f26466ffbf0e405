//! A view: the locks of some stripes, held for one evaluation, and what happens during it.
//!
//! Time stands still within a view. Looking at a key that is due deletes it first, so an expired entry is never seen.
//! When the view closes, its batch of effects goes to the sink while the locks are still held.

use super::database::Database;
use super::interest::{Interests, Sight, Touch, WatchFlag};
use super::key::Key;
use super::news::{Demanded, Happened, KeyNews};
use super::{AccessPolicy, Keyspace, Stripe, high_water};
use crate::access;
use crate::clock::UnixMs;
use crate::effect::{Batch, Cause, DbIndex, Effect, KeyEffect};
use crate::entry::{Entry, EntryRef, Stamp, ValueRef};
use crate::rng::Rng;
use crate::seq::Seq;
use crate::slot::{Slot, StripeIndex, StripeSet};
use crate::table::Loc;
use crate::types::{Hash, List, Set, Zset};
use parking_lot::MutexGuard;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

thread_local! {
    /// Randomness for access counters and random members, one generator per thread.
    static RNG: RefCell<Rng> = RefCell::new(Rng::from_entropy());
}

/// The key holds a value of another type than the command works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Operation against a key holding the wrong kind of value")]
pub struct WrongType;

/// A key that changed and that clients wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyKey {
    pub db: DbIndex,
    pub key: Box<[u8]>,
}

/// Whether keys that are due are deleted when they are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    /// On the leader.
    Delete,
    /// While expiry is suspended: what is due is not seen, and stays where it is.
    Hide,
    /// While effects are applied: what is due goes when the leader says so.
    Ignore,
}

/// The part of a view that does not depend on which stripes it holds.
pub(crate) struct Core<'k> {
    pub(super) keyspace: &'k Keyspace,
    pub(super) now: UnixMs,
    expiry: Expiry,
    demanded: Demanded,
    /// The highest batch among those of the slots that were looked at.
    seen: Cell<Seq>,
    changes: u64,
    hits: u64,
    misses: u64,
    touch: bool,
    /// What most views have none of. One pointer, as four empty vectors per command take their time to make and drop.
    findings: Option<Box<Findings>>,
}

/// What a view hands to others.
#[derive(Default)]
struct Findings {
    batch: Batch,
    /// The slots that the batch changes.
    changed_slots: SmallVec<[Slot; 2]>,
    ready: Vec<ReadyKey>,
    news: Vec<KeyNews>,
}

impl Core<'_> {
    fn findings(&mut self) -> &mut Findings {
        self.findings.get_or_insert_default()
    }

    /// Accounts for a change of `key`: raises watches, notes waiters, records the effect.
    #[inline]
    pub(super) fn changed(
        &mut self,
        interests: &mut Interests,
        db: DbIndex,
        key: &Key<'_>,
        effect: impl FnOnce() -> KeyEffect,
    ) {
        self.touched(interests, db, key, Touch::Changed);
        self.record_key(db, key, effect);
    }

    #[inline]
    pub(super) fn record_key(&mut self, db: DbIndex, key: &Key<'_>, effect: impl FnOnce() -> KeyEffect) {
        if self.demanded.has_effects() {
            let findings = self.findings();
            findings.changed_slots.push(key.slot);
            findings.batch.push(Effect::Key { db, key: key.bytes.into(), change: effect() });
        }
    }

    /// Accounts for a change that is recorded otherwise.
    #[inline]
    pub(super) fn key_changed(&mut self, interests: &mut Interests, db: DbIndex, key: &Key<'_>) {
        self.touched(interests, db, key, Touch::Changed);
    }

    #[inline]
    fn touched(&mut self, interests: &mut Interests, db: DbIndex, key: &Key<'_>, touch: Touch) {
        self.changes += 1;
        if !interests.is_empty() && interests.key_changed(db, key.bytes, touch) {
            self.note_ready(db, key.bytes);
        }
    }

    pub(super) fn note_ready(&mut self, db: DbIndex, key: &[u8]) {
        let (ready, known) = (ReadyKey { db, key: key.into() }, &mut self.findings().ready);
        if !known.contains(&ready) {
            known.push(ready);
        }
    }

    pub(super) fn note_expired(&mut self, db: DbIndex, key: &[u8]) {
        self.findings().news.push(KeyNews { happened: Happened::Expired, db, key: key.into() });
    }

    /// Tells that `key` was created or missed, if somebody wants to know.
    #[inline]
    pub(super) fn tell(&mut self, happened: Happened, db: DbIndex, key: &Key<'_>) {
        if self.demanded.has_news_of(happened) {
            self.tell_now(happened, db, key);
        }
    }

    #[cold]
    fn tell_now(&mut self, happened: Happened, db: DbIndex, key: &Key<'_>) {
        self.findings().news.push(KeyNews { happened, db, key: key.bytes.into() });
    }

    /// Takes back that `key` was created: nothing was put into it.
    pub(super) fn retract_created(&mut self, db: DbIndex, key: &Key<'_>) {
        let is_this = |news: &KeyNews| news.happened == Happened::Created && news.db == db && *news.key == *key.bytes;
        if let Some(findings) = &mut self.findings {
            findings.news.pop_if(|news| is_this(news));
        }
    }

    #[inline]
    pub(super) fn hides_due(&self) -> bool {
        matches!(self.expiry, Expiry::Hide)
    }

    #[inline]
    pub(super) fn is_recording(&self) -> bool {
        self.demanded.has_effects()
    }

    /// Counts changes that concern no single key.
    pub(super) fn add_changes(&mut self, changes: u64) {
        self.changes += changes;
    }

    /// Whether the batch of this evaluation changes a slot.
    pub(super) fn changes_slot(&self, slot: Slot) -> bool {
        self.findings.as_ref().is_some_and(|findings| findings.changed_slots.contains(&slot))
    }

    /// Records an effect on these slots.
    pub(super) fn record(&mut self, slots: impl IntoIterator<Item = Slot>, effect: impl FnOnce() -> Effect) {
        if self.demanded.has_effects() {
            let findings = self.findings();
            findings.changed_slots.extend(slots);
            findings.batch.push(effect());
        }
    }

    #[inline]
    pub(super) fn fresh_stamp(&self) -> Stamp {
        access::fresh(&self.keyspace.settings, self.now)
    }

    #[inline]
    pub(super) fn touch(&self, entry: EntryRef<'_>) {
        if self.touch {
            let (settings, old) = (&self.keyspace.settings, entry.stamp());
            let new = match settings.access_policy() {
                AccessPolicy::Lru => access::fresh(settings, self.now),
                AccessPolicy::Lfu => with_rng(|rng| access::touched(old, settings, self.now, rng)),
            };
            // The clock of stamps ticks seldom: most entries in use have the new one already.
            if new != old {
                entry.put_stamp(new);
            }
        }
    }
}

/// Runs `f` with this thread's generator.
#[inline]
pub fn with_rng<R>(f: impl FnOnce(&mut Rng) -> R) -> R {
    RNG.with_borrow_mut(f)
}

/// The stripes of one evaluation, locked.
pub struct View<'k> {
    guards: SmallVec<[MutexGuard<'k, Stripe>; 1]>,
    stripes: StripeSet,
    pub(super) core: Core<'k>,
}

impl<'k> View<'k> {
    #[inline]
    pub(super) fn open(keyspace: &'k Keyspace, stripes: StripeSet, now: UnixMs) -> View<'k> {
        let mut guards = SmallVec::new();
        for stripe in stripes.iter() {
            guards.push(keyspace.stripes[stripe.number()].lock());
        }
        View {
            guards,
            stripes,
            core: Core {
                keyspace,
                now,
                expiry: Expiry::Delete,
                demanded: keyspace.demand.now(),
                seen: Cell::new(Seq::NONE),
                changes: 0,
                hits: 0,
                misses: 0,
                touch: true,
                findings: None,
            },
        }
    }

    /// A view in which effects are applied: nothing expires by itself, nothing is recorded or told.
    pub(super) fn open_to_apply(keyspace: &'k Keyspace, stripes: StripeSet, now: UnixMs) -> View<'k> {
        let mut view = View::open(keyspace, stripes, now);
        view.core.expiry = Expiry::Ignore;
        view.core.demanded = Demanded::NOTHING;
        view
    }

    #[inline]
    pub fn now(&self) -> UnixMs {
        self.core.now
    }

    pub fn keyspace(&self) -> &'k Keyspace {
        self.core.keyspace
    }

    /// The stripes whose locks this view holds.
    pub fn stripes(&self) -> StripeSet {
        self.stripes
    }

    /// From here on, reading leaves access stamps alone (CLIENT NO-TOUCH, OBJECT, DEBUG).
    pub fn stop_touching(&mut self) {
        self.core.touch = false;
    }

    /// From here on, keys that are due are not seen, but they stay (CLIENT PAUSE).
    pub fn hide_due(&mut self) {
        self.core.expiry = Expiry::Hide;
    }

    /// From here on, keys that are due are treated like any other (WATCH, loading a dump).
    pub fn stop_expiring(&mut self) {
        self.core.expiry = Expiry::Ignore;
    }

    /// From here on, keys that are due are deleted again when they are met.
    pub fn resume_expiring(&mut self) {
        self.core.expiry = Expiry::Delete;
    }

    /// Whether there is anything for [`View::take_ready`] or [`View::take_news`].
    #[inline]
    pub fn has_news(&self) -> bool {
        self.core.findings.as_ref().is_some_and(|found| !found.ready.is_empty() || !found.news.is_empty())
    }

    /// How many changes this view has made so far.
    pub fn changes(&self) -> u64 {
        self.core.changes
    }

    /// The changed keys that clients wait for, since the last call.
    pub fn take_ready(&mut self) -> Vec<ReadyKey> {
        self.core.findings.as_mut().map(|found| std::mem::take(&mut found.ready)).unwrap_or_default()
    }

    /// Whether there is anything for [`View::take_news`].
    #[inline]
    pub fn has_key_news(&self) -> bool {
        self.core.findings.as_ref().is_some_and(|found| !found.news.is_empty())
    }

    /// What happened to keys since the last call, in order.
    pub fn take_news(&mut self) -> Vec<KeyNews> {
        self.core.findings.as_mut().map(|found| std::mem::take(&mut found.news)).unwrap_or_default()
    }

    #[inline]
    fn position(&self, stripe: StripeIndex) -> usize {
        assert!(self.stripes.contains(stripe), "the key's stripe was locked for this evaluation");
        // Nearly always it is the only one, and counting bits takes longer than one would think.
        if self.guards.len() == 1 { 0 } else { self.stripes.rank(stripe) }
    }

    #[inline]
    pub(super) fn stripe(&self, stripe: StripeIndex) -> &Stripe {
        &self.guards[self.position(stripe)]
    }

    /// One stripe and, beside it, the core.
    #[inline]
    pub(super) fn stripe_mut(&mut self, stripe: StripeIndex) -> (&mut Stripe, &mut Core<'k>) {
        let position = self.position(stripe);
        (&mut self.guards[position], &mut self.core)
    }

    #[inline]
    fn database(&self, db: DbIndex, slot: Slot) -> Option<&Database> {
        self.stripe(slot.stripe()).databases[db.0 as usize].as_deref()
    }

    /// Finds an entry that is not due; one that is due is deleted on the way.
    #[inline]
    pub(super) fn find(&mut self, db: DbIndex, key: &Key<'_>) -> Option<Loc> {
        if self.core.demanded.has_effects() {
            self.see(key.slot);
        }
        let database = self.database(db, key.slot)?;
        let Some(loc) = database.find(key) else {
            return if database.has_cold(key.slot) { self.find_cold(db, key) } else { None };
        };
        if !database.is_due(key, loc, self.core.now) {
            return Some(loc);
        }
        self.unless_due(db, key, loc)
    }

    /// An entry that was found, if it is not due or may be seen nevertheless.
    pub(super) fn unless_due(&mut self, db: DbIndex, key: &Key<'_>, loc: Loc) -> Option<Loc> {
        let database = self.database(db, key.slot).expect("an entry was found in this database");
        if !database.is_due(key, loc, self.core.now) {
            return Some(loc);
        }
        match self.core.expiry {
            Expiry::Delete => {
                self.expire(db, key, loc);
                None
            }
            Expiry::Hide => None,
            Expiry::Ignore => Some(loc),
        }
    }

    #[cold]
    fn expire(&mut self, db: DbIndex, key: &Key<'_>, loc: Loc) {
        self.remove_at(db, key, loc, Cause::Expired);
        self.core.note_expired(db, key.bytes);
    }

    /// Makes room for a new entry where one that is due was not seen.
    #[cold]
    fn expire_hidden(&mut self, db: DbIndex, key: &Key<'_>) {
        if let Some(loc) = self.database(db, key.slot).and_then(|database| database.find(key)) {
            self.expire(db, key, loc);
        }
    }

    /// Removes the entry at `loc` and frees it, wherever that is best done.
    pub(super) fn remove_at(&mut self, db: DbIndex, key: &Key<'_>, loc: Loc, cause: Cause) {
        let entry = self.detach(db, key, loc);
        let (stripe, core) = self.stripe_mut(key.slot.stripe());
        let touch = if cause == Cause::Expired { Touch::Expired } else { Touch::Changed };
        core.touched(&mut stripe.interests, db, key, touch);
        core.record_key(db, key, || KeyEffect::Delete(cause));
        let stats = &core.keyspace.stats;
        match cause {
            Cause::Deleted => {}
            Cause::Expired => drop(stats.expired.fetch_add(1, Ordering::Relaxed)),
            Cause::Evicted => drop(stats.evicted.fetch_add(1, Ordering::Relaxed)),
        }
        core.keyspace.reaper.discard(entry);
    }

    /// Takes the entry at `loc` out of its table, without accounting for the change.
    pub(super) fn detach(&mut self, db: DbIndex, key: &Key<'_>, loc: Loc) -> Entry {
        let stripe_index = key.slot.stripe();
        let (stripe, core) = self.stripe_mut(stripe_index);
        let database = stripe.databases[db.0 as usize].as_deref_mut().expect("an entry was found in this database");
        let entry = database.remove(key, loc);
        if database.has_cold(key.slot)
            && let Some(pending) = &mut stripe.pending
        {
            pending.bury(core.keyspace.physical(db), key);
        }
        database.publish(&core.keyspace.counts[stripe_index.number()][db.0 as usize]);
        entry
    }

    /// Puts an entry where none is, without accounting for the change.
    pub(super) fn attach(&mut self, db: DbIndex, key: &Key<'_>, entry: Entry) -> Loc {
        if self.core.expiry == Expiry::Hide {
            self.expire_hidden(db, key);
        }
        let stripe_index = key.slot.stripe();
        let (stripe, core) = self.stripe_mut(stripe_index);
        let database = stripe.databases[db.0 as usize].get_or_insert_with(|| Box::new(Database::new()));
        let loc = database.insert(key, entry);
        database.publish(&core.keyspace.counts[stripe_index.number()][db.0 as usize]);
        loc
    }

    /// Changes the entry at `loc`; counts follow its expiry.
    #[inline]
    pub(super) fn update_at<R>(
        &mut self,
        db: DbIndex,
        key: &Key<'_>,
        loc: Loc,
        effect: impl FnOnce() -> KeyEffect,
        change: impl FnOnce(&mut Entry) -> R,
    ) -> R {
        let stripe_index = key.slot.stripe();
        let (stripe, core) = self.stripe_mut(stripe_index);
        let database = stripe.databases[db.0 as usize].as_deref_mut().expect("an entry was found in this database");
        let before = (database.volatile, database.next_due);
        let result = database.update(key, loc, change);
        core.touch(database.entry(key, loc));
        if (database.volatile, database.next_due) != before {
            database.publish(&core.keyspace.counts[stripe_index.number()][db.0 as usize]);
        }
        core.changed(&mut stripe.interests, db, key, effect);
        result
    }

    #[inline]
    pub(super) fn entry_at(&self, db: DbIndex, key: &Key<'_>, loc: Loc) -> EntryRef<'_> {
        self.database(db, key.slot).expect("an entry was found in this database").entry(key, loc)
    }

    /// Like [`View::find`], with the value in memory.
    #[inline]
    pub(super) fn find_whole(&mut self, db: DbIndex, key: &Key<'_>) -> Option<Loc> {
        let loc = self.find(db, key)?;
        if self.entry_at(db, key, loc).is_outline() {
            self.complete(db, key);
        }
        Some(loc)
    }

    /// The entry of `key`, without counting or stamping the access.
    #[inline]
    pub fn peek(&mut self, db: DbIndex, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let loc = self.find_whole(db, key)?;
        Some(self.entry_at(db, key, loc))
    }

    /// Like [`View::peek`], for whoever does not look at the value: it may be an outline.
    #[inline]
    pub fn glance(&mut self, db: DbIndex, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let loc = self.find(db, key)?;
        Some(self.entry_at(db, key, loc))
    }

    /// The entry of `key` for a command that reads: counts hit or miss, stamps the access.
    #[inline]
    pub fn read(&mut self, db: DbIndex, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let found = self.find_whole(db, key);
        self.count_read(db, key, found)
    }

    /// Like [`View::read`], for whoever does not need all of the value: it may be an outline.
    #[inline]
    pub fn read_outline(&mut self, db: DbIndex, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let found = self.find(db, key);
        self.count_read(db, key, found)
    }

    #[inline]
    fn count_read(&mut self, db: DbIndex, key: &Key<'_>, found: Option<Loc>) -> Option<EntryRef<'_>> {
        match found {
            Some(loc) => {
                self.core.hits += 1;
                let entry = self.entry_at(db, key, loc);
                self.core.touch(entry);
                Some(entry)
            }
            None => {
                self.core.misses += 1;
                self.core.tell(Happened::Missed, db, key);
                None
            }
        }
    }

    /// The entry of `key` for a command that asks about it: counts hit or miss, but is no use of the value, which may
    /// be an outline.
    #[inline]
    pub fn inspect(&mut self, db: DbIndex, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let found = self.find(db, key);
        if found.is_none() {
            self.core.tell(Happened::Missed, db, key);
        }
        self.count_lookup(found);
        found.map(|loc| self.entry_at(db, key, loc))
    }

    /// Like [`View::inspect`], for somebody who looks at the server more than at the data: that the key is missing is
    /// no news.
    pub fn examine(&mut self, db: DbIndex, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let found = self.find(db, key);
        self.count_lookup(found);
        found.map(|loc| self.entry_at(db, key, loc))
    }

    #[inline]
    fn count_lookup(&mut self, found: Option<Loc>) {
        match found {
            Some(_) => self.count_hit(),
            None => self.count_miss(),
        }
    }

    #[inline]
    pub(super) fn count_hit(&mut self) {
        self.core.hits += 1;
    }

    #[inline]
    pub(super) fn count_miss(&mut self) {
        self.core.misses += 1;
    }

    /// The entry of a key that this view has looked up before. Nothing is counted and nothing expires, so that several
    /// entries can be borrowed at once.
    pub fn revisit(&self, db: DbIndex, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let database = self.database(db, key.slot)?;
        database.find(key).map(|loc| database.entry(key, loc))
    }

    /// The list at `key`, to read.
    pub fn list(&mut self, db: DbIndex, key: &Key<'_>) -> Result<Option<&List>, WrongType> {
        match self.read(db, key).map(EntryRef::value) {
            None => Ok(None),
            Some(ValueRef::List(list)) => Ok(Some(list)),
            Some(_) => Err(WrongType),
        }
    }

    /// The set at `key`, to read.
    pub fn set(&mut self, db: DbIndex, key: &Key<'_>) -> Result<Option<&Set>, WrongType> {
        match self.read(db, key).map(EntryRef::value) {
            None => Ok(None),
            Some(ValueRef::Set(set)) => Ok(Some(set)),
            Some(_) => Err(WrongType),
        }
    }

    /// The hash at `key`, to read.
    pub fn hash(&mut self, db: DbIndex, key: &Key<'_>) -> Result<Option<&Hash>, WrongType> {
        match self.read(db, key).map(EntryRef::value) {
            None => Ok(None),
            Some(ValueRef::Hash(hash)) => Ok(Some(hash)),
            Some(_) => Err(WrongType),
        }
    }

    /// The sorted set at `key`, to read.
    pub fn zset(&mut self, db: DbIndex, key: &Key<'_>) -> Result<Option<&Zset>, WrongType> {
        match self.read(db, key).map(EntryRef::value) {
            None => Ok(None),
            Some(ValueRef::Zset(zset)) => Ok(Some(zset)),
            Some(_) => Err(WrongType),
        }
    }

    /// From now on a change of `key` raises `flag`.
    pub fn watch(&mut self, db: DbIndex, key: &Key<'_>, flag: WatchFlag) {
        let found = self.sight(db, key);
        self.stripe_mut(key.slot.stripe()).0.interests.watch(db, key, flag, found);
    }

    /// Whether the key has come due since this watch of it began: for the transaction that is a change.
    pub fn has_come_due(&self, db: DbIndex, key: &Key<'_>, flag: &WatchFlag) -> bool {
        self.sight(db, key) == Sight::Due
            && self.stripe(key.slot.stripe()).interests.found_by(db, key, flag) != Sight::Due
    }

    /// What comes of this evaluation depends on the last batch of a slot.
    #[inline]
    pub(super) fn see(&self, slot: Slot) {
        self.core.seen.set(self.core.seen.get().max(self.last_of(slot)));
    }

    /// What comes of this evaluation depends on all batches so far.
    pub(super) fn see_all(&self) {
        self.core.seen.set(self.core.seen.get().max(self.core.keyspace.proposed.load()));
    }

    fn sight(&self, db: DbIndex, key: &Key<'_>) -> Sight {
        let database = self.stripe(key.slot.stripe()).databases[db.0 as usize].as_deref();
        let found = database.and_then(|database| database.find(key).map(|loc| (database, loc)));
        let is_due = match found {
            Some((database, loc)) => database.is_due(key, loc, self.core.now),
            None => self.is_cold_due(db, key),
        };
        if is_due { Sight::Due } else { Sight::Plain }
    }

    pub fn unwatch(&mut self, db: DbIndex, key: &Key<'_>, flag: &WatchFlag) {
        self.stripe_mut(key.slot.stripe()).0.interests.unwatch(db, key, flag);
    }

    /// From now on a change of `key` is reported by [`View::take_ready`] of the view that made it.
    pub fn add_waiter(&mut self, db: DbIndex, key: &Key<'_>) {
        self.stripe_mut(key.slot.stripe()).0.interests.add_waiter(db, key);
    }

    pub fn remove_waiter(&mut self, db: DbIndex, key: &Key<'_>) {
        self.stripe_mut(key.slot.stripe()).0.interests.remove_waiter(db, key);
    }
}

impl View<'_> {
    /// Gives the batch its place in the order, and the thread its mark.
    fn propose(&mut self) {
        let core = &mut self.core;
        if let Some(findings) = &mut core.findings
            && !findings.batch.is_empty()
        {
            let keyspace = core.keyspace;
            let sink = keyspace.sink.get().expect("what is recorded goes somewhere");
            let seq = sink.propose(std::mem::take(&mut findings.batch));
            keyspace.proposed.advance(seq);
            for slot in findings.changed_slots.drain(..) {
                let guard = &mut self.guards[self.stripes.rank(slot.stripe())];
                // There are none where nothing waits for what becomes of a batch.
                if let Some(pending) = guard.pending.as_mut() {
                    pending.note_written(slot, seq);
                }
            }
            let applied = keyspace.applied.load();
            for pending in self.guards.iter_mut().filter_map(|guard| guard.pending.as_mut()) {
                pending.note_proposed(seq, applied);
            }
            core.seen.set(seq);
        }
        high_water::raise(core.seen.get());
    }
}

impl Drop for View<'_> {
    /// Hands the batch over while the locks are still held: log order is evaluation order.
    #[inline]
    fn drop(&mut self) {
        let core = &mut self.core;
        let stats = &core.keyspace.stats;
        if core.changes > 0 {
            stats.changes.fetch_add(core.changes, Ordering::Relaxed);
        }
        if core.hits > 0 {
            stats.hits.fetch_add(core.hits, Ordering::Relaxed);
        }
        if core.misses > 0 {
            stats.misses.fetch_add(core.misses, Ordering::Relaxed);
        }
        if core.demanded.has_effects() {
            self.propose();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::NewExpiry;
    use super::*;

    #[test]
    fn what_is_due_is_hidden_without_going_away_and_makes_room_for_another() {
        let (db, key) = (DbIndex(0), Key::new(b"key"));
        let keyspace = Keyspace::new(1);
        keyspace.lock(StripeSet::ALL, UnixMs(0)).put_string(db, &key, b"old", NewExpiry::At(UnixMs(5)));
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(10));
        view.hide_due();
        assert!(view.peek(db, &key).is_none());
        assert_eq!(keyspace.key_count(db), 1);
        view.put_string(db, &key, b"new", NewExpiry::Clear);
        assert_eq!(keyspace.key_count(db), 1);
        assert_eq!(view.take_news().len(), 1);
        assert_eq!(view.peek(db, &key).and_then(|entry| entry.expiry()), None);
    }
}
