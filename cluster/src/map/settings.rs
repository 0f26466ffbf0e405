//! Settings that hold for the cluster as a whole, because its root group acts on them.

/// What an operator has decided for all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Wanted full copies of each group besides the leader's.
    pub replicas: u8,
    /// How long a node may be failed before its replicas are rebuilt elsewhere.
    pub repair_delay_ms: u64,
    /// How long a node may be silent before it counts as failed.
    pub node_timeout_ms: u64,
    pub auto_balance: AutoBalance,
    /// How fast slots and replicas may move on each node; zero is without limit.
    pub migration_max_bytes_per_second: u64,
}

/// Whether the cluster moves slots by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoBalance {
    Yes,
    No,
}

/// The most copies that can be wanted besides the leader's: more voters than seven only make commits slow.
pub const REPLICAS_MAX: u8 = 6;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            replicas: 2,
            repair_delay_ms: 5 * 60 * 1000,
            node_timeout_ms: 15_000,
            auto_balance: AutoBalance::Yes,
            migration_max_bytes_per_second: 0,
        }
    }
}
