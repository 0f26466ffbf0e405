//! Durable mode: what stands between evaluation and a disk.
//!
//! | file | owns |
//! |---|---|
//! | `gate` | outputs and events wait here until their batch is committed |
//! | `release` | what an evaluation causes besides its reply |
//! | `loader` | threads that read cold keys |
//! | `admission` | whether a command can be evaluated now |
//! | `log` | the batches' way into the Raft group, and what comes back |
//! | `open` | opening the data directory, and putting the parts together |

pub mod admission;
pub mod gate;
pub mod loader;
pub mod release;

use loader::Loader;

/// The parts of durable mode that requests meet.
pub struct Durability {
    pub loader: Loader,
}

impl Durability {
    fn is_congested(&self) -> bool {
        false
    }
}
