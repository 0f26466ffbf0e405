//! Where a departure copies from: the engine and the log of its group, or the keyspace.

use super::Hitch;
use crate::durability::contents::Contents;
use crate::durability::memory::Following;
use crate::durability::replicas::DB;
use crate::durability::replicas::Replica;
use crate::durability::shipping::{copy_slots, written};
use crate::durability::tap::{Tap, Tapped};
use crate::server::Server;
use basalt_cluster::group::LogIndex;
use basalt_cluster::map::Migration;
use basalt_storage::keyspace::follow::{Change, Lost};
use basalt_storage::rdb::values::Limits;
use std::sync::Arc;

/// Bytes of a batch of copied keys.
const BATCH_BYTES: usize = 64 << 10;

/// Slots that are read, and listened to from before they are.
pub enum Source {
    /// A snapshot of the engine, and then what was applied since.
    OnDisk { replica: Arc<Replica>, tap: Arc<Tap>, from: LogIndex },
    /// Slot by slot from the keyspace, and what was evaluated in those that were read.
    Memory(Following),
}

impl Source {
    pub fn listen(replica: &Arc<Replica>, migration: &Migration) -> Source {
        match replica.contents() {
            Contents::OnDisk(_) => {
                let tap = Arc::new(Tap::new(migration.all_slots()));
                replica.add_tap(&tap);
                Source::OnDisk { replica: replica.clone(), tap, from: LogIndex(0) }
            }
            Contents::Memory(memory) => Source::Memory(memory.memory().follow(migration.all_slots().collect())),
        }
    }

    /// Hands out the slots, with what changes in them while that lasts.
    pub fn copy(
        &mut self,
        server: &Server,
        migration: &Migration,
        mut send: impl FnMut(Vec<u8>) -> Result<(), Hitch>,
    ) -> Result<(), Hitch> {
        match self {
            Source::OnDisk { replica, from, .. } => {
                let Contents::OnDisk(disk) = replica.contents() else { unreachable!("it was on disk a moment ago") };
                let engine = disk.engine();
                let snapshot = engine.snapshot();
                let limits = Limits::of(&server.keyspace.settings);
                let slots = migration.all_slots();
                snapshot.copy_slots(DB, slots, &limits, BATCH_BYTES, |batch| send(written(&batch)))?;
                *from = snapshot.applied();
                Ok(())
            }
            Source::Memory(following) => copy_slots(server, &following.followed, migration.all_slots(), send),
        }
    }

    /// What has changed since, if there is anything yet.
    pub fn next(&self) -> Result<Option<Tapped>, Hitch> {
        match self {
            Source::OnDisk { tap, from, .. } => tap.next(*from).map_err(Hitch::new),
            Source::Memory(following) => Ok(following.followed.next()?.map(|change| match change {
                Change::Batch(batch) => Tapped::Batch(written(&batch)),
                Change::Flushed => Tapped::Flushed,
            })),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Source::OnDisk { replica, tap, .. } = self {
            replica.remove_tap(tap);
        }
    }
}

impl From<Lost> for Hitch {
    fn from(lost: Lost) -> Hitch {
        Hitch::new(lost)
    }
}
