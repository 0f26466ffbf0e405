//! Commands: calls, refusals, errors, latency.

use super::exposition::Distribution;
use super::{Metric, counter, gauge, histogram};
use crate::stats::CommandTotals;
use std::sync::atomic::Ordering::Relaxed;

/// The ends that are shown, as powers of two nanoseconds: from 1 µs to 17 s. Finer below a quarter of a second, where
/// what a client notices and what it does not lie close together.
const ENDS: &[usize] = &[10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 32, 34];

pub const METRICS: &[Metric] = &[
    counter("basalt_commands_processed_total", &[], "Commands that were evaluated.", |scrape, samples| {
        samples.put(scrape.server.stats.calls());
    }),
    histogram(
        "basalt_command_duration_seconds",
        &["command"],
        "Time of evaluation; its count is the number of calls.",
        |scrape, samples| {
            for (command, totals) in scrape.commands.iter().filter(|(_, totals)| totals.calls > 0) {
                samples.put_distribution(&[command.full_name], &distribution(totals));
            }
        },
    ),
    counter(
        "basalt_command_failures_total",
        &["command"],
        "Calls that were answered with an error.",
        |scrape, samples| {
            for (command, totals) in &scrape.commands {
                samples.put_for(&[command.full_name], totals.failed);
            }
        },
    ),
    counter(
        "basalt_command_rejections_total",
        &["command"],
        "Calls that were refused before evaluation: wrong arguments, no memory, another node's slot.",
        |scrape, samples| {
            for (command, totals) in &scrape.commands {
                samples.put_for(&[command.full_name], totals.rejected);
            }
        },
    ),
    counter("basalt_error_replies_total", &[], "Error replies of any kind.", |scrape, samples| {
        samples.put(scrape.server.stats.error_replies.load(Relaxed));
    }),
    counter("basalt_errors_total", &["code"], "Error replies by their first word.", |scrape, samples| {
        for (code, count) in scrape.server.stats.errors() {
            samples.put_for(&[&code], count);
        }
    }),
    gauge("basalt_slowlog_entries", &[], "Entries in the slow log.", |scrape, samples| {
        samples.put(scrape.server.slowlog.len());
    }),
];

fn distribution(totals: &CommandTotals) -> Distribution {
    let mut from = 0;
    let mut steps = Vec::with_capacity(ENDS.len());
    for end in ENDS {
        // Bucket n has what took less than 2^n nanoseconds.
        steps.push(((1u64 << end) as f64 / 1e9, totals.latency[from..=*end].iter().sum()));
        from = end + 1;
    }
    let above = totals.latency[from..].iter().sum();
    Distribution { steps, above, sum_s: totals.nanoseconds as f64 / 1e9 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::BUCKETS;

    #[test]
    fn every_bucket_is_shown_once() {
        let totals =
            CommandTotals { latency: vec![1; BUCKETS], nanoseconds: 1_500_000_000, ..CommandTotals::default() };
        let Distribution { steps, above, sum_s } = distribution(&totals);
        assert_eq!(steps[0], (1.024e-6, 11), "all up to 2^10 ns");
        assert_eq!(steps.last().map(|(_, cases)| *cases), Some(2), "2^33 and 2^34");
        assert_eq!(steps.iter().map(|(_, cases)| cases).sum::<u64>() + above, BUCKETS as u64);
        assert_eq!(sum_s, 1.5);
    }
}
