//! Servers that run: started from nothing, all alike, with the links between them in our hands.

mod form;

use crate::client::{Connection, Sharding};
use crate::model::Reply;
use crate::network::{Network, Passage, Pid};
use crate::process::{DATA, Process};
use crate::random::Random;
use crate::target::{Disk, Form, Guests, Layout, Programs, Target};
use std::io::{Error, Result};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long servers may take until they serve.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// What the engine may take of memory where volumes are small, so that it keeps little there that is not flushed.
const ENGINE_MEMORY: &str = "16mb";

/// Nodes talk to each other at their port plus this.
const BUS: u16 = 10_000;

/// Servers that run.
pub struct Deployment {
    pub target: Target,
    /// Those that are there from the beginning, and behind them the guest while it is here.
    pub processes: Vec<Process>,
    /// A node that could come; it has a place in the network.
    away: Option<Process>,
    residents: usize,
    /// What nodes of a cluster reach each other through.
    pub network: Option<Network>,
    pub redis_cli: PathBuf,
}

impl Deployment {
    /// Starts all, each below `home`, and waits until they serve every key.
    pub fn start(layout: &Layout, programs: &Programs, home: &Path, random: &mut Random) -> Result<Deployment> {
        let target = layout.target;
        let guests = usize::from(layout.guests == Guests::One);
        let addresses = free_addresses(layout.nodes + guests, random)?;
        let program = if target.is_basalt() { &programs.basalt } else { &programs.redis_server };
        let mut processes = Vec::new();
        for (node, address) in addresses.iter().enumerate() {
            let args = args(layout, &addresses, node);
            let directory = home.join(address.port().to_string());
            processes.push(Process::new(*address, program.clone(), args, directory, layout.disk)?);
        }
        let network = match target.sharding() {
            Sharding::None => None,
            Sharding::Slots => Some(between(&mut processes)?),
        };
        let away = if guests > 0 { processes.pop() } else { None };
        processes.iter_mut().try_for_each(Process::start)?;
        let (residents, redis_cli) = (layout.nodes, programs.redis_cli.clone());
        let mut deployment = Deployment { target, processes, away, residents, network, redis_cli };
        deployment.wait_until("a server answers", says_pong)?;
        form::form(&mut deployment, layout.form)?;
        Ok(deployment)
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.processes.iter().map(|process| process.address).collect()
    }

    /// The nodes that stay.
    pub fn residents(&self) -> Range<usize> {
        0..self.residents
    }

    /// The node that has come, if it is here.
    pub fn guest(&self) -> Option<usize> {
        (self.processes.len() > self.residents).then_some(self.residents)
    }

    /// Starts a new node, which is to join the others.
    pub fn admit_guest(&mut self) -> Result<()> {
        let Some(mut guest) = self.away.take() else { return Err(Error::other("there is nobody who could come")) };
        guest.start()?;
        self.processes.push(guest);
        Ok(())
    }

    /// Ends it, and removes what it had: who comes next is another one.
    pub fn dismiss_guest(&mut self) -> Result<()> {
        if let Some(guest) = self.guest() {
            let mut guest = self.processes.remove(guest);
            guest.wipe()?;
            self.away = Some(guest);
        }
        Ok(())
    }

    /// Ends all faults: everybody runs, and everything passes.
    pub fn heal(&mut self) -> Result<()> {
        if let Some(network) = &self.network {
            network.links.set(|_, _| Passage::Open);
        }
        self.processes.iter_mut().try_for_each(|process| process.resume().and_then(|()| process.start()))
    }

    /// Waits until all is as it was before the last fault, if another one would be too much before.
    pub fn settle(&mut self) -> Result<()> {
        if self.target.forgets() { form::await_copies(self) } else { Ok(()) }
    }

    /// The first server that has ended by itself.
    pub fn find_dead(&mut self) -> Option<SocketAddr> {
        self.processes.iter_mut().find_map(|process| process.has_died().then_some(process.address))
    }

    /// Of every node.
    pub fn wait_until(&mut self, what: &str, is_so: impl Fn(&mut Connection) -> Option<()>) -> Result<()> {
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

/// How a node is started. Guests are told whom to join, however the others have found each other.
fn args(layout: &Layout, addresses: &[SocketAddr], node: usize) -> Vec<String> {
    let (target, address) = (layout.target, addresses[node]);
    let mut args: Vec<String> = ["--port".to_owned(), address.port().to_string()].into();
    args.extend(["--bind".to_owned(), address.ip().to_string(), "--dir".to_owned(), DATA.to_owned()]);
    args.extend(target.options().into_iter().map(str::to_owned));
    if layout.disk == Disk::Small {
        args.extend(["--engine-memory".to_owned(), ENGINE_MEMORY.to_owned()]);
    }
    args.extend(layout.options.iter().cloned());
    let joins = match node {
        _ if node >= layout.nodes => &addresses[..layout.nodes],
        1.. if layout.form == Form::Join => &addresses[..1],
        _ => &[],
    };
    args.extend(joins.iter().flat_map(|other| ["--cluster-join".to_owned(), other.to_string()]));
    args
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

/// Ports that nobody listens at, nor at those that belong to them.
fn free_addresses(count: usize, random: &mut Random) -> Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for _ in 0..10_000 {
        // Other tests, whose servers could want a port while this run's server is dead, stay clear of these.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 20_000 + random.below(180) as u16 * 6));
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
