//! Where replies end, found without understanding them: what another node has answered is passed on as it is.
//!
//! Pure and incremental. Knows RESP2 and RESP3, but for strings and aggregates whose length is not said at their
//! beginning, which no node sends.

/// Looks for the end of one reply.
#[derive(Debug)]
pub struct Scanner {
    /// Values that are still to come, the one at hand included.
    values: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Kind,
    /// Of something that ends with its line.
    Line,
    Length {
        kind: u8,
        number: Option<u64>,
        sign: Sign,
    },
    /// So many bytes of a string are to come, with its line break.
    Bulk(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

/// What came is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has sent what is no reply")]
pub struct Malformed;

/// How much of some bytes belongs to a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of them, and more.
    All,
    /// So many.
    EndsAt(usize),
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner { values: 1, state: State::Kind }
    }
}

impl Scanner {
    /// Looks at the bytes that come next.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Extent, Malformed> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Bulk(left) => {
                    let taken = left.min((bytes.len() - at) as u64);
                    at += taken as usize;
                    self.state = State::Bulk(left - taken);
                    if left == taken {
                        self.end_value();
                    }
                }
                State::Line => match memchr::memchr(b'\n', &bytes[at..]) {
                    Some(end) => {
                        at += end + 1;
                        self.end_value();
                    }
                    None => at = bytes.len(),
                },
                State::Kind => {
                    at += 1;
                    self.state = begin(byte)?;
                }
                State::Length { kind, number, sign } => {
                    at += 1;
                    self.on_length(byte, kind, number, sign)?;
                }
            }
            if self.values == 0 {
                return Ok(Extent::EndsAt(at));
            }
        }
        Ok(Extent::All)
    }

    fn on_length(&mut self, byte: u8, kind: u8, number: Option<u64>, sign: Sign) -> Result<(), Malformed> {
        match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                let number = number.unwrap_or(0).checked_mul(10).and_then(|tens| tens.checked_add(digit));
                self.state = State::Length { kind, number: Some(number.ok_or(Malformed)?), sign };
            }
            b'-' if number.is_none() && sign == Sign::Plus => {
                self.state = State::Length { kind, number, sign: Sign::Minus };
            }
            b'\r' => {}
            b'\n' => self.begin_contents(kind, number.ok_or(Malformed)?, sign)?,
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn begin_contents(&mut self, kind: u8, length: u64, sign: Sign) -> Result<(), Malformed> {
        if sign == Sign::Minus {
            // A null of RESP2.
            self.end_value();
            return Ok(());
        }
        let parts = match kind {
            b'$' | b'=' | b'!' => {
                self.state = State::Bulk(length.checked_add(2).ok_or(Malformed)?);
                return Ok(());
            }
            b'%' => length.checked_mul(2).ok_or(Malformed)?,
            // Attributes come before a value.
            b'|' => length.checked_mul(2).and_then(|parts| parts.checked_add(1)).ok_or(Malformed)?,
            _ => length,
        };
        self.values = self.values.checked_add(parts).ok_or(Malformed)?;
        self.end_value();
        Ok(())
    }

    fn end_value(&mut self) {
        self.values -= 1;
        self.state = State::Kind;
    }
}

fn begin(kind: u8) -> Result<State, Malformed> {
    match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Ok(State::Line),
        b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => {
            Ok(State::Length { kind, number: None, sign: Sign::Plus })
        }
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[&str] = &[
        "+OK\r\n",
        "-ERR no\r\n",
        ":-12\r\n",
        "$5\r\nab\r\nc\r\n",
        "$0\r\n\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*3\r\n:1\r\n*2\r\n$1\r\na\r\n+b\r\n_\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n#t\r\n",
        "~1\r\n,1.5\r\n",
        ">2\r\n+message\r\n=5\r\ntxt:a\r\n",
        "|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n",
        "(12345678901234567890\r\n",
        "!3\r\nERR\r\n",
    ];

    #[test]
    fn a_reply_ends_where_it_ends_however_it_is_cut() {
        for reply in REPLIES {
            let followed = format!("{reply}+next\r\n");
            for cut in 0..=reply.len() {
                let mut scanner = Scanner::default();
                let (first, second) = followed.as_bytes().split_at(cut);
                let end = match scanner.advance(first) {
                    Ok(Extent::EndsAt(end)) => end,
                    Ok(Extent::All) => match scanner.advance(second) {
                        Ok(Extent::EndsAt(end)) => cut + end,
                        other => panic!("{reply:?} cut at {cut}: {other:?}"),
                    },
                    Err(error) => panic!("{reply:?}: {error}"),
                };
                assert_eq!(end, reply.len(), "{reply:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_found_out() {
        for bytes in ["hello\r\n", "$x\r\n", "$\r\n", "*?\r\n", "*18446744073709551615\r\n", "%9999999999999999999\r\n"]
        {
            let advanced = Scanner::default().advance(bytes.as_bytes());
            assert_eq!(advanced, Err(Malformed), "{bytes:?}");
        }
    }
}
