//! What can be tested: one server or a cluster, of Basalt or of redis-server, started from nothing.
//!
//! A [`Target`] says which programs run with which options and how they become one cluster; [`Deployment::start`] does
//! that for all of them alike.

use crate::client::{Connection, Sharding};
use crate::model::Reply;
use crate::network::{Network, Passage, Pid};
use crate::process::Process;
use crate::random::Random;
use std::io::{Error, Result};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long servers may take until they serve.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// Nodes talk to each other at their port plus this.
const BUS: u16 = 10_000;

/// Milliseconds after which a silent node counts as failing.
const NODE_TIMEOUT_MS: &str = "1000";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One node; every acknowledged write is on disk.
    Basalt,
    /// One node that forgets everything when it ends.
    BasaltCache,
    /// Three nodes, of which the later ones join the first.
    BasaltCluster,
    Redis,
    /// Three masters with a replica each, which redis-cli makes one cluster.
    RedisCluster,
}

/// A target, with what can be chosen about it.
#[derive(Clone, Debug)]
pub struct Layout {
    pub target: Target,
    pub nodes: usize,
    pub form: Form,
    /// More options of the servers.
    pub options: Vec<String>,
}

/// How several servers become one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Alone,
    /// Each but the first is told at its start whom to join.
    Join,
    /// By `redis-cli --cluster create`, with so many replicas for each master.
    Create {
        replicas: usize,
    },
}

impl Target {
    pub const ALL: [Target; 5] =
        [Target::Basalt, Target::BasaltCache, Target::BasaltCluster, Target::Redis, Target::RedisCluster];

    pub fn name(self) -> &'static str {
        match self {
            Target::Basalt => "basalt",
            Target::BasaltCache => "basalt-cache",
            Target::BasaltCluster => "basalt-cluster",
            Target::Redis => "redis",
            Target::RedisCluster => "redis-cluster",
        }
    }

    pub fn named(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|target| target.name() == name)
    }

    pub fn sharding(self) -> Sharding {
        match self {
            Target::Basalt | Target::BasaltCache | Target::Redis => Sharding::None,
            Target::BasaltCluster | Target::RedisCluster => Sharding::Slots,
        }
    }

    pub fn layout(self) -> Layout {
        Layout { target: self, nodes: self.nodes(), form: self.form(), options: Vec::new() }
    }

    fn form(self) -> Form {
        match self {
            Target::Basalt | Target::BasaltCache | Target::Redis => Form::Alone,
            Target::BasaltCluster => Form::Join,
            Target::RedisCluster => Form::Create { replicas: 1 },
        }
    }

    fn nodes(self) -> usize {
        match self {
            Target::Basalt | Target::BasaltCache | Target::Redis => 1,
            Target::BasaltCluster => 3,
            Target::RedisCluster => 6,
        }
    }

    fn options(self) -> Vec<&'static str> {
        match self {
            Target::Basalt => vec!["--mode", "durable", "--fsync", "always"],
            Target::BasaltCache => vec!["--mode", "cache"],
            Target::BasaltCluster => vec!["--mode", "durable", "--fsync", "always", "--cluster-enabled", "yes"],
            Target::Redis => vec!["--save", "", "--appendonly", "no"],
            Target::RedisCluster => {
                let mut options = vec!["--save", "", "--appendonly", "no", "--cluster-enabled", "yes"];
                options.extend(["--cluster-node-timeout", NODE_TIMEOUT_MS, "--cluster-require-full-coverage", "no"]);
                options.extend(["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]);
                options
            }
        }
    }

    fn is_basalt(self) -> bool {
        matches!(self, Target::Basalt | Target::BasaltCache | Target::BasaltCluster)
    }
}

/// The programs under test.
pub struct Programs {
    pub basalt: PathBuf,
    pub redis_server: PathBuf,
    pub redis_cli: PathBuf,
}

/// Servers that run.
pub struct Deployment {
    pub target: Target,
    pub processes: Vec<Process>,
    /// What nodes of a cluster reach each other through.
    pub network: Option<Network>,
    pub redis_cli: PathBuf,
}

impl Deployment {
    /// Starts all, each below `home`, and waits until they serve every key.
    pub fn start(layout: &Layout, programs: &Programs, home: &Path, random: &mut Random) -> Result<Deployment> {
        let target = layout.target;
        let addresses = free_addresses(layout.nodes, random)?;
        let program = if target.is_basalt() { &programs.basalt } else { &programs.redis_server };
        let mut processes = Vec::new();
        for address in &addresses {
            let mut args: Vec<String> = ["--port".to_owned(), address.port().to_string()].into();
            args.extend(["--bind".to_owned(), address.ip().to_string()]);
            args.extend(target.options().into_iter().map(str::to_owned));
            args.extend(layout.options.iter().cloned());
            if layout.form == Form::Join && *address != addresses[0] {
                args.extend(["--cluster-join".to_owned(), addresses[0].to_string()]);
            }
            let directory = home.join(address.port().to_string());
            processes.push(Process::new(*address, program.clone(), args, directory)?);
        }
        let network = match target.sharding() {
            Sharding::None => None,
            Sharding::Slots => Some(between(&mut processes)?),
        };
        processes.iter_mut().try_for_each(Process::start)?;
        let mut deployment = Deployment { target, processes, network, redis_cli: programs.redis_cli.clone() };
        deployment.wait_until("a server answers", says_pong)?;
        if let Form::Create { replicas } = layout.form {
            create(&programs.redis_cli, &addresses, replicas)?;
        }
        if target.sharding() == Sharding::Slots {
            let nodes = layout.nodes;
            deployment.wait_until("the cluster is up", move |connection| is_up(connection, nodes))?;
        }
        Ok(deployment)
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.processes.iter().map(|process| process.address).collect()
    }

    /// Ends all faults: everybody runs, and everything passes.
    pub fn heal(&mut self) -> Result<()> {
        if let Some(network) = &self.network {
            network.links.set(|_, _| Passage::Open);
        }
        self.processes.iter_mut().try_for_each(|process| process.resume().and_then(|()| process.start()))
    }

    /// The first server that has ended by itself.
    pub fn find_dead(&mut self) -> Option<SocketAddr> {
        self.processes.iter_mut().find_map(|process| process.has_died().then_some(process.address))
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn(&mut Connection) -> Option<()>) -> Result<()> {
        let deadline = Instant::now() + START_TIME_MAX;
        for process in &mut self.processes {
            let (address, patience) = (process.address, Duration::from_secs(2));
            let ask = || Connection::open(address, patience).ok().and_then(|mut connection| is_so(&mut connection));
            while ask().is_none() {
                if process.has_died() || Instant::now() > deadline {
                    return Err(Error::other(format!("{address}: this did not happen: {what}")));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// Puts proxies in front of the ports at which nodes listen to each other, and has the nodes announced there.
fn between(processes: &mut [Process]) -> Result<Network> {
    let bus = |process: &Process| SocketAddr::from((process.address.ip(), process.address.port() + BUS));
    let buses: Vec<SocketAddr> = processes.iter().map(bus).collect();
    let pids: Vec<Pid> = processes.iter().map(|process| process.pid.clone()).collect();
    let network = Network::start(&buses, &pids)?;
    for (process, port) in processes.iter_mut().zip(&network.ports) {
        process.extend_args(["--cluster-announce-bus-port".to_owned(), port.to_string()]);
    }
    Ok(network)
}

fn says_pong(connection: &mut Connection) -> Option<()> {
    (connection.call(&["PING"]).ok()? == Reply::Text("PONG".into())).then_some(())
}

/// Whether a node knows all others and who has every slot.
fn is_up(connection: &mut Connection, nodes: usize) -> Option<()> {
    let Reply::Text(info) = connection.call(&["CLUSTER", "INFO"]).ok()? else { return None };
    let has = |line: String| info.lines().any(|found| found == line).then_some(());
    has("cluster_state:ok".to_owned())?;
    has("cluster_slots_ok:16384".to_owned())?;
    has(format!("cluster_known_nodes:{nodes}"))
}

fn create(redis_cli: &Path, addresses: &[SocketAddr], replicas: usize) -> Result<()> {
    let mut command = Command::new(redis_cli);
    command.args(["--cluster", "create"]).args(addresses.iter().map(SocketAddr::to_string));
    command.args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"]).stdin(Stdio::null());
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() { Ok(()) } else { Err(Error::other(format!("redis-cli --cluster create: {said}"))) }
}

/// Ports that nobody listens at, nor at those that belong to them.
fn free_addresses(count: usize, random: &mut Random) -> Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for _ in 0..10_000 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 20_000 + random.below(2_000) as u16 * 6));
        let bus = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port() + BUS));
        let is_free = |address| TcpListener::bind(address).is_ok();
        if !found.contains(&address) && is_free(address) && is_free(bus) {
            found.push(address);
            if found.len() == count {
                return Ok(found);
            }
        }
    }
    Err(Error::other("no free ports"))
}
