//! The names by which a cluster tells its nodes, shards, maps and epochs apart.
//!
//! Each is a type of its own, so that none is taken for another. Random ones are drawn by the caller and handed in:
//! nothing in this crate's decisions draws a number by itself. Groups, replicas, terms and log entries have their
//! numbers from [`crate::group`], and are named here again so that one `use` is enough.

use basalt_storage::rng::Rng;
use std::fmt;
use std::str::FromStr;

pub use crate::group::{GroupId, LogIndex, ReplicaId, Term};

/// How many bytes of randomness a node's or a shard's name has.
const NAME_BYTES: usize = 20;

/// Twenty random bytes, shown as forty lowercase hexadecimal digits: what Redis calls a node's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name([u8; NAME_BYTES]);

/// A node: a process with its data directory. It survives restarts and a soft reset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Name);

/// What a master and its replicas have in common: each group has one, and keeps it wherever it moves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(Name);

/// A migration of slots from one group to another, as a whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MigrationId(Name);

/// A cluster, from its first node on; random. Nodes of different clusters do not talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

/// One start of a node's process: counts up with each, so that an old message cannot pass for a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// How often the cluster's map has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapVersion(pub u64);

/// How often a slot has changed its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotEpoch(pub u64);

/// The number in a node's line of `CLUSTER NODES`: of two claims to a slot the one with the higher epoch holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigEpoch(pub u64);

/// A text is no name of forty lowercase hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 40 lowercase hexadecimal digits")]
pub struct NotAName;

macro_rules! named {
    ($($name:ident),*) => {$(
        impl $name {
            /// How many bytes it is made of.
            pub const BYTES: usize = NAME_BYTES;
            /// How many characters its text has.
            pub const TEXT_LEN: usize = 2 * NAME_BYTES;

            pub const fn new(bytes: [u8; NAME_BYTES]) -> $name {
                $name(Name(bytes))
            }

            pub fn random(rng: &mut Rng) -> $name {
                $name::new(std::array::from_fn(|_| rng.below(256) as u8))
            }

            pub const fn as_bytes(&self) -> &[u8; NAME_BYTES] {
                &self.0.0
            }

            /// Reads what a client has sent. Only lowercase digits are accepted, since Redis compares names as text.
            pub fn from_text(text: &[u8]) -> Option<$name> {
                Name::from_text(text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAName;

            fn from_str(text: &str) -> Result<$name, NotAName> {
                $name::from_text(text.as_bytes()).ok_or(NotAName)
            }
        }
    )*};
}

named!(NodeId, ShardId, MigrationId);

impl Name {
    fn from_text(text: &[u8]) -> Option<Name> {
        let digits: &[u8; 2 * NAME_BYTES] = text.try_into().ok()?;
        let mut bytes = [0; NAME_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Name(bytes))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

macro_rules! counted {
    ($($name:ident),*) => {$(
        impl $name {
            pub const fn next(self) -> $name {
                $name(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

counted!(Incarnation, MapVersion, SlotEpoch, ConfigEpoch);

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_forty_lowercase_digits_both_ways() {
        let text = "000102030405060708090a0b0c0d0e0f10a1b2ff";
        let id: NodeId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.as_bytes()[..3], [0, 1, 2]);
        assert_eq!(id.as_bytes()[16..], [0x10, 0xa1, 0xb2, 0xff]);
        assert_eq!(format!("{id:?}"), format!("NodeId({text})"));
    }

    #[test]
    fn other_texts_are_no_names() {
        let text = "000102030405060708090a0b0c0d0e0f10a1b2ff";
        assert_eq!(ShardId::from_text(&text.as_bytes()[1..]), None);
        assert_eq!(ShardId::from_text(text.to_uppercase().as_bytes()), None);
        assert_eq!(text.replace('f', "g").parse::<MigrationId>(), Err(NotAName));
        assert_eq!("".parse::<NodeId>(), Err(NotAName));
    }

    #[test]
    fn clusters_are_shown_with_all_their_digits() {
        assert_eq!(ClusterId(0xab).to_string(), "00000000000000ab");
    }
}
