//! What the steward and the courier remember from round to round.

use crate::ids::{MapVersion, NodeId};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Watch {
    inner: Mutex<Inner>,
    /// Steps of placement that were taken, by kind; also under former leads.
    steps: Mutex<HashMap<&'static str, u64>>,
}

#[derive(Default)]
struct Inner {
    /// Since when each node was a member, while this node has led.
    members_since: HashMap<NodeId, Instant>,
    /// Those of them that have come meanwhile, and have not got their share of the slots yet.
    newcomers: HashSet<NodeId>,
    /// Nodes whose slots were given to others since they were lost.
    given_up: HashSet<NodeId>,
    /// When was looked last whether a node has much more than its share.
    weighed: Option<Instant>,
    /// Since when one has.
    overloaded: Option<Instant>,
    /// That was so for long enough: slots are spread until everybody has their share.
    is_relieving: bool,
    /// The last map for which there was nothing to do, and when that was found.
    in_place: Option<(MapVersion, Instant)>,
    /// The last map that was sent to a node, and when.
    sent: HashMap<NodeId, (MapVersion, Instant)>,
}

impl Watch {
    pub fn lead_no_more(&self) {
        *self.inner.lock() = Inner::default();
    }

    pub fn count_step(&self, kind: &'static str) {
        *self.steps.lock().entry(kind).or_default() += 1;
    }

    pub fn steps(&self, kind: &str) -> u64 {
        self.steps.lock().get(kind).copied().unwrap_or(0)
    }

    /// These are the members now.
    pub fn note_members<'a>(&self, members: impl Iterator<Item = &'a NodeId>) {
        let Inner { members_since: since, newcomers, .. } = &mut *self.inner.lock();
        let (now, is_first) = (Instant::now(), since.is_empty());
        let members: HashMap<NodeId, Instant> =
            members.map(|node| (*node, since.get(node).copied().unwrap_or(now))).collect();
        if !is_first {
            newcomers.extend(members.keys().filter(|node| !since.contains_key(node)));
        }
        newcomers.retain(|node| members.contains_key(node));
        *since = members;
    }

    /// Its slots are those of others.
    pub fn note_given_up(&self, node: NodeId) {
        self.inner.lock().given_up.insert(node);
    }

    /// A node is up again. If its slots were given to others meanwhile, it is like one that is new.
    pub fn note_back(&self, node: NodeId) {
        let inner = &mut *self.inner.lock();
        if inner.given_up.remove(&node) {
            inner.newcomers.insert(node);
            inner.members_since.insert(node, Instant::now());
        }
    }

    /// Whether a node has come while this one has led, so long ago, and still waits for its share.
    pub fn has_newcomer(&self, delay: Duration) -> bool {
        let inner = self.inner.lock();
        inner.newcomers.iter().any(|node| inner.members_since.get(node).is_some_and(|since| since.elapsed() >= delay))
    }

    /// Whether it makes sense to look for steps of placement: time alone makes some of them due, but not within `rest`.
    pub fn is_to_plan(&self, version: MapVersion, rest: Duration) -> bool {
        let in_place = self.inner.lock().in_place;
        in_place.is_none_or(|(found, at)| found != version || at.elapsed() >= rest)
    }

    /// There was nothing to do for this map.
    pub fn note_in_place(&self, version: MapVersion) {
        self.inner.lock().in_place = Some((version, Instant::now()));
    }

    /// Everybody has their share, or as much of it as they can get.
    pub fn note_spread(&self) {
        let inner = &mut *self.inner.lock();
        inner.newcomers.clear();
        (inner.overloaded, inner.is_relieving) = (None, false);
    }

    /// Whether it is time to look whether a node has much more than its share; if so, that is noted.
    pub fn is_to_weigh(&self, pause: Duration) -> bool {
        let inner = &mut *self.inner.lock();
        let is_due = inner.weighed.is_none_or(|at| at.elapsed() >= pause);
        if is_due {
            inner.weighed = Some(Instant::now());
        }
        is_due
    }

    /// Whether a node has much more than its share, and that could be mended.
    pub fn note_weighed(&self, is_overloaded: bool) {
        let inner = &mut *self.inner.lock();
        inner.overloaded = is_overloaded.then(|| inner.overloaded.unwrap_or_else(Instant::now));
    }

    /// Whether a node has had much more than its share for so long, and it is not mended yet.
    pub fn is_overloaded(&self, delay: Duration) -> bool {
        let inner = &mut *self.inner.lock();
        inner.is_relieving |= inner.overloaded.is_some_and(|since| since.elapsed() >= delay);
        inner.is_relieving
    }

    /// For how long the node could have been heard.
    pub fn watched_for(&self, node: NodeId) -> Duration {
        self.inner.lock().members_since.get(&node).map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Whether it is time to send this map, or to send it again; if so, that is noted.
    pub fn may_send(&self, node: NodeId, version: MapVersion, resend: Duration) -> bool {
        let mut inner = self.inner.lock();
        let was_sent = inner.sent.get(&node).is_some_and(|(sent, at)| *sent == version && at.elapsed() < resend);
        if !was_sent {
            inner.sent.insert(node, (version, Instant::now()));
        }
        !was_sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::samples::node_id;

    #[test]
    fn those_who_come_later_are_newcomers_until_they_have_their_share() {
        let watch = Watch::default();
        watch.note_members([node_id(1), node_id(2)].iter());
        assert!(!watch.has_newcomer(Duration::ZERO), "nobody knows since when they have been there");
        watch.note_members([node_id(1), node_id(2), node_id(3)].iter());
        assert!(watch.has_newcomer(Duration::ZERO) && !watch.has_newcomer(Duration::MAX));
        watch.note_spread();
        assert!(!watch.has_newcomer(Duration::ZERO));
        watch.note_members([node_id(1), node_id(4)].iter());
        watch.note_members([node_id(1)].iter());
        assert!(!watch.has_newcomer(Duration::ZERO), "it has gone again");
    }

    #[test]
    fn who_comes_back_to_find_its_slots_given_away_is_a_newcomer() {
        let watch = Watch::default();
        watch.note_members([node_id(1), node_id(2)].iter());
        watch.note_back(node_id(2));
        assert!(!watch.has_newcomer(Duration::ZERO), "it has its slots");
        watch.note_given_up(node_id(2));
        watch.note_back(node_id(2));
        assert!(watch.has_newcomer(Duration::ZERO));
    }

    #[test]
    fn an_overload_counts_when_it_lasts_and_then_until_it_is_mended() {
        let watch = Watch::default();
        assert!(watch.is_to_weigh(Duration::MAX) && !watch.is_to_weigh(Duration::MAX));
        watch.note_weighed(true);
        assert!(!watch.is_overloaded(Duration::MAX));
        watch.note_weighed(false);
        assert!(!watch.is_overloaded(Duration::ZERO), "it has passed");
        watch.note_weighed(true);
        assert!(watch.is_overloaded(Duration::ZERO));
        watch.note_weighed(false);
        assert!(watch.is_overloaded(Duration::MAX), "what has begun goes on");
        watch.note_spread();
        assert!(!watch.is_overloaded(Duration::ZERO));
    }
}
