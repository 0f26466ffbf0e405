//! Who uses the memory: the figures behind INFO memory, MEMORY STATS and MEMORY DOCTOR.

use crate::memory::{self, Allocator};
use crate::server::Server;
use basalt_storage::effect::DbIndex;

/// Memory of the process at one moment, in bytes.
pub struct Report {
    pub used: u64,
    pub peak: u64,
    pub at_start: u64,
    /// What the system counts as this process's memory.
    pub resident: u64,
    pub allocator: Allocator,
    /// Buffers and state of all clients.
    pub clients: u64,
    /// Databases with keys, and the bytes of their tables.
    pub tables: Vec<(DbIndex, u64)>,
    pub keys: u64,
}

impl Report {
    pub fn of(server: &Server) -> Report {
        let keyspace = &server.keyspace;
        let filled = || (0..keyspace.databases()).map(DbIndex).filter(|db| keyspace.key_count(*db) > 0);
        Report {
            used: memory::used(),
            peak: memory::peak(),
            at_start: memory::at_start(),
            resident: resident_bytes(),
            allocator: memory::allocator(),
            clients: server.clients.all().iter().map(|client| client.figures().total() as u64).sum(),
            tables: filled().map(|db| (db, keyspace.table_bytes(db) as u64)).collect(),
            keys: filled().map(|db| keyspace.key_count(db)).sum(),
        }
    }

    /// What is not data: the server itself, clients, tables.
    pub fn overhead(&self) -> u64 {
        self.at_start + self.clients + self.tables.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }

    pub fn dataset(&self) -> u64 {
        self.used.saturating_sub(self.overhead())
    }

    /// The data set's share of what came after the start, in percent.
    pub fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.used.saturating_sub(self.at_start))
    }

    pub fn peak_percent(&self) -> f64 {
        percent(self.used, self.peak)
    }
}

pub fn percent(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64 * 100.0
}

/// `part` per `whole`; one if there is nothing to compare with.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    // SAFETY: sysconf reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * page.max(0) as u64
}

/// Memory of the machine.
pub fn system_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// What this process may use at most: the memory of the machine, or what its control group has of it.
pub fn available_bytes() -> u64 {
    let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("").to_owned();
    let files = [
        format!("/sys/fs/cgroup{own}/memory.max"),
        "/sys/fs/cgroup/memory.max".to_owned(),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned(),
    ];
    let limits = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    limits.chain([system_bytes()]).min().unwrap_or(0)
}

/// What bounds the copies in memory in durable mode where `maxmemory` does not: together with the engine's memory that
/// is half of what there is.
pub fn resident_bytes_default(available: u64, engine: u64) -> u64 {
    const LEAST: u64 = 64 << 20;
    (available / 2).saturating_sub(engine).max(LEAST)
}

/// A report in plain words on what is wrong with the use of memory, if anything is.
pub fn diagnose(report: &Report, clients: usize) -> String {
    const LITTLE: u64 = 5 * 1024 * 1024;
    const NOTABLE: u64 = 10 * 1024 * 1024;
    const CLIENT_NOTABLE: u64 = 200 * 1024;
    if report.used < LITTLE {
        return "This server is empty or uses very little memory, too little to say anything about it. Fill it with \
                data and ask again.\n"
            .into();
    }
    let mut findings = Vec::new();
    if ratio(report.peak, report.used) > 1.5 {
        findings.push(
            "Peak memory: this server has used more than one and a half times of what it uses now. The allocator may \
             keep some of the difference for the next peak, so the process may look larger to the system than its \
             data. \
             MEMORY PURGE asks the allocator to give back what it can.",
        );
    }
    let allocator = &report.allocator;
    let is_notable =
        |part: u64, whole: u64, most: f64| ratio(part, whole) > most && part.saturating_sub(whole) > NOTABLE;
    if is_notable(report.resident, report.used, 1.4) {
        findings.push(
            "High fragmentation: the process is more than 1.4 times as large as what it uses. This is usual after much \
             was deleted, or when the sizes of values have changed over time.",
        );
    }
    if is_notable(allocator.active, allocator.allocated, 1.1) {
        findings.push(
            "Fragmentation in the allocator: more than a tenth of its pages in use is empty. Values of sizes that are \
             gone have left holes which those that came later do not fit.",
        );
    }
    if is_notable(allocator.resident, allocator.active, 1.1) {
        findings.push(
            "The allocator holds pages that it does not use: more than a tenth above what is active. They are given \
             back over time; MEMORY PURGE does it now.",
        );
    }
    if is_notable(report.resident, allocator.resident, 1.1) {
        findings.push(
            "The process is more than a tenth larger than what its allocator holds: code, stacks, or memory of \
             libraries.",
        );
    }
    if clients > 0 && report.clients / clients as u64 > CLIENT_NOTABLE {
        findings.push(
            "Large client buffers: more than 200 kB per client on average. Some client may not read its replies, or \
             sends very long pipelines; look at CLIENT LIST, and at `client-output-buffer-limit`.",
        );
    }
    if findings.is_empty() {
        return "No memory issue was found in this server.\n".into();
    }
    let list: String = findings.iter().map(|finding| format!(" * {finding}\n\n")).collect();
    format!("Memory issues were found in this server:\n\n{list}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_engine_have_half_of_the_memory() {
        const GIB: u64 = 1 << 30;
        assert_eq!(resident_bytes_default(8 * GIB, GIB / 4), 4 * GIB - GIB / 4);
        assert_eq!(resident_bytes_default(GIB / 4, GIB / 4), 64 << 20);
        assert!(available_bytes() > 0);
    }
}
