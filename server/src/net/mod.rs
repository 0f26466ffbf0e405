//! Sockets and threads: listeners, network threads, connections. The thin shell around [`crate::dispatch`].

pub mod connection;
pub mod io_thread;
mod large_argument;
pub mod listener;
pub mod listeners;
mod outbound;
pub mod stream;
mod turn;
mod workspace;
