//! Batches of effects as bytes, for the log.
//!
//! A version byte, the count of effects, then for each a tag and its parts, made of the primitives of
//! [`crate::effect::wire`].
//! Bytes that were not written by [`encode`] give an error, never a panic and never more memory than a small multiple
//! of their own size. A new effect gets a new tag; a changed one too, so that old logs stay readable.

use super::body::{put_value, read_value, string_body};
use super::{Batch, Cause, DbIndex, Effect, Former, KeyEffect, Mark, Passage};
use crate::clock::UnixMs;
use crate::effect::wire::{Malformed, Reader, put_bytes, put_signed, put_varint};
use crate::slot::Slot;
use crate::types::End;

/// The form that is written; others are refused.
const VERSION: u8 = 1;

const RENAME: u8 = 0;
const FLUSH: u8 = 1;
const SWAP: u8 = 2;
const PUT: u8 = 3;
const PUT_VOLATILE: u8 = 4;
const DELETE: u8 = 5;
const PERSIST: u8 = 6;
const EXPIRE: u8 = 7;
const SPLICE: u8 = 8;
const LIST_PUSH: u8 = 9;
const LIST_POP: u8 = 10;
const LIST_SET: u8 = 11;
const LIST_INSERT: u8 = 12;
const LIST_REMOVE: u8 = 13;
const LIST_TRIM: u8 = 14;
const SET_ADD: u8 = 15;
const SET_REMOVE: u8 = 16;
const HASH_PUT: u8 = 17;
const HASH_REMOVE: u8 = 18;
const ZSET_PUT: u8 = 19;
const ZSET_REMOVE: u8 = 20;
const PUT_NEW: u8 = 21;
const PUT_NEW_VOLATILE: u8 = 22;
const PUT_OVER_PLAIN: u8 = 23;
const PUT_OVER_PLAIN_VOLATILE: u8 = 24;
const CLEAR: u8 = 25;
const MARK: u8 = 26;
const UNMARK: u8 = 27;

/// Puts, by what they take the place of, without and with an expiry.
const PUTS: [(Former, u8, u8); 3] = [
    (Former::Unknown, PUT, PUT_VOLATILE),
    (Former::Nothing, PUT_NEW, PUT_NEW_VOLATILE),
    (Former::Plain, PUT_OVER_PLAIN, PUT_OVER_PLAIN_VOLATILE),
];

/// Why bytes are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error(
        "a batch of effects in form {0}, which this version does not know; use the version that wrote it, or later"
    )]
    UnknownVersion(u8),
    #[error("a batch of effects is damaged: {0}")]
    Malformed(#[from] Malformed),
}

/// Appends `batch` to `out`.
pub fn encode(batch: &[Effect], out: &mut Vec<u8>) {
    out.push(VERSION);
    put_varint(out, batch.len() as u64);
    for effect in batch {
        match effect {
            Effect::Key { db, key, change } => put_change(out, *db, key, change),
            Effect::Rename { from_db, from, to_db, to } => {
                put_head(out, RENAME, *from_db, from);
                put_varint(out, to_db.0.into());
                put_bytes(out, to);
            }
            Effect::Flush { db } => {
                out.push(FLUSH);
                put_varint(out, db.0.into());
            }
            Effect::SwapDb { one, other } => {
                out.push(SWAP);
                put_varint(out, one.0.into());
                put_varint(out, other.0.into());
            }
            Effect::Clear { db, slot, hashes: (first, last) } => {
                out.push(CLEAR);
                put_varint(out, db.0.into());
                put_varint(out, slot.number().into());
                put_varint(out, (*first).into());
                put_varint(out, (*last).into());
            }
            Effect::Mark(mark) => {
                out.push(MARK);
                put_mark(out, mark);
            }
            Effect::Unmark { passage, name } => {
                out.push(UNMARK);
                out.push(*passage as u8);
                out.extend_from_slice(name);
            }
        }
    }
}

/// A mark, as it also stands on disk.
pub(crate) fn put_mark(out: &mut Vec<u8>, mark: &Mark) {
    out.push(mark.passage as u8);
    out.extend_from_slice(&mark.name);
    put_varint(out, mark.version);
    put_varint(out, mark.slots.len() as u64);
    for (first, last) in &mark.slots {
        put_varint(out, first.number().into());
        put_varint(out, last.number().into());
    }
}

pub(crate) fn read_mark(reader: &mut Reader<'_>) -> Result<Mark, Malformed> {
    let (passage, name, version) = (read_passage(reader)?, reader.fixed()?, reader.varint()?);
    let count = reader.count()?;
    let slots = (0..count).map(|_| Ok((read_slot(reader)?, read_slot(reader)?))).collect::<Result<_, Malformed>>()?;
    Ok(Mark { passage, name, version, slots })
}

/// Reads what [`encode`] wrote, all of it.
pub fn decode(bytes: &[u8]) -> Result<Batch, CodecError> {
    let Effects { mut reader, left } = effects(bytes)?;
    let batch = (0..left).map(|_| read_effect(&mut reader)).collect::<Result<Batch, Malformed>>()?;
    ends(reader)?;
    Ok(batch)
}

/// Reads what [`encode`] wrote one effect at a time; the last error says whether that was all.
pub fn effects(bytes: &[u8]) -> Result<Effects<'_>, CodecError> {
    let mut reader = Reader::new(bytes);
    let version = reader.byte()?;
    if version != VERSION {
        return Err(CodecError::UnknownVersion(version));
    }
    let left = reader.count()?;
    Ok(Effects { reader, left })
}

/// The effects of a batch, in order. After an error come no more.
pub struct Effects<'a> {
    reader: Reader<'a>,
    left: usize,
}

/// An effect for whoever puts it into another form: the most frequent one is not made, but shown where it lies.
pub enum Decoded<'a> {
    /// A put of a string, whose `body` is as [`put_value`] writes it.
    PutString {
        db: DbIndex,
        key: &'a [u8],
        expiry: Option<UnixMs>,
        former: Former,
        body: &'a [u8],
    },
    Other(Effect),
}

impl<'a> Iterator for Effects<'a> {
    type Item = Result<Decoded<'a>, CodecError>;

    #[inline]
    fn next(&mut self) -> Option<Result<Decoded<'a>, CodecError>> {
        if self.left == 0 {
            let end = ends(self.reader);
            self.reader = Reader::new(&[]);
            return end.err().map(Err);
        }
        self.left -= 1;
        let decoded = read_put_string(&mut self.reader)
            .map_or_else(|| read_effect(&mut self.reader).map(Decoded::Other).map_err(CodecError::from), Ok);
        if decoded.is_err() {
            (self.left, self.reader) = (0, Reader::new(&[]));
        }
        Some(decoded)
    }
}

fn ends(reader: Reader<'_>) -> Result<(), CodecError> {
    if reader.is_empty() { Ok(()) } else { Err(Malformed("something follows the last effect").into()) }
}

/// Reads on only if it is the put of a string, and whole.
#[inline]
fn read_put_string<'a>(from: &mut Reader<'a>) -> Option<Decoded<'a>> {
    let mut reader = *from;
    let tag = reader.byte().ok()?;
    let (former, _, volatile) = PUTS.iter().find(|(_, one, other)| tag == *one || tag == *other)?;
    let db = read_db(&mut reader).ok()?;
    let key = reader.bytes().ok()?;
    let expiry = if tag == *volatile { Some(UnixMs(reader.signed().ok()?)) } else { None };
    let body = string_body(&mut reader)?;
    *from = reader;
    Some(Decoded::PutString { db, key, expiry, former: *former, body })
}

fn put_head(out: &mut Vec<u8>, tag: u8, db: DbIndex, key: &[u8]) {
    out.push(tag);
    put_varint(out, db.0.into());
    put_bytes(out, key);
}

fn put_change(out: &mut Vec<u8>, db: DbIndex, key: &[u8], change: &KeyEffect) {
    let mut head = |tag| put_head(out, tag, db, key);
    match change {
        KeyEffect::Put { value, expiry, former } => {
            let (_, tag, volatile) = PUTS[*former as usize];
            head(if expiry.is_some() { volatile } else { tag });
            if let Some(at) = expiry {
                put_signed(out, at.0);
            }
            put_value(out, value);
        }
        KeyEffect::Delete(cause) => {
            head(DELETE);
            out.push(*cause as u8);
        }
        KeyEffect::SetExpiry(None) => head(PERSIST),
        KeyEffect::SetExpiry(Some(at)) => {
            head(EXPIRE);
            put_signed(out, at.0);
        }
        KeyEffect::Splice { offset, bytes } => {
            head(SPLICE);
            put_varint(out, *offset as u64);
            put_bytes(out, bytes);
        }
        KeyEffect::ListPush { end, elements } => {
            head(LIST_PUSH);
            out.push(*end as u8);
            put_all(out, elements);
        }
        KeyEffect::ListPop { end, count } => {
            head(LIST_POP);
            out.push(*end as u8);
            put_varint(out, *count as u64);
        }
        KeyEffect::ListSet { index, element } => {
            head(LIST_SET);
            put_varint(out, *index as u64);
            put_bytes(out, element);
        }
        KeyEffect::ListInsert { index, element } => {
            head(LIST_INSERT);
            put_varint(out, *index as u64);
            put_bytes(out, element);
        }
        KeyEffect::ListRemove { count, element } => {
            head(LIST_REMOVE);
            put_signed(out, *count);
            put_bytes(out, element);
        }
        KeyEffect::ListTrim { start, end } => {
            head(LIST_TRIM);
            put_varint(out, *start as u64);
            put_varint(out, *end as u64);
        }
        KeyEffect::SetAdd { members } => {
            head(SET_ADD);
            put_all(out, members);
        }
        KeyEffect::SetRemove { members } => {
            head(SET_REMOVE);
            put_all(out, members);
        }
        KeyEffect::HashPut { fields } => {
            head(HASH_PUT);
            put_varint(out, fields.len() as u64);
            for (field, value) in fields {
                put_bytes(out, field);
                put_bytes(out, value);
            }
        }
        KeyEffect::HashRemove { fields } => {
            head(HASH_REMOVE);
            put_all(out, fields);
        }
        KeyEffect::ZsetPut { members } => {
            head(ZSET_PUT);
            put_varint(out, members.len() as u64);
            for (member, score) in members {
                put_bytes(out, member);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
        KeyEffect::ZsetRemove { members } => {
            head(ZSET_REMOVE);
            put_all(out, members);
        }
    }
}

fn put_all(out: &mut Vec<u8>, elements: &[Box<[u8]>]) {
    put_varint(out, elements.len() as u64);
    elements.iter().for_each(|element| put_bytes(out, element));
}

fn read_effect(reader: &mut Reader<'_>) -> Result<Effect, Malformed> {
    let tag = reader.byte()?;
    match tag {
        MARK => return read_mark(reader).map(Effect::Mark),
        UNMARK => return Ok(Effect::Unmark { passage: read_passage(reader)?, name: reader.fixed()? }),
        _ => {}
    }
    let db = read_db(reader)?;
    match tag {
        FLUSH => return Ok(Effect::Flush { db }),
        CLEAR => {
            let (slot, hashes) = (read_slot(reader)?, (read_u32(reader)?, read_u32(reader)?));
            return Ok(Effect::Clear { db, slot, hashes });
        }
        SWAP => return Ok(Effect::SwapDb { one: db, other: read_db(reader)? }),
        _ => {}
    }
    let key = read_box(reader)?;
    if tag == RENAME {
        return Ok(Effect::Rename { from_db: db, from: key, to_db: read_db(reader)?, to: read_box(reader)? });
    }
    Ok(Effect::Key { db, key, change: read_change(reader, tag)? })
}

fn read_change(reader: &mut Reader<'_>, tag: u8) -> Result<KeyEffect, Malformed> {
    if let Some((former, _, volatile)) = PUTS.iter().find(|(_, one, other)| tag == *one || tag == *other) {
        let expiry = if tag == *volatile { Some(UnixMs(reader.signed()?)) } else { None };
        return Ok(KeyEffect::Put { value: read_value(reader)?, expiry, former: *former });
    }
    Ok(match tag {
        DELETE => KeyEffect::Delete(read_cause(reader)?),
        PERSIST => KeyEffect::SetExpiry(None),
        EXPIRE => KeyEffect::SetExpiry(Some(UnixMs(reader.signed()?))),
        SPLICE => KeyEffect::Splice { offset: reader.size()?, bytes: read_box(reader)? },
        LIST_PUSH => KeyEffect::ListPush { end: read_end(reader)?, elements: read_all(reader)? },
        LIST_POP => KeyEffect::ListPop { end: read_end(reader)?, count: reader.size()? },
        LIST_SET => KeyEffect::ListSet { index: reader.size()?, element: read_box(reader)? },
        LIST_INSERT => KeyEffect::ListInsert { index: reader.size()?, element: read_box(reader)? },
        LIST_REMOVE => KeyEffect::ListRemove { count: reader.signed()?, element: read_box(reader)? },
        LIST_TRIM => KeyEffect::ListTrim { start: reader.size()?, end: reader.size()? },
        SET_ADD => KeyEffect::SetAdd { members: read_all(reader)? },
        SET_REMOVE => KeyEffect::SetRemove { members: read_all(reader)? },
        HASH_PUT => {
            let count = reader.count()?;
            let fields = (0..count).map(|_| Ok((read_box(reader)?, read_box(reader)?))).collect::<Result<_, _>>()?;
            KeyEffect::HashPut { fields }
        }
        HASH_REMOVE => KeyEffect::HashRemove { fields: read_all(reader)? },
        ZSET_PUT => {
            let count = reader.count()?;
            let members = (0..count).map(|_| Ok((read_box(reader)?, reader.score()?))).collect::<Result<_, _>>()?;
            KeyEffect::ZsetPut { members }
        }
        ZSET_REMOVE => KeyEffect::ZsetRemove { members: read_all(reader)? },
        _ => return Err(Malformed("an effect of unknown kind")),
    })
}

fn read_db(reader: &mut Reader<'_>) -> Result<DbIndex, Malformed> {
    u16::try_from(reader.varint()?).map(DbIndex).map_err(|_| Malformed("a database number of more than 16 bits"))
}

fn read_slot(reader: &mut Reader<'_>) -> Result<Slot, Malformed> {
    let number = u16::try_from(reader.varint()?).ok();
    number.and_then(Slot::new).ok_or(Malformed("a slot that does not exist"))
}

fn read_u32(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    u32::try_from(reader.varint()?).map_err(|_| Malformed("a number of more than 32 bits"))
}

fn read_passage(reader: &mut Reader<'_>) -> Result<Passage, Malformed> {
    let byte = reader.byte()?;
    let passages = [Passage::Sealed, Passage::Arriving];
    passages.into_iter().find(|&passage| passage as u8 == byte).ok_or(Malformed("an unknown kind of mark"))
}

fn read_box(reader: &mut Reader<'_>) -> Result<Box<[u8]>, Malformed> {
    reader.bytes().map(Box::from)
}

fn read_all(reader: &mut Reader<'_>) -> Result<Vec<Box<[u8]>>, Malformed> {
    let count = reader.count()?;
    (0..count).map(|_| read_box(reader)).collect()
}

fn read_end(reader: &mut Reader<'_>) -> Result<End, Malformed> {
    let byte = reader.byte()?;
    [End::Front, End::Back].into_iter().find(|&end| end as u8 == byte).ok_or(Malformed("neither end of a list"))
}

fn read_cause(reader: &mut Reader<'_>) -> Result<Cause, Malformed> {
    let byte = reader.byte()?;
    let causes = [Cause::Deleted, Cause::Expired, Cause::Evicted];
    causes.into_iter().find(|&cause| cause as u8 == byte).ok_or(Malformed("an unknown cause of a deletion"))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{describe, effect};
    use super::*;
    use crate::rng::Rng;

    fn made(decoded: Decoded<'_>) -> Effect {
        match decoded {
            Decoded::PutString { db, key, expiry, former, body } => {
                let value = read_value(&mut Reader::new(body)).unwrap();
                Effect::Key { db, key: key.into(), change: KeyEffect::Put { value, expiry, former } }
            }
            Decoded::Other(effect) => effect,
        }
    }

    #[test]
    fn every_batch_survives() {
        let mut rng = Rng::seeded(1);
        for _ in 0..300 {
            let batch: Batch = (0..rng.below(30)).map(|_| effect(&mut rng)).collect();
            let mut bytes = vec![7];
            encode(&batch, &mut bytes);
            let again = decode(&bytes[1..]).unwrap();
            assert_eq!(batch.iter().map(describe).collect::<Vec<_>>(), again.iter().map(describe).collect::<Vec<_>>());
            let shown = effects(&bytes[1..]).unwrap().map(|effect| describe(&made(effect.unwrap())));
            assert_eq!(batch.iter().map(describe).collect::<Vec<_>>(), shown.collect::<Vec<_>>());
            let mut twice = vec![7];
            encode(&again, &mut twice);
            assert_eq!(bytes, twice);
        }
    }

    #[test]
    fn damaged_batches_never_panic_and_short_ones_are_errors() {
        let mut rng = Rng::seeded(2);
        for _ in 0..300 {
            let batch: Batch = (0..1 + rng.below(4)).map(|_| effect(&mut rng)).collect();
            let mut bytes = Vec::new();
            encode(&batch, &mut bytes);
            let end = rng.below(bytes.len() as u64) as usize;
            assert!(decode(&bytes[..end]).is_err());
            for _ in 0..20 {
                let mut damaged = bytes.clone();
                for _ in 0..1 + rng.below(3) {
                    let at = rng.below(damaged.len() as u64) as usize;
                    damaged[at] = rng.next_u64() as u8;
                }
                // Whatever comes out: if it is a batch, it can be written again.
                let shown = effects(&damaged).and_then(|effects| effects.collect::<Result<Vec<_>, _>>());
                let decoded = decode(&damaged);
                assert_eq!(shown.as_ref().err(), decoded.as_ref().err());
                if let Ok(batch) = decoded {
                    assert_eq!(shown.unwrap().len(), batch.len());
                    encode(&batch, &mut Vec::new());
                }
            }
        }
    }

    #[test]
    fn other_versions_are_refused() {
        assert_eq!(decode(&[9, 0]).err(), Some(CodecError::UnknownVersion(9)));
        assert!(matches!(decode(&[VERSION, 0]), Ok(batch) if batch.is_empty()));
    }
}
