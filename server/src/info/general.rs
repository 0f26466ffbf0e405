//! Who the server is, its clients, its databases, and what it does not have.

use super::Fields;
use crate::cluster::replica_reads::CopiedKeys;
use crate::server::Server;
use crate::version::{BASALT_VERSION, REDIS_VERSION};
use basalt_storage::effect::DbIndex;
use basalt_storage::engine::SlotCounts;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub fn server(server: &Server, fields: &mut Fields) {
    let now = server.now().0;
    let uptime = server.uptime().as_secs();
    let config = &server.config;
    fields.put("redis_version", REDIS_VERSION);
    fields.put("redis_git_sha1", "00000000");
    fields.put("redis_git_dirty", 0);
    fields.put("redis_build_id", "basalt");
    fields.put("redis_mode", if server.cluster().is_some() { "cluster" } else { "standalone" });
    fields.put("server_name", "basalt");
    fields.put("basalt_version", BASALT_VERSION);
    fields.put("basalt_mode", config.text("mode"));
    fields.put("os", operating_system());
    fields.put("arch_bits", usize::BITS);
    fields.put("monotonic_clock", "POSIX clock_gettime");
    fields.put("multiplexing_api", "epoll");
    fields.put("atomicvar_api", "c11-builtin");
    fields.put("gcc_version", "0.0.0");
    fields.put("process_id", std::process::id());
    fields.put("process_supervised", "no");
    fields.put("run_id", &server.run_id);
    fields.put("tcp_port", config.int("port"));
    fields.put("server_time_usec", server.clock_us());
    fields.put("uptime_in_seconds", uptime);
    fields.put("uptime_in_days", uptime / (24 * 3600));
    fields.put("hz", config.hot.hz.load(Relaxed));
    fields.put("configured_hz", config.hot.hz.load(Relaxed));
    fields.put("lru_clock", (now / 1000) & 0xff_ffff);
    let executable = std::env::current_exe().map(|path| path.display().to_string());
    fields.put("executable", executable.unwrap_or_default());
    fields.put("config_file", config.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default());
    fields.put("io_threads_active", u8::from(config.io_threads() > 1));
    listeners(server, fields);
}

/// Where the server listens; since Redis 7.2.
fn listeners(server: &Server, fields: &mut Fields) {
    let config = &server.config;
    let mut listeners = Vec::new();
    if config.int("port") != 0 {
        let addresses: String = config.text("bind").split_whitespace().map(|word| format!(",bind={word}")).collect();
        listeners.push(format!("name=tcp{addresses},port={}", config.int("port")));
    }
    if !config.text("unixsocket").is_empty() {
        listeners.push(format!("name=unix,bind={}", config.text("unixsocket")));
    }
    for (number, listener) in listeners.iter().enumerate() {
        fields.put(&format!("listener{number}"), listener);
    }
}

fn operating_system() -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap_or_default();
    format!("{} {} {}", read("ostype").trim(), read("osrelease").trim(), std::env::consts::ARCH)
}

pub fn clients(server: &Server, fields: &mut Fields) {
    let all = server.clients.all();
    let largest = |figure: &dyn Fn(&crate::client::Client) -> usize| all.iter().map(|c| figure(c)).max().unwrap_or(0);
    fields.put("connected_clients", all.len());
    fields.put("cluster_connections", server.cluster().map_or(0, |cluster| cluster.control().links().len()));
    fields.put("maxclients", server.config.hot.maxclients.load(Relaxed));
    fields.put("client_recent_max_input_buffer", largest(&|client| client.figures().query));
    fields.put("client_recent_max_output_buffer", largest(&|client| client.output_bytes()));
    fields.put("blocked_clients", server.blocked_clients());
    fields.put("tracking_clients", 0);
    fields.put("pubsub_clients", all.iter().filter(|c| c.kind() == crate::client::ClientKind::PubSub).count());
    fields.put("watching_clients", all.iter().filter(|c| c.info.watched.load(Relaxed) > 0).count());
    fields.put("clients_in_timeout_table", server.blocked.timed_count());
    fields.put("total_watched_keys", all.iter().map(|c| c.info.watched.load(Relaxed)).sum::<usize>());
    fields.put("total_blocking_keys", server.blocked.key_count());
    fields.put("total_blocking_keys_on_nokey", 0);
}

/// There are no forks and no append-only file, so their fields say what Redis says before the first.
pub fn persistence(server: &Server, fields: &mut Fields) {
    let report = server.persistence.report(server);
    let seconds = |time: Option<Duration>| time.map_or(-1, |time| time.as_secs() as i64);
    let loading = server.persistence.loading.report(server.now());
    fields.put("loading", u8::from(loading.is_some()));
    fields.put("async_loading", 0);
    for field in ["current_cow_peak", "current_cow_size", "current_cow_size_age"] {
        fields.put(field, 0);
    }
    fields.put("current_fork_perc", "0.00");
    fields.put("current_save_keys_processed", report.keys_processed);
    fields.put("current_save_keys_total", report.keys_total);
    fields.put("rdb_changes_since_last_save", report.changes);
    fields.put("rdb_bgsave_in_progress", u8::from(report.is_in_background));
    fields.put("rdb_last_save_time", report.saved_at_s);
    fields.put("rdb_last_bgsave_status", if report.background_failed { "err" } else { "ok" });
    fields.put("rdb_last_bgsave_time_sec", seconds(report.background_time));
    fields.put("rdb_current_bgsave_time_sec", seconds(report.current_time));
    fields.put("rdb_saves", report.saves);
    fields.put("rdb_last_cow_size", 0);
    fields.put("rdb_last_load_keys_expired", report.loaded.expired);
    fields.put("rdb_last_load_keys_loaded", report.loaded.keys);
    fields.put("aof_enabled", 0);
    fields.put("aof_rewrite_in_progress", 0);
    fields.put("aof_rewrite_scheduled", 0);
    fields.put("aof_last_rewrite_time_sec", -1);
    fields.put("aof_current_rewrite_time_sec", -1);
    fields.put("aof_last_bgrewrite_status", "ok");
    fields.put("aof_rewrites", 0);
    fields.put("aof_rewrites_consecutive_failures", 0);
    fields.put("aof_last_write_status", "ok");
    fields.put("aof_last_cow_size", 0);
    fields.put("module_fork_in_progress", 0);
    fields.put("module_fork_last_cow_size", 0);
    let Some(loading) = loading else { return };
    fields.put("loading_start_time", loading.since_s);
    fields.put("loading_total_bytes", loading.total_bytes);
    fields.put("loading_rdb_used_mem", loading.dump_memory);
    fields.put("loading_loaded_bytes", loading.loaded_bytes);
    fields.put("loading_loaded_perc", format_args!("{:.2}", loading.percent));
    fields.put("loading_eta_seconds", loading.seconds_left);
}

pub fn cpu(_: &Server, fields: &mut Fields) {
    let put = |fields: &mut Fields, who: libc::c_int, suffix: &str| {
        // SAFETY: an all-zero `rusage` is valid, and getrusage writes nothing else.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(who, &mut usage);
            usage
        };
        let seconds = |time: libc::timeval| format!("{}.{:06}", time.tv_sec, time.tv_usec);
        fields.put(&format!("used_cpu_sys{suffix}"), seconds(usage.ru_stime));
        fields.put(&format!("used_cpu_user{suffix}"), seconds(usage.ru_utime));
    };
    put(fields, libc::RUSAGE_SELF, "");
    put(fields, libc::RUSAGE_CHILDREN, "_children");
    put(fields, libc::RUSAGE_THREAD, "_main_thread");
}

pub fn cluster(server: &Server, fields: &mut Fields) {
    fields.put("cluster_enabled", u8::from(server.cluster().is_some()));
}

pub fn keyspace(server: &Server, fields: &mut Fields) {
    for number in 0..server.keyspace.databases() {
        let db = DbIndex(number);
        let (mut keys, mut expires) = (server.keyspace.key_count(db), server.keyspace.volatile_count(db));
        if let Some(copied) = CopiedKeys::of(server).filter(|_| db == DbIndex(0)) {
            let SlotCounts { entries, volatile } = copied.count();
            keys += entries;
            expires += volatile;
        }
        if keys > 0 {
            let avg_ttl = server.average_ttl.ms(db);
            fields.put(&format!("db{number}"), format!("keys={keys},expires={expires},avg_ttl={avg_ttl}"));
        }
    }
}
