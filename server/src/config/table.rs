//! The table of settings, in the order of the configuration file.
//!
//! From it come CONFIG GET, SET and REWRITE, the reading of files and command lines, and the documentation. A setting
//! that does nothing here says why.

use super::apply;
use super::setting::{Change, Kind, Role, Setting};
use crate::log;
use basalt_cluster::map::REPLICAS_MAX;

use Change::{AtRunTime, AtStart, Protected};
use Role::{Applied, Irrelevant, Read};

/// A row; the names of its parts would be noise in a list of this length.
const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    change: Change,
    role: Role,
    doc: &'static str,
) -> Setting {
    Setting { name, alias: None, kind, default, change, role, doc }
}

/// The same with the name that older versions of Redis gave it.
const fn renamed(alias: &'static str, setting: Setting) -> Setting {
    Setting { alias: Some(alias), ..setting }
}

const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max }
}

const BYTES: Kind = Kind::Memory { min: 0, max: u64::MAX };
/// Redis takes some lengths with a unit, as if they were amounts of memory.
const LENGTH: Kind = Kind::Memory { min: 0, max: i64::MAX as u64 };
/// The size of one thing, which Redis keeps signed.
const SIZE: Kind = Kind::Memory { min: 0, max: i64::MAX as u64 };
const I32_MAX: i64 = i32::MAX as i64;
const POLICIES: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];
const ON_SIGNAL: &[&str] = &["default", "save", "nosave", "now", "force"];
const WHO: &[&str] = &["no", "yes", "local"];

const NO_AOF: &str = "There is no append-only file: durable mode writes a Raft log.";
const NO_RDB: &str = "Dumps are written by a thread, never by a forked child.";
const NO_REPLICATION: &str = "There is no asynchronous replication: replicas are members of Raft groups.";
const NO_CLUSTER_BUS: &str = "There is no gossip bus: the cluster's map is a Raft group.";
const NO_CLUSTER_FILE: &str = "What a node must know of its cluster lies in its data directory.";
const ROOT_PLACES_REPLICAS: &str = "The cluster as a whole decides where copies lie (`cluster-replicas`).";
const RAFT_ELECTS: &str = "A copy that lacks something that was acknowledged is never elected.";
const NO_DEFRAG: &str = "The allocator gives memory back by itself.";
const ALWAYS_LAZY: &str = "What takes long to free is always freed in the background.";
const NO_TLS: &str = "TLS for clients is not supported yet; for connections between nodes see `tls-cluster`.";
const PROCESS: &str = "Left to the service manager.";
const NO_SCRIPTS: &str = "Scripts and functions are not supported yet.";
const NO_STREAMS: &str = "Streams are not supported yet.";
const NO_ACL: &str = "ACL users are not supported yet.";
const NO_TRACKING: &str = "Client-side caching is not supported yet.";

/// Settings that patterns of CONFIG GET leave out: the debugging aids that Redis hides, and what a client that writes
/// back all it read could not set, but could in Redis, or would not find there.
pub const HIDDEN: &[&str] = &[
    "mode",
    "fsync",
    "engine-memory",
    "disk-reserve",
    "log-format",
    "metrics-port",
    "metrics-bind",
    "cluster-join",
    "cluster-secret",
    "cluster-zone",
    "cluster-forward",
    "cluster-forward-port",
    "tls-cluster",
    "key-load-delay",
    "rdb-key-save-delay",
];

/// What cannot be set while a dump is loaded: where dumps are, and what in Redis would load another one.
pub const FIXED_WHILE_LOADING: &[&str] = &["dir", "appendonly", "repl-diskless-load"];

/// All settings.
pub static SETTINGS: &[Setting] = &[
    // What kind of server.
    row(
        "mode",
        Kind::Enum(&["cache", "durable"]),
        "durable",
        AtStart,
        Read,
        "What holds the data. `durable`: a log and a database on disk, in `basalt-data` below `dir`; a write is \
         acknowledged when it is on disk, and `maxmemory` bounds only what is held in memory. `cache`: memory only, \
         with eviction.",
    ),
    row(
        "fsync",
        Kind::Enum(&["always", "everysec", "no"]),
        "always",
        AtRunTime,
        Applied(apply::fsync),
        "When durable mode asks the disk to keep what was written. `always`: before the client hears of it; nothing \
         acknowledged is ever lost. `everysec`: every second; a power failure may take the last second of acknowledged \
         writes, a crash of the server alone takes none. `no`: when the system likes; a power failure may take half a \
         minute.",
    ),
    row(
        "engine-memory",
        Kind::Memory { min: 16 << 20, max: i64::MAX as u64 },
        "268435456",
        AtStart,
        Read,
        "Bytes that durable mode's database may use besides `maxmemory`: cached blocks and what is not flushed yet.",
    ),
    row(
        "disk-reserve",
        BYTES,
        "0",
        AtRunTime,
        Read,
        "Bytes of the volume of the data directory that durable mode leaves free, besides the room for what it has \
         accepted and for compactions (as much as the data takes, at most 1 GiB). 0: 5 % of the volume, from 4 to 64 \
         MB. With less left, commands that add data are refused with an error that starts with NOSPACE, until there is \
         room again; reads go on, and so do commands that only take away, as long as a quarter of the reserve is left.",
    ),
    row("databases", int(1, 1024), "16", AtStart, Read, "Number of databases that SELECT can choose."),
    // Network.
    row(
        "bind",
        Kind::Words,
        "* -::*",
        AtRunTime,
        Applied(apply::listen_on_addresses),
        "Addresses to listen on. One that starts with `-` may be missing on this machine; `*` and `::*` mean all.",
    ),
    row("port", int(0, 65535), "6379", AtRunTime, Applied(apply::listen_on_port), "TCP port to listen on; 0 for none."),
    row("unixsocket", Kind::Text, "", AtStart, Read, "Path of a unix socket to listen on besides."),
    row(
        "unixsocketperm",
        Kind::Octal,
        "0",
        AtStart,
        Read,
        "Permissions of the unix socket, in octal; 0 leaves them to the umask.",
    ),
    row(
        "protected-mode",
        Kind::Bool,
        "yes",
        AtRunTime,
        Read,
        "Refuses connections from other machines while no password is set.",
    ),
    row("tcp-backlog", int(0, I32_MAX), "511", AtStart, Read, "Connections that may wait to be accepted."),
    row(
        "tcp-keepalive",
        int(0, I32_MAX),
        "300",
        AtRunTime,
        Applied(apply::tcp_keepalive),
        "Seconds of silence before a connection is probed; 0 never.",
    ),
    row(
        "timeout",
        int(0, I32_MAX),
        "0",
        AtRunTime,
        Applied(apply::timeout),
        "Seconds after which an idle client is disconnected; 0 never.",
    ),
    row(
        "maxclients",
        int(1, u32::MAX as i64),
        "10000",
        AtRunTime,
        Applied(apply::maxclients),
        "Most clients at once; more are refused.",
    ),
    row(
        "io-threads",
        int(1, 128),
        "1",
        AtStart,
        Read,
        "Threads that serve clients. Each reads, evaluates and answers for its own connections.",
    ),
    row(
        "metrics-port",
        int(-1, 65535),
        "-1",
        AtStart,
        Read,
        "Port for `/metrics` (Prometheus, see docs/metrics.md), `/health` and `/ready`. -1: `port` plus 20000, if that \
         is free; 0: none.",
    ),
    row(
        "metrics-bind",
        Kind::Words,
        "127.0.0.1 -::1",
        AtStart,
        Read,
        "Addresses for that port, as with `bind`. Whoever can connect sees all metrics, but neither keys nor values.",
    ),
    row("io-threads-do-reads", Kind::Bool, "no", AtStart, Irrelevant, "Network threads always read."),
    // Who may do what.
    row(
        "requirepass",
        Kind::Secret,
        "",
        AtRunTime,
        Applied(apply::requirepass),
        "The password that clients must give with AUTH; empty for none.",
    ),
    row(
        "enable-debug-command",
        Kind::Enum(WHO),
        "no",
        AtStart,
        Read,
        "Who may use DEBUG: nobody, everybody, or connections from this machine.",
    ),
    row(
        "enable-protected-configs",
        Kind::Enum(WHO),
        "no",
        AtStart,
        Read,
        "Who may change protected settings with CONFIG SET.",
    ),
    row("enable-module-command", Kind::Enum(WHO), "no", AtStart, Irrelevant, "There are no modules."),
    // Memory.
    row(
        "maxmemory",
        BYTES,
        "0",
        AtRunTime,
        Applied(apply::maxmemory),
        "Bytes of memory to use; 0 for no limit. What happens at the limit is `maxmemory-policy`. In durable mode it \
         bounds the copies in memory, and 0 stands for half of the machine's memory (or of the control group's) less \
         `engine-memory`.",
    ),
    row(
        "maxmemory-policy",
        Kind::Enum(POLICIES),
        "noeviction",
        AtRunTime,
        Applied(apply::maxmemory_policy),
        "Which keys are evicted at the memory limit; `noeviction` refuses writes.",
    ),
    row(
        "maxmemory-samples",
        int(1, I32_MAX),
        "5",
        AtRunTime,
        Applied(apply::eviction),
        "Keys looked at for each eviction: more is more exact and slower.",
    ),
    row(
        "maxmemory-eviction-tenacity",
        int(0, 100),
        "10",
        AtRunTime,
        Applied(apply::eviction),
        "How much of a command's time eviction may take: 0 little, 100 whatever is needed.",
    ),
    row(
        "maxmemory-clients",
        Kind::MemoryOrPercent,
        "0",
        AtRunTime,
        Applied(apply::maxmemory_clients),
        "Memory that all clients together may use, in bytes or percent of `maxmemory`; beyond it the largest are \
         disconnected. 0 for no limit.",
    ),
    row(
        "lfu-log-factor",
        int(0, I32_MAX),
        "10",
        AtRunTime,
        Applied(apply::lfu),
        "How many accesses saturate the LFU counter: higher is slower.",
    ),
    row(
        "lfu-decay-time",
        int(0, I32_MAX),
        "1",
        AtRunTime,
        Applied(apply::lfu),
        "Minutes after which the LFU counter of an unused key goes down by one; 0 never.",
    ),
    row(
        "client-output-buffer-limit",
        Kind::OutputLimits,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        AtRunTime,
        Applied(apply::output_limits),
        "Replies a client may leave unread, by class: hard limit in bytes, soft limit in bytes, seconds above the \
         soft limit. 0 for no limit.",
    ),
    row(
        "client-query-buffer-limit",
        Kind::Memory { min: 1 << 20, max: i64::MAX as u64 },
        "1073741824",
        AtRunTime,
        Applied(apply::query_buffer_limit),
        "Bytes of a request that a client may send before it is complete.",
    ),
    row(
        "proto-max-bulk-len",
        Kind::Memory { min: 1 << 20, max: i64::MAX as u64 },
        "536870912",
        AtRunTime,
        Applied(apply::proto_max_bulk_len),
        "Longest argument, and so longest string.",
    ),
    // Expiry and background work.
    row(
        "hz",
        int(i32::MIN as i64, I32_MAX),
        "10",
        AtRunTime,
        Applied(apply::hz),
        "How often per second background work is done, 1 to 500.",
    ),
    row(
        "dynamic-hz",
        Kind::Bool,
        "yes",
        AtRunTime,
        Irrelevant,
        "Background work does not depend on the number of clients.",
    ),
    row(
        "active-expire-effort",
        int(1, 10),
        "1",
        AtRunTime,
        Applied(apply::expire_effort),
        "How hard expired keys are looked for that nobody asks about.",
    ),
    row(
        "activerehashing",
        Kind::Bool,
        "yes",
        AtRunTime,
        Irrelevant,
        "Tables grow in small pieces as they are written.",
    ),
    // Encodings.
    renamed(
        "hash-max-ziplist-entries",
        row(
            "hash-max-listpack-entries",
            int(0, i64::MAX),
            "512",
            AtRunTime,
            Applied(apply::encodings),
            "Most fields of a hash that is kept packed.",
        ),
    ),
    renamed(
        "hash-max-ziplist-value",
        row(
            "hash-max-listpack-value",
            LENGTH,
            "64",
            AtRunTime,
            Applied(apply::encodings),
            "Longest field or value of a hash that is kept packed.",
        ),
    ),
    renamed(
        "list-max-ziplist-size",
        row(
            "list-max-listpack-size",
            int(i32::MIN as i64, I32_MAX),
            "-2",
            AtRunTime,
            Applied(apply::encodings),
            "Size of a list's pieces: elements, or -1 to -5 for 4, 8, 16, 32, 64 KB.",
        ),
    ),
    row("list-compress-depth", int(0, I32_MAX), "0", AtRunTime, Irrelevant, "Lists are packed, not compressed."),
    row(
        "set-max-intset-entries",
        int(0, i64::MAX),
        "512",
        AtRunTime,
        Applied(apply::encodings),
        "Most members of a set of integers that is kept as an array of them.",
    ),
    row(
        "set-max-listpack-entries",
        int(0, i64::MAX),
        "128",
        AtRunTime,
        Applied(apply::encodings),
        "Most members of a set that is kept packed.",
    ),
    row(
        "set-max-listpack-value",
        int(0, i64::MAX),
        "64",
        AtRunTime,
        Applied(apply::encodings),
        "Longest member of a set that is kept packed.",
    ),
    renamed(
        "zset-max-ziplist-entries",
        row(
            "zset-max-listpack-entries",
            int(0, i64::MAX),
            "128",
            AtRunTime,
            Applied(apply::encodings),
            "Most members of a sorted set that is kept packed.",
        ),
    ),
    renamed(
        "zset-max-ziplist-value",
        row(
            "zset-max-listpack-value",
            LENGTH,
            "64",
            AtRunTime,
            Applied(apply::encodings),
            "Longest member of a sorted set that is kept packed.",
        ),
    ),
    row(
        "hll-sparse-max-bytes",
        SIZE,
        "3000",
        AtRunTime,
        Applied(apply::hll),
        "Longest sparse HyperLogLog; a larger one becomes dense.",
    ),
    row("stream-node-max-bytes", SIZE, "4096", AtRunTime, Irrelevant, NO_STREAMS),
    row("stream-node-max-entries", int(0, i64::MAX), "100", AtRunTime, Irrelevant, NO_STREAMS),
    // What is told.
    row(
        "notify-keyspace-events",
        Kind::EventClasses,
        "",
        AtRunTime,
        Applied(apply::notify),
        "Which keyspace events are published: K and E choose the channels, the other letters the classes.",
    ),
    row(
        "slowlog-log-slower-than",
        int(-1, i64::MAX),
        "10000",
        AtRunTime,
        Applied(apply::slowlog),
        "Microseconds from which a command is logged as slow; negative never.",
    ),
    row(
        "slowlog-max-len",
        int(0, i64::MAX),
        "128",
        AtRunTime,
        Applied(apply::slowlog),
        "Slow commands that are remembered.",
    ),
    row(
        "latency-monitor-threshold",
        int(0, i64::MAX),
        "0",
        AtRunTime,
        Applied(apply::latency),
        "Milliseconds from which an event counts as a latency spike; 0 turns the monitor off.",
    ),
    row("latency-tracking", Kind::Bool, "yes", AtRunTime, Read, "Whether INFO latencystats shows percentiles."),
    row(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        "50 99 99.9",
        AtRunTime,
        Read,
        "Which percentiles INFO latencystats shows.",
    ),
    row("loglevel", Kind::Enum(log::LEVELS), "notice", AtRunTime, Applied(apply::loglevel), "How much is logged."),
    row(
        "log-filter",
        Kind::LogLevels,
        "",
        AtRunTime,
        Applied(apply::log_filter),
        "Levels of single modules, and of those within them, where they differ from `loglevel`: \
         `basalt_cluster::node=debug basalt_cluster::peer=warning`. `log-format json` shows the names of modules.",
    ),
    row(
        "log-format",
        Kind::Enum(log::FORMATS),
        "text",
        AtStart,
        Read,
        "`text`: lines for people. `json`: an object per line, with `timestamp`, `level`, `message`, `target` (the \
         module) and what the line is about.",
    ),
    row("logfile", Kind::Text, "", AtStart, Read, "File to log to; empty for standard output."),
    row("always-show-logo", Kind::Bool, "no", AtStart, Irrelevant, "There is no logo."),
    // Files.
    row("dir", Kind::Text, ".", Protected, Applied(apply::dir), "Working directory: where dumps are written and read."),
    row(
        "dbfilename",
        Kind::Text,
        "dump.rdb",
        Protected,
        Read,
        "Name of the dump within `dir`; no path. If it is there when the server starts, it is loaded.",
    ),
    row(
        "pidfile",
        Kind::Text,
        "",
        AtStart,
        Read,
        "File that holds the process id while the server runs; empty for none.",
    ),
    row("daemonize", Kind::Bool, "no", AtStart, Irrelevant, PROCESS),
    row(
        "save",
        Kind::Save,
        "3600 1 300 100 60 10000",
        AtRunTime,
        Applied(apply::saving),
        "When the data is saved by itself, as pairs: after so many seconds, if there were so many changes; empty \
         never. Then it is also saved when the server ends.",
    ),
    row("rdbcompression", Kind::Bool, "yes", AtRunTime, Read, "Whether long strings in dumps are compressed."),
    row("rdbchecksum", Kind::Bool, "yes", AtStart, Irrelevant, "Dumps always carry a checksum."),
    row(
        "sanitize-dump-payload",
        Kind::Enum(&["no", "yes", "clients"]),
        "no",
        AtRunTime,
        Irrelevant,
        "Dumps that clients send are always checked.",
    ),
    row("shutdown-timeout", int(0, I32_MAX), "10", AtRunTime, Read, "Seconds that a shutdown may take."),
    row(
        "shutdown-on-sigint",
        Kind::Names(ON_SIGNAL),
        "default",
        AtRunTime,
        Read,
        "What SIGINT does: default, or save, nosave, now, force.",
    ),
    row(
        "shutdown-on-sigterm",
        Kind::Names(ON_SIGNAL),
        "default",
        AtRunTime,
        Read,
        "What SIGTERM does: default, or save, nosave, now, force.",
    ),
    row("busy-reply-threshold", int(0, i64::MAX), "5000", AtRunTime, Irrelevant, NO_SCRIPTS),
    row("lua-time-limit", int(0, i64::MAX), "5000", AtRunTime, Irrelevant, NO_SCRIPTS),
    // Accepted, and without effect here.
    row("appendonly", Kind::Bool, "no", AtRunTime, Irrelevant, NO_AOF),
    row("appendfilename", Kind::Text, "appendonly.aof", AtStart, Irrelevant, NO_AOF),
    row("appenddirname", Kind::Text, "appendonlydir", AtStart, Irrelevant, NO_AOF),
    row("appendfsync", Kind::Enum(&["everysec", "always", "no"]), "everysec", AtRunTime, Irrelevant, NO_AOF),
    row("no-appendfsync-on-rewrite", Kind::Bool, "no", AtRunTime, Irrelevant, NO_AOF),
    row("auto-aof-rewrite-percentage", int(0, I32_MAX), "100", AtRunTime, Irrelevant, NO_AOF),
    row("auto-aof-rewrite-min-size", BYTES, "67108864", AtRunTime, Irrelevant, NO_AOF),
    row("aof-load-truncated", Kind::Bool, "yes", AtRunTime, Irrelevant, NO_AOF),
    row("aof-use-rdb-preamble", Kind::Bool, "yes", AtRunTime, Irrelevant, NO_AOF),
    row("aof-timestamp-enabled", Kind::Bool, "no", AtRunTime, Irrelevant, NO_AOF),
    row("aof-rewrite-incremental-fsync", Kind::Bool, "yes", AtRunTime, Irrelevant, NO_AOF),
    row("aof-disable-auto-gc", Kind::Bool, "no", AtRunTime, Irrelevant, NO_AOF),
    row("rdb-save-incremental-fsync", Kind::Bool, "yes", AtRunTime, Irrelevant, NO_RDB),
    row("rdb-del-sync-files", Kind::Bool, "no", AtRunTime, Irrelevant, NO_RDB),
    row(
        "rdb-key-save-delay",
        int(i32::MIN as i64, I32_MAX),
        "0",
        AtRunTime,
        Read,
        "Microseconds to wait after each key of a dump; for tests.",
    ),
    row(
        "loading-process-events-interval-bytes",
        int(1024, i64::MAX),
        "2097152",
        AtRunTime,
        Irrelevant,
        "Clients are served at all times while a dump is loaded.",
    ),
    row(
        "key-load-delay",
        int(i32::MIN as i64, I32_MAX),
        "0",
        AtRunTime,
        Read,
        "Microseconds to wait after each key that is loaded; for tests.",
    ),
    row(
        "stop-writes-on-bgsave-error",
        Kind::Bool,
        "yes",
        AtRunTime,
        Applied(apply::saving),
        "Refuses writes while the data should be saved by itself (`save`) and cannot.",
    ),
    row("lazyfree-lazy-eviction", Kind::Bool, "no", AtRunTime, Irrelevant, ALWAYS_LAZY),
    row("lazyfree-lazy-expire", Kind::Bool, "no", AtRunTime, Irrelevant, ALWAYS_LAZY),
    row("lazyfree-lazy-server-del", Kind::Bool, "no", AtRunTime, Irrelevant, ALWAYS_LAZY),
    row("lazyfree-lazy-user-del", Kind::Bool, "no", AtRunTime, Irrelevant, ALWAYS_LAZY),
    row("lazyfree-lazy-user-flush", Kind::Bool, "no", AtRunTime, Irrelevant, ALWAYS_LAZY),
    renamed("slave-lazy-flush", row("replica-lazy-flush", Kind::Bool, "no", AtRunTime, Irrelevant, ALWAYS_LAZY)),
    row("activedefrag", Kind::Bool, "no", AtRunTime, Applied(apply::active_defrag), NO_DEFRAG),
    row("active-defrag-cycle-min", int(1, 99), "1", AtRunTime, Irrelevant, NO_DEFRAG),
    row("active-defrag-cycle-max", int(1, 99), "25", AtRunTime, Irrelevant, NO_DEFRAG),
    row("active-defrag-ignore-bytes", BYTES, "104857600", AtRunTime, Irrelevant, NO_DEFRAG),
    row("active-defrag-max-scan-fields", int(1, i64::MAX), "1000", AtRunTime, Irrelevant, NO_DEFRAG),
    row("active-defrag-threshold-lower", int(0, 1000), "10", AtRunTime, Irrelevant, NO_DEFRAG),
    row("active-defrag-threshold-upper", int(0, 1000), "100", AtRunTime, Irrelevant, NO_DEFRAG),
    row("jemalloc-bg-thread", Kind::Bool, "yes", AtRunTime, Irrelevant, NO_DEFRAG),
    renamed("slaveof", row("replicaof", Kind::HostPort, "", AtStart, Irrelevant, NO_REPLICATION)),
    row(
        "masterauth",
        Kind::Secret,
        "",
        AtRunTime,
        Read,
        "The password that this node gives to other nodes when it forwards requests to them (`cluster-forward`); \
         empty: its own, `requirepass`.",
    ),
    row("masteruser", Kind::Text, "", AtRunTime, Irrelevant, NO_REPLICATION),
    renamed(
        "slave-serve-stale-data",
        row("replica-serve-stale-data", Kind::Bool, "yes", AtRunTime, Irrelevant, NO_REPLICATION),
    ),
    renamed("slave-read-only", row("replica-read-only", Kind::Bool, "yes", AtRunTime, Irrelevant, NO_REPLICATION)),
    renamed(
        "slave-ignore-maxmemory",
        row("replica-ignore-maxmemory", Kind::Bool, "yes", AtRunTime, Irrelevant, NO_REPLICATION),
    ),
    renamed("slave-priority", row("replica-priority", int(0, I32_MAX), "100", AtRunTime, Irrelevant, NO_REPLICATION)),
    renamed("slave-announce-ip", row("replica-announce-ip", Kind::Text, "", AtRunTime, Irrelevant, NO_REPLICATION)),
    renamed(
        "slave-announce-port",
        row("replica-announce-port", int(0, 65535), "0", AtRunTime, Irrelevant, NO_REPLICATION),
    ),
    row("replica-announced", Kind::Bool, "yes", AtRunTime, Irrelevant, NO_REPLICATION),
    row("replica-ignore-disk-write-errors", Kind::Bool, "no", AtRunTime, Irrelevant, NO_REPLICATION),
    renamed(
        "min-slaves-to-write",
        row("min-replicas-to-write", int(0, I32_MAX), "0", AtRunTime, Irrelevant, NO_REPLICATION),
    ),
    renamed(
        "min-slaves-max-lag",
        row("min-replicas-max-lag", int(0, I32_MAX), "10", AtRunTime, Irrelevant, NO_REPLICATION),
    ),
    renamed(
        "repl-ping-slave-period",
        row("repl-ping-replica-period", int(1, I32_MAX), "10", AtRunTime, Irrelevant, NO_REPLICATION),
    ),
    row("repl-timeout", int(1, I32_MAX), "60", AtRunTime, Irrelevant, NO_REPLICATION),
    row(
        "repl-backlog-size",
        Kind::Memory { min: 1, max: i64::MAX as u64 },
        "1048576",
        AtRunTime,
        Irrelevant,
        NO_REPLICATION,
    ),
    row("repl-backlog-ttl", int(0, i64::MAX), "3600", AtRunTime, Irrelevant, NO_REPLICATION),
    row("repl-disable-tcp-nodelay", Kind::Bool, "no", AtRunTime, Irrelevant, NO_REPLICATION),
    row(
        "repl-diskless-load",
        Kind::Enum(&["disabled", "on-empty-db", "swapdb"]),
        "disabled",
        AtRunTime,
        Irrelevant,
        NO_REPLICATION,
    ),
    row("repl-diskless-sync", Kind::Bool, "yes", AtRunTime, Irrelevant, NO_REPLICATION),
    row("repl-diskless-sync-delay", int(0, I32_MAX), "5", AtRunTime, Irrelevant, NO_REPLICATION),
    row("repl-diskless-sync-max-replicas", int(0, I32_MAX), "0", AtRunTime, Irrelevant, NO_REPLICATION),
    row(
        "propagation-error-behavior",
        Kind::Enum(&["ignore", "panic", "panic-on-replicas"]),
        "ignore",
        AtRunTime,
        Irrelevant,
        NO_REPLICATION,
    ),
    // The cluster.
    row(
        "cluster-enabled",
        Kind::Bool,
        "no",
        AtStart,
        Read,
        "Whether this node is part of a cluster, or will be. All nodes of a cluster are in one `mode`; in cache mode \
         too they keep what they must know of it in `basalt-data` below `dir`.",
    ),
    row(
        "cluster-join",
        Kind::Words,
        "",
        AtStart,
        Read,
        "Nodes of the cluster that this one shall join, as HOST:PORT of their clients; may be given several times. \
         If the cluster has no slots when all have come, each gets its share. A node that has joined once needs it \
         no more.",
    ),
    row(
        "cluster-secret",
        Kind::Secret,
        "",
        AtStart,
        Read,
        "What all nodes of a cluster know and nobody else, 16 random bytes or more: connections between nodes are made \
         only if both sides prove that they know it. It encrypts nothing: see `tls-cluster`. Empty: whoever reaches \
         the port for other nodes is trusted, or with `tls-cluster yes` whoever has a certificate.",
    ),
    row("cluster-config-file", Kind::Text, "nodes.conf", AtStart, Irrelevant, NO_CLUSTER_FILE),
    row(
        "cluster-node-timeout",
        int(0, i64::MAX),
        "15000",
        AtRunTime,
        Applied(apply::cluster),
        "Milliseconds of silence after which a node counts as failed.",
    ),
    row(
        "cluster-port",
        int(0, 65535),
        "0",
        AtStart,
        Read,
        "TCP port on which other nodes are listened to; 0: `port` plus 10000.",
    ),
    row(
        "cluster-announce-ip",
        Kind::Text,
        "",
        AtRunTime,
        Applied(apply::cluster_address),
        "The IP address at which clients and other nodes find this one; empty: what it finds out by itself.",
    ),
    row(
        "cluster-announce-hostname",
        Kind::Text,
        "",
        AtRunTime,
        Applied(apply::cluster_hostname),
        "A name by which clients may find this node; see `cluster-preferred-endpoint-type`.",
    ),
    row(
        "cluster-announce-port",
        int(0, 65535),
        "0",
        AtRunTime,
        Applied(apply::cluster),
        "The port that clients are told; 0: `port`.",
    ),
    row(
        "cluster-announce-bus-port",
        int(0, 65535),
        "0",
        AtRunTime,
        Applied(apply::cluster),
        "The port that other nodes are told; 0: `cluster-port`.",
    ),
    row("cluster-announce-tls-port", int(0, 65535), "0", AtRunTime, Irrelevant, NO_TLS),
    row(
        "cluster-preferred-endpoint-type",
        Kind::Enum(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
        AtRunTime,
        Read,
        "How clients are told where a node is: by its address, by its name, or not at all, which means the host that \
         they have asked.",
    ),
    row(
        "cluster-forward",
        Kind::Bool,
        "no",
        AtRunTime,
        Applied(apply::cluster_forward),
        "Any-node service: whether requests for slots of other nodes are forwarded to these and answered here, rather \
         than with MOVED or ASK, so that clients need not know that there is a cluster. It costs one more hop for \
         each. Holds for connections made from then on, but for those that have said CLIENT CAPA redirect. See \
         `docs/operations.md`.",
    ),
    row(
        "cluster-forward-port",
        int(0, 65535),
        "0",
        AtRunTime,
        Applied(apply::listen_on_port),
        "A further TCP port, on the addresses of `bind`, whose connections are served as with `cluster-forward yes`; 0 \
         for none.",
    ),
    row(
        "cluster-require-full-coverage",
        Kind::Bool,
        "yes",
        AtRunTime,
        Applied(apply::cluster),
        "Whether no key is served while some slot is not.",
    ),
    row(
        "cluster-allow-reads-when-down",
        Kind::Bool,
        "no",
        AtRunTime,
        Read,
        "Whether keys can be read while the cluster is down.",
    ),
    row(
        "cluster-allow-pubsubshard-when-down",
        Kind::Bool,
        "yes",
        AtRunTime,
        Read,
        "Whether shard channels work while the cluster is down.",
    ),
    row(
        "cluster-replicas",
        int(-1, REPLICAS_MAX as i64),
        "-1",
        AtRunTime,
        Applied(apply::cluster),
        "Copies of all data that there should be besides the first; -1: 2 in durable mode, 0 in cache mode. A group \
         has an odd number of voters, so 1 means three copies as 2 does; in cache mode that takes three nodes, and \
         with fewer there is one copy.",
    ),
    row(
        "cluster-zone",
        Kind::Text,
        "",
        AtStart,
        Read,
        "Where this node stands. Copies of the same data are kept in different zones, if there are enough.",
    ),
    row(
        "cluster-auto-balance",
        Kind::Bool,
        "yes",
        AtRunTime,
        Applied(apply::cluster),
        "Whether slots move by themselves: when a node has come, and when one has much more than its share; with no, a \
         cluster that forms by `cluster-join` waits until somebody gives out its slots (`CLUSTER ADDSLOTSRANGE`).",
    ),
    row(
        "cluster-repair-delay",
        int(0, I32_MAX),
        "300",
        AtRunTime,
        Applied(apply::cluster),
        "Seconds after which what a failed node held is built anew elsewhere.",
    ),
    row(
        "cluster-migration-max-bytes-per-second",
        BYTES,
        "0",
        AtRunTime,
        Applied(apply::cluster),
        "How fast slots and copies move to or from this node at most; 0: as fast as they can.",
    ),
    row(
        "cluster-verify-period",
        int(0, I32_MAX),
        "86400",
        AtRunTime,
        Read,
        "Seconds after which the replicas of each group are compared again (CLUSTER VERIFY); 0: only when asked for.",
    ),
    row(
        "cluster-verify-max-bytes-per-second",
        BYTES,
        "33554432",
        AtRunTime,
        Read,
        "How fast this node reads its data at most to compare replicas; 0: as fast as it can.",
    ),
    row("cluster-allow-replica-migration", Kind::Bool, "yes", AtRunTime, Irrelevant, ROOT_PLACES_REPLICAS),
    row("cluster-migration-barrier", int(0, I32_MAX), "1", AtRunTime, Irrelevant, ROOT_PLACES_REPLICAS),
    row("cluster-link-sendbuf-limit", BYTES, "0", AtRunTime, Irrelevant, NO_CLUSTER_BUS),
    renamed(
        "cluster-slave-no-failover",
        row("cluster-replica-no-failover", Kind::Bool, "no", AtRunTime, Irrelevant, RAFT_ELECTS),
    ),
    renamed(
        "cluster-slave-validity-factor",
        row("cluster-replica-validity-factor", int(0, I32_MAX), "10", AtRunTime, Irrelevant, RAFT_ELECTS),
    ),
    row("tls-port", int(0, 65535), "0", AtStart, Irrelevant, NO_TLS),
    row(
        "tls-cluster",
        Kind::Bool,
        "no",
        AtStart,
        Read,
        "Whether connections between nodes are encrypted (TLS 1.3), and made only if both sides show a certificate of \
         the authorities. The same on all nodes: those with and without it do not talk. What nodes say to the ports of \
         clients (MIGRATE, `cluster-forward`) is not encrypted.",
    ),
    row(
        "tls-cert-file",
        Kind::Text,
        "",
        AtRunTime,
        Applied(apply::tls_files),
        "With `tls-cluster yes`: this node's certificate in PEM, then those between it and an authority. For both \
         sides of a connection; no name in it is looked at. Set again at run time, it is read again; connections that \
         exist stay.",
    ),
    row(
        "tls-key-file",
        Kind::Text,
        "",
        AtRunTime,
        Applied(apply::tls_files),
        "With `tls-cluster yes`: the private key of `tls-cert-file` in PEM, not encrypted. To change both, set both in \
         one CONFIG SET.",
    ),
    row(
        "tls-ca-cert-file",
        Kind::Text,
        "",
        AtRunTime,
        Applied(apply::tls_files),
        "With `tls-cluster yes`: certificates of authorities in PEM, which should sign for nodes of this cluster and \
         nobody else: who has a certificate of theirs is let in.",
    ),
    row(
        "tls-ca-cert-dir",
        Kind::Text,
        "",
        AtRunTime,
        Applied(apply::tls_files),
        "A directory with further files like `tls-ca-cert-file`; either will do.",
    ),
    row("tls-auth-clients", Kind::Enum(&["no", "yes", "optional"]), "yes", AtRunTime, Irrelevant, NO_TLS),
    row(
        "acl-pubsub-default",
        Kind::Enum(&["allchannels", "resetchannels"]),
        "resetchannels",
        AtRunTime,
        Irrelevant,
        NO_ACL,
    ),
    row("aclfile", Kind::Text, "", AtStart, Irrelevant, NO_ACL),
    row("acllog-max-len", int(0, i64::MAX), "128", AtRunTime, Irrelevant, NO_ACL),
    row("tracking-table-max-keys", int(0, i64::MAX), "1000000", AtRunTime, Irrelevant, NO_TRACKING),
    row("supervised", Kind::Enum(&["no", "upstart", "systemd", "auto"]), "no", AtStart, Irrelevant, PROCESS),
    row("syslog-enabled", Kind::Bool, "no", AtStart, Irrelevant, PROCESS),
    row("syslog-ident", Kind::Text, "redis", AtStart, Irrelevant, PROCESS),
    row("syslog-facility", Kind::Text, "local0", AtStart, Irrelevant, PROCESS),
    row("set-proc-title", Kind::Bool, "yes", AtStart, Read, "Whether `ps` shows more than the command line."),
    row(
        "proc-title-template",
        Kind::Text,
        "{title} {listen-addr} {server-mode}",
        AtRunTime,
        Applied(apply::proc_title),
        "What `ps` shows, with {title}, {listen-addr}, {server-mode}, {port}, {tls-port}, {unixsocket} and \
         {config-file}.",
    ),
    row("oom-score-adj", Kind::Enum(&["no", "yes", "relative", "absolute"]), "no", AtRunTime, Irrelevant, PROCESS),
    row("oom-score-adj-values", Kind::Words, "0 200 800", AtRunTime, Irrelevant, PROCESS),
    row("disable-thp", Kind::Bool, "yes", AtStart, Irrelevant, PROCESS),
    row("crash-log-enabled", Kind::Bool, "yes", AtRunTime, Irrelevant, PROCESS),
    row("crash-memcheck-enabled", Kind::Bool, "yes", AtRunTime, Irrelevant, PROCESS),
    row("server_cpulist", Kind::Text, "", AtStart, Irrelevant, PROCESS),
    row("bio_cpulist", Kind::Text, "", AtStart, Irrelevant, PROCESS),
    row("aof_rewrite_cpulist", Kind::Text, "", AtStart, Irrelevant, PROCESS),
    row("bgsave_cpulist", Kind::Text, "", AtStart, Irrelevant, PROCESS),
    row("ignore-warnings", Kind::Text, "", AtRunTime, Irrelevant, PROCESS),
    row("bind-source-addr", Kind::Text, "", AtRunTime, Irrelevant, NO_REPLICATION),
    row("socket-mark-id", int(0, u32::MAX as i64), "0", AtStart, Irrelevant, PROCESS),
    row(
        "locale-collate",
        Kind::Text,
        "",
        AtRunTime,
        Irrelevant,
        "SORT ALPHA compares bytes, as Redis does in the C locale.",
    ),
];
