//! Changes of string values.

use super::key::Key;
use super::news::Happened;
use super::view::{View, WrongType};
use crate::clock::UnixMs;
use crate::effect::{DbIndex, Former, KeyEffect, PLAIN_BYTES_MAX};
use crate::entry::{Entry, EntryRef, ValueRef};
use crate::number::{self, I64Text};
use crate::shared::{SHARED_MIN, SharedBytes};
use crate::table::Loc;
use crate::value::{Str, StrForm, Value};

/// What writing a value does to the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewExpiry {
    Clear,
    Keep,
    At(UnixMs),
}

/// A string to read: integers are stored as such and spelled out on demand.
#[derive(Clone, Copy, Debug)]
pub enum StrRef<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    /// May be held without being copied.
    Shared(&'a SharedBytes),
}

impl<'a> StrRef<'a> {
    pub fn of(entry: EntryRef<'a>) -> Result<StrRef<'a>, WrongType> {
        match entry.value() {
            ValueRef::Int(number) => Ok(StrRef::Int(number)),
            ValueRef::Str(bytes) if bytes.len() >= SHARED_MIN => Ok(StrRef::of_long(entry, bytes)),
            ValueRef::Str(bytes) => Ok(StrRef::Bytes(bytes)),
            _ => Err(WrongType),
        }
    }

    #[cold]
    fn of_long(entry: EntryRef<'a>, bytes: &'a [u8]) -> StrRef<'a> {
        entry.shared_string().map_or(StrRef::Bytes(bytes), StrRef::Shared)
    }

    /// The bytes; those of an integer are written to `text`.
    #[inline]
    pub fn bytes<'b>(self, text: &'b mut I64Text) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            StrRef::Int(number) => {
                *text = number::format_i64(number);
                text
            }
            StrRef::Bytes(bytes) => bytes,
            StrRef::Shared(bytes) => bytes,
        }
    }

    /// The bytes, unless they are stored as an integer.
    pub fn stored_bytes(self) -> Option<&'a [u8]> {
        match self {
            StrRef::Int(_) => None,
            StrRef::Bytes(bytes) => Some(bytes),
            StrRef::Shared(bytes) => Some(bytes),
        }
    }

    pub fn len(self) -> usize {
        match self {
            StrRef::Int(number) => number::text_len(number),
            StrRef::Bytes(bytes) => bytes.len(),
            StrRef::Shared(bytes) => bytes.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn to_vec(self) -> Vec<u8> {
        match self {
            StrRef::Int(number) => number::format_i64(number).to_vec(),
            StrRef::Bytes(bytes) => bytes.to_vec(),
            StrRef::Shared(bytes) => bytes.to_vec(),
        }
    }
}

/// Whether this is what [`Former::Plain`] says.
fn is_plain(entry: EntryRef<'_>) -> bool {
    let is_small = |string| match string {
        StrRef::Int(_) => true,
        StrRef::Bytes(bytes) => bytes.len() <= PLAIN_BYTES_MAX,
        StrRef::Shared(_) => false,
    };
    entry.expiry().is_none() && StrRef::of(entry).is_ok_and(is_small)
}

impl View<'_> {
    /// The string at `key`, for a command that reads: counts hit or miss.
    #[inline]
    pub fn string(&mut self, db: DbIndex, key: &Key<'_>) -> Result<Option<StrRef<'_>>, WrongType> {
        self.read(db, key).map(StrRef::of).transpose()
    }

    /// The string at `key`, for a command that goes on to write it: neither hit nor miss.
    #[inline]
    pub fn string_to_change(&mut self, db: DbIndex, key: &Key<'_>) -> Result<Option<StrRef<'_>>, WrongType> {
        self.peek(db, key).map(StrRef::of).transpose()
    }

    /// Makes `key` hold this string, whatever was there. Canonical integers are stored as integers.
    #[inline]
    pub fn put_string(&mut self, db: DbIndex, key: &Key<'_>, bytes: &[u8], expiry: NewExpiry) {
        match number::parse_i64(bytes) {
            Some(number) => self.put_int(db, key, number, expiry),
            None => self.put_bytes(db, key, bytes, expiry),
        }
    }

    /// Makes `key` hold these bytes as they are, whatever was there: a number stays text (INCRBYFLOAT).
    pub fn put_bytes(&mut self, db: DbIndex, key: &Key<'_>, bytes: &[u8], expiry: NewExpiry) {
        let recorded = |expiry, former| {
            let value = Value::Str(Str::Bytes(bytes.to_vec(), StrForm::Plain));
            KeyEffect::Put { value, expiry, former }
        };
        let found = self.find(db, key);
        self.put_scalar(
            db,
            key,
            found,
            expiry,
            recorded,
            |entry, at| entry.put_bytes(bytes, at),
            |stamp, at| Entry::with_bytes(key.bytes, bytes, at, stamp),
        );
    }

    /// Makes `key` hold these bytes, whatever was there, without copying them.
    pub fn put_shared(&mut self, db: DbIndex, key: &Key<'_>, bytes: &SharedBytes, expiry: NewExpiry) {
        let value = || Value::Str(Str::Shared(bytes.clone()));
        let recorded = |expiry, former| KeyEffect::Put { value: value(), expiry, former };
        let found = self.find(db, key);
        self.put_scalar(
            db,
            key,
            found,
            expiry,
            recorded,
            |entry, at| entry.put_shared(bytes.clone(), at),
            |stamp, at| Entry::with_shared(key.bytes, bytes.clone(), at, stamp),
        );
    }

    /// Makes `key` hold this integer, whatever was there.
    #[inline]
    pub fn put_int(&mut self, db: DbIndex, key: &Key<'_>, number: i64, expiry: NewExpiry) {
        let found = self.find(db, key);
        self.put_int_at(db, key, found, number, expiry);
    }

    /// Makes `key` hold the integer that `change` makes of the string there; keeps the expiry. The key is found once.
    #[inline]
    pub fn change_to_int<E: From<WrongType>>(
        &mut self,
        db: DbIndex,
        key: &Key<'_>,
        change: impl FnOnce(Option<StrRef<'_>>) -> Result<i64, E>,
    ) -> Result<i64, E> {
        let found = self.find_whole(db, key);
        let old = found.map(|loc| StrRef::of(self.entry_at(db, key, loc))).transpose()?;
        let number = change(old)?;
        self.put_int_at(db, key, found, number, NewExpiry::Keep);
        Ok(number)
    }

    #[inline]
    fn put_int_at(&mut self, db: DbIndex, key: &Key<'_>, found: Option<Loc>, number: i64, expiry: NewExpiry) {
        let recorded = |expiry, former| KeyEffect::Put { value: Value::Str(Str::Int(number)), expiry, former };
        self.put_scalar(
            db,
            key,
            found,
            expiry,
            recorded,
            |entry, at| entry.put_int(number, at),
            |stamp, at| Entry::with_int(key.bytes, number, at, stamp),
        );
    }

    #[expect(clippy::too_many_arguments, reason = "two ways to write one value, each a closure of its own")]
    #[inline]
    fn put_scalar(
        &mut self,
        db: DbIndex,
        key: &Key<'_>,
        found: Option<Loc>,
        expiry: NewExpiry,
        effect: impl FnOnce(Option<UnixMs>, Former) -> KeyEffect,
        overwrite: impl FnOnce(&mut Entry, Option<UnixMs>),
        create: impl FnOnce(crate::entry::Stamp, Option<UnixMs>) -> Entry,
    ) {
        let asked = match expiry {
            NewExpiry::At(at) => Some(at),
            NewExpiry::Clear | NewExpiry::Keep => None,
        };
        match found {
            Some(loc) => {
                let old = self.entry_at(db, key, loc);
                let at = if expiry == NewExpiry::Keep { old.expiry() } else { asked };
                let is_heavy = old.free_effort() > 1;
                let former = if self.core.is_recording() && is_plain(old) { Former::Plain } else { Former::Unknown };
                let garbage = self.update_at(
                    db,
                    key,
                    loc,
                    || effect(at, former),
                    |entry| {
                        let garbage = is_heavy.then(|| entry.hollow_out());
                        overwrite(entry, at);
                        garbage
                    },
                );
                if let Some(value) = garbage {
                    self.keyspace().reaper().discard_value(value);
                }
            }
            None => {
                // What is due and hidden is still an entry.
                let former = if self.core.hides_due() { Former::Unknown } else { Former::Nothing };
                let entry = create(self.core.fresh_stamp(), asked);
                self.attach(db, key, entry);
                self.core.tell(Happened::Created, db, key);
                let (stripe, core) = self.stripe_mut(key.slot.stripe());
                core.changed(&mut stripe.interests, db, key, || effect(asked, former));
            }
        }
    }

    /// Makes `key` hold this string, whatever was there, as if it had been changed in place.
    pub fn put_modified(&mut self, db: DbIndex, key: &Key<'_>, bytes: Vec<u8>, expiry: NewExpiry) {
        let expiry = match expiry {
            NewExpiry::Clear => None,
            NewExpiry::At(at) => Some(at),
            NewExpiry::Keep => self.glance(db, key).and_then(EntryRef::expiry),
        };
        self.put(db, key, Value::Str(Str::Bytes(bytes, StrForm::Modified)), expiry);
    }

    /// Gives the string at `key` the form of one that was changed in place. No effect: the bytes stay the same.
    pub fn mark_modified(&mut self, db: DbIndex, key: &Key<'_>) {
        let Some(loc) = self.find_whole(db, key) else { return };
        let (stripe, _) = self.stripe_mut(key.slot.stripe());
        let database = stripe.databases[db.0 as usize].as_deref_mut().expect("an entry was found in this database");
        database.update(key, loc, |entry| entry.splice(0, b""));
    }

    /// Writes `bytes` at `offset` into the string at `key`, creating or extending it with zero bytes if need be; keeps
    /// the expiry. The type was checked by [`View::string_to_change`].
    pub fn splice_string(&mut self, db: DbIndex, key: &Key<'_>, offset: usize, bytes: &[u8]) {
        let effect = || KeyEffect::Splice { offset, bytes: bytes.into() };
        match self.find_whole(db, key) {
            Some(loc) => self.update_at(db, key, loc, effect, |entry| entry.splice(offset, bytes)),
            None => {
                let mut entry = Entry::with_bytes(key.bytes, b"", None, self.core.fresh_stamp());
                entry.splice(offset, bytes);
                self.attach(db, key, entry);
                self.core.tell(Happened::Created, db, key);
                let (stripe, core) = self.stripe_mut(key.slot.stripe());
                core.changed(&mut stripe.interests, db, key, effect);
            }
        }
    }
}
