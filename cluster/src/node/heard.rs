//! When other nodes were heard of, and which map they know: kept by every voter of the root group, so that a new leader
//! knows at once.

use super::bell::Bell;
use super::loads::Loads;
use super::wire::Beat;
use crate::ids::{MapVersion, NodeId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Heard {
    nodes: Mutex<HashMap<NodeId, Last>>,
    /// What slots cost, by what was said with the beats.
    pub loads: Loads,
    /// Rung with each beat.
    bell: Bell,
}

/// A node's last beat.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    pub at: Instant,
    pub version: MapVersion,
}

impl Heard {
    pub fn note(&self, node: NodeId, beat: Beat) {
        self.nodes.lock().insert(node, Last { at: Instant::now(), version: beat.version });
        self.loads.note(&beat.figures);
        self.bell.ring();
    }

    pub fn last(&self, node: NodeId) -> Option<Last> {
        self.nodes.lock().get(&node).copied()
    }

    /// Blocks until all of these nodes know this version of the map, but for those that `is_excused` lets off when it
    /// is asked now and then; or until the time is over.
    pub fn wait_for(
        &self,
        nodes: &[NodeId],
        version: MapVersion,
        patience: Duration,
        is_excused: impl Fn(NodeId) -> bool,
    ) {
        let deadline = Instant::now() + patience;
        let mut rings = self.bell.rings();
        loop {
            let knows = |node: &NodeId| self.last(*node).is_some_and(|last| last.version >= version);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || nodes.iter().all(|node| knows(node) || is_excused(*node)) {
                return;
            }
            rings = self.bell.wait(rings, left.min(Duration::from_millis(100)));
        }
    }
}
