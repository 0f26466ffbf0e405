//! Redis's own serialisation: the RDB file and the DUMP/RESTORE payload, read and written.
//!
//! Pure: bytes (or an `io::Read`/`io::Write`) in and out, no clock, no keyspace. What is written can be loaded by
//! redis-server 7.0 and later; what is read is every form of string, list, set, sorted set and hash since Redis 2.4.
//!
//! Whatever is read is hostile. Invariants of all decoders:
//! - they never panic, whatever the bytes;
//! - memory grows with bytes really received (times LZF's own factor, at most 88), never with a length merely claimed;
//! - a value is accepted only if it is whole and sound: no duplicates, no NaN score, no empty collection, nothing
//!   left over. Redis has a switch for the deep checks (`sanitize-dump-payload`); here they are always on.
//!
//! [`load`] decodes a value into any [`Build`], [`save`] encodes the pieces of one, [`dump`] wraps a single value,
//! [`file`] and [`file_writer`] a whole data set. Only [`values`] knows the structures of the keyspace; [`neutral`]
//! stands in for them in tools and tests.

pub mod crc64;
pub mod dump;
pub mod file;
pub mod file_writer;
pub mod intset;
pub mod kind;
pub mod listpack;
pub mod load;
pub mod lzf;
pub mod neutral;
pub mod packed;
pub mod save;
pub mod source;
pub mod stream;
pub mod values;
pub mod ziplist;
pub mod zipmap;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod mutations;

use std::io;

pub use load::{Build, Shape};

/// The version that is written: what redis-server 7.0 reads (and every later one).
pub const VERSION_WRITTEN: u16 = 10;

/// The newest version that is read: Redis 8.0. Its new value types are refused one by one, as `Unsupported`.
pub const VERSION_READ_MAX: u16 = 12;

/// Why serialised data was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are not what they claim to be.
    #[error("corrupt data: {0}")]
    Corrupt(&'static str),
    /// A collection without elements, which no Redis key can hold. Files of old servers contain such keys: a file
    /// reader may go on after it, since the value was consumed whole.
    #[error("a collection without elements")]
    Empty,
    /// Sound as far as one can tell, but a type that this server does not have.
    #[error("unsupported type {code} ({name})")]
    Unsupported { code: u8, name: &'static str },
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
}
