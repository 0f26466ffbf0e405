//! The report: tables of medians with their spread, as Markdown.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub struct Report {
    text: String,
}

/// A figure measured several times.
#[derive(Clone, Debug)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Samples {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        assert!(!values.is_empty(), "a figure has at least one sample");
        Samples(values)
    }

    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// Half the distance between the extremes, in percent of the median.
    pub fn spread_percent(&self) -> f64 {
        (self.0[self.0.len() - 1] - self.0[0]) / 2.0 / self.median() * 100.0
    }
}

impl Report {
    pub fn new(arguments: &[String]) -> Report {
        let mut report = Report { text: String::new() };
        let redis = output("redis-server", &["--version"]);
        let commit = output("git", &["rev-parse", "--short", "HEAD"]);
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        report.line(&format!("# `./dev bench {}`\n", arguments.join(" ")));
        report.line(&format!("Commit {commit}; {redis}; {} cores: {}.", cores, processor()));
        report.line("Server on one core, redis-benchmark on the other, 50 connections, 64-byte values, 100,000 keys;");
        report.line("servers take turns; medians, with half the distance of the extremes in percent.\n");
        report
    }

    pub fn heading(&mut self, title: &str) {
        self.line(&format!("\n## {title}\n"));
    }

    pub fn header(&mut self, cells: &[&str]) {
        self.row(&cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
        self.line(&format!("|{}", "---|".repeat(cells.len())));
    }

    pub fn row(&mut self, cells: &[String]) {
        let line = format!("| {} |", cells.join(" | "));
        // Shown at once as well: the whole takes many minutes.
        eprintln!("{line}");
        self.line(&line);
    }

    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").expect("writing to a string does not fail");
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes the report into `bench/results`; returns where.
    pub fn record(&self) -> PathBuf {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let date = output("date", &["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%d-%H%M"]);
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the benchmark");
        let directory = Path::new(&manifest).join("results");
        let path = directory.join(format!("{date}.md"));
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(&path, &self.text))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

/// Median, 99th percentile and maximum, in milliseconds.
pub fn quantiles(latencies: &mut [Duration]) -> String {
    latencies.sort_unstable();
    let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    format!("{:.2}, {:.2}, {:.1}", at(0.5), at(0.99), at(1.0))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| "?".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown processor".into(), |(_, name)| name.to_owned())
}
