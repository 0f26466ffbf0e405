//! The latency monitor: spikes by event, as LATENCY shows them (Redis documentation, "Latency monitoring").

pub mod report;

use crate::commands::Command;
use crate::commands::spec::Flags;
use crate::server::Server;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Samples kept per event.
const HISTORY: usize = 160;

/// The spikes of one event, oldest first.
#[derive(Clone, Debug, Default)]
pub struct EventHistory {
    /// Second of the spike and its length in milliseconds.
    pub samples: Vec<(i64, u64)>,
    pub max_ms: u64,
}

#[derive(Default)]
pub struct LatencyMonitor {
    /// Zero: off.
    threshold_ms: AtomicU64,
    events: Mutex<HashMap<&'static str, EventHistory>>,
}

impl LatencyMonitor {
    pub fn configure(&self, threshold_ms: u64) {
        self.threshold_ms.store(threshold_ms, Relaxed);
    }

    pub fn is_on(&self) -> bool {
        self.threshold_ms.load(Relaxed) != 0
    }

    #[inline]
    pub fn wants(&self, elapsed: Duration) -> bool {
        let threshold = self.threshold_ms.load(Relaxed);
        threshold != 0 && elapsed.as_millis() as u64 >= threshold
    }

    #[cold]
    pub fn note_command(&self, server: &Server, command: &Command, elapsed: Duration) {
        let event = if command.spec.flags.contains(Flags::FAST) { "fast-command" } else { "command" };
        self.note(server, event, elapsed);
    }

    /// Notes how long `event` took, if that is a spike.
    pub fn note(&self, server: &Server, event: &'static str, elapsed: Duration) {
        if !self.wants(elapsed) {
            return;
        }
        let (second, ms) = (server.now().0 / 1000, elapsed.as_millis() as u64);
        let mut events = self.events.lock();
        let history = events.entry(event).or_default();
        history.max_ms = history.max_ms.max(ms);
        match history.samples.last_mut() {
            // Spikes of the same second count as one, the longest.
            Some(last) if last.0 == second => last.1 = last.1.max(ms),
            _ => {
                if history.samples.len() == HISTORY {
                    history.samples.remove(0);
                }
                history.samples.push((second, ms));
            }
        }
    }

    pub fn events(&self) -> Vec<(&'static str, EventHistory)> {
        let mut events: Vec<_> = self.events.lock().iter().map(|(event, history)| (*event, history.clone())).collect();
        events.sort_by_key(|(event, _)| *event);
        events
    }

    pub fn event(&self, name: &str) -> Option<EventHistory> {
        self.events.lock().get(name).cloned()
    }

    /// Forgets the named events, or all; returns how many there were.
    pub fn reset(&self, names: &[&str]) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|event, _| !names.is_empty() && !names.contains(event));
        before - events.len()
    }
}
