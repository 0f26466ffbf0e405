//! The database of a node on RocksDB. The only code that names the `rocksdb` crate.
//!
//! | file | owns |
//! |---|---|
//! | `open` | opening the one instance, refusing what must not be opened |
//! | `wal` | telling a torn write-ahead log from a damaged one |
//! | `options` | how RocksDB is set up |
//! | `layout` | column families and the form of keys |
//! | `meta` | the record of one key |
//! | `log` | the raw log of a group |
//! | `log_file` | zeros ahead of what is written to it |
//! | `engine` | the state of one group: its databases and counts in memory |
//! | `counts` | how many entries each slot has, on disk |
//! | `apply`, `staged`, `parts`, `lists`, `strings` | effects into one write |
//! | `read`, `walk`, `snapshot` | reading the state |
//! | `transfer` | the state as a stream of records, out of one database into another |
//! | `copying` | slots of it as effects that make them elsewhere |
//! | `damage` | what tests do to a replica |
//! | `digest` | by which replicas are compared |
//! | `document` | a group's state that is one document |
//! | `replica` | which replicas this node has, and where they lie |
//! | `cleaner` | deleting what nothing refers to any more |
//! | `room` | what disk space it needs besides its files |
//! | `sizes` | about how many bytes slots have |
//! | `saving` | when the state goes to the disk, and how much of it is there |
//! | `statistics` | figures for INFO |

mod apply;
mod cleaner;
mod copying;
mod counts;
mod damage;
mod digest;
mod document;
mod engine;
mod layout;
mod lists;
mod log;
mod log_file;
mod meta;
mod open;
mod options;
mod parts;
mod read;
mod replica;
mod room;
mod saving;
mod sizes;
mod snapshot;
mod staged;
mod statistics;
mod strings;
#[cfg(test)]
pub(super) mod testing;
mod transfer;
mod wal;
mod walk;

pub use cleaner::Cleaning;
pub use engine::Engine;
pub(crate) use layout::key_hash;
pub use log::{Durability, LogWrite};
pub use meta::split_collections_above;
pub use open::{OpenError, Rocks};
pub use options::RocksOptions;
pub use read::{Part, PartName, PartRead};
pub use replica::{HOME_STORE, ReplicaRecord};
pub use room::Commitments;
pub use sizes::Sample;
pub use snapshot::EngineSnapshot;
pub use statistics::{Backlog, Statistics};
pub use transfer::StateImport;
pub use walk::DueKey;

use super::EngineError;
use crate::effect::wire::Malformed;

/// Names what was being done when RocksDB failed.
fn failed(action: &'static str) -> impl Fn(rocksdb::Error) -> EngineError {
    move |error| {
        let detail = error.to_string();
        match error.kind() {
            rocksdb::ErrorKind::Corruption => EngineError::Corrupt { what: format!("what {action} needs"), detail },
            _ if detail.contains("No space left on device") => EngineError::NoSpace { action, detail },
            _ => EngineError::Io { action, detail },
        }
    }
}

/// Names the record that cannot be understood.
fn corrupt(what: &'static str) -> impl Fn(Malformed) -> EngineError {
    move |detail| EngineError::Corrupt { what: what.to_owned(), detail: detail.to_string() }
}
