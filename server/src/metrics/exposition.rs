//! Prometheus's text format, version 0.0.4: a metric's head, then its samples.

use super::Metric;
use std::fmt::{Display, Write};

/// Content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Takes the samples of one metric. The head is written with the first: what has no samples is not there.
pub struct Samples<'a> {
    metric: &'a Metric,
    text: &'a mut String,
    has_head: bool,
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Upper ends in seconds, ascending, each with the number of cases between it and the end before.
    pub steps: Vec<(f64, u64)>,
    /// Cases above the last end.
    pub above: u64,
    pub sum_s: f64,
}

impl<'a> Samples<'a> {
    pub fn of(metric: &'a Metric, text: &'a mut String) -> Samples<'a> {
        Samples { metric, text, has_head: false }
    }

    /// The only sample of a metric without labels.
    pub fn put(&mut self, value: impl Display) {
        self.put_for(&[], value);
    }

    /// The sample with these values of the metric's labels.
    pub fn put_for(&mut self, labels: &[&str], value: impl Display) {
        self.sample("", labels, None, value);
    }

    pub fn put_distribution(&mut self, labels: &[&str], distribution: &Distribution) {
        let mut count = 0;
        for (end_s, cases) in &distribution.steps {
            count += cases;
            self.sample("_bucket", labels, Some(&end_s.to_string()), count);
        }
        // Counted here and not taken from elsewhere: it must never be less than the bucket before.
        count += distribution.above;
        self.sample("_bucket", labels, Some("+Inf"), count);
        self.sample("_sum", labels, None, distribution.sum_s);
        self.sample("_count", labels, None, count);
    }

    fn sample(&mut self, suffix: &str, labels: &[&str], end: Option<&str>, value: impl Display) {
        let Metric { name, kind, labels: names, help, .. } = self.metric;
        assert_eq!(names.len(), labels.len(), "labels of {name}");
        if !self.has_head {
            self.line(format_args!("# HELP {name} {}", escaped(help, Quotes::Stay)));
            self.line(format_args!("# TYPE {name} {}", kind.name()));
            self.has_head = true;
        }
        let pairs = names.iter().copied().zip(labels.iter().copied()).chain(end.map(|end| ("le", end)));
        let pairs: Vec<String> =
            pairs.map(|(name, value)| format!("{name}=\"{}\"", escaped(value, Quotes::Escaped))).collect();
        match pairs.is_empty() {
            true => self.line(format_args!("{name}{suffix} {value}")),
            false => self.line(format_args!("{name}{suffix}{{{}}} {value}", pairs.join(","))),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing to a string does not fail");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Escaped,
    Stay,
}

fn escaped(text: &str, quotes: Quotes) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes == Quotes::Escaped { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::{counter, gauge, histogram};
    use super::*;

    fn shown(metric: &Metric, put: impl FnOnce(&mut Samples<'_>)) -> String {
        let mut text = String::new();
        put(&mut Samples::of(metric, &mut text));
        text
    }

    #[test]
    fn samples_have_one_head() {
        let metric = counter("basalt_a_total", &["what", "why"], "All a \\ \"b\".", |_, _| {});
        let text = shown(&metric, |samples| {
            samples.put_for(&["x", "\"y\"\n\\"], 1);
            samples.put_for(&["z", ""], 2.5);
        });
        let expected = "# HELP basalt_a_total All a \\\\ \"b\".\n# TYPE basalt_a_total counter\n\
                        basalt_a_total{what=\"x\",why=\"\\\"y\\\"\\n\\\\\"} 1\n\
                        basalt_a_total{what=\"z\",why=\"\"} 2.5\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_has_no_samples_is_not_there() {
        assert_eq!(shown(&gauge("basalt_b", &[], "B.", |_, _| {}), |_| {}), "");
    }

    #[test]
    fn buckets_add_up() {
        let metric = histogram("basalt_c_seconds", &["of"], "C.", |_, _| {});
        let distribution = Distribution { steps: vec![(0.001, 3), (0.5, 2)], above: 1, sum_s: 2.25 };
        let text = shown(&metric, |samples| samples.put_distribution(&["x"], &distribution));
        let lines: Vec<&str> = text.lines().skip(2).collect();
        let expected = [
            "basalt_c_seconds_bucket{of=\"x\",le=\"0.001\"} 3",
            "basalt_c_seconds_bucket{of=\"x\",le=\"0.5\"} 5",
            "basalt_c_seconds_bucket{of=\"x\",le=\"+Inf\"} 6",
            "basalt_c_seconds_sum{of=\"x\"} 2.25",
            "basalt_c_seconds_count{of=\"x\"} 6",
        ];
        assert_eq!(lines, expected);
    }
}
