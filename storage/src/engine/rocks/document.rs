//! A group's state that is one document, written whole: for state machines that are small and hold no keys.

use super::layout::group_property;
use super::open::Rocks;
use super::{corrupt, failed};
use crate::effect::wire::Malformed;
use crate::engine::{Durability, EngineError, GroupId, LogIndex};

const DOCUMENT: &str = "document";
const INDEX: usize = 8;

impl Rocks {
    /// The document in a store and the log entry that it is the state of, if one was ever written.
    pub fn document(&self, store: GroupId) -> Result<Option<(LogIndex, Vec<u8>)>, EngineError> {
        let found = self.db.get(group_property(store, DOCUMENT)).map_err(failed("reading a document"))?;
        let Some(bytes) = found else { return Ok(None) };
        let cut_off = || corrupt("a document")(Malformed("it is cut off"));
        let (index, document) = bytes.split_first_chunk::<INDEX>().ok_or_else(cut_off)?;
        Ok(Some((LogIndex(u64::from_be_bytes(*index)), document.to_vec())))
    }

    /// Replaces the document, and the log entry that it is the state of, in one write. Not synced: its entry is in the
    /// log, which lies before it in the same write-ahead log. So does what says later that the log is cut.
    pub fn put_document(&self, store: GroupId, applied: LogIndex, document: &[u8]) -> Result<(), EngineError> {
        let (mut batch, number) = self.marked_batch(document.len());
        batch.put(group_property(store, DOCUMENT), [&applied.0.to_be_bytes(), document].concat());
        self.write_marked(batch, number, Durability::Written, "writing a document")
    }
}
