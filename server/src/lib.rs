//! What clients see: RESP, connections, the command table, commands, configuration, metrics, wiring.

pub mod algorithms;
pub mod blocked;
pub mod client;
pub mod commands;
pub mod config;
pub mod dispatch;
pub mod error;
pub mod eviction;
pub mod latency;
pub mod log;
pub mod memory;
pub mod monitor;
pub mod net;
pub mod node;
pub mod notify;
pub mod pause;
pub mod pubsub;
pub mod resp;
pub mod server;
pub mod session;
pub mod slowlog;
pub mod stats;
pub mod switches;
pub mod text;
pub mod transaction;
