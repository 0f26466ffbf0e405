//! Which slots go from whom to whom, so that every master has its share of the bytes, of the operations and of the
//! slots, as far as that is possible.
//!
//! First slots leave those that are emptied. Then those that have too much of everything give whole runs of slots to
//! those that have too little of everything: a new node gets neighbours, and a bit of everything with them. What is
//! left are single measures: there the heaviest slots go that fit, since those are the fewest.
//!
//! A slot goes along only if the two nodes are nearer to their goals afterwards, all measures taken together (the sum
//! of the squares of what they are off falls with every slot, so nothing goes in circles); a slot so hot that it would
//! only take the problem along stays.

use super::load::{Costs, Measure, Parts};
use crate::Slot;
use crate::ids::{GroupId, NodeId};

/// A plan ends when everybody is within this part of what they should have: well within what is tolerated, so that it
/// takes a while until another is due. Of a measure that matters less it may be more: slots do not go back and forth
/// for their number's sake.
const GOAL: f64 = 0.01;

/// A run ends when so little of what it was to bring is missing: the last bits would be slots here and there.
const RUN_REST: f64 = 0.02;

/// How often slots are looked through for one plan, whatever is left then.
const LOOKS_MAX: usize = 128;

/// A master in the game.
pub(super) struct Player {
    pub node: NodeId,
    pub has: Parts,
    pub should: Parts,
    pub is_emptied: bool,
    /// Slots that it may give away, the highest last.
    pub movable: Vec<(Slot, GroupId)>,
}

/// Slots that go from one player to another, those to go first in front.
pub(super) struct Transfer {
    pub from: usize,
    pub to: usize,
    pub group: GroupId,
    pub slots: Vec<Slot>,
    /// What it was made for, and what the two had of it then.
    pub cause: Measure,
    pub from_has: f64,
    pub to_has: f64,
}

pub(super) struct Exchange<'a> {
    pub players: Vec<Player>,
    pub transfers: Vec<Transfer>,
    costs: &'a Costs,
    looks: usize,
}

impl Player {
    fn over(&self) -> Parts {
        Parts::of(|measure| self.has[measure] - self.should[measure])
    }

    /// How far it is from its share, in parts of that share, as far as the measure matters. Positive: it has too much.
    pub fn is_off_by(&self, measure: Measure, weights: Parts) -> f64 {
        match self.should[measure] {
            should if should > 0.0 => weights[measure] * (self.has[measure] - should) / should,
            _ => 0.0,
        }
    }
}

impl<'a> Exchange<'a> {
    pub fn new(players: Vec<Player>, costs: &'a Costs) -> Exchange<'a> {
        Exchange { players, transfers: Vec::new(), costs, looks: LOOKS_MAX }
    }

    /// All leaves those that are emptied, to whoever has most too little.
    pub fn empty(&mut self) {
        let weights = self.costs.weights;
        let over = |player: &Player| player.over().weighted(weights);
        let is_giver = |player: &&Player| player.is_emptied && !player.movable.is_empty();
        while self.players.iter().any(|player| is_giver(&player)) {
            let from = (0..self.players.len()).find(|&at| is_giver(&&self.players[at]));
            let takers = (0..self.players.len()).filter(|&at| !self.players[at].is_emptied);
            let to = takers.min_by(|&one, &other| over(&self.players[one]).total_cmp(&over(&self.players[other])));
            let (Some(from), Some(to)) = (from, to) else { return };
            let mut need = -over(&self.players[to]);
            let costs = self.costs;
            self.give(from, to, Measure::Slots, |slot, taken| {
                let cost = costs.slot(slot).weighted(weights);
                // It has to go, even if it is more than anybody needs.
                let fits = cost <= need || taken == 0;
                if fits {
                    need -= cost;
                }
                fits
            });
        }
    }

    /// Everybody gets nearer to their goals.
    pub fn even_out(&mut self) {
        while let Some((from, to)) = self.aligned_pair() {
            if !self.give_run(from, to) {
                break;
            }
        }
        let mut stuck = Vec::new();
        while let Some((player, measure)) = self.worst(&stuck) {
            if self.correct(player, measure) {
                stuck.clear();
            } else {
                stuck.push((player, measure));
            }
        }
    }

    fn measures(&self) -> impl Iterator<Item = Measure> + use<> {
        let weights = self.costs.weights;
        Measure::ALL.into_iter().filter(move |&measure| weights[measure] > 0.0)
    }

    /// Who has most too much of everything, and who most too little.
    fn aligned_pair(&self) -> Option<(usize, usize)> {
        let over = |at: &usize| self.players[*at].over();
        let total = |at: &usize| over(at).weighted(self.costs.weights);
        let enough = |at: &usize, measure| GOAL * self.players[*at].should[measure];
        let has_more = |at: &usize| self.measures().all(|measure| over(at)[measure] > enough(at, measure));
        let has_less = |at: &usize| self.measures().all(|measure| -over(at)[measure] > enough(at, measure));
        let all = || (0..self.players.len()).filter(|&at| !self.players[at].is_emptied);
        // Of equals the first.
        let giver =
            all().filter(has_more).max_by(|one, other| total(one).total_cmp(&total(other)).then(other.cmp(one)));
        let taker = all().filter(has_less).min_by(|one, other| total(one).total_cmp(&total(other)));
        Some((giver?, taker?))
    }

    /// Neighbouring slots go, until the first measure is where it should be.
    fn give_run(&mut self, from: usize, to: usize) -> bool {
        if self.looks == 0 {
            return false;
        }
        self.looks -= 1;
        let measures: Vec<Measure> = self.measures().collect();
        let (over, need) = (self.players[from].over(), self.players[to].over());
        let wanted = Parts::of(|measure| over[measure].min(-need[measure]));
        let mut left = wanted;
        let costs = self.costs;
        let cause = self.worst_of(from);
        let taken = self.give(from, to, cause, |slot, _| {
            let cost = costs.slot(slot);
            let goes_on = measures.iter().all(|&measure| left[measure] > RUN_REST * wanted[measure]);
            let fits = goes_on && measures.iter().all(|&measure| cost[measure] <= left[measure]);
            if fits {
                left.take(cost);
            }
            fits
        });
        taken > 0
    }

    /// The measure of which a player has most too much.
    fn worst_of(&self, player: usize) -> Measure {
        let off = |measure: &Measure| self.players[player].is_off_by(*measure, self.costs.weights);
        self.measures().max_by(|one, other| off(one).total_cmp(&off(other))).unwrap_or(Measure::Slots)
    }

    /// Who is furthest from their goal, and in what.
    fn worst(&self, stuck: &[(usize, Measure)]) -> Option<(usize, Measure)> {
        if self.looks == 0 {
            return None;
        }
        let all = (0..self.players.len()).flat_map(|player| self.measures().map(move |measure| (player, measure)));
        let off =
            |&(player, measure): &(usize, Measure)| self.players[player].is_off_by(measure, self.costs.weights).abs();
        let goal = |measure: Measure| GOAL / self.costs.weights[measure];
        let is_open = |pair: &(usize, Measure)| off(pair) > goal(pair.1) && !stuck.contains(pair);
        let open = all.filter(|pair| !self.players[pair.0].is_emptied && is_open(pair));
        open.max_by(|one, other| off(one).total_cmp(&off(other)).then(other.0.cmp(&one.0)))
    }

    /// Has a player give away of a measure, or get of it.
    fn correct(&mut self, player: usize, measure: Measure) -> bool {
        let over = |at: usize| self.players[at].over()[measure];
        let gives = over(player) > 0.0;
        let is_opposite = |&at: &usize| !self.players[at].is_emptied && (over(at) > 0.0) != gives;
        let mut others: Vec<usize> = (0..self.players.len()).filter(is_opposite).collect();
        others.sort_by(|&one, &other| over(one).abs().total_cmp(&over(other).abs()).reverse());
        for other in others {
            let (from, to) = if gives { (player, other) } else { (other, player) };
            if self.looks == 0 || self.give_heavy(from, to, measure) {
                return true;
            }
        }
        false
    }

    /// The heaviest slots go that fit; if none does, the one that helps most.
    fn give_heavy(&mut self, from: usize, to: usize, measure: Measure) -> bool {
        self.looks -= 1;
        let (weights, costs) = (self.costs.weights, self.costs);
        let mut gap = self.players[from].over();
        gap.take(self.players[to].over());
        // What falls of the sum of squares if a slot goes, halved.
        let gain = |gap: Parts, cost: Parts| {
            Parts::of(|measure| cost[measure] * (gap[measure] - cost[measure])).weighted(weights)
        };
        let start = gap;
        let helps = |slot: Slot| gain(start, costs.slot(slot));
        let may_help = |slot: Slot| costs.slot(slot)[measure] > 0.0 && helps(slot) > 0.0;
        let movable = &mut self.players[from].movable;
        let Some(best) = movable
            .iter()
            .map(|(slot, _)| *slot)
            .filter(|&slot| may_help(slot))
            .max_by(|&one, &other| helps(one).total_cmp(&helps(other)))
        else {
            return false;
        };
        movable.sort_by_cached_key(|&(slot, _)| (class(costs.slot(slot)[measure]), slot));
        let mut left = self.players[from].over()[measure].min(-self.players[to].over()[measure]);
        let mut taken = self.give(from, to, measure, |slot, _| {
            let cost = costs.slot(slot);
            let fits = cost[measure] > 0.0 && cost[measure] <= left && gain(gap, cost) > 0.0;
            if fits {
                left -= cost[measure];
                // One has less and the other more.
                gap.take(cost);
                gap.take(cost);
            }
            fits
        });
        if taken == 0 {
            taken = self.give(from, to, measure, |slot, _| slot == best);
        }
        self.players[from].movable.sort_by_key(|(slot, _)| *slot);
        taken > 0
    }

    /// Moves slots of one group, from the last movable one down, if `fits` says so, which is told how many went before.
    /// Returns how many went.
    fn give(&mut self, from: usize, to: usize, cause: Measure, mut fits: impl FnMut(Slot, usize) -> bool) -> usize {
        let (from_has, to_has) = (self.players[from].has[cause], self.players[to].has[cause]);
        let (mut taken, mut kept, mut moved) = (Vec::new(), Vec::new(), Parts::default());
        let mut source = None;
        for (slot, group) in std::mem::take(&mut self.players[from].movable).into_iter().rev() {
            if source.is_none_or(|source| source == group) && fits(slot, taken.len()) {
                source = Some(group);
                moved.add(self.costs.slot(slot));
                taken.push(slot);
            } else {
                kept.push((slot, group));
            }
        }
        kept.reverse();
        self.players[from].movable = kept;
        self.players[from].has.take(moved);
        self.players[to].has.add(moved);
        let count = taken.len();
        let is_same = |there: &&mut Transfer| (there.from, there.to, Some(there.group)) == (from, to, source);
        match (self.transfers.iter_mut().find(is_same), source) {
            (Some(transfer), _) => transfer.slots.extend(taken),
            (None, Some(group)) => {
                self.transfers.push(Transfer { from, to, group, slots: taken, cause, from_has, to_has });
            }
            (None, None) => {}
        }
        count
    }
}

/// How heavy a slot is, so roughly that slots with about as much are in one class, and go as neighbours.
fn class(part: f64) -> i32 {
    let mean = 1.0 / crate::SLOT_COUNT as f64;
    if part > 0.0 { (part / mean).log(4.0).round() as i32 } else { i32::MIN }
}
