//! INFO's section on how large values are, as Redis 8 has it (Redis documentation, INFO, "keysizes").
//!
//! Redis 7.2 has no such section, and some clients take every line that begins with `db` for one of the keyspace
//! section: so it is shown only to who asks for it.

use super::Fields;
use crate::server::Server;
use basalt_storage::effect::DbIndex;
use basalt_storage::value::Type;

/// The types in Redis's order, and what their lines are called.
const LINES: [(Type, &str); 5] = [
    (Type::String, "strings_sizes"),
    (Type::List, "lists_items"),
    (Type::Set, "sets_items"),
    (Type::Zset, "zsets_items"),
    (Type::Hash, "hashes_items"),
];

/// A line for each type of a database: how many values there are of at least so many bytes or elements, and of less
/// than twice as many.
pub fn keysizes(server: &Server, fields: &mut Fields) {
    for number in 0..server.keyspace.databases() {
        let by_type = server.keyspace.size_distributions(DbIndex(number));
        for (kind, name) in LINES {
            let Some((_, classes)) = by_type.iter().find(|(of, _)| *of == kind) else { continue };
            let classes: Vec<String> =
                classes.iter().map(|(size, count)| format!("{}={count}", label(*size))).collect();
            fields.put(&format!("db{number}_distrib_{name}"), classes.join(","));
        }
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
