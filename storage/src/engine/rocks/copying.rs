//! A slot as effects that make it elsewhere: what is sent of it when it moves to another group.
//!
//! What lies whole in its record is put whole; what lies in parts is made of parts, so that nobody ever holds more of
//! it than a batch.

use super::corrupt;
use super::layout::{KEYS, MetaKey, parse_field_name, position_of, slot_prefix};
use super::meta::{DataRef, Large, MetaRef};
use super::read::{Source, parse};
use super::snapshot::EngineSnapshot;
use super::strings::CHUNK;
use crate::clock::UnixMs;
use crate::effect::wire::{Malformed, Reader};
use crate::effect::{Batch, DbIndex, Effect, Field, Former, KeyEffect, bytes_about};
use crate::engine::{EngineError, Tier};
use crate::rdb::values::Limits;
use crate::slot::Slot;
use crate::types::End;
use crate::value::Type;

/// Parts that one effect has, at most.
const PARTS_MAX: usize = 256;

impl EngineSnapshot<'_> {
    /// Hands slots out as batches of about so many bytes, for empty ones elsewhere.
    ///
    /// # Errors
    /// Those of reading, and what `sink` returns, which ends the copying.
    pub fn copy_slots<E: From<EngineError>>(
        &self,
        db: DbIndex,
        slots: impl Iterator<Item = Slot>,
        limits: &Limits,
        batch_bytes: usize,
        sink: impl FnMut(Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(physical) = self.physical(db) else { return Ok(()) };
        let (engine, snapshot) = self.parts();
        let source = Source { engine, snapshot: Some(snapshot), tier: Tier::Disk };
        let mut copy = Copy { db, batch: Batch::new(), bytes: 0, batch_bytes, sink };
        for slot in slots {
            let prefix = slot_prefix(engine.group, physical, slot);
            let mut entries = engine.rocks.prefix_iterator(KEYS, &prefix, Some(snapshot));
            entries.seek_to_first();
            while let Some((key, value)) = entries.item() {
                let no_key = || corrupt("the key of a record")(Malformed("it is too short"));
                let key = MetaKey::parse(key).ok_or_else(no_key)?;
                copy.add_entry(&source, key.user_key, parse(value)?, limits)?;
                entries.next();
            }
            entries.status().map_err(super::failed("copying a slot"))?;
        }
        copy.flush()
    }
}

/// A batch that is being filled.
struct Copy<S> {
    db: DbIndex,
    batch: Batch,
    bytes: usize,
    batch_bytes: usize,
    sink: S,
}

impl<E: From<EngineError>, S: FnMut(Batch) -> Result<(), E>> Copy<S> {
    fn add_entry(&mut self, source: &Source<'_>, key: &[u8], meta: MetaRef<'_>, limits: &Limits) -> Result<(), E> {
        if let DataRef::Parts(large) = meta.data {
            return self.add_parts(source, key, &large, meta.expiry);
        }
        let value = source.value(meta.data, limits)?.expect("a read from the disk is never short of it");
        self.add(key, KeyEffect::Put { value, expiry: meta.expiry, former: Former::Nothing })
    }

    fn add(&mut self, key: &[u8], change: KeyEffect) -> Result<(), E> {
        let effect = Effect::Key { db: self.db, key: key.into(), change };
        self.bytes += bytes_about(std::slice::from_ref(&effect));
        self.batch.push(effect);
        if self.bytes >= self.batch_bytes { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), E> {
        self.bytes = 0;
        if self.batch.is_empty() { Ok(()) } else { (self.sink)(std::mem::take(&mut self.batch)) }
    }

    fn add_parts(&mut self, source: &Source<'_>, key: &[u8], large: &Large, expiry: Option<UnixMs>) -> Result<(), E> {
        let mut pieces = Pieces::new(large.kind.value_type());
        // A visit cannot be ended, so what fails first is kept.
        let mut result = Ok(());
        source.each_part(large, |name, value| {
            if result.is_ok() {
                result = match pieces.add(name, value) {
                    Ok(Some(change)) => self.add(key, change),
                    Ok(None) => Ok(()),
                    Err(malformed) => Err(corrupt("a part of a large value")(malformed).into()),
                };
            }
        })?;
        result?;
        if let Some(change) = pieces.take() {
            self.add(key, change)?;
        }
        if pieces.value_type == Type::String {
            // It may end with zeros, for which there is no chunk.
            self.add(key, KeyEffect::Splice { offset: large.len as usize, bytes: Box::default() })?;
        }
        match expiry {
            Some(_) => self.add(key, KeyEffect::SetExpiry(expiry)),
            None => Ok(()),
        }
    }
}

/// Parts that become one effect.
struct Pieces {
    value_type: Type,
    names: Vec<Box<[u8]>>,
    fields: Vec<Field>,
    members: Vec<(Box<[u8]>, f64)>,
}

impl Pieces {
    fn new(value_type: Type) -> Pieces {
        Pieces { value_type, names: Vec::new(), fields: Vec::new(), members: Vec::new() }
    }

    /// Adds a part; returns an effect when there are enough.
    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<Option<KeyEffect>, Malformed> {
        let named = || parse_field_name(name).map(|(_, name)| name.into()).ok_or(Malformed("it has no name"));
        match self.value_type {
            Type::String => {
                let number = position_of(name).and_then(|number| usize::try_from(number).ok());
                let offset = number.ok_or(Malformed("a chunk without a position"))? * CHUNK;
                return Ok(Some(KeyEffect::Splice { offset, bytes: value.into() }));
            }
            Type::List => self.names.push(value.into()),
            Type::Set => self.names.push(named()?),
            Type::Hash => self.fields.push((named()?, value.into())),
            Type::Zset => self.members.push((named()?, Reader::new(value).score()?)),
        }
        let is_full = self.names.len() + self.fields.len() + self.members.len() >= PARTS_MAX;
        Ok(if is_full { self.take() } else { None })
    }

    fn take(&mut self) -> Option<KeyEffect> {
        let change = match self.value_type {
            Type::String => return None,
            Type::List => KeyEffect::ListPush { end: End::Back, elements: std::mem::take(&mut self.names) },
            Type::Set => KeyEffect::SetAdd { members: std::mem::take(&mut self.names) },
            Type::Hash => KeyEffect::HashPut { fields: std::mem::take(&mut self.fields) },
            Type::Zset => KeyEffect::ZsetPut { members: std::mem::take(&mut self.members) },
        };
        let is_empty = match &change {
            KeyEffect::ListPush { elements: names, .. } | KeyEffect::SetAdd { members: names } => names.is_empty(),
            KeyEffect::HashPut { fields } => fields.is_empty(),
            KeyEffect::ZsetPut { members } => members.is_empty(),
            _ => false,
        };
        (!is_empty).then_some(change)
    }
}
