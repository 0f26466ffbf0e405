//! Configuration: one table of settings. (The table itself follows; these are the values that the hot paths read.)

use crate::commands::Command;
use crate::error::CommandError;
use crate::resp::decode::Limits;
use crate::server::Server;
use crate::session::Session;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The settings of one server.
pub struct Config {
    pub port: u16,
    pub bind: Vec<String>,
    databases: u16,
    io_threads: usize,
    maxmemory: AtomicU64,
    pub maxclients: AtomicUsize,
    pub proto_max_bulk_len: AtomicU64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            port: 6379,
            bind: vec!["127.0.0.1".into()],
            databases: 16,
            io_threads: 1,
            maxmemory: AtomicU64::new(0),
            maxclients: AtomicUsize::new(10_000),
            proto_max_bulk_len: AtomicU64::new(512 * 1024 * 1024),
        }
    }
}

impl Config {
    pub fn databases(&self) -> u16 {
        self.databases
    }

    pub fn io_threads(&self) -> usize {
        self.io_threads
    }

    /// In bytes; zero: no limit.
    #[inline]
    pub fn maxmemory(&self) -> u64 {
        self.maxmemory.load(Relaxed)
    }

    /// What a client may send.
    #[inline]
    pub fn request_limits(&self, session: &Session) -> Limits {
        Limits { bulk_len_max: self.proto_max_bulk_len.load(Relaxed), authenticated: session.is_authenticated }
    }

    /// Whether clients need a password.
    pub fn needs_password(&self) -> bool {
        false
    }

    /// Whether `enable-debug-command` and kin admit this client.
    pub fn admits_protected(&self, _: &Command, _: &Session) -> Result<(), CommandError> {
        Ok(())
    }

    /// From command line arguments: `--port N` and the like.
    pub fn from_args(args: impl Iterator<Item = String>) -> Config {
        let mut config = Config::default();
        let args: Vec<String> = args.collect();
        for pair in args.windows(2) {
            match pair[0].as_str() {
                "--port" => config.port = pair[1].parse().unwrap_or(config.port),
                "--io-threads" => config.io_threads = pair[1].parse().unwrap_or(config.io_threads),
                _ => {}
            }
        }
        config
    }

    /// Applies `tcp-keepalive` to a new connection.
    pub fn set_keepalive(&self, _: &tokio::net::TcpStream) {}

    /// Hands settings to the parts that keep copies of their own.
    pub fn apply_to(&self, _: &Server) {}
}
