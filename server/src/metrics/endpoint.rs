//! The port for metrics, health and the status page: a thread of its own, so that answering takes nothing from the
//! network threads.

use super::exposition::CONTENT_TYPE;
use super::health::{self, Reasons};
use super::http::{self, REQUEST_BYTES_MAX, Request, Status, Wants};
use super::scrape::Scrape;
use super::status;
use super::threads::ThreadTimes;
use crate::config::Config;
use crate::net::listeners;
use crate::server::Server;
use parking_lot::Mutex;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// What `metrics-port` is above the port of clients, where it is not set.
const ABOVE_CLIENTS: i64 = 20_000;
/// Connections at a time; others wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
const BACKLOG: i32 = 64;
/// What a connection may take from its first byte to its last.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the listener rests when the system gives it no more descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// The status page: one file, which asks for nothing but `/status.json`.
const PAGE: &str = include_str!("page.html");
const PATHS: &str = "There are / (for people), /metrics (for Prometheus), /health and /ready.\n";

/// Opens the port, if there is to be one, and starts its thread. Where nobody has asked for this port in particular, a
/// server that cannot have it goes without.
pub fn start(server: &Arc<Server>) -> Result<(), String> {
    let config = &server.config;
    let Some(port) = port(config) else { return Ok(()) };
    let is_chosen = config.int("metrics-port") > 0;
    match open(&config.text("metrics-bind"), port) {
        Ok(listeners) => run(server.clone(), listeners).map_err(|error| error.to_string()),
        Err(reason) if is_chosen => Err(format!("metrics-port: {reason}")),
        Err(reason) => {
            tracing::warn!(port, reason, "there will be no metrics: set metrics-port to a port that is free, or to 0");
            Ok(())
        }
    }
}

/// None if there is to be none, or if the clients' port leaves no room above it.
fn port(config: &Config) -> Option<u16> {
    match config.int("metrics-port") {
        0 => None,
        port @ 1.. => u16::try_from(port).ok(),
        _ => match config.int("port") {
            0 => None,
            clients => u16::try_from(clients + ABOVE_CLIENTS).ok(),
        },
    }
}

fn open(bind: &str, port: u16) -> Result<Vec<StdListener>, String> {
    let mut open = Vec::new();
    for wanted in listeners::addresses(bind, port)? {
        match listeners::bind(wanted.address, BACKLOG) {
            Ok(listener) => open.push(listener),
            Err(error) if wanted.must_exist => return Err(format!("cannot listen on {}: {error}", wanted.address)),
            Err(error) => tracing::debug!(address = %wanted.address, %error, "no metrics on an optional address"),
        }
    }
    if open.is_empty() { Err(format!("cannot listen on any of '{bind}'")) } else { Ok(open) }
}

/// The state of the endpoint's thread.
struct Endpoint {
    server: Arc<Server>,
    threads: Mutex<ThreadTimes>,
    room: Arc<Semaphore>,
}

fn run(server: Arc<Server>, listeners: Vec<StdListener>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let endpoint = Arc::new(Endpoint { server, threads: Mutex::default(), room });
    let serve = move || {
        runtime.block_on(async {
            let accepting: Vec<_> =
                listeners.into_iter().map(|listener| tokio::spawn(accept(endpoint.clone(), listener))).collect();
            for task in accepting {
                // They do not end before the process does.
                let _ = task.await;
            }
        });
    };
    std::thread::Builder::new().name("metrics".into()).spawn(serve).map(drop)
}

async fn accept(endpoint: Arc<Endpoint>, listener: StdListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::warn!(%error, "the port for metrics could not be served"),
    };
    loop {
        let place = endpoint.room.clone().acquire_owned().await.expect("it is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let endpoint = endpoint.clone();
                tokio::spawn(async move {
                    // Who is slow, or hangs up, has no answer.
                    let _ = tokio::time::timeout(PATIENCE, endpoint.converse(stream)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to the port for metrics was lost");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

impl Endpoint {
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut received = Vec::with_capacity(1024);
        let request = loop {
            if let Some(request) = http::parse(&received) {
                break request;
            }
            let room = (REQUEST_BYTES_MAX - received.len()) as u64;
            if (&mut stream).take(room).read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        };
        let answer = match request {
            Ok(request) => self.answer(&request),
            Err(status) => http::answer(status, PLAIN, "", Wants::Everything),
        };
        stream.write_all(&answer).await?;
        stream.shutdown().await
    }

    fn look(&self) -> Scrape<'_> {
        Scrape::of(&self.server, &mut self.threads.lock())
    }

    fn answer(&self, request: &Request) -> Vec<u8> {
        let server = &self.server;
        let (status, content_type, body) = match request.path.as_str() {
            "/metrics" => (Status::Ok, CONTENT_TYPE, super::render(&self.look())),
            "/health" => told("alive", &health::health(server)),
            "/ready" => told("ready", &health::readiness(server)),
            "/" => (Status::Ok, HTML, PAGE.to_owned()),
            "/status.json" => (Status::Ok, JSON, status::render(&self.look())),
            _ => (Status::NotFound, PLAIN, PATHS.to_owned()),
        };
        http::answer(status, content_type, &body, request.wants)
    }
}

fn told(well: &str, reasons: &Reasons) -> (Status, &'static str, String) {
    match reasons.is_empty() {
        true => (Status::Ok, PLAIN, format!("{well}\n")),
        false => (Status::Unavailable, PLAIN, format!("not {well}\n{}\n", reasons.join("\n"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_follows_that_of_clients_unless_it_is_set() {
        let with = |options: &[&str]| {
            let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            let directives = crate::config::file::read_arguments(&options).expect("options");
            port(&Config::from_directives(directives, None).expect("settings"))
        };
        assert_eq!(with(&[]), Some(26379));
        assert_eq!(with(&["--port", "7001"]), Some(27001));
        assert_eq!(with(&["--port", "60000"]), None);
        assert_eq!(with(&["--port", "0"]), None);
        assert_eq!(with(&["--port", "0", "--metrics-port", "9100"]), Some(9100));
        assert_eq!(with(&["--metrics-port", "0"]), None);
    }
}
