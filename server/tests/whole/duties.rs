//! What a node does for its cluster from time to time, and, where the root group is led, for all: what the server's
//! node does in its threads (`reports`, `handover`, `courier`, `steward`), without waiting for an answer.
//!
//! What is decided is decided by the real [`placement`], and reported by the real [`about_group`].

use basalt_cluster::ids::{GroupId, MapVersion, MigrationId, NodeId};
use basalt_cluster::map::{Change, Health, Side};
use basalt_cluster::node::{about_group, has_log};
use basalt_cluster::placement::{self, Budget, Load, Scope};
use basalt_storage::clock::UnixMs;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::asks::Asker;
use crate::clients::site_of;
use crate::ether::Packet;
use crate::machine::Machine;
use crate::process::Process;
use crate::rng::Rng;

const BEAT_MS: u64 = 100;
const REPORT_MS: u64 = 100;
const STEWARD_MS: u64 = 150;
const RESEND_MS: u64 = 300;
const HANDOVER_MS: u64 = 2000;

/// What may be under way at the same time.
const BUDGET: Budget = Budget { replicas: 3, leaders: 3, migrations: 3, slots: 4, ..Budget::UNLIMITED };

#[derive(Default)]
pub struct Schedule {
    beat: u64,
    report: u64,
    steward: u64,
    /// Since when this node has led the root group.
    leads_since: Option<u64>,
    sent: BTreeMap<NodeId, (MapVersion, u64)>,
    handed_over: BTreeMap<GroupId, u64>,
    /// Parts in migrations that are to be played from now on.
    pub parts_begun: Vec<(MigrationId, Side)>,
}

fn is_due(last: &mut u64, now: u64, period: u64) -> bool {
    let is_due = now >= *last + period;
    if is_due {
        *last = now;
    }
    is_due
}

impl Process {
    pub fn do_duties(&mut self, now: u64, rng: &mut Rng, scope: Scope) {
        if is_due(&mut self.duties.beat, now, BEAT_MS) {
            self.beat();
            self.hand_over(now);
        }
        if is_due(&mut self.duties.report, now, REPORT_MS) {
            self.report(now);
        }
        self.bring_maps(now);
        if is_due(&mut self.duties.steward, now, STEWARD_MS) {
            self.steward(now, rng, scope);
        }
    }

    /// The map that this node's replica of the root group has.
    pub fn learn_from_root(&mut self) {
        let root = self.replicas.get(&self.root);
        if let Some(Machine::Map(Some(map))) = root.map(|root| &root.machine) {
            let map = map.clone();
            if map.version() > self.map.version() {
                self.learn(map);
            }
        }
    }

    /// What the leader has sent. A replica of the root group has it from its log.
    pub fn learn_from_leader(&mut self, map: Arc<basalt_cluster::map::ClusterMap>) {
        let root = self.replicas.get(&self.root);
        if !root.is_some_and(|root| has_log(root.id, Some(&self.map), &map)) {
            self.learn(map);
        }
    }

    fn beat(&self) {
        let version = self.map.version();
        for voter in self.map.root().members.replicas.iter().filter(|replica| replica.node != self.me) {
            self.world.send(self.site, site_of(voter.node), Packet::Beat { version });
        }
    }

    /// Tells what the map does not say of the groups that are led here.
    fn report(&mut self, now: u64) {
        let about = |(group, replica): (&GroupId, &crate::replica::Replica)| {
            about_group(&self.map, *group, replica.id, replica.role, &replica.core.replicas())
        };
        let changes: Vec<Change> = self.replicas.iter().flat_map(about).collect();
        changes.into_iter().for_each(|change| self.tell(change, now));
    }

    /// Asks for a change, and does not wait for it.
    pub fn tell(&mut self, change: Change, now: u64) {
        match self.root_leader() {
            _ if self.leads_root() => self.propose_change(change, Asker::Nobody, now),
            Some(leader) if leader != self.site => self.world.send(self.site, leader, Packet::Tell { change }),
            _ => (),
        }
    }

    /// Gives each group that another node should lead to that node, if it can take over.
    fn hand_over(&mut self, now: u64) {
        for (group, info) in self.map.clone().groups() {
            let Some(replica) = self.replicas.get_mut(group).filter(|it| it.role.serves()) else { continue };
            let last = self.duties.handed_over.entry(*group).or_insert(now);
            let to = info.members.on(info.preferred).map(|replica| replica.id);
            let is_up = self.map.node(info.preferred).is_some_and(|node| node.is_up());
            if info.preferred != self.me && is_up && *last + HANDOVER_MS <= now {
                *last = now;
                // It may not be able to take over.
                let _ = to.map(|to| replica.core.transfer_leadership(to));
            }
        }
    }

    /// Brings the map to those who know an older one.
    fn bring_maps(&mut self, now: u64) {
        if !self.leads_root() {
            return;
        }
        let version = self.map.version();
        for id in self.map.nodes().keys().copied().filter(|id| *id != self.me) {
            let knows = self.heard.get(&id).is_some_and(|(_, known)| *known >= version);
            let was_sent = self.duties.sent.get(&id).is_some_and(|(sent, at)| *sent == version && at + RESEND_MS > now);
            if !knows && !was_sent {
                self.duties.sent.insert(id, (version, now));
                self.world.send(self.site, site_of(id), Packet::Learn { map: self.map.clone() });
            }
        }
    }

    /// Finds nodes failed and up again, and takes the next steps towards what is wanted.
    fn steward(&mut self, now: u64, rng: &mut Rng, scope: Scope) {
        if !self.leads_root() {
            self.duties.leads_since = None;
            return;
        }
        let since = *self.duties.leads_since.get_or_insert(now);
        let (map, wall, me) = (self.map.clone(), UnixMs(self.wall(now)), self.me);
        let timeout = map.settings().node_timeout().as_millis() as u64;
        for (id, info) in map.nodes().iter().filter(|(id, _)| **id != me) {
            let heard = self.heard.get(id).map(|(at, _)| *at);
            let is_silent = now - heard.unwrap_or(0).max(since) > timeout;
            let is_heard = heard.is_some_and(|at| now - at < timeout);
            let health = match info.health {
                Health::Up if is_silent => Health::Failed { since: wall },
                Health::Failed { .. } if is_heard => Health::Up,
                _ => continue,
            };
            self.propose_change(Change::SetHealth { node: *id, health }, Asker::Nobody, now);
        }
        for planned in placement::plan(&map, &Load::even(), wall, &BUDGET, scope) {
            let change = planned.step.change(migration_id(rng), wall);
            self.propose_change(change, Asker::Nobody, now);
        }
    }
}

pub fn migration_id(rng: &mut Rng) -> MigrationId {
    MigrationId::new(std::array::from_fn(|_| rng.below(256) as u8))
}
