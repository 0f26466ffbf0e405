//! What is applied to some slots of a group, as it is applied: for whoever copies them elsewhere meanwhile.
//!
//! Bound: more than [`WAITING_BYTES_MAX`] does not wait. A tap that nobody empties in time is of no use any more, and
//! says so.

use basalt_cluster::group::{CommittedEntry, LogIndex};
use basalt_storage::effect::codec::{self, CodecError, Decoded};
use basalt_storage::effect::{Effect, decode, encode};
use basalt_storage::slot::{Slot, SlotSet};
use parking_lot::Mutex;
use std::collections::VecDeque;

const WAITING_BYTES_MAX: usize = 64 << 20;

pub struct Tap {
    slots: SlotSet,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<(LogIndex, Tapped)>,
    bytes: usize,
    has_overflowed: bool,
}

/// Something that was applied to the slots.
#[derive(Debug, PartialEq, Eq)]
pub enum Tapped {
    /// A batch as [`encode`] writes it.
    Batch(Vec<u8>),
    /// All of them were emptied.
    Flushed,
}

/// Too much has come since somebody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("writes come faster than they can be copied")]
pub struct Overflow;

impl Tap {
    pub fn new(slots: impl Iterator<Item = Slot>) -> Tap {
        Tap { slots: slots.collect(), waiting: Mutex::default() }
    }

    /// What was applied next, after the entry `after`.
    pub fn next(&self, after: LogIndex) -> Result<Option<Tapped>, Overflow> {
        let mut waiting = self.waiting.lock();
        if waiting.has_overflowed {
            return Err(Overflow);
        }
        while let Some((index, tapped)) = waiting.entries.pop_front() {
            waiting.bytes -= tapped.bytes();
            if index > after {
                return Ok(Some(tapped));
            }
        }
        Ok(None)
    }

    /// An entry was applied.
    pub fn note(&self, entry: &CommittedEntry) -> Result<(), CodecError> {
        for batch in entry.batches() {
            match self.concerned(batch)? {
                Concerned::None => {}
                Concerned::All => self.push(entry.index, Tapped::Batch(batch.to_vec())),
                Concerned::Some => self.note_parts(entry.index, decode(batch)?),
            }
        }
        Ok(())
    }

    fn concerned(&self, batch: &[u8]) -> Result<Concerned, CodecError> {
        let (mut ours, mut others) = (false, false);
        for effect in codec::effects(batch)? {
            let is_ours = match effect? {
                Decoded::PutString { key, .. } => self.is_of(key),
                Decoded::Other(Effect::Key { key, .. } | Effect::Rename { from: key, .. }) => self.is_of(&key),
                Decoded::Other(Effect::Flush { .. }) => return Ok(Concerned::Some),
                Decoded::Other(_) => false,
            };
            ours |= is_ours;
            others |= !is_ours;
        }
        Ok(match (ours, others) {
            (false, _) => Concerned::None,
            (true, false) => Concerned::All,
            (true, true) => Concerned::Some,
        })
    }

    fn is_of(&self, key: &[u8]) -> bool {
        self.slots.contains(Slot::of_key(key))
    }

    fn note_parts(&self, index: LogIndex, batch: Vec<Effect>) {
        let mut ours = Vec::new();
        for effect in batch {
            match &effect {
                Effect::Key { key, .. } | Effect::Rename { from: key, .. } if self.is_of(key) => ours.push(effect),
                Effect::Flush { .. } => {
                    ours.clear();
                    self.push(index, Tapped::Flushed);
                }
                _ => {}
            }
        }
        if !ours.is_empty() {
            let mut bytes = Vec::new();
            encode(&ours, &mut bytes);
            self.push(index, Tapped::Batch(bytes));
        }
    }

    fn push(&self, index: LogIndex, tapped: Tapped) {
        let mut waiting = self.waiting.lock();
        if waiting.has_overflowed {
            return;
        }
        waiting.bytes += tapped.bytes();
        waiting.entries.push_back((index, tapped));
        if waiting.bytes > WAITING_BYTES_MAX {
            *waiting = Waiting { has_overflowed: true, ..Waiting::default() };
        }
    }
}

/// Which of a batch's effects are of the slots.
enum Concerned {
    None,
    Some,
    All,
}

impl Tapped {
    fn bytes(&self) -> usize {
        match self {
            Tapped::Batch(bytes) => bytes.len(),
            Tapped::Flushed => 0,
        }
    }
}
