//! What passes from the source's leader to the target's: a header, batches, and at the end a word that all is applied.
//!
//! A piece is a kind and bytes. A batch that is longer than a chunk of a stream may be goes in several pieces.

use super::Hitch;
use super::arrival::Arrival;
use super::ground::{Ground, Incoming, Outgoing};
use basalt_cluster::group::Term;
use basalt_cluster::ids::{GroupId, MapVersion, MigrationId, NodeId};
use basalt_cluster::peer::limits::STREAM_CHUNK_BYTES_MAX;
use basalt_storage::effect::wire::{Malformed, Reader, put_varint};
use bytes::Bytes;
use std::time::Duration;

/// A part of a batch, to be followed by others.
const PART: u8 = b'p';
/// A batch, or its last part.
const BATCH: u8 = b'b';
/// All slots are empty again.
const EMPTY: u8 = b'e';

/// What the receiver says at the end.
const APPLIED: &[u8] = b"applied";

/// What is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub id: MigrationId,
    pub opening: Opening,
    /// The version of the map that began this copying, and the term of the source's leader: later ones replace earlier
    /// ones.
    pub attempt: Attempt,
    pub target: GroupId,
}

/// What is there already of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nothing: what there is of the slots has to go first.
    Anew,
    /// What this attempt has sent before, and was told to be applied.
    GoesOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    pub begun: MapVersion,
    pub term: Term,
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.id.as_bytes().to_vec();
        out.push(self.opening as u8);
        out.extend_from_slice(&self.target.0.to_be_bytes());
        put_varint(&mut out, self.attempt.begun.0);
        put_varint(&mut out, self.attempt.term.0);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Header, Malformed> {
        let mut reader = Reader::new(bytes);
        let id = MigrationId::new(reader.fixed()?);
        let opening = match reader.byte()? {
            0 => Opening::Anew,
            1 => Opening::GoesOn,
            _ => return Err(Malformed("an unknown kind of copy")),
        };
        let target = GroupId(u32::from_be_bytes(reader.fixed()?));
        let attempt = Attempt { begun: MapVersion(reader.varint()?), term: Term(reader.varint()?) };
        Ok(Header { id, opening, attempt, target })
    }
}

/// The way to the target's leader.
pub struct Way<'a, G: Ground> {
    ground: &'a G,
    to: NodeId,
    header: Header,
    kind: Kind<G>,
}

enum Kind<G: Ground> {
    Away(G::Outgoing),
    /// This node leads both groups.
    Here(Box<Arrival<G>>),
}

impl<'a, G: Ground> Way<'a, G> {
    /// Blocks until the target's leader has made room, if that is this node.
    pub fn open(ground: &'a G, to: NodeId, header: Header) -> Result<Way<'a, G>, Hitch> {
        let kind = match ground.me() == Some(to) {
            true => Kind::Here(Box::new(Arrival::begin(ground, header)?)),
            false => Kind::Away(ground.open_stream(to, &header.encode())?),
        };
        Ok(Way { ground, to, header, kind })
    }

    pub fn send_batch(&mut self, batch: Vec<u8>) -> Result<(), Hitch> {
        match &mut self.kind {
            Kind::Here(arrival) => arrival.add(batch),
            Kind::Away(sender) => {
                let mut pieces = batch.chunks(STREAM_CHUNK_BYTES_MAX - 1).peekable();
                while let Some(piece) = pieces.next() {
                    let kind = if pieces.peek().is_some() { PART } else { BATCH };
                    send(sender, kind, piece)?;
                }
                Ok(())
            }
        }
    }

    /// The slots were emptied.
    pub fn send_empty(&mut self) -> Result<(), Hitch> {
        match &mut self.kind {
            Kind::Here(arrival) => arrival.empty(),
            Kind::Away(sender) => send(sender, EMPTY, &[]),
        }
    }

    /// Waits until all that was sent is applied over there, to go on afterwards.
    pub fn sync(self) -> Result<Way<'a, G>, Hitch> {
        let Way { ground, to, header, kind } = self;
        let header = Header { opening: Opening::GoesOn, ..header };
        let kind = match kind {
            Kind::Here(mut arrival) => {
                arrival.sync()?;
                Kind::Here(arrival)
            }
            Kind::Away(sender) => {
                understood(&sender.finish()?)?;
                Kind::Away(ground.open_stream(to, &header.encode())?)
            }
        };
        Ok(Way { ground, to, header, kind })
    }

    /// Waits until all of it is applied over there, for so long at most.
    pub fn finish(self, patience: Duration) -> Result<(), Hitch> {
        match self.kind {
            Kind::Here(mut arrival) => arrival.sync(),
            Kind::Away(sender) => {
                let answer = sender.finish_within(patience)?;
                understood(&answer.ok_or_else(|| Hitch::new("the target is slow to take the last of it"))?)
            }
        }
    }
}

fn understood(answer: &[u8]) -> Result<(), Hitch> {
    if answer == APPLIED { Ok(()) } else { Err(Hitch::new("the target says something strange")) }
}

fn send(sender: &mut impl Outgoing, kind: u8, bytes: &[u8]) -> Result<(), Hitch> {
    let mut piece = Vec::with_capacity(1 + bytes.len());
    piece.push(kind);
    piece.extend_from_slice(bytes);
    sender.send(piece.into())
}

/// Takes in what another node sends. Blocks for as long as that takes.
pub fn take_in(ground: &impl Ground, header: &Bytes, mut stream: impl Incoming) {
    match receive(ground, header, &mut stream) {
        Ok(()) => stream.finish(APPLIED),
        Err(hitch) => {
            tracing::info!(%hitch, "slots are not taken in");
            stream.refuse(&hitch.to_string());
        }
    }
}

fn receive(ground: &impl Ground, header: &Bytes, stream: &mut impl Incoming) -> Result<(), Hitch> {
    let header = Header::decode(header).map_err(Hitch::new)?;
    let mut arrival = Arrival::begin(ground, header)?;
    let mut batch = Vec::new();
    while let Some(piece) = stream.next()? {
        match piece.split_first() {
            Some((&PART, part)) => batch.extend_from_slice(part),
            Some((&BATCH, part)) => {
                batch.extend_from_slice(part);
                arrival.add(std::mem::take(&mut batch))?;
            }
            Some((&EMPTY, _)) => arrival.empty()?,
            _ => return Err(Hitch::new("a piece of an unknown kind")),
        }
    }
    arrival.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_and_what_is_cut_off_is_none() {
        let attempt = Attempt { begun: MapVersion(300), term: Term(7) };
        let (id, opening) = (MigrationId::new([3; MigrationId::BYTES]), Opening::GoesOn);
        let header = Header { id, opening, attempt, target: GroupId(1 << 31) };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        assert!((0..bytes.len()).all(|end| Header::decode(&bytes[..end]).is_err()));
    }
}
