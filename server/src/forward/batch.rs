//! Requests of one connection that go to other nodes together, and their form on the way.

use crate::cluster::Picture;
use crate::cluster::route::Effect;
use crate::commands::Command;
use crate::commands::spec::Flags;
use crate::resp::{Args, Output, OwnedArgs, Protocol};
use crate::session::Queued;
use basalt_cluster::ids::NodeId;
use basalt_storage::slot::Slot;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Requests of a batch at most.
const REQUESTS_MAX: usize = 256;
/// Bytes of arguments in a batch, at which it goes without waiting for more. What exceeds this is one request.
const BYTES_MAX: usize = 1024 * 1024;

/// Where a request is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    pub node: NodeId,
    pub address: SocketAddr,
    pub way: Way,
}

/// How a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Plain,
    /// Behind ASKING: the slot is on its way there.
    Asking,
}

/// One request, or one transaction.
pub struct Request {
    pub what: What,
    pub slot: Slot,
    pub effect: Effect,
    pub answer: Answer,
    /// Where it was last known to be served, if that is known.
    pub destination: Option<Destination>,
    pub since: Instant,
}

pub enum What {
    Command(&'static Command, OwnedArgs),
    /// What EXEC runs.
    Transaction(Vec<Queued>),
}

/// Whether the client wants to hear what comes of a request (CLIENT REPLY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Wanted,
    Muted,
}

/// What a connection has given away, in the client's order.
pub struct Batch {
    pub requests: Vec<Request>,
    pub protocol: Protocol,
    /// From which all destinations were taken: so there is one for each slot.
    picture: Arc<Picture>,
    bytes: usize,
}

impl Request {
    /// Whether it may wait for keys, and does so in a transaction no more.
    pub fn waits_for_keys(&self) -> bool {
        match &self.what {
            What::Command(command, _) => waits_for_keys(command),
            What::Transaction(_) => false,
        }
    }

    /// The keys that it names.
    pub fn keys(&self) -> Vec<&[u8]> {
        match &self.what {
            What::Command(command, args) => keys_of(command, args),
            What::Transaction(queue) => queue.iter().flat_map(|queued| keys_of(queued.command, &queued.args)).collect(),
        }
    }

    /// Replies that come before the one that the client gets.
    pub fn prefaces(&self, way: Way) -> usize {
        let asking = usize::from(way == Way::Asking);
        match &self.what {
            What::Command(..) => asking,
            What::Transaction(queue) => asking + 1 + queue.len(),
        }
    }

    /// Adds what is sent to the other node.
    pub fn encode(&self, way: Way, out: &mut Output) {
        if way == Way::Asking {
            encode_words(&["ASKING"], out);
        }
        match &self.what {
            What::Command(_, args) => encode(args.as_args(), out),
            What::Transaction(queue) => {
                encode_words(&["MULTI"], out);
                queue.iter().for_each(|queued| encode(queued.args.as_args(), out));
                encode_words(&["EXEC"], out);
            }
        }
    }

    fn bytes(&self) -> usize {
        match &self.what {
            What::Command(_, args) => args.heap_bytes(),
            What::Transaction(queue) => queue.iter().map(|queued| queued.args.heap_bytes()).sum(),
        }
    }
}

fn keys_of<'a>(command: &Command, args: &'a OwnedArgs) -> Vec<&'a [u8]> {
    let mut keys = Vec::new();
    let _ = command.spec.for_each_key(args.as_args(), &mut |index, _| keys.push(args.as_args().at(index)));
    keys
}

fn waits_for_keys(command: &Command) -> bool {
    command.spec.flags.contains(Flags::BLOCKING)
}

impl Batch {
    pub fn new(picture: Arc<Picture>, protocol: Protocol) -> Batch {
        Batch { requests: Vec::new(), protocol, picture, bytes: 0 }
    }

    pub fn push(&mut self, request: Request) {
        self.bytes += request.bytes();
        self.requests.push(request);
    }

    /// Whether it should go now. What waits for keys, and a transaction, goes alone.
    pub fn is_full(&self) -> bool {
        let is_lonely = |request: &Request| request.waits_for_keys() || matches!(request.what, What::Transaction(_));
        self.requests.len() >= REQUESTS_MAX || self.bytes >= BYTES_MAX || self.requests.last().is_some_and(is_lonely)
    }

    /// Whether a command may go with the others.
    pub fn admits(&self, command: &Command, picture: &Arc<Picture>) -> bool {
        Arc::ptr_eq(&self.picture, picture) && !waits_for_keys(command)
    }

    /// Whether the client may go away before it is answered: it only waits for keys then.
    pub fn waits_for_keys(&self) -> bool {
        self.requests.last().is_some_and(Request::waits_for_keys)
    }
}

/// Adds a request as clients send it. Large arguments are not copied.
fn encode(args: Args<'_>, out: &mut Output) {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for index in 0..args.len() {
        let argument = args.at(index);
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        match args.shared(index) {
            Some(shared) => {
                out.extend(&bytes);
                bytes.clear();
                out.push_shared(shared, 0..argument.len());
            }
            None => bytes.extend_from_slice(argument),
        }
        bytes.extend_from_slice(b"\r\n");
    }
    out.extend(&bytes);
}

/// The same for words of our own.
pub fn encode_words(words: &[&str], out: &mut Output) {
    encode(OwnedArgs::of(words.iter().map(|word| word.as_bytes())).as_args(), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;

    fn owned(text: &str) -> OwnedArgs {
        OwnedArgs::of(text.split(' ').map(str::as_bytes))
    }

    fn request(what: What) -> Request {
        let (answer, effect) = (Answer::Wanted, Effect::Reads);
        Request { what, slot: Slot::of_key(b"k"), effect, answer, destination: None, since: Instant::now() }
    }

    fn command(text: &str) -> &'static Command {
        commands::resolve(owned(text).as_args()).expect("a command")
    }

    #[test]
    fn a_request_is_sent_as_the_client_has_sent_it() {
        let get = request(What::Command(command("get k"), owned("get k")));
        let mut out = Output::default();
        get.encode(Way::Plain, &mut out);
        assert_eq!(out.to_vec(), b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n");
        assert_eq!((get.prefaces(Way::Plain), get.prefaces(Way::Asking)), (0, 1));
    }

    #[test]
    fn a_transaction_is_sent_whole_behind_asking() {
        let queue = ["SET k 1", "GET k"].map(|text| Queued { command: command(text), args: owned(text) });
        let transaction = request(What::Transaction(queue.into()));
        let mut out = Output::default();
        transaction.encode(Way::Asking, &mut out);
        let words = String::from_utf8(out.to_vec()).expect("text");
        let words: Vec<&str> = words.split("\r\n").filter(|line| !line.starts_with(['*', '$'])).collect();
        assert_eq!(words, ["ASKING", "MULTI", "SET", "k", "1", "GET", "k", "EXEC", ""]);
        // To ASKING, MULTI and what is queued.
        assert_eq!(transaction.prefaces(Way::Asking), 4);
    }
}
