//! Durable mode: what stands between evaluation and a disk.
//!
//! Evaluation happens in the keyspace as in cache mode; its batches go to the Raft group (`log`), and replies and
//! events wait at the gate until the group has committed them. The engine follows, and serves what is not in memory.
//! See
//! `docs/design/0004-durable-mode.md`.
//!
//! | file | owns |
//! |---|---|
//! | `open` | opening the data directory, and putting the parts together |
//! | `admission` | whether a command can be evaluated now |
//! | `batch_size` | refusing what would be too much for one batch |
//! | `gate` | outputs and events wait here until their batch is committed |
//! | `losses` | batches whose fate is unknown |
//! | `relay` | waking connections on their own thread |
//! | `release` | what an evaluation causes besides its reply |
//! | `groups` | the one group of a node that is no cluster, or those of a cluster's node |
//! | `replicas` | the replicas of a cluster's node, and which of them holds which slot |
//! | `contents` | where what a replica has lies |
//! | `memory` | cache mode in a cluster: what the groups of a node have in common |
//! | `in_memory` | cache mode in a cluster: what one replica has |
//! | `shipping` | cache mode in a cluster: how another replica is filled |
//! | `split` | the way of batches into several groups |
//! | `log` | the batches' way into the group, and what comes back |
//! | `cold` | the engine as the keyspace sees it |
//! | `loader` | threads that read cold keys |
//! | `errand` | threads that walk over cold keys |
//! | `pace` | slowing writers down before RocksDB does |
//! | `space` | refusing writes before the disk is full |
//! | `housekeeping` | expiry of cold keys, and the cleaner |

pub mod admission;
pub mod batch_size;
mod cold;
pub mod contents;
pub mod errand;
pub mod gate;
pub mod groups;
mod housekeeping;
pub mod in_memory;
pub mod loader;
pub(crate) mod log;
pub(crate) mod losses;
pub mod memory;
pub mod open;
pub mod pace;
mod relay;
pub mod release;
pub mod replicas;
pub mod shipping;
pub mod space;
mod split;
pub mod tap;

use crate::blocked::End;
use crate::client::ClientId;
use crate::commands::node::write_pair;
use crate::server::Server;
use basalt_cluster::group::{Fsync, Stopped};
use basalt_storage::seq::Seq;
use errand::Errands;
use groups::Groups;
use loader::Loader;
use pace::Pace;
use parking_lot::Mutex;
use space::Space;
use std::sync::Arc;

/// The parts of durable mode that others meet.
pub struct Durability {
    pub loader: Loader,
    pub errands: Errands,
    pub groups: Groups,
    /// Clients that wait until a batch survives the loss of power (WAITAOF).
    sync_waiters: Mutex<Vec<(Seq, ClientId)>>,
    pub space: Space,
    pub pace: Pace,
    /// What bounds the copies in memory if `maxmemory` is not set.
    pub resident_bytes_default: u64,
}

impl Durability {
    /// Too much is on its way into the log, or more than RocksDB keeps up with.
    #[inline]
    pub fn is_congested(&self) -> bool {
        self.groups.is_congested() || self.pace.is_used_up(self)
    }

    pub fn set_fsync(&self, fsync: Fsync) {
        self.groups.set_fsync(fsync);
    }

    /// Whether a batch survives the loss of power, or will before the reply of whoever asks leaves.
    pub fn is_synced(&self, seq: Seq) -> bool {
        self.groups.fsync() == Fsync::Always || self.groups.synced() >= seq
    }

    /// Ends the wait of a client when a batch survives the loss of power.
    pub fn answer_when_synced(&self, seq: Seq, client: ClientId) {
        self.sync_waiters.lock().push((seq, client));
    }

    /// All batches up to this one survive the loss of power.
    pub(crate) fn note_synced(&self, server: &Server, seq: Seq) {
        let mut waiters = self.sync_waiters.lock();
        if waiters.is_empty() {
            return;
        }
        let due: Vec<(Seq, ClientId)> = waiters.extract_if(.., |(awaited, _)| *awaited <= seq).collect();
        drop(waiters);
        for (_, client) in due {
            server.blocked.end(server, client, End::Answer(Box::new(|out| write_pair(out, 1, 0))));
        }
    }

    /// Blocks until the engine has applied a batch: not for network threads.
    pub fn wait_applied(&self, seq: Seq) -> Result<(), Stopped> {
        self.groups.wait_applied(seq)
    }

    /// Puts everything on disk, at the end. What is evaluated from now on is never acknowledged.
    pub fn stop(&self) {
        self.groups.stop();
        // The logs have everything, so a failure costs the next start a moment only.
        if let Err(error) = self.groups.rocks().save() {
            tracing::warn!(%error, "the state is not on the disk; the next start makes it anew from the log");
        }
    }
}

/// Starts the thread that lets events and answers out when they are committed; it ends with the process.
pub(crate) fn letting_out(server: &Arc<Server>) -> std::io::Result<()> {
    let server = server.clone();
    let let_out = move || {
        loop {
            server.gate.next_release().let_out(&server);
        }
    };
    std::thread::Builder::new().name("releases".into()).spawn(let_out)?;
    Ok(())
}
