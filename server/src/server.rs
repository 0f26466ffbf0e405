//! The state that all connections share: the only place that knows every part.

use crate::blocked::BlockedClients;
use crate::client::Clients;
use crate::clock::WallClock;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::durability::Durability;
use crate::durability::gate::CommitGate;
use crate::durability::replicas::Replicas;
use crate::eviction::Eviction;
use crate::expiry_cycle::ExpiryCycle;
use crate::info::Sampler;
use crate::info::average_ttl::AverageTtl;
use crate::info::event_loop::EventLoops;
use crate::latency::LatencyMonitor;
use crate::limits::ClientLimits;
use crate::migrate::Migrations;
use crate::monitor::Monitors;
use crate::net::listeners::Listeners;
use crate::notify::Notifications;
use crate::pause::Pause;
use crate::persistence::Persistence;
use crate::pubsub::PubSub;
use crate::shutdown::Shutdown;
use crate::slowlog::Slowlog;
use crate::stats::Stats;
use crate::switches::Switches;
use basalt_storage::clock::UnixMs;
use basalt_storage::keyspace::Keyspace;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// One running server.
pub struct Server {
    pub config: Config,
    pub keyspace: Keyspace,
    pub clients: Clients,
    pub client_limits: ClientLimits,
    pub blocked: BlockedClients,
    pub migrations: Migrations,
    pub gate: CommitGate,
    /// In durable mode.
    durability: OnceLock<Durability>,
    /// With `cluster-enabled`.
    cluster: OnceLock<Cluster>,
    pub pubsub: PubSub,
    pub notify: Notifications,
    pub monitors: Monitors,
    pub slowlog: Slowlog,
    pub latency: LatencyMonitor,
    pub stats: Stats,
    pub pause: Pause,
    pub persistence: Persistence,
    pub listeners: Listeners,
    running: AtomicBool,
    pub switches: Switches,
    pub shutdown: Shutdown,
    pub expiry_cycle: ExpiryCycle,
    pub eviction: Eviction,
    pub sampler: Sampler,
    pub average_ttl: AverageTtl,
    pub event_loops: EventLoops,
    pub clock: WallClock,
    /// Forty hexadecimal digits that are new with each start.
    pub run_id: String,
}

impl Server {
    pub fn new(config: Config) -> Result<Arc<Server>, String> {
        let databases = config.databases();
        let threads = config.io_threads();
        let mut rng = basalt_storage::rng::Rng::from_entropy();
        let run_id = (0..40).map(|_| char::from_digit(rng.below(16) as u32, 16).expect("below 16")).collect();
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
        let server = Server {
            config,
            keyspace: Keyspace::new(databases),
            clients: Clients::default(),
            client_limits: ClientLimits::default(),
            blocked: BlockedClients::default(),
            migrations: Migrations::default(),
            gate: CommitGate::default(),
            durability: OnceLock::new(),
            cluster: OnceLock::new(),
            pubsub: PubSub::default(),
            notify: Notifications::default(),
            monitors: Monitors::default(),
            slowlog: Slowlog::default(),
            latency: LatencyMonitor::default(),
            stats: Stats::new(threads),
            pause: Pause::default(),
            persistence: Persistence::new(now_s),
            listeners: Listeners::default(),
            running: AtomicBool::new(false),
            switches: Switches::default(),
            shutdown: Shutdown::default(),
            expiry_cycle: ExpiryCycle::default(),
            eviction: Eviction::default(),
            sampler: Sampler::default(),
            average_ttl: AverageTtl::default(),
            event_loops: EventLoops::default(),
            clock: WallClock::start(),
            run_id,
        };
        server.config.apply_to(&server)?;
        Ok(Arc::new(server))
    }

    /// The parts of durable mode, if that is the mode.
    #[inline]
    pub fn durability(&self) -> Option<&Durability> {
        self.durability.get()
    }

    /// From now on this is a durable node. Called once, before anything is evaluated.
    pub(crate) fn become_durable(&self, durability: Durability) {
        assert!(self.durability.set(durability).is_ok(), "a node becomes durable once");
    }

    /// What clients see of the cluster, if this node is part of one.
    #[inline]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.get()
    }

    /// From now on this is a node of a cluster. Called once, before anything is evaluated.
    pub fn become_clustered(&self, cluster: Cluster) -> &Cluster {
        assert!(self.cluster.set(cluster).is_ok(), "a node becomes part of a cluster once");
        self.cluster.get().expect("it was just set")
    }

    /// The wall clock, as evaluation sees it.
    #[inline]
    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// The wall clock in microseconds, for what only shows the time.
    pub fn clock_us(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64
    }

    /// The wall clock at a moment of the monotonic one.
    #[inline]
    pub fn at(&self, moment: crate::moment::Moment) -> UnixMs {
        self.clock.at(moment)
    }

    /// Takes over changes of the system's clock; called regularly.
    pub fn synchronize_clock(&self) {
        self.clock.synchronize();
    }

    /// Too much is on its way into logs: who changes data has to wait.
    #[inline]
    pub fn is_congested(&self) -> bool {
        match self.durability() {
            Some(durability) => durability.is_congested(),
            None => self.cluster().and_then(Cluster::logs_in_memory).is_some_and(Replicas::is_congested),
        }
    }

    /// Makes the groups notice what was handed in.
    pub fn announce_batches(&self) {
        match self.durability() {
            Some(durability) => durability.groups.announce(),
            None => {
                if let Some(replicas) = self.cluster().and_then(Cluster::logs_in_memory) {
                    replicas.for_each_group(|group| group.announce());
                }
            }
        }
    }

    /// Whether clients are served: a setting that cannot be had is then refused rather than adapted.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    pub fn note_running(&self) {
        // In durable mode there are tables by now, which count what is cold.
        if self.durability().is_none() {
            crate::memory::note_start();
        }
        self.running.store(true, Ordering::Relaxed);
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        self.stats.reset();
        let stats = &self.keyspace.stats;
        for counter in [&stats.hits, &stats.misses, &stats.expired, &stats.evicted] {
            counter.store(0, Ordering::Relaxed);
        }
        self.clients.received.store(0, Ordering::Relaxed);
        self.clients.rejected.store(0, Ordering::Relaxed);
        self.keyspace.reaper().reset_freed();
        self.expiry_cycle.reset();
        self.eviction.reset();
        self.event_loops.reset();
        crate::memory::reset_peak();
    }

    pub fn uptime(&self) -> std::time::Duration {
        self.clock.uptime()
    }

    /// Clients that wait: for keys, for the end of a pause, or for somebody to serve their slot.
    pub fn blocked_clients(&self) -> usize {
        self.blocked.count() + self.pause.waiting() + self.cluster().map_or(0, Cluster::held_clients)
    }

    #[inline]
    pub fn has_memory_limit(&self) -> bool {
        self.memory_limit() != 0
    }

    /// Bytes that may be used before something has to go: `maxmemory`, or in durable mode, where only copies go, what
    /// takes its place if it is not set. Zero for no limit.
    #[inline]
    pub fn memory_limit(&self) -> u64 {
        match self.config.maxmemory() {
            0 => self.durability().map_or(0, |durability| durability.resident_bytes_default),
            set => set,
        }
    }
}
