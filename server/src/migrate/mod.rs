//! MIGRATE: keys on their way to another server, which may be one of ours, of Redis or of Valkey.
//!
//! The command only says what is wanted ([`Request`]). Another thread carries the keys over while the client waits: it
//! reads them under their locks, has the target restore them, and deletes them here. In Redis nobody else is served
//! meanwhile; here everybody is, so before a key is deleted it must still be what was sent ([`transfer`] says how).
//!
//! | file | owns |
//! |---|---|
//! | `transfer` | the way of the keys: read, sent, deleted |
//! | `target` | what is said to the target, and connections that are kept for the next time |

mod target;
mod transfer;

use crate::client::Client;
use crate::jobs::Jobs;
use crate::server::Server;
use crate::session::ReplyMode;
use basalt_storage::effect::DbIndex;
use std::sync::Arc;
use std::time::Duration;
use target::Links;

/// Threads that carry keys. They wait for other servers, so there are more of them than cores.
const THREADS: usize = 8;

/// What a MIGRATE is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub address: Address,
    pub keys: Vec<Box<[u8]>>,
    /// The database over there. As in Redis, what is below zero is the one that the connection begins with.
    pub db: i64,
    /// For each step of the way.
    pub timeout: Duration,
    pub credentials: Option<Credentials>,
    /// Keys stay here.
    pub copies: bool,
    /// What is there over there goes.
    pub replaces: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub user: Option<Box<[u8]>>,
    pub password: Box<[u8]>,
}

/// A MIGRATE whose client waits.
pub struct Job {
    pub client: Arc<Client>,
    pub request: Request,
    pub db: DbIndex,
    pub reply_mode: ReplyMode,
}

/// The queue in front of the threads, and what they keep.
#[derive(Default)]
pub struct Migrations {
    jobs: Jobs<Job>,
    links: Links,
}

impl Migrations {
    /// Starts the threads.
    pub fn start(server: &Arc<Server>) -> std::io::Result<()> {
        server.migrations.jobs.serve(server, "migrate", THREADS, transfer::run)
    }

    pub fn submit(&self, job: Job) {
        self.jobs.submit(job);
    }

    /// Closes connections that nobody has used for a while; called regularly.
    pub fn tick(&self) {
        self.links.drop_idle();
    }

    /// Connections that are kept.
    pub fn kept_links(&self) -> usize {
        self.links.count()
    }
}
