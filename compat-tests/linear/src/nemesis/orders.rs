//! What a cluster is asked for while it works. It may refuse: then nothing has gone wrong this time.

use crate::client::Connection;
use crate::deployment::Deployment;
use crate::model::{Reply, Text};
use crate::random::{Chance, Random};
use std::process::{Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(300);

/// Slots that are moved at a time.
const SLOTS_MAX: u64 = 2000;
/// And key by key, which takes several orders for each slot: nothing else goes wrong meanwhile.
const KEYWISE_SLOTS_MAX: u64 = 200;

/// Nodes that say that they are masters of something.
pub fn masters(deployment: &Deployment) -> Vec<usize> {
    (0..deployment.processes.len()).filter(|node| is_master(deployment, *node) == Some(())).collect()
}

fn is_master(deployment: &Deployment, node: usize) -> Option<()> {
    let Reply::Array(role) = ask(deployment, node, &["ROLE"])? else { return None };
    (role.first()? == &Reply::Text("master".into())).then_some(())
}

/// Has some follower take over from its master.
pub fn take_over(deployment: &Deployment, random: &mut Random) {
    let masters = masters(deployment);
    let followers: Vec<usize> = (0..deployment.processes.len()).filter(|node| !masters.contains(node)).collect();
    if !followers.is_empty() {
        ask(deployment, followers[random.index(followers.len())], &["CLUSTER", "FAILOVER"]);
    }
}

/// Has slots move from one master to another: all at once where the source knows how, else key by key by redis-cli.
pub fn move_slots(deployment: &Deployment, random: &mut Random) {
    let masters = masters(deployment);
    if masters.len() < 2 {
        return;
    }
    let source = random.index(masters.len());
    let target = (source + 1 + random.index(masters.len() - 1)) % masters.len();
    let count = 1 + random.below(SLOTS_MAX);
    let (Some(from), Some(to)) = (id(deployment, masters[source]), id(deployment, masters[target])) else { return };
    if random.percent(70) == Chance::Yes && move_at_once(deployment, masters[source], &to, count) {
        return;
    }
    let mut command = Command::new(&deployment.redis_cli);
    command.args(["--cluster", "reshard", &deployment.processes[masters[source]].address.to_string()]);
    let count = count.min(KEYWISE_SLOTS_MAX).to_string();
    command.args(["--cluster-from", &from, "--cluster-to", &to, "--cluster-slots", &count]);
    command.args(["--cluster-yes", "--cluster-pipeline", "100"]).stdin(Stdio::null());
    // What it says is that it has moved slots, or which of them it could not; the next reshard mends nothing either.
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Has a node emptied for so long. What has moved by then stays where it is, until nodes are balanced again.
pub fn drain(deployment: &Deployment, node: usize, time: Duration) {
    let Some(id) = id(deployment, node) else { return };
    ask(deployment, node, &["CLUSTER", "DRAIN", &id]);
    std::thread::sleep(time);
    // Whoever is in reach can be asked; a node that stays drained only has nothing more to do.
    let stops = |node: usize| ask(deployment, node, &["CLUSTER", "DRAIN", &id, "STOP"]) == Some(Reply::Ok);
    let _ = (0..deployment.processes.len()).any(stops);
}

/// Has the first slots of a node's last range move, so many at most; whether it will.
fn move_at_once(deployment: &Deployment, source: usize, to: &str, count: u64) -> bool {
    let Some(Reply::Text(nodes)) = ask(deployment, source, &["CLUSTER", "NODES"]) else { return false };
    let line = nodes.lines().find(|line| line.contains("myself"));
    let Some(range) = line.and_then(|line| line.split(' ').skip(8).filter(|word| !word.starts_with('[')).last()) else {
        return false;
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) else { return false };
    let last = last.min(first + count - 1);
    let words = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &first.to_string(), &last.to_string(), "NODE", to];
    ask(deployment, source, &words) == Some(Reply::Ok)
}

/// The name of a node in its cluster.
pub fn id(deployment: &Deployment, node: usize) -> Option<Text> {
    match ask(deployment, node, &["CLUSTER", "MYID"])? {
        Reply::Text(id) => Some(id),
        _ => None,
    }
}

/// Nothing if the node does not answer in time.
pub fn ask(deployment: &Deployment, node: usize, words: &[&str]) -> Option<Reply> {
    let mut connection = Connection::open(deployment.processes[node].address, PATIENCE).ok()?;
    connection.call(words).ok()
}
