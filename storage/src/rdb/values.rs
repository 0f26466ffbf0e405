//! Connects the formats to the values of the keyspace: how they are built, and in which form each is written.
//!
//! Redis 7.0 has no set listpack, so sets that are packed in memory are written as plain ones; its reader packs or
//! unpacks everything else by its own limits.

use std::borrow::Cow;
use std::io::{self, Write};

use super::kind::Kind;
use super::listpack;
use super::load::{Build, Duplicate, Shape};
use super::save::{Encoder, Save, fits_listpack};
use crate::entry::ValueRef;
use crate::keyspace::Settings;
use crate::number::{format_i64, parse_i64};
use crate::types::list::{End, ListLimits};
use crate::types::zset::{Outcome, ZsetLimits};
use crate::types::{Encoding, Hash, HashLimits, List, PutOutcome, Set, SetLimits, Zset};
use crate::value::{Str, Value};

/// No score's text is longer.
const SCORE_TEXT_MAX: usize = 32;

/// Up to where loaded collections stay small.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub list: ListLimits,
    pub set: SetLimits,
    pub hash: HashLimits,
    pub zset: ZsetLimits,
}

impl Limits {
    /// The limits in force now.
    pub fn of(settings: &Settings) -> Limits {
        Limits {
            list: settings.list_limits(),
            set: settings.set_limits(),
            hash: settings.hash_limits(),
            zset: settings.zset_limits(),
        }
    }
}

/// Builds a [`Value`].
pub struct Builder {
    value: Value,
    limits: Limits,
}

impl Build for Builder {
    type Value = Value;
    type Limits = Limits;

    fn start(shape: Shape, limits: &Limits) -> Builder {
        let value = match shape {
            Shape::String => Value::Str(Str::Int(0)),
            Shape::List => Value::List(List::new()),
            Shape::Set => Value::Set(Set::new()),
            Shape::Hash => Value::Hash(Hash::new()),
            Shape::Zset => Value::Zset(Zset::new()),
        };
        let mut builder = Builder { value, limits: *limits };
        if let Value::Zset(zset) = &mut builder.value {
            // Small ones are packed in the end, as Redis does it: negative zeros show the difference.
            zset.anticipate(usize::MAX, 0, &limits.zset);
        }
        builder
    }

    fn keep_packed(&mut self) {
        if let Value::Zset(zset) = &mut self.value {
            *zset = Zset::new();
        }
        self.limits.set.max_listpack_value = usize::MAX;
        self.limits.hash.max_listpack_value = usize::MAX;
        self.limits.zset.max_listpack_value = usize::MAX;
    }

    fn string(&mut self, bytes: Cow<'_, [u8]>) {
        self.value = Value::Str(Str::compact(bytes.into_owned()));
    }

    fn list_item(&mut self, item: &[u8]) {
        let Value::List(list) = &mut self.value else { panic!("a list item in another shape") };
        list.push(End::Back, item, &self.limits.list);
    }

    fn set_member(&mut self, member: &[u8]) -> Result<(), Duplicate> {
        let Value::Set(set) = &mut self.value else { panic!("a set member in another shape") };
        if set.add(member, &self.limits.set) { Ok(()) } else { Err(Duplicate) }
    }

    fn hash_field(&mut self, field: &[u8], value: &[u8]) -> Result<(), Duplicate> {
        let Value::Hash(hash) = &mut self.value else { panic!("a hash field in another shape") };
        match hash.put(field, value, &self.limits.hash) {
            PutOutcome::Created => Ok(()),
            PutOutcome::Replaced => Err(Duplicate),
        }
    }

    fn zset_member(&mut self, member: &[u8], score: f64) -> Result<(), Duplicate> {
        let Value::Zset(zset) = &mut self.value else { panic!("a sorted set member in another shape") };
        match zset.put(member, score, &self.limits.zset) {
            Outcome::Added => Ok(()),
            _ => Err(Duplicate),
        }
    }

    fn finish(mut self) -> Value {
        if let Value::Zset(zset) = &mut self.value {
            zset.compact(&self.limits.zset);
        }
        self.value
    }
}

impl Save for Value {
    fn kind(&self) -> Kind {
        borrowed(self).kind()
    }

    fn save<W: Write>(&self, out: &mut Encoder<W>) -> io::Result<()> {
        borrowed(self).save(out)
    }
}

/// Dumps of durable mode are made from the engine; single values are loaded first.
const NOT_SAVED: &str = "an outline is no value that could be saved";

fn borrowed(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Str(Str::Int(number)) => ValueRef::Int(*number),
        Value::Str(Str::Bytes(bytes, _)) => ValueRef::Str(bytes),
        Value::Str(Str::Shared(bytes)) => ValueRef::Str(bytes),
        Value::List(list) => ValueRef::List(list),
        Value::Set(set) => ValueRef::Set(set),
        Value::Hash(hash) => ValueRef::Hash(hash),
        Value::Zset(zset) => ValueRef::Zset(zset),
        Value::Outline(outline) => ValueRef::Outline(outline),
    }
}

impl Save for ValueRef<'_> {
    fn kind(&self) -> Kind {
        match self {
            ValueRef::Int(_) | ValueRef::Str(_) => Kind::String,
            ValueRef::List(list) => list.kind(),
            ValueRef::Set(set) => set.kind(),
            ValueRef::Hash(hash) => hash.kind(),
            ValueRef::Zset(zset) => zset.kind(),
            ValueRef::Outline(_) => unreachable!("{NOT_SAVED}"),
        }
    }

    fn save<W: Write>(&self, out: &mut Encoder<W>) -> io::Result<()> {
        match self {
            ValueRef::Int(number) => out.string(&format_i64(*number)),
            ValueRef::Str(bytes) => out.string(bytes),
            ValueRef::List(list) => list.save(out),
            ValueRef::Set(set) => set.save(out),
            ValueRef::Hash(hash) => hash.save(out),
            ValueRef::Zset(zset) => zset.save(out),
            ValueRef::Outline(_) => unreachable!("{NOT_SAVED}"),
        }
    }
}

impl Save for List {
    fn kind(&self) -> Kind {
        Kind::ListQuicklist2
    }

    fn save<W: Write>(&self, out: &mut Encoder<W>) -> io::Result<()> {
        out.list(self.iter())
    }
}

impl Save for Set {
    fn kind(&self) -> Kind {
        match self.encoding() {
            Encoding::Intset => Kind::SetIntset,
            _ => Kind::Set,
        }
    }

    fn save<W: Write>(&self, out: &mut Encoder<W>) -> io::Result<()> {
        if self.kind() == Kind::SetIntset {
            let ints: Option<Vec<i64>> = self.iter().map(|member| parse_i64(&member)).collect();
            return out.intset(&ints.expect("an intset has only integers"));
        }
        out.length(self.len() as u64)?;
        self.iter().try_for_each(|member| out.string(&member))
    }
}

impl Save for Hash {
    fn kind(&self) -> Kind {
        let bytes = || self.iter().map(|field| field.name().len() + field.value().len()).sum();
        match self.encoding() {
            Encoding::Listpack if fits_listpack(self.len() * 2, bytes()) => Kind::HashListpack,
            _ => Kind::Hash,
        }
    }

    fn save<W: Write>(&self, out: &mut Encoder<W>) -> io::Result<()> {
        if self.kind() == Kind::HashListpack {
            let mut pack = listpack::Builder::default();
            for field in self.iter() {
                pack.push(field.name());
                pack.push(field.value());
            }
            return out.packed(pack);
        }
        out.length(self.len() as u64)?;
        self.iter().try_for_each(|field| {
            out.string(field.name())?;
            out.string(field.value())
        })
    }
}

impl Save for Zset {
    fn kind(&self) -> Kind {
        let bytes = || self.iter().map(|(member, _)| member.len() + SCORE_TEXT_MAX).sum();
        match self.encoding() {
            Encoding::Listpack if fits_listpack(self.len() * 2, bytes()) => Kind::ZsetListpack,
            _ => Kind::Zset2,
        }
    }

    fn save<W: Write>(&self, out: &mut Encoder<W>) -> io::Result<()> {
        if self.kind() == Kind::ZsetListpack {
            let mut pack = listpack::Builder::default();
            for (member, score) in self.iter() {
                pack.push(member);
                pack.push_score(score);
            }
            return out.packed(pack);
        }
        out.length(self.len() as u64)?;
        // From the highest down, as Redis does: its reader then inserts at the head of its skiplist every time.
        self.iter().rev().try_for_each(|(member, score)| {
            out.string(member)?;
            out.score(score)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::neutral::{DumpValue, Neutral};
    use super::super::save::Compression;
    use super::super::{dump, fixtures};
    use super::*;

    /// One limit for everything: none, or Redis's own.
    fn all_limits() -> [Limits; 2] {
        let tight = Limits {
            list: ListLimits::new(1),
            set: SetLimits { max_intset_entries: 0, max_listpack_entries: 0, max_listpack_value: 0 },
            hash: HashLimits { max_listpack_entries: 0, max_listpack_value: 0 },
            zset: ZsetLimits { max_listpack_entries: 0, max_listpack_value: 0 },
        };
        [Limits::default(), tight]
    }

    fn assert_survives(name: &str, payload: &[u8], expected: DumpValue) {
        for limits in all_limits() {
            let value = dump::decode::<Builder>(payload, &limits).unwrap_or_else(|err| panic!("{name}: {err:?}"));
            let again = dump::encode(&value, Compression::Lzf);
            let again = dump::decode::<Neutral>(&again, &()).unwrap_or_else(|err| panic!("{name}: {err:?}"));
            assert_eq!(again.sorted(), expected.clone().sorted(), "{name}");
        }
    }

    #[test]
    fn payloads_of_redis_pass_through_the_keyspace_types() {
        for (name, payload, expected) in fixtures::payloads() {
            assert_survives(name, &payload, expected);
        }
    }

    #[test]
    fn large_collections_pass_through_the_keyspace_types() {
        let text = |n: usize| format!("element-{}", n * 7919 % 3001).into_bytes();
        let values = [
            DumpValue::List((0..3001).map(text).chain([vec![b'x'; 20_000]]).collect()),
            DumpValue::Set((0..3001).map(text).collect()),
            DumpValue::Set((0..3001).map(|n| (n * 70_000).to_string().into_bytes()).collect()),
            DumpValue::Hash((0..3001).map(|n| (text(n), text(n + 1))).collect()),
            DumpValue::Zset((0..3001).map(|n| (text(n), n as f64 / 3.0)).collect()),
        ];
        for value in values {
            assert_survives("large", &dump::encode(&value, Compression::None), value.clone());
        }
    }

    #[test]
    fn the_representation_follows_the_limits() {
        let payloads = fixtures::payloads();
        let payload = |wanted: &str| &payloads.iter().find(|(name, ..)| *name == wanted).expect(wanted).1;
        for (name, small, large) in [
            ("set intset16", Encoding::Intset, Encoding::Hashtable),
            ("set table", Encoding::Listpack, Encoding::Hashtable),
            ("hash listpack", Encoding::Listpack, Encoding::Hashtable),
            ("hash table", Encoding::Hashtable, Encoding::Hashtable),
            ("zset table", Encoding::Listpack, Encoding::Skiplist),
            ("list listpack", Encoding::Listpack, Encoding::Quicklist),
        ] {
            for (limits, expected) in all_limits().iter().zip([small, large]) {
                let encoding = match dump::decode::<Builder>(payload(name), limits).unwrap() {
                    Value::List(list) => list.encoding(),
                    Value::Set(set) => set.encoding(),
                    Value::Hash(hash) => hash.encoding(),
                    Value::Zset(zset) => zset.encoding(),
                    Value::Str(_) | Value::Outline(_) => panic!("{name} is no collection"),
                };
                assert_eq!(encoding, expected, "{name}");
            }
        }
    }
}
