//! What waits for a connection: filled by any thread, emptied by the connection's task.
//!
//! Two classes. *Urgent* packets (heartbeats, votes, pongs, credits) go before all others, in order. The others
//! belong to *flows* (a group, a call, a stream): in order within each, and one packet or one piece of each flow in
//! turn, so that nothing waits for more than a piece of everything else.
//!
//! Invariants: `bytes` is what the waiting packets take; a packet leaves this count when its last byte is handed out.
//! At most [`LONG_PACKETS_MAX`] packets are cut at once, which is what the receiver allows.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::limits::MESSAGE_OVERHEAD;
use super::wire::packet::{CallNumber, Encoded, Packet, StreamNumber};
use super::wire::pieces::{Cutting, LONG_PACKETS_MAX};
use crate::group::GroupId;

/// Packets of one flow stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    Urgent,
    Group(GroupId),
    Call(CallNumber),
    Stream(StreamNumber),
}

/// Too much waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
pub struct Outbox {
    bytes_max: usize,
    inner: Mutex<Inner>,
    bell: Notify,
    overflow: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting_by_flow: HashMap<Flow, Waiting>,
    /// The flows with something to send, without the urgent one: the first is next.
    turns: VecDeque<Flow>,
    /// Packets of which some pieces are sent and some not.
    cut: usize,
    /// Numbers the long packets of a connection.
    next_cut: u32,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<Encoded>,
    /// How far the first is sent, if it is long and has begun.
    cutting: Option<Cutting>,
}

impl Outbox {
    pub fn new(bytes_max: usize) -> Outbox {
        Outbox { bytes_max, inner: Mutex::default(), bell: Notify::new(), overflow: Notify::new() }
    }

    /// Puts a packet at the end of its flow, unless too much waits. One that is larger than the bound passes alone.
    pub fn push(&self, flow: Flow, packet: Packet) -> Result<(), Full> {
        let encoded = packet.encode();
        let mut inner = self.inner.lock();
        if inner.bytes != 0 && inner.bytes + size(&encoded) > self.bytes_max {
            return Err(Full);
        }
        inner.push(flow, encoded);
        drop(inner);
        self.bell.notify_one();
        Ok(())
    }

    /// The same for what something else bounds: credit, or the number of questions.
    pub fn push_bounded(&self, flow: Flow, packet: Packet) {
        self.inner.lock().push(flow, packet.encode());
        self.bell.notify_one();
    }

    /// Moves frames into the buffer until it holds about `len` bytes, or nothing waits.
    pub fn fill(&self, buffer: &mut Vec<u8>, len: usize) {
        let mut inner = self.inner.lock();
        while buffer.len() < len && inner.put_next(buffer) {}
    }

    /// Waits until there may be something to send.
    pub async fn filled(&self) {
        self.bell.notified().await;
    }

    /// Something is lost that must not be lost in silence: the connection has to end.
    pub fn overflow(&self) {
        self.overflow.notify_one();
    }

    /// Waits until that has been said.
    pub async fn overflowed(&self) {
        self.overflow.notified().await;
    }

    pub fn is_empty(&self) -> bool {
        self.inner.lock().bytes == 0
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Forgets everything, and says which calls had not been sent as a whole.
    pub fn clear(&self) -> Vec<CallNumber> {
        let former = std::mem::take(&mut *self.inner.lock());
        let calls = former.waiting_by_flow.into_keys().filter_map(|flow| match flow {
            Flow::Call(number) => Some(number),
            _ => None,
        });
        calls.collect()
    }
}

impl Inner {
    fn push(&mut self, flow: Flow, encoded: Encoded) {
        self.bytes += size(&encoded);
        let waiting = self.waiting_by_flow.entry(flow).or_default();
        if waiting.packets.is_empty() && flow != Flow::Urgent {
            self.turns.push_back(flow);
        }
        waiting.packets.push_back(encoded);
    }

    /// Hands out one frame, or a beginning and its first piece.
    fn put_next(&mut self, buffer: &mut Vec<u8>) -> bool {
        if self.waiting_by_flow.contains_key(&Flow::Urgent) && self.put(Flow::Urgent, buffer) {
            return true;
        }
        for _ in 0..self.turns.len() {
            let Some(flow) = self.turns.pop_front() else { break };
            let has_put = self.put(flow, buffer);
            if self.waiting_by_flow.contains_key(&flow) {
                self.turns.push_back(flow);
            }
            if has_put {
                return true;
            }
        }
        false
    }

    /// The next frame of this flow, which has something to send; nothing if it would begin one long packet too many.
    fn put(&mut self, flow: Flow, buffer: &mut Vec<u8>) -> bool {
        let Some(waiting) = self.waiting_by_flow.get_mut(&flow) else { return false };
        let Some(first) = waiting.packets.front() else { return false };
        if first.is_long() {
            // One place is the urgent flow's, which must not wait for others.
            let cut_max = if flow == Flow::Urgent { LONG_PACKETS_MAX } else { LONG_PACKETS_MAX - 1 };
            if waiting.cutting.is_none() && self.cut >= cut_max {
                return false;
            }
            let cutting = waiting.cutting.get_or_insert_with(|| {
                self.cut += 1;
                self.next_cut = self.next_cut.wrapping_add(1);
                first.begin(self.next_cut, buffer)
            });
            if !first.put_piece(cutting, buffer) {
                return true;
            }
            self.cut -= 1;
            waiting.cutting = None;
        } else {
            first.put(buffer);
        }
        self.bytes -= size(first);
        waiting.packets.pop_front();
        if waiting.packets.is_empty() {
            self.waiting_by_flow.remove(&flow);
        }
        true
    }
}

fn size(encoded: &Encoded) -> usize {
    MESSAGE_OVERHEAD + encoded.body_len()
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::super::wire::frame::{PIECE_BYTES, next_frame};
    use super::super::wire::packet::Kind;
    use super::super::wire::pieces::Assembler;
    use super::*;

    fn call(number: u64, len: usize) -> (Flow, Packet) {
        let number = CallNumber(number);
        (Flow::Call(number), Packet::Call { number, timeout_ms: 0, body: Bytes::from(vec![7; len]) })
    }

    fn push(outbox: &Outbox, (flow, packet): (Flow, Packet)) -> Result<(), Full> {
        outbox.push(flow, packet)
    }

    /// Kinds of the frames in the order in which they are sent, and the packets in the order in which they are whole.
    fn sent(outbox: &Outbox) -> (Vec<Kind>, Vec<Packet>) {
        let (mut kinds, mut packets) = (Vec::new(), Vec::new());
        let mut assembler = Assembler::default();
        let mut bytes = Vec::new();
        outbox.fill(&mut bytes, usize::MAX);
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Some(frame) = next_frame(&mut buffer).unwrap() {
            kinds.push(frame.kind);
            packets.extend(assembler.take(frame).unwrap());
        }
        (kinds, packets)
    }

    #[test]
    fn what_is_urgent_passes_pieces_of_what_is_long() {
        let outbox = Outbox::new(usize::MAX);
        push(&outbox, call(1, 3 * PIECE_BYTES)).unwrap();
        let mut buffer = Vec::new();
        outbox.fill(&mut buffer, 1);
        assert!(buffer.len() < 2 * PIECE_BYTES);
        outbox.push_bounded(Flow::Urgent, Packet::Pong { number: 1 });
        assert_eq!(sent(&Outbox::new(1)).0, []);
        let mut rest = Vec::new();
        outbox.fill(&mut rest, 1);
        assert_eq!(next_frame(&mut BytesMut::from(&rest[..])).unwrap().unwrap().kind, Kind::Pong);
    }

    #[test]
    fn flows_take_turns_and_stay_in_order() {
        let outbox = Outbox::new(usize::MAX);
        push(&outbox, call(1, 4 * PIECE_BYTES)).unwrap();
        push(&outbox, call(2, 2 * PIECE_BYTES)).unwrap();
        push(&outbox, call(3, 10)).unwrap();
        let (kinds, packets) = sent(&outbox);
        use Kind::{Begin, Call, Piece};
        assert_eq!(kinds, [Begin, Piece, Begin, Piece, Call, Piece, Piece, Piece, Piece]);
        let order: Vec<u64> = packets
            .iter()
            .map(|packet| match packet {
                Packet::Call { number, .. } => number.0,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(order, [3, 2, 1]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn packets_of_one_group_never_pass_each_other() {
        let outbox = Outbox::new(usize::MAX);
        let group = GroupId(1);
        let message = |len: usize| {
            Packet::Raft(super::super::wire::packet::RaftMessage {
                group,
                from: crate::group::ReplicaId(1),
                to: crate::group::ReplicaId(2),
                body: Bytes::from(vec![1; len]),
            })
        };
        let lens = [10, 3 * PIECE_BYTES, 20, 2 * PIECE_BYTES, 30];
        for len in lens {
            outbox.push(Flow::Group(group), message(len)).unwrap();
        }
        assert_eq!(sent(&outbox).1, lens.map(message));
    }

    #[test]
    fn a_full_outbox_refuses_but_for_what_is_bounded_otherwise() {
        let outbox = Outbox::new(1000);
        push(&outbox, call(1, 5000)).unwrap();
        assert_eq!(push(&outbox, call(2, 0)), Err(Full));
        outbox.push_bounded(Flow::Urgent, Packet::Pong { number: 1 });
        assert_eq!(sent(&outbox).1.len(), 2);
        push(&outbox, call(3, 700)).unwrap();
        assert_eq!(push(&outbox, call(4, 700)), Err(Full));
    }

    #[test]
    fn no_more_long_packets_are_begun_than_the_receiver_allows() {
        let outbox = Outbox::new(usize::MAX);
        for number in 0..3 * LONG_PACKETS_MAX as u64 {
            push(&outbox, call(number, 2 * PIECE_BYTES)).unwrap();
        }
        let (_, packets) = sent(&outbox);
        assert_eq!(packets.len(), 3 * LONG_PACKETS_MAX);
    }

    #[test]
    fn what_was_not_sent_as_a_whole_is_known() {
        let outbox = Outbox::new(usize::MAX);
        push(&outbox, call(1, 10)).unwrap();
        push(&outbox, call(2, 2 * PIECE_BYTES)).unwrap();
        outbox.fill(&mut Vec::new(), PIECE_BYTES);
        assert_eq!(outbox.clear(), [CallNumber(2)]);
        assert!(outbox.is_empty());
    }
}
