//! Cache mode: how a further replica of a group is filled.
//!
//! The leader copies the slots that its clients see, a few entries at a time, and what is evaluated in them meanwhile
//! ([`Followed`]). At the end it locks the keyspace for a moment, takes what is left, and proposes an entry that
//! changes nothing: when that is applied, everything in the copy is committed, and the copy is what the group has at
//! this entry. So its receiver needs nothing of the log before.
//!
//! A copy is of what clients see, and not of slots that arrive. While a migration brings some, no copy is made; nor is
//! one of any use if the group has got or lost slots since it was begun. Raft asks again then.
//!
//! The stream is one of records, cut into pieces without regard to them: a kind, a length, and that many bytes.

use super::contents::Contents;
use super::in_memory::Passages;
use super::memory::Memory;
use super::replicas::{DB, Replica, Replicas};
use crate::server::Server;
use basalt_cluster::group::state::LogState;
use basalt_cluster::group::{ApplyError, LogIndex, SnapshotSink};
use basalt_storage::effect::{Batch, Effect, Mark, Passage, bytes_about, decode, encode};
use basalt_storage::keyspace::follow::{Change, Followed, Lost};
use basalt_storage::keyspace::{Keyspace, with_rng};
use basalt_storage::seq::Seq;
use basalt_storage::slot::{Slot, StripeSet};
use std::sync::Arc;

/// Bytes of a batch of copied keys.
pub const BATCH_BYTES: usize = 64 << 10;
/// Bytes of a piece of the stream.
const PIECE_BYTES: usize = 128 << 10;

const BATCH: u8 = b'b';
const FLUSH: u8 = b'f';
/// The last record, with the group's marks. One without slots is of the newest seal that the group has seen.
const END: u8 = b'e';

const HEADER_BYTES: usize = 1 + 8;

type Send<'a> = &'a mut dyn FnMut(Vec<u8>) -> Result<(), ApplyError>;

/// Hands out slots as batches, each as [`encode`] writes it, with what has changed in those that were copied.
pub fn copy_slots<E: From<Lost>>(
    server: &Server,
    followed: &Followed,
    slots: impl Iterator<Item = Slot>,
    mut send: impl FnMut(Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let mut copied = Batch::new();
    let mut bytes = 0;
    for slot in slots {
        followed.copy(
            &server.keyspace,
            slot,
            || server.now(),
            |batch| {
                bytes += bytes_about(&batch);
                copied.extend(batch);
                if bytes < BATCH_BYTES {
                    return Ok(());
                }
                bytes = 0;
                send(written(&std::mem::take(&mut copied)))
            },
        )?;
    }
    if !copied.is_empty() {
        send(written(&copied))?;
    }
    followed.note_complete();
    Ok(())
}

pub fn written(batch: &Batch) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(batch, &mut bytes);
    bytes
}

fn refuse(why: &'static str) -> ApplyError {
    ApplyError(why.into())
}

/// What ends a copying.
struct Failed(ApplyError);

impl From<Lost> for Failed {
    fn from(lost: Lost) -> Failed {
        Failed(ApplyError(Box::new(lost)))
    }
}

/// Hands out all that a group has which this node leads: see [`basalt_cluster::group::StateMachine::export`].
pub fn export(
    server: &Server,
    replicas: &Replicas,
    replica: &Replica,
    begin: &mut dyn FnMut(LogIndex),
    send: Send<'_>,
) -> Result<(), ApplyError> {
    let (Contents::Memory(memory), Some(group)) = (replica.contents(), replica.group()) else {
        return Err(refuse("there is nothing in memory alone"));
    };
    memory.keep_log();
    if !replica.serves() {
        return Err(refuse("this node does not lead the group"));
    }
    if !memory.is_all_shown() {
        return Err(refuse("slots arrive"));
    }
    let shown = memory.shown();
    let following = memory.memory().follow(shown.clone());
    let followed = &following.followed;
    begin(memory.applied());
    let mut out = Outgoing { send, bytes: Vec::new() };
    copy_slots(server, followed, shown.iter(), |batch| out.put(BATCH, &batch).map_err(Failed))
        .map_err(|Failed(error)| error)?;
    let mut name = [0; Mark::NAME_BYTES];
    with_rng(|rng| name.fill_with(|| rng.below(256) as u8));
    let (rest, last) = {
        let _everything = server.keyspace.lock(StripeSet::ALL, server.now());
        if memory.shown() != shown {
            return Err(refuse("the group has got or lost slots"));
        }
        let mut rest = Vec::new();
        while let Some(change) = followed.next().map_err(|lost| ApplyError(Box::new(lost)))? {
            rest.push(change);
        }
        memory.await_cut(name);
        let nothing = written(&vec![Effect::Unmark { passage: Passage::Arriving, name }]);
        let about = nothing.len();
        // Unwritten, it is an entry by itself.
        let last = group.propose_unwritten(about, Box::new(move |bytes| bytes.extend_from_slice(&nothing)));
        group.announce();
        (rest, last.map_err(|_| refuse("the group does not run here any more"))?)
    };
    drop(following);
    for change in rest {
        match change {
            Change::Batch(batch) => out.put(BATCH, &written(&batch))?,
            Change::Flushed => out.put(FLUSH, &[])?,
        }
    }
    replicas.wait_replica(replica, Seq(last.0));
    let cut = memory.take_cut(name).ok_or_else(|| refuse("slots arrive, or another node leads by now"))?;
    out.put(END, &written(&as_marks(cut.passages)))?;
    out.flush()?;
    begin(cut.index);
    Ok(())
}

fn as_marks(passages: Passages) -> Batch {
    let Passages { marks, sealed_version } = passages;
    let name = [0; Mark::NAME_BYTES];
    let newest = Mark { passage: Passage::Sealed, name, version: sealed_version, slots: Vec::new() };
    marks.into_iter().chain([newest]).map(Effect::Mark).collect()
}

fn of_marks(batch: Batch) -> Result<Passages, ApplyError> {
    let mut passages = Passages::default();
    for effect in batch {
        match effect {
            Effect::Mark(mark) if mark.slots.is_empty() => passages.sealed_version = mark.version,
            Effect::Mark(mark) => passages.marks.push(mark),
            _ => return Err(refuse("a copy that ends with something else than marks")),
        }
    }
    Ok(passages)
}

/// Records on their way out.
struct Outgoing<'a> {
    send: Send<'a>,
    bytes: Vec<u8>,
}

impl Outgoing<'_> {
    fn put(&mut self, kind: u8, body: &[u8]) -> Result<(), ApplyError> {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&(body.len() as u64).to_be_bytes());
        self.bytes.extend_from_slice(body);
        if self.bytes.len() < PIECE_BYTES {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.bytes);
        let mut pieces = bytes.chunks_exact(PIECE_BYTES);
        pieces.by_ref().try_for_each(|piece| (self.send)(piece.to_vec()))?;
        self.bytes = pieces.remainder().to_vec();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ApplyError> {
        match self.bytes.is_empty() {
            true => Ok(()),
            false => (self.send)(std::mem::take(&mut self.bytes)),
        }
    }
}

/// Records on their way in.
#[derive(Default)]
struct Incoming {
    /// Of a record that is not whole yet.
    bytes: Vec<u8>,
}

impl Incoming {
    fn add(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(u8, &[u8]) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        self.bytes.extend_from_slice(piece);
        let mut taken = 0;
        while let Some((&[kind, ref length @ ..], rest)) = self.bytes[taken..].split_first_chunk::<HEADER_BYTES>() {
            let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| refuse("a record without end"))?;
            let Some(body) = rest.get(..length) else { break };
            take(kind, body)?;
            taken += HEADER_BYTES + length;
        }
        self.bytes.drain(..taken);
        Ok(())
    }
}

/// What a leader has handed out, as it is being received.
pub struct Import {
    replica: Arc<Replica>,
    memory: Arc<Memory>,
    copy: Keyspace,
    incoming: Incoming,
    /// Once all is here.
    passages: Option<Passages>,
    header: Option<Vec<u8>>,
}

impl Import {
    pub fn new(replica: Arc<Replica>) -> Result<Import, ApplyError> {
        let Some(memory) = replica.contents().in_memory() else {
            return Err(refuse("there is nothing in memory alone"));
        };
        let memory = memory.memory().clone();
        let copy = memory.beside();
        Ok(Import { replica, memory, copy, incoming: Incoming::default(), passages: None, header: None })
    }

    fn take(&mut self, kind: u8, body: &[u8]) -> Result<(), ApplyError> {
        let batch = || decode(body).map_err(|error| ApplyError(Box::new(error)));
        match kind {
            BATCH => self.copy.apply(batch()?, self.memory.now()),
            FLUSH => self.copy.apply(vec![Effect::Flush { db: DB }], self.memory.now()),
            END => {
                self.passages = Some(of_marks(batch()?)?);
            }
            _ => return Err(refuse("a record of an unknown kind")),
        }
        Ok(())
    }
}

impl SnapshotSink for Import {
    fn add(&mut self, chunk: &[u8]) -> Result<(), ApplyError> {
        if self.passages.is_some() {
            self.header = Some(chunk.to_vec());
            return Ok(());
        }
        let mut incoming = std::mem::take(&mut self.incoming);
        incoming.add(chunk, |kind, body| self.take(kind, body))?;
        self.incoming = incoming;
        Ok(())
    }

    fn complete(&mut self) -> Result<(), ApplyError> {
        match self.passages.is_some() && self.incoming.bytes.is_empty() {
            true => Ok(()),
            false => Err(refuse("a copy that is cut off")),
        }
    }

    fn last_header(&mut self) -> Option<Vec<u8>> {
        self.header.take()
    }

    fn install(self: Box<Self>, state: &LogState) -> Result<(), ApplyError> {
        let Some(memory) = self.replica.contents().in_memory() else {
            return Err(refuse("there is nothing in memory alone"));
        };
        memory.install(self.copy, self.passages.unwrap_or_default(), state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_storage::rng::Rng;

    #[test]
    fn records_come_back_however_the_stream_is_cut() {
        let mut rng = Rng::seeded(3);
        for _ in 0..20 {
            let mut pieces: Vec<Vec<u8>> = Vec::new();
            let mut send = |piece: Vec<u8>| {
                assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES);
                pieces.push(piece);
                Ok(())
            };
            let mut out = Outgoing { send: &mut send, bytes: Vec::new() };
            let mut sent = Vec::new();
            for _ in 0..rng.below(30) {
                let length = if rng.below(4) == 0 { rng.below(700_000) } else { rng.below(300) };
                let body = vec![rng.below(256) as u8; length as usize];
                out.put(BATCH, &body).unwrap();
                sent.push(body);
            }
            out.put(END, &[]).unwrap();
            out.flush().unwrap();
            let (mut incoming, mut received) = (Incoming::default(), Vec::new());
            for piece in &pieces {
                let mut note = |kind, body: &[u8]| {
                    assert_eq!(kind == END, received.len() == sent.len());
                    received.push(body.to_vec());
                    Ok(())
                };
                incoming.add(piece, &mut note).unwrap();
            }
            sent.push(Vec::new());
            assert!(received == sent && incoming.bytes.is_empty());
        }
    }

    #[test]
    fn what_a_group_remembers_of_passages_goes_along() {
        let slots = vec![(Slot::of_key(b"a"), Slot::of_key(b"a"))];
        let arriving = Mark { passage: Passage::Arriving, name: [3; Mark::NAME_BYTES], version: 9, slots };
        let passages = Passages { marks: vec![arriving], sealed_version: 7 };
        assert_eq!(of_marks(decode(&written(&as_marks(passages.clone()))).unwrap()).unwrap(), passages);
        assert!(of_marks(vec![Effect::Flush { db: DB }]).is_err());
    }

    #[test]
    fn a_record_that_is_not_whole_is_not_taken() {
        let mut incoming = Incoming::default();
        let record = [&[BATCH][..], &5u64.to_be_bytes(), b"four"].concat();
        incoming.add(&record, |_, _| panic!("it is not whole")).unwrap();
        let mut taken = Vec::new();
        incoming
            .add(b"5", |kind, body| {
                taken.push((kind, body.to_vec()));
                Ok(())
            })
            .unwrap();
        assert_eq!(taken, [(BATCH, b"four5".to_vec())]);
    }
}
