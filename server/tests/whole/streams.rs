//! Streams between nodes: pieces in their order, an end, and an answer; or nothing more, when a connection is lost.

use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

use crate::ether::{Ether, Site};

pub type StreamId = u64;

/// The process at one end.
pub type End = (Site, u64);

#[derive(Default)]
pub struct Streams {
    streams: BTreeMap<StreamId, Stream>,
    last: StreamId,
}

struct Stream {
    from: End,
    to: Site,
    /// The process that has taken it up.
    taken_by: Option<u64>,
    header: Bytes,
    opened_at: u64,
    pieces: VecDeque<(u64, Bytes)>,
    last_arrival: u64,
    /// When the receiver learns that there is no more.
    ends_at: Option<u64>,
    answer: Option<(u64, Result<Bytes, String>)>,
    is_broken: bool,
}

/// What is there for a receiver.
pub enum Received {
    Piece(Bytes),
    End,
    NothingYet,
    Broken,
}

impl Ether {
    fn arrival(&mut self) -> u64 {
        let delay = self.faults.delay_ms_max + 1;
        self.now + self.rng.below(delay)
    }

    /// None if there is no connection.
    pub fn open_stream(&mut self, from: End, to: Site, header: &[u8]) -> Option<StreamId> {
        if self.is_cut(from.0, to) || self.is_cut(to, from.0) {
            return None;
        }
        let opened_at = self.arrival();
        let streams = &mut self.streams;
        streams.last += 1;
        let stream = Stream {
            from,
            to,
            taken_by: None,
            header: Bytes::copy_from_slice(header),
            opened_at,
            pieces: VecDeque::new(),
            last_arrival: opened_at,
            ends_at: None,
            answer: None,
            is_broken: false,
        };
        streams.streams.insert(streams.last, stream);
        Some(streams.last)
    }

    /// Streams that have reached this process and that nobody has taken up.
    pub fn accept_streams(&mut self, at: End) -> Vec<(StreamId, Bytes)> {
        let now = self.now;
        let fresh = self.streams.streams.iter_mut().filter(|(_, stream)| {
            stream.to == at.0 && stream.taken_by.is_none() && stream.opened_at <= now && !stream.is_broken
        });
        let taken = fresh.map(|(id, stream)| {
            stream.taken_by = Some(at.1);
            (*id, stream.header.clone())
        });
        taken.collect()
    }

    /// Whether it could be sent.
    pub fn send_piece(&mut self, id: StreamId, piece: Bytes) -> bool {
        let (at, is_lost) = (self.arrival(), self.rng.chance(self.faults.stream_loss));
        let Some(stream) = self.streams.streams.get_mut(&id) else { return false };
        stream.is_broken |= is_lost;
        if stream.is_broken || matches!(stream.answer, Some((_, Err(_)))) {
            return false;
        }
        stream.last_arrival = stream.last_arrival.max(at);
        stream.pieces.push_back((stream.last_arrival, piece));
        true
    }

    pub fn end_stream(&mut self, id: StreamId) {
        let at = self.arrival();
        if let Some(stream) = self.streams.streams.get_mut(&id) {
            stream.ends_at = Some(stream.last_arrival.max(at));
        }
    }

    pub fn receive_piece(&mut self, id: StreamId) -> Received {
        let now = self.now;
        let Some(stream) = self.streams.streams.get_mut(&id) else { return Received::Broken };
        let (from, to) = (stream.from.0, stream.to);
        if self.cut_off(from, to) {
            return Received::NothingYet;
        }
        let Some(stream) = self.streams.streams.get_mut(&id) else { return Received::Broken };
        match stream.pieces.front() {
            _ if stream.is_broken => Received::Broken,
            Some((at, _)) if *at <= now => {
                stream.pieces.pop_front().map_or(Received::Broken, |(_, it)| Received::Piece(it))
            }
            None if stream.ends_at.is_some_and(|at| at <= now) => Received::End,
            _ => Received::NothingYet,
        }
    }

    fn cut_off(&self, from: Site, to: Site) -> bool {
        self.is_cut(from, to) || self.is_cut(to, from)
    }

    pub fn answer_stream(&mut self, id: StreamId, answer: Result<Bytes, String>) {
        let at = self.arrival();
        if let Some(stream) = self.streams.streams.get_mut(&id) {
            stream.answer = Some((at, answer));
        }
    }

    /// The answer, once it has arrived; an error as well if there will be none.
    pub fn stream_answer(&mut self, id: StreamId) -> Option<Result<Bytes, String>> {
        let Some(stream) = self.streams.streams.get(&id) else { return Some(Err("no such stream".to_owned())) };
        if stream.is_broken {
            return Some(Err("the connection was lost".to_owned()));
        }
        if self.cut_off(stream.from.0, stream.to) {
            return None;
        }
        stream.answer.clone().filter(|(at, _)| *at <= self.now).map(|(_, answer)| answer)
    }

    pub fn forget_stream(&mut self, id: StreamId) {
        self.streams.streams.remove(&id);
    }

    /// What goes through links that are cut breaks by and by, and so does what a process had that has ended.
    pub fn break_streams(&mut self, is_alive: impl Fn(End) -> bool) {
        let mut streams = std::mem::take(&mut self.streams.streams);
        for stream in streams.values_mut() {
            let is_cut = self.cut_off(stream.from.0, stream.to);
            let is_there =
                is_alive(stream.from) && stream.taken_by.is_none_or(|process| is_alive((stream.to, process)));
            stream.is_broken |= !is_there || is_cut && self.rng.chance(8);
        }
        // Whoever was to answer is gone, and so is whoever has asked.
        streams.retain(|_, stream| is_alive(stream.from));
        self.streams.streams = streams;
    }
}
