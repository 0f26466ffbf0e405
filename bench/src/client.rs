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
        self.line.clear();
        self.reader.read_until(b'\n', &mut self.line).expect("the server answers");
        let line = String::from_utf8_lossy(&self.line).trim_end().to_owned();
        assert!(!line.is_empty() && !line.starts_with('-'), "the server answers {line:?}");
        if let Some(len) = line.strip_prefix('$').and_then(|len| len.parse::<usize>().ok()) {
            let mut body = vec![0; len + 2];
            self.reader.read_exact(&mut body).expect("the server answers whole strings");
        }
        line
    }

    /// A section of INFO, as text.
    pub fn info(&mut self, section: &str) -> String {
        self.send(&request(&[b"INFO", section.as_bytes()]));
        self.line.clear();
        self.reader.read_until(b'\n', &mut self.line).expect("the server answers");
        let len = String::from_utf8_lossy(&self.line[1..]).trim_end().parse::<usize>().expect("INFO is a string");
        let mut body = vec![0; len + 2];
        self.reader.read_exact(&mut body).expect("the server answers whole strings");
        String::from_utf8_lossy(&body).into_owned()
    }
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
