//! What a keyspace holds, in a form that two keyspaces can be compared by, and that shows where they differ.

use basalt_storage::clock::UnixMs;
use basalt_storage::effect::DbIndex;
use basalt_storage::entry::{EntryRef, ValueRef};
use basalt_storage::keyspace::Keyspace;
use basalt_storage::number::format_i64;
use basalt_storage::slot::StripeSet;
use std::collections::BTreeMap;

/// One key: what the law is about. Not the encoding, which follows from what a command announces (ZADD looks at all its
/// members before it takes the first), nor when the key was last used.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyImage {
    pub type_name: &'static str,
    pub expiry: Option<UnixMs>,
    pub content: Vec<String>,
}

pub type Image = BTreeMap<(u16, String), KeyImage>;

/// Everything in a keyspace, whether it is due or not.
pub fn of(keyspace: &Keyspace) -> Image {
    let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
    view.stop_expiring();
    let mut image = Image::new();
    for number in 0..keyspace.databases() {
        view.for_each_entry(DbIndex(number), |entry| {
            let before = image.insert((number, text(entry.key())), of_entry(entry));
            assert_eq!(before, None, "a key is there once");
        });
    }
    image
}

fn of_entry(entry: EntryRef<'_>) -> KeyImage {
    let mut content: Vec<String> = match entry.value() {
        ValueRef::Int(number) => vec![text(&format_i64(number))],
        ValueRef::Str(bytes) => vec![text(bytes)],
        ValueRef::List(list) => list.iter().map(|element| format!("{element:?}")).collect(),
        ValueRef::Set(set) => set.iter().map(|member| text(&member)).collect(),
        ValueRef::Hash(hash) => {
            hash.iter().map(|field| format!("{} = {}", text(field.name()), text(field.value()))).collect()
        }
        ValueRef::Zset(zset) => zset.iter().map(|(member, score)| format!("{} at {score:?}", text(member))).collect(),
        ValueRef::Outline(_) => unreachable!("everything was loaded"),
    };
    if matches!(entry.value(), ValueRef::Set(_) | ValueRef::Hash(_)) {
        content.sort();
    }
    KeyImage { type_name: entry.value().type_of().name(), expiry: entry.expiry(), content }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The first few keys in which two images differ.
pub fn difference(one: &Image, other: &Image) -> String {
    let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(key)));
    let differing = keys.filter(|key| one.get(*key) != other.get(*key)).take(5);
    differing.map(|key| format!("{key:?}:\n  {:?}\n  {:?}\n", one.get(key), other.get(key))).collect()
}

/// Panics if what a keyspace counts is not what it holds.
pub fn assert_counts(keyspace: &Keyspace, image: &Image) {
    for number in 0..keyspace.databases() {
        let of_db = || image.iter().filter(|((db, _), _)| *db == number);
        let db = DbIndex(number);
        assert_eq!(keyspace.key_count(db), of_db().count() as u64, "keys of database {number}");
        let volatile = of_db().filter(|(_, key)| key.expiry.is_some()).count() as u64;
        assert_eq!(keyspace.volatile_count(db), volatile, "keys with an expiry in database {number}");
        assert_eq!(counted_sizes(keyspace, db), measured_sizes(keyspace, db), "sizes in database {number}");
    }
}

/// How many values there are, by type and by the largest power of two that their size reaches.
type Sizes = BTreeMap<(&'static str, u64), u64>;

fn counted_sizes(keyspace: &Keyspace, db: DbIndex) -> Sizes {
    let by_type = keyspace.size_distributions(db).into_iter();
    by_type.flat_map(|(kind, sizes)| sizes.into_iter().map(move |(size, count)| ((kind.name(), size), count))).collect()
}

fn measured_sizes(keyspace: &Keyspace, db: DbIndex) -> Sizes {
    let mut sizes = Sizes::new();
    keyspace.lock(StripeSet::ALL, UnixMs(0)).for_each_entry(db, |entry| {
        let size = match entry.value() {
            ValueRef::Int(number) => number.to_string().len(),
            ValueRef::Str(bytes) => bytes.len(),
            ValueRef::List(list) => list.iter().count(),
            ValueRef::Set(set) => set.iter().count(),
            ValueRef::Hash(hash) => hash.iter().count(),
            ValueRef::Zset(zset) => zset.iter().count(),
            ValueRef::Outline(outline) => outline.len() as usize,
        };
        let reached = (0..64).map(|power| 1u64 << power).take_while(|power| *power <= size as u64).last();
        *sizes.entry((entry.value().type_of().name(), reached.unwrap_or(0))).or_default() += 1;
    });
    sizes
}
