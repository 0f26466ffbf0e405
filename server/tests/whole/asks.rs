//! Changes of the map that somebody has asked for, and waits to hear of: what the server's node does in `decide`, one
//! step at a time.
//!
//! As there, who has asked hears that a change is made when the nodes in reach know the map that has it, or after a
//! while.

use basalt_cluster::map::{Applied, Change, Health};
use basalt_cluster::node::{Proposal, Ticket};
use std::collections::BTreeMap;

use crate::clients::site_of;
use crate::ether::{Answer, Packet, Site};
use crate::machine::Verdict;
use crate::process::Process;

/// How long is waited for the root group to commit.
pub const PATIENCE_MS: u64 = 5000;

/// How long nodes in reach may take to learn a map that was decided.
pub const BARRIER_MS: u64 = 2000;

/// A node that was not heard of for so long is out of reach.
const REACH_MS: u64 = 1000;

#[derive(Default)]
pub struct Asks {
    last_request: u64,
    last_ticket: u64,
    tickets: BTreeMap<Ticket, Asked>,
    /// To what was asked by this process.
    pub answers: BTreeMap<u64, Answer>,
}

struct Asked {
    asker: Asker,
    since: u64,
    made: Option<(Applied, u64)>,
}

pub enum Asker {
    Nobody,
    Here(u64),
    There { site: Site, process: u64, request: u64 },
}

impl Asks {
    pub fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }
}

impl Process {
    /// Has the root group decide, if it is led here.
    pub fn propose_change(&mut self, change: Change, asker: Asker, now: u64) {
        if !self.leads_root() {
            let leader = self.root_leader();
            return self.answer(asker, Answer::NotLeader(leader));
        }
        self.asks.last_ticket += 1;
        let ticket = Ticket(self.asks.last_ticket);
        let proposal = Proposal { proposer: self.me, ticket, change };
        let seq = self.seqs.next();
        self.replicas.get_mut(&self.root).expect("it leads").propose(seq, proposal.encode());
        self.asks.tickets.insert(ticket, Asked { asker, since: now, made: None });
    }

    /// Changes were applied here.
    pub fn decided(&mut self, verdicts: Vec<Verdict>, now: u64) {
        let me = self.me;
        for (_, ticket, verdict) in verdicts.into_iter().filter(|(proposer, ..)| *proposer == me) {
            match verdict {
                Ok(applied) => {
                    self.asks
                        .tickets
                        .get_mut(&ticket)
                        .into_iter()
                        .for_each(|it| it.made = Some((applied.clone(), now)));
                }
                Err(refusal) => {
                    if let Some(asked) = self.asks.tickets.remove(&ticket) {
                        self.answer(asked.asker, Answer::Refused(refusal.to_string()));
                    }
                }
            }
        }
    }

    /// Answers those that can be answered now.
    pub fn settle_asks(&mut self, now: u64) {
        for (ticket, asked) in std::mem::take(&mut self.asks.tickets) {
            let answer = match &asked.made {
                Some((applied, since)) => {
                    let is_known = *since + BARRIER_MS <= now || self.is_known_in_reach(applied, now);
                    is_known.then(|| Answer::Made(applied.clone()))
                }
                None => (asked.since + PATIENCE_MS <= now).then_some(Answer::NotLeader(None)),
            };
            match answer {
                Some(answer) => self.answer(asked.asker, answer),
                None => drop(self.asks.tickets.insert(ticket, asked)),
            }
        }
    }

    fn is_known_in_reach(&self, applied: &Applied, now: u64) -> bool {
        let others = self.map.nodes().iter().filter(|(id, node)| **id != self.me && node.health == Health::Up);
        others.into_iter().all(|(id, _)| match self.heard.get(id) {
            Some((at, version)) => *version >= applied.version || at + REACH_MS < now,
            None => true,
        })
    }

    fn answer(&mut self, asker: Asker, answer: Answer) {
        match asker {
            Asker::Nobody => (),
            Asker::Here(request) => drop(self.asks.answers.insert(request, answer)),
            Asker::There { site, process, request } => {
                self.world.send(self.site, site, Packet::Answer { request, process, answer });
            }
        }
    }

    /// Who leads the root group, as far as this node knows.
    pub fn root_leader(&self) -> Option<Site> {
        use basalt_cluster::group::Role;
        let members = &self.map.root().members;
        let leader = match self.replicas.get(&self.root).map(|root| root.role) {
            Some(Role::Follower { leader: Some(leader), .. }) => members.replica(leader).map(|replica| replica.node),
            Some(_) => None,
            None => Some(members.leader.node),
        };
        leader.map(site_of)
    }

    /// Whom to ask for a change, at so many attempts: the leader, or who may know it.
    pub fn whom_to_ask(&self, hint: Option<Site>, attempt: usize) -> Option<Site> {
        let members = &self.map.root().members;
        let voters: Vec<Site> = members.replicas.iter().map(|replica| site_of(replica.node)).collect();
        let known = hint.or(if attempt.is_multiple_of(2) { self.root_leader() } else { None });
        known.or_else(|| voters.get(attempt % voters.len().max(1)).copied()).filter(|site| *site != self.site)
    }
}
