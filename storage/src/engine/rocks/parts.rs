//! Sets, hashes and sorted sets: names with something to each.
//!
//! To a member of a set belongs nothing, to a field its value, to a member of a sorted set its score. Small ones are a
//! sequence in their record; large ones have a part for each name.

use super::corrupt;
use super::layout::field_name;
use super::meta::{COLLECTION_BYTES_MAX, Data, Large, Meta, collection_bytes_max};
use super::staged::Staged;
use crate::effect::body::Kind;
use crate::effect::wire::{Malformed, Reader, put_bytes, put_varint};
use crate::engine::EngineError;
use crate::value::Type;

/// Names, with what belongs to each.
pub(super) type Named<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Bytes of a score.
const SCORE: usize = 8;

impl Staged<'_> {
    /// Puts names with what belongs to them; `kind` is for a collection that begins with them.
    pub fn put_named(
        &mut self,
        meta: Option<Meta>,
        kind: Kind,
        added: &[(&[u8], &[u8])],
    ) -> Result<Option<Meta>, EngineError> {
        let expiry = meta.as_ref().and_then(|meta| meta.expiry);
        let data = match meta.map(|meta| meta.data) {
            Some(Data::Parts(large)) if large.kind.value_type() == kind.value_type() => {
                self.put_in_parts(large, added)?
            }
            Some(Data::Whole(body)) => {
                let (found, there) = read_named(&body)?;
                if found.value_type() != kind.value_type() {
                    return self.diverged("a collection of another type is there");
                }
                self.put_in_whole(found, there, added)?
            }
            None => self.put_in_whole(kind, Vec::new(), added)?,
            Some(Data::Parts(_)) => return self.diverged("a collection of another type is there"),
        };
        Ok(data.map(|data| Meta { expiry, data }))
    }

    fn put_in_whole<'a>(
        &mut self,
        kind: Kind,
        mut there: Vec<(&'a [u8], &'a [u8])>,
        added: &[(&'a [u8], &'a [u8])],
    ) -> Result<Option<Data>, EngineError> {
        let bytes = |names: &[(&[u8], &[u8])]| names.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let mut size: usize = bytes(&there);
        if size + bytes(added) > 4 * collection_bytes_max() {
            return self.split(kind, &there, added);
        }
        for &(name, value) in added {
            match there.iter_mut().find(|(other, _)| *other == name) {
                Some((_, old)) => *old = value,
                None => there.push((name, value)),
            }
        }
        size = bytes(&there);
        if size > collection_bytes_max() {
            return self.split(kind, &there, &[]);
        }
        Ok((!there.is_empty()).then(|| Data::Whole(write_named(kind, &there))))
    }

    /// Makes parts of what is in a record, and adds to them.
    pub fn split(
        &mut self,
        kind: Kind,
        there: &[(&[u8], &[u8])],
        added: &[(&[u8], &[u8])],
    ) -> Result<Option<Data>, EngineError> {
        let large = Large { kind, version: self.new_version(), len: there.len() as u64, head: 0 };
        there.iter().for_each(|(name, value)| self.put_part(large.version, &field_name(name), (*value).into()));
        self.put_in_parts(large, added)
    }

    fn put_in_parts(&mut self, mut large: Large, added: &[(&[u8], &[u8])]) -> Result<Option<Data>, EngineError> {
        for (name, value) in added {
            let part = field_name(name);
            let old = self.part(large.version, &part)?;
            large.len += u64::from(old.is_none());
            if old.as_deref() != Some(*value) {
                self.put_part(large.version, &part, (*value).into());
            }
        }
        Ok((large.len > 0).then_some(Data::Parts(large)))
    }

    /// Removes names; those that are not there do not matter.
    pub fn remove_named(
        &mut self,
        meta: Option<Meta>,
        value_type: Type,
        removed: &[Box<[u8]>],
    ) -> Result<Option<Meta>, EngineError> {
        let Some(Meta { expiry, data }) = meta else { return Ok(None) };
        match data {
            Data::Whole(body) => {
                let (kind, mut there) = read_named(&body)?;
                if kind.value_type() != value_type {
                    return self.diverged("a collection of another type is there");
                }
                for name in removed {
                    if let Some(at) = there.iter().position(|(other, _)| *other == &**name) {
                        there.remove(at);
                    }
                }
                let data = (!there.is_empty()).then(|| Data::Whole(write_named(kind, &there)));
                Ok(data.map(|data| Meta { expiry, data }))
            }
            Data::Parts(large) if large.kind.value_type() != value_type => {
                self.diverged("a collection of another type is there")
            }
            Data::Parts(mut large) => {
                for name in removed {
                    let part = field_name(name);
                    if self.part(large.version, &part)?.is_some() {
                        self.delete_part(large.version, &part);
                        large.len -= 1;
                    }
                }
                Ok((large.len > 0).then_some(Meta { expiry, data: Data::Parts(large) }))
            }
        }
    }
}

/// The names in a record, with what belongs to each; none if it is a value without names.
pub(super) fn read_named(body: &[u8]) -> Result<(Kind, Named<'_>), EngineError> {
    named(body).map_err(corrupt("a small collection"))
}

fn named(body: &[u8]) -> Result<(Kind, Named<'_>), Malformed> {
    let mut reader = Reader::new(body);
    let kind = Kind::read(&mut reader)?;
    if matches!(kind.value_type(), Type::String | Type::List) {
        return Ok((kind, Vec::new()));
    }
    let count = reader.count()?;
    let mut there = Vec::with_capacity(count + 1);
    for _ in 0..count {
        let name = reader.bytes()?;
        let value = match kind.value_type() {
            Type::Set => &[][..],
            Type::Hash => reader.bytes()?,
            _ => reader.raw(SCORE)?,
        };
        there.push((name, value));
    }
    Ok((kind, there))
}

fn write_named(kind: Kind, there: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut body = Vec::with_capacity(COLLECTION_BYTES_MAX / 2);
    body.push(kind as u8);
    put_varint(&mut body, there.len() as u64);
    for (name, value) in there {
        put_bytes(&mut body, name);
        match kind.value_type() {
            Type::Hash => put_bytes(&mut body, value),
            _ => body.extend_from_slice(value),
        }
    }
    body
}
