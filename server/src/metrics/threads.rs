//! CPU time per kind of thread. Threads come and go, and take their count with them: what those had that are gone is
//! kept, so that the sums only grow.

use hashbrown::HashMap;
use std::fs;

/// What the names of our threads, and RocksDB's, begin with, and the kind to which they belong. The first that fits.
const KINDS: &[(&str, &str)] = &[
    ("io-", "io"),
    ("metrics", "metrics"),
    ("rocksdb", "rocksdb"),
    ("flush", "rocksdb"),
    ("peer", "peer"),
    ("cluster", "cluster"),
    ("copies", "cluster"),
    ("snapshot", "snapshot"),
    ("load", "loader"),
    ("errand", "loader"),
    ("replica-reads", "loader"),
    ("reaper", "reaper"),
    ("saver", "saver"),
    ("releases", "releases"),
    ("jemalloc", "allocator"),
];
const OTHER: &str = "other";

#[derive(Default)]
pub struct ThreadTimes {
    /// By thread: its kind, and what it had when it was last seen.
    seen: HashMap<u64, (&'static str, f64)>,
    gone: HashMap<&'static str, f64>,
}

impl ThreadTimes {
    /// CPU seconds by kind, in the order of their names.
    pub fn look(&mut self) -> Vec<(&'static str, f64)> {
        self.take(present())
    }

    fn take(&mut self, present: HashMap<u64, (&'static str, f64)>) -> Vec<(&'static str, f64)> {
        for (thread, (kind, seconds)) in &self.seen {
            // A number may be given to another thread, which then has less.
            let goes_on = present.get(thread).is_some_and(|(other, now)| other == kind && now >= seconds);
            if !goes_on {
                *self.gone.entry(kind).or_default() += seconds;
            }
        }
        let mut sums = self.gone.clone();
        for (kind, seconds) in present.values() {
            *sums.entry(kind).or_default() += seconds;
        }
        self.seen = present;
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(kind, _)| *kind);
        sums
    }
}

fn present() -> HashMap<u64, (&'static str, f64)> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return HashMap::new() };
    let main = u64::from(std::process::id());
    let one = |entry: fs::DirEntry| {
        let thread = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (name, seconds) = name_and_seconds(&stat)?;
        // The first network thread is the one that the process began with, and is called like the program.
        let kind = if thread == main { "io" } else { kind_of(name) };
        Some((thread, (kind, seconds)))
    };
    threads.flatten().filter_map(one).collect()
}

fn kind_of(name: &str) -> &'static str {
    match name.strip_prefix("group-").and_then(|rest| rest.split_once('-')) {
        // `group-7-apply`; the number of the group must not become a kind.
        Some((_, "apply")) => return "apply",
        Some(_) => return "group",
        None => {}
    }
    KINDS.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or(OTHER, |(_, kind)| kind)
}

/// A line of `/proc/self/task/N/stat`: the name stands in parentheses and may contain some.
fn name_and_seconds(stat: &str) -> Option<(&str, f64)> {
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    // Behind the name: state, then numbers; user and system time are the fields 14 and 15 of the whole line.
    let ticks: u64 = tail.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // SAFETY: sysconf reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1);
    Some((name, ticks as f64 / per_second as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_had_stays_when_it_is_gone() {
        let mut times = ThreadTimes::default();
        let look = |times: &mut ThreadTimes, threads: &[(u64, &'static str, f64)]| {
            times.take(threads.iter().map(|(thread, kind, seconds)| (*thread, (*kind, *seconds))).collect())
        };
        assert_eq!(look(&mut times, &[(1, "io", 2.0), (2, "io", 1.0), (3, "peer", 5.0)]), [("io", 3.0), ("peer", 5.0)]);
        assert_eq!(look(&mut times, &[(1, "io", 2.5), (3, "peer", 0.5)]), [("io", 3.5), ("peer", 5.5)]);
        assert_eq!(look(&mut times, &[(1, "io", 2.5)]), [("io", 3.5), ("peer", 5.5)]);
    }

    #[test]
    fn names_belong_to_kinds() {
        let names = ["io-3", "group-12-apply", "group-12-log", "rocksdb:low", "loader-1", "space"];
        assert_eq!(names.map(kind_of), ["io", "apply", "group", "rocksdb", "loader", "other"]);
    }

    #[test]
    fn a_line_of_the_system_is_read() {
        let line = "77 (a) (b) S 1 77 77 0 -1 4194624 60 0 0 0 300 100 0 0 20 0 5 0 1 2 3";
        let (name, seconds) = name_and_seconds(line).expect("a whole line");
        // SAFETY: sysconf reads a constant of the system.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        assert_eq!((name, seconds), ("a) (b", 400.0 / per_second));
        assert!(name_and_seconds("").is_none());
        let now = present();
        assert!(now.values().any(|(kind, _)| *kind == "io"), "{now:?}");
    }
}
