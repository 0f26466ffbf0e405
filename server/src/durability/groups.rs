//! The Raft groups behind this node's data: the only one of a node that is no cluster, or those of a cluster's node.

use super::replicas::Replicas;
use crate::cluster::control::GroupStatus;
use basalt_cluster::group::{self, Figures, Fsync, Group, Stopped};
use basalt_cluster::ids::GroupId;
use basalt_storage::engine::{Engine, Rocks};
use basalt_storage::seq::Seq;
use basalt_storage::slot::Slot;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub enum Groups {
    Alone { group: Arc<Group>, engine: Arc<Engine> },
    Cluster(Arc<Replicas>),
}

/// The state of a group that this node changes.
pub struct Led {
    pub engine: Arc<Engine>,
    /// None for a node that has but one group.
    holder: Option<(Arc<Replicas>, GroupId)>,
}

impl Led {
    /// Whether the keyspace shows what there is of a key. Besides that a state may have slots that are on their way.
    pub fn shows(&self, key: &[u8]) -> bool {
        self.holder.as_ref().is_none_or(|(replicas, group)| replicas.holder(Slot::of_key(key)) == Some(*group))
    }
}

impl Groups {
    /// Makes the group threads notice what was handed in.
    pub fn announce(&self) {
        match self {
            Groups::Alone { group, .. } => group.announce(),
            Groups::Cluster(replicas) => replicas.for_each_group(|group| group.announce()),
        }
    }

    /// Too much waits to be written or applied.
    #[inline]
    pub fn is_congested(&self) -> bool {
        match self {
            Groups::Alone { group, .. } => group.is_congested(),
            Groups::Cluster(replicas) => replicas.is_congested(),
        }
    }

    /// How the group of a node that is no cluster stands.
    pub fn alone(&self) -> Option<GroupStatus> {
        let Groups::Alone { group, .. } = self else { return None };
        Some(GroupStatus {
            group: group.id(),
            kind: "home",
            replica: group.me(),
            role: group.role(),
            positions: group.positions(),
            followers: Vec::new(),
            figures: group.figures_now(),
        })
    }

    /// Bytes of batches since the start.
    pub fn proposal_bytes(&self) -> u64 {
        match self {
            Groups::Alone { group, .. } => group.figures().proposal_bytes.load(Relaxed),
            Groups::Cluster(replicas) => {
                let mut bytes = 0;
                replicas.for_each_group(|group| bytes += group.figures().proposal_bytes.load(Relaxed));
                bytes
            }
        }
    }

    pub fn fsync(&self) -> Fsync {
        match self {
            Groups::Alone { group, .. } => group.fsync(),
            Groups::Cluster(replicas) => replicas.fsync(),
        }
    }

    pub fn set_fsync(&self, fsync: Fsync) {
        match self {
            Groups::Alone { group, .. } => group.set_fsync(fsync),
            Groups::Cluster(replicas) => replicas.set_fsync(fsync),
        }
    }

    /// All batches up to this one are committed.
    pub fn committed(&self) -> Seq {
        match self {
            Groups::Alone { group, .. } => Seq(group.committed().0),
            Groups::Cluster(replicas) => replicas.committed(),
        }
    }

    /// All batches up to this one are in the engines.
    pub fn applied(&self) -> Seq {
        match self {
            Groups::Alone { group, .. } => Seq(group.applied().0),
            Groups::Cluster(replicas) => replicas.applied(),
        }
    }

    /// All batches up to this one survive the loss of power here.
    pub fn synced(&self) -> Seq {
        match self {
            Groups::Alone { group, .. } => Seq(group.synced().0),
            Groups::Cluster(replicas) => replicas.synced(),
        }
    }

    /// Has what is committed applied now. Does not wait for it.
    pub fn hurry(&self) {
        match self {
            Groups::Alone { group, .. } => group.hurry(),
            Groups::Cluster(replicas) => replicas.for_each_group(|group| group.hurry()),
        }
    }

    /// Blocks until the engines have applied a batch: not for network threads.
    pub fn wait_applied(&self, seq: Seq) -> Result<(), Stopped> {
        match self {
            Groups::Alone { group, .. } => group.wait_applied(group::Seq(seq.0)),
            Groups::Cluster(replicas) => replicas.wait_applied(seq),
        }
    }

    /// Lets `show` look at what the groups count: of all of them together.
    pub fn with_figures<R>(&self, show: impl FnOnce(&Figures) -> R) -> R {
        match self {
            Groups::Alone { group, .. } => show(group.figures()),
            Groups::Cluster(replicas) => {
                let sum = Figures::default();
                replicas.for_each_group(|group| sum.add(group.figures()));
                show(&sum)
            }
        }
    }

    pub fn rocks(&self) -> &Arc<Rocks> {
        match self {
            Groups::Alone { engine, .. } => engine.rocks(),
            Groups::Cluster(replicas) => replicas.rocks(),
        }
    }

    /// The states of all groups that are here.
    pub fn engines(&self) -> Vec<Arc<Engine>> {
        match self {
            Groups::Alone { engine, .. } => vec![engine.clone()],
            Groups::Cluster(replicas) => replicas.engines(),
        }
    }

    /// The states of the groups that this node changes: it is the one that decides what has expired there, and it shows
    /// their keys.
    pub fn led(&self) -> Vec<Led> {
        match self {
            Groups::Alone { engine, .. } => vec![Led { engine: engine.clone(), holder: None }],
            Groups::Cluster(replicas) => {
                let led = replicas.all().into_iter().filter(|replica| replica.serves());
                let led = led.filter_map(|replica| {
                    Some(Led { engine: replica.engine()?, holder: Some((replicas.clone(), replica.id())) })
                });
                led.collect()
            }
        }
    }

    /// Puts everything on disk, at the end. What is evaluated from now on is never acknowledged.
    pub fn stop(&self) {
        match self {
            Groups::Alone { group, .. } => group.stop(),
            // Without the lock of the list: groups that end ask for it, and so may whoever adds a replica just now.
            Groups::Cluster(replicas) => {
                replicas.all().iter().filter_map(|replica| replica.group()).for_each(|group| group.stop());
            }
        }
    }
}
