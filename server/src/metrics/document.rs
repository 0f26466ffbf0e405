//! The tables of metrics as a document: `docs/metrics.md` is its output, and a test keeps it so.

use super::{Metric, SECTIONS};
use std::fmt::Write;

const INTRODUCTION: &str = "\
# Metrics

Basalt tells Prometheus what it does at `http://127.0.0.1:26379/metrics`: the client port + 20000, or `metrics-port`; on
loopback only, or where `metrics-bind` says. `/health` answers 200 while the process is alive, `/ready` while it serves;
otherwise 503, with the reasons as text.

Counters start anew with the process and with CONFIG RESETSTAT, which Prometheus's `rate` copes with. A metric that has
no meaning in the mode of the server is not there. `grafana/` has dashboards and alerts over these metrics.

This page is made from server/src/metrics by `basalt --print-metrics`.
";

pub fn page() -> String {
    let mut text = String::from(INTRODUCTION);
    for section in SECTIONS {
        let rows: String = section.metrics.iter().map(row).collect();
        let doc = wrapped(section.doc);
        write!(
            text,
            "\n## {}\n\n{doc}\n| metric | type | labels | meaning |\n|---|---|---|---|\n{rows}",
            section.title
        )
        .expect("writing to a string does not fail");
    }
    text
}

fn row(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {} | {} | {} |\n", metric.name, metric.kind.name(), labels.join(", "), metric.help)
}

/// Lines of a readable width.
fn wrapped(words: &str) -> String {
    const WIDTH: usize = 120;
    let (mut text, mut line) = (String::new(), String::new());
    for word in words.split(' ') {
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    text + &line + "\n"
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_made_of_the_tables() {
        let page = include_str!("../../../docs/metrics.md");
        assert!(page == super::page(), "run: basalt --print-metrics > docs/metrics.md");
    }
}
