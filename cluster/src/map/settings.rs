//! Settings that hold for the cluster as a whole, because its root group acts on them.

use std::time::Duration;

/// The shortest silence after which a node counts as failed, whatever is set: several times what lies between two signs
/// of its life, or all nodes would be failed all the time.
const NODE_TIMEOUT_MIN: Duration = Duration::from_millis(500);

/// What an operator has decided for all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Wanted full copies of each group besides the leader's.
    pub replicas: u8,
    /// How long a node may be failed before its replicas are rebuilt elsewhere.
    pub repair_delay_ms: u64,
    /// How long a node may be silent before it counts as failed; asked for with [`Settings::node_timeout`].
    pub node_timeout_ms: u64,
    pub auto_balance: AutoBalance,
    /// How fast slots and replicas may move on each node; zero is without limit.
    pub migration_max_bytes_per_second: u64,
}

impl Settings {
    pub fn node_timeout(&self) -> Duration {
        Duration::from_millis(self.node_timeout_ms).max(NODE_TIMEOUT_MIN)
    }
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
