//! A value in no particular representation: what the decoders give where no keyspace is at hand, as in tools and tests.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};

use super::kind::Kind;
use super::listpack;
use super::load::{Build, Duplicate, Shape};
use super::save::{Encoder, Save};
use crate::number::parse_i64;

/// Redis's defaults for when a small collection is packed.
const PACKED_ENTRIES_MAX: usize = 128;
const PACKED_BYTES_MAX: usize = 64;
const INTSET_MAX: usize = 512;

/// A value as plain bytes. Order is that of the serialised form.
#[derive(Clone, Debug, PartialEq)]
pub enum DumpValue {
    Str(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    Zset(Vec<(Vec<u8>, f64)>),
}

impl DumpValue {
    /// The same value with members in one defined order, for comparing; a list's order is part of its value.
    pub fn sorted(mut self) -> DumpValue {
        match &mut self {
            DumpValue::Str(_) | DumpValue::List(_) => {}
            DumpValue::Set(members) => members.sort(),
            DumpValue::Hash(fields) => fields.sort(),
            DumpValue::Zset(members) => members.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0))),
        }
        self
    }
}

/// Builds a [`DumpValue`].
pub struct Neutral {
    value: DumpValue,
    seen: HashSet<Vec<u8>>,
}

impl Neutral {
    fn check_new(&mut self, name: &[u8]) -> Result<(), Duplicate> {
        if self.seen.insert(name.to_vec()) { Ok(()) } else { Err(Duplicate) }
    }
}

impl Build for Neutral {
    type Value = DumpValue;
    type Limits = ();

    fn start(shape: Shape, (): &()) -> Neutral {
        let value = match shape {
            Shape::String => DumpValue::Str(Vec::new()),
            Shape::List => DumpValue::List(Vec::new()),
            Shape::Set => DumpValue::Set(Vec::new()),
            Shape::Hash => DumpValue::Hash(Vec::new()),
            Shape::Zset => DumpValue::Zset(Vec::new()),
        };
        Neutral { value, seen: HashSet::new() }
    }

    fn string(&mut self, bytes: Cow<'_, [u8]>) {
        self.value = DumpValue::Str(bytes.into_owned());
    }

    fn list_item(&mut self, item: &[u8]) {
        let DumpValue::List(items) = &mut self.value else { panic!("a list item in {:?}", self.value) };
        items.push(item.to_vec());
    }

    fn set_member(&mut self, member: &[u8]) -> Result<(), Duplicate> {
        self.check_new(member)?;
        let DumpValue::Set(members) = &mut self.value else { panic!("a set member in {:?}", self.value) };
        members.push(member.to_vec());
        Ok(())
    }

    fn hash_field(&mut self, field: &[u8], value: &[u8]) -> Result<(), Duplicate> {
        self.check_new(field)?;
        let DumpValue::Hash(fields) = &mut self.value else { panic!("a hash field in {:?}", self.value) };
        fields.push((field.to_vec(), value.to_vec()));
        Ok(())
    }

    fn zset_member(&mut self, member: &[u8], score: f64) -> Result<(), Duplicate> {
        self.check_new(member)?;
        let DumpValue::Zset(members) = &mut self.value else { panic!("a sorted set member in {:?}", self.value) };
        members.push((member.to_vec(), score));
        Ok(())
    }

    fn finish(self) -> DumpValue {
        self.value
    }
}

impl Save for DumpValue {
    fn kind(&self) -> Kind {
        let short = |text: &[u8]| text.len() <= PACKED_BYTES_MAX;
        match self {
            DumpValue::Str(_) => Kind::String,
            DumpValue::List(_) => Kind::ListQuicklist2,
            DumpValue::Set(members) => match intset(members) {
                Some(_) => Kind::SetIntset,
                None => Kind::Set,
            },
            DumpValue::Hash(fields) => {
                let packed = fields.len() <= PACKED_ENTRIES_MAX && fields.iter().all(|(f, v)| short(f) && short(v));
                if packed { Kind::HashListpack } else { Kind::Hash }
            }
            DumpValue::Zset(members) => {
                let packed = members.len() <= PACKED_ENTRIES_MAX && members.iter().all(|(member, _)| short(member));
                if packed { Kind::ZsetListpack } else { Kind::Zset2 }
            }
        }
    }

    fn save<W: Write>(&self, out: &mut Encoder<W>) -> io::Result<()> {
        match (self, self.kind()) {
            (DumpValue::Str(bytes), _) => out.string(bytes),
            (DumpValue::List(items), _) => out.list(items.iter()),
            (DumpValue::Set(members), _) => match intset(members) {
                Some(sorted) => out.intset(&sorted),
                None => {
                    out.length(members.len() as u64)?;
                    members.iter().try_for_each(|member| out.string(member))
                }
            },
            (DumpValue::Hash(fields), Kind::HashListpack) => {
                let mut pack = listpack::Builder::default();
                for (field, value) in fields {
                    pack.push(field);
                    pack.push(value);
                }
                out.packed(pack)
            }
            (DumpValue::Hash(fields), _) => {
                out.length(fields.len() as u64)?;
                fields.iter().try_for_each(|(field, value)| {
                    out.string(field)?;
                    out.string(value)
                })
            }
            (DumpValue::Zset(members), Kind::ZsetListpack) => {
                let mut pack = listpack::Builder::default();
                for (member, score) in members {
                    pack.push(member);
                    pack.push_score(*score);
                }
                out.packed(pack)
            }
            (DumpValue::Zset(members), _) => {
                out.length(members.len() as u64)?;
                members.iter().try_for_each(|(member, score)| {
                    out.string(member)?;
                    out.score(*score)
                })
            }
        }
    }
}

/// The members in order, if all are integers and few enough.
fn intset(members: &[Vec<u8>]) -> Option<Vec<i64>> {
    if members.len() > INTSET_MAX {
        return None;
    }
    let mut sorted: Vec<i64> = members.iter().map(|member| parse_i64(member)).collect::<Option<_>>()?;
    sorted.sort_unstable();
    Some(sorted)
}
