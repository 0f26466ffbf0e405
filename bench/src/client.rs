//! A plain client, for what redis-benchmark does not measure.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest time to wait for a reply.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Client {
    pub fn connect(port: u16) -> std::io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client { reader: BufReader::new(stream.try_clone()?), stream, line: Vec::new() })
    }

    /// Sends a request and waits for its reply, of which the first line is returned.
    pub fn call(&mut self, words: &[&[u8]]) -> String {
        self.send(&request(words));
        self.reply()
    }

    pub fn send(&mut self, requests: &[u8]) {
        self.stream.write_all(requests).expect("the server takes requests");
    }

    /// The first line of the next reply; a string is read to its end.
    ///
    /// # Panics
    /// If the server answers with an error.
    pub fn reply(&mut self) -> String {
        self.outcome().unwrap_or_else(|error| panic!("the server answers {error:?}"))
    }

    /// The same, or the error that the server answers with.
    pub fn outcome(&mut self) -> Result<String, String> {
        let line = self.line();
        if let Some(len) = body_len(&line) {
            self.body(len);
        }
        if line.starts_with('-') { Err(line) } else { Ok(line) }
    }

    /// Sends a request and waits for its reply; returns the texts in it, of arrays those of their elements in depth.
    pub fn texts(&mut self, words: &[&[u8]]) -> Vec<String> {
        self.send(&request(words));
        let (mut texts, mut awaited) = (Vec::new(), 1);
        while awaited > 0 {
            awaited -= 1;
            let line = self.line();
            if let Some(len) = line.strip_prefix('*') {
                awaited += len.parse::<usize>().unwrap_or(0);
            } else if let Some(len) = body_len(&line) {
                texts.push(self.body(len));
            } else {
                texts.push(line);
            }
        }
        texts
    }

    /// The text of a reply that is a single one.
    pub fn text(&mut self, words: &[&[u8]]) -> String {
        self.texts(words).pop().expect("a reply that is no empty array")
    }

    /// A section of INFO, as text.
    pub fn info(&mut self, section: &str) -> String {
        self.text(&[b"INFO", section.as_bytes()])
    }

    fn line(&mut self) -> String {
        self.line.clear();
        self.reader.read_until(b'\n', &mut self.line).expect("the server answers");
        assert!(!self.line.is_empty(), "the server has closed the connection");
        String::from_utf8_lossy(&self.line).trim_end().to_owned()
    }

    fn body(&mut self, len: usize) -> String {
        let mut body = vec![0; len + 2];
        self.reader.read_exact(&mut body).expect("the server answers whole strings");
        body.truncate(len);
        String::from_utf8_lossy(&body).into_owned()
    }
}

/// How much follows a first line.
fn body_len(line: &str) -> Option<usize> {
    line.strip_prefix('$')?.parse().ok()
}

/// One request on the wire.
pub fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A field of INFO.
pub fn field(info: &str, name: &str) -> String {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or("?").trim().to_owned()
}
