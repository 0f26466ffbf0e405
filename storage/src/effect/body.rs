//! Values as bytes of our own: their elements one after the other, for the log and for small values on disk.
//!
//! A kind byte, then what it says. Collections come with the form they have in memory, so that a value that was large
//! once is built again as what it was; the elements of packed forms keep their order.

use crate::effect::wire::{Malformed, Reader, put_bytes, put_signed, put_varint};
use crate::types::zset::{Outcome, ZsetLimits};
use crate::types::{Encoding, End, Hash, HashLimits, List, ListLimits, PutOutcome, Set, SetLimits, Zset};
use crate::value::{Str, StrForm, Value};

const INT: u8 = 0;
const PLAIN: u8 = 1;
const MODIFIED: u8 = 2;
const LIST_PACKED: u8 = 3;
const LIST_LARGE: u8 = 4;
const SET_INTS: u8 = 5;
const SET_PACKED: u8 = 6;
const SET_LARGE: u8 = 7;
const HASH_PACKED: u8 = 8;
const HASH_LARGE: u8 = 9;
const ZSET_PACKED: u8 = 10;
const ZSET_LARGE: u8 = 11;

/// More bytes than any listpack has.
const NO_LISTPACK_BYTES: usize = u32::MAX as usize;

const TWICE: Malformed = Malformed("the same member twice");

/// Appends `value`.
pub fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Str(Str::Int(number)) => {
            out.push(INT);
            put_signed(out, *number);
        }
        Value::Str(Str::Bytes(bytes, form)) => {
            out.push(if *form == StrForm::Plain { PLAIN } else { MODIFIED });
            put_bytes(out, bytes);
        }
        Value::List(list) => {
            out.push(if list.encoding() == Encoding::Listpack { LIST_PACKED } else { LIST_LARGE });
            put_varint(out, list.len() as u64);
            list.iter().for_each(|element| put_bytes(out, element));
        }
        Value::Set(set) => {
            out.push(match set.encoding() {
                Encoding::Intset => SET_INTS,
                Encoding::Listpack => SET_PACKED,
                _ => SET_LARGE,
            });
            put_varint(out, set.len() as u64);
            set.iter().for_each(|member| put_bytes(out, &member));
        }
        Value::Hash(hash) => {
            out.push(if hash.encoding() == Encoding::Listpack { HASH_PACKED } else { HASH_LARGE });
            put_varint(out, hash.len() as u64);
            for field in hash.iter() {
                put_bytes(out, field.name());
                put_bytes(out, field.value());
            }
        }
        Value::Zset(zset) => {
            out.push(if zset.encoding() == Encoding::Listpack { ZSET_PACKED } else { ZSET_LARGE });
            put_varint(out, zset.len() as u64);
            for (member, score) in zset.iter() {
                put_bytes(out, member);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
    }
}

/// Reads what [`put_value`] wrote. A collection is not empty and has no member twice.
pub fn read_value(reader: &mut Reader<'_>) -> Result<Value, Malformed> {
    let kind = reader.byte()?;
    Ok(match kind {
        INT => Value::Str(Str::Int(reader.signed()?)),
        PLAIN => Value::Str(Str::Bytes(reader.bytes()?.to_vec(), StrForm::Plain)),
        MODIFIED => Value::Str(Str::Bytes(reader.bytes()?.to_vec(), StrForm::Modified)),
        LIST_PACKED | LIST_LARGE => Value::List(read_list(reader, kind)?),
        SET_INTS | SET_PACKED | SET_LARGE => Value::Set(read_set(reader, kind)?),
        HASH_PACKED | HASH_LARGE => Value::Hash(read_hash(reader, kind)?),
        ZSET_PACKED | ZSET_LARGE => Value::Zset(read_zset(reader, kind)?),
        _ => return Err(Malformed("a value of unknown kind")),
    })
}

fn elements(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
    match reader.count()? {
        0 => Err(Malformed("a collection without elements")),
        count => Ok(count),
    }
}

fn read_list(reader: &mut Reader<'_>, kind: u8) -> Result<List, Malformed> {
    let mut list = List::new();
    let limits = if kind == LIST_PACKED { ListLimits::new(-5) } else { ListLimits::default() };
    if kind == LIST_LARGE {
        list.anticipate(NO_LISTPACK_BYTES, 0, &limits);
    }
    for _ in 0..elements(reader)? {
        list.push(End::Back, reader.bytes()?, &limits);
    }
    Ok(list)
}

fn read_set(reader: &mut Reader<'_>, kind: u8) -> Result<Set, Malformed> {
    let max = |is_kind| if is_kind { usize::MAX } else { 0 };
    let limits = SetLimits {
        max_intset_entries: max(kind == SET_INTS),
        max_listpack_entries: max(kind == SET_PACKED),
        max_listpack_value: max(kind == SET_PACKED),
    };
    let count = elements(reader)?;
    let mut set = Set::new();
    for _ in 0..count {
        if !set.add(reader.bytes()?, &limits) {
            return Err(TWICE);
        }
    }
    Ok(set)
}

fn read_hash(reader: &mut Reader<'_>, kind: u8) -> Result<Hash, Malformed> {
    let max = if kind == HASH_PACKED { usize::MAX } else { 0 };
    let limits = HashLimits { max_listpack_entries: max, max_listpack_value: max };
    let mut hash = Hash::new();
    for _ in 0..elements(reader)? {
        if hash.put(reader.bytes()?, reader.bytes()?, &limits) == PutOutcome::Replaced {
            return Err(TWICE);
        }
    }
    Ok(hash)
}

fn read_zset(reader: &mut Reader<'_>, kind: u8) -> Result<Zset, Malformed> {
    let max = if kind == ZSET_PACKED { usize::MAX } else { 0 };
    let limits = ZsetLimits { max_listpack_entries: max, max_listpack_value: max };
    let mut zset = Zset::new();
    for _ in 0..elements(reader)? {
        let member = reader.bytes()?;
        if zset.put(member, reader.score()?, &limits) != Outcome::Added {
            return Err(TWICE);
        }
    }
    Ok(zset)
}
