//! Whether a request is for this node: the rules of Redis Cluster, in their order of precedence, as a pure function.
//!
//! What a request is for is found by [`Wanted`]; what this node is stands in [`Here`]; [`decide`] has neither locks nor
//! clock. Where slots move key by key, it depends on which keys are here, and that is known only under locks: then the
//! answer is [`Decision::IfPresent`], and it is asked again with the [`Presence`].

use super::slots::SlotState;
use basalt_storage::slot::Slot;

/// The slots that a request's keys or shard channels lie in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// It names none: any node may answer.
    #[default]
    Nothing,
    One(Slot),
    /// More than one; nobody answers that, but the first decides how it is refused.
    Several(Slot),
}

impl Wanted {
    #[inline]
    pub fn add(&mut self, slot: Slot) {
        *self = match *self {
            Wanted::Nothing => Wanted::One(slot),
            Wanted::One(first) if first != slot => Wanted::Several(first),
            same => same,
        };
    }
}

/// What matters of a request besides its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub names: Names,
    pub effect: Effect,
    /// ASKING was said before, or the command means it by itself.
    pub asking: Asking,
    /// READONLY was said on this connection.
    pub mode: Mode,
}

/// What a request names. Channels are never missing, and replicas serve them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Keys,
    /// The keys of MIGRATE, which moves what is here and does not mind what is not.
    KeysToMigrate,
    ShardChannels,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Reads,
    Writes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Asking {
    #[default]
    No,
    Yes,
}

/// What READONLY and READWRITE set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    ReadWrite,
    ReadOnly,
}

/// What matters of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Here {
    /// The state of the first slot that the request is for.
    pub slot: SlotState,
    pub cluster: Cover,
    /// `cluster-allow-reads-when-down`.
    pub reads_when_down: Allowed,
    /// `cluster-allow-pubsubshard-when-down`.
    pub channels_when_down: Allowed,
}

/// Whether the cluster as a whole is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    Up,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    Yes,
    No,
}

/// Which of a request's keys are here; one that is due counts as missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    pub present: usize,
    pub missing: usize,
    /// There are at least two different ones.
    pub are_several: bool,
    /// One is just being sent to where the slot goes.
    pub move_now: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Served,
    /// What this node has a copy of may do, as it is.
    FromCopy,
    /// That depends on which keys are here.
    IfPresent,
    Moved,
    Ask,
    TryAgain,
    CrossSlot,
    NotServed,
    ClusterDown,
    OnlyReads,
    /// Nobody can say yet: the client waits.
    Hold,
}

/// Decides about a request whose first slot is in state `here.slot`.
#[inline]
pub fn decide(wanted: Wanted, request: Request, here: Here, presence: Option<Presence>) -> Decision {
    match wanted {
        Wanted::Nothing => Decision::Served,
        // Nearly every request of nearly every cluster.
        Wanted::One(_) if here.slot == SlotState::Serving && here.cluster == Cover::Up => Decision::Served,
        Wanted::One(_) | Wanted::Several(_) => decide_closely(wanted, request, here, presence),
    }
}

fn decide_closely(wanted: Wanted, request: Request, here: Here, presence: Option<Presence>) -> Decision {
    if here.slot == SlotState::Absent {
        return Decision::NotServed;
    }
    if matches!(wanted, Wanted::Several(_)) {
        return Decision::CrossSlot;
    }
    if here.cluster == Cover::Down
        && let Some(refusal) = refuse_while_down(request, here)
    {
        return refusal;
    }
    let channels = request.names == Names::ShardChannels;
    match here.slot {
        SlotState::Migrating | SlotState::Importing if request.names == Names::KeysToMigrate => Decision::Served,
        SlotState::Serving => Decision::Served,
        SlotState::Migrating if channels => Decision::Served,
        SlotState::Migrating => match presence {
            None => Decision::IfPresent,
            Some(Presence { move_now: true, .. }) if request.effect == Effect::Writes => Decision::Hold,
            Some(Presence { missing: 0, .. }) => Decision::Served,
            Some(Presence { present: 0, .. }) => Decision::Ask,
            Some(_) => Decision::TryAgain,
        },
        SlotState::Importing if request.asking == Asking::No => Decision::Moved,
        SlotState::Importing if channels => Decision::Served,
        SlotState::Importing => match presence {
            None => Decision::IfPresent,
            Some(Presence { move_now: true, .. }) if request.effect == Effect::Writes => Decision::Hold,
            Some(Presence { missing: 1.., are_several: true, .. }) => Decision::TryAgain,
            Some(_) => Decision::Served,
        },
        SlotState::Copied if channels && request.effect == Effect::Reads => Decision::Served,
        SlotState::Copied | SlotState::Orphaned
            if request.mode == Mode::ReadOnly && request.effect == Effect::Reads && !channels =>
        {
            Decision::FromCopy
        }
        SlotState::Elsewhere | SlotState::Copied => Decision::Moved,
        SlotState::Sealed | SlotState::Waiting | SlotState::Orphaned => Decision::Hold,
        SlotState::Absent => unreachable!("answered above"),
    }
}

fn refuse_while_down(request: Request, here: Here) -> Option<Decision> {
    match (request.names, request.effect) {
        (Names::ShardChannels, _) => (here.channels_when_down == Allowed::No).then_some(Decision::ClusterDown),
        _ if here.reads_when_down == Allowed::No => Some(Decision::ClusterDown),
        (_, Effect::Writes) => Some(Decision::OnlyReads),
        (_, Effect::Reads) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Decision::{
        Ask, ClusterDown, CrossSlot, FromCopy, Hold, IfPresent, Moved, NotServed, OnlyReads, Served, TryAgain,
    };
    use SlotState::{Absent, Copied, Elsewhere, Importing, Migrating, Orphaned, Sealed, Serving, Waiting};

    const ONE: Wanted = Wanted::One(match Slot::new(5) {
        Some(slot) => slot,
        None => unreachable!(),
    });
    const READ: Request =
        Request { names: Names::Keys, effect: Effect::Reads, asking: Asking::No, mode: Mode::ReadWrite };
    const WRITE: Request = Request { effect: Effect::Writes, ..READ };
    const CHANNEL: Request = Request { names: Names::ShardChannels, ..READ };
    const MIGRATE: Request = Request { names: Names::KeysToMigrate, ..WRITE };

    fn here(slot: SlotState) -> Here {
        Here { slot, cluster: Cover::Up, reads_when_down: Allowed::No, channels_when_down: Allowed::Yes }
    }

    fn down(slot: SlotState) -> Here {
        Here { cluster: Cover::Down, ..here(slot) }
    }

    fn several() -> Wanted {
        let mut wanted = ONE;
        wanted.add(Slot::new(6).expect("below 16384"));
        wanted
    }

    fn asking(request: Request) -> Request {
        Request { asking: Asking::Yes, ..request }
    }

    fn reader(request: Request) -> Request {
        Request { mode: Mode::ReadOnly, ..request }
    }

    #[test]
    fn slots_of_a_request_are_one_or_several() {
        let slot = |number| Slot::new(number).expect("below 16384");
        let mut wanted = Wanted::Nothing;
        wanted.add(slot(7));
        wanted.add(slot(7));
        assert_eq!(wanted, Wanted::One(slot(7)));
        wanted.add(slot(3));
        wanted.add(slot(7));
        assert_eq!(wanted, Wanted::Several(slot(7)));
    }

    #[test]
    fn what_names_no_keys_is_served_by_everybody() {
        for slot in [Absent, Elsewhere, Copied, Serving, Migrating, Importing, Sealed, Waiting] {
            assert_eq!(decide(Wanted::Nothing, WRITE, down(slot), None), Served, "{slot:?}");
        }
    }

    #[test]
    fn the_first_slot_unassigned_comes_before_several_slots_before_a_cluster_that_is_down() {
        for (wanted, here, expected) in [
            (ONE, here(Absent), NotServed),
            (several(), here(Absent), NotServed),
            (several(), down(Absent), NotServed),
            (several(), here(Serving), CrossSlot),
            (several(), here(Elsewhere), CrossSlot),
            (several(), down(Serving), CrossSlot),
            (several(), here(Waiting), CrossSlot),
            (ONE, down(Serving), ClusterDown),
            (ONE, down(Elsewhere), ClusterDown),
            (ONE, down(Waiting), ClusterDown),
        ] {
            assert_eq!(decide(wanted, READ, here, None), expected, "{wanted:?} {here:?}");
        }
    }

    #[test]
    fn a_cluster_that_is_down_serves_what_settings_allow() {
        let reads = Here { reads_when_down: Allowed::Yes, ..down(Serving) };
        assert_eq!(decide(ONE, READ, reads, None), Served);
        assert_eq!(decide(ONE, WRITE, reads, None), OnlyReads);
        assert_eq!(decide(ONE, READ, Here { slot: Elsewhere, ..reads }, None), Moved);
        assert_eq!(decide(ONE, CHANNEL, down(Serving), None), Served);
        let mute = Here { channels_when_down: Allowed::No, ..down(Serving) };
        assert_eq!(decide(ONE, CHANNEL, mute, None), ClusterDown);
    }

    #[test]
    fn each_state_has_its_answer() {
        for (slot, request, expected) in [
            (Serving, WRITE, Served),
            (Serving, reader(READ), Served),
            (Elsewhere, READ, Moved),
            (Elsewhere, reader(READ), Moved),
            (Elsewhere, asking(READ), Moved),
            (Copied, READ, Moved),
            (Copied, reader(READ), FromCopy),
            (Copied, reader(WRITE), Moved),
            (Copied, CHANNEL, Served),
            (Copied, reader(CHANNEL), Served),
            (Orphaned, READ, Hold),
            (Orphaned, reader(READ), FromCopy),
            (Orphaned, reader(WRITE), Hold),
            (Orphaned, reader(CHANNEL), Hold),
            (Copied, Request { effect: Effect::Writes, ..CHANNEL }, Moved),
            (Migrating, WRITE, IfPresent),
            (Migrating, CHANNEL, Served),
            (Migrating, MIGRATE, Served),
            (Importing, WRITE, Moved),
            (Importing, asking(WRITE), IfPresent),
            (Importing, CHANNEL, Moved),
            (Importing, asking(CHANNEL), Served),
            (Importing, MIGRATE, Served),
            (Elsewhere, MIGRATE, Moved),
            (Sealed, READ, Hold),
            (Waiting, reader(READ), Hold),
        ] {
            assert_eq!(decide(ONE, request, here(slot), None), expected, "{slot:?} {request:?}");
        }
    }

    #[test]
    fn while_keys_move_it_depends_on_which_are_here() {
        let keys =
            |present, missing| Some(Presence { present, missing, are_several: present + missing > 1, move_now: false });
        for (present, missing, at_source, at_target) in [
            (1, 0, Served, Served),
            (0, 1, Ask, Served),
            (2, 0, Served, Served),
            (0, 2, Ask, TryAgain),
            (1, 1, TryAgain, TryAgain),
        ] {
            let presence = keys(present, missing);
            assert_eq!(decide(ONE, READ, here(Migrating), presence), at_source, "{presence:?}");
            assert_eq!(decide(ONE, asking(READ), here(Importing), presence), at_target, "{presence:?}");
        }
        // One key that is named twice is one key.
        let twice = Some(Presence { present: 0, missing: 2, ..Presence::default() });
        assert_eq!(decide(ONE, asking(WRITE), here(Importing), twice), Served);
        // What is just being sent may be read, and not changed.
        let in_flight = Some(Presence { present: 1, move_now: true, ..Presence::default() });
        for (slot, write) in [(Migrating, WRITE), (Importing, asking(WRITE))] {
            assert_eq!(decide(ONE, write, here(slot), in_flight), Hold, "{slot:?}");
            assert_eq!(
                decide(ONE, Request { effect: Effect::Reads, ..write }, here(slot), in_flight),
                Served,
                "{slot:?}"
            );
        }
    }
}
