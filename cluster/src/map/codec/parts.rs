//! How the parts of maps and changes are written: numbers, names, lists, records, choices.
//!
//! [`Wire`] is what each of them can do. Records and choices are lists of their fields and tags, made by macros, so
//! that what is written and what is read cannot differ.

use crate::ids::{
    ClusterId, ConfigEpoch, GroupId, Incarnation, MapVersion, MigrationId, NodeId, ReplicaId, ShardId, SlotEpoch, Term,
};
use crate::map::{Mode, SlotRange};
use crate::{SLOT_COUNT, Slot};
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::wire::{Malformed, Reader, put_bytes, put_signed, put_varint};
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

/// Something that can be written and read again.
pub(super) trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed>;
}

macro_rules! plain_numbers {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn put(&self, out: &mut Vec<u8>) {
                put_varint(out, u64::from(*self));
            }

            fn read(reader: &mut Reader<'_>) -> Result<$number, Malformed> {
                <$number>::try_from(reader.varint()?).map_err(|_| Malformed("a number too large for its place"))
            }
        }
    )*};
}

macro_rules! wrapped_numbers {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }

            fn read(reader: &mut Reader<'_>) -> Result<$name, Malformed> {
                Ok($name(Wire::read(reader)?))
            }
        }
    )*};
}

macro_rules! names {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_bytes());
            }

            fn read(reader: &mut Reader<'_>) -> Result<$name, Malformed> {
                Ok($name::new(reader.fixed()?))
            }
        }
    )*};
}

/// A struct as the list of its fields.
macro_rules! record {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let $name { $($field),* } = self;
                $($field.put(out);)*
            }

            fn read(reader: &mut Reader<'_>) -> Result<$name, Malformed> {
                $(let $field = Wire::read(reader)?;)*
                Ok($name { $($field),* })
            }
        }
    };
}

/// An enum as the list of its tags: variants with named fields or none, then those that hold one thing, then such as
/// are written by other means and not read here.
macro_rules! choice {
    (
        $name:ident { $($tag:literal: $variant:ident { $($field:ident),* }),* $(,)? }
        $(holding { $($held_tag:literal: $held:ident),* $(,)? })?
        $(except { $except:pat => $instead:expr })?
    ) => {
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $($name::$variant { $($field),* } => {
                        out.push($tag);
                        $($field.put(out);)*
                    })*
                    $($($name::$held(inner) => {
                        out.push($held_tag);
                        inner.put(out);
                    })*)?
                    $($except => $instead(self, out),)?
                }
            }

            fn read(reader: &mut Reader<'_>) -> Result<$name, Malformed> {
                match reader.byte()? {
                    $($tag => {
                        $(let $field = Wire::read(reader)?;)*
                        Ok($name::$variant { $($field),* })
                    })*
                    $($($held_tag => Ok($name::$held(Wire::read(reader)?)),)*)?
                    _ => Err(Malformed(concat!("an unknown kind of ", stringify!($name)))),
                }
            }
        }
    };
}

pub(super) use {choice, record};

/// Said by the version byte, for the whole of a map or a change: see [`super::Form`].
impl Wire for Mode {
    fn put(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Reader<'_>) -> Result<Mode, Malformed> {
        Ok(Mode::Durable)
    }
}

plain_numbers!(u8, u16, u32, u64);
wrapped_numbers!(ClusterId, ConfigEpoch, GroupId, Incarnation, MapVersion, ReplicaId, SlotEpoch, Term);
names!(MigrationId, NodeId, ShardId);

impl Wire for UnixMs {
    fn put(&self, out: &mut Vec<u8>) {
        put_signed(out, self.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<UnixMs, Malformed> {
        reader.signed().map(UnixMs)
    }
}

impl Wire for Slot {
    fn put(&self, out: &mut Vec<u8>) {
        self.number().put(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Slot, Malformed> {
        Slot::new(u16::read(reader)?).ok_or(Malformed("a slot beyond the last"))
    }
}

impl Wire for SlotRange {
    fn put(&self, out: &mut Vec<u8>) {
        self.first().put(out);
        self.last().put(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<SlotRange, Malformed> {
        let (first, last) = (Slot::read(reader)?, Slot::read(reader)?);
        SlotRange::new(first, last).ok_or(Malformed("a range of slots that ends before it begins"))
    }
}

impl Wire for IpAddr {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<IpAddr, Malformed> {
        match reader.byte()? {
            4 => Ok(IpAddr::from(reader.fixed::<4>()?)),
            6 => Ok(IpAddr::from(reader.fixed::<16>()?)),
            _ => Err(Malformed("an address of unknown kind")),
        }
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<String, Malformed> {
        let text = std::str::from_utf8(reader.bytes()?).map_err(|_| Malformed("a text that is not UTF-8"))?;
        Ok(text.to_owned())
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_ref().put(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Box<T>, Malformed> {
        T::read(reader).map(Box::new)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(inner) => {
                out.push(1);
                inner.put(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Option<T>, Malformed> {
        match reader.byte()? {
            0 => Ok(None),
            1 => T::read(reader).map(Some),
            _ => Err(Malformed("neither something nor nothing")),
        }
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<(A, B), Malformed> {
        Ok((A::read(reader)?, B::read(reader)?))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        self.iter().for_each(|element| element.put(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Vec<T>, Malformed> {
        (0..reader.count()?).map(|_| T::read(reader)).collect()
    }
}

impl<K: Wire + Ord + Copy, V: Wire> Wire for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<BTreeMap<K, V>, Malformed> {
        let mut map = BTreeMap::new();
        for _ in 0..reader.count()? {
            let key = K::read(reader)?;
            must_ascend(map.last_key_value().map(|(last, _)| *last), key)?;
            map.insert(key, V::read(reader)?);
        }
        Ok(map)
    }
}

impl<K: Wire + Ord + Copy> Wire for BTreeSet<K> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        self.iter().for_each(|key| key.put(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<BTreeSet<K>, Malformed> {
        let mut set = BTreeSet::new();
        for _ in 0..reader.count()? {
            let key = K::read(reader)?;
            must_ascend(set.last().copied(), key)?;
            set.insert(key);
        }
        Ok(set)
    }
}

/// Keys are written in order, each once; so there is one form of each map.
fn must_ascend<K: Ord>(last: Option<K>, key: K) -> Result<(), Malformed> {
    if last.is_some_and(|last| last >= key) { Err(Malformed("keys that do not ascend")) } else { Ok(()) }
}

/// How many slots a run may have: a part of all.
pub(super) fn read_run_len(reader: &mut Reader<'_>, before: usize) -> Result<usize, Malformed> {
    let len = reader.size()?;
    if len == 0 || len > SLOT_COUNT - before { Err(Malformed("more slots than there are")) } else { Ok(len) }
}
