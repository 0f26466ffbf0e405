//! Durable mode: what stands between evaluation and a disk.
//!
//! Evaluation happens in the keyspace as in cache mode; its batches go to the Raft group (`log`), and replies and events
//! wait at the gate until the group has committed them. The engine follows, and serves what is not in memory. See
//! `docs/design/0004-durable-mode.md`.
//!
//! | file | owns |
//! |---|---|
//! | `admission` | whether a command can be evaluated now |
//! | `gate` | outputs and events wait here until their batch is committed |
//! | `release` | what an evaluation causes besides its reply |
//! | `loader` | threads that read cold keys |

pub mod admission;
pub mod gate;
pub mod loader;
pub mod release;

use crate::server::Server;
use loader::Loader;
use std::sync::Arc;

/// The parts of durable mode that others meet.
pub struct Durability {
    pub loader: Loader,
}

impl Durability {
    /// Too much is on its way into the log.
    #[inline]
    pub fn is_congested(&self) -> bool {
        false
    }
}

/// Starts the thread that lets events and answers out when they are committed; it ends with the process.
#[expect(dead_code, reason = "the group follows")]
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
