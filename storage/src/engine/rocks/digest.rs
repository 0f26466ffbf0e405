//! A digest of what a group has in some slots, by which replicas are compared.
//!
//! Taken of what clients can see: keys, types, expiries and elements, each by itself, and summed up for each slot. So
//! it does not depend on how a replica keeps a value (whole or in parts, in which order, under which version, with
//! chunks of zeros or without), which neighbouring releases may do differently, nor on the order of elements that has
//! no meaning. What the group remembers of slots on their way ([`crate::effect::Mark`]) is in it as well.
//!
//! Left out, because replicas differ in it although they have the same: garbage and what the cleaner has left of it,
//! and the journal of counts, which is folded when it is long. Left out, because it follows from the records, by which
//! applying and the tests of this crate hold it: the index of expiries, and counts.

use super::engine::encode_marks;
use super::layout::{
    KEYS, MetaKey, PARTS, PhysicalDb, VERSION_PREFIX, database_prefix, end_of, parse_field_name, position_of,
    slot_prefix, version_prefix,
};
use super::meta::{DataRef, Large, MetaRef};
use super::read::parse;
use super::snapshot::EngineSnapshot;
use super::strings::CHUNK;
use super::{corrupt, failed};
use crate::effect::DbIndex;
use crate::effect::body::Kind;
use crate::effect::wire::{Malformed, Reader};
use crate::engine::{EngineError, StateDigest};
use crate::number::format_i64;
use crate::slot::Slot;
use crate::value::Type;
use rocksdb::{DBRawIterator, ReadOptions};
use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};

/// After so many bytes the caller is told, who may want a pause.
const STRIDE_BYTES: u64 = 256 << 10;

/// RocksDB reads ahead by so much.
const READAHEAD_BYTES: usize = 256 << 10;

/// What a record takes besides its bytes, about: records without bytes are work as well.
const RECORD_BYTES: u64 = 32;

impl EngineSnapshot<'_> {
    /// The digest of these slots. Reads all records of them, past the block cache. `pace` is told now and then how many
    /// bytes were read since; if it says so, nothing comes of it.
    pub fn digest(
        &self,
        slots: RangeInclusive<Slot>,
        pace: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Option<StateDigest>, EngineError> {
        let parts_prefix = self.parts().0.group.0.to_be_bytes();
        let parts = self.unhurried(PARTS, &parts_prefix);
        let mut digesting = Digesting { snapshot: self, slots: BTreeMap::new(), parts, unpaced: 0, read: 0, pace };
        for (db, physical) in self.all_databases() {
            if digesting.database(db, physical, &slots)?.is_break() {
                return Ok(None);
            }
        }
        let marks = Hash::of(b"marks").add(&encode_marks(self.marks())).0;
        // What is left was read as well.
        let rest = digesting.unpaced;
        if (digesting.pace)(rest).is_break() {
            return Ok(None);
        }
        let slots = digesting.slots.into_iter().collect();
        Ok(Some(StateDigest { slots, marks, bytes: digesting.read }))
    }

    /// All keys that begin with `prefix`, read in a way that leaves the block cache to those who serve clients.
    fn unhurried(&self, family: &str, prefix: &[u8]) -> DBRawIterator<'_> {
        let (engine, snapshot) = self.parts();
        let mut options = ReadOptions::default();
        options.set_snapshot(snapshot);
        options.set_total_order_seek(true);
        options.set_iterate_lower_bound(prefix);
        options.set_iterate_upper_bound(end_of(prefix));
        options.fill_cache(false);
        options.set_readahead_size(READAHEAD_BYTES);
        engine.rocks.db.raw_iterator_cf_opt(engine.rocks.family(family), options)
    }
}

struct Digesting<'s, P> {
    snapshot: &'s EngineSnapshot<'s>,
    slots: BTreeMap<Slot, u64>,
    parts: DBRawIterator<'s>,
    unpaced: u64,
    read: u64,
    pace: P,
}

impl<P: FnMut(u64) -> ControlFlow<()>> Digesting<'_, P> {
    fn database(
        &mut self,
        db: DbIndex,
        physical: PhysicalDb,
        slots: &RangeInclusive<Slot>,
    ) -> Result<ControlFlow<()>, EngineError> {
        let group = self.snapshot.parts().0.group;
        let mut entries = self.snapshot.unhurried(KEYS, &database_prefix(group, physical));
        entries.seek(slot_prefix(group, physical, *slots.start()));
        while let Some((bytes, value)) = entries.item() {
            let no_key = || corrupt("the key of a record")(Malformed("it is too short"));
            let key = MetaKey::parse(bytes).ok_or_else(no_key)?;
            if key.slot > *slots.end() {
                break;
            }
            let entry = Hash::of(&db.0.to_be_bytes()).add(key.user_key);
            let read = (bytes.len() + value.len()) as u64 + RECORD_BYTES;
            let (sum, flow) = match parse(value)? {
                MetaRef { expiry, data: DataRef::Whole(body) } => {
                    (whole(entry, expiry.map(|at| at.0), body).map_err(corrupt("a value"))?, self.count(read))
                }
                MetaRef { expiry, data: DataRef::Parts(large) } => {
                    let head = head(entry, large.kind.value_type(), expiry.map(|at| at.0), large.len);
                    let (sum, flow) = self.sum_of_parts(entry, &large)?;
                    let own = self.count(read);
                    (head.wrapping_add(sum), if own.is_break() { own } else { flow })
                }
            };
            if flow.is_break() {
                return Ok(flow);
            }
            let of_slot = self.slots.entry(key.slot).or_default();
            *of_slot = of_slot.wrapping_add(sum);
            entries.next();
        }
        entries.status().map_err(failed("comparing replicas"))?;
        Ok(ControlFlow::Continue(()))
    }

    fn sum_of_parts(&mut self, entry: Hash, large: &Large) -> Result<(u64, ControlFlow<()>), EngineError> {
        let prefix = version_prefix(self.snapshot.parts().0.group, large.version);
        let mut sum = 0_u64;
        self.parts.seek(prefix);
        while let Some((key, value)) = self.parts.item() {
            let Some(name) = key.strip_prefix(&prefix[..]) else { break };
            sum = sum.wrapping_add(part(entry, large, name, value).map_err(corrupt("a part of a value"))?);
            let read = (VERSION_PREFIX + name.len() + value.len()) as u64 + RECORD_BYTES;
            let flow = self.count(read);
            if flow.is_break() {
                return Ok((sum, flow));
            }
            self.parts.next();
        }
        self.parts.status().map_err(failed("comparing replicas"))?;
        Ok((sum, ControlFlow::Continue(())))
    }

    fn count(&mut self, bytes: u64) -> ControlFlow<()> {
        self.read += bytes;
        self.unpaced += bytes;
        if self.unpaced < STRIDE_BYTES {
            return ControlFlow::Continue(());
        }
        (self.pace)(std::mem::take(&mut self.unpaced))
    }
}

/// What an entry is, besides its elements. The kind in which a value is kept is not in it, its type is.
fn head(entry: Hash, value_type: Type, expiry: Option<i64>, len: u64) -> u64 {
    let expiry = expiry.map_or([0; 9], |at| {
        let mut out = [1; 9];
        out[1..].copy_from_slice(&at.to_be_bytes());
        out
    });
    let name = match value_type {
        Type::String => b"s",
        Type::List => b"l",
        Type::Set => b"e",
        Type::Hash => b"h",
        Type::Zset => b"z",
    };
    entry.add(name).add(&expiry).add(&len.to_be_bytes()).0
}

/// An element with its name: a position, a field, a member, or the number of a chunk.
fn element(entry: Hash, name: &[u8], value: &[u8]) -> u64 {
    entry.add(b"element").add(name).add(value).0
}

fn numbered(entry: Hash, number: u64, value: &[u8]) -> u64 {
    element(entry, &number.to_be_bytes(), value)
}

/// A chunk of a string: what it has not is zeros.
fn chunk(entry: Hash, number: u64, bytes: &[u8]) -> u64 {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if end == 0 { 0 } else { numbered(entry, number, &bytes[..end]) }
}

fn part(entry: Hash, large: &Large, name: &[u8], value: &[u8]) -> Result<u64, Malformed> {
    const STRANGE: Malformed = Malformed("its name is none");
    Ok(match large.kind.value_type() {
        Type::String => chunk(entry, position_of(name).ok_or(STRANGE)? as u64, value),
        Type::List => {
            let index = position_of(name).ok_or(STRANGE)?.wrapping_sub(large.head);
            numbered(entry, index as u64, value)
        }
        Type::Set | Type::Hash | Type::Zset => element(entry, parse_field_name(name).ok_or(STRANGE)?.1, value),
    })
}

/// The sum of a value that lies in its record, as if it were in parts.
fn whole(entry: Hash, expiry: Option<i64>, body: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(body);
    let kind = Kind::read(&mut reader)?;
    let value_type = kind.value_type();
    if value_type == Type::String {
        let number;
        let bytes = match kind {
            Kind::Int => {
                number = format_i64(reader.signed()?);
                &number[..]
            }
            _ => reader.bytes()?,
        };
        let chunks = (0..).zip(bytes.chunks(CHUNK)).map(|(number, bytes)| chunk(entry, number, bytes));
        let head = head(entry, value_type, expiry, bytes.len() as u64);
        return Ok(chunks.fold(head, u64::wrapping_add));
    }
    let count = reader.count()? as u64;
    let mut sum = head(entry, value_type, expiry, count);
    for index in 0..count {
        sum = sum.wrapping_add(match value_type {
            Type::String | Type::List => numbered(entry, index, reader.bytes()?),
            Type::Set => element(entry, reader.bytes()?, b""),
            Type::Hash => element(entry, reader.bytes()?, reader.bytes()?),
            Type::Zset => element(entry, reader.bytes()?, &reader.fixed::<8>()?),
        });
    }
    Ok(sum)
}

/// A hash of fields, each with its length. It never changes: replicas of different releases are compared by it.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    fn of(first: &[u8]) -> Hash {
        Hash(0x2d35_8dcc_aa6c_78a5).add(first)
    }

    fn add(self, bytes: &[u8]) -> Hash {
        const ONE: u64 = 0x8bb8_4b93_962e_acc9;
        const OTHER: u64 = 0x4b33_a62e_d433_d4a3;
        let mix = |one: u64, other: u64| {
            let product = u128::from(one) * u128::from(other);
            (product >> 64) as u64 ^ product as u64
        };
        let (pairs, rest) = bytes.as_chunks::<16>();
        let of_pair = |state: u64, pair: &[u8; 16]| {
            let both = u128::from_le_bytes(*pair);
            mix(both as u64 ^ ONE, (both >> 64) as u64 ^ state)
        };
        let state = pairs.iter().fold(self.0 ^ bytes.len() as u64, of_pair);
        let mut last = [0; 16];
        last[..rest.len()].copy_from_slice(rest);
        Hash(mix(of_pair(state, &last) ^ OTHER, ONE ^ bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        let hashes = [&b""[..], b"a", b"sixteen bytes ok", b"more than sixteen bytes"].map(|text| Hash::of(text).0);
        assert_eq!(hashes, HASHES);
        assert_ne!(Hash::of(b"ab").add(b"c").0, Hash::of(b"a").add(b"bc").0);
        assert_ne!(Hash::of(b"\0").0, Hash::of(b"").0);
    }

    const HASHES: [u64; 4] = [7123540076166939864, 10727966329061628967, 5336791644328890900, 1018835191112709990];

    #[test]
    fn chunks_of_zeros_are_as_good_as_none() {
        let entry = Hash::of(b"key");
        assert_eq!(chunk(entry, 3, &[0; 9]), 0);
        assert_eq!(chunk(entry, 3, b"ab\0\0"), chunk(entry, 3, b"ab"));
        assert_ne!(chunk(entry, 3, b"ab"), chunk(entry, 4, b"ab"));
    }
}
