//! Sorted set commands.

pub mod add;
