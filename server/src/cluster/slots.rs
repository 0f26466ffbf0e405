//! What this node may do with each slot.
//!
//! The table is what evaluation asks, under the lock of the stripe that the slot lies in; it is changed under that same
//! lock, so a command that has seen a slot as served under its locks is evaluated before the slot leaves. It says only
//! what this node does; where a client is sent instead stands in the cluster's map, which is put in place first.
//!
//! The epoch counts changes. Who has decided about a request without locks asks again under them if it has moved.

use basalt_cluster::ids::{GroupId, NodeId};
use basalt_cluster::map::{ClusterMap, Known, Role, Seen};
use basalt_storage::cache_line::prefetch;
use basalt_storage::keyspace::View;
use basalt_storage::slot::{SLOT_COUNT, Slot, StripeIndex};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// What this node does with requests for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SlotState {
    /// Nobody owns it.
    Absent,
    /// Another node serves it.
    Elsewhere,
    /// Another node serves it, and this one is that one's replica: it may be read by those who say READONLY.
    Copied,
    /// The same, but nobody knows at the moment who serves it.
    Orphaned,
    Serving,
    /// Served, and on its way elsewhere key by key: for what is not here any more, clients are sent on.
    Migrating,
    /// Not served but for those who say ASKING.
    Importing,
    /// Served until a moment ago: it is just being handed over, or taken back.
    Sealed,
    /// Its group is this node's and has no leader that may serve: nobody knows yet whom to ask.
    Waiting,
}

const STATES: [SlotState; 9] = [
    SlotState::Absent,
    SlotState::Elsewhere,
    SlotState::Copied,
    SlotState::Orphaned,
    SlotState::Serving,
    SlotState::Migrating,
    SlotState::Importing,
    SlotState::Sealed,
    SlotState::Waiting,
];

impl SlotState {
    /// Whether clients that wait for keys of the slot may go on waiting here.
    pub fn keeps_waiters(self) -> bool {
        !matches!(self, SlotState::Absent | SlotState::Elsewhere | SlotState::Copied)
    }

    /// Whether this node has a copy of the slot for those who read from replicas.
    pub fn is_copied(self) -> bool {
        matches!(self, SlotState::Copied | SlotState::Orphaned)
    }
}

/// What this node knows of its own groups, which the map does not say or says later.
pub trait Standing {
    /// Who leads. A node that leads without being ready to serve calls the group leaderless.
    fn leader(&self, group: GroupId) -> Known;

    /// Whether this node has a replica of the group, and follows in it.
    fn follows(&self, group: GroupId) -> bool {
        self.leader(group) != Known::AsMapped
    }

    /// Whether this node's memory shows what the group has: it leads, and has not lost the lead since it began to.
    fn holds(&self, _: GroupId) -> bool {
        false
    }

    /// Whether this node's group can take the slot now: not while what was evaluated here before the slot was let go
    /// is still on its way into what the group has.
    fn takes(&self, _: GroupId, _: Slot) -> bool {
        true
    }

    /// Whether the slot's group, which this node leads, must not touch the slot until a hand-over has ended.
    fn is_sealed(&self, _: GroupId, _: Slot) -> bool {
        false
    }

    /// Whether the slot has just been given to another node, and that one may not know it yet: whoever is sent there
    /// would be sent back.
    fn is_leaving(&self, _: Slot) -> bool {
        false
    }
}

/// The states that all slots should have, and who leads the groups of those that are elsewhere.
pub struct Layout {
    states: Box<[SlotState; SLOT_COUNT]>,
    /// The groups of which this node's memory shows what they have in a slot.
    holders: Box<[Option<GroupId>; SLOT_COUNT]>,
    pub leaders: BTreeMap<GroupId, NodeId>,
}

impl Layout {
    /// What `me` does with each slot, by the map and by what it knows of its own groups.
    pub fn of(map: &ClusterMap, me: NodeId, standing: &dyn Standing) -> Layout {
        let mut layout = Layout {
            states: Box::new([SlotState::Absent; SLOT_COUNT]),
            holders: Box::new([None; SLOT_COUNT]),
            leaders: BTreeMap::new(),
        };
        let home = map.node(me).map(|info| info.home);
        let is_replica = matches!(map.role(me), Some(Role::ReplicaOf(_)));
        // Guests of a group show nothing of it: no client takes them for its replicas.
        let copies = |group: GroupId| is_replica && home == Some(group) && standing.follows(group);
        for (range, seen) in map.seen_by(me, |group| standing.leader(group)) {
            let state = match seen {
                // As they all begin.
                Seen::Absent => continue,
                Seen::Elsewhere { group, node } => {
                    layout.leaders.insert(group, node);
                    if copies(group) { SlotState::Copied } else { SlotState::Elsewhere }
                }
                Seen::Serving { .. } => SlotState::Serving,
                Seen::Migrating { .. } => SlotState::Migrating,
                Seen::Importing { owner, node, .. } => {
                    layout.leaders.insert(owner, node);
                    SlotState::Importing
                }
                Seen::Waiting { group } if copies(group) => SlotState::Orphaned,
                Seen::Waiting { .. } => SlotState::Waiting,
            };
            let own = match seen {
                Seen::Serving { group } | Seen::Migrating { group, .. } => Some(group),
                _ => None,
            };
            let holder = match seen {
                Seen::Serving { group }
                | Seen::Migrating { group, .. }
                | Seen::Importing { group, .. }
                | Seen::Waiting { group } => Some(group).filter(|group| standing.holds(*group)),
                Seen::Absent | Seen::Elsewhere { .. } => None,
            };
            for slot in range.slots() {
                let (state, holder) = match (state, holder) {
                    (_, Some(group)) if !standing.takes(group, slot) => (SlotState::Waiting, None),
                    (SlotState::Serving | SlotState::Migrating, _)
                        if own.is_some_and(|group| standing.is_sealed(group, slot)) =>
                    {
                        (SlotState::Sealed, holder)
                    }
                    (SlotState::Elsewhere, _) if standing.is_leaving(slot) => (SlotState::Sealed, None),
                    _ => (state, holder),
                };
                layout.states[usize::from(slot.number())] = state;
                layout.holders[usize::from(slot.number())] = holder;
            }
        }
        layout
    }

    pub fn at(&self, slot: Slot) -> SlotState {
        self.states[usize::from(slot.number())]
    }

    pub fn holder(&self, slot: Slot) -> Option<GroupId> {
        self.holders[usize::from(slot.number())]
    }
}

/// The states that all slots have.
pub struct SlotStates {
    states: Box<[AtomicU8; SLOT_COUNT]>,
    epoch: AtomicU64,
}

/// How often the table has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatesEpoch(u64);

impl SlotStates {
    /// Nothing is assigned.
    pub fn new() -> SlotStates {
        SlotStates {
            states: Box::new([const { AtomicU8::new(SlotState::Absent as u8) }; SLOT_COUNT]),
            epoch: AtomicU64::new(0),
        }
    }

    #[inline]
    pub fn at(&self, slot: Slot) -> SlotState {
        STATES[usize::from(self.states[usize::from(slot.number())].load(Relaxed))]
    }

    /// Asks the processor for a state that will be needed.
    #[inline]
    pub fn prefetch(&self, slot: Slot) {
        prefetch(&raw const self.states[usize::from(slot.number())]);
    }

    /// Read before a decision, and again under locks to know whether it still holds: what has changed in the slots of
    /// these locks was counted before they were released.
    #[inline]
    pub fn epoch(&self) -> StatesEpoch {
        StatesEpoch(self.epoch.load(Acquire))
    }

    /// Changes slots of one stripe, which `view` has locked; returns what they were.
    pub fn put(&self, view: &View<'_>, stripe: StripeIndex, changes: &[(Slot, SlotState)]) -> Vec<SlotState> {
        assert!(view.stripes().contains(stripe), "slots change under the lock of their stripe");
        let former = changes
            .iter()
            .map(|&(slot, state)| {
                assert!(slot.stripe() == stripe, "the slots of one stripe");
                STATES[usize::from(self.states[usize::from(slot.number())].swap(state as u8, Relaxed))]
            })
            .collect();
        self.count_change();
        former
    }

    /// What is decided without looking at single slots has changed.
    pub fn count_change(&self) {
        self.epoch.fetch_add(1, Release);
    }
}

impl Default for SlotStates {
    fn default() -> SlotStates {
        SlotStates::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::show::samples;
    use basalt_cluster::map::{Change, SlotRange};

    /// Who leads which group, and slots that are sealed.
    #[derive(Default)]
    struct Told {
        leaders: BTreeMap<GroupId, Known>,
        sealed: Vec<u16>,
    }

    impl Standing for Told {
        fn leader(&self, group: GroupId) -> Known {
            self.leaders.get(&group).copied().unwrap_or(Known::AsMapped)
        }

        fn is_sealed(&self, _: GroupId, slot: Slot) -> bool {
            self.sealed.contains(&slot.number())
        }
    }

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("below 16384")
    }

    #[test]
    fn states_follow_the_map_and_what_the_node_knows_better() {
        let [one, two, three] = [1, 2, 3].map(samples::node);
        let mut map = samples::cluster(3);
        let own = map.node(one).expect("a member").home;
        let other = map.node(two).expect("a member").home;
        for change in [
            Change::AssignSlots { node: one, slots: vec![SlotRange::new(slot(0), slot(9)).expect("in order")] },
            Change::AssignSlots { node: two, slots: vec![SlotRange::new(slot(10), slot(19)).expect("in order")] },
            Change::OpenMigrating { node: one, slot: slot(3), to: two },
            Change::OpenImporting { node: one, slot: slot(13), from: two },
        ] {
            map.apply(&change).expect("it fits");
        }
        let mut known = Told::default();
        known.leaders.insert(own, Known::Leader(one));
        known.sealed.push(5);
        let layout = Layout::of(&map, one, &known);
        for (number, state) in [
            (0, SlotState::Serving),
            (3, SlotState::Migrating),
            (5, SlotState::Sealed),
            (10, SlotState::Elsewhere),
            (13, SlotState::Importing),
            (20, SlotState::Absent),
        ] {
            assert_eq!(layout.at(slot(number)), state, "slot {number}");
        }
        // A guest has heard of a newer leader than the map has.
        known.leaders.insert(other, Known::Leader(three));
        assert_eq!(Layout::of(&map, one, &known).leaders[&other], three);
        // Whoever the map calls leader, and does not lead, sends nobody to itself.
        known.leaders.insert(own, Known::Leaderless);
        assert_eq!(Layout::of(&map, one, &known).at(slot(0)), SlotState::Waiting);
        known.leaders.remove(&own);
        assert_eq!(Layout::of(&map, one, &known).at(slot(0)), SlotState::Waiting);
    }

    #[test]
    fn the_slots_of_a_replicas_master_are_copied() {
        let [one, two] = [1, 2].map(samples::node);
        let map = samples::replicated(2);
        let home = map.node(one).expect("a member").home;
        let mut known = Told::default();
        known.leaders.insert(home, Known::Leader(one));
        assert_eq!(Layout::of(&map, two, &known).at(slot(0)), SlotState::Copied);
        assert_eq!(Layout::of(&map, one, &known).at(slot(0)), SlotState::Serving);
        // Without a leader they are still there to be read.
        known.leaders.insert(home, Known::Leaderless);
        assert_eq!(Layout::of(&map, two, &known).at(slot(0)), SlotState::Orphaned);
        known.leaders.remove(&home);
        assert_eq!(Layout::of(&map, two, &known).at(slot(0)), SlotState::Elsewhere, "it has no replica of the group");
    }

    #[test]
    fn the_epoch_counts_every_change() {
        let keyspace = basalt_storage::keyspace::Keyspace::new(1);
        let states = SlotStates::new();
        let stripe = slot(0).stripe();
        let view = keyspace.lock(basalt_storage::slot::StripeSet::of(stripe), basalt_storage::clock::UnixMs(1));
        let before = states.epoch();
        let former = states.put(&view, stripe, &[(slot(0), SlotState::Serving), (slot(1), SlotState::Sealed)]);
        assert_eq!(former, [SlotState::Absent, SlotState::Absent]);
        assert_eq!((states.at(slot(0)), states.at(slot(1))), (SlotState::Serving, SlotState::Sealed));
        assert_ne!(states.epoch(), before);
    }
}
