//! What can be tested: one server or a cluster, of Basalt or of redis-server.
//!
//! A [`Target`] says which programs run with which options; [`Layout`] has what else can be chosen.

use crate::client::Sharding;
use std::path::PathBuf;

/// Milliseconds after which a silent node counts as failing.
const NODE_TIMEOUT_MS: &str = "1000";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One node; every acknowledged write is on disk.
    Basalt,
    /// One node that forgets everything when it ends.
    BasaltCache,
    /// Three nodes, of which the later ones join the first.
    BasaltCluster,
    /// The same in cache mode, where each key is on one node.
    BasaltCacheCluster,
    /// The same with three copies of each key: whoever is killed comes back empty, and gets its copies again.
    BasaltCacheReplicas,
    Redis,
    /// Three masters with a replica each, which redis-cli makes one cluster.
    RedisCluster,
}

/// A target, with what can be chosen about it.
#[derive(Clone, Debug)]
pub struct Layout {
    pub target: Target,
    pub nodes: usize,
    pub form: Form,
    /// More options of the servers.
    pub options: Vec<String>,
    pub disk: Disk,
    pub guests: Guests,
}

/// What the data of each server lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    OfMachine,
    /// A volume of its own, which can be filled.
    Small,
}

/// Whether a cluster gets nodes that come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guests {
    None,
    /// One at a time.
    One,
}

/// How several servers become one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Alone,
    /// Each but the first is told at its start whom to join.
    Join,
    /// The first is told to meet the others.
    Meet,
    /// By `redis-cli --cluster create`, with so many replicas for each master.
    Create {
        replicas: usize,
    },
}

impl Target {
    pub const ALL: [Target; 7] = [
        Target::Basalt,
        Target::BasaltCache,
        Target::BasaltCluster,
        Target::BasaltCacheCluster,
        Target::BasaltCacheReplicas,
        Target::Redis,
        Target::RedisCluster,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Target::Basalt => "basalt",
            Target::BasaltCache => "basalt-cache",
            Target::BasaltCluster => "basalt-cluster",
            Target::BasaltCacheCluster => "basalt-cache-cluster",
            Target::BasaltCacheReplicas => "basalt-cache-replicas",
            Target::Redis => "redis",
            Target::RedisCluster => "redis-cluster",
        }
    }

    pub fn named(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|target| target.name() == name)
    }

    pub fn sharding(self) -> Sharding {
        match self {
            Target::Basalt | Target::BasaltCache | Target::Redis => Sharding::None,
            Target::BasaltCluster | Target::BasaltCacheCluster | Target::BasaltCacheReplicas | Target::RedisCluster => {
                Sharding::Slots
            }
        }
    }

    pub fn layout(self) -> Layout {
        let (nodes, form, options) = (self.nodes(), self.form(), Vec::new());
        Layout { target: self, nodes, form, options, disk: Disk::OfMachine, guests: Guests::None }
    }

    fn form(self) -> Form {
        match self {
            Target::Basalt | Target::BasaltCache | Target::Redis => Form::Alone,
            Target::BasaltCluster | Target::BasaltCacheCluster | Target::BasaltCacheReplicas => Form::Join,
            Target::RedisCluster => Form::Create { replicas: 1 },
        }
    }

    fn nodes(self) -> usize {
        match self {
            Target::Basalt | Target::BasaltCache | Target::Redis => 1,
            Target::BasaltCluster | Target::BasaltCacheCluster | Target::BasaltCacheReplicas => 3,
            Target::RedisCluster => 6,
        }
    }

    pub fn options(self) -> Vec<&'static str> {
        match self {
            Target::Basalt => vec!["--mode", "durable", "--fsync", "always"],
            Target::BasaltCache => vec!["--mode", "cache"],
            Target::BasaltCluster => {
                let mut options = vec!["--mode", "durable", "--fsync", "always", "--cluster-enabled", "yes"];
                options.extend(["--cluster-node-timeout", "3000"]);
                options
            }
            Target::BasaltCacheCluster => {
                vec!["--mode", "cache", "--cluster-enabled", "yes", "--cluster-node-timeout", "3000"]
            }
            Target::BasaltCacheReplicas => {
                let mut options = Target::BasaltCacheCluster.options();
                options.extend(["--cluster-replicas", "2"]);
                options
            }
            Target::Redis => vec!["--save", "", "--appendonly", "no"],
            Target::RedisCluster => {
                let mut options = vec!["--save", "", "--appendonly", "no", "--cluster-enabled", "yes"];
                options.extend(["--cluster-node-timeout", NODE_TIMEOUT_MS, "--cluster-require-full-coverage", "no"]);
                options.extend(["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]);
                options
            }
        }
    }

    /// Whether it keeps what it has acknowledged on disk, and refuses what would not fit there.
    pub fn is_durable(self) -> bool {
        matches!(self, Target::Basalt | Target::BasaltCluster)
    }

    /// Whether its nodes keep copies of what others have, of which a majority must survive.
    pub fn keeps_copies(self) -> bool {
        matches!(self, Target::BasaltCluster | Target::BasaltCacheReplicas)
    }

    /// Whether a node that ends takes its copies along, so that the next one has to wait until there are others.
    pub fn forgets(self) -> bool {
        self == Target::BasaltCacheReplicas
    }

    pub fn is_basalt(self) -> bool {
        !matches!(self, Target::Redis | Target::RedisCluster)
    }
}

/// The programs under test.
pub struct Programs {
    pub basalt: PathBuf,
    pub redis_server: PathBuf,
    pub redis_cli: PathBuf,
}
