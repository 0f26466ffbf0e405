//! What one Basalt node holds: the keyspace and the structures it is made of.

pub mod number;
pub mod rdb;
pub mod rng;
pub mod table;
pub mod types;
