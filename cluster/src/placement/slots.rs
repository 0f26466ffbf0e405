//! Which master should own which slots.
//!
//! Each usable master should have a part of the load according to its weight; one that is emptied nothing. Slots go
//! from the one that has most too much to the one that has most too little, and never so many that either passes its
//! goal: so a plan does not undo another, and a slot so hot that it would only move the problem stays. Slots that are
//! on their way count where they go; those whose leader only stands in for another are left out until that is settled.

use super::fitness::{Fitness, fitness};
use super::{Budget, Load, Move, Step, Why};
use crate::Slot;
use crate::ids::{GroupId, NodeId};
use crate::map::{ClusterMap, Roles, SlotRange};
use basalt_storage::clock::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// Nothing moves while everybody is within this part of what they should have.
const TOLERANCE: f64 = 0.05;
/// Slots in one migration: few enough that one can be awaited or taken back.
const SLOTS_PER_MOVE_MAX: usize = 1024;

/// What may be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    /// Only what lies on nodes that are emptied.
    OnlyDraining,
}

/// A master in the game.
struct Player {
    node: NodeId,
    has: f64,
    should: f64,
    is_emptied: bool,
    /// Slots that it may give away, the highest last: neighbours stay together.
    movable: Vec<(Slot, GroupId)>,
}

/// The next migrations of slots.
pub fn slots(map: &ClusterMap, load: &Load, now: UnixMs, budget: &Budget, scope: Scope) -> Vec<Move> {
    let costs = load.costs(map);
    let mut players = players(map, load, now, &costs);
    let mut room = Room {
        moves: budget.migrations.saturating_sub(map.migrations_under_way().count()),
        slots: budget.slots,
        bytes: budget.bytes,
        is_untouched: true,
    };
    let is_balanced = players.iter().all(|player| {
        (player.has - player.should).abs() <= player.should * TOLERANCE && !(player.is_emptied && player.has > 0.0)
    });
    if is_balanced {
        return Vec::new();
    }
    let mut moves = Vec::new();
    while room.is_left()
        && let Some((giver, taker)) = next_pair(&players, scope)
    {
        let why = Why::Imbalance {
            from_has: players[giver].has,
            to_has: players[taker].has,
            from_should: players[giver].should,
            to_should: players[taker].should,
        };
        let (taken, bytes) = take(&mut players, giver, taker, load, &costs, &mut room);
        let (from, to) = (players[giver].node, players[taker].node);
        if taken.is_empty() {
            // What it has is too big for anybody's need.
            players[giver].movable.clear();
            continue;
        }
        let why = if players[giver].is_emptied { Why::Draining(from) } else { why };
        moves.push(Move { step: Step::MoveSlots { from, to, slots: SlotRange::of_slots(taken), bytes }, why });
        room.moves -= 1;
    }
    moves
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

/// What a plan may still do.
struct Room {
    moves: usize,
    slots: usize,
    bytes: u64,
    is_untouched: bool,
}

impl Room {
    fn is_left(&self) -> bool {
        self.moves > 0 && self.slots > 0 && (self.bytes > 0 || self.is_untouched)
    }

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

fn players(map: &ClusterMap, load: &Load, now: UnixMs, costs: &[f64]) -> Vec<Player> {
    let mut players: BTreeMap<NodeId, Player> = BTreeMap::new();
    for node in Roles::of(map).masters() {
        let is_emptied = match fitness(map, node, now) {
            Fitness::Usable => load.weight(node) == 0,
            Fitness::Emptying => true,
            // Nobody leads there: nothing can be taken or given until somebody does.
            Fitness::Silent | Fitness::Lost => continue,
        };
        players.insert(node, Player { node, has: 0.0, should: 0.0, is_emptied, movable: Vec::new() });
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
        player.has += costs[usize::from(slot.number())];
        if !bound.contains_key(&slot) && !open.contains(&slot) && !will_be_led_elsewhere(map, owner, now) {
            player.movable.push((slot, owner));
        }
    }
    let mut players: Vec<Player> = players.into_values().collect();
    let total: f64 = players.iter().map(|player| player.has).sum();
    let weight = |player: &Player| if player.is_emptied { 0.0 } else { f64::from(load.weight(player.node)) };
    let weights: f64 = players.iter().map(weight).sum();
    for player in &mut players {
        player.should = if weights > 0.0 { total * weight(player) / weights } else { player.has };
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

/// Who has most too much, and who most too little. Those that are emptied come first.
fn next_pair(players: &[Player], scope: Scope) -> Option<(usize, usize)> {
    let over = |player: &Player| player.has - player.should;
    let may_give = |player: &Player| {
        !player.movable.is_empty() && (player.is_emptied || (scope == Scope::All && over(player) > 0.0))
    };
    let giver = (0..players.len()).filter(|&at| may_give(&players[at])).max_by(|&one, &other| {
        let rank = |at: usize| (players[at].is_emptied, over(&players[at]));
        let ((one_first, one_over), (other_first, other_over)) = (rank(one), rank(other));
        one_first.cmp(&other_first).then(one_over.total_cmp(&other_over)).then(other.cmp(&one))
    })?;
    let takers = (0..players.len()).filter(|&at| at != giver && !players[at].is_emptied);
    let taker = takers.min_by(|&one, &other| over(&players[one]).total_cmp(&over(&players[other])))?;
    Some((giver, taker))
}

/// Takes slots of one group from the giver, from its highest down, as many as fit.
fn take(
    players: &mut [Player],
    giver: usize,
    taker: usize,
    load: &Load,
    costs: &[f64],
    room: &mut Room,
) -> (Vec<Slot>, u64) {
    let is_emptied = players[giver].is_emptied;
    // Of those that are emptied, too, each takes no more than it needs as long as anybody needs something.
    let need = players[taker].should - players[taker].has;
    let excess = players[giver].has - players[giver].should;
    let mut amount = if is_emptied && need <= 0.0 { f64::MIN_POSITIVE } else { need.min(excess) };
    let (mut taken, mut kept, mut bytes, mut moved) = (Vec::new(), Vec::new(), 0, 0.0);
    let mut source = None;
    for (slot, group) in std::mem::take(&mut players[giver].movable).into_iter().rev() {
        let cost = costs[usize::from(slot.number())];
        let slot_bytes = load.slot(slot).bytes;
        // The last slot of one that is emptied may be more than anybody needs, since it has to go.
        let fits = cost <= amount || (is_emptied && amount > 0.0 && taken.is_empty());
        let is_of_source = source.is_none_or(|source| source == group);
        if taken.len() < SLOTS_PER_MOVE_MAX && fits && is_of_source && room.admit(slot_bytes) {
            source = Some(group);
            amount -= cost;
            moved += cost;
            bytes += slot_bytes;
            taken.push(slot);
        } else {
            kept.push((slot, group));
        }
    }
    kept.reverse();
    players[giver].movable = kept;
    players[giver].has -= moved;
    players[taker].has += moved;
    taken.reverse();
    (taken, bytes)
}
