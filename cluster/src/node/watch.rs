//! What the steward remembers from round to round.

use crate::ids::{MapVersion, NodeId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Watch {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Since when each node was a member, while this node has led.
    members_since: HashMap<NodeId, Instant>,
    /// The last map that was sent to a node, and when.
    sent: HashMap<NodeId, (MapVersion, Instant)>,
}

impl Watch {
    pub fn lead_no_more(&self) {
        *self.inner.lock() = Inner::default();
    }

    /// These are the members now.
    pub fn note_members<'a>(&self, members: impl Iterator<Item = &'a NodeId>) {
        let since = &mut self.inner.lock().members_since;
        let now = Instant::now();
        *since = members.map(|node| (*node, since.get(node).copied().unwrap_or(now))).collect();
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
