//! A client of a cluster: goes where it is sent, and remembers where the slots are, as any cluster client does.

use crate::client::{Client, request};
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

const SLOTS: usize = 16384;

/// How long it waits after it was told to try again.
const PAUSE: Duration = Duration::from_millis(1);

pub struct ClusterClient {
    connections: BTreeMap<u16, Client>,
    /// The port of the node of each slot, as far as it is known.
    owners: Vec<u16>,
}

impl ClusterClient {
    /// Starts from a node that is believed to own everything.
    pub fn new(port: u16) -> ClusterClient {
        ClusterClient { connections: BTreeMap::new(), owners: vec![port; SLOTS] }
    }

    /// Has a command carried out by whoever owns the key.
    pub fn call(&mut self, key: &[u8], words: &[&[u8]]) {
        let (slot, request) = (slot_of(key), request(words));
        let mut next = Next::Owner;
        loop {
            let port = match next {
                Next::Owner => self.owners[slot],
                Next::Asking(port) => port,
            };
            let client = self.connections.entry(port);
            let client = client.or_insert_with(|| Client::connect(port).expect("the node listens"));
            if let Next::Asking(_) = next {
                client.call(&[b"ASKING"]);
            }
            client.send(&request);
            let Err(error) = client.outcome() else { return };
            next = self.sent_on(slot, &error);
        }
    }

    /// Where to go after an error.
    fn sent_on(&mut self, slot: usize, error: &str) -> Next {
        let mut words = error.split(' ');
        let kind = words.next();
        let port = words.nth(1).and_then(|address| address.rsplit_once(':')?.1.parse::<u16>().ok());
        match (kind, port) {
            (Some("-MOVED"), Some(port)) => self.owners[slot] = port,
            (Some("-ASK"), Some(port)) => return Next::Asking(port),
            (Some("-TRYAGAIN" | "-CLUSTERDOWN"), _) => sleep(PAUSE),
            _ => panic!("the cluster answers {error:?}"),
        }
        Next::Owner
    }
}

#[derive(Clone, Copy)]
enum Next {
    Owner,
    /// Only this once.
    Asking(u16),
}

/// Of a key without a hash tag: CRC16 (XMODEM).
fn slot_of(key: &[u8]) -> usize {
    usize::from(crc16::State::<crc16::XMODEM>::calculate(key)) % SLOTS
}
