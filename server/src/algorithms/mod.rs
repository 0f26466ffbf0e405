//! The algorithms behind commands, as pure functions: no keyspace, no replies, no clock, no randomness of their
//! own.
//!
//! A command's handler checks arguments and looks up values; what it then computes lives here, one concept per
//! file, and is verified against redis-server by tables of recorded answers. The representations (HyperLogLog,
//! geohash scores, texts of floats) are Redis's own, byte for byte, so that values move between the two
//! servers.

pub mod bitfield;
pub mod bits;
pub mod digest;
pub mod geohash;
pub mod glob;
pub mod hyperloglog;
pub mod lcs;
pub mod long_double;
