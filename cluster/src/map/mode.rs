//! Where the keys of a cluster's clients lie. All nodes of a cluster keep them in the same way.

use std::fmt;

/// The setting `mode`, as the cluster knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// In a log and an engine on the disks of each group's replicas.
    #[default]
    Durable,
    /// In the memory of one node for each group: what ends with that node's process is gone.
    Cache,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Durable => "durable",
            Mode::Cache => "cache",
        })
    }
}
