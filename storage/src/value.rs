//! Owned values, as they travel between keys, databases, effects and dumps.

use crate::number;
use crate::outline::Outline;
use crate::shared::SharedBytes;
use crate::types::{Encoding, Hash, List, Set, Zset};

/// A value of any type.
#[derive(Clone)]
pub enum Value {
    Str(Str),
    List(List),
    Set(Set),
    Hash(Hash),
    Zset(Zset),
    /// Not the value, but what is known of it: never in an effect or a dump.
    Outline(Box<Outline>),
}

/// A string value. Invariant of `Int`: what was written is the canonical decimal form of the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Str {
    Int(i64),
    Bytes(Vec<u8>, StrForm),
    /// Of at least [`SHARED_MIN`](crate::shared::SHARED_MIN) bytes, which are `raw` however they came to be.
    Shared(SharedBytes),
}

/// How a string came to be, which Redis shows as the encodings `embstr` and `raw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrForm {
    /// Written whole.
    Plain,
    /// Changed in place, by APPEND, SETRANGE or SETBIT.
    Modified,
}

/// Longest string that Redis stores as `embstr`.
const EMBSTR_MAX: usize = 44;

/// How much work it is to free so long a string: its pages go back to the system one by one.
pub(crate) const fn string_free_effort(len: usize) -> usize {
    const BYTES_AS_ONE_ALLOCATION: usize = 16 << 10;
    1 + len / BYTES_AS_ONE_ALLOCATION
}

/// The types of Redis, with the names that TYPE answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    String,
    List,
    Set,
    Hash,
    Zset,
}

impl Type {
    pub const fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::Hash => "hash",
            Type::Zset => "zset",
        }
    }
}

impl Str {
    /// The string in its most compact form: integers as integers, if they are written canonically.
    pub fn compact(bytes: Vec<u8>) -> Str {
        match number::parse_i64(&bytes) {
            Some(number) => Str::Int(number),
            None => Str::Bytes(bytes, StrForm::Plain),
        }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Str::Int(number) => number::format_i64(number).to_vec(),
            Str::Bytes(bytes, _) => bytes,
            Str::Shared(bytes) => bytes.into_vec(),
        }
    }
}

impl Value {
    pub fn type_of(&self) -> Type {
        match self {
            Value::Str(_) => Type::String,
            Value::List(_) => Type::List,
            Value::Set(_) => Type::Set,
            Value::Hash(_) => Type::Hash,
            Value::Zset(_) => Type::Zset,
            Value::Outline(outline) => outline.value_type(),
        }
    }

    /// How much work dropping the value is: roughly the number of allocations.
    pub fn free_effort(&self) -> usize {
        match self {
            Value::Str(Str::Shared(bytes)) => string_free_effort(bytes.len()),
            Value::Str(_) | Value::Outline(_) => 1,
            Value::List(list) => list.free_effort(),
            Value::Set(set) => set.free_effort(),
            Value::Hash(hash) => hash.free_effort(),
            Value::Zset(zset) => zset.free_effort(),
        }
    }

    /// Bytes that dropping the value frees, about, without walking through all of it.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Value::Str(Str::Int(_)) => 0,
            Value::Str(Str::Bytes(bytes, _)) => bytes.capacity(),
            Value::Str(Str::Shared(bytes)) => bytes.capacity(),
            Value::List(list) => list.heap_bytes(),
            Value::Set(set) => set.heap_bytes(),
            Value::Hash(hash) => hash.heap_bytes(),
            Value::Zset(zset) => zset.heap_bytes(),
            Value::Outline(_) => size_of::<Outline>(),
        }
    }
}

impl crate::entry::ValueRef<'_> {
    pub fn type_of(self) -> Type {
        match self {
            Self::Int(_) | Self::Str(_) => Type::String,
            Self::List(_) => Type::List,
            Self::Set(_) => Type::Set,
            Self::Hash(_) => Type::Hash,
            Self::Zset(_) => Type::Zset,
            Self::Outline(outline) => outline.value_type(),
        }
    }
}

impl crate::entry::EntryRef<'_> {
    /// The encoding that OBJECT ENCODING names.
    pub fn encoding(self) -> Encoding {
        use crate::entry::ValueRef;
        match self.value() {
            ValueRef::Int(_) => Encoding::Int,
            ValueRef::Str(bytes) if bytes.len() <= EMBSTR_MAX && self.string_form() == StrForm::Plain => {
                Encoding::Embstr
            }
            ValueRef::Str(_) => Encoding::Raw,
            ValueRef::List(list) => list.encoding(),
            ValueRef::Set(set) => set.encoding(),
            ValueRef::Hash(hash) => hash.encoding(),
            ValueRef::Zset(zset) => zset.encoding(),
            ValueRef::Outline(_) => unreachable!("whoever asks has had the value loaded"),
        }
    }
}
