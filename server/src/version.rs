//! Which Redis clients take us for, and who we are.

/// The version of Redis whose behaviour we have: clients decide by it what they may ask for.
pub const REDIS_VERSION: &str = "7.2.7";

/// Our own version.
pub const BASALT_VERSION: &str = env!("CARGO_PKG_VERSION");
