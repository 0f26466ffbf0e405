//! What memory holds of a large value whose parts only the engine has.
//!
//! The engine keeps a large value as parts under a version of its own, whatever key holds it. An outline knows the
//! version, so single parts can be read without the rest, and an entry that has an outline for its value can be
//! deleted, renamed, and given an expiry like any other. Whoever wants the value itself has it loaded first; nothing
//! but a whole value is ever changed. So what lies under the version does not change as long as the outline is there.

use crate::effect::body::Kind;
use crate::keyspace::Settings;
use crate::types::Encoding;
use crate::value::Type;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A list of more elements than this is no listpack, whatever the settings say.
const LISTPACK_ELEMENTS_MAX: u64 = 1 << 16;

/// How many outlines there are.
static ALIVE: AtomicU64 = AtomicU64::new(0);

/// A value whose parts are elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Outline {
    /// Type and form of the value, as the engine notes them.
    pub(crate) kind: Kind,
    /// The owner of the parts in the engine.
    pub(crate) version: u64,
    /// Bytes of a string, elements of a collection.
    pub(crate) len: u64,
    /// The position of a list's first element.
    pub(crate) head: i64,
}

impl Outline {
    pub(crate) fn new(kind: Kind, version: u64, len: u64, head: i64) -> Outline {
        ALIVE.fetch_add(1, Relaxed);
        Outline { kind, version, len, head }
    }

    /// How many outlines the process has: while there are none, nobody need look for them.
    #[inline]
    pub fn alive() -> u64 {
        ALIVE.load(Relaxed)
    }

    pub fn value_type(&self) -> Type {
        self.kind.value_type()
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The encoding that the value would have in memory, if that is certain without looking at it.
    pub fn encoding(&self, settings: &Settings) -> Option<Encoding> {
        let beyond = |limit: usize| self.len > limit as u64;
        let large = match self.value_type() {
            Type::String => return Some(Encoding::Raw),
            Type::List => (Encoding::Quicklist, self.len > LISTPACK_ELEMENTS_MAX),
            Type::Set => {
                let (ints, packed) = (&settings.set_max_intset_entries, &settings.set_max_listpack_entries);
                (Encoding::Hashtable, beyond(ints.load(Relaxed)) && beyond(packed.load(Relaxed)))
            }
            Type::Hash => (Encoding::Hashtable, beyond(settings.hash_max_listpack_entries.load(Relaxed))),
            Type::Zset => (Encoding::Skiplist, beyond(settings.zset_max_listpack_entries.load(Relaxed))),
        };
        (self.kind.is_large() || large.1).then_some(large.0)
    }

    /// An outline of a value that a test keeps itself, under a number of its choice.
    pub fn of_model(value_type: Type, len: u64, version: u64) -> Outline {
        let kind = match value_type {
            Type::String => Kind::Plain,
            Type::List => Kind::ListPacked,
            Type::Set => Kind::SetPacked,
            Type::Hash => Kind::HashPacked,
            Type::Zset => Kind::ZsetPacked,
        };
        Outline::new(kind, version, len, 0)
    }

    /// The number under which the parts are kept.
    pub fn version(&self) -> u64 {
        self.version
    }
}

impl Clone for Outline {
    fn clone(&self) -> Outline {
        Outline::new(self.kind, self.version, self.len, self.head)
    }
}

impl Drop for Outline {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Relaxed);
    }
}
