//! The state of a group as a stream of records, from one node's database into another's.
//!
//! What is sent is what lies on disk: all records of a state as of one log entry, without the number that they begin
//! with here, in chunks with a checksum. The receiver writes them under a number of its own, which nothing refers to
//! before it is complete; so a transfer that is cut off leaves only records to be deleted, see [`super::replica`].
//!
//! | chunk | number u32, records, CRC-64 of both |
//! |---|---|
//! | first chunk | between its number and its records: the layout of all records, u32 |
//! | record | family u8, key without the number it begins with, value; both with their length |
//! | last record | [`END`], how many records there were |

use super::engine::Engine;
use super::layout::{COUNTS, DUE, GARBAGE, KEYS, LAYOUT_VERSION, PARTS, group_property};
use super::open::Rocks;
use super::{corrupt, failed};
use crate::effect::wire::{Malformed, Reader, put_bytes, put_varint};
use crate::engine::{EngineError, GroupId, LogIndex};
use crate::rdb::crc64::crc64;
use rocksdb::WriteBatch;
use std::sync::Arc;

/// By their code in a record. The last one has the properties, the applied index among them.
const FAMILIES: [&str; 6] = [KEYS, PARTS, DUE, COUNTS, GARBAGE, "default"];
const PROPERTIES: usize = FAMILIES.len() - 1;

/// In the place of a family: there is nothing more.
const END: u8 = 0xff;

const CHECKSUM: usize = 8;
const GROUP: usize = 4;

impl Engine {
    /// Hands out the state as it is at this moment, in chunks of about `chunk_bytes`; a record that is larger has a
    /// chunk of its own. `begin` is told which log entry it is the state of, while whoever applies waits; what it
    /// returns goes to `sink` with each chunk.
    ///
    /// # Errors
    /// Those of reading, and what `sink` returns, which ends the transfer.
    pub fn export<T, E: From<EngineError>>(
        &self,
        chunk_bytes: usize,
        begin: impl FnOnce(LogIndex) -> T,
        mut sink: impl FnMut(&mut T, Vec<u8>) -> Result<(), E>,
    ) -> Result<T, E> {
        let (snapshot, mut context) = {
            let progress = self.progress.lock();
            (self.rocks.db.snapshot(), begin(progress.applied))
        };
        let mut chunks = Chunks { number: 0, bytes: Chunks::begin(0), records: 0 };
        chunks.bytes.extend_from_slice(&LAYOUT_VERSION.to_be_bytes());
        for (family, code) in FAMILIES.into_iter().zip(0..) {
            let prefix = prefix_in(usize::from(code), self.group);
            let mut records = self.rocks.prefix_iterator(family, &prefix, Some(&snapshot));
            records.seek_to_first();
            while let Some((key, value)) = records.item() {
                chunks.add(code, &key[prefix.len()..], value);
                if chunks.bytes.len() >= chunk_bytes {
                    sink(&mut context, chunks.take())?;
                }
                records.next();
            }
            records.status().map_err(failed("reading the state"))?;
        }
        chunks.bytes.push(END);
        put_varint(&mut chunks.bytes, chunks.records);
        sink(&mut context, chunks.take())?;
        Ok(context)
    }
}

/// The chunk that is being filled.
struct Chunks {
    number: u32,
    bytes: Vec<u8>,
    records: u64,
}

impl Chunks {
    fn begin(number: u32) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    fn add(&mut self, family: u8, key: &[u8], value: &[u8]) {
        self.bytes.push(family);
        put_bytes(&mut self.bytes, key);
        put_bytes(&mut self.bytes, value);
        self.records += 1;
    }

    fn take(&mut self) -> Vec<u8> {
        self.number += 1;
        let mut chunk = std::mem::replace(&mut self.bytes, Chunks::begin(self.number));
        let sum = crc64(0, &chunk);
        chunk.extend_from_slice(&sum.to_be_bytes());
        chunk
    }
}

/// A state on its way in.
pub struct StateImport {
    rocks: Arc<Rocks>,
    into: GroupId,
    next: u32,
    records: u64,
    is_complete: bool,
}

impl StateImport {
    /// Under `into` there must be nothing yet, see [`Rocks::new_store`].
    pub fn new(rocks: Arc<Rocks>, into: GroupId) -> StateImport {
        StateImport { rocks, into, next: 0, records: 0, is_complete: false }
    }

    /// Writes a chunk; they must come in order. [`Rocks::put_replica`] puts all of them on the disk.
    ///
    /// # Errors
    /// If the chunk is not the one that was sent, is of a layout that this code does not know, or cannot be written.
    /// The import is then of no use.
    pub fn add(&mut self, chunk: &[u8]) -> Result<(), EngineError> {
        let (body, sum) = chunk.split_last_chunk::<CHECKSUM>().ok_or_else(|| damaged("it is too short"))?;
        if u64::from_be_bytes(*sum) != crc64(0, body) {
            return Err(damaged("its checksum is wrong"));
        }
        let mut reader = Reader::new(body);
        let number = reader.fixed().map(u32::from_be_bytes).map_err(corrupt("a chunk of a transfer"))?;
        if number != self.next || self.is_complete {
            return Err(damaged("it is not the next one"));
        }
        if number == 0 {
            let found = reader.fixed().map(u32::from_be_bytes).map_err(corrupt("a chunk of a transfer"))?;
            if found != LAYOUT_VERSION {
                return Err(EngineError::ForeignLayout { found, known: LAYOUT_VERSION });
            }
        }
        self.next += 1;
        self.rocks.admit_state();
        let rocks = self.rocks.clone();
        let mut write = rocks.begin_state_write();
        self.take(reader, &mut write.batch).map_err(corrupt("a chunk of a transfer"))?;
        rocks.write_state(write, "writing a transfer")
    }

    /// Whether the last chunk was there.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    fn take(&mut self, mut reader: Reader<'_>, batch: &mut WriteBatch) -> Result<(), Malformed> {
        while !reader.is_empty() {
            let code = reader.byte()?;
            if code == END {
                self.is_complete = reader.varint()? == self.records && reader.is_empty();
                return if self.is_complete { Ok(()) } else { Err(Malformed("records are missing")) };
            }
            let family = FAMILIES.get(usize::from(code)).ok_or(Malformed("a family that does not exist"))?;
            let mut key = prefix_in(usize::from(code), self.into);
            key.extend_from_slice(reader.bytes()?);
            batch.put_cf(self.rocks.family(family), key, reader.bytes()?);
            self.records += 1;
        }
        Ok(())
    }
}

/// What the keys of a state begin with.
fn prefix_in(family: usize, group: GroupId) -> Vec<u8> {
    if family == PROPERTIES {
        return group_property(group, "");
    }
    let prefix: [u8; GROUP] = group.0.to_be_bytes();
    prefix.to_vec()
}

fn damaged(detail: &str) -> EngineError {
    EngineError::Corrupt { what: "a chunk of a transfer".to_owned(), detail: detail.to_owned() }
}
