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
        let traffic = server.stats.traffic();
        let totals = Rates {
            commands: server.stats.calls(),
            received_bytes: traffic.received_bytes,
            sent_bytes: traffic.sent_bytes,
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
        }
    }
}
