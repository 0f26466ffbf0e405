//! Which master should own which slots.
//!
//! Each usable master should have a part of each measure ([`Measure`]) according to its weight; one that is emptied
//! nothing. What goes from whom to whom is found by [`super::exchange`]. Slots that are on their way count where they
//! go; those whose leader only stands in for another are left out until that is settled.
//!
//! What is measured is never the same twice, and slots must not wander because of that. So nothing moves while
//! everybody is within what is tolerated; a plan goes much nearer to the goal than that; and a plan that leaves whoever
//! is beyond it about where they are (since one slot is the load) is none.

use super::exchange::{Exchange, Player, Transfer};
use super::fitness::{Fitness, fitness};
use super::load::{Costs, Measure, Parts};
use super::{Budget, Load, Move, Step, Why};
use crate::Slot;
use crate::ids::{GroupId, NodeId};
use crate::map::{ClusterMap, Roles, SlotRange};
use basalt_storage::clock::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// Nothing moves while everybody is within this part of what they should have.
const TOLERANCE: f64 = 0.05;
/// Nor does anything by itself between nodes that have been there, while nobody has this part more than its share.
const OVERLOAD: f64 = 0.25;
/// A plan has to take away this part of what somebody is off by.
const RELIEF_MIN: f64 = 0.25;
/// Slots in one migration: few enough that one can be awaited or taken back.
const SLOTS_PER_MOVE_MAX: usize = 1024;

/// What may be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    /// The same, if somebody has much more bytes or operations than their share. How many slots somebody has is no
    /// reason: that may be as somebody wants it.
    OnlyOverloaded,
    /// Only what lies on nodes that are emptied.
    OnlyDraining,
}

/// The next migrations of slots.
pub fn slots(map: &ClusterMap, load: &Load, now: UnixMs, budget: &Budget, scope: Scope) -> Vec<Move> {
    let costs = Costs::of(map, load);
    let mut exchange = Exchange::new(players(map, load, now, &costs), &costs);
    exchange.empty();
    let emptied = exchange.transfers.len();
    let strayed = strayed(&exchange.players, &costs, scope);
    if !strayed.is_empty() {
        exchange.even_out();
        let is_relieved = |&(player, measure, off): &(usize, Measure, f64)| {
            let left: f64 = exchange.players[player].is_off_by(measure, costs.weights);
            left.abs() <= off.abs() * (1.0 - RELIEF_MIN)
        };
        if !strayed.iter().any(is_relieved) {
            exchange.transfers.truncate(emptied);
        }
    }
    let room = Room {
        moves: budget.migrations.saturating_sub(map.migrations_under_way().count()),
        slots: budget.slots,
        bytes: budget.bytes,
        is_untouched: true,
    };
    moves(&exchange, &costs, room)
}

/// Who is beyond what is tolerated, in what, and by how much.
fn strayed(players: &[Player], costs: &Costs, scope: Scope) -> Vec<(usize, Measure, f64)> {
    let is_beyond = |measure: Measure, off: f64| match scope {
        Scope::All => off.abs() > TOLERANCE,
        Scope::OnlyOverloaded => measure != Measure::Slots && off > OVERLOAD,
        Scope::OnlyDraining => false,
    };
    let all = players
        .iter()
        .enumerate()
        .flat_map(|(at, player)| Measure::ALL.map(|measure| (at, measure, player.is_off_by(measure, costs.weights))));
    all.filter(|&(_, measure, off)| is_beyond(measure, off)).collect()
}

/// As many of the transfers as there is room for, in migrations of bounded size.
fn moves(exchange: &Exchange<'_>, costs: &Costs, mut room: Room) -> Vec<Move> {
    let mut moves = Vec::new();
    for transfer in &exchange.transfers {
        for slots in transfer.slots.chunks(SLOTS_PER_MOVE_MAX) {
            let bytes = |slot: &Slot| costs.amount(*slot, Measure::Bytes).round() as u64;
            let mut taken: Vec<Slot> = Vec::new();
            if room.moves > 0 {
                taken.extend(slots.iter().filter(|slot| room.admit(bytes(slot))));
            }
            if taken.is_empty() {
                continue;
            }
            room.moves -= 1;
            taken.sort_unstable();
            let (from, to) = (&exchange.players[transfer.from], &exchange.players[transfer.to]);
            let sum = taken.iter().map(bytes).sum();
            let operations: f64 = taken.iter().map(|&slot| costs.amount(slot, Measure::Operations)).sum();
            let step = Step::MoveSlots {
                from: from.node,
                to: to.node,
                slots: SlotRange::of_slots(taken),
                bytes: sum,
                operations: operations.round() as u64,
            };
            moves.push(Move { step, why: why(transfer, from, to, costs) });
        }
    }
    moves
}

fn why(transfer: &Transfer, from: &Player, to: &Player, costs: &Costs) -> Why {
    let measure = transfer.cause;
    if from.is_emptied {
        return Why::Draining(from.node);
    }
    Why::Imbalance {
        measure,
        total: costs.totals[measure].round() as u64,
        from: Share { node: from.node, has: transfer.from_has, should: from.should[measure] },
        to: Share { node: to.node, has: transfer.to_has, should: to.should[measure] },
    }
}

/// Gives slots that nobody owns to the masters that should have more: the beginning of a cluster that was not told
/// otherwise.
pub fn unassigned(map: &ClusterMap, load: &Load, now: UnixMs) -> Vec<Move> {
    let masters: Vec<NodeId> = receivers(map, load, now).collect();
    let weights: u64 = masters.iter().map(|&node| u64::from(load.weight(node))).sum();
    let total = crate::SLOT_COUNT as u64;
    let mut free = Slot::all().filter(|&slot| map.slots().owner(slot).is_none()).peekable();
    let mut moves = Vec::new();
    let mut before = 0;
    for (position, &node) in masters.iter().enumerate() {
        let upto = before + u64::from(load.weight(node));
        let share = (upto * total / weights - before * total / weights) as usize;
        before = upto;
        let has: usize =
            map.slots().owners().filter(|(group, _)| map.face(*group) == Some(node)).map(|(_, count)| count).sum();
        let is_last = position + 1 == masters.len();
        let wanted = if is_last { usize::MAX } else { share.saturating_sub(has) };
        let slots = SlotRange::of_slots(free.by_ref().take(wanted));
        if !slots.is_empty() {
            moves.push(Move { step: Step::AssignSlots { node, slots }, why: Why::Unassigned });
        }
    }
    moves
}

/// What a node has of a measure, and what it should have, as parts of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    pub node: NodeId,
    pub has: f64,
    pub should: f64,
}

/// What a plan may still do.
struct Room {
    moves: usize,
    slots: usize,
    bytes: u64,
    is_untouched: bool,
}

impl Room {
    /// Whether a slot of this size may go along. The first always may.
    fn admit(&mut self, bytes: u64) -> bool {
        if self.slots == 0 || (bytes > self.bytes && !self.is_untouched) {
            return false;
        }
        self.slots -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.is_untouched = false;
        true
    }
}

/// Masters that may be given slots.
pub(super) fn receivers(map: &ClusterMap, load: &Load, now: UnixMs) -> impl Iterator<Item = NodeId> {
    let masters: Vec<NodeId> = Roles::of(map).masters().collect();
    masters.into_iter().filter(move |&node| fitness(map, node, now) == Fitness::Usable && load.weight(node) > 0)
}

fn players(map: &ClusterMap, load: &Load, now: UnixMs, costs: &Costs) -> Vec<Player> {
    let mut players: BTreeMap<NodeId, Player> = BTreeMap::new();
    for node in Roles::of(map).masters() {
        let is_emptied = match fitness(map, node, now) {
            Fitness::Usable => load.weight(node) == 0,
            Fitness::Emptying => true,
            // Nobody leads there: nothing can be taken or given until somebody does.
            Fitness::Silent | Fitness::Lost => continue,
        };
        let (has, should) = (Parts::default(), Parts::default());
        players.insert(node, Player { node, has, should, is_emptied, movable: Vec::new() });
    }
    let bound: BTreeMap<Slot, GroupId> = map
        .migrations_under_way()
        .flat_map(|moving| {
            let stays_with = if moving.is_aborting() { moving.source } else { moving.target };
            moving.all_slots().map(move |slot| (slot, stays_with))
        })
        .collect();
    let stand_ins: BTreeSet<GroupId> =
        map.groups().keys().copied().filter(|&group| is_led_by_stand_in(map, group, now)).collect();
    let open: BTreeSet<Slot> = map.open_slots().keys().map(|(_, slot)| *slot).collect();
    for (slot, info) in map.slots().iter() {
        let Some(owner) = info.owner else { continue };
        let counts_for = bound.get(&slot).copied().unwrap_or(owner);
        if stand_ins.contains(&counts_for) {
            continue;
        }
        let Some(player) = map.face(counts_for).and_then(|face| players.get_mut(&face)) else { continue };
        player.has.add(costs.slot(slot));
        if !bound.contains_key(&slot) && !open.contains(&slot) && !will_be_led_elsewhere(map, owner, now) {
            player.movable.push((slot, owner));
        }
    }
    let mut players: Vec<Player> = players.into_values().collect();
    let mut total = Parts::default();
    players.iter().for_each(|player| total.add(player.has));
    let weight = |player: &Player| if player.is_emptied { 0.0 } else { f64::from(load.weight(player.node)) };
    let weights: f64 = players.iter().map(weight).sum();
    for player in &mut players {
        let part = weight(player) / weights;
        player.should = if weights > 0.0 { Parts::of(|measure| total[measure] * part) } else { player.has };
    }
    players
}

/// Another leads until the one that should is back, or is given up. That is no reason to move slots.
fn is_led_by_stand_in(map: &ClusterMap, group: GroupId, now: UnixMs) -> bool {
    let Some(info) = map.group(group) else { return false };
    let is_at_home = map.node(info.preferred).is_some_and(|node| node.home == group);
    let is_awaited = fitness(map, info.preferred, now).counts();
    info.members.leader.node != info.preferred && is_at_home && is_awaited
}

/// A master that is emptied and has a replica at home hands over the lead, which costs less than moving slots.
fn will_be_led_elsewhere(map: &ClusterMap, group: GroupId, now: UnixMs) -> bool {
    let Some(info) = map.group(group) else { return false };
    let heir = |node: NodeId| {
        fitness(map, node, now) == Fitness::Usable && info.members.on(node).is_some_and(|replica| replica.is_firm())
    };
    fitness(map, info.members.leader.node, now) == Fitness::Emptying && map.home_nodes(group).any(heir)
}
