//! Replies, written straight into the connection's output bytes.
//!
//! A handler never touches a socket: it writes typed values into a [`ReplyBuf`], which knows the client's protocol
//! version and spells each type the way that version does (RESP specification). What RESP2 lacks is folded into what it
//! has: maps and sets into arrays, doubles and verbatim strings into bulk strings, null into the two RESP2 nulls.
//!
//! Replies are written into one buffer. When that becomes large it is sealed, that is put behind other such pieces, and
//! a new one is begun: a reply of any size is never moved as a whole.

use super::output::{Output, PIECE_BYTES};
use crate::error::CommandError;
use basalt_storage::number::{self, I64_TEXT_MAX};
use basalt_storage::shared::SharedBytes;
use std::ops::Range;

/// The protocol version that a client has chosen with HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// Output bytes of one client.
#[derive(Debug)]
pub struct ReplyBuf {
    /// What comes before `bytes`.
    sealed: Output,
    bytes: Vec<u8>,
    pub protocol: Protocol,
    /// Beyond this many bytes the client is closed anyway, so nothing more is kept.
    bytes_max: usize,
    is_excessive: bool,
}

impl Default for ReplyBuf {
    fn default() -> ReplyBuf {
        ReplyBuf::new(Protocol::default())
    }
}

/// The longest header of an aggregate: its kind, a length and a line break.
const HEADER_MAX: usize = 32;

/// A place to which [`ReplyBuf::rewind`] goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

/// An aggregate whose length is not known until its elements are written.
#[must_use = "the length of the aggregate must be filled in"]
pub struct Deferred {
    at: usize,
}

impl ReplyBuf {
    pub fn new(protocol: Protocol) -> ReplyBuf {
        let (sealed, bytes) = (Output::default(), Vec::new());
        ReplyBuf { sealed, bytes, protocol, bytes_max: usize::MAX, is_excessive: false }
    }

    #[inline]
    pub fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.sealed.len() + self.bytes.len()
    }

    /// All that was written, if it is in one piece.
    #[inline]
    pub fn in_one_piece(&self) -> Option<&[u8]> {
        self.sealed.is_empty().then_some(&*self.bytes)
    }

    /// Moves all that was written to the end of `output`.
    pub fn move_to(&mut self, output: &mut Output) {
        output.append(std::mem::take(&mut self.sealed));
        output.take_from(&mut self.bytes);
    }

    /// Adds a copy of all that was written to the end of `output`; large strings are not copied.
    pub fn copy_to(&self, output: &mut Output) {
        output.append(self.sealed.clone());
        output.extend(&self.bytes);
    }

    /// Adds output that is replies already.
    pub fn add(&mut self, output: Output) {
        if self.is_excessive || self.len().saturating_add(output.len()) > self.bytes_max {
            return self.overflow();
        }
        self.seal();
        self.sealed.append(output);
    }

    /// An empty buffer for a part of this one's contents: same protocol, same limit.
    pub fn part(&self) -> ReplyBuf {
        ReplyBuf { bytes_max: self.bytes_max, ..ReplyBuf::new(self.protocol) }
    }

    /// Adds what was written to a [`ReplyBuf::part`]; if that was too much, so is this.
    pub fn append(&mut self, mut part: ReplyBuf) {
        if part.is_excessive || self.len().saturating_add(part.len()) > self.bytes_max {
            self.overflow();
        } else if part.sealed.is_empty() {
            self.raw(&part.bytes);
        } else {
            self.seal();
            part.move_to(&mut self.sealed);
        }
    }

    /// Sets how much is kept at most.
    #[inline]
    pub fn limit(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Whether there was more than may be kept. A command that writes very much should look, and stop.
    #[inline]
    pub fn is_excessive(&self) -> bool {
        self.is_excessive
    }

    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives back memory beyond `capacity`.
    pub fn shrink_to(&mut self, capacity: usize) {
        self.bytes.shrink_to(capacity);
    }

    /// Called when the buffer is full, which is the only time to look at the limit: it costs nothing before.
    #[cold]
    fn grow(&mut self, more: usize) {
        if self.is_excessive || self.len().saturating_add(more) > self.bytes_max {
            self.overflow();
        }
        if self.bytes.len().saturating_add(more) <= PIECE_BYTES {
            self.bytes.reserve(more);
        } else {
            self.seal();
            self.bytes.reserve_exact(more.max(PIECE_BYTES));
        }
    }

    fn overflow(&mut self) {
        self.is_excessive = true;
        self.bytes.clear();
        self.sealed = Output::default();
    }

    fn seal(&mut self) {
        self.sealed.take_from(&mut self.bytes);
    }

    /// Empties the buffer for the next batch of replies, giving back memory that one large reply took.
    pub fn clear(&mut self) {
        const KEPT_CAPACITY: usize = 64 * 1024;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
        if !self.sealed.is_empty() {
            self.sealed = Output::default();
        }
    }

    /// All that was written, in one piece.
    pub fn take(&mut self) -> Vec<u8> {
        if self.sealed.is_empty() {
            return std::mem::take(&mut self.bytes);
        }
        let mut output = Output::default();
        self.move_to(&mut output);
        output.to_vec()
    }

    #[inline]
    pub fn mark(&self) -> Mark {
        Mark(self.len())
    }

    /// Takes back what was written since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        if mark.0 < self.sealed.len() {
            self.bytes.clear();
            self.sealed.truncate(mark.0);
        } else {
            self.bytes.truncate(mark.0 - self.sealed.len());
        }
    }

    #[inline]
    fn reserve(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            self.grow(more);
        }
    }

    /// Appends bytes that are replies already.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A simple string: must not contain a line break.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    pub fn error(&mut self, error: &CommandError) {
        self.line(b'-', error.text());
    }

    #[inline]
    pub fn integer(&mut self, number: i64) {
        match number {
            0..100 => self.header(b':', number as usize),
            _ => self.number(b':', number),
        }
    }

    /// An integer reply for a count or a length.
    #[inline]
    pub fn count(&mut self, number: usize) {
        self.integer(number as i64);
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len() + 32);
        self.header(b'$', bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A bulk string that is part of a large one, without copying it.
    #[cold]
    pub fn shared_bulk(&mut self, bytes: &SharedBytes, range: Range<usize>) {
        if self.is_excessive || self.len().saturating_add(range.len()) > self.bytes_max {
            return self.overflow();
        }
        self.header(b'$', range.len());
        self.seal();
        self.sealed.push_shared(bytes, range);
        self.raw(b"\r\n");
    }

    pub fn bulk_str(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// An integer as a bulk string.
    #[inline]
    pub fn bulk_int(&mut self, number: i64) {
        self.bulk(&number::format_i64(number));
    }

    /// A bulk string, or null.
    #[inline]
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// The null that stands for an absent string.
    #[inline]
    pub fn null(&mut self) {
        self.raw(if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// The null that stands for an absent array.
    #[inline]
    pub fn null_array(&mut self) {
        self.raw(if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    #[inline]
    pub fn array(&mut self, elements: usize) {
        self.header(b'*', elements);
    }

    /// A map of `pairs` pairs; the caller then writes key, value, key, value.
    pub fn map(&mut self, pairs: usize) {
        if self.is_resp3() { self.header(b'%', pairs) } else { self.header(b'*', pairs * 2) }
    }

    pub fn set(&mut self, elements: usize) {
        self.header(if self.is_resp3() { b'~' } else { b'*' }, elements);
    }

    /// A message that answers no request (pub/sub, invalidation); an array for RESP2.
    pub fn push(&mut self, elements: usize) {
        self.header(if self.is_resp3() { b'>' } else { b'*' }, elements);
    }

    pub fn double(&mut self, number: f64) {
        let text = number::format_f64(number);
        if self.is_resp3() { self.line(b',', &text) } else { self.bulk(&text) }
    }

    /// A double in a text of one's own.
    pub fn double_text(&mut self, text: &[u8]) {
        if self.is_resp3() { self.line(b',', text) } else { self.bulk(text) }
    }

    pub fn boolean(&mut self, value: bool) {
        match (self.is_resp3(), value) {
            (true, true) => self.raw(b"#t\r\n"),
            (true, false) => self.raw(b"#f\r\n"),
            (false, value) => self.integer(i64::from(value)),
        }
    }

    /// A text with its format (`txt`, `mkd`); a bulk string for RESP2.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        assert_eq!(format.len(), 3, "a verbatim string's format has three letters");
        if !self.is_resp3() {
            return self.bulk(text);
        }
        self.header(b'=', text.len() + 4);
        self.raw(format.as_bytes());
        self.raw(b":");
        self.raw(text);
        self.raw(b"\r\n");
    }

    /// What HELP answers: pairs of a subcommand's form and what it does, in one line or several.
    pub fn help(&mut self, command: &str, lines: &[(&str, &str)]) {
        self.array(3 + lines.iter().map(|(_, meaning)| 1 + meaning.lines().count()).sum::<usize>());
        self.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
        for (form, meaning) in lines {
            self.simple(form);
            meaning.lines().for_each(|line| self.simple(&format!("    {line}")));
        }
        self.simple("HELP");
        self.simple("    Print this help.");
    }

    /// An array whose length comes later.
    pub fn deferred(&mut self) -> Deferred {
        Deferred { at: self.len() }
    }

    /// Fills in the length of an array whose elements were written since.
    pub fn finish_array(&mut self, deferred: Deferred, elements: usize) {
        self.finish(deferred, |buf| buf.array(elements));
    }

    pub fn finish_set(&mut self, deferred: Deferred, elements: usize) {
        self.finish(deferred, |buf| buf.set(elements));
    }

    pub fn finish_map(&mut self, deferred: Deferred, pairs: usize) {
        self.finish(deferred, |buf| buf.map(pairs));
    }

    /// The reply of the SCAN family: where to go on, and the elements, which were written to a buffer of their own
    /// because the cursor is known only after them.
    pub fn scan_page(&mut self, cursor: u64, count: usize, elements: ReplyBuf) {
        self.array(2);
        self.bulk(&number::format_u64(cursor));
        self.array(count);
        self.append(elements);
    }

    /// Writes the header at the end and turns the bytes around to where it belongs.
    fn finish(&mut self, deferred: Deferred, header: impl FnOnce(&mut ReplyBuf)) {
        if self.is_excessive {
            return;
        }
        // Nothing is sealed between here and the end of the header.
        self.reserve(HEADER_MAX);
        if self.is_excessive {
            return;
        }
        let end = self.bytes.len();
        header(self);
        match deferred.at.checked_sub(self.sealed.len()) {
            Some(at) => {
                let length = self.bytes.len() - end;
                self.bytes[at..].rotate_right(length);
            }
            None => {
                let header = self.bytes.split_off(end);
                self.sealed.insert(deferred.at, &header);
            }
        }
    }

    #[inline]
    fn header(&mut self, kind: u8, length: usize) {
        // The short ones, which are most, are put together where they go.
        let digit = |number: usize| b'0' + number as u8;
        match length {
            0..10 => self.raw(&[kind, digit(length), b'\r', b'\n']),
            10..100 => self.raw(&[kind, digit(length / 10), digit(length % 10), b'\r', b'\n']),
            _ => self.number(kind, length as i64),
        }
    }

    /// A line with a number, put together where it goes.
    #[inline]
    fn number(&mut self, kind: u8, number: i64) {
        const ROOM: [u8; I64_TEXT_MAX + 3] = [0; I64_TEXT_MAX + 3];
        self.reserve(ROOM.len());
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&ROOM);
        let end = at + 1 + number::text_len(number);
        let line = &mut self.bytes[at..end + 2];
        let digits = line.len() - 2;
        line[0] = kind;
        number::write_i64(&mut line[1..digits], number);
        line[digits..].copy_from_slice(b"\r\n");
        self.bytes.truncate(end + 2);
    }

    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.reserve(text.len() + 3);
        self.bytes.push(kind);
        self.raw(text);
        self.raw(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl FnOnce(&mut ReplyBuf)) -> String {
        let mut buf = ReplyBuf::new(protocol);
        write(&mut buf);
        String::from_utf8(buf.take()).expect("test replies are text")
    }

    #[test]
    fn each_protocol_has_its_own_types() {
        use Protocol::{Resp2, Resp3};
        assert_eq!(written(Resp2, |b| b.null()), "$-1\r\n");
        assert_eq!(written(Resp3, |b| b.null()), "_\r\n");
        assert_eq!(written(Resp2, |b| b.map(2)), "*4\r\n");
        assert_eq!(written(Resp3, |b| b.map(2)), "%2\r\n");
        assert_eq!(written(Resp2, |b| b.double(1.5)), "$3\r\n1.5\r\n");
        assert_eq!(written(Resp3, |b| b.double(1.5)), ",1.5\r\n");
        assert_eq!(written(Resp3, |b| b.verbatim("txt", b"hi")), "=6\r\ntxt:hi\r\n");
    }

    #[test]
    fn numbers_and_lengths_of_all_sizes_are_whole() {
        for number in [0, 9, 10, 99, 100, 12_345, -1, -99, -100, i64::MAX, i64::MIN] {
            assert_eq!(written(Protocol::Resp2, |b| b.integer(number)), format!(":{number}\r\n"));
        }
        for length in [0, 9, 10, 99, 100, 1_000_000] {
            assert_eq!(written(Protocol::Resp2, |b| b.array(length)), format!("*{length}\r\n"));
        }
    }

    #[test]
    fn a_deferred_length_ends_up_in_front_of_its_elements() {
        let text = written(Protocol::Resp2, |b| {
            b.ok();
            let array = b.deferred();
            b.integer(1);
            b.integer(22);
            b.finish_array(array, 2);
        });
        assert_eq!(text, "+OK\r\n*2\r\n:1\r\n:22\r\n");
    }

    #[test]
    fn a_reply_in_pieces_reads_as_one_in_one_piece() {
        let large: SharedBytes = vec![b's'; 3 * PIECE_BYTES].into();
        let element = vec![b'x'; 100_000];
        let (mut pieces, mut expected) = (ReplyBuf::default(), b"*7\r\n".to_vec());
        let array = pieces.deferred();
        for _ in 0..6 {
            pieces.bulk(&element);
            expected.extend_from_slice(b"$100000\r\n");
            expected.extend_from_slice(&element);
            expected.extend_from_slice(b"\r\n");
        }
        let mark = pieces.mark();
        pieces.shared_bulk(&large, 1..large.len());
        pieces.integer(5);
        pieces.rewind(mark);
        assert_eq!(pieces.len(), expected.len() - 4, "all but the header");
        pieces.shared_bulk(&large, 0..2);
        expected.extend_from_slice(b"$2\r\nss\r\n");
        let inner = pieces.deferred();
        pieces.integer(1);
        pieces.finish_array(inner, 1);
        pieces.finish_array(array, 7);
        expected.extend_from_slice(b"*1\r\n:1\r\n");
        assert!(pieces.in_one_piece().is_none());
        assert!(pieces.take() == expected);
        assert!(pieces.is_empty());
    }

    #[test]
    fn what_is_too_much_is_noticed_in_any_piece() {
        let large: SharedBytes = vec![b's'; PIECE_BYTES].into();
        for most in [PIECE_BYTES / 2, PIECE_BYTES, 3 * PIECE_BYTES] {
            let (mut plain, mut shared) = (ReplyBuf::default(), ReplyBuf::default());
            plain.limit(most);
            shared.limit(most);
            (0..most / PIECE_BYTES + 1).for_each(|_| shared.shared_bulk(&large, 0..large.len()));
            (0..most / 1000 + 1).for_each(|_| plain.bulk(&[b'x'; 1000]));
            assert!(plain.is_excessive() && shared.is_excessive());
            assert!(shared.len() < PIECE_BYTES);
        }
    }
}
