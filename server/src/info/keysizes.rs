//! INFO's section on how large values are, as Redis 8 has it (Redis documentation, INFO, "keysizes").
//!
//! Redis 7.2 has no such section, and some clients take every line that begins with `db` for one of the keyspace
//! section: so it is shown only to who asks for it.

use super::Fields;
use crate::server::Server;
use basalt_storage::effect::DbIndex;
use basalt_storage::value::Type;

/// A line for each type of a database: how many values there are of at least so many bytes or elements, and of less
/// than twice as many.
pub fn keysizes(server: &Server, fields: &mut Fields) {
    for number in 0..server.keyspace.databases() {
        let mut lines: Vec<_> = server.keyspace.size_distributions(DbIndex(number));
        lines.sort_by_key(|(kind, _)| order(*kind));
        for (kind, classes) in lines {
            let classes: Vec<String> =
                classes.into_iter().map(|(size, count)| format!("{}={count}", label(size))).collect();
            fields.put(&format!("db{number}_distrib_{}", name(kind)), classes.join(","));
        }
    }
}

fn name(kind: Type) -> &'static str {
    match kind {
        Type::String => "strings_sizes",
        Type::List => "lists_items",
        Type::Set => "sets_items",
        Type::Zset => "zsets_items",
        Type::Hash => "hashes_items",
    }
}

/// Redis shows sorted sets before hashes.
fn order(kind: Type) -> u8 {
    match kind {
        Type::String => 0,
        Type::List => 1,
        Type::Set => 2,
        Type::Zset => 3,
        Type::Hash => 4,
    }
}

/// A power of two, with a unit from 1024 on.
fn label(size: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| size >= *unit) {
        Some((unit, one)) => format!("{}{unit}", size / one),
        None => size.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn powers_of_two_have_units() {
        let labels = [0, 1, 512, 1 << 10, 1 << 19, 1 << 20, 1 << 34].map(super::label);
        assert_eq!(labels, ["0", "1", "512", "1K", "512K", "1M", "16G"]);
    }
}
