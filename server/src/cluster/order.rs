//! What a client orders of the cluster, and which change of the map that is.
//!
//! Commands make [`Order`]s; whoever carries them out asks [`Order::step`] what is to be done with the map that he has
//! at that moment. A transaction's orders come together, and may be one in truth: [`plan`] finds that.

use super::control::{Answer, Outcome};
use basalt_cluster::Slot;
use basalt_cluster::ids::{ConfigEpoch, MigrationId, NodeId};
use basalt_cluster::map::{
    self, Change, ClusterMap, Failure, Force, Job, Migration, MigrationKind, Refusal, Removal, SlotRange,
};
use basalt_storage::clock::UnixMs;
use basalt_storage::rng::Rng;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// One thing that a client wants changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    AddSlots(Vec<SlotRange>),
    DelSlots(Vec<SlotRange>),
    FlushSlots,
    /// A slot shall be this node's, whoever has it.
    ForceOwn(Slot),
    SetMigrating {
        slot: Slot,
        to: NodeId,
    },
    SetImporting {
        slot: Slot,
        from: NodeId,
    },
    SetStable(Slot),
    SetNode {
        slot: Slot,
        to: NodeId,
    },
    BumpEpoch,
    SetConfigEpoch(ConfigEpoch),
    /// The node that listens for other nodes there.
    Meet(SocketAddr),
    Forget(NodeId),
    Replicate(NodeId),
    Failover(Force),
    Reset(Identity),
    /// What is known shall be on disk.
    SaveConfig,
    /// Slots of this node shall move with their keys: Valkey's dialect.
    Export(Vec<(NodeId, Vec<SlotRange>)>),
    /// Slots shall move here with their keys: Redis's dialect.
    Import(Vec<SlotRange>),
    /// Migrations shall end without having moved anything.
    Cancel(Which),
    /// Slots shall be spread evenly.
    Balance(Rehearsal),
    Drain {
        node: NodeId,
        removal: Removal,
    },
    /// Replicas of the groups that own these slots shall be compared.
    Verify(SlotRange),
}

/// What CLUSTER RESET leaves of a node's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    Kept,
    New,
}

/// Which migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    One(MigrationId),
    /// All into this node.
    Imports,
    /// All out of this node.
    Exports,
}

/// Whether a plan is carried out, or only told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    Plan,
    CarryOut,
}

/// What has to happen for an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Change(Change),
    /// It takes more than the map: the node itself must act.
    Act(Order),
    /// It is so already.
    Nothing(Outcome),
}

/// What a step needs that is not in the map.
pub trait Draw {
    fn now(&mut self) -> UnixMs;
    fn migration(&mut self) -> MigrationId;
}

/// The clock of this machine, and random names.
pub struct Chance;

impl Draw for Chance {
    fn now(&mut self) -> UnixMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs(since.as_millis() as i64)
    }

    fn migration(&mut self) -> MigrationId {
        MigrationId::random(&mut Rng::from_entropy())
    }
}

impl Order {
    /// What is to be done for the order, given to `me`.
    pub fn step(self, map: &ClusterMap, me: NodeId, draw: &mut dyn Draw) -> Result<Step, Refusal> {
        let change = match self {
            Order::AddSlots(slots) => Change::AssignSlots { node: me, slots },
            Order::DelSlots(slots) => Change::UnassignSlots { node: me, slots },
            Order::FlushSlots => Change::FlushSlots { node: me },
            Order::ForceOwn(slot) => Change::ForceOwn { node: me, slot },
            Order::SetMigrating { slot, to } => Change::OpenMigrating { node: me, slot, to },
            Order::SetImporting { slot, from } => Change::OpenImporting { node: me, slot, from },
            Order::SetStable(slot) => Change::CloseSlot { node: me, slot },
            // redis-cli tells everybody, and what is everybody's map by then need not be decided once more.
            Order::SetNode { slot, to } if to != me && is_given(map, slot, to) => {
                return Ok(Step::Nothing(Outcome::Done));
            }
            Order::SetNode { slot, to } => {
                Change::GiveSlot { node: me, slot, to, id: draw.migration(), at: draw.now() }
            }
            Order::BumpEpoch => Change::BumpEpoch { node: me },
            Order::SetConfigEpoch(epoch) => Change::SetConfigEpoch { node: me, epoch },
            Order::Forget(target) => Change::Forget { node: me, target },
            Order::Replicate(master) => Change::Replicate { node: me, master },
            Order::Failover(force) => Change::Failover { node: me, force },
            Order::Drain { node, removal } => Change::Drain { node, removal },
            Order::Export(jobs) => {
                let job = |(to, slots)| Job {
                    id: draw.migration(),
                    kind: MigrationKind::FromSource,
                    slots,
                    from: Some(me),
                    to,
                };
                Change::BeginMigrations { jobs: jobs.into_iter().map(job).collect(), at: draw.now() }
            }
            Order::Import(slots) => {
                let (id, kind) = (draw.migration(), MigrationKind::ToTarget);
                Change::BeginMigrations { jobs: vec![Job { id, kind, slots, from: None, to: me }], at: draw.now() }
            }
            Order::Cancel(which) => return cancel(map, me, which, draw.now()),
            order @ (Order::Meet(_) | Order::Reset(_) | Order::SaveConfig | Order::Balance(_) | Order::Verify(_)) => {
                return Ok(Step::Act(order));
            }
        };
        Ok(Step::Change(change))
    }
}

/// Whether a slot is a node's, and nobody has it open.
fn is_given(map: &ClusterMap, slot: Slot, to: NodeId) -> bool {
    map.owner(slot) == Some(to) && !map.open_slots().keys().any(|(_, open)| *open == slot)
}

fn cancel(map: &ClusterMap, me: NodeId, which: Which, at: UnixMs) -> Result<Step, Refusal> {
    let is_meant = |migration: &&Migration| {
        let group = match which {
            Which::One(id) => return migration.id == id,
            Which::Imports => migration.target,
            Which::Exports => migration.source,
        };
        migration.kind != MigrationKind::HandOver && map.face(group) == Some(me) && !migration.is_committed()
    };
    let abort = |migration: &Migration| Change::AbortMigration { id: migration.id, why: Failure::Cancelled, at };
    let mut aborts: Vec<Change> = map.migrations_under_way().filter(is_meant).map(abort).collect();
    Ok(match aborts.len() {
        0 => Step::Nothing(Outcome::Counted(0)),
        1 => Step::Change(aborts.remove(0)),
        _ => Step::Change(Change::All(aborts)),
    })
}

/// What a change of the map has come to, for whoever has ordered it.
pub fn outcome(change: &Change, outcome: &map::Outcome) -> Outcome {
    let aborts = |change: &Change| matches!(change, Change::AbortMigration { .. });
    match (change, outcome) {
        (Change::BeginMigrations { jobs, .. }, _) if jobs.len() == 1 => Outcome::Began(jobs[0].id),
        (change, _) if aborts(change) => Outcome::Counted(1),
        (Change::All(changes), _) if changes.iter().all(aborts) => Outcome::Counted(changes.len()),
        (_, map::Outcome::Bumped(epoch)) => Outcome::Bumped(*epoch),
        (_, map::Outcome::StillHighest(epoch)) => Outcome::Still(*epoch),
        _ => Outcome::Done,
    }
}

/// An order, and how many of those that were given it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planned {
    pub order: Order,
    pub answers: usize,
}

impl Planned {
    /// The answers for all orders that this one stands for.
    fn spread(&self, answer: Answer) -> Vec<Answer> {
        let mut answers = vec![answer.clone().map(|_| Outcome::Done); self.answers];
        if let Some(last) = answers.last_mut() {
            *last = answer;
        }
        answers
    }
}

/// Carries out what one request, or one transaction, comes to; returns an answer for each order.
pub fn carry_out_all(orders: Vec<Order>, mut carry_out: impl FnMut(Order) -> Answer) -> Vec<Answer> {
    let answered = |planned: Planned| {
        let answer = carry_out(planned.order.clone());
        planned.spread(answer)
    };
    plan(orders).into_iter().flat_map(answered).collect()
}

/// The orders that one request, or one transaction, comes to. redis-cli takes a slot over (`--cluster fix`) by
/// DELSLOTS, ADDSLOTS, perhaps SETSLOT STABLE, and BUMPEPOCH in one transaction: that is one order, since taken for
/// themselves they would not take the slot away from whoever has it, and would let others see it unassigned.
fn plan(orders: Vec<Order>) -> Vec<Planned> {
    let forced = match orders.as_slice() {
        [Order::DelSlots(del), Order::AddSlots(add), rest @ .., Order::BumpEpoch] => match (&del[..], &add[..]) {
            ([del], [add]) if del == add && del.count() == 1 => {
                let slot = del.first();
                rest.iter().all(|order| *order == Order::SetStable(slot)).then_some(slot)
            }
            _ => None,
        },
        _ => None,
    };
    match forced {
        Some(slot) => vec![Planned { order: Order::ForceOwn(slot), answers: orders.len() }],
        None => orders.into_iter().map(|order| Planned { order, answers: 1 }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::control::Denied;
    use crate::cluster::show::samples;

    fn one(number: u16) -> Vec<SlotRange> {
        vec![SlotRange::one(slot(number))]
    }

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("below 16384")
    }

    #[test]
    fn a_repair_of_redis_cli_is_one_order() {
        let short = vec![Order::DelSlots(one(5)), Order::AddSlots(one(5)), Order::BumpEpoch];
        assert_eq!(plan(short.clone()), [Planned { order: Order::ForceOwn(slot(5)), answers: 3 }]);
        let mut long = short;
        long.insert(2, Order::SetStable(slot(5)));
        let planned = plan(long);
        assert_eq!(planned, [Planned { order: Order::ForceOwn(slot(5)), answers: 4 }]);
        let bumped = Outcome::Bumped(ConfigEpoch(7));
        let done = Ok(Outcome::Done);
        assert_eq!(planned[0].spread(Ok(bumped.clone())), [done.clone(), done.clone(), done, Ok(bumped)]);
        let denied = Err(Denied::NoQuorum);
        assert_eq!(planned[0].spread(denied.clone()), vec![denied; 4]);
    }

    #[test]
    fn what_all_know_is_not_decided_again() {
        let [one, two] = [1, 2].map(samples::node);
        let mut map = samples::cluster(2);
        let order = Order::SetNode { slot: slot(5), to: one };
        let step = |map: &ClusterMap, me| order.clone().step(map, me, &mut Chance);
        assert!(matches!(step(&map, two), Ok(Step::Change(_))));
        map.apply(&Change::AssignSlots { node: one, slots: vec![SlotRange::one(slot(5))] }).expect("it is free");
        assert_eq!(step(&map, two), Ok(Step::Nothing(Outcome::Done)));
        // Whoever takes it makes sure.
        assert!(matches!(step(&map, one), Ok(Step::Change(_))));
        map.apply(&Change::OpenImporting { node: two, slot: slot(5), from: one }).expect("it is not its own");
        assert!(matches!(step(&map, two), Ok(Step::Change(_))));
    }

    #[test]
    fn other_transactions_are_what_they_say() {
        for orders in [
            vec![Order::DelSlots(one(5)), Order::AddSlots(one(6)), Order::BumpEpoch],
            vec![Order::DelSlots(one(5)), Order::AddSlots(one(5))],
            vec![Order::DelSlots(one(5)), Order::AddSlots(one(5)), Order::SetStable(slot(6)), Order::BumpEpoch],
            vec![Order::DelSlots(vec![SlotRange::all()]), Order::AddSlots(vec![SlotRange::all()]), Order::BumpEpoch],
        ] {
            assert_eq!(plan(orders.clone()).len(), orders.len());
        }
    }
}
