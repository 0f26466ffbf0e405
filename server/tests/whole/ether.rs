//! What is between nodes: packets that get lost, late, repeated and overtaken, links that are cut, also in one
//! direction, and streams, which keep their order or break.

use basalt_cluster::group::core::{Lane, PeerMessage};
use basalt_cluster::ids::{GroupId, MapVersion};
use basalt_cluster::map::{Applied, Change, ClusterMap};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::bugs::Bug;
use crate::disk::Saved;
use crate::faults::Faults;
use crate::rng::Rng;
use crate::streams::Streams;

/// A node's place among all of them: what outlives its processes.
pub type Site = usize;

#[derive(Clone)]
pub enum Packet {
    Raft {
        group: GroupId,
        bytes: Vec<u8>,
    },
    Snapshot {
        group: GroupId,
        message: PeerMessage,
        saved: Saved,
        process: u64,
    },
    Shipped {
        group: GroupId,
        about: u64,
        is_installed: bool,
        process: u64,
    },
    Beat {
        version: MapVersion,
    },
    Learn {
        map: Arc<ClusterMap>,
    },
    /// A change that nobody waits for.
    Tell {
        change: Change,
    },
    Ask {
        request: u64,
        process: u64,
        change: Change,
    },
    Answer {
        request: u64,
        process: u64,
        answer: Answer,
    },
}

/// What has become of a change that somebody has asked for.
#[derive(Clone, Debug)]
pub enum Answer {
    Made(Applied),
    Refused(String),
    NotLeader(Option<Site>),
}

/// Which packets keep their order. Calls are answered by different threads, and keep none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Of(Lane),
    None,
    Bulk,
}

pub struct Ether {
    pub now: u64,
    pub rng: Rng,
    pub faults: Faults,
    pub streams: Streams,
    /// By the time of arrival, then in the order of sending.
    under_way: BTreeMap<(u64, u64), (Site, Site, Packet)>,
    sent: u64,
    last_arrival: BTreeMap<(Site, Site, Order), u64>,
    /// From whom to whom nothing gets through.
    cut: BTreeSet<(Site, Site)>,
    /// What has happened, if somebody wants to read it.
    pub log: Option<Vec<String>>,
}

/// What all processes of a run have in common.
#[derive(Clone)]
pub struct World {
    pub ether: Arc<Mutex<Ether>>,
    pub bug: Bug,
}

impl World {
    pub fn new(seed: u64, faults: Faults, bug: Bug) -> World {
        let ether = Ether {
            now: 0,
            rng: Rng::new(seed ^ 0x5bd1_e995),
            faults,
            streams: Streams::default(),
            under_way: BTreeMap::new(),
            sent: 0,
            last_arrival: BTreeMap::new(),
            cut: BTreeSet::new(),
            log: None,
        };
        World { ether: Arc::new(Mutex::new(ether)), bug }
    }

    pub fn now(&self) -> u64 {
        self.ether.lock().now
    }

    pub fn send(&self, from: Site, to: Site, packet: Packet) {
        self.ether.lock().send(from, to, packet);
    }

    pub fn say(&self, what: impl FnOnce() -> String) {
        let ether = &mut *self.ether.lock();
        let now = ether.now;
        if let Some(log) = &mut ether.log {
            log.push(format!("{now:>6} {}", what()));
        }
    }
}

impl Ether {
    pub fn send(&mut self, from: Site, to: Site, packet: Packet) {
        let (loss, order, slowness) = match &packet {
            Packet::Raft { bytes, .. } => {
                let lane = PeerMessage::decode(bytes).map_or(Lane::Control, |message| message.lane());
                (self.faults.loss, Order::Of(lane), 0)
            }
            Packet::Snapshot { .. } => (self.faults.snapshot_loss, Order::Bulk, 200),
            // Told by the connection, so it never gets lost; a process that has ended does not hear it.
            Packet::Shipped { .. } => (0, Order::None, 0),
            Packet::Beat { .. } => (self.faults.loss, Order::Of(Lane::Control), 0),
            _ => (self.faults.loss, Order::None, 0),
        };
        let is_told = matches!(packet, Packet::Shipped { .. });
        if !is_told && (self.is_cut(from, to) || self.rng.chance(loss)) {
            return self.tell_of_loss(from, to, packet);
        }
        let delay = self.rng.below(self.faults.delay_ms_max + slowness + 1);
        let last = self.last_arrival.entry((from, to, order)).or_default();
        let at = if order == Order::None { self.now + delay } else { (*last).max(self.now + delay) };
        *last = at;
        // Only what is answered by what is true then may come twice.
        let may_repeat = matches!(packet, Packet::Raft { .. } | Packet::Beat { .. } | Packet::Learn { .. });
        let copies = if may_repeat && self.rng.chance(self.faults.repeat) { 2 } else { 1 };
        for _ in 0..copies {
            self.sent += 1;
            self.under_way.insert((at, self.sent), (from, to, packet.clone()));
        }
    }

    /// Whoever has sent a snapshot hears that it has not arrived.
    pub fn tell_of_loss(&mut self, from: Site, to: Site, packet: Packet) {
        if let Packet::Snapshot { group, message, process, .. } = packet {
            let about = message.to().0;
            self.send(to, from, Packet::Shipped { group, about, is_installed: false, process });
        }
    }

    pub fn arrived(&mut self) -> Vec<(Site, Site, Packet)> {
        let later = self.under_way.split_off(&(self.now + 1, 0));
        let due = std::mem::replace(&mut self.under_way, later);
        let mut arrived = Vec::new();
        for (from, to, packet) in due.into_values() {
            if self.is_cut(from, to) && !matches!(packet, Packet::Shipped { .. }) {
                self.tell_of_loss(from, to, packet);
            } else {
                arrived.push((from, to, packet));
            }
        }
        arrived
    }

    pub fn is_cut(&self, from: Site, to: Site) -> bool {
        self.cut.contains(&(from, to))
    }

    pub fn heal_links(&mut self) {
        self.cut.clear();
    }

    pub fn isolate(&mut self, sites: usize, one: Site) {
        self.cut.clear();
        self.cut.extend((0..sites).flat_map(|other| [(other, one), (one, other)]));
    }

    /// Isolates one, parts the cluster in two, cuts one direction, or leaves one node that alone sees both halves.
    pub fn cut(&mut self, sites: usize, rng: &mut Rng) {
        self.cut.clear();
        let one = rng.below(sites as u64) as usize;
        let other = rng.below(sites as u64) as usize;
        let kind = rng.below(6);
        let half: BTreeSet<Site> = (0..sites).filter(|_| rng.chance(500)).collect();
        let are_parted = |from, to| half.contains(&from) != half.contains(&to);
        for from in 0..sites {
            for to in 0..sites {
                let is_cut = match kind {
                    0 => from == one || to == one,
                    1 => are_parted(from, to),
                    2 => from == one && to == other,
                    3 => to == one,
                    4 => (from, to) == (one, other) || (from, to) == (other, one),
                    _ => from != one && to != one && are_parted(from, to),
                };
                if is_cut && from != to {
                    self.cut.insert((from, to));
                }
            }
        }
    }
}
