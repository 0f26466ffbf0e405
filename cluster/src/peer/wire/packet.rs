//! Packets: what nodes say to each other, one variant for each kind of frame.
//!
//! [`KINDS`] is the list of them with their fields; the protocol's document is made from it (see the tests), and a
//! test holds the encoding to it. A body has fields of fixed size and, in most kinds, bytes up to its end. What is
//! longer than a piece travels as [`Packet::Begin`] and [`Packet::Piece`]s, see [`super::pieces`].

use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use thiserror::Error;

use super::hello::Hello;
use crate::group::{GroupId, ReplicaId};

/// The number of a call, chosen by the caller, unique for its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallNumber(pub u64);

/// The number of a stream, chosen by the sender, unique for its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamNumber(pub u64);

/// Bytes of a nonce, and of the proof that is made of two of them.
pub const NONCE_BYTES: usize = 32;
pub const PROOF_BYTES: usize = 32;

/// A message between two replicas of a group. What is in it is the groups' business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftMessage {
    pub group: GroupId,
    pub from: ReplicaId,
    pub to: ReplicaId,
    pub body: Bytes,
}

/// How a call ended on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The body is the answer.
    Answered = 0,
    /// It was not done; the body says why.
    Refused = 1,
    /// It was not begun: too much waits there.
    Busy = 2,
    /// It was begun and given up; nobody knows what became of it.
    Unknown = 3,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    Hello(Hello),
    Refusal { reason: u8, text: Bytes },
    Begin { flow: u32, kind: Kind, total: u32 },
    Piece { flow: u32, body: Bytes },
    Ping { number: u64 },
    Pong { number: u64 },
    Raft(RaftMessage),
    Heartbeat { body: Bytes },
    Call { number: CallNumber, timeout_ms: u32, body: Bytes },
    Answer { number: CallNumber, outcome: Outcome, body: Bytes },
    StreamOpen { stream: StreamNumber, header: Bytes },
    StreamData { stream: StreamNumber, body: Bytes },
    StreamEnd { stream: StreamNumber },
    StreamAbort { stream: StreamNumber, text: Bytes },
    StreamCredit { stream: StreamNumber, bytes: u32 },
    StreamDone { stream: StreamNumber, body: Bytes },
    StreamRefuse { stream: StreamNumber, text: Bytes },
    Challenge { nonce: [u8; NONCE_BYTES] },
    Proof { code: [u8; PROOF_BYTES] },
}

/// What a frame's body is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a packet is malformed: {0}")]
pub struct Malformed(pub &'static str);

/// A packet as bytes: the fields, and what follows them, which is not copied.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub kind: Kind,
    pub head: Head,
    pub rest: Bytes,
}

/// Encoded fields. Few packets have more than three.
pub type Head = SmallVec<[u8; 32]>;

/// One kind of frame, for the document.
pub struct KindSpec {
    pub kind: Kind,
    pub name: &'static str,
    /// Names, types (`u8`, `u32`, `u64`, `id`, `hash` or, last, `bytes`) and meanings.
    pub fields: &'static [(&'static str, &'static str, &'static str)],
    pub says: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $number:literal, $says:literal, [$(($field:literal, $type:literal, $means:literal)),*];)*) => {
        /// The byte that begins a frame's content. Numbers are never used again for something else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind { $($name = $number),* }

        impl Kind {
            pub fn from_number(number: u8) -> Option<Kind> {
                match number { $($number => Some(Kind::$name),)* _ => None }
            }
        }

        /// All kinds, in the order of their numbers.
        pub const KINDS: &[KindSpec] = &[$(KindSpec {
            kind: Kind::$name,
            name: stringify!($name),
            fields: &[$(($field, $type, $means)),*],
            says: $says,
        }),*];
    };
}

kinds! {
    Hello = 1, "Who I am and what I want. Follows the magic; the first frame of both sides.", [
        ("version", "u16", "the newest version of this protocol that I speak"),
        ("oldest", "u16", "the oldest that I speak"),
        ("cluster", "u64", "my cluster's id; 0: I have none yet, or want to talk to whatever you belong to"),
        ("node", "id", "my node id"),
        ("to", "id", "whom I expect; zeros: whoever listens here"),
        ("incarnation", "u64", "counts my starts"),
        ("lane", "u8", "what I shall send: 0 control, 1 append, 2 bulk")
    ];
    Refusal = 2, "Instead of the acceptor's hello, before it closes.", [
        ("reason", "u8", "see below"), ("text", "bytes", "for the log of the other side")
    ];
    Begin = 3, "A packet longer than a piece begins. Its pieces follow, those of others may come between them.", [
        ("flow", "u32", "names it among those that are under way on this connection"),
        ("kind", "u8", "the kind that it has when it is whole"),
        ("total", "u32", "how many bytes its body has")
    ];
    Piece = 4, "The next bytes of a long packet. It is whole when it has as many as were announced.", [
        ("flow", "u32", "of which"), ("body", "bytes", "the bytes, at most 65536")
    ];
    Ping = 5, "Are you there? Sent by the dialer once in a while.", [("number", "u64", "any")];
    Pong = 6, "Yes. Sent before all else that waits.", [("number", "u64", "the ping's")];
    Raft = 7, "A message between replicas of a group. Delivered in order for each group and lane, or not at all.", [
        ("group", "u32", "the group"), ("from", "u64", "the sender's replica id"),
        ("to", "u64", "the receiver's replica id"), ("body", "bytes", "what raft-rs has made")
    ];
    Heartbeat = 8, "What a node reports about itself and its groups.", [("body", "bytes", "the report")];
    Call = 9, "A question that has one answer.", [
        ("number", "u64", "names it in the answer"), ("timeout_ms", "u32", "how long the caller waits"),
        ("body", "bytes", "the question")
    ];
    Answer = 10, "The answer to a call, from the side that was dialled.", [
        ("number", "u64", "the call's"),
        ("outcome", "u8", "0 answered; 1 refused: not done; 2 busy: not begun; 3 unknown: begun and given up"),
        ("body", "bytes", "the answer, or why there is none")
    ];
    StreamOpen = 11, "A stream of bulk data begins. One window (1048576) may be sent before the first credit.", [
        ("stream", "u64", "names it"), ("header", "bytes", "what it is for")
    ];
    StreamData = 12, "A chunk. It costs its length and 64 of the credit.", [
        ("stream", "u64", "of which"), ("body", "bytes", "the chunk, at most 262144")
    ];
    StreamEnd = 13, "There is no more.", [("stream", "u64", "of which")];
    StreamAbort = 14, "There will be no more, and what came is worth nothing.", [
        ("stream", "u64", "of which"), ("text", "bytes", "why")
    ];
    StreamCredit = 15, "The receiver has consumed something: so much more may be sent.", [
        ("stream", "u64", "of which"), ("bytes", "u32", "how much more")
    ];
    StreamDone = 16, "The receiver has done what was to be done with a stream that has ended.", [
        ("stream", "u64", "which"), ("body", "bytes", "its answer")
    ];
    StreamRefuse = 17, "The receiver does not want the stream, or no more of it.", [
        ("stream", "u64", "which"), ("text", "bytes", "why")
    ];
    Challenge = 18, "Prove to me that you know our secret. Only with a secret: after the dialer's hello, and before \
        the acceptor's.", [
        ("nonce", "hash", "drawn for this connection")
    ];
    Proof = 19, "I know our secret. First the acceptor's, then the dialer's, then the acceptor's hello.", [
        ("code", "hash", "HMAC-SHA-256, see below")
    ];
}

impl Packet {
    pub fn encode(self) -> Encoded {
        let mut head = Head::new();
        let mut put = |bytes: &[u8]| head.extend_from_slice(bytes);
        let (kind, rest) = match self {
            Packet::Hello(hello) => {
                hello.put(&mut put);
                (Kind::Hello, Bytes::new())
            }
            Packet::Refusal { reason, text } => {
                put(&[reason]);
                (Kind::Refusal, text)
            }
            Packet::Begin { flow, kind, total } => {
                put(&flow.to_le_bytes());
                put(&[kind as u8]);
                put(&total.to_le_bytes());
                (Kind::Begin, Bytes::new())
            }
            Packet::Piece { flow, body } => {
                put(&flow.to_le_bytes());
                (Kind::Piece, body)
            }
            Packet::Ping { number } => {
                put(&number.to_le_bytes());
                (Kind::Ping, Bytes::new())
            }
            Packet::Pong { number } => {
                put(&number.to_le_bytes());
                (Kind::Pong, Bytes::new())
            }
            Packet::Raft(RaftMessage { group, from, to, body }) => {
                put(&group.0.to_le_bytes());
                put(&from.0.to_le_bytes());
                put(&to.0.to_le_bytes());
                (Kind::Raft, body)
            }
            Packet::Heartbeat { body } => (Kind::Heartbeat, body),
            Packet::Call { number, timeout_ms, body } => {
                put(&number.0.to_le_bytes());
                put(&timeout_ms.to_le_bytes());
                (Kind::Call, body)
            }
            Packet::Answer { number, outcome, body } => {
                put(&number.0.to_le_bytes());
                put(&[outcome as u8]);
                (Kind::Answer, body)
            }
            Packet::StreamCredit { stream, bytes } => {
                put(&stream.0.to_le_bytes());
                put(&bytes.to_le_bytes());
                (Kind::StreamCredit, Bytes::new())
            }
            Packet::Challenge { nonce } => {
                put(&nonce);
                (Kind::Challenge, Bytes::new())
            }
            Packet::Proof { code } => {
                put(&code);
                (Kind::Proof, Bytes::new())
            }
            Packet::StreamOpen { stream, header } => (of_stream(&mut put, stream, Kind::StreamOpen), header),
            Packet::StreamData { stream, body } => (of_stream(&mut put, stream, Kind::StreamData), body),
            Packet::StreamEnd { stream } => (of_stream(&mut put, stream, Kind::StreamEnd), Bytes::new()),
            Packet::StreamAbort { stream, text } => (of_stream(&mut put, stream, Kind::StreamAbort), text),
            Packet::StreamDone { stream, body } => (of_stream(&mut put, stream, Kind::StreamDone), body),
            Packet::StreamRefuse { stream, text } => (of_stream(&mut put, stream, Kind::StreamRefuse), text),
        };
        Encoded { kind, head, rest }
    }

    /// Reads what [`Packet::encode`] made. The bytes at the end are shared, not copied.
    pub fn decode(kind: Kind, mut body: Bytes) -> Result<Packet, Malformed> {
        let from = &mut body;
        let packet = match kind {
            // Later versions may add fields; which version is spoken is decided by the first two.
            Kind::Hello => return Hello::take(from).map(Packet::Hello),
            Kind::Refusal => Packet::Refusal { reason: take_u8(from)?, text: take_rest(from) },
            Kind::Begin => Packet::Begin { flow: take_u32(from)?, kind: take_kind(from)?, total: take_u32(from)? },
            Kind::Piece => Packet::Piece { flow: take_u32(from)?, body: take_rest(from) },
            Kind::Ping => Packet::Ping { number: take_u64(from)? },
            Kind::Pong => Packet::Pong { number: take_u64(from)? },
            Kind::Raft => Packet::Raft(RaftMessage {
                group: GroupId(take_u32(from)?),
                from: ReplicaId(take_u64(from)?),
                to: ReplicaId(take_u64(from)?),
                body: take_rest(from),
            }),
            Kind::Heartbeat => Packet::Heartbeat { body: take_rest(from) },
            Kind::Call => {
                Packet::Call { number: CallNumber(take_u64(from)?), timeout_ms: take_u32(from)?, body: take_rest(from) }
            }
            Kind::Answer => Packet::Answer {
                number: CallNumber(take_u64(from)?),
                outcome: take_outcome(from)?,
                body: take_rest(from),
            },
            Kind::StreamOpen => Packet::StreamOpen { stream: take_stream(from)?, header: take_rest(from) },
            Kind::StreamData => Packet::StreamData { stream: take_stream(from)?, body: take_rest(from) },
            Kind::StreamEnd => Packet::StreamEnd { stream: take_stream(from)? },
            Kind::StreamAbort => Packet::StreamAbort { stream: take_stream(from)?, text: take_rest(from) },
            Kind::StreamCredit => Packet::StreamCredit { stream: take_stream(from)?, bytes: take_u32(from)? },
            Kind::StreamDone => Packet::StreamDone { stream: take_stream(from)?, body: take_rest(from) },
            Kind::StreamRefuse => Packet::StreamRefuse { stream: take_stream(from)?, text: take_rest(from) },
            Kind::Challenge => Packet::Challenge { nonce: take(from)? },
            Kind::Proof => Packet::Proof { code: take(from)? },
        };
        if body.is_empty() { Ok(packet) } else { Err(Malformed("something follows its last field")) }
    }
}

fn of_stream(put: &mut impl FnMut(&[u8]), stream: StreamNumber, kind: Kind) -> Kind {
    put(&stream.0.to_le_bytes());
    kind
}

const SHORT: Malformed = Malformed("it ends within a field");

pub(super) fn take<const N: usize>(from: &mut Bytes) -> Result<[u8; N], Malformed> {
    let bytes = *from.first_chunk::<N>().ok_or(SHORT)?;
    from.advance(N);
    Ok(bytes)
}

pub(super) fn take_u8(from: &mut Bytes) -> Result<u8, Malformed> {
    take(from).map(u8::from_le_bytes)
}

pub(super) fn take_u16(from: &mut Bytes) -> Result<u16, Malformed> {
    take(from).map(u16::from_le_bytes)
}

fn take_u32(from: &mut Bytes) -> Result<u32, Malformed> {
    take(from).map(u32::from_le_bytes)
}

pub(super) fn take_u64(from: &mut Bytes) -> Result<u64, Malformed> {
    take(from).map(u64::from_le_bytes)
}

fn take_rest(from: &mut Bytes) -> Bytes {
    std::mem::take(from)
}

fn take_kind(from: &mut Bytes) -> Result<Kind, Malformed> {
    Kind::from_number(take_u8(from)?).ok_or(Malformed("it announces an unknown kind"))
}

fn take_stream(from: &mut Bytes) -> Result<StreamNumber, Malformed> {
    take_u64(from).map(StreamNumber)
}

fn take_outcome(from: &mut Bytes) -> Result<Outcome, Malformed> {
    match take_u8(from)? {
        0 => Ok(Outcome::Answered),
        1 => Ok(Outcome::Refused),
        2 => Ok(Outcome::Busy),
        3 => Ok(Outcome::Unknown),
        _ => Err(Malformed("an outcome that there is not")),
    }
}
