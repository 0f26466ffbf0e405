//! Sockets and threads: listeners, network threads, connections. The thin shell around [`crate::dispatch`].

pub mod connection;
pub mod io_thread;
pub mod listener;
pub mod listeners;
pub mod stream;
mod workspace;
