//! Where things lie: column families and the form of their keys. All numbers are big endian, so that keys sort by them.
//!
//! | family | key | value |
//! |---|---|---|
//! | `default` | the name of a property | depends |
//! | `log` | group, `e`, index: an entry; group, `h`: the state of the group's core | checksum and bytes |
//! | `keys` | group, physical database, slot, hash, user key | [`super::meta`] |
//! | `parts` | group, version, name of the part | member: nothing; field: value; element; score; chunk |
//! | `due` | group, expiry, physical database, slot, user key | nothing |
//! | `counts` | group, physical database, slot | entries, entries with an expiry; what changed since is a property |
//! | `garbage` | group, `v`, version: parts; group, `d`, physical database: keys | how many parts, if known |
//!
//! A physical database is the number behind a database that clients name: FLUSHDB gives the database a new one. A
//! version owns the parts of one large value, whatever key holds it. Fields and members are named by their hash and
//! themselves, so that a walk over a collection, too, has a cursor that is a number; elements and chunks by a position.

use crate::clock::UnixMs;
use crate::engine::GroupId;
use crate::slot::Slot;
use smallvec::SmallVec;

/// What this code writes, and all that it reads.
pub(super) const LAYOUT_VERSION: u32 = 2;

pub(super) const LOG: &str = "log";
pub(super) const KEYS: &str = "keys";
pub(super) const PARTS: &str = "parts";
pub(super) const DUE: &str = "due";
pub(super) const COUNTS: &str = "counts";
pub(super) const GARBAGE: &str = "garbage";

/// All families but `default`, which is always there.
pub(super) const FAMILIES: [&str; 6] = [LOG, KEYS, PARTS, DUE, COUNTS, GARBAGE];

/// All that is not the log. Flushed together, see [`super::saving`].
pub(super) const STATE_FAMILIES: [&str; 6] = ["default", KEYS, PARTS, DUE, COUNTS, GARBAGE];

/// The property that holds [`LAYOUT_VERSION`].
pub(super) const LAYOUT_PROPERTY: &[u8] = b"layout";

pub(super) use crate::engine::PhysicalDb;

/// The owner of the parts of one large value. Counted up by the group, so all replicas have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Version(pub u64);

/// Bytes of a key in `keys` before the hash: what all keys of a slot share.
pub(super) const SLOT_PREFIX: usize = 4 + 4 + 2;
const HASH_BYTES: usize = 4;
/// Bytes of a key in `parts` before the part's name.
pub(super) const VERSION_PREFIX: usize = 4 + 8;

/// The hash that orders the keys of a slot, and is the cursor of a walk. Part of the layout: it must never change.
pub(crate) fn key_hash(key: &[u8]) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let (words, rest) = key.as_chunks::<8>();
    let mut mix = |word: u64| {
        let product = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        hash = (product >> 64) as u64 ^ product as u64;
    };
    words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(u64::from_le_bytes(last));
    mix(key.len() as u64 ^ 0x517c_c1b7_2722_0a95);
    (hash >> 32) as u32 ^ hash as u32
}

pub(super) fn database_prefix(group: GroupId, db: PhysicalDb) -> [u8; 8] {
    let mut prefix = [0; 8];
    prefix[..4].copy_from_slice(&group.0.to_be_bytes());
    prefix[4..].copy_from_slice(&db.0.to_be_bytes());
    prefix
}

pub(super) fn slot_prefix(group: GroupId, db: PhysicalDb, slot: Slot) -> [u8; SLOT_PREFIX] {
    let mut prefix = [0; SLOT_PREFIX];
    prefix[..8].copy_from_slice(&database_prefix(group, db));
    prefix[8..].copy_from_slice(&slot.number().to_be_bytes());
    prefix
}

/// A key of `keys` under construction.
pub(super) type MetaId = SmallVec<[u8; 64]>;

/// A key of `keys`.
pub(super) fn meta_key(group: GroupId, db: PhysicalDb, slot: Slot, key: &[u8]) -> MetaId {
    let mut out = MetaId::with_capacity(SLOT_PREFIX + HASH_BYTES + key.len());
    out.extend_from_slice(&slot_prefix(group, db, slot));
    out.extend_from_slice(&key_hash(key).to_be_bytes());
    out.extend_from_slice(key);
    out
}

/// A key of `keys` taken apart.
pub(super) struct MetaKey<'a> {
    pub db: PhysicalDb,
    pub slot: Slot,
    pub hash: u32,
    pub user_key: &'a [u8],
}

impl<'a> MetaKey<'a> {
    /// None if this is no key of `keys`.
    pub fn parse(bytes: &'a [u8]) -> Option<MetaKey<'a>> {
        let (_group, rest) = bytes.split_first_chunk::<4>()?;
        let (db, rest) = rest.split_first_chunk()?;
        let (slot, rest) = rest.split_first_chunk()?;
        let (hash, user_key) = rest.split_first_chunk()?;
        let slot = Slot::new(u16::from_be_bytes(*slot))?;
        let (db, hash) = (PhysicalDb(u32::from_be_bytes(*db)), u32::from_be_bytes(*hash));
        Some(MetaKey { db, slot, hash, user_key })
    }
}

pub(super) fn version_prefix(group: GroupId, version: Version) -> [u8; VERSION_PREFIX] {
    let mut prefix = [0; VERSION_PREFIX];
    prefix[..4].copy_from_slice(&group.0.to_be_bytes());
    prefix[4..].copy_from_slice(&version.0.to_be_bytes());
    prefix
}

/// A key of `parts`.
pub(super) fn part_key(group: GroupId, version: Version, name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(VERSION_PREFIX + name.len());
    out.extend_from_slice(&version_prefix(group, version));
    out.extend_from_slice(name);
    out
}

/// The name of the part for a field or member.
pub(super) fn field_name(name: &[u8]) -> SmallVec<[u8; 64]> {
    let mut out = SmallVec::with_capacity(HASH_BYTES + name.len());
    out.extend_from_slice(&key_hash(name).to_be_bytes());
    out.extend_from_slice(name);
    out
}

/// Hash and field or member of a part's name; none if it is not one.
pub(super) fn parse_field_name(name: &[u8]) -> Option<(u32, &[u8])> {
    let (hash, name) = name.split_first_chunk()?;
    Some((u32::from_be_bytes(*hash), name))
}

/// The name of a list's element, or of a string's chunk: a signed position, so that a list grows at both ends.
pub(super) fn position_name(position: i64) -> [u8; 8] {
    (position as u64 ^ 1 << 63).to_be_bytes()
}

pub(super) fn position_of(name: &[u8]) -> Option<i64> {
    Some((u64::from_be_bytes(name.try_into().ok()?) ^ 1 << 63) as i64)
}

/// A key of `due`. Expiries are signed, since clients may set them before 1970.
pub(super) fn due_key(group: GroupId, at: UnixMs, db: PhysicalDb, slot: Slot, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(DUE_HEAD + key.len());
    out.extend_from_slice(&group.0.to_be_bytes());
    out.extend_from_slice(&position_name(at.0));
    out.extend_from_slice(&db.0.to_be_bytes());
    out.extend_from_slice(&slot.number().to_be_bytes());
    out.extend_from_slice(key);
    out
}

const DUE_HEAD: usize = 4 + 8 + 4 + 2;

/// Expiry, database and user key of a key of `due`; none if it is not one.
pub(super) fn parse_due(bytes: &[u8]) -> Option<(UnixMs, PhysicalDb, &[u8])> {
    let (head, key) = bytes.split_at_checked(DUE_HEAD)?;
    let at = UnixMs(position_of(&head[4..12])?);
    let (db, _slot) = head[12..].split_first_chunk()?;
    Some((at, PhysicalDb(u32::from_be_bytes(*db)), key))
}

pub(super) fn log_entry_key(group: GroupId, index: u64) -> [u8; 13] {
    let mut key = [0; 13];
    key[..4].copy_from_slice(&group.0.to_be_bytes());
    key[4] = b'e';
    key[5..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The index in a key of `log`; none if it is not that of an entry.
pub(super) fn log_entry_index(key: &[u8]) -> Option<u64> {
    let (kind, index) = key.get(4..)?.split_first()?;
    (*kind == b'e').then_some(())?;
    Some(u64::from_be_bytes(index.try_into().ok()?))
}

pub(super) fn log_state_key(group: GroupId) -> [u8; 5] {
    let mut key = [b'h'; 5];
    key[..4].copy_from_slice(&group.0.to_be_bytes());
    key
}

pub(super) fn garbage_parts_key(group: GroupId, version: Version) -> [u8; 13] {
    let mut key = [0; 13];
    key[..4].copy_from_slice(&group.0.to_be_bytes());
    key[4] = b'v';
    key[5..].copy_from_slice(&version.0.to_be_bytes());
    key
}

pub(super) fn garbage_database_key(group: GroupId, db: PhysicalDb) -> [u8; 9] {
    let mut key = [0; 9];
    key[..4].copy_from_slice(&group.0.to_be_bytes());
    key[4] = b'd';
    key[5..].copy_from_slice(&db.0.to_be_bytes());
    key
}

/// What the cleaner is to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Garbage {
    Parts(Version),
    Database(PhysicalDb),
}

impl Garbage {
    pub fn parse(key: &[u8]) -> Option<Garbage> {
        let (kind, number) = key.get(4..)?.split_first()?;
        match kind {
            b'v' => Some(Garbage::Parts(Version(u64::from_be_bytes(number.try_into().ok()?)))),
            b'd' => Some(Garbage::Database(PhysicalDb(u32::from_be_bytes(number.try_into().ok()?)))),
            _ => None,
        }
    }
}

/// A property of one group.
pub(super) fn group_property(group: GroupId, name: &str) -> Vec<u8> {
    format!("group/{:08x}/{name}", group.0).into_bytes()
}

/// The first key that does not begin with `prefix`.
///
/// # Panics
/// If there is none: prefixes begin with a group, and no group has the highest number.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let kept = prefix.iter().rposition(|&byte| byte != 0xff).expect("a prefix that others can follow");
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_part_of_the_layout() {
        let hashes = [&b""[..], b"a", b"key", b"a longer key of several words"].map(key_hash);
        assert_eq!(hashes, HASHES);
    }

    const HASHES: [u32; 4] = [4122910059, 140975091, 4241218877, 2193575211];

    #[test]
    fn positions_and_expiries_sort_as_numbers() {
        let positions = [i64::MIN, -2, -1, 0, 1, i64::MAX];
        assert!(positions.map(position_name).is_sorted());
        assert_eq!(positions.map(|position| position_of(&position_name(position))), positions.map(Some));
        let slot = Slot::of_key(b"k");
        let key = due_key(GroupId(1), UnixMs(-5), PhysicalDb(7), slot, b"k");
        assert_eq!(parse_due(&key), Some((UnixMs(-5), PhysicalDb(7), &b"k"[..])));
    }

    #[test]
    fn a_prefix_ends_before_what_does_not_begin_with_it() {
        assert_eq!(end_of(&[1, 2]), [1, 3]);
        assert_eq!(end_of(&[1, 0xff, 0xff]), [2]);
    }

    #[test]
    fn keys_come_apart_as_they_were_put_together() {
        let slot = Slot::of_key(b"name");
        let bytes = meta_key(GroupId(3), PhysicalDb(9), slot, b"name");
        let key = MetaKey::parse(&bytes).unwrap();
        assert_eq!((key.db, key.slot, key.hash, key.user_key), (PhysicalDb(9), slot, key_hash(b"name"), &b"name"[..]));
        assert!(MetaKey::parse(&bytes[..13]).is_none());
        assert_eq!(Garbage::parse(&garbage_parts_key(GroupId(1), Version(5))), Some(Garbage::Parts(Version(5))));
        let database = garbage_database_key(GroupId(1), PhysicalDb(5));
        assert_eq!(Garbage::parse(&database), Some(Garbage::Database(PhysicalDb(5))));
        assert_eq!(log_entry_index(&log_entry_key(GroupId(1), 77)), Some(77));
        assert_eq!(log_entry_index(&log_state_key(GroupId(1))), None);
    }
}
