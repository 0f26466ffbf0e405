//! Requests and replies of one socket (RESP2), without any cleverness.

use crate::model::Reply;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer replies are not asked for.
const LENGTH_MAX: i64 = 64 << 20;

pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// What could not be done, by what follows for the operation.
#[derive(Debug)]
pub enum Failure {
    /// Nothing was sent.
    NotSent(Error),
    /// It may have been carried out.
    Lost(Error),
}

impl Connection {
    /// `patience` is how long a reply may take.
    pub fn open(address: SocketAddr, patience: Duration) -> Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, patience.min(Duration::from_millis(500)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// One request and its reply; errors are replies with their whole text.
    pub fn call(&mut self, words: &[&str]) -> Result<Reply> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        self.send(&[words])?;
        self.read()
    }

    /// Sends requests in one go.
    pub fn send(&mut self, requests: &[Vec<String>]) -> Result<()> {
        let mut bytes = Vec::new();
        for words in requests {
            bytes.extend(format!("*{}\r\n", words.len()).into_bytes());
            for word in words {
                bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
            }
        }
        self.stream.get_mut().write_all(&bytes)
    }

    pub fn read(&mut self) -> Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the server has closed the connection"));
        }
        let line = line.trim_end_matches(['\r', '\n']);
        let kind = line.chars().next().ok_or_else(|| malformed(line))?;
        let rest = &line[kind.len_utf8()..];
        Ok(match kind {
            '+' if rest == "OK" => Reply::Ok,
            '+' => Reply::Text(rest.into()),
            '-' => Reply::Error(rest.into()),
            ':' => Reply::Int(rest.parse().map_err(|_| malformed(line))?),
            '$' => match length(line)? {
                None => Reply::Nil,
                Some(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Reply::Text(String::from_utf8(bytes).map_err(|_| malformed(line))?.into())
                }
            },
            '*' => match length(line)? {
                None => Reply::Nil,
                Some(length) => Reply::Array((0..length).map(|_| self.read()).collect::<Result<_>>()?),
            },
            _ => return Err(malformed(line)),
        })
    }
}

/// Nothing for a null.
fn length(line: &str) -> Result<Option<usize>> {
    match line[1..].parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(length @ 0..=LENGTH_MAX) => Ok(Some(length as usize)),
        _ => Err(malformed(line)),
    }
}

fn malformed(line: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("no reply begins with {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What is read of a server that sends these bytes and closes.
    fn read(bytes: &[u8]) -> Result<Reply> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut connection = Connection::open(listener.local_addr()?, Duration::from_secs(10))?;
        listener.accept()?.0.write_all(bytes)?;
        connection.read()
    }

    #[test]
    fn replies_of_all_kinds() {
        let read = |bytes| read(bytes).expect("a reply");
        assert_eq!(read(b"+OK\r\n"), Reply::Ok);
        assert_eq!(read(b"+QUEUED\r\n"), Reply::Text("QUEUED".into()));
        assert_eq!(read(b"-MOVED 1 127.0.0.1:2\r\n"), Reply::Error("MOVED 1 127.0.0.1:2".into()));
        assert_eq!(read(b"$-1\r\n"), Reply::Nil);
        assert_eq!(read(b"*-1\r\n"), Reply::Nil);
        assert_eq!(read(b"$4\r\na\r\nb\r\n"), Reply::Text("a\r\nb".into()));
        assert_eq!(read(b"*2\r\n:-7\r\n*0\r\n"), Reply::Array(vec![Reply::Int(-7), Reply::Array(Vec::new())]));
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for bytes in [&b""[..], b"\r\n", b"?\r\n", b":x\r\n", b"$-2\r\n", b"$99999999999\r\n", b"$3\r\nab", b"*1\r\n"] {
            assert!(read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
