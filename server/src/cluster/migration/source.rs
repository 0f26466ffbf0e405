//! Where a departure copies from: the engine and the log of its group, or the keyspace.

use super::Hitch;
use super::ground::Copying;
use crate::durability::contents::Contents;
use crate::durability::memory::Following;
use crate::durability::replicas::{DB, Replica};
use crate::durability::shipping::{BATCH_BYTES, copy_slots, written};
use crate::durability::tap::{Tap, Tapped};
use crate::server::Server;
use basalt_cluster::group::LogIndex;
use basalt_cluster::map::Migration;
use basalt_storage::keyspace::follow::{Change, Lost};
use basalt_storage::rdb::values::Limits;
use std::sync::Arc;

/// Slots that are read, and listened to from before they are.
pub struct Source {
    server: Arc<Server>,
    origin: Origin,
}

enum Origin {
    /// A snapshot of the engine, and then what was applied since.
    OnDisk { replica: Arc<Replica>, tap: Arc<Tap>, from: LogIndex },
    /// Slot by slot from the keyspace, and what was evaluated in those that were read.
    Memory(Following),
}

impl Source {
    pub fn listen(server: Arc<Server>, replica: &Arc<Replica>, migration: &Migration) -> Source {
        let origin = match replica.contents() {
            Contents::OnDisk(_) => {
                let tap = Arc::new(Tap::new(migration.all_slots()));
                replica.add_tap(&tap);
                Origin::OnDisk { replica: replica.clone(), tap, from: LogIndex(0) }
            }
            Contents::Memory(memory) => Origin::Memory(memory.memory().follow(migration.all_slots().collect())),
        };
        Source { server, origin }
    }
}

impl Copying for Source {
    fn copy(&mut self, migration: &Migration, mut send: impl FnMut(Vec<u8>) -> Result<(), Hitch>) -> Result<(), Hitch> {
        let server = &*self.server;
        match &mut self.origin {
            Origin::OnDisk { replica, from, .. } => {
                let Contents::OnDisk(disk) = replica.contents() else { unreachable!("it was on disk a moment ago") };
                let engine = disk.engine();
                let snapshot = engine.snapshot();
                let limits = Limits::of(&server.keyspace.settings);
                let slots = migration.all_slots();
                snapshot.copy_slots(DB, slots, &limits, BATCH_BYTES, |batch| send(written(&batch)))?;
                *from = snapshot.applied();
                Ok(())
            }
            Origin::Memory(following) => copy_slots(server, &following.followed, migration.all_slots(), send),
        }
    }

    fn next(&self) -> Result<Option<Tapped>, Hitch> {
        match &self.origin {
            Origin::OnDisk { tap, from, .. } => tap.next(*from).map_err(Hitch::new),
            Origin::Memory(following) => Ok(following.followed.next()?.map(|change| match change {
                Change::Batch(batch) => Tapped::Batch(written(&batch)),
                Change::Flushed => Tapped::Flushed,
            })),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Origin::OnDisk { replica, tap, .. } = &self.origin {
            replica.remove_tap(tap);
        }
    }
}

impl From<Lost> for Hitch {
    fn from(lost: Lost) -> Hitch {
        Hitch::new(lost)
    }
}
