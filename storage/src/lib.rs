//! What one Basalt node holds: keyspace, values, effects, expiry, eviction, dumps. Knows nothing of clients or
//! networks.

pub mod access;
pub mod cache_line;
pub mod clock;
pub mod crc32c;
pub mod effect;
pub mod engine;
pub mod entry;
pub mod eviction;
pub mod keyspace;
pub mod number;
pub mod outline;
pub mod rdb;
pub mod reaper;
pub mod rng;
pub mod seq;
pub mod shared;
pub mod size_class;
pub mod slot;
pub mod table;
pub mod types;
pub mod value;
pub mod volume;
