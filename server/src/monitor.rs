//! MONITOR: every command, as it runs, to those who asked.

use crate::client::{Client, ClientId};
use crate::resp::Args;
use crate::server::Server;
use crate::session::Session;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The clients that watch.
#[derive(Default)]
pub struct Monitors {
    any: AtomicBool,
    clients: Mutex<Vec<Arc<Client>>>,
}

impl Monitors {
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    pub fn add(&self, client: Arc<Client>) {
        let mut clients = self.clients.lock();
        if !clients.iter().any(|known| known.id == client.id) {
            clients.push(client);
        }
        self.any.store(true, Ordering::Relaxed);
    }

    pub fn remove(&self, client: ClientId) {
        let mut clients = self.clients.lock();
        clients.retain(|known| known.id != client);
        self.any.store(!clients.is_empty(), Ordering::Relaxed);
    }

    /// Shows a command to all who watch: time, database, address, and the arguments in quotes.
    #[cold]
    pub fn feed(&self, server: &Server, session: &Session, args: Args<'_>) {
        let now = server.now().0;
        let mut line =
            format!("+{}.{:06} [{} {}]", now / 1000, now % 1000 * 1000, session.db.0, session.client.address);
        for argument in args.from(0) {
            line.push(' ');
            line.push_str(&crate::text::quoted(argument));
        }
        line.push_str("\r\n");
        for client in self.clients.lock().iter() {
            client.post(|inbox| inbox.bytes.extend_from_slice(line.as_bytes()));
        }
    }
}
