//! Effects: what evaluating a command did to the keyspace, as data.
//!
//! Effects are absolute (an expiry, never a TTL; a stored float, never an increment), so that applying them needs no
//! clock, no random source and no configuration of the leader, and gives the same data everywhere. All effects of one
//! command, transaction or blocking wake-up form one [`Batch`], which is applied whole or not at all.
//!
//! **Law** (tested with random command streams): applying the recorded batches in order to an empty keyspace gives the
//! same digest as the keyspace that recorded them. [`crate::keyspace`] records them; [`crate::keyspace::apply`] applies
//! them. [`codec`] writes batches to the log and reads them back.

pub(crate) mod body;
mod check;
pub mod codec;
mod mark;
#[cfg(test)]
pub(crate) mod samples;
mod size;
pub mod wire;

pub use check::Check;
pub use codec::{CodecError, decode, encode};
pub use mark::{Mark, Passage};
pub use size::bytes_about;

use crate::clock::UnixMs;
use crate::slot::Slot;
use crate::types::End;
use crate::value::Value;

/// A database number. Invariant: below the number of databases of the keyspace it is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DbIndex(pub u16);

/// The effects of one indivisible evaluation, in order.
pub type Batch = Vec<Effect>;

/// A field of a hash and its value.
pub type Field = (Box<[u8]>, Box<[u8]>);

/// Why a key went away; followers only count it, the keyspace is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A client asked for it, or a collection became empty.
    Deleted,
    /// Its time to live ran out.
    Expired,
    /// It was dropped for lack of memory.
    Evicted,
}

/// One change of a database that holds no keys of its own: the subject is the whole database.
#[derive(Clone)]
pub enum Effect {
    /// One key changed.
    Key { db: DbIndex, key: Box<[u8]>, change: KeyEffect },
    /// The entry moved to another name or database, value and expiry and all; what was there is gone.
    Rename { from_db: DbIndex, from: Box<[u8]>, to_db: DbIndex, to: Box<[u8]> },
    /// All keys of one database are gone.
    Flush { db: DbIndex },
    /// Two databases changed places.
    SwapDb { one: DbIndex, other: DbIndex },
    /// The keys of a slot are gone whose hashes lie from one number to another, which is included: what is left of a
    /// slot that belongs to another group goes in pieces. Nobody evaluates in the slot. The hash is that by which
    /// engines order keys, see [`crate::engine::key_hash`].
    Clear { db: DbIndex, slot: Slot, hashes: (u32, u32) },
    /// The group remembers something of slots that are on their way, in place of what it remembered under that name.
    Mark(Mark),
    /// It remembers nothing of that name any more.
    Unmark { passage: Passage, name: [u8; Mark::NAME_BYTES] },
}

/// What an entry takes the place of, as far as whoever evaluates knows: spares the engine a look. Never wrong; a wrong
/// one would make the engine's counts and indexes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    Unknown,
    /// There was no entry, not even one that is due.
    Nothing,
    /// A string of at most [`PLAIN_BYTES_MAX`] bytes, without an expiry.
    Plain,
}

/// An engine keeps strings up to here in one piece.
pub const PLAIN_BYTES_MAX: usize = 4 << 10;

/// One change of one key. Collections that become empty delete their key by that very fact.
#[derive(Clone)]
pub enum KeyEffect {
    /// The key now holds exactly this.
    Put {
        value: Value,
        expiry: Option<UnixMs>,
        former: Former,
    },
    Delete(Cause),
    SetExpiry(Option<UnixMs>),
    /// Bytes were written into the string at this offset; it was created, or extended with zero bytes, if need be.
    Splice {
        offset: usize,
        bytes: Box<[u8]>,
    },
    ListPush {
        end: End,
        elements: Vec<Box<[u8]>>,
    },
    ListPop {
        end: End,
        count: usize,
    },
    ListSet {
        index: usize,
        element: Box<[u8]>,
    },
    /// The element was inserted so that it now has this index.
    ListInsert {
        index: usize,
        element: Box<[u8]>,
    },
    /// Elements equal to this were removed: the first `count`, the last `-count`, or all for 0.
    ListRemove {
        count: i64,
        element: Box<[u8]>,
    },
    /// Only the elements from `start` to before `end` are left.
    ListTrim {
        start: usize,
        end: usize,
    },
    SetAdd {
        members: Vec<Box<[u8]>>,
    },
    SetRemove {
        members: Vec<Box<[u8]>>,
    },
    HashPut {
        fields: Vec<Field>,
    },
    HashRemove {
        fields: Vec<Box<[u8]>>,
    },
    ZsetPut {
        members: Vec<(Box<[u8]>, f64)>,
    },
    ZsetRemove {
        members: Vec<Box<[u8]>>,
    },
}
