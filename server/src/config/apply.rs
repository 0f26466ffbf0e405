//! What happens when a setting changes: the parts that keep copies get the new value.

use super::setting::Value;
use crate::cluster::place;
use crate::server::Server;
use basalt_cluster::map::HOSTNAME_LEN_MAX;
use basalt_storage::keyspace::AccessPolicy;
use std::sync::atomic::Ordering::Relaxed;

type Applied = Result<(), String>;

fn bytes(value: &Value) -> u64 {
    match value {
        Value::Bytes(bytes) => *bytes,
        Value::Int(number) => *number as u64,
        other => panic!("a number was read, not {other:?}"),
    }
}

fn text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        other => panic!("text was read, not {other:?}"),
    }
}

pub fn listen_on_addresses(server: &Server, _: &Value) -> Applied {
    listen(server, "Failed to bind to specified addresses.")
}

pub fn listen_on_port(server: &Server, _: &Value) -> Applied {
    listen(server, "Unable to listen on this port. Check server logs.")
}

pub fn cluster_forward(server: &Server, value: &Value) -> Applied {
    server.config.hot.cluster_forward.store(*value == Value::Bool(true), Relaxed);
    Ok(())
}

/// The client gets Redis's text; the log has what the system says.
fn listen(server: &Server, refusal: &str) -> Applied {
    server.listeners.listen(&server.config).map_err(|reason| {
        tracing::warn!(reason, "the listening sockets stay as they were");
        refusal.to_owned()
    })
}

pub fn tcp_keepalive(server: &Server, value: &Value) -> Applied {
    server.config.hot.tcp_keepalive_s.store(bytes(value), Relaxed);
    Ok(())
}

pub fn timeout(server: &Server, value: &Value) -> Applied {
    server.config.hot.timeout_s.store(bytes(value), Relaxed);
    Ok(())
}

/// Descriptors that are not clients: listeners, files, the runtime's own.
const RESERVED_DESCRIPTORS: u64 = 32;

pub fn maxclients(server: &Server, value: &Value) -> Applied {
    let wanted = bytes(value);
    let limit = descriptor_limit(wanted + RESERVED_DESCRIPTORS);
    if limit < wanted + RESERVED_DESCRIPTORS {
        let possible = limit.saturating_sub(RESERVED_DESCRIPTORS);
        if server.is_running() {
            return Err(format!(
                "The operating system is not able to handle the specified number of clients, try with {possible}"
            ));
        }
        tracing::warn!(wanted, possible, "the limit of open files is too low for maxclients; raise it with ulimit -n");
        server.config.hot.maxclients.store(possible.max(1) as usize, Relaxed);
        return Ok(());
    }
    server.config.hot.maxclients.store(wanted as usize, Relaxed);
    Ok(())
}

/// Raises the limit of open files to `wanted` if it is lower and may be raised; returns what it then is.
fn descriptor_limit(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls read and write the struct they are given, which outlives them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return 1024;
        }
        if limit.rlim_cur < wanted {
            let raised = libc::rlimit { rlim_cur: wanted.min(limit.rlim_max), rlim_max: limit.rlim_max };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 {
                return raised.rlim_cur;
            }
        }
    }
    limit.rlim_cur
}

pub fn requirepass(server: &Server, value: &Value) -> Applied {
    *server.config.hot.password.write() = text(value).to_owned();
    Ok(())
}

pub fn maxmemory(server: &Server, value: &Value) -> Applied {
    server.config.hot.maxmemory.store(bytes(value), Relaxed);
    if bytes(value) != 0 && crate::memory::used() > bytes(value) && server.is_running() {
        tracing::warn!("the new maxmemory is below what is in use: keys will be evicted, or writes refused");
        // Not evicted here: the caller may be a transaction, which holds the locks that eviction needs.
        server.eviction.wake();
    }
    maxmemory_clients(server, &server.config.value("maxmemory-clients"))
}

pub fn maxmemory_policy(server: &Server, value: &Value) -> Applied {
    let policy = if text(value).ends_with("-lfu") { AccessPolicy::Lfu } else { AccessPolicy::Lru };
    server.keyspace.settings.put_access_policy(policy);
    *server.config.hot.maxmemory_policy.lock() = text(value).to_owned();
    Ok(())
}

pub fn eviction(server: &Server, _: &Value) -> Applied {
    let (config, hot) = (&server.config, &server.config.hot);
    hot.maxmemory_samples.store(config.int("maxmemory-samples") as usize, Relaxed);
    hot.maxmemory_eviction_tenacity.store(config.int("maxmemory-eviction-tenacity"), Relaxed);
    Ok(())
}

pub fn maxmemory_clients(server: &Server, value: &Value) -> Applied {
    let limit = match value {
        Value::Percent(percent) => server.config.maxmemory() / 100 * percent,
        other => bytes(other),
    };
    server.config.hot.maxmemory_clients.store(limit, Relaxed);
    crate::limits::evict(server);
    Ok(())
}

pub fn lfu(server: &Server, _: &Value) -> Applied {
    let (config, settings) = (&server.config, &server.keyspace.settings);
    settings.lfu_log_factor.store(config.int("lfu-log-factor") as usize, Relaxed);
    settings.lfu_decay_time.store(config.int("lfu-decay-time") as usize, Relaxed);
    Ok(())
}

pub fn output_limits(server: &Server, _: &Value) -> Applied {
    server.client_limits.configure_output(&server.config.output_limits());
    Ok(())
}

pub fn query_buffer_limit(server: &Server, value: &Value) -> Applied {
    server.config.hot.query_buffer_limit.store(bytes(value), Relaxed);
    Ok(())
}

pub fn proto_max_bulk_len(server: &Server, value: &Value) -> Applied {
    server.config.hot.proto_max_bulk_len.store(bytes(value), Relaxed);
    Ok(())
}

pub fn hz(server: &Server, value: &Value) -> Applied {
    // Out of range is corrected, not refused, as Redis does.
    let hz = match value {
        Value::Int(number) => (*number).clamp(1, 500) as u64,
        other => bytes(other),
    };
    server.config.hot.hz.store(hz, Relaxed);
    Ok(())
}

pub fn expire_effort(server: &Server, value: &Value) -> Applied {
    server.config.hot.active_expire_effort.store(bytes(value), Relaxed);
    Ok(())
}

pub fn encodings(server: &Server, _: &Value) -> Applied {
    let (config, settings) = (&server.config, &server.keyspace.settings);
    let counts = [
        (&settings.hash_max_listpack_entries, "hash-max-listpack-entries"),
        (&settings.hash_max_listpack_value, "hash-max-listpack-value"),
        (&settings.set_max_intset_entries, "set-max-intset-entries"),
        (&settings.set_max_listpack_entries, "set-max-listpack-entries"),
        (&settings.set_max_listpack_value, "set-max-listpack-value"),
        (&settings.zset_max_listpack_entries, "zset-max-listpack-entries"),
        (&settings.zset_max_listpack_value, "zset-max-listpack-value"),
    ];
    for (copy, name) in counts {
        copy.store(config.int(name) as usize, Relaxed);
    }
    settings.list_max_listpack_size.store(config.int("list-max-listpack-size"), Relaxed);
    Ok(())
}

pub fn fsync(server: &Server, value: &Value) -> Applied {
    if let Some(durability) = server.durability() {
        durability.set_fsync(text(value).parse().map_err(|()| "no such way to fsync".to_owned())?);
    }
    Ok(())
}

pub fn hll(server: &Server, value: &Value) -> Applied {
    server.config.hot.hll_sparse_max_bytes.store(bytes(value) as usize, Relaxed);
    Ok(())
}

pub fn notify(server: &Server, value: &Value) -> Applied {
    let known = server.notify.configure(text(value));
    assert!(known, "the letters were read before");
    server.keyspace.tell(&server.notify.wanted_news());
    Ok(())
}

pub fn slowlog(server: &Server, _: &Value) -> Applied {
    let config = &server.config;
    server.slowlog.configure(config.int("slowlog-log-slower-than"), config.int("slowlog-max-len") as usize);
    Ok(())
}

pub fn latency(server: &Server, value: &Value) -> Applied {
    server.latency.configure(bytes(value));
    Ok(())
}

pub fn loglevel(_: &Server, value: &Value) -> Applied {
    crate::log::put_level(text(value));
    Ok(())
}

pub fn log_filter(_: &Server, value: &Value) -> Applied {
    crate::log::put_filter(text(value));
    Ok(())
}

/// What the cluster as a whole, or its other nodes, must hear of.
pub fn cluster(server: &Server, _: &Value) -> Applied {
    if let Some(cluster) = server.cluster() {
        cluster.note_settings(server);
    }
    Ok(())
}

/// Certificates are taken over as a whole, or not at all: the files are read, and have to fit each other.
pub fn tls_files(server: &Server, _: &Value) -> Applied {
    if let Some(cluster) = server.cluster()
        && let Some(tls) = place::tls(&server.config)?
    {
        cluster.control().put_tls(tls);
        tracing::info!("new connections between nodes use the certificates that the files have now");
    }
    Ok(())
}

pub fn cluster_address(server: &Server, value: &Value) -> Applied {
    if !text(value).is_empty() && text(value).parse::<std::net::IpAddr>().is_err() {
        return Err("argument must be an IP address".into());
    }
    cluster(server, value)
}

pub fn cluster_hostname(server: &Server, value: &Value) -> Applied {
    let name = text(value);
    if name.len() > HOSTNAME_LEN_MAX {
        return Err("Hostnames must be less than 256 characters".into());
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots".into());
    }
    cluster(server, value)
}

pub fn dir(_: &Server, value: &Value) -> Applied {
    std::env::set_current_dir(text(value)).map_err(|error| error.to_string())
}

pub fn saving(server: &Server, _: &Value) -> Applied {
    server.persistence.configure(server);
    Ok(())
}

pub fn proc_title(server: &Server, value: &Value) -> Applied {
    let title = crate::proc_title::render(text(value), &server.config)
        .ok_or("template format is invalid or contains unknown variables")?;
    if server.config.is_yes("set-proc-title") {
        crate::proc_title::show(&title);
    }
    Ok(())
}

/// Refused as by a Redis that cannot do it. In a file it does no harm, so that files written for Redis work.
pub fn active_defrag(server: &Server, value: &Value) -> Applied {
    if *value == Value::Bool(true) && server.is_running() {
        return Err("Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified \
                    Jemalloc like the one shipped by default with the Redis source distribution"
            .into());
    }
    Ok(())
}
