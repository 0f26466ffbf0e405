//! What is said to the server that keys are sent to. Blocks, each step for as long as the client has said.

use super::{Address, Credentials, Request};
use crate::error::CommandError;
use parking_lot::Mutex;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// A connection that was not used for so long is closed.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Connections that are kept; more are closed after use.
const KEPT_MAX: usize = 64;

/// A reply is a status or an error. What is longer is none.
const REPLY_MAX: u64 = 64 << 10;

/// Bytes that are gathered before they are sent.
const PIECE: usize = 64 << 10;

/// The database of a connection before anything was said about it.
const UNSAID: i64 = -1;

/// Why keys do not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody is there by this name, or he does not answer.
    Connecting,
    Writing,
    /// Whether the target has done what it was told is not known.
    Reading(Patience),
    /// It says why not.
    Refused(Vec<u8>),
}

/// Whether one has waited as long as one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Left,
    UsedUp,
}

/// What the target says to one command.
pub type Reply = Result<(), Vec<u8>>;

impl From<Trouble> for CommandError {
    fn from(trouble: Trouble) -> CommandError {
        match trouble {
            Trouble::Connecting => CommandError::new("IOERR error or timeout connecting to the client"),
            Trouble::Writing => CommandError::new("IOERR error or timeout writing to target instance"),
            Trouble::Reading(_) => CommandError::new("IOERR error or timeout reading to target instance"),
            Trouble::Refused(why) => {
                let opening: &[u8] = b"ERR Target instance replied with error: ";
                CommandError::of_bytes([opening, &why].concat())
            }
        }
    }
}

/// What is to be restored over there.
pub struct Restore<'a> {
    pub key: &'a [u8],
    /// Milliseconds from now; zero: for ever.
    pub ttl_ms: i64,
    pub payload: &'a [u8],
    pub replaces: bool,
}

/// A connection to a target.
pub struct Link {
    input: BufReader<TcpStream>,
    db: i64,
}

impl Link {
    fn open(address: &Address, timeout: Duration) -> Result<Link, Trouble> {
        let places = (address.host.as_str(), address.port).to_socket_addrs().map_err(|_| Trouble::Connecting)?;
        let mut trouble = Trouble::Connecting;
        for place in places {
            match TcpStream::connect_timeout(&place, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(|_| Trouble::Writing)?;
                    return Ok(Link { input: BufReader::new(stream), db: UNSAID });
                }
                Err(error) if is_timeout(&error) => trouble = Trouble::Connecting,
                // Redis finds that out when it writes.
                Err(_) => trouble = Trouble::Writing,
            }
        }
        Err(trouble)
    }

    /// Whether the other side seems to be there still, and has said nothing that it was not asked for.
    fn is_usable(&self) -> bool {
        let stream = self.input.get_ref();
        let nothing = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let is_quiet = nothing.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        is_quiet && self.input.buffer().is_empty() && stream.set_nonblocking(false).is_ok()
    }

    fn set_timeout(&self, timeout: Duration) -> Result<(), Trouble> {
        let stream = self.input.get_ref();
        let set = stream.set_read_timeout(Some(timeout)).and_then(|()| stream.set_write_timeout(Some(timeout)));
        set.map_err(|_| Trouble::Writing)
    }

    /// The next reply.
    pub fn reply(&mut self) -> Result<Reply, Trouble> {
        let trouble = |error: &std::io::Error| {
            Trouble::Reading(if is_timeout(error) { Patience::UsedUp } else { Patience::Left })
        };
        let mut line = Vec::new();
        (&mut self.input).take(REPLY_MAX).read_until(b'\n', &mut line).map_err(|error| trouble(&error))?;
        let Some(line) = line.strip_suffix(b"\r\n") else { return Err(Trouble::Reading(Patience::Left)) };
        match line.split_first() {
            Some((b'+' | b':', _)) => Ok(Ok(())),
            Some((b'-', why)) => Ok(Err(why.to_vec())),
            _ => Err(Trouble::Reading(Patience::Left)),
        }
    }

    /// Says who we are, and which database is meant. What follows must not get into another one, so that is waited for.
    pub fn introduce(&mut self, request: &Request) -> Result<(), Trouble> {
        self.set_timeout(request.timeout)?;
        if let Some(Credentials { user, password }) = &request.credentials {
            let words: Vec<&[u8]> =
                [b"AUTH" as &[u8]].into_iter().chain(user.as_deref()).chain([&**password]).collect();
            self.obey(words)?;
        }
        if request.db != self.db {
            self.obey(vec![b"SELECT", request.db.to_string().as_bytes()])?;
            self.db = request.db;
        }
        Ok(())
    }

    fn obey(&mut self, words: Vec<&[u8]>) -> Result<(), Trouble> {
        let mut out = BufWriter::with_capacity(PIECE, self.input.get_ref());
        write_command(&mut out, &words).and_then(|()| out.flush()).map_err(|_| Trouble::Writing)?;
        drop(out);
        self.reply()?.map_err(Trouble::Refused)
    }

    /// Has keys restored; as many replies are to be read then.
    pub fn restore<'a>(
        &mut self,
        command: &'static [u8],
        restores: impl Iterator<Item = Restore<'a>>,
    ) -> Result<(), Trouble> {
        let mut out = BufWriter::with_capacity(PIECE, self.input.get_ref());
        for Restore { key, ttl_ms, payload, replaces } in restores {
            let ttl = ttl_ms.to_string();
            let mut words = vec![command, key, ttl.as_bytes(), payload];
            if replaces {
                words.push(b"REPLACE");
            }
            write_command(&mut out, &words).map_err(|_| Trouble::Writing)?;
        }
        out.flush().map_err(|_| Trouble::Writing)
    }

    /// Has a key deleted again.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Trouble> {
        self.obey(vec![b"DEL", key])
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

fn write_command(out: &mut impl Write, words: &[&[u8]]) -> std::io::Result<()> {
    write!(out, "*{}\r\n", words.len())?;
    for word in words {
        write!(out, "${}\r\n", word.len())?;
        out.write_all(word)?;
        out.write_all(b"\r\n")?;
    }
    Ok(())
}

/// Whether a connection is fresh, or has waited for use and may have died meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Fresh,
    Kept,
}

struct Kept {
    address: Address,
    link: Link,
    since: Instant,
}

/// Connections that wait for their next use. redis-cli moves ten keys at a time.
#[derive(Default)]
pub struct Links {
    kept: Mutex<Vec<Kept>>,
}

impl Links {
    /// A connection that has waited, if there is one, or a fresh one.
    pub fn find(&self, request: &Request) -> Result<(Link, Origin), Trouble> {
        while let Some(link) = self.take(&request.address) {
            if link.is_usable() {
                return Ok((link, Origin::Kept));
            }
        }
        Ok((Link::open(&request.address, request.timeout)?, Origin::Fresh))
    }

    /// A connection over which the target knows us already.
    pub fn meet(&self, request: &Request) -> Result<Link, Trouble> {
        let (mut link, _) = self.find(request)?;
        link.introduce(request)?;
        Ok(link)
    }

    pub fn open(&self, request: &Request) -> Result<Link, Trouble> {
        Link::open(&request.address, request.timeout)
    }

    fn take(&self, address: &Address) -> Option<Link> {
        let mut kept = self.kept.lock();
        let place = kept.iter().rposition(|kept| kept.address == *address)?;
        Some(kept.remove(place).link)
    }

    /// Keeps a connection on which everything was answered.
    pub fn keep(&self, address: &Address, link: Link) {
        let mut kept = self.kept.lock();
        if kept.len() < KEPT_MAX {
            kept.push(Kept { address: address.clone(), link, since: Instant::now() });
        }
    }

    pub fn drop_idle(&self) {
        self.kept.lock().retain(|kept| kept.since.elapsed() < KEPT_FOR);
    }

    pub fn count(&self) -> usize {
        self.kept.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn request(port: u16) -> Request {
        Request {
            address: Address { host: "127.0.0.1".into(), port },
            keys: Vec::new(),
            db: 3,
            timeout: Duration::from_secs(5),
            credentials: Some(Credentials { user: None, password: Box::from(&b"secret"[..]) }),
            copies: false,
            replaces: false,
        }
    }

    /// A server that answers with these bytes, and returns what it was told.
    fn server(answers: &'static [u8]) -> (u16, std::thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let serve = move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.write_all(answers).expect("written");
            let mut told = Vec::new();
            // The other side may end the connection with our answers unread.
            let _ = stream.read_to_end(&mut told);
            told
        };
        (port, std::thread::spawn(serve))
    }

    #[test]
    fn a_key_is_restored_in_its_database() {
        let (port, told) = server(b"+OK\r\n+OK\r\n+OK\r\n-BUSYKEY taken\r\n");
        let request = request(port);
        let links = Links::default();
        let (mut link, origin) = links.find(&request).expect("it listens");
        assert_eq!(origin, Origin::Fresh);
        link.introduce(&request).expect("it agrees");
        let restores = [("a", 0, false), ("b", 7, true)];
        let restores = restores.map(|(key, ttl_ms, replaces)| Restore {
            key: key.as_bytes(),
            ttl_ms,
            payload: b"value",
            replaces,
        });
        link.restore(b"RESTORE", restores.into_iter()).expect("written");
        assert_eq!(link.reply(), Ok(Ok(())));
        assert_eq!(link.reply(), Ok(Err(b"BUSYKEY taken".to_vec())));
        drop(link);
        let told = String::from_utf8(told.join().expect("no panic")).expect("text");
        let expected = "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n\
                        *4\r\n$7\r\nRESTORE\r\n$1\r\na\r\n$1\r\n0\r\n$5\r\nvalue\r\n\
                        *5\r\n$7\r\nRESTORE\r\n$1\r\nb\r\n$1\r\n7\r\n$5\r\nvalue\r\n$7\r\nREPLACE\r\n";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_refusal_is_told_before_a_key_is_sent() {
        let (port, told) = server(b"+OK\r\n-ERR DB index is out of range\r\n");
        let request = request(port);
        let (mut link, _) = Links::default().find(&request).expect("it listens");
        let refused = link.introduce(&request).expect_err("it does not agree");
        let text = b"ERR Target instance replied with error: ERR DB index is out of range";
        assert_eq!(CommandError::from(refused).text(), text);
        drop(link);
        assert!(!told.join().expect("no panic").is_empty());
    }

    #[test]
    fn a_connection_that_has_ended_is_not_used_again() {
        let (port, told) = server(b"");
        let request = request(port);
        let links = Links::default();
        let (link, _) = links.find(&request).expect("it listens");
        links.keep(&request.address, link);
        assert_eq!((links.count(), links.find(&request).map(|(_, origin)| origin)), (1, Ok(Origin::Kept)));
        assert_eq!(told.join().expect("no panic"), b"");
        assert_eq!(links.find(&request).map(|_| ()), Err(Trouble::Writing));
    }
}
