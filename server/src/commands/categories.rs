//! ACL categories: which kinds of commands there are. Most follow from a command's flags and group.

use super::spec::{Flags, Group, Handler, Spec};

/// All names, in the order in which Redis lists them. A category is its position here.
pub const NAMES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// A set of categories, one bit for each name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Categories(u32);

impl Categories {
    /// The category of this name, in any case.
    pub fn named(name: &[u8]) -> Option<Categories> {
        let position = NAMES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some(Categories(1 << position))
    }

    /// All categories of a command.
    pub fn of(spec: &Spec) -> Categories {
        let mut categories = Categories::default();
        for (flag, names) in BY_FLAG {
            if spec.flags.contains(*flag) {
                categories.add(names);
            }
        }
        categories.add(if spec.flags.contains(Flags::FAST) { &["fast"] } else { &["slow"] });
        if !matches!(spec.handler, Handler::Container) {
            categories.add(of_group(spec.group));
        }
        categories.add(spec.categories);
        categories
    }

    fn add(&mut self, names: &[&str]) {
        for name in names {
            let category = Categories::named(name.as_bytes());
            self.0 |= category.unwrap_or_else(|| panic!("no ACL category is named {name}")).0;
        }
    }

    pub fn contains(self, other: Categories) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().enumerate().filter(move |(position, _)| self.0 & (1 << position) != 0).map(|(_, name)| *name)
    }

    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

const BY_FLAG: &[(Flags, &[&str])] = &[
    (Flags::WRITE, &["write"]),
    (Flags::READONLY, &["read"]),
    (Flags::ADMIN, &["admin", "dangerous"]),
    (Flags::PUBSUB, &["pubsub"]),
    (Flags::BLOCKING, &["blocking"]),
];

fn of_group(group: Group) -> &'static [&'static str] {
    match group {
        // What publishes or subscribes has the flag.
        Group::Generic | Group::Server | Group::PubSub | Group::Cluster => &[],
        Group::String => &["string"],
        Group::List => &["list"],
        Group::Set => &["set"],
        Group::SortedSet => &["sortedset"],
        Group::Hash => &["hash"],
        Group::Transactions => &["transaction"],
        Group::Connection => &["connection"],
        Group::Bitmap => &["bitmap"],
        Group::HyperLogLog => &["hyperloglog"],
        Group::Geo => &["geo"],
    }
}
