//! Values as bytes of our own: their elements one after the other, for the log and for small values on disk.
//!
//! A kind byte, then what it says. Collections come with the form they have in memory, so that a value that was large
//! once is built again as what it was; the elements of packed forms keep their order.

use crate::effect::wire::{Malformed, Reader, put_bytes, put_signed, put_varint};
use crate::types::zset::{Outcome, ZsetLimits};
use crate::types::{Encoding, End, Hash, HashLimits, List, ListLimits, PutOutcome, Set, SetLimits, Zset};
use crate::value::{Str, StrForm, Type, Value};

/// What a value is, and in which form it was. The numbers are part of the log and of the layout on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Int,
    Plain,
    Modified,
    ListPacked,
    ListLarge,
    SetInts,
    SetPacked,
    SetLarge,
    HashPacked,
    HashLarge,
    ZsetPacked,
    ZsetLarge,
}

impl Kind {
    const ALL: [Kind; 12] = [
        Kind::Int,
        Kind::Plain,
        Kind::Modified,
        Kind::ListPacked,
        Kind::ListLarge,
        Kind::SetInts,
        Kind::SetPacked,
        Kind::SetLarge,
        Kind::HashPacked,
        Kind::HashLarge,
        Kind::ZsetPacked,
        Kind::ZsetLarge,
    ];

    pub fn of(value: &Value) -> Kind {
        match value {
            Value::Str(Str::Int(_)) => Kind::Int,
            Value::Str(Str::Bytes(_, StrForm::Plain) | Str::Shared(_)) => Kind::Plain,
            Value::Str(Str::Bytes(_, StrForm::Modified)) => Kind::Modified,
            Value::List(list) if list.encoding() == Encoding::Listpack => Kind::ListPacked,
            Value::List(_) => Kind::ListLarge,
            Value::Set(set) => match set.encoding() {
                Encoding::Intset => Kind::SetInts,
                Encoding::Listpack => Kind::SetPacked,
                _ => Kind::SetLarge,
            },
            Value::Hash(hash) if hash.encoding() == Encoding::Listpack => Kind::HashPacked,
            Value::Hash(_) => Kind::HashLarge,
            Value::Zset(zset) if zset.encoding() == Encoding::Listpack => Kind::ZsetPacked,
            Value::Zset(_) => Kind::ZsetLarge,
            Value::Outline(outline) => outline.kind,
        }
    }

    pub fn read(reader: &mut Reader<'_>) -> Result<Kind, Malformed> {
        let code = reader.byte()?;
        Kind::ALL.get(usize::from(code)).copied().ok_or(Malformed("a value of unknown kind"))
    }

    pub fn value_type(self) -> Type {
        match self {
            Kind::Int | Kind::Plain | Kind::Modified => Type::String,
            Kind::ListPacked | Kind::ListLarge => Type::List,
            Kind::SetInts | Kind::SetPacked | Kind::SetLarge => Type::Set,
            Kind::HashPacked | Kind::HashLarge => Type::Hash,
            Kind::ZsetPacked | Kind::ZsetLarge => Type::Zset,
        }
    }

    /// Whether a collection had left its small form.
    pub fn is_large(self) -> bool {
        matches!(self, Kind::ListLarge | Kind::SetLarge | Kind::HashLarge | Kind::ZsetLarge)
    }
}

/// More bytes than any listpack has.
const NO_LISTPACK_BYTES: usize = u32::MAX as usize;

const TWICE: Malformed = Malformed("the same member twice");

/// Appends `value`.
pub fn put_value(out: &mut Vec<u8>, value: &Value) {
    out.push(Kind::of(value) as u8);
    match value {
        Value::Str(Str::Int(number)) => put_signed(out, *number),
        Value::Str(Str::Bytes(bytes, _)) => put_bytes(out, bytes),
        Value::Str(Str::Shared(bytes)) => put_bytes(out, bytes),
        Value::List(list) => {
            put_varint(out, list.len() as u64);
            list.iter().for_each(|element| put_bytes(out, element));
        }
        Value::Set(set) => {
            put_varint(out, set.len() as u64);
            set.iter().for_each(|member| put_bytes(out, &member));
        }
        Value::Hash(hash) => {
            put_varint(out, hash.len() as u64);
            for field in hash.iter() {
                put_bytes(out, field.name());
                put_bytes(out, field.value());
            }
        }
        Value::Zset(zset) => {
            put_varint(out, zset.len() as u64);
            for (member, score) in zset.iter() {
                put_bytes(out, member);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
        Value::Outline(_) => unreachable!("effects say what a value is, not what is known of it"),
    }
}

/// Reads what [`put_value`] wrote. A collection is not empty and has no member twice.
pub fn read_value(reader: &mut Reader<'_>) -> Result<Value, Malformed> {
    let kind = Kind::read(reader)?;
    Ok(match kind {
        Kind::Int => Value::Str(Str::Int(reader.signed()?)),
        Kind::Plain => Value::Str(Str::Bytes(reader.bytes()?.to_vec(), StrForm::Plain)),
        Kind::Modified => Value::Str(Str::Bytes(reader.bytes()?.to_vec(), StrForm::Modified)),
        Kind::ListPacked | Kind::ListLarge => Value::List(read_list(reader, kind)?),
        Kind::SetInts | Kind::SetPacked | Kind::SetLarge => Value::Set(read_set(reader, kind)?),
        Kind::HashPacked | Kind::HashLarge => Value::Hash(read_hash(reader, kind)?),
        Kind::ZsetPacked | Kind::ZsetLarge => Value::Zset(read_zset(reader, kind)?),
    })
}

/// The bytes of a string, if it is one and whole: what [`read_value`] would read.
#[inline]
pub fn string_body<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let bytes = reader.rest();
    match Kind::read(reader).ok()? {
        Kind::Int => drop(reader.signed().ok()?),
        Kind::Plain | Kind::Modified => drop(reader.bytes().ok()?),
        _ => return None,
    }
    Some(&bytes[..bytes.len() - reader.rest().len()])
}

fn elements(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
    match reader.count()? {
        0 => Err(Malformed("a collection without elements")),
        count => Ok(count),
    }
}

fn read_list(reader: &mut Reader<'_>, kind: Kind) -> Result<List, Malformed> {
    let mut list = List::new();
    let limits = if kind == Kind::ListPacked { ListLimits::new(-5) } else { ListLimits::default() };
    if kind == Kind::ListLarge {
        list.anticipate(NO_LISTPACK_BYTES, 0, &limits);
    }
    for _ in 0..elements(reader)? {
        list.push(End::Back, reader.bytes()?, &limits);
    }
    Ok(list)
}

fn read_set(reader: &mut Reader<'_>, kind: Kind) -> Result<Set, Malformed> {
    let max = |is_kind| if is_kind { usize::MAX } else { 0 };
    let limits = SetLimits {
        max_intset_entries: max(kind == Kind::SetInts),
        max_listpack_entries: max(kind == Kind::SetPacked),
        max_listpack_value: max(kind == Kind::SetPacked),
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

fn read_hash(reader: &mut Reader<'_>, kind: Kind) -> Result<Hash, Malformed> {
    let max = if kind == Kind::HashPacked { usize::MAX } else { 0 };
    let limits = HashLimits { max_listpack_entries: max, max_listpack_value: max };
    let mut hash = Hash::new();
    for _ in 0..elements(reader)? {
        if hash.put(reader.bytes()?, reader.bytes()?, &limits) == PutOutcome::Replaced {
            return Err(TWICE);
        }
    }
    Ok(hash)
}

fn read_zset(reader: &mut Reader<'_>, kind: Kind) -> Result<Zset, Malformed> {
    let max = if kind == Kind::ZsetPacked { usize::MAX } else { 0 };
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
