//! A network that loses, delays and repeats messages, and that can be cut, also in one direction. What goes by one lane
//! between two replicas keeps its order, as on a connection; lanes overtake each other.

use std::collections::{BTreeMap, BTreeSet};

use basalt_cluster::group::core::{Lane, PeerMessage};

use super::faults::Faults;
use crate::rng::Rng;

#[derive(Default)]
pub struct Network {
    /// By the time of arrival, then in the order of sending.
    under_way: BTreeMap<(u64, u64), (u64, u64, Vec<u8>)>,
    sent: u64,
    last_arrival: BTreeMap<(u64, u64, Lane), u64>,
    /// From whom to whom nothing gets through.
    cut: BTreeSet<(u64, u64)>,
}

impl Network {
    pub fn send(&mut self, message: &PeerMessage, now: u64, faults: &Faults, rng: &mut Rng) {
        let (from, to) = (message.from().0, message.to().0);
        if self.is_cut(from, to) || rng.chance(faults.loss) {
            return;
        }
        let last = self.last_arrival.entry((from, to, message.lane())).or_default();
        *last = (*last).max(now + rng.below(faults.delay_ms_max + 1));
        let copies = if rng.chance(faults.repeat) { 2 } else { 1 };
        for _ in 0..copies {
            self.sent += 1;
            self.under_way.insert((*last, self.sent), (from, to, message.encode()));
        }
    }

    pub fn arrived(&mut self, now: u64) -> Vec<(u64, PeerMessage)> {
        let later = self.under_way.split_off(&(now + 1, 0));
        let arrived = std::mem::replace(&mut self.under_way, later);
        let arrived = arrived.into_values().filter(|(from, to, _)| !self.is_cut(*from, *to));
        arrived.map(|(_, to, bytes)| (to, PeerMessage::decode(&bytes).expect("nothing damages it"))).collect()
    }

    pub fn is_cut(&self, from: u64, to: u64) -> bool {
        self.cut.contains(&(from, to))
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    pub fn isolate(&mut self, ids: &[u64], one: u64) {
        self.cut.clear();
        self.cut.extend(ids.iter().flat_map(|id| [(*id, one), (one, *id)]));
    }

    /// Isolates one, parts the group in two, cuts one direction, or leaves one replica that alone sees both halves.
    pub fn cut(&mut self, ids: &[u64], rng: &mut Rng) {
        self.cut.clear();
        let one = ids[rng.below(ids.len() as u64) as usize];
        let other = ids[rng.below(ids.len() as u64) as usize];
        let kind = rng.below(5);
        let half: BTreeSet<u64> = ids.iter().copied().filter(|_| rng.chance(500)).collect();
        for from in ids.iter().copied() {
            for to in ids.iter().copied() {
                let is_cut = match kind {
                    0 => from == one || to == one,
                    1 => half.contains(&from) != half.contains(&to),
                    2 => from == one && to == other,
                    3 => to == one,
                    _ => from != one && to != one && half.contains(&from) != half.contains(&to),
                };
                if is_cut {
                    self.cut.insert((from, to));
                }
            }
        }
    }
}
