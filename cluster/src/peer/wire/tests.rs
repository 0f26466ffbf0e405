//! Laws of the wire: what is encoded is read again, and nothing that arrives is a panic.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::frame::{FRAME_BYTES_MAX, Frame, PIECE_BYTES, next_frame, put_frame};
use super::hello::{Hello, LANES};
use super::packet::*;
use super::pieces::{Assembler, Cutting, LONG_PACKETS_MAX, MESSAGE_BYTES_MAX};
use crate::group::{GroupId, ReplicaId};
use crate::ids::{ClusterId, Incarnation, NodeId};

/// One packet of every kind but pieces, with these bytes wherever bytes go.
pub(in crate::peer) fn samples(number: u64, body: &Bytes) -> Vec<Packet> {
    let (text, header, body) = (body.clone(), body.clone(), body.clone());
    let (stream, call) = (StreamNumber(number), CallNumber(number));
    vec![
        Packet::Hello(Hello {
            version: number as u16,
            oldest: 3,
            cluster: Some(number).filter(|id| *id != 0).map(ClusterId),
            node: NodeId::new([9; 20]),
            to: number.is_multiple_of(2).then_some(NodeId::new([8; 20])),
            incarnation: Incarnation(number),
            lane: LANES[number as usize % 3],
        }),
        Packet::Refusal { reason: number as u8, text: text.clone() },
        Packet::Begin { flow: number as u32, kind: Kind::Raft, total: number as u32 },
        Packet::Piece { flow: number as u32, body: body.clone() },
        Packet::Ping { number },
        Packet::Pong { number },
        Packet::Raft(RaftMessage {
            group: GroupId(number as u32),
            from: ReplicaId(1),
            to: ReplicaId(number),
            body: body.clone(),
        }),
        Packet::Heartbeat { body: body.clone() },
        Packet::Call { number: call, timeout_ms: number as u32, body: body.clone() },
        Packet::Answer { number: call, outcome: Outcome::Busy, body: body.clone() },
        Packet::StreamOpen { stream, header },
        Packet::StreamData { stream, body: body.clone() },
        Packet::StreamEnd { stream },
        Packet::StreamAbort { stream, text: text.clone() },
        Packet::StreamCredit { stream, bytes: number as u32 },
        Packet::StreamDone { stream, body },
        Packet::StreamRefuse { stream, text },
        Packet::Challenge { nonce: [number as u8; NONCE_BYTES] },
        Packet::Proof { code: [number as u8; PROOF_BYTES] },
    ]
}

/// The packets, each begun at once and then one piece of each in turn.
fn interleaved(packets: &[Packet]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut open: Vec<(Encoded, Option<Cutting>)> = Vec::new();
    for (flow, packet) in packets.iter().enumerate() {
        let encoded = packet.clone().encode();
        let cutting = encoded.is_long().then(|| encoded.begin(flow as u32, &mut out));
        open.push((encoded, cutting));
    }
    while !open.is_empty() {
        open.retain_mut(|(encoded, cutting)| match cutting {
            Some(cutting) => !encoded.put_piece(cutting, &mut out),
            None => {
                encoded.put(&mut out);
                false
            }
        });
    }
    out
}

fn received(stream: &[u8]) -> Vec<Packet> {
    let mut buffer = BytesMut::from(stream);
    let mut assembler = Assembler::default();
    let mut packets = Vec::new();
    while let Some(frame) = next_frame(&mut buffer).expect("sound frames") {
        packets.extend(assembler.take(frame).expect("sound packets"));
    }
    assert!(buffer.is_empty());
    packets
}

#[test]
fn there_is_a_sample_of_every_kind() {
    let kinds: Vec<Kind> = samples(1, &Bytes::new()).into_iter().map(|packet| packet.encode().kind).collect();
    assert_eq!(kinds, KINDS.iter().map(|spec| spec.kind).collect::<Vec<_>>());
}

#[test]
fn long_packets_arrive_whole_whatever_passes_between_their_pieces() {
    let body = |len: usize| Bytes::from((0..len).map(|at| (at * 7 + len) as u8).collect::<Vec<_>>());
    let lens = [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 5 * PIECE_BYTES + 17, 10];
    let packets: Vec<Packet> = lens
        .iter()
        .enumerate()
        .map(|(at, len)| Packet::Call { number: CallNumber(at as u64), timeout_ms: 5, body: body(*len) })
        .collect();
    let mut arrived = received(&interleaved(&packets));
    arrived.sort_by_key(|packet| match packet {
        Packet::Call { number, .. } => *number,
        other => panic!("{other:?}"),
    });
    assert_eq!(arrived, packets);
}

#[test]
fn an_assembler_keeps_to_its_bounds() {
    let begin = |flow, kind, total: usize| {
        let encoded = Packet::Begin { flow, kind, total: total as u32 }.encode();
        Frame { kind: Kind::Begin, body: Bytes::copy_from_slice(&encoded.head) }
    };
    let mut assembler = Assembler::default();
    for flow in 0..LONG_PACKETS_MAX as u32 {
        assert_eq!(assembler.take(begin(flow, Kind::Raft, MESSAGE_BYTES_MAX)), Ok(None));
    }
    assert!(assembler.take(begin(99, Kind::Raft, MESSAGE_BYTES_MAX)).is_err());
    let bad = [
        begin(1, Kind::Raft, MESSAGE_BYTES_MAX + 1),
        begin(1, Kind::Raft, PIECE_BYTES),
        begin(1, Kind::Piece, MESSAGE_BYTES_MAX),
        Frame { kind: Kind::Piece, body: Bytes::from_static(&[7, 0, 0, 0, 1]) },
    ];
    for frame in bad {
        assert!(Assembler::default().take(frame.clone()).is_err(), "{frame:?}");
    }
    let mut assembler = Assembler::default();
    assembler.take(begin(1, Kind::Raft, PIECE_BYTES + 1)).unwrap();
    assert!(assembler.take(begin(1, Kind::Raft, PIECE_BYTES + 1)).is_err(), "begun twice");
}

proptest! {
    #[test]
    fn packets_are_read_as_they_were_written(
        number in any::<u64>(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        for packet in samples(number, &body.into()) {
            let Encoded { kind, head, rest } = packet.clone().encode();
            let bytes = Bytes::from([&head[..], &rest[..]].concat());
            prop_assert_eq!(Packet::decode(kind, bytes), Ok(packet));
        }
    }

    #[test]
    fn bodies_of_garbage_are_never_a_panic(
        bodies in proptest::collection::vec((1u8..20, proptest::collection::vec(any::<u8>(), 0..80)), 1..20),
    ) {
        let mut assembler = Assembler::default();
        for (number, body) in bodies {
            let Some(kind) = Kind::from_number(number) else { continue };
            let _ = assembler.take(Frame { kind, body: body.into() });
        }
    }

    /// Frames with right checksums whose content somebody has changed.
    #[test]
    fn mutated_packets_are_never_a_panic(
        number in any::<u64>(),
        at in any::<usize>(),
        byte in any::<u8>(),
        cut in any::<usize>(),
    ) {
        let mut assembler = Assembler::default();
        for packet in samples(number, &Bytes::from_static(b"the body of a packet")) {
            let Encoded { kind, head, rest } = packet.encode();
            let mut bytes = [&head[..], &rest[..]].concat();
            let len = bytes.len();
            bytes[at % len] = byte;
            bytes.truncate(cut % (len + 1));
            let mut stream = Vec::new();
            put_frame(&mut stream, kind, &bytes, b"");
            prop_assert!(stream.len() <= FRAME_BYTES_MAX + 8);
            if let Ok(Some(frame)) = next_frame(&mut BytesMut::from(&stream[..])) {
                let _ = assembler.take(frame);
            }
        }
    }
}
