//! The newest map that this node knows, from whomever it has learned it.
//!
//! Invariant: its version only grows while the node stays in one cluster.

use crate::ids::MapVersion;
use crate::map::ClusterMap;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Told of each new map, in order, under a lock that makes others wait: must return soon.
pub type OnChange = Box<dyn Fn(&Arc<ClusterMap>) + Send + Sync>;

pub struct MapCell {
    map: Mutex<Option<Arc<ClusterMap>>>,
    changed: Condvar,
    on_change: OnChange,
}

impl MapCell {
    pub fn new(on_change: OnChange) -> MapCell {
        MapCell { map: Mutex::new(None), changed: Condvar::new(), on_change }
    }

    /// The map, once there is one.
    pub fn map(&self) -> Option<Arc<ClusterMap>> {
        self.map.lock().clone()
    }

    pub fn version(&self) -> MapVersion {
        self.map.lock().as_ref().map_or(MapVersion(0), |map| map.version())
    }

    /// Takes a map over if it is newer, or that of another cluster.
    pub fn learn(&self, map: Arc<ClusterMap>) {
        let mut known = self.map.lock();
        let is_news = known
            .as_ref()
            .is_none_or(|known| known.cluster_id() != map.cluster_id() || known.version() < map.version());
        if is_news {
            *known = Some(map.clone());
            (self.on_change)(&map);
            self.changed.notify_all();
        }
    }

    /// Blocks until the map has at least this version; whether it has then.
    pub fn wait(&self, version: MapVersion, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut known = self.map.lock();
        while known.as_ref().is_none_or(|map| map.version() < version) {
            if self.changed.wait_until(&mut known, deadline).timed_out() {
                return known.as_ref().is_some_and(|map| map.version() >= version);
            }
        }
        true
    }
}

/// A map as bytes.
pub fn encoded(map: &ClusterMap) -> Vec<u8> {
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    bytes
}
