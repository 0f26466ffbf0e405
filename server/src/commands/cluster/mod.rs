//! CLUSTER, and what clients say to nodes of a cluster: READONLY, READWRITE, ASKING.

mod ask;
mod change;
pub mod parse;
mod rows;

pub use ask::cluster_of;
pub use rows::COMMANDS;
