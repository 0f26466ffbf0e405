//! The request decoder: a hand-written fast path for arrays of bulk strings, and inline commands.
//!
//! Pure and incremental: it remembers how far it got, so a request that arrives in many pieces is looked at once, and
//! it holds positions only, so nothing is copied. A large argument is announced, so that the connection can read it
//! into memory of its own, which then becomes a value as it is. Bounds: bulk lengths by `proto-max-bulk-len`, counts by
//! [`MULTIBULK_MAX`], lines by [`INLINE_MAX`]; before authentication much lower ones. Checked against the
//! redis-protocol crate by a fuzzer.

use super::args::range_apart;
use basalt_storage::shared::{SHARED_MIN, SharedBytes};
use memchr::memchr2;

/// Longest line: of an inline command, or of a length (Redis: `PROTO_INLINE_MAX_SIZE`).
pub const INLINE_MAX: usize = 64 * 1024;
/// Most arguments of one request.
pub const MULTIBULK_MAX: i64 = i32::MAX as i64;
const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
const UNAUTHENTICATED_BULK_MAX: i64 = 16 * 1024;

/// What a client may send, by configuration and by whether it has proved who it is.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bulk_len_max: u64,
    pub authenticated: bool,
}

/// What the buffer holds at its start.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A whole request of this many bytes; its arguments are in [`Decoder::ranges`]. No arguments: nothing to do.
    Request { bytes: usize },
    /// Nothing can be said before the buffer holds at least this many bytes.
    Incomplete { needed: usize },
}

/// The client broke the protocol; the connection must be closed after the error is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("ERR Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    #[error("ERR Protocol error: invalid bulk length")]
    InvalidBulkLength,
    #[error("ERR Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    #[error("ERR Protocol error: expected '$', got '{}'", *.0 as char)]
    ExpectedBulk(u8),
    #[error("ERR Protocol error: too big mbulk count string")]
    MultibulkLineTooLong,
    #[error("ERR Protocol error: too big bulk count string")]
    BulkLineTooLong,
    #[error("ERR Protocol error: too big inline request")]
    InlineTooLong,
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text of the reply. It shows the byte that was sent, which need not be a character.
    pub fn reply(&self) -> Vec<u8> {
        match self {
            ProtocolError::ExpectedBulk(byte) => {
                [b"ERR Protocol error: expected '$', got '", &[*byte][..], b"'"].concat()
            }
            other => other.to_string().into_bytes(),
        }
    }
}

/// Decodes one request at a time from the start of a buffer.
#[derive(Debug, Default)]
pub struct Decoder {
    ranges: Vec<(usize, usize)>,
    /// Arguments of an inline command, whose quotes are resolved: the ranges then point in here.
    inline: Vec<u8>,
    state: State,
    /// Everything before this was understood already.
    position: usize,
    /// Large arguments of the request that begins the buffer, which were read apart from it.
    apart: Vec<SharedBytes>,
    /// Where each of them is missing.
    gaps: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    /// This many arguments are still to come.
    Arguments { left: usize },
    /// An argument of this length starts at the position, and this many come after it.
    Bulk { length: usize, left: usize },
}

impl Decoder {
    /// Looks for a whole request at the start of `buffer`, which begins where the last request ended and has only grown
    /// since the last call.
    #[inline]
    pub fn decode(&mut self, buffer: &[u8], limits: Limits) -> Result<Decoded, ProtocolError> {
        if self.state == State::Start {
            self.ranges.clear();
            self.position = 0;
            match buffer.first() {
                None => return Ok(Decoded::Incomplete { needed: 1 }),
                Some(b'*') => {}
                Some(_) => return self.inline(buffer),
            }
            let Some((count, next)) = line_number(buffer, 1, ProtocolError::MultibulkLineTooLong)? else {
                return Ok(Decoded::Incomplete { needed: buffer.len() + 1 });
            };
            let count = count.filter(|&count| count <= MULTIBULK_MAX).ok_or(ProtocolError::InvalidMultibulkLength)?;
            if count > UNAUTHENTICATED_ARGS_MAX && !limits.authenticated {
                return Err(ProtocolError::UnauthenticatedMultibulkLength);
            }
            if count <= 0 {
                return Ok(Decoded::Request { bytes: next });
            }
            self.position = next;
            self.state = State::Arguments { left: count as usize };
        }
        self.arguments(buffer, limits)
    }

    #[inline]
    fn arguments(&mut self, buffer: &[u8], limits: Limits) -> Result<Decoded, ProtocolError> {
        loop {
            match self.state {
                State::Start | State::Arguments { left: 0 } => {
                    self.state = State::Start;
                    return Ok(Decoded::Request { bytes: self.position });
                }
                State::Arguments { left } => {
                    let Some(&kind) = buffer.get(self.position).filter(|&&kind| kind != 0) else {
                        return Ok(Decoded::Incomplete { needed: buffer.len().max(self.position) + 1 });
                    };
                    // Redis looks for the end of the line first, and at the type only then.
                    if kind == b'\r' && buffer.len() > self.position + 1 {
                        return Err(ProtocolError::ExpectedBulk(kind));
                    }
                    let line = line_number(buffer, self.position + 1, ProtocolError::BulkLineTooLong)?;
                    let Some((length, next)) = line else {
                        return Ok(Decoded::Incomplete { needed: buffer.len() + 1 });
                    };
                    if kind != b'$' {
                        return Err(ProtocolError::ExpectedBulk(kind));
                    }
                    let length = length
                        .filter(|&length| length >= 0 && length as u64 <= limits.bulk_len_max)
                        .ok_or(ProtocolError::InvalidBulkLength)?;
                    if length > UNAUTHENTICATED_BULK_MAX && !limits.authenticated {
                        return Err(ProtocolError::UnauthenticatedBulkLength);
                    }
                    self.position = next;
                    self.state = State::Bulk { length: length as usize, left: left - 1 };
                }
                State::Bulk { length, left } => {
                    let apart = self.gaps.binary_search(&self.position).ok();
                    let end = if apart.is_some() { self.position } else { self.position + length };
                    if buffer.len() < end + 2 {
                        return Ok(Decoded::Incomplete { needed: end + 2 });
                    }
                    self.ranges.push(apart.map_or((self.position, end), range_apart));
                    self.position = end + 2;
                    self.state = State::Arguments { left };
                }
            }
        }
    }

    /// How many bytes of an incomplete request are understood already: all but the argument that has not wholly come.
    pub fn understood(&self) -> usize {
        if self.state == State::Start { 0 } else { self.position }
    }

    /// The length of the argument that begins at [`Decoder::understood`] and has not wholly come, if it is so large
    /// that it should be read apart from the others.
    pub fn large_ahead(&self) -> Option<usize> {
        match self.state {
            State::Bulk { length, .. } if length >= SHARED_MIN && self.gaps.last() != Some(&self.position) => {
                Some(length)
            }
            _ => None,
        }
    }

    /// Hands over the argument that was announced by [`Decoder::large_ahead`]. It is not in the buffer, which goes on
    /// with what comes behind it.
    pub fn put_apart(&mut self, bytes: SharedBytes) {
        assert_eq!(self.large_ahead(), Some(bytes.len()), "it is the argument that comes next");
        self.gaps.push(self.position);
        self.apart.push(bytes);
    }

    /// The arguments that were read apart, of the request that is answered or decoded at the moment.
    #[inline]
    pub fn apart(&self) -> &[SharedBytes] {
        &self.apart
    }

    /// Takes them out: must be called when their request is answered.
    #[cold]
    pub fn take_apart(&mut self) -> Vec<SharedBytes> {
        self.gaps = Vec::new();
        std::mem::take(&mut self.apart)
    }

    /// The arguments of the request that was just decoded from `buffer`; `None` if it has none.
    #[inline]
    pub fn args<'a>(&'a self, buffer: &'a [u8]) -> Option<super::Args<'a>> {
        let bytes = if self.inline.is_empty() { buffer } else { &self.inline };
        (!self.ranges.is_empty()).then(|| super::Args::new(bytes, &self.ranges))
    }

    /// Where the arguments of the request that was just decoded lie.
    #[inline]
    pub fn ranges(&self) -> &[(usize, usize)] {
        &self.ranges
    }

    /// Whether the next byte is the first of a request.
    #[inline]
    pub fn is_between_requests(&self) -> bool {
        self.state == State::Start
    }

    /// Forgets a request that was understood in part: it will be decoded from its start again.
    pub fn restart(&mut self) {
        self.state = State::Start;
    }

    /// Must be called when the request's arguments are no longer needed.
    #[inline]
    pub fn finish(&mut self) {
        const KEPT_RANGES: usize = 1024;
        self.inline.clear();
        if self.ranges.capacity() > KEPT_RANGES {
            self.ranges = Vec::new();
        }
    }

    fn inline(&mut self, buffer: &[u8]) -> Result<Decoded, ProtocolError> {
        let Some(end) = line_end(b'\n', buffer) else {
            if buffer.len() > INLINE_MAX {
                return Err(ProtocolError::InlineTooLong);
            }
            return Ok(Decoded::Incomplete { needed: buffer.len() + 1 });
        };
        let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
        let words = split_words(line).ok_or(ProtocolError::UnbalancedQuotes)?;
        self.inline.clear();
        for word in words {
            let start = self.inline.len();
            self.inline.extend_from_slice(&word);
            self.ranges.push((start, self.inline.len()));
        }
        // A marker keeps `inline` non-empty even if all words are: its being empty means "not inline".
        self.inline.push(b'\n');
        Ok(Decoded::Request { bytes: end + 1 })
    }
}

/// The common case at once: a whole request, with nothing unusual about it, starts at `start`. Adds the positions of
/// its arguments to `ranges` and returns where it ends. `None`: nothing is added, and [`Decoder::decode`] must have a
/// look.
#[inline]
pub fn whole_request(buffer: &[u8], start: usize, limits: Limits, ranges: &mut Vec<(usize, usize)>) -> Option<usize> {
    if !limits.authenticated {
        return None;
    }
    let (count, mut at) = short_number(buffer, start, b'*').filter(|(count, _)| *count > 0)?;
    let before = ranges.len();
    for _ in 0..count {
        let argument = short_number(buffer, at, b'$').map(|(length, from)| (length, from, from + length));
        match argument {
            Some((length, from, to)) if to + 2 <= buffer.len() && length as u64 <= limits.bulk_len_max => {
                ranges.push((from, to));
                at = to + 2;
            }
            _ => {
                ranges.truncate(before);
                return None;
            }
        }
    }
    Some(at)
}

/// A line of `kind` and a number of one to three digits, and where the next line starts.
#[inline]
fn short_number(buffer: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    match *buffer.get(at..)? {
        [first, a @ b'0'..=b'9', b'\r', _, ..] if first == kind => Some((digit(a), at + 4)),
        [first, a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] if first == kind => {
            Some((digit(a) * 10 + digit(b), at + 5))
        }
        [first, a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', _, ..] if first == kind => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), at + 6))
        }
        _ => None,
    }
}

/// Where the line ends. As in Redis, a zero byte hides all that comes after it: the line then never ends.
fn line_end(end: u8, buffer: &[u8]) -> Option<usize> {
    memchr2(end, 0, buffer).filter(|&at| buffer[at] == end)
}

/// Reads a number that ends with CRLF: the number, if it is one, and where the next line starts. `None`: not whole yet.
#[inline]
#[allow(clippy::type_complexity, reason = "three outcomes, each used at both call sites at once")]
fn line_number(
    buffer: &[u8],
    start: usize,
    too_long: ProtocolError,
) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
    // The common case: one to three digits.
    let mut number = 0i64;
    for (offset, &byte) in buffer[start..].iter().take(4).enumerate() {
        match byte {
            b'0'..=b'9' => number = number * 10 + i64::from(byte - b'0'),
            b'\r' if offset > 0 && (offset == 1 || buffer[start] != b'0') => {
                let at = start + offset;
                return Ok((buffer.len() > at + 1).then_some((Some(number), at + 2)));
            }
            _ => break,
        }
    }
    let Some(length) = line_end(b'\r', &buffer[start..]) else {
        return if buffer.len() - start > INLINE_MAX { Err(too_long) } else { Ok(None) };
    };
    let end = start + length;
    if buffer.len() < end + 2 {
        return Ok(None);
    }
    Ok(Some((basalt_storage::number::parse_i64(&buffer[start..end]), end + 2)))
}

/// Splits a line into words as Redis's inline protocol and its configuration file do: double quotes with escapes,
/// single quotes with `\'` only; a closing quote ends the word. `None` if quotes are unbalanced.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let blank = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[blank..];
        // A zero byte ends the line, as it does in Redis.
        if rest.is_empty() || rest[0] == 0 {
            return Some(words);
        }
        let (word, after) = take_word(rest)?;
        words.push(word);
        rest = after;
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn take_word(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            b'"' => {
                at = take_quoted(line, at + 1, b'"', &mut word)?;
                return closes_word(line, at).then(|| (word, &line[at..]));
            }
            b'\'' => {
                at = take_quoted(line, at + 1, b'\'', &mut word)?;
                return closes_word(line, at).then(|| (word, &line[at..]));
            }
            0 => break,
            byte if is_space(byte) => break,
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
    Some((word, &line[at..]))
}

fn closes_word(line: &[u8], at: usize) -> bool {
    line.get(at).is_none_or(|&next| is_space(next) || next == 0)
}

/// Reads up to the closing quote; returns the position behind it.
fn take_quoted(line: &[u8], mut at: usize, quote: u8, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *line.get(at)? {
            0 => return None,
            byte if byte == quote => return Some(at + 1),
            b'\\' if quote == b'"' => at = take_escape(line, at + 1, word)?,
            b'\\' if line.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 2;
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

fn take_escape(line: &[u8], at: usize, word: &mut Vec<u8>) -> Option<usize> {
    let digit = |index: usize| line.get(index).and_then(|&byte| (byte as char).to_digit(16));
    let letter = *line.get(at)?;
    if letter == b'x'
        && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
    {
        word.push((high * 16 + low) as u8);
        return Some(at + 3);
    }
    word.push(match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    });
    Some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bulk_len_max: 512 * 1024 * 1024, authenticated: true };

    fn requests(mut bytes: &[u8]) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
        let (mut decoder, mut all) = (Decoder::default(), Vec::new());
        while let Decoded::Request { bytes: used } = decoder.decode(bytes, LIMITS)? {
            if let Some(args) = decoder.args(bytes) {
                all.push(args.from(0).map(<[u8]>::to_vec).collect());
            }
            decoder.finish();
            bytes = &bytes[used..];
        }
        Ok(all)
    }

    #[test]
    fn arrays_and_inline_commands_mix() {
        let all = requests(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING 'a b' \"\\x41\\n\"\r\n*0\r\n\r\n*1\r\n$4\r\nQUIT\r\n");
        let expected: Vec<Vec<Vec<u8>>> = vec![
            vec![b"GET".into(), b"k".into()],
            vec![b"PING".into(), b"a b".into(), b"A\n".into()],
            vec![b"QUIT".into()],
        ];
        assert_eq!(all, Ok(expected));
    }

    #[test]
    fn pieces_of_any_size_give_the_same_request() {
        let whole = b"*3\r\n$3\r\nSET\r\n$5\r\nk\r\n\r\n\r\n$12\r\nhello world!\r\n";
        let mut decoder = Decoder::default();
        for end in 0..whole.len() {
            let decoded = decoder.decode(&whole[..end], LIMITS).expect("a prefix of a valid request");
            assert!(matches!(decoded, Decoded::Incomplete { needed } if needed > end), "at {end}: {decoded:?}");
        }
        assert_eq!(decoder.decode(whole, LIMITS), Ok(Decoded::Request { bytes: whole.len() }));
        let args = decoder.args(whole).expect("three arguments");
        assert_eq!(args.from(0).collect::<Vec<_>>(), [&b"SET"[..], b"k\r\n\r\n", b"hello world!"]);
    }

    #[test]
    fn broken_requests_are_named() {
        let error = |bytes: &[u8]| requests(bytes).expect_err("a broken request").to_string();
        assert_eq!(error(b"*x\r\n"), "ERR Protocol error: invalid multibulk length");
        assert_eq!(error(b"*2147483648\r\n"), "ERR Protocol error: invalid multibulk length");
        assert_eq!(error(b"*1\r\nfoo\r\n"), "ERR Protocol error: expected '$', got 'f'");
        assert_eq!(error(b"*1\r\n$-1\r\n"), "ERR Protocol error: invalid bulk length");
        assert_eq!(error(b"*1\r\n$10737418240\r\n"), "ERR Protocol error: invalid bulk length");
        assert_eq!(error(b"PING \"abc\r\n"), "ERR Protocol error: unbalanced quotes in request");
        assert_eq!(error(&vec![b'a'; INLINE_MAX + 1]), "ERR Protocol error: too big inline request");
    }

    #[test]
    fn the_common_case_is_decoded_as_any_other() {
        let long = [&b"*2\r\n$4\r\nECHO\r\n$123\r\n"[..], &[b'x'; 123], b"\r\n"].concat();
        for whole in
            [b"*3\r\n$3\r\nSET\r\n$5\r\nk\r\n\r\n\r\n$0\r\n\r\n".to_vec(), b"*1\r\n$4\r\nPING\r\n".to_vec(), long]
        {
            let input = [b"??", &whole[..], b"*1"].concat();
            let (mut decoder, mut ranges) = (Decoder::default(), vec![(7, 7)]);
            for end in 2..input.len() {
                let found = whole_request(&input[..end], 2, LIMITS, &mut ranges);
                assert_eq!(found, (end >= whole.len() + 2).then_some(whole.len() + 2), "at {end}");
                if found.is_some() {
                    assert_eq!(decoder.decode(&input[2..end], LIMITS), Ok(Decoded::Request { bytes: whole.len() }));
                    let shifted: Vec<_> = decoder.ranges().iter().map(|(from, to)| (from + 2, to + 2)).collect();
                    assert_eq!(ranges.split_off(1), shifted);
                }
                assert_eq!(ranges, [(7, 7)]);
            }
        }
        for unusual in ["*0\r\n", "*01\r\n$1\r\nk\r\n", "*-1\r\n", "*1\r\n$-1\r\n", "*1\r\n:1\r\n", "PING\r\n"] {
            assert_eq!(whole_request(unusual.as_bytes(), 0, LIMITS, &mut Vec::new()), None, "{unusual:?}");
        }
        let strangers = Limits { authenticated: false, ..LIMITS };
        assert_eq!(whole_request(b"*1\r\n$4\r\nPING\r\n", 0, strangers, &mut Vec::new()), None);
    }

    #[test]
    fn strangers_may_send_little() {
        let limits = Limits { authenticated: false, ..LIMITS };
        let error = |bytes: &[u8]| Decoder::default().decode(bytes, limits).expect_err("too much for a stranger");
        assert_eq!(error(b"*11\r\n"), ProtocolError::UnauthenticatedMultibulkLength);
        assert_eq!(error(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n"), ProtocolError::UnauthenticatedBulkLength);
    }

    #[test]
    fn large_arguments_may_lie_apart() {
        let large: Vec<SharedBytes> = [b'a', b'b'].map(|byte| vec![byte; SHARED_MIN].into()).to_vec();
        let whole = format!("*5\r\n$4\r\nMSET\r\n$1\r\nk\r\n${SHARED_MIN}\r\n\r\n$1\r\nl\r\n${SHARED_MIN}\r\n\r\n");
        let gaps: Vec<usize> =
            whole.match_indices(&format!("{SHARED_MIN}\r\n")).map(|(at, text)| at + text.len()).collect();
        let whole = whole.as_bytes();
        let mut decoder = Decoder::default();
        for (gap, bytes) in gaps.iter().zip(&large) {
            assert!(matches!(decoder.decode(&whole[..*gap], LIMITS), Ok(Decoded::Incomplete { .. })));
            assert_eq!((decoder.large_ahead(), decoder.understood()), (Some(SHARED_MIN), *gap));
            decoder.put_apart(bytes.clone());
            assert_eq!(decoder.large_ahead(), None);
            assert_eq!(decoder.decode(&whole[..*gap + 1], LIMITS), Ok(Decoded::Incomplete { needed: gap + 2 }));
        }
        // The second time as a request that must be looked at again.
        for _ in 0..2 {
            assert_eq!(decoder.decode(whole, LIMITS), Ok(Decoded::Request { bytes: whole.len() }));
            let args = decoder.args(whole).expect("five arguments").with_apart(decoder.apart());
            let expected: [&[u8]; 5] = [b"MSET", b"k", &large[0], b"l", &large[1]];
            assert_eq!(args.from(0).collect::<Vec<_>>(), expected);
            assert_eq!(args.to_owned().as_args().from(0).collect::<Vec<_>>(), expected);
            assert_eq!(
                args.skip(2).shared(0).map(|bytes| bytes.as_ptr()),
                Some(large[0].as_ptr()),
                "nothing is copied"
            );
            assert_eq!((args.shared(1), args.total_bytes()), (None, 6 + 2 * SHARED_MIN));
            decoder.finish();
            decoder.restart();
        }
        assert_eq!(decoder.take_apart().len(), 2);
        assert_eq!(requests(b"*1\r\n$4\r\nPING\r\n").map(|all| all.len()), Ok(1));
    }
}
