//! What one log entry carries: the leader's clock and many batches.
//!
//! The form does not depend on the Raft library or on the disk: version, clock (ms), then each batch after its length.
//! The group never looks into a batch.

use basalt_storage::clock::UnixMs;
use bytes::Bytes;
use thiserror::Error;

use super::ids::{LogIndex, Seq};

/// The version of the form below. A binary that finds a higher one must not guess.
const FORMAT: u8 = 1;

const HEADER_BYTES: usize = 1 + 8;

const LENGTH_BYTES: usize = 4;

/// An entry that a majority holds, on its way to the state machine.
#[derive(Clone, Debug)]
pub struct CommittedEntry {
    pub index: LogIndex,
    /// The leader's clock when it was made, never less than that of an earlier entry. `None` for entries that carry
    /// nothing, with which a leader begins its term or changes the members.
    pub time: Option<UnixMs>,
    /// The last batch in it, if this process has proposed it.
    pub(super) seq: Option<Seq>,
    pub(super) payload: Bytes,
}

/// An entry that nobody of this form has written.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PayloadError {
    #[error("the format of the entry is {format}, this version knows {FORMAT}")]
    UnknownFormat { format: u8 },
    #[error("the entry is cut off")]
    CutOff,
}

/// The payload of an entry that is being put together, batch by batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Room for the header, then each batch after its length. Empty as long as there is none.
    bytes: Vec<u8>,
}

impl Payload {
    /// With room for about this many bytes.
    pub fn with_capacity(bytes: usize) -> Payload {
        Payload { bytes: Vec::with_capacity(HEADER_BYTES + bytes) }
    }

    pub fn push(&mut self, batch: &[u8]) {
        self.make_room(batch.len());
        let length = u32::try_from(batch.len()).expect("BATCH_BYTES_MAX is below 4 GiB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(batch);
    }

    /// Adds a batch of about so many bytes, which is written to where it belongs.
    pub fn push_with(&mut self, about: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.make_room(about);
        let start = self.bytes.len() + LENGTH_BYTES;
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        write(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - start).expect("BATCH_BYTES_MAX is below 4 GiB");
        self.bytes[start - LENGTH_BYTES..start].copy_from_slice(&length.to_be_bytes());
    }

    fn make_room(&mut self, batch_bytes: usize) {
        if self.bytes.is_empty() {
            self.bytes.reserve(HEADER_BYTES + LENGTH_BYTES + batch_bytes);
            self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What goes into the log.
    pub(super) fn seal(mut self, time: UnixMs) -> Vec<u8> {
        assert!(!self.is_empty(), "an entry is made for batches");
        self.bytes[0] = FORMAT;
        self.bytes[1..HEADER_BYTES].copy_from_slice(&time.0.to_be_bytes());
        self.bytes
    }
}

impl<'a> FromIterator<&'a [u8]> for Payload {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(batches: I) -> Payload {
        let mut payload = Payload::default();
        batches.into_iter().for_each(|batch| payload.push(batch));
        payload
    }
}

impl CommittedEntry {
    /// Checks the form once, so that reading the batches afterwards cannot fail.
    pub(super) fn new(index: LogIndex, payload: Bytes) -> Result<CommittedEntry, PayloadError> {
        let time = if payload.is_empty() { None } else { Some(time_of(&payload)?) };
        let entry = CommittedEntry { index, time, seq: None, payload };
        let carried: usize = entry.batches().map(|batch| LENGTH_BYTES + batch.len()).sum();
        let expected = if entry.payload.is_empty() { 0 } else { HEADER_BYTES + carried };
        if entry.payload.len() != expected { Err(PayloadError::CutOff) } else { Ok(entry) }
    }

    /// One of these batches, for tests of state machines; the last has this number if this process has proposed it.
    pub fn of(index: LogIndex, own: Option<Seq>, batches: &[Vec<u8>]) -> CommittedEntry {
        let payload = batches.iter().map(|batch| &batch[..]).collect::<Payload>();
        let payload = if payload.is_empty() { Bytes::new() } else { payload.seal(UnixMs(0)).into() };
        let entry = CommittedEntry::new(index, payload).expect("it was just made");
        CommittedEntry { seq: own, ..entry }
    }

    /// The batches, in the order in which they were proposed.
    pub fn batches(&self) -> Batches<'_> {
        Batches { left: self.payload.get(HEADER_BYTES..).unwrap_or_default() }
    }

    /// The last batch in it, if this process has proposed it and led until it was committed.
    pub fn own(&self) -> Option<Seq> {
        self.seq
    }

    pub fn payload_bytes(&self) -> usize {
        self.payload.len()
    }
}

/// The clock in a payload, if it has one. Payloads that are not sound have none.
pub(super) fn time(payload: &[u8]) -> Option<UnixMs> {
    time_of(payload).ok()
}

/// The clock in a payload that is not empty.
fn time_of(payload: &[u8]) -> Result<UnixMs, PayloadError> {
    let format = *payload.first().ok_or(PayloadError::CutOff)?;
    if format != FORMAT {
        return Err(PayloadError::UnknownFormat { format });
    }
    let time = payload[1..].first_chunk().ok_or(PayloadError::CutOff)?;
    Ok(UnixMs(i64::from_be_bytes(*time)))
}

/// The batches of an entry, in order. Ends early at a batch that is cut off.
#[derive(Clone)]
pub struct Batches<'a> {
    left: &'a [u8],
}

impl<'a> Iterator for Batches<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.left.split_first_chunk::<LENGTH_BYTES>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (batch, left) = rest.split_at_checked(length)?;
        self.left = left;
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_back_in_order() {
        let batches: [&[u8]; 3] = [b"one", b"", b"three"];
        let payload = batches.into_iter().collect::<Payload>().seal(UnixMs(-5));
        let entry = CommittedEntry::new(LogIndex(9), payload.into()).unwrap();
        assert_eq!(entry.time, Some(UnixMs(-5)));
        assert_eq!(entry.batches().collect::<Vec<_>>(), batches);
    }

    #[test]
    fn a_batch_may_be_written_to_where_it_belongs() {
        let (mut pushed, mut written) = (Payload::default(), Payload::default());
        for batch in [&b"one"[..], b"", b"three"] {
            pushed.push(batch);
            written.push_with(1, |bytes| bytes.extend_from_slice(batch));
        }
        assert_eq!(pushed, written);
    }

    #[test]
    fn an_entry_without_payload_carries_nothing() {
        let entry = CommittedEntry::new(LogIndex(9), Bytes::new()).unwrap();
        assert_eq!((entry.time, entry.batches().count()), (None, 0));
    }

    #[test]
    fn a_cut_entry_is_an_error_and_not_a_shorter_one() {
        let payload = [&b"one"[..], b"two"].into_iter().collect::<Payload>().seal(UnixMs(1));
        let ends = [HEADER_BYTES, HEADER_BYTES + LENGTH_BYTES + 3, payload.len()];
        for length in 1..=payload.len() {
            let cut = CommittedEntry::new(LogIndex(1), Bytes::copy_from_slice(&payload[..length]));
            assert_eq!(cut.is_ok(), ends.contains(&length), "cut at {length}");
        }
        let newer = [&[FORMAT + 1], &payload[1..]].concat();
        let error = CommittedEntry::new(LogIndex(1), newer.into()).unwrap_err();
        assert_eq!(error, PayloadError::UnknownFormat { format: FORMAT + 1 });
    }
}
