//! Commands without sockets: a server, its clients and its time, all in the hands of a test.
#![allow(dead_code, reason = "each test uses its own part")]

pub mod grammar;
pub mod image;
pub mod local;

use basalt_server::blocked::End;
use basalt_server::client::NewClient;
use basalt_server::config::{Config, file};
use basalt_server::dispatch::{self, Flow};
use basalt_server::resp::{OwnedArgs, ReplyBuf};
use basalt_server::server::Server;
use basalt_server::session::Session;
use basalt_storage::clock::UnixMs;
use std::sync::Arc;

/// The time at which every test begins: a second, so that seconds and milliseconds start together.
pub const START: UnixMs = UnixMs(1_700_000_000_000);

/// A server without network and with a clock that stands still.
pub struct TestServer {
    pub server: Arc<Server>,
    now: UnixMs,
}

/// A configuration as from the command line. Nothing in these tests runs a node, so there is no data on disk.
///
/// A server makes its `dir` the working directory, which is the whole process's: where these tests run in one process,
/// that must be the same for all of them, at all times. And no test but the one of dumps may write one there, as
/// FLUSHALL would.
pub fn config(options: &[&str]) -> Config {
    let directory = std::env::temp_dir().display().to_string();
    let defaults = ["--mode", "cache", "--dir", &directory, "--save", ""];
    let options: Vec<String> = defaults.iter().chain(options).map(|word| (*word).to_owned()).collect();
    let directives = file::read_arguments(&options).expect("options are names and values");
    Config::from_directives(directives, None).expect("settings and their values")
}

impl TestServer {
    pub fn start() -> TestServer {
        TestServer::with(config(&[]))
    }

    pub fn with(config: Config) -> TestServer {
        let server = Server::new(config).expect("the settings can be had");
        server.clock.stop_at(START);
        TestServer { server, now: START }
    }

    pub fn now(&self) -> UnixMs {
        self.now
    }

    pub fn advance(&mut self, ms: i64) {
        self.now = UnixMs(self.now.0 + ms);
        self.server.clock.stop_at(self.now);
    }

    pub fn client(&self) -> TestClient {
        let address = "127.0.0.1:1".to_owned();
        let client = self.server.clients.register(NewClient {
            local_address: address.clone(),
            address,
            fd: 0,
            thread: 0,
            now_ms: self.now.0,
        });
        TestClient { server: self.server.clone(), session: Session::new(client, true), out: ReplyBuf::default() }
    }
}

/// One client; its replies come as the bytes that a socket would carry.
pub struct TestClient {
    server: Arc<Server>,
    pub session: Session,
    out: ReplyBuf,
}

impl TestClient {
    /// Sends one command; `None` if the client must wait for the answer.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Option<Vec<u8>> {
        assert!(!self.is_waiting(), "a client that waits sends nothing");
        let args = OwnedArgs::of(args.iter().map(AsRef::as_ref));
        loop {
            match dispatch::dispatch(&self.server, &mut self.session, args.as_args(), &mut self.out) {
                Flow::Next => return Some(self.out.take()),
                Flow::Blocked => return None,
                Flow::Loading => assert!(self.session.client.take_mail().loaded.is_some(), "it is told when to go on"),
                flow @ (Flow::Paused | Flow::Congested | Flow::Forwarded | Flow::Behind) => {
                    panic!("no test here makes clients wait: {flow:?}")
                }
            }
        }
    }

    /// Sends a command that is held back: nobody knows who has its slot.
    pub fn call_held(&mut self, line: &str) {
        let args = OwnedArgs::of(line.split(' ').map(str::as_bytes));
        let flow = dispatch::dispatch(&self.server, &mut self.session, args.as_args(), &mut self.out);
        assert_eq!(flow, Flow::Loading, "{line} is held back");
        assert!(!self.session.client.has_mail(), "{line} is held back");
    }

    /// Like [`TestClient::call`], for a command in one line whose answer is text.
    pub fn say(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        String::from_utf8_lossy(&self.call(&words).unwrap_or_default()).into_owned()
    }

    pub fn is_waiting(&self) -> bool {
        self.session.waiting.is_some()
    }

    /// What others have sent to the client since the last call; it may end the wait.
    pub fn take_mail(&mut self) -> Vec<u8> {
        let mail = self.session.client.take_mail();
        if mail.unblocked.is_some() {
            self.session.waiting = None;
        }
        mail.bytes
    }

    /// The client has waited long enough.
    pub fn time_out(&mut self) -> Vec<u8> {
        self.server.blocked.end(&self.server, self.session.client.id, End::Timeout);
        self.take_mail()
    }
}
