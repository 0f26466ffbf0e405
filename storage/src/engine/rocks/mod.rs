//! The database of a node on RocksDB. The only code that names the `rocksdb` crate.
//!
//! | file | owns |
//! |---|---|
//! | `open` | opening the one instance, refusing what must not be opened |
//! | `options` | how RocksDB is set up |
//! | `layout` | column families and the form of keys |
//! | `meta` | the record of one key |
//! | `log` | the raw log of a group |
//! | `engine` | the state of one group: its databases and counts in memory |
//! | `apply`, `staged`, `parts`, `lists`, `strings` | effects into one write |
//! | `read`, `walk`, `snapshot` | reading the state |
//! | `cleaner` | deleting what nothing refers to any more |
//! | `statistics` | figures for INFO |

#[expect(dead_code, reason = "the state of groups follows")]
mod layout;
mod log;
mod open;
mod options;
mod statistics;
#[cfg(test)]
pub(super) mod testing;

pub(crate) use layout::key_hash;
pub use log::{Durability, LogWrite};
pub use open::{OpenError, Rocks};
pub use options::RocksOptions;
pub use statistics::Statistics;

use super::EngineError;

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
