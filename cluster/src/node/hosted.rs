//! The replicas that run on this node, the root group's included.

use crate::group::Group;
use crate::ids::{GroupId, ReplicaId};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone)]
pub struct Hosted {
    pub replica: ReplicaId,
    pub group: Arc<Group>,
}

#[derive(Default)]
pub struct HostedReplicas(RwLock<BTreeMap<GroupId, Hosted>>);

impl HostedReplicas {
    pub fn of(&self, group: GroupId) -> Option<Hosted> {
        self.0.read().get(&group).cloned()
    }

    /// The group, if this very replica of it is here.
    pub fn group(&self, group: GroupId, replica: ReplicaId) -> Option<Arc<Group>> {
        self.0.read().get(&group).filter(|hosted| hosted.replica == replica).map(|hosted| hosted.group.clone())
    }

    pub fn add(&self, group: GroupId, hosted: Hosted) {
        let before = self.0.write().insert(group, hosted);
        assert!(before.is_none(), "two replicas of group {group} on one node");
    }

    pub fn remove(&self, group: GroupId) -> Option<Hosted> {
        self.0.write().remove(&group)
    }

    pub fn all(&self) -> Vec<(GroupId, Hosted)> {
        self.0.read().iter().map(|(group, hosted)| (*group, hosted.clone())).collect()
    }
}
