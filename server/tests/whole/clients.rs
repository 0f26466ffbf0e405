//! Clients: each does one thing after the other, goes where it is sent, and remembers what it has seen.

use basalt_cluster::ids::NodeId;

use crate::ether::Site;
use crate::keys::{self, Kind};
use crate::rng::Rng;

pub type OperationId = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Write(u64),
    Delete,
    Read,
    Add,
    Count,
    Push(u64),
    Range,
}

/// What an operation has told its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Done,
    Register(Option<u64>),
    /// A count, or a length.
    Number(i64),
    List(Vec<u64>),
}

/// How an operation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answer {
        seen: Seen,
        was_owner: bool,
    },
    /// It may have been carried out.
    Unknown,
}

/// An operation in a history. Times are places in the order of all that happened to clients.
#[derive(Clone, Debug)]
pub struct Operation {
    pub key: usize,
    pub act: Act,
    pub invoked: u64,
    /// None if nobody knows whether it was carried out.
    pub ended: Option<(u64, Seen)>,
}

/// A client waits so long for a slot that is served nowhere, and for an answer.
const PATIENCE_MS: u64 = 2500;

pub struct Client {
    pub now: Option<Doing>,
    site: Site,
}

/// What a client is just about.
pub struct Doing {
    pub id: OperationId,
    pub operation: Operation,
    /// Where it was evaluated, by which process; none before.
    pub at: Option<(Site, u64)>,
    retry_at: u64,
    gives_up_at: u64,
}

impl Client {
    pub fn new(site: Site) -> Client {
        Client { now: None, site }
    }

    pub fn begin(&mut self, id: OperationId, tick: u64, now: u64, rng: &mut Rng) {
        let key = rng.below(keys::ALL.len() as u64) as usize;
        let reads = rng.chance(400);
        let act = match keys::ALL[key].kind {
            Kind::Register if reads => Act::Read,
            Kind::Register if rng.chance(150) => Act::Delete,
            Kind::Register => Act::Write(id),
            Kind::Counter if reads => Act::Count,
            Kind::Counter => Act::Add,
            Kind::List if reads => Act::Range,
            Kind::List => Act::Push(id),
        };
        let operation = Operation { key, act, invoked: tick, ended: None };
        self.now = Some(Doing { id, operation, at: None, retry_at: now, gives_up_at: now + PATIENCE_MS });
    }

    pub fn reads(&mut self, key: usize, id: OperationId, tick: u64, now: u64) {
        let act = match keys::ALL[key].kind {
            Kind::Register => Act::Read,
            Kind::Counter => Act::Count,
            Kind::List => Act::Range,
        };
        let operation = Operation { key, act, invoked: tick, ended: None };
        self.now = Some(Doing { id, operation, at: None, retry_at: now, gives_up_at: now + PATIENCE_MS });
    }

    /// Where it asks now, if it does.
    pub fn asks(&self, now: u64) -> Option<Site> {
        let doing = self.now.as_ref()?;
        (doing.at.is_none() && doing.retry_at <= now).then_some(self.site)
    }

    pub fn has_lost_patience(&self, now: u64) -> bool {
        self.now.as_ref().is_some_and(|doing| doing.gives_up_at <= now)
    }

    pub fn was_evaluated(&mut self, site: Site, process: u64) {
        self.now.iter_mut().for_each(|doing| doing.at = Some((site, process)));
    }

    pub fn tries_elsewhere(&mut self, site: Site, at: u64) {
        self.site = site;
        self.now.iter_mut().for_each(|doing| doing.retry_at = at);
    }

    pub fn tries_again(&mut self, at: u64) {
        self.now.iter_mut().for_each(|doing| doing.retry_at = at);
    }
}

/// The node at a site, and the other way round.
pub fn node_of(site: Site) -> NodeId {
    NodeId::new([site as u8 + 1; NodeId::BYTES])
}

pub fn site_of(node: NodeId) -> Site {
    usize::from(node.as_bytes()[0]) - 1
}
