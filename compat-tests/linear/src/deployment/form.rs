//! How servers become one cluster that has all slots.

use super::Deployment;
use crate::client::Connection;
use crate::model::Reply;
use crate::target::Form;
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SLOTS: usize = 16384;
/// Of every group, in a cluster of Basalt, if it has as many nodes.
const COPIES: usize = 3;

const PATIENCE: Duration = Duration::from_secs(10);

/// Copies are there when that was seen so often, with pauses of this length.
const COPIES_SEEN: usize = 3;
const COPIES_PAUSE: Duration = Duration::from_millis(500);
const COPIES_PATIENCE: Duration = Duration::from_secs(60);

pub fn form(deployment: &mut Deployment, form: Form) -> Result<()> {
    let nodes = deployment.processes.len();
    match form {
        Form::Alone => return Ok(()),
        Form::Create { replicas } => create(&deployment.redis_cli, &deployment.addresses(), replicas)?,
        Form::Meet => {
            meet(deployment)?;
            share_out(deployment)?;
        }
        // Whoever joins gets a share by itself.
        Form::Join => {}
    }
    deployment.wait_until("the cluster is up", |connection| {
        says(connection, "cluster_state:ok")?;
        says(connection, "cluster_slots_ok:16384")?;
        says(connection, &format!("cluster_known_nodes:{nodes}"))
    })?;
    if deployment.target.keeps_copies() { await_copies(deployment) } else { Ok(()) }
}

/// Waits until there is of every group what there should be, and for so long that nobody can have missed a change.
pub fn await_copies(deployment: &mut Deployment) -> Result<()> {
    let deadline = Instant::now() + COPIES_PATIENCE;
    let mut seen = 0;
    while seen < COPIES_SEEN {
        seen = if are_copied(deployment) == Some(true) { seen + 1 } else { 0 };
        if Instant::now() > deadline {
            return Err(Error::other("this did not happen: the copies are there"));
        }
        std::thread::sleep(COPIES_PAUSE);
    }
    Ok(())
}

/// Whether all groups that have slots are led, and each has all its copies.
fn are_copied(deployment: &Deployment) -> Option<bool> {
    let (copies, mut led, mut masters) = (deployment.processes.len().min(COPIES), 0, 0);
    for process in &deployment.processes {
        let mut connection = Connection::open(process.address, COPIES_PAUSE * 4).ok()?;
        led += led_with_copies(&mut connection, copies)?;
        let Reply::Text(info) = connection.call(&["CLUSTER", "INFO"]).ok()? else { return None };
        let size = info.lines().find_map(|line| line.strip_prefix("cluster_size:"))?;
        masters = masters.max(size.parse().ok()?);
    }
    Some(led >= masters)
}

/// How many groups of data a node leads that have all their voters, itself among them, of which none waits for a copy
/// or is not heard of: those without slots, as of a node that is drained, have one. None if the root group has not.
fn led_with_copies(connection: &mut Connection, copies: usize) -> Option<usize> {
    let Reply::Text(info) = connection.call(&["INFO", "groups"]).ok()? else { return None };
    let lines: Vec<(&str, &str)> = info.lines().filter_map(|line| line.split_once(':')).collect();
    let is_whole = |group: &str| {
        let of_group = |line: &&(&str, &str)| line.0.strip_prefix(group).is_some_and(|rest| rest.starts_with('_'));
        let has_all = |line: &(&str, &str)| ["votes=1", "recent=1", "snapshot=0"].iter().all(|it| line.1.contains(it));
        let followers = || lines.iter().filter(of_group);
        followers().count() + 1 >= copies && followers().all(has_all)
    };
    let led = lines.iter().filter(|line| line.1.contains("role=leader,"));
    let (root, data): (Vec<_>, Vec<_>) = led.partition(|line| line.1.contains("kind=root,"));
    let whole = |led: &[&(&str, &str)]| led.iter().filter(|(group, _)| is_whole(group)).count();
    (whole(&root) == root.len()).then(|| whole(&data))
}

fn meet(deployment: &Deployment) -> Result<()> {
    let addresses = deployment.addresses();
    let buses = deployment.network.as_ref().map_or(&[][..], |network| &network.ports);
    for (address, bus) in addresses.iter().zip(buses).skip(1) {
        let (ip, port, bus) = (address.ip().to_string(), address.port().to_string(), bus.to_string());
        order(addresses[0], &["CLUSTER", "MEET", &ip, &port, &bus])?;
    }
    Ok(())
}

/// Gives slots to all nodes alike, unless they have some already.
fn share_out(deployment: &mut Deployment) -> Result<()> {
    let addresses = deployment.addresses();
    let nodes = addresses.len();
    let known = format!("cluster_known_nodes:{nodes}");
    deployment.wait_until("all know each other", |connection| says(connection, &known))?;
    if says(&mut Connection::open(addresses[0], PATIENCE)?, "cluster_slots_assigned:0").is_none() {
        return Ok(());
    }
    for (node, address) in addresses.iter().enumerate() {
        let (first, end) = (node * SLOTS / nodes, (node + 1) * SLOTS / nodes);
        order(*address, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()])?;
    }
    Ok(())
}

fn order(address: SocketAddr, words: &[&str]) -> Result<()> {
    match Connection::open(address, PATIENCE)?.call(words)? {
        Reply::Ok => Ok(()),
        reply => Err(Error::other(format!("{address} says to {}: {reply}", words.join(" ")))),
    }
}

/// Whether a line is in CLUSTER INFO.
fn says(connection: &mut Connection, line: &str) -> Option<()> {
    let Reply::Text(info) = connection.call(&["CLUSTER", "INFO"]).ok()? else { return None };
    info.lines().any(|found| found == line).then_some(())
}

fn create(redis_cli: &Path, addresses: &[SocketAddr], replicas: usize) -> Result<()> {
    let mut command = Command::new(redis_cli);
    command.args(["--cluster", "create"]).args(addresses.iter().map(SocketAddr::to_string));
    command.args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"]).stdin(Stdio::null());
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() { Ok(()) } else { Err(Error::other(format!("redis-cli --cluster create: {said}"))) }
}
