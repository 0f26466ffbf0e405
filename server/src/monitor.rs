//! MONITOR: every command, as it runs, to those who asked.

use crate::client::{Client, ClientId};
use crate::commands::Command;
use crate::redact;
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
    pub fn feed(&self, server: &Server, session: &Session, command: &Command, args: Args<'_>) {
        let now = server.clock_us();
        let (db, address) = (session.db.0, &session.client.address);
        let peer = if session.client.info.is_unix_socket.load(Ordering::Relaxed) {
            format!("unix:{}", address.strip_suffix(":0").unwrap_or(address))
        } else {
            address.clone()
        };
        let mut line = format!("+{}.{:06} [{db} {peer}]", now / 1_000_000, now % 1_000_000);
        for argument in redact::shown(command, args) {
            line.push(' ');
            line.push_str(&crate::text::quoted(argument));
        }
        line.push_str("\r\n");
        for client in self.clients.lock().iter() {
            client.post(|inbox| inbox.bytes.extend_from_slice(line.as_bytes()));
        }
    }
}
