//! What a node keeps on its disk, and which replicas run on it: what the map says, by the rules of the server's node.
//!
//! A replica that was removed never comes back under its number.

use basalt_cluster::group::core::{Core, CoreOptions, ELECTION_TICKS};
use basalt_cluster::group::{Fsync, Start};
use basalt_cluster::ids::{GroupId, ReplicaId};
use basalt_cluster::map::{ClusterMap, Members, ReplicaInfo};
use basalt_cluster::node::desired;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::disk::Disk;
use crate::machine::Kind;
use crate::process::Process;
use crate::replica::Replica;

pub struct Records {
    pub replicas: BTreeMap<GroupId, Record>,
    pub map: Arc<ClusterMap>,
}

/// A replica of this node; one without a disk is gone for good.
#[derive(Clone)]
pub struct Record {
    pub replica: ReplicaId,
    pub disk: Option<Arc<Disk>>,
    pub start: Start,
}

impl Process {
    /// Runs what was there before: the root group's replica first, which may have the newest map.
    pub fn start_up(&mut self) {
        let root = self.records.lock().replicas.get(&self.root).cloned();
        if let Some(record) = root.filter(|record| record.disk.is_some()) {
            self.run(self.root, &record);
            self.learn_from_root();
        }
        self.reconcile();
    }

    /// Starts and stops replicas, so that what runs here is what the map says, and tells them what their groups should
    /// be.
    pub fn reconcile(&mut self) {
        let map = self.map.clone();
        self.records.lock().map = map.clone();
        let groups: BTreeMap<GroupId, &Members> = map
            .groups()
            .iter()
            .map(|(group, info)| (*group, &info.members))
            .chain([(map.root().id, &map.root().members)])
            .collect();
        let running: Vec<(GroupId, ReplicaId)> = self.replicas.iter().map(|(group, it)| (*group, it.id)).collect();
        for (group, replica) in running {
            let is_wanted = groups.get(&group).is_some_and(|members| members.replica(replica).is_some());
            if !is_wanted {
                self.unhost(group, replica);
            }
        }
        for (group, members) in &groups {
            let mine = members.replicas.iter().rev().find(|replica| replica.node == self.me);
            match (mine, self.replicas.get_mut(group)) {
                (Some(mine), None) => self.host(*group, mine),
                (Some(_), Some(replica)) => replica.core.set_desired(desired(members)),
                (None, _) => (),
            }
        }
    }

    fn host(&mut self, group: GroupId, replica: &ReplicaInfo) {
        let there = self.records.lock().replicas.get(&group).cloned();
        let record = match there {
            Some(record) if record.replica > replica.id => return,
            Some(record) if record.replica == replica.id && record.disk.is_none() => return,
            Some(record) if record.replica == replica.id => record,
            _ => {
                let disk = Some(Arc::new(Disk::default()));
                let record = Record { replica: replica.id, disk, start: Start::Empty };
                self.records.lock().replicas.insert(group, record.clone());
                record
            }
        };
        self.run(group, &record);
        self.refresh();
    }

    fn run(&mut self, group: GroupId, record: &Record) {
        let Some(disk) = &record.disk else { return };
        let (now, seed, log_bytes_max) = {
            let ether = &mut *self.world.ether.lock();
            (ether.now, ether.rng.next(), ether.faults.log_bytes_max)
        };
        disk.open();
        let options = CoreOptions {
            me: record.replica,
            start: record.start.clone(),
            fsync: Fsync::Always,
            log_bytes_max,
            election_ticks: ELECTION_TICKS,
            seed,
        };
        let core = Core::start(&options, disk.clone(), disk.saved().applied);
        let mut core = core.expect("a replica starts from what any crash leaves behind");
        if let Some(members) = self.map.members(group) {
            core.set_desired(desired(members));
        }
        let kind = if group == self.root { Kind::Map } else { Kind::Data };
        let replica = Replica::new(group, record.replica, kind, core, disk.clone(), self.number, now);
        self.replicas.insert(group, replica);
        self.unchecked.push(group);
    }

    fn unhost(&mut self, group: GroupId, replica: ReplicaId) {
        let Some(gone) = self.replicas.remove(&group) else { return };
        self.refresh();
        // The others may commit it or not.
        if gone.settled < gone.proposed {
            self.note_lost(gone.settled + 1..=gone.proposed);
        }
        let record = Record { replica, disk: None, start: Start::Empty };
        self.records.lock().replicas.insert(group, record);
    }
}
