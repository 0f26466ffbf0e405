//! Which errors of another node mean that a request was not executed there, and where it can be tried next.

use std::net::{IpAddr, SocketAddr};

/// Why a node has not executed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another node serves the slot; where, if the node says so in numbers.
    Moved(Option<SocketAddr>),
    /// The keys have left for another node, which serves those who ask.
    Ask(Option<SocketAddr>),
    /// It may be served soon, here or elsewhere.
    Later,
}

impl Refusal {
    /// What an error reply means, which is given without `-` and line break; nothing if it is the client's own affair.
    pub fn of(error: &[u8]) -> Option<Refusal> {
        let mut words = error.split(|byte| *byte == b' ');
        match words.next()? {
            b"MOVED" => Some(Refusal::Moved(words.nth(1).and_then(address))),
            b"ASK" => Some(Refusal::Ask(words.nth(1).and_then(address))),
            b"TRYAGAIN" | b"CLUSTERDOWN" | b"LOADING" => Some(Refusal::Later),
            // A blocking pop whose node leads no more, not one that somebody has unblocked.
            b"UNBLOCKED" if words.next() == Some(b"force") => Some(Refusal::Later),
            _ => None,
        }
    }
}

/// HOST:PORT. A host that is a name, or missing, is left to the cluster's map.
fn address(word: &[u8]) -> Option<SocketAddr> {
    let (host, port) = std::str::from_utf8(word).ok()?.rsplit_once(':')?;
    let ip: IpAddr = host.parse().ok()?;
    Some(SocketAddr::new(ip, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_say_that_nothing_was_done_are_refusals() {
        let at = |text: &str| Some(text.parse().expect("an address"));
        for (error, expected) in [
            ("MOVED 3999 127.0.0.1:6381", Some(Refusal::Moved(at("127.0.0.1:6381")))),
            ("MOVED 3999 ::1:6381", Some(Refusal::Moved(at("[::1]:6381")))),
            ("MOVED 3999 host.example:6381", Some(Refusal::Moved(None))),
            ("MOVED 3999 :6381", Some(Refusal::Moved(None))),
            ("MOVED", Some(Refusal::Moved(None))),
            ("ASK 3999 127.0.0.1:6381", Some(Refusal::Ask(at("127.0.0.1:6381")))),
            ("TRYAGAIN Multiple keys", Some(Refusal::Later)),
            ("CLUSTERDOWN Hash slot not served", Some(Refusal::Later)),
            ("LOADING Basalt is loading", Some(Refusal::Later)),
            ("UNBLOCKED force unblock from blocking operation", Some(Refusal::Later)),
            ("UNBLOCKED client unblocked via CLIENT UNBLOCK", None),
            ("ERR MOVED", None),
            ("MOVEDX 1 127.0.0.1:1", None),
            ("", None),
        ] {
            assert_eq!(Refusal::of(error.as_bytes()), expected, "{error}");
        }
    }
}
