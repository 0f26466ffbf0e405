//! Where the keys of a cluster's clients lie. All nodes of a cluster keep them in the same way.

use std::fmt;

/// The setting `mode`, as the cluster knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// In a log and an engine on the disks of each group's replicas.
    #[default]
    Durable,
    /// In the memory of each group's replicas, of which there is one unless more are asked for: what ends with the
    /// process that had it is gone.
    Cache,
}

/// So many voters a group of a cache has at least if it has more than one.
const CACHE_VOTERS_MIN: usize = 3;

impl Mode {
    /// How many copies of a group there are to be at most on so many nodes. Who starts again has nothing left in cache
    /// mode, so that of two voters neither may: the loss of one would be that of all, and one alone is better off.
    pub fn copies_max(self, nodes: usize) -> usize {
        match self {
            Mode::Cache if nodes < CACHE_VOTERS_MIN => 1,
            Mode::Cache | Mode::Durable => nodes,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Durable => "durable",
            Mode::Cache => "cache",
        })
    }
}
