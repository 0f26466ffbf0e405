//! The process: CPU, memory, descriptors, as the system counts them.

use super::{Metric, counter, gauge};
use crate::memory_report::resident_bytes;
use crate::version::{BASALT_VERSION, REDIS_VERSION};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the system says of this process.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub user_s: f64,
    pub system_s: f64,
    pub resident_bytes: u64,
    pub threads: u64,
    pub open_descriptors: u64,
    pub descriptors_max: u64,
    /// Page faults that had to wait for the disk.
    pub major_faults: u64,
}

impl Process {
    pub fn now() -> Process {
        // SAFETY: an all-zero `rusage` is valid, and getrusage writes nothing else.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &mut usage);
            usage
        };
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the call fills the struct that it is given, which outlives it.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        let entries = |folder: &str| std::fs::read_dir(folder).map_or(0, |entries| entries.count() as u64);
        Process {
            user_s: seconds(usage.ru_utime),
            system_s: seconds(usage.ru_stime),
            resident_bytes: resident_bytes(),
            threads: entries("/proc/self/task"),
            // Without the one that lists them.
            open_descriptors: entries("/proc/self/fd").saturating_sub(1),
            descriptors_max: limit.rlim_cur,
            major_faults: usage.ru_majflt.max(0) as u64,
        }
    }
}

/// When the process started, worked out once: the wall clock may be set later.
fn started_s(uptime_s: f64) -> f64 {
    static STARTED: OnceLock<f64> = OnceLock::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    *STARTED.get_or_init(|| ((now - uptime_s) * 1000.0).round() / 1000.0)
}

pub const METRICS: &[Metric] = &[
    gauge(
        "basalt_build_info",
        &["version", "redis_version", "mode"],
        "Always 1; what runs here.",
        |scrape, samples| {
            samples.put_for(&[BASALT_VERSION, REDIS_VERSION, &scrape.server.config.text("mode")], 1);
        },
    ),
    gauge("basalt_process_start_time_seconds", &[], "When the server started, as Unix time.", |scrape, samples| {
        samples.put(started_s(scrape.server.uptime().as_secs_f64()));
    }),
    counter("basalt_process_cpu_seconds_total", &["mode"], "CPU time of the process.", |scrape, samples| {
        samples.put_for(&["user"], scrape.process.user_s);
        samples.put_for(&["system"], scrape.process.system_s);
    }),
    counter(
        "basalt_thread_cpu_seconds_total",
        &["kind"],
        "CPU time by kind of thread: `io` serves clients, `group` and `apply` carry batches through the log and into \
         the engine, `rocksdb` flushes and compacts, `loader` reads cold keys, `peer` talks to other nodes.",
        |scrape, samples| scrape.threads.iter().for_each(|(kind, seconds)| samples.put_for(&[kind], seconds)),
    ),
    gauge("basalt_process_threads", &[], "Threads of the process.", |scrape, samples| {
        samples.put(scrape.process.threads);
    }),
    gauge("basalt_process_resident_memory_bytes", &[], "Memory that the system has given it.", |scrape, samples| {
        samples.put(scrape.process.resident_bytes);
    }),
    gauge("basalt_process_open_fds", &[], "Open descriptors: connections and files.", |scrape, samples| {
        samples.put(scrape.process.open_descriptors);
    }),
    gauge("basalt_process_max_fds", &[], "Descriptors that it may have.", |scrape, samples| {
        samples.put(scrape.process.descriptors_max);
    }),
    counter(
        "basalt_process_major_page_faults_total",
        &[],
        "Page faults that waited for the disk: the machine may be short of memory.",
        |scrape, samples| samples.put(scrape.process.major_faults),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_what_every_process_has() {
        let process = Process::now();
        assert!(process.user_s + process.system_s > 0.0 && process.resident_bytes > 1 << 20, "{process:?}");
        assert!(process.threads >= 1 && process.open_descriptors >= 3, "{process:?}");
        assert!(process.descriptors_max >= process.open_descriptors, "{process:?}");
    }
}
