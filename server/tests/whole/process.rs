//! A process of a node: its replicas, the map as it knows it, the keyspace in which clients' operations are evaluated,
//! and what it may do with each slot.
//!
//! Slot states come from the real [`Layout`], evaluation goes through real views, and what is let go is abandoned as in
//! the server. What the server does besides (connections, commands, the engine that is read when a key is needed) is
//! left out: a slot that is taken over is read from the replica's state as a whole.

use basalt_cluster::group::{Role, Term};
use basalt_cluster::ids::{GroupId, MapVersion, MigrationId, NodeId};
use basalt_cluster::map::{ClusterMap, Known, Side, SlotRange};
use basalt_server::cluster::migration::{Arrivals, Figures};
use basalt_server::cluster::seals::undecided;
use basalt_server::cluster::slots::{Layout, SlotState, Standing};
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::{Batch, Passage};
use basalt_storage::keyspace::{BatchSink, Keyspace};
use basalt_storage::seq::Seq;
use basalt_storage::slot::{Slot, SlotSet, StripeSet};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::asks::Asks;
use crate::bugs::Bug;
use crate::clients::{OperationId, Outcome};
use crate::ether::{Site, World};
use crate::evaluation::Held;
use crate::keys::{self, STRIPE};
use crate::records::Records;
use crate::replica::{Replica, Seqs};

/// What a process shares with the threads that it runs.
pub struct Shared {
    pub site: Site,
    pub number: u64,
    pub me: NodeId,
    pub world: World,
    pub arrivals: Arrivals,
    pub figures: Figures,
    pub process: Mutex<Process>,
}

pub struct Process {
    pub me: NodeId,
    pub site: Site,
    pub number: u64,
    pub world: World,
    pub root: GroupId,
    pub map: Arc<ClusterMap>,
    pub records: Arc<Mutex<Records>>,
    pub replicas: BTreeMap<GroupId, Replica>,
    pub seqs: Seqs,
    pub keyspace: Keyspace,
    pub sink: Arc<Sink>,
    states: BTreeMap<Slot, SlotState>,
    holders: BTreeMap<Slot, GroupId>,
    pub leaders: BTreeMap<GroupId, NodeId>,
    pub seals: BTreeMap<MigrationId, (GroupId, Vec<SlotRange>)>,
    pub leaving: BTreeMap<MigrationId, Vec<SlotRange>>,
    pub playing: BTreeSet<(MigrationId, Side)>,
    pub asks: Asks,
    pub heard: BTreeMap<NodeId, (u64, MapVersion)>,
    /// Operations that were evaluated, and whose answers are held back.
    pub held: Vec<Held>,
    /// Those that have met their fate.
    pub answered: Vec<(OperationId, Outcome)>,
    pub lost: Vec<RangeInclusive<u64>>,
    /// How far the clock on the wall is off.
    pub clock_offset: i64,
    pub duties: crate::duties::Schedule,
    /// Replicas whose state was read from the disk, and has not been looked at.
    pub unchecked: Vec<GroupId>,
    /// Slots wait for something to be applied.
    is_awaiting: bool,
}

/// Numbers batches, and keeps them for whoever hands them in.
pub struct Sink {
    pub seqs: Seqs,
    pub batches: Mutex<Vec<(u64, Batch)>>,
}

impl BatchSink for Sink {
    fn propose(&self, batch: Batch) -> Seq {
        let seq = self.seqs.next();
        self.batches.lock().push((seq, batch));
        Seq(seq)
    }
}

impl Process {
    pub fn new(
        shared: (NodeId, Site, u64),
        world: World,
        map: Arc<ClusterMap>,
        records: Arc<Mutex<Records>>,
    ) -> Process {
        let (me, site, number) = shared;
        let seqs = Seqs::default();
        let sink = Arc::new(Sink { seqs: seqs.clone(), batches: Mutex::default() });
        let keyspace = Keyspace::new(1);
        keyspace.record_to(sink.clone());
        Process {
            me,
            site,
            number,
            world,
            root: map.root().id,
            map,
            records,
            replicas: BTreeMap::new(),
            seqs,
            keyspace,
            sink,
            states: keys::all_slots().map(|slot| (slot, SlotState::Absent)).collect(),
            holders: BTreeMap::new(),
            leaders: BTreeMap::new(),
            seals: BTreeMap::new(),
            leaving: BTreeMap::new(),
            playing: BTreeSet::new(),
            asks: Asks::default(),
            heard: BTreeMap::new(),
            held: Vec::new(),
            answered: Vec::new(),
            lost: Vec::new(),
            clock_offset: 0,
            duties: crate::duties::Schedule::default(),
            unchecked: Vec::new(),
            is_awaiting: false,
        }
    }

    pub fn bug(&self) -> Bug {
        self.world.bug
    }

    pub fn wall(&self, now: u64) -> i64 {
        1_000_000 + now as i64 + self.clock_offset
    }

    pub fn state(&self, slot: Slot) -> SlotState {
        self.states.get(&slot).copied().unwrap_or(SlotState::Absent)
    }

    pub fn holder(&self, slot: Slot) -> Option<GroupId> {
        self.holders.get(&slot).copied()
    }

    /// This node's replica of the root group, if that leads and has applied all that was committed before.
    pub fn leads_root(&self) -> bool {
        self.replicas.get(&self.root).is_some_and(|root| root.role.serves())
    }

    /// The group is led here, in this term.
    pub fn reigns(&self, group: GroupId, term: Term) -> bool {
        let role = self.replicas.get(&group).map(|replica| replica.role);
        matches!(role, Some(Role::Leader { term: now, .. }) if now == term)
    }

    /// Takes a map over if it is newer.
    pub fn learn(&mut self, map: Arc<ClusterMap>) {
        let is_news = map.version() > self.map.version() || self.bug() == Bug::MapGoesBack;
        if is_news {
            self.map = map;
            self.refresh();
            self.reconcile();
        }
    }

    /// Brings the slots in line with the map and the roles, as the server's stage does.
    pub fn refresh(&mut self) {
        let roles = Roles::of(self);
        let layout = Layout::of(&self.map, self.me, &roles);
        self.is_awaiting = roles.is_awaiting.get();
        self.leaders.clone_from(&layout.leaders);
        let mut left = Vec::new();
        let mut taken: Vec<(Slot, GroupId)> = Vec::new();
        for slot in keys::all_slots() {
            let (former, holder) = (self.holder(slot), layout.holder(slot));
            if former != holder {
                left.extend(former.map(|group| (slot, group)));
                taken.extend(holder.map(|group| (slot, group)));
            }
            self.states.insert(slot, layout.at(slot));
        }
        self.let_go(&left);
        self.take(&taken);
    }

    fn let_go(&mut self, left: &[(Slot, GroupId)]) {
        for (slot, group) in left {
            self.holders.remove(slot);
            if let Some(replica) = self.replicas.get_mut(group) {
                replica.left = replica.left.max(replica.proposed);
            }
        }
        if self.bug() == Bug::SlotsKept {
            return;
        }
        let slots: Vec<Slot> = left.iter().map(|(slot, _)| *slot).collect();
        self.keyspace.lock(StripeSet::of(STRIPE), UnixMs(0)).abandon(&slots);
    }

    fn take(&mut self, taken: &[(Slot, GroupId)]) {
        for (slot, group) in taken {
            self.holders.insert(*slot, *group);
            let data = self.replicas.get(group).and_then(|replica| replica.machine.data());
            let entries = data.map(|data| data.entries(|of| of == *slot)).unwrap_or_default();
            let is_kept = self.bug() == Bug::SlotsKept
                && self.keyspace.lock(StripeSet::of(STRIPE), UnixMs(0)).slot_len(crate::machine::DB, *slot) > 0;
            if !is_kept {
                self.keyspace.apply(entries, UnixMs(0));
            }
        }
    }

    /// Something was applied for which slots may wait.
    pub fn note_applied(&mut self) {
        if self.is_awaiting {
            self.refresh();
        }
    }

    /// As the server's stage does, before anything that follows from the new role.
    pub fn role_changed(&mut self, group: GroupId, role: Role) {
        let Some(replica) = self.replicas.get_mut(&group) else { return };
        let former = replica.role;
        let (was_leader, is_leader) = (matches!(former, Role::Leader { .. }), matches!(role, Role::Leader { .. }));
        if was_leader && is_leader && former.term() != role.term() {
            self.role_changed(group, Role::Follower { term: role.term(), leader: None });
        }
        let Some(replica) = self.replicas.get_mut(&group) else { return };
        replica.role = role;
        match role {
            Role::Leader { serves, .. } => {
                if serves && !replica.has_served {
                    replica.inherited_seal = replica.machine.data().map_or(0, |data| data.sealed_version);
                }
                replica.has_served |= serves;
            }
            Role::Follower { .. } => replica.has_served = false,
        }
        self.refresh();
        if was_leader && !is_leader {
            self.note_deposed(group);
            self.replicas.get_mut(&group).into_iter().for_each(Replica::settle);
            self.note_applied();
        }
    }
}

/// What this node knows of its own groups: as the server's `Roles` over simulated replicas.
struct Roles {
    bug: Bug,
    looks: BTreeMap<GroupId, Look>,
    holders: BTreeMap<Slot, GroupId>,
    leaving: SlotSet,
    is_awaiting: std::cell::Cell<bool>,
}

struct Look {
    known: Known,
    follows: bool,
    holds: bool,
    has_settled: bool,
    sealed: SlotSet,
}

impl Roles {
    fn of(process: &Process) -> Roles {
        let data = process.replicas.iter().filter(|(group, _)| **group != process.root);
        let looks = data.map(|(group, replica)| (*group, Look::of(process, *group, replica))).collect();
        Roles {
            bug: process.bug(),
            looks,
            holders: process.holders.clone(),
            leaving: process.leaving.values().flatten().flat_map(|range| range.slots()).collect(),
            is_awaiting: std::cell::Cell::new(false),
        }
    }
}

impl Look {
    fn of(process: &Process, group: GroupId, replica: &Replica) -> Look {
        let leads = matches!(replica.role, Role::Leader { .. });
        let serves = replica.role.serves() || leads && process.bug() == Bug::ServedTooEarly;
        let known = match replica.role {
            Role::Leader { .. } if serves => Known::Leader(process.me),
            Role::Leader { .. } | Role::Follower { leader: None, .. } => Known::Leaderless,
            Role::Follower { leader: Some(leader), .. } => {
                let members = process.map.members(group);
                let node = members.and_then(|members| members.replica(leader)).map(|replica| replica.node);
                node.map_or(Known::Leaderless, Known::Leader)
            }
        };
        let mut sealed = replica.machine.data().map(|data| data.marked(Passage::Sealed)).unwrap_or_default();
        if process.bug() != Bug::SealsForgotten {
            sealed.extend(undecided(&process.map, group, replica.inherited_seal).iter());
        }
        let own = process.seals.values().filter(|(of, _)| *of == group);
        sealed.extend(own.flat_map(|(_, ranges)| ranges.iter().flat_map(|range| range.slots())));
        let holds = replica.has_served || serves && process.bug() == Bug::ServedTooEarly;
        Look { known, follows: !leads, holds, has_settled: replica.has_settled(), sealed }
    }
}

impl Standing for Roles {
    fn leader(&self, group: GroupId) -> Known {
        self.looks.get(&group).map_or(Known::AsMapped, |look| look.known)
    }

    fn follows(&self, group: GroupId) -> bool {
        self.looks.get(&group).is_some_and(|look| look.follows)
    }

    fn holds(&self, group: GroupId) -> bool {
        self.looks.get(&group).is_some_and(|look| look.holds)
    }

    fn takes(&self, group: GroupId, slot: Slot) -> bool {
        let takes =
            self.holders.get(&slot) == Some(&group) || self.looks.get(&group).is_none_or(|look| look.has_settled);
        if !takes {
            self.is_awaiting.set(true);
        }
        takes
    }

    fn is_sealed(&self, group: GroupId, slot: Slot) -> bool {
        self.bug != Bug::SealIgnored && self.looks.get(&group).is_some_and(|look| look.sealed.contains(slot))
    }

    fn is_leaving(&self, slot: Slot) -> bool {
        self.leaving.contains(slot)
    }
}
