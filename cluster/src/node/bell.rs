//! Wakes threads that look again and again: all of them, and none misses a ring.

use parking_lot::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// How often a bell has been rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings(u64);

#[derive(Default)]
pub struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    pub fn ring(&self) {
        *self.rings.lock() += 1;
        self.rung.notify_all();
    }

    pub fn rings(&self) -> Rings {
        Rings(*self.rings.lock())
    }

    /// Blocks until the bell was rung after `seen`, or until the time is over.
    pub fn wait(&self, seen: Rings, patience: Duration) -> Rings {
        let deadline = Instant::now() + patience;
        let mut rings = self.rings.lock();
        while *rings == seen.0 {
            if self.rung.wait_until(&mut rings, deadline).timed_out() {
                break;
            }
        }
        Rings(*rings)
    }
}
