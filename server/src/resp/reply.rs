//! Replies, written straight into the connection's output bytes.
//!
//! A handler never touches a socket: it writes typed values into a [`ReplyBuf`], which knows the client's protocol
//! version and spells each type the way that version does (RESP specification). What RESP2 lacks is folded into what it
//! has: maps and sets into arrays, doubles and verbatim strings into bulk strings, null into the two RESP2 nulls.

use crate::error::CommandError;
use basalt_storage::number;

/// The protocol version that a client has chosen with HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// Output bytes of one client.
#[derive(Debug)]
pub struct ReplyBuf {
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
        ReplyBuf { bytes: Vec::new(), protocol, bytes_max: usize::MAX, is_excessive: false }
    }

    #[inline]
    pub fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// An empty buffer for a part of this one's contents: same protocol, same limit.
    pub fn part(&self) -> ReplyBuf {
        ReplyBuf { bytes: Vec::new(), protocol: self.protocol, bytes_max: self.bytes_max, is_excessive: false }
    }

    /// Adds what was written to a [`ReplyBuf::part`]; if that was too much, so is this.
    pub fn append(&mut self, part: &ReplyBuf) {
        if part.is_excessive {
            self.is_excessive = true;
            self.bytes.clear();
        }
        self.raw(&part.bytes);
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
        if self.is_excessive || self.bytes.len().saturating_add(more) > self.bytes_max {
            self.is_excessive = true;
            self.bytes.clear();
        }
        self.bytes.reserve(more);
    }

    /// Empties the buffer for the next batch of replies, giving back memory that one large reply took.
    pub fn clear(&mut self) {
        const KEPT_CAPACITY: usize = 64 * 1024;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
    }

    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    #[inline]
    pub fn mark(&self) -> Mark {
        Mark(self.bytes.len())
    }

    /// Takes back what was written since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.0);
    }

    /// What was written since `mark`.
    pub fn since(&self, mark: Mark) -> &[u8] {
        self.bytes.get(mark.0..).unwrap_or_default()
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
            _ => self.line(b':', &number::format_i64(number)),
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
        Deferred { at: self.bytes.len() }
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
    pub fn scan_page(&mut self, cursor: u64, count: usize, elements: &ReplyBuf) {
        self.array(2);
        self.bulk(&number::format_u64(cursor));
        self.array(count);
        self.raw(elements.bytes());
    }

    /// Writes the header at the end and turns the bytes around to where it belongs.
    fn finish(&mut self, deferred: Deferred, header: impl FnOnce(&mut ReplyBuf)) {
        if self.is_excessive {
            return;
        }
        let end = self.bytes.len();
        header(self);
        if self.is_excessive {
            return;
        }
        let length = self.bytes.len() - end;
        self.bytes[deferred.at..].rotate_right(length);
    }

    #[inline]
    fn header(&mut self, kind: u8, length: usize) {
        // The short ones, which are most, are put together where they go.
        let digit = |number: usize| b'0' + number as u8;
        match length {
            0..10 => self.raw(&[kind, digit(length), b'\r', b'\n']),
            10..100 => self.raw(&[kind, digit(length / 10), digit(length % 10), b'\r', b'\n']),
            _ => self.line(kind, &number::format_i64(length as i64)),
        }
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
}
