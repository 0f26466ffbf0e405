//! Rates: how much happens per second, averaged over the last samples.

use crate::server::Server;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Samples that the average goes over, one per tick of [`Sampler::sample`].
const SAMPLES: usize = 16;

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub commands: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    /// The same between nodes.
    pub peer_received_bytes: u64,
    pub peer_sent_bytes: u64,
    /// Wake-ups of network threads, and the time that they were busy.
    pub cycles: u64,
    pub busy_us: u64,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    totals: Rates,
}

/// The last samples of what is counted.
#[derive(Default)]
pub struct Sampler(Mutex<VecDeque<Sample>>);

impl Sampler {
    /// Takes a sample; called at even intervals.
    pub fn sample(&self, server: &Server) {
        let (traffic, cycles) = (server.stats.traffic(), server.event_loops.cycles());
        let between_nodes = server.cluster().map(|cluster| cluster.control().traffic()).unwrap_or_default();
        let totals = Rates {
            commands: server.stats.calls(),
            received_bytes: traffic.received_bytes,
            sent_bytes: traffic.sent_bytes,
            peer_received_bytes: between_nodes.received_bytes,
            peer_sent_bytes: between_nodes.sent_bytes,
            cycles: cycles.count,
            busy_us: cycles.busy.as_micros() as u64,
        };
        let mut samples = self.0.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Sample { at: Instant::now(), totals });
    }

    /// How long ago the last sample was taken.
    pub fn silence(&self) -> Option<Duration> {
        self.0.lock().back().map(|sample| sample.at.elapsed())
    }

    pub fn rates(&self) -> Rates {
        let samples = self.0.lock();
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return Rates::default() };
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        if seconds == 0.0 {
            return Rates::default();
        }
        // A reset of the statistics makes totals fall.
        let rate = |first: u64, last: u64| (last.saturating_sub(first) as f64 / seconds) as u64;
        Rates {
            commands: rate(first.totals.commands, last.totals.commands),
            received_bytes: rate(first.totals.received_bytes, last.totals.received_bytes),
            sent_bytes: rate(first.totals.sent_bytes, last.totals.sent_bytes),
            peer_received_bytes: rate(first.totals.peer_received_bytes, last.totals.peer_received_bytes),
            peer_sent_bytes: rate(first.totals.peer_sent_bytes, last.totals.peer_sent_bytes),
            cycles: rate(first.totals.cycles, last.totals.cycles),
            busy_us: rate(first.totals.busy_us, last.totals.busy_us),
        }
    }
}
