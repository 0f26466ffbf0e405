//! The latency monitor's findings as text: the report of LATENCY DOCTOR, the drawing of LATENCY GRAPH, and the steps of
//! LATENCY HISTOGRAM.

use super::{EventHistory, LatencyMonitor};
use std::fmt::Write;

/// Explains the spikes of all events.
pub fn doctor(monitor: &LatencyMonitor, now_s: i64) -> String {
    if !monitor.is_on() {
        return "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this server. You may use \
                \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it.\n"
            .into();
    }
    let events = monitor.events();
    if events.is_empty() {
        return "Dave, no latency spike was observed since the server was started, or since the last LATENCY RESET.\n"
            .into();
    }
    let mut text = String::from("Dave, I have observed latency spikes in this server:\n\n");
    for (number, (event, history)) in events.iter().enumerate() {
        let summary = Summary::of(history, now_s);
        let _ = writeln!(
            text,
            "{}. {event}: {} latency spikes (average {}ms, mean deviation {}ms, period {:.2} sec). \
             Worst all time event {}ms.",
            number + 1,
            history.samples.len(),
            summary.average_ms,
            summary.mean_deviation_ms,
            summary.period_s,
            history.max_ms,
        );
    }
    text.push_str("\nI have a few advices for you:\n\n");
    for advice in events.iter().filter_map(|(event, _)| advice(event)) {
        let _ = writeln!(text, "- {advice}");
    }
    text
}

fn advice(event: &str) -> Option<&'static str> {
    match event {
        "command" => Some(
            "Some commands take long: see SLOWLOG GET for which they are, and avoid commands that look at whole big \
             collections or at all keys.",
        ),
        "fast-command" => {
            Some("Commands that are fast by themselves take long: the machine may be short of CPU, or may swap memory.")
        }
        "expire-cycle" => Some("Many keys expire at the same time: spread their expiry."),
        "eviction-cycle" | "eviction-del" => Some("Evicting takes long: big values may be evicted one after another."),
        _ => None,
    }
}

/// An event's spikes in numbers.
struct Summary {
    average_ms: u64,
    mean_deviation_ms: u64,
    period_s: f64,
}

impl Summary {
    fn of(history: &EventHistory, now_s: i64) -> Summary {
        let count = history.samples.len().max(1) as u64;
        let average_ms = history.samples.iter().map(|(_, ms)| ms).sum::<u64>() / count;
        let mean_deviation_ms = history.samples.iter().map(|(_, ms)| ms.abs_diff(average_ms)).sum::<u64>() / count;
        let first = history.samples.first().map_or(now_s, |(second, _)| *second);
        Summary { average_ms, mean_deviation_ms, period_s: (now_s - first) as f64 / count as f64 }
    }
}

/// Draws the spikes as columns, the time since each written downwards below it.
pub fn graph(event: &str, history: &EventHistory, now_s: i64) -> String {
    const ROWS: usize = 4;
    let lengths = || history.samples.iter().map(|(_, ms)| *ms);
    let (high, low) = (lengths().max().unwrap_or(0), lengths().min().unwrap_or(0));
    let mut text = format!("{event} - high {high} ms, low {low} ms (all time high {} ms)\n", history.max_ms);
    text.push_str(&"-".repeat(80));
    text.push('\n');
    // Each row has three levels: `_` for the lowest, `o`, and `#` for a column that goes on above.
    let level = |ms: u64| ((ms - low) as usize * (ROWS * 3 - 1)).checked_div((high - low) as usize).unwrap_or(0);
    for row in (0..ROWS).rev() {
        let cell = |ms| match level(ms).checked_sub(row * 3) {
            None => ' ',
            Some(0) => '_',
            Some(1) => 'o',
            Some(2) => '#',
            Some(_) => '|',
        };
        text.extend(lengths().map(cell));
        text.push('\n');
    }
    text.push('\n');
    let ages: Vec<String> = history.samples.iter().map(|(second, _)| age(now_s - second)).collect();
    for row in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        text.extend(ages.iter().map(|age| age.as_bytes().get(row).map_or(' ', |byte| char::from(*byte))));
        text.push('\n');
    }
    text
}

/// A span of time in one unit, such as `5m`.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86400),
    }
}

/// From calls per bucket (bucket n: less than 2^n nanoseconds) to calls that took at most so many microseconds. Only
/// steps that add calls are told; the bounds are those that Redis's histograms have.
pub fn cumulative_us(buckets: &[u64]) -> Vec<(u64, u64)> {
    let mut steps: Vec<(u64, u64)> = Vec::new();
    let mut total = 0;
    for (bucket, calls) in buckets.iter().enumerate().filter(|(_, calls)| **calls > 0) {
        total += calls;
        let bound = bound_ns(bucket) / 1000;
        match steps.last_mut() {
            Some(last) if last.0 == bound => last.1 = total,
            _ => steps.push((bound, total)),
        }
    }
    steps
}

/// Everything below a microsecond counts as one.
const LOWEST: usize = 10;

/// The most nanoseconds that calls in this bucket count as.
fn bound_ns(bucket: usize) -> u64 {
    let power = bucket.max(LOWEST);
    (1u64 << power) + (1u64 << (power - 7)) - 1
}

/// How many microseconds this percentage of the calls took at most.
pub fn percentile_us(buckets: &[u64], percentile: f64) -> f64 {
    let calls: u64 = buckets.iter().sum();
    let wanted = ((calls as f64 * percentile / 100.0).round() as u64).max(1);
    let mut seen = 0;
    let bucket = buckets.iter().position(|calls| {
        seen += calls;
        seen >= wanted
    });
    bucket.map_or(0.0, |bucket| bound_ns(bucket) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_cumulative_and_have_the_bounds_of_redis() {
        let mut buckets = vec![0; 40];
        (buckets[3], buckets[10], buckets[15], buckets[16], buckets[21]) = (1, 2, 3, 4, 5);
        assert_eq!(cumulative_us(&buckets), [(1, 3), (33, 6), (66, 10), (2113, 15)]);
    }

    #[test]
    fn a_graph_has_a_column_for_each_spike() {
        let history = EventHistory { samples: vec![(100, 10), (101, 20), (160, 40)], max_ms: 40 };
        let drawing = graph("command", &history, 170);
        let lines: Vec<&str> = drawing.lines().collect();
        assert_eq!(lines[0], "command - high 40 ms, low 10 ms (all time high 40 ms)");
        assert_eq!(lines[2..], ["  #", "  |", " _|", "_||", "", "111", "mm0", "  s"]);
    }
}
