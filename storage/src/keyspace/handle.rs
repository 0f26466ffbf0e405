//! A collection to change in place.
//!
//! Changes go through [`Handle::change`], which records them. Dropping the handle of an empty collection deletes its
//! key: so no command can leave an empty collection behind, and followers come to the same end by the same rule.

use super::Stripe;
use super::database::{Counts, Database};
use super::interest::Interests;
use super::key::Key;
use super::news::Happened;
use super::pending::Pending;
use super::settings::Settings;
use super::view::{Core, View, WrongType};
use crate::effect::{DbIndex, KeyEffect};
use crate::entry::{CollectionMut, Entry, ValueRef};
use crate::table::Loc;
use crate::types::{Hash, List, Set, Zset};
use crate::value::{Type, Value};
use std::marker::PhantomData;

/// A value type that lives in an entry and is changed in place.
pub trait Collection: Sized {
    const TYPE: Type;

    fn empty() -> Self;
    /// How many elements it has.
    fn size(&self) -> usize;
    fn into_value(self) -> Value;
    fn of(value: ValueRef<'_>) -> Option<&Self>;
    fn of_mut(collection: CollectionMut<'_>) -> Option<&mut Self>;
}

macro_rules! collection {
    ($type:ident) => {
        impl Collection for $type {
            const TYPE: Type = Type::$type;

            fn empty() -> Self {
                $type::new()
            }

            #[inline]
            fn size(&self) -> usize {
                self.len()
            }

            fn into_value(self) -> Value {
                Value::$type(self)
            }

            #[inline]
            fn of(value: ValueRef<'_>) -> Option<&Self> {
                if let ValueRef::$type(collection) = value { Some(collection) } else { None }
            }

            #[inline]
            fn of_mut(collection: CollectionMut<'_>) -> Option<&mut Self> {
                if let CollectionMut::$type(collection) = collection { Some(collection) } else { None }
            }
        }
    };
}

collection!(List);
collection!(Set);
collection!(Hash);
collection!(Zset);

/// A collection of type `T` at one key, borrowed from a [`View`].
pub struct Handle<'v, 'k, T: Collection> {
    database: &'v mut Database,
    interests: &'v mut Interests,
    pending: &'v mut Option<Box<Pending>>,
    core: &'v mut Core<'k>,
    counts: &'k Counts,
    db: DbIndex,
    key: Key<'v>,
    loc: Loc,
    /// Whether nothing is in it: found out when it changes, so that a handle that is dropped need not look again.
    is_empty: bool,
    collection: PhantomData<T>,
}

impl<T: Collection> Handle<'_, '_, T> {
    /// The collection, to read.
    #[inline]
    pub fn value(&self) -> &T {
        T::of(self.database.entry(&self.key, self.loc).value()).expect("the type was checked when the handle was made")
    }

    pub fn settings(&self) -> &Settings {
        &self.core.keyspace.settings
    }

    /// Works on the collection. Whoever has changed it then calls [`Handle::account`].
    #[inline]
    pub(super) fn edit<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let is_empty = &mut self.is_empty;
        self.database.update_collection::<T, R>(&self.key, self.loc, |collection| {
            let result = change(collection);
            *is_empty = collection.size() == 0;
            result
        })
    }

    /// Whether this leads to a collection of this type; that counts as use. Asked of the handle where it is, as moving
    /// it through a result takes longer than asking.
    #[inline]
    fn check(&self) -> Result<(), WrongType> {
        let entry = self.database.entry(&self.key, self.loc);
        if T::of(entry.value()).is_none() {
            return Err(WrongType);
        }
        self.core.touch(entry);
        Ok(())
    }

    /// Whether effects are wanted: what is only needed to describe them can be left out otherwise.
    pub(super) fn is_recording(&self) -> bool {
        self.core.is_recording()
    }

    /// Accounts for a change; `effect` says as data what it was.
    #[inline]
    pub(super) fn account(&mut self, effect: impl FnOnce() -> KeyEffect) {
        self.core.changed(self.interests, self.db, &self.key, effect);
    }
}

impl<T: Collection> Drop for Handle<'_, '_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.is_empty {
            // Not recorded: whoever applies the effects comes to the same end by this very rule.
            drop(self.database.remove(&self.key, self.loc));
            if self.database.has_cold(self.key.slot)
                && let Some(pending) = &mut *self.pending
            {
                pending.bury(self.core.keyspace.physical(self.db), &self.key);
            }
            self.database.publish(self.counts);
            self.core.retract_created(self.db, &self.key);
        }
    }
}

impl<'k> View<'k> {
    /// The collection at `key` to change in place, if there is one.
    #[inline]
    pub fn existing<'v, T: Collection>(
        &'v mut self,
        db: DbIndex,
        key: &Key<'v>,
    ) -> Result<Option<Handle<'v, 'k, T>>, WrongType> {
        let Some(loc) = self.find_whole(db, key) else { return Ok(None) };
        let handle = self.handle(db, key, loc);
        handle.check()?;
        Ok(Some(handle))
    }

    /// The collection at `key` to change in place; an empty one is made if there is none, and it goes away again if
    /// nothing is put into it.
    #[inline]
    pub fn existing_or_new<'v, T: Collection>(
        &'v mut self,
        db: DbIndex,
        key: &Key<'v>,
    ) -> Result<Handle<'v, 'k, T>, WrongType> {
        match self.find_whole(db, key) {
            Some(loc) => {
                let handle = self.handle(db, key, loc);
                handle.check()?;
                Ok(handle)
            }
            None => {
                let entry = Entry::new(key.bytes, T::empty().into_value(), None, self.core.fresh_stamp());
                let loc = self.attach(db, key, entry);
                self.core.tell(Happened::Created, db, key);
                let mut handle = self.handle(db, key, loc);
                handle.is_empty = true;
                Ok(handle)
            }
        }
    }

    /// A handle on the entry that was found at `loc`, which is not empty.
    #[inline]
    fn handle<'v, T: Collection>(&'v mut self, db: DbIndex, key: &Key<'v>, loc: Loc) -> Handle<'v, 'k, T> {
        let stripe_index = key.slot.stripe();
        let keyspace = self.keyspace();
        let counts = &keyspace.counts[stripe_index.number()][db.0 as usize];
        let (stripe, core) = self.stripe_mut(stripe_index);
        let Stripe { databases, interests, pending } = stripe;
        let database = databases[db.0 as usize].as_deref_mut().expect("an entry was found in this database");
        Handle {
            database,
            interests,
            pending,
            core,
            counts,
            db,
            key: *key,
            loc,
            is_empty: false,
            collection: PhantomData,
        }
    }
}
