//! Metrics for Prometheus: what there is ([`SECTIONS`]), and the port on which it is told.
//!
//! Nothing is counted for the sake of metrics: each row of the tables reads, when somebody asks, what other parts count
//! for themselves (`docs/design/0008-metrics-are-read.md`). So a request costs nothing for them, and a row cannot
//! differ from INFO. `docs/metrics.md` is made of the same rows.
//!
//! | file | owns |
//! |---|---|
//! | `exposition` | the text format: names, labels, values, histograms |
//! | `scrape` | what several rows need, asked for once per answer |
//! | `clients`, `commands`, `keyspace`, `memory`, `dumps`, `log`, `storage`, `groups`, `process` | rows |
//! | `threads` | CPU time per kind of thread, over the lives of threads |
//! | `health` | whether the process is alive, and whether it serves |
//! | `status`, `page.html` | the status page |
//! | `http` | as much of HTTP as that takes; pure |
//! | `endpoint` | the thread that listens |
//! | `document` | `docs/metrics.md` |
//!
//! Labels are bounded: commands and kinds of threads are those of tables, error codes are bounded by
//! [`crate::stats`], databases by the setting, groups and replicas by what the cluster places on a node. No label
//! carries what a client has sent.

mod clients;
mod commands;
pub mod document;
mod dumps;
pub mod endpoint;
pub mod exposition;
mod forwarding;
mod groups;
mod health;
mod http;
mod keyspace;
mod log;
mod memory;
mod process;
mod scrape;
mod status;
mod storage;
mod threads;

use exposition::Samples;
use scrape::Scrape;

/// What a value may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process ends or CONFIG RESETSTAT sets it back.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A row: one metric, and where its values come from.
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// One sentence, which ends with a full stop.
    pub help: &'static str,
    /// Writes a sample for each combination of labels that there is; none where the metric has no meaning.
    read: fn(&Scrape<'_>, &mut Samples<'_>),
}

type Read = fn(&Scrape<'_>, &mut Samples<'_>);

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str, read: Read) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, read }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str, read: Read) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, read }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str, read: Read) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help, read }
}

/// Rows that belong together.
pub struct Section {
    pub title: &'static str,
    pub doc: &'static str,
    pub metrics: &'static [Metric],
}

/// All metrics, in the order in which they are shown.
pub static SECTIONS: &[Section] = &[
    Section { title: "Process", doc: "The server as the system sees it.", metrics: process::METRICS },
    Section { title: "Clients", doc: "Connections, and what passes over them.", metrics: clients::METRICS },
    Section {
        title: "Commands",
        doc: "What clients ask, and how long evaluation takes: without waiting for the log, the disk or other clients. \
              A command is shown once it was called.",
        metrics: commands::METRICS,
    },
    Section {
        title: "Keyspace",
        doc: "Keys, and what becomes of them. A database is shown while it has keys.",
        metrics: keyspace::METRICS,
    },
    Section { title: "Memory", doc: "What is used, and by whom.", metrics: memory::METRICS },
    Section { title: "Dumps", doc: "RDB files, written and loaded.", metrics: dumps::METRICS },
    Section {
        title: "Groups and the log",
        doc: "Durable mode: the Raft groups of which this node has a replica, and their logs. A node that is no \
              cluster has the one group 1.",
        metrics: log::METRICS,
    },
    Section {
        title: "Storage",
        doc: "Durable mode: RocksDB, the disk, and copies in memory.",
        metrics: storage::METRICS,
    },
    Section {
        title: "Cluster",
        doc: "With `cluster-enabled`: the cluster as this node sees it.",
        metrics: groups::METRICS,
    },
    Section {
        title: "Forwarding",
        doc: "With `cluster-enabled`: requests that other nodes serve, passed on to these.",
        metrics: forwarding::METRICS,
    },
];

/// All metrics and their values.
fn render(scrape: &Scrape<'_>) -> String {
    let mut text = String::with_capacity(64 << 10);
    for metric in SECTIONS.iter().flat_map(|section| section.metrics) {
        (metric.read)(scrape, &mut Samples::of(metric, &mut text));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashbrown::HashSet;

    fn all() -> impl Iterator<Item = &'static Metric> {
        SECTIONS.iter().flat_map(|section| section.metrics)
    }

    #[test]
    fn names_follow_the_conventions() {
        let mut seen = HashSet::new();
        for Metric { name, kind, labels, help, .. } in all() {
            assert!(seen.insert(name), "two metrics are named {name}");
            assert!(name.starts_with("basalt_"), "{name} does not say whose it is");
            let is_plain =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte));
            assert!(is_plain(name) && labels.iter().all(|label| is_plain(label)), "{name}");
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name} is a {}", kind.name());
            assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name} has no unit");
            let units = ["_ms", "_us", "_ns", "_kb", "_mb", "_percent", "_count", "_sum", "_bucket"];
            assert!(!units.iter().any(|unit| name.ends_with(unit)), "{name} ends in what is no base unit");
            assert!(help.ends_with('.') && !help.contains('\n'), "the help of {name} is no sentence");
        }
    }
}
