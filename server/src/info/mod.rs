//! INFO: the state of the server as text, in Redis's sections and field names, so that existing tools read it.
//!
//! Each section is a function in one of the modules; [`SECTIONS`] names them in the order in which they are shown. What
//! does not exist here (replication, scripts, forks) is shown as Redis shows it when it is not used.

pub mod average_ttl;
mod commands;
mod durability;
pub mod event_loop;
mod forwarding;
mod general;
mod groups;
mod keysizes;
mod memory;
mod replication;
mod sampler;
mod statistics;

pub use sampler::{Rates, Sampler};

use crate::server::Server;
use std::fmt::{Display, Write};

/// A section and who writes it.
struct Section {
    name: &'static str,
    title: &'static str,
    shown: Shown,
    write: fn(&Server, &mut Fields),
}

/// When a section is part of the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Without asking.
    Default,
    /// Without asking, and only in durable mode.
    Durable,
    /// Without asking, and only on a node of a cluster.
    Clustered,
    /// With `all` and `everything`.
    All,
}

const fn section(name: &'static str, title: &'static str, write: fn(&Server, &mut Fields)) -> Section {
    Section { name, title, shown: Shown::Default, write }
}

static SECTIONS: &[Section] = &[
    section("server", "Server", general::server),
    section("clients", "Clients", general::clients),
    section("memory", "Memory", memory::memory),
    section("persistence", "Persistence", general::persistence),
    Section { shown: Shown::Durable, ..section("durability", "Durability", durability::durability) },
    Section { shown: Shown::Durable, ..section("storage", "Storage", durability::storage) },
    Section { shown: Shown::Clustered, ..section("groups", "Groups", groups::groups) },
    Section { shown: Shown::Clustered, ..section("forwarding", "Forwarding", forwarding::forwarding) },
    section("stats", "Stats", statistics::stats),
    section("replication", "Replication", replication::replication),
    section("cpu", "CPU", general::cpu),
    // There are none, but Redis shows that it would show them here.
    section("modules", "Modules", |_, _| {}),
    Section { shown: Shown::All, ..section("commandstats", "Commandstats", commands::calls) },
    section("errorstats", "Errorstats", commands::errors),
    Section { shown: Shown::All, ..section("latencystats", "Latencystats", commands::latencies) },
    section("cluster", "Cluster", general::cluster),
    section("keyspace", "Keyspace", general::keyspace),
    Section { shown: Shown::All, ..section("keysizes", "Keysizes", keysizes::keysizes) },
];

/// The lines of a section.
#[derive(Default)]
pub struct Fields(String);

impl Fields {
    fn put(&mut self, name: &str, value: impl Display) {
        write!(self.0, "{name}:{value}\r\n").expect("writing to a string does not fail");
    }

    /// Bytes, and the same for people.
    fn put_bytes(&mut self, name: &str, bytes: u64) {
        self.put(name, bytes);
        self.put(&format!("{name}_human"), human(bytes));
    }
}

/// The sections that are asked for, each once, in the order of [`SECTIONS`]. No names: the default ones.
pub fn render(server: &Server, names: &[&[u8]]) -> String {
    let is_asked = |word: &str| names.iter().any(|name| name.eq_ignore_ascii_case(word.as_bytes()));
    let (all, everything) = (is_asked("all"), is_asked("everything"));
    let default = names.is_empty() || is_asked("default");
    let mut text = String::new();
    for section in SECTIONS {
        let wanted = match section.shown {
            Shown::Default => default || all || everything,
            Shown::Durable => server.durability().is_some() && (default || all || everything),
            Shown::Clustered => server.cluster().is_some() && (default || all || everything),
            Shown::All => all || everything,
        };
        if !wanted && !is_asked(section.name) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let mut fields = Fields(format!("# {}\r\n", section.title));
        (section.write)(server, &mut fields);
        text.push_str(&fields.0);
    }
    text
}

/// Bytes with a unit, as Redis writes them.
pub fn human(bytes: u64) -> String {
    const UNITS: [(&str, u64); 5] = [("P", 1 << 50), ("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match UNITS.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_for_people() {
        for (bytes, text) in [(0, "0B"), (1023, "1023B"), (916_192, "894.72K"), (25_276_510_208, "23.54G")] {
            assert_eq!(super::human(bytes), text);
        }
    }
}
