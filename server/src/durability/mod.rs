//! Durable mode: what stands between evaluation and a disk.
//!
//! Evaluation happens in the keyspace as in cache mode; its batches go to the Raft group (`log`), and replies and events
//! wait at the gate until the group has committed them. The engine follows, and serves what is not in memory. See
//! `docs/design/0004-durable-mode.md`.
//!
//! | file | owns |
//! |---|---|
//! | `open` | opening the data directory, and putting the parts together |
//! | `admission` | whether a command can be evaluated now |
//! | `gate` | outputs and events wait here until their batch is committed |
//! | `release` | what an evaluation causes besides its reply |
//! | `log` | the batches' way into the group, and what comes back |
//! | `cold` | the engine as the keyspace sees it |
//! | `loader` | threads that read cold keys |
//! | `housekeeping` | expiry of cold keys, and the cleaner |

pub mod admission;
mod cold;
pub mod gate;
mod housekeeping;
pub mod loader;
mod log;
pub mod open;
pub mod release;

use crate::server::Server;
use basalt_cluster::group::{Fsync, Group};
use basalt_storage::engine::Engine;
use loader::Loader;
use std::sync::Arc;

/// The parts of durable mode that others meet.
pub struct Durability {
    pub loader: Loader,
    pub group: Arc<Group>,
    pub engine: Arc<Engine>,
}

impl Durability {
    /// Too much is on its way into the log.
    #[inline]
    pub fn is_congested(&self) -> bool {
        self.group.is_congested()
    }

    pub fn set_fsync(&self, fsync: Fsync) {
        self.group.set_fsync(fsync);
    }

    /// Puts everything on disk, at the end. Nothing may be evaluated any more.
    pub fn stop(&self) {
        self.group.stop();
    }
}

/// Starts the thread that lets events and answers out when they are committed; it ends with the process.
fn letting_out(server: &Arc<Server>) -> std::io::Result<()> {
    let server = server.clone();
    let let_out = move || {
        loop {
            server.gate.next_release().let_out(&server);
        }
    };
    std::thread::Builder::new().name("releases".into()).spawn(let_out)?;
    Ok(())
}
