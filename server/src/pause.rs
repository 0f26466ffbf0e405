//! CLIENT PAUSE: holds back clients for a while.

use crate::commands::Command;
use crate::commands::spec::Flags;
use crate::server::Server;
use crate::session::Session;
use crate::transaction::Phase;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicUsize, Ordering::Relaxed};
use tokio::sync::Notify;

/// Which commands are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mode {
    Writes = 1,
    All = 2,
}

/// What happens to a client that is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    Begins,
    Ends,
}

/// The pause in force, if any.
#[derive(Default)]
pub struct Pause {
    until_ms: AtomicI64,
    mode: AtomicU8,
    over: Notify,
    /// Clients that are held back at this moment.
    waiting: AtomicUsize,
}

impl Pause {
    /// Starts or prolongs a pause; of two, the later end and the stricter mode hold.
    pub fn start(&self, server: &Server, until_ms: i64, mode: Mode) {
        if !self.is_on(server) {
            self.mode.store(0, Relaxed);
            self.until_ms.store(0, Relaxed);
        }
        self.mode.fetch_max(mode as u8, Relaxed);
        self.until_ms.fetch_max(until_ms, Relaxed);
    }

    pub fn stop(&self) {
        self.until_ms.store(0, Relaxed);
        self.over.notify_waiters();
    }

    /// Clients that are held back at this moment: they count as blocked.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// A client begins or ends to wait.
    pub fn note_waiting(&self, change: Waiting) {
        match change {
            Waiting::Begins => self.waiting.fetch_add(1, Relaxed),
            Waiting::Ends => self.waiting.fetch_sub(1, Relaxed),
        };
    }

    #[inline]
    pub fn is_on(&self, server: &Server) -> bool {
        let until = self.until_ms.load(Relaxed);
        until != 0 && server.now().0 < until
    }

    /// Whether a client must wait before this command.
    #[inline]
    pub fn holds(&self, server: &Server, session: &Session, command: &Command) -> bool {
        self.until_ms.load(Relaxed) != 0 && self.is_on(server) && self.concerns(session, command)
    }

    #[cold]
    fn concerns(&self, session: &Session, command: &Command) -> bool {
        if command.full_name.starts_with("client") {
            return false;
        }
        let changes = |command: &Command| {
            command.spec.flags.contains(Flags::WRITE) || command.spec.flags.contains(Flags::MAY_REPLICATE)
        };
        let queued_change = match (&session.transaction.phase, command.spec.name) {
            (Phase::Queueing { queue, .. }, "exec") => queue.iter().any(|queued| changes(queued.command)),
            _ => false,
        };
        self.mode.load(Relaxed) == Mode::All as u8 || changes(command) || queued_change
    }

    /// While clients are paused nothing expires, so that the data set stands still.
    #[inline]
    pub fn stops_expiry(&self, server: &Server) -> bool {
        self.until_ms.load(Relaxed) != 0 && self.is_on(server)
    }

    /// Waits until the pause is over.
    pub async fn wait(&self, server: &Server) {
        loop {
            let over = self.over.notified();
            let left = self.until_ms.load(Relaxed) - server.now().0;
            if left <= 0 {
                return;
            }
            tokio::select! {
                () = over => {}
                () = tokio::time::sleep(std::time::Duration::from_millis(left as u64)) => {}
            }
        }
    }
}
