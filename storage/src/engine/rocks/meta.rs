//! The record of one key in `keys`: expiry, and the value itself or where its parts are.
//!
//! Flags, the expiry if there is one, then a value as [`crate::effect::body`] writes it, or kind, version, length and
//! the position of the first element. A large value never becomes a record again before it is replaced as a whole.

use super::layout::Version;
use crate::clock::UnixMs;
use crate::effect::PLAIN_BYTES_MAX;
use crate::effect::body::Kind;
use crate::effect::wire::{Malformed, Reader, put_signed, put_varint};
use crate::engine::Summary;
use crate::number::format_i64;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const HAS_EXPIRY: u8 = 1;
const HAS_PARTS: u8 = 2;

/// The largest collection that lies whole in its record, unless a test wants it otherwise.
pub(super) const COLLECTION_BYTES_MAX: usize = 1 << 10;

static COLLECTION_BYTES: AtomicUsize = AtomicUsize::new(COLLECTION_BYTES_MAX);

#[inline]
pub(super) fn collection_bytes_max() -> usize {
    COLLECTION_BYTES.load(Relaxed)
}

/// From now on, collections larger than this are put into parts, in all groups of the process: for tests, which have
/// small collections. What is on disk stays as it is.
pub fn split_collections_above(bytes: usize) {
    COLLECTION_BYTES.store(bytes.min(COLLECTION_BYTES_MAX), Relaxed);
}

/// The largest string that lies whole in its record when it is written whole.
pub(super) const STRING_BYTES_MAX: usize = 64 << 10;
/// The largest one that stays there when a part of it is written.
pub(super) const SPLICED_BYTES_MAX: usize = 16 << 10;

/// What whoever evaluates takes for granted.
const _: () = assert!(PLAIN_BYTES_MAX <= SPLICED_BYTES_MAX && PLAIN_BYTES_MAX <= STRING_BYTES_MAX);

#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub expiry: Option<UnixMs>,
    pub data: Data,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    /// Kind and body of the value.
    Whole(Vec<u8>),
    Parts(Large),
}

/// A value in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Large {
    pub kind: Kind,
    pub version: Version,
    /// Bytes of a string, elements of a collection; never zero for a collection.
    pub len: u64,
    /// The position of a list's first element; the others follow without a gap.
    pub head: i64,
}

/// A record as it lies there.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetaRef<'a> {
    pub expiry: Option<UnixMs>,
    pub data: DataRef<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum DataRef<'a> {
    Whole(&'a [u8]),
    Parts(Large),
}

impl Meta {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let expiry = if self.expiry.is_some() { HAS_EXPIRY } else { 0 };
        let parts = if matches!(self.data, Data::Parts(_)) { HAS_PARTS } else { 0 };
        out.push(expiry | parts);
        if let Some(at) = self.expiry {
            put_signed(out, at.0);
        }
        match &self.data {
            Data::Whole(body) => out.extend_from_slice(body),
            Data::Parts(large) => {
                out.push(large.kind as u8);
                put_varint(out, large.version.0);
                put_varint(out, large.len);
                put_signed(out, large.head);
            }
        }
    }
}

impl<'a> MetaRef<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<MetaRef<'a>, Malformed> {
        let mut reader = Reader::new(bytes);
        let flags = reader.byte()?;
        let expiry = if flags & HAS_EXPIRY != 0 { Some(UnixMs(reader.signed()?)) } else { None };
        let data = if flags & HAS_PARTS != 0 {
            let kind = Kind::read(&mut reader)?;
            let version = Version(reader.varint()?);
            DataRef::Parts(Large { kind, version, len: reader.varint()?, head: reader.signed()? })
        } else {
            DataRef::Whole(reader.rest())
        };
        Ok(MetaRef { expiry, data })
    }

    pub fn to_meta(self) -> Meta {
        let data = match self.data {
            DataRef::Whole(body) => Data::Whole(body.to_vec()),
            DataRef::Parts(large) => Data::Parts(large),
        };
        Meta { expiry: self.expiry, data }
    }

    pub fn kind(self) -> Result<Kind, Malformed> {
        match self.data {
            DataRef::Whole(body) => Kind::read(&mut Reader::new(body)),
            DataRef::Parts(large) => Ok(large.kind),
        }
    }

    pub fn summary(self) -> Result<Summary, Malformed> {
        let kind = self.kind()?;
        let len = match self.data {
            DataRef::Parts(large) => large.len,
            DataRef::Whole(body) => {
                let mut reader = Reader::new(&body[1..]);
                match kind {
                    Kind::Int => format_i64(reader.signed()?).len() as u64,
                    // The length of a string, or the count of elements.
                    _ => reader.varint()?,
                }
            }
        };
        Ok(Summary { value_type: kind.value_type(), len, expiry: self.expiry })
    }
}
