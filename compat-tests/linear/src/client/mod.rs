//! A client of one server or of a cluster: sends an operation, and says what became of it.
//!
//! | file | has |
//! |---|---|
//! | `connection` | requests and replies over one socket |
//! | `router` | which node has a key, and what to do when it has it no more |

mod connection;
mod router;

pub use connection::{Connection, Failure};
pub use router::{Attempt, Router, Sharding};
