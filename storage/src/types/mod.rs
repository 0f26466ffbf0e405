//! The value structures behind the Redis types: what a set, a hash or a packed sequence is in memory.
//!
//! Pure data: nothing here knows keys, expiry, clocks, RESP or other nodes. Limits are handed in with each change, and
//! collections convert themselves one way (integers to packed to table), where Redis 7.2 does. A collection is one
//! 8-byte owning handle, because that is what a keyspace entry has room for.
//!
//! `block` and `thin` hold the pointer work; `packed`, `intset` and `item` are safe layouts over them; `set`, `hash`,
//! `list` and `zset` are the collections.

pub mod block;
pub mod hash;
pub mod intset;
pub mod item;
pub mod list;
pub mod packed;
pub mod set;
pub mod thin;
pub mod zset;

pub use hash::{FieldRef, Hash, HashLimits, PutOutcome};
pub use list::{End, List, ListLimits};
pub use packed::{Packed, PackedView};
pub use set::{MemberRef, Set, SetLimits};
pub use zset::{Zset, ZsetLimits};

/// How a value is represented; the names are those that `OBJECT ENCODING` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    Int,
    Embstr,
    Raw,
    Listpack,
    Quicklist,
    Intset,
    Hashtable,
    Skiplist,
}

impl Encoding {
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Int => "int",
            Encoding::Embstr => "embstr",
            Encoding::Raw => "raw",
            Encoding::Listpack => "listpack",
            Encoding::Quicklist => "quicklist",
            Encoding::Intset => "intset",
            Encoding::Hashtable => "hashtable",
            Encoding::Skiplist => "skiplist",
        }
    }
}

impl std::fmt::Display for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How many items are looked at to estimate the memory of a table, unless the caller wants another number.
/// The same default as that of `MEMORY USAGE`.
pub const USAGE_SAMPLES: usize = 5;

/// Bytes of `len` items, estimated from those that `sizes` yields.
fn extrapolate(len: usize, sizes: impl Iterator<Item = usize>) -> usize {
    let (count, sum) = sizes.fold((0, 0), |(count, sum), size| (count + 1, sum + size));
    if count == 0 { 0 } else { (sum as f64 / count as f64 * len as f64) as usize }
}
