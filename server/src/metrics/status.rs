//! `/status.json`: what the status page (`page.html`) shows, for that page. Programs read `/metrics`, whose names are
//! documented and stay.

use super::health;
use super::scrape::Scrape;
use crate::cluster::Cluster;
use crate::cluster::control::{GroupStatus, LinkState};
use crate::version::BASALT_VERSION;
use basalt_cluster::ids::NodeId;
use basalt_cluster::map::{ClusterMap, Failure, Health, Migration, NodeLine, Phase, Role, SlotRange, Stage, Standing};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;

/// All of it, as of now.
pub fn render(scrape: &Scrape<'_>) -> String {
    let server = scrape.server;
    let cluster = server.cluster();
    let map = cluster.map(|cluster| cluster.control().map());
    let groups = scrape.groups.iter().map(|status| group(status, map.as_deref()));
    let status = json!({
        "version": BASALT_VERSION,
        "mode": server.config.text("mode"),
        "port": server.config.int("port"),
        "uptime_seconds": server.uptime().as_secs(),
        "not_ready": health::readiness(server),
        "memory": {
            "used": scrape.memory.used,
            "limit": server.memory_limit(),
            "resident": scrape.memory.resident,
            "machine": crate::memory_report::system_bytes(),
        },
        "clients": scrape.clients.len(),
        "blocked_clients": server.blocked_clients(),
        "keys": scrape.memory.keys,
        "counters": counters(scrape),
        "disk": disk(scrape),
        "groups": groups.collect::<Vec<_>>(),
        "cluster": cluster.map(of_cluster),
    });
    status.to_string()
}

/// What only grows: the page shows how fast.
fn counters(scrape: &Scrape<'_>) -> Value {
    let (server, stats) = (scrape.server, &scrape.server.keyspace.stats);
    let traffic = server.stats.traffic();
    json!({
        "commands": server.stats.calls(),
        "errors": server.stats.errors().iter().map(|(_, count)| count).sum::<u64>(),
        "hits": stats.hits.load(Relaxed),
        "misses": stats.misses.load(Relaxed),
        "expired": stats.expired.load(Relaxed),
        "evicted": stats.evicted.load(Relaxed),
        "received_bytes": traffic.received_bytes,
        "sent_bytes": traffic.sent_bytes,
        "cpu_seconds": scrape.process.user_s + scrape.process.system_s,
        "loaded": server.keyspace.residency().loaded.load(Relaxed),
    })
}

/// Durable mode's part, or null.
fn disk(scrape: &Scrape<'_>) -> Value {
    let Some(disk) = &scrape.disk else { return Value::Null };
    json!({
        "used": disk.statistics.disk_bytes,
        "free": disk.space.free,
        "is_full": disk.space.is_short,
        "write_pressure": disk.pace.pressure.max(0.0),
        "cold_keys": scrape.server.keyspace.residency().cold.load(Relaxed),
    })
}

fn group(status: &GroupStatus, map: Option<&ClusterMap>) -> Value {
    let members = map.and_then(|map| map.members(status.group));
    let node_of = |replica| members.and_then(|members| members.replica(replica)).map(|it| it.node.to_string());
    let follower = |progress: &basalt_cluster::group::ReplicaProgress| {
        json!({
            "node": node_of(progress.replica),
            "lag": status.positions.last.0.saturating_sub(progress.matched.0),
            "is_up": progress.is_recent,
            "awaits_snapshot": progress.awaits_snapshot,
        })
    };
    json!({
        "group": status.group.to_string(),
        "kind": status.kind,
        "role": if status.role.knows_leader() { status.role.name() } else { "without leader" },
        "term": status.role.term().0,
        "last": status.positions.last.0,
        "committed": status.positions.committed.0,
        "applied": status.positions.applied.0,
        "followers": status.followers.iter().map(follower).collect::<Vec<_>>(),
    })
}

fn of_cluster(cluster: &Cluster) -> Value {
    let picture = cluster.picture();
    let (map, me) = (&picture.map, cluster.me());
    let bounds = |range: SlotRange| (range.first().number(), range.last().number());
    let lines = map.node_lines(me);
    let place = |node: NodeId| lines.iter().position(|line| line.id == node);
    let slots = map.slots().runs(|group| picture.leader(group).and_then(place));
    let migrations = map.migrations_under_way().map(|migration| {
        let ends = [migration.source, migration.target].map(|group| picture.leader(group).and_then(place));
        json!({
            "id": migration.id.to_string(),
            "slots": migration.slots.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "slot_count": migration.all_slots().count(),
            "from": ends[0],
            "to": ends[1],
            "state": state(migration),
        })
    });
    json!({
        "me": place(me),
        "map_version": map.version().0,
        "nodes": lines.iter().map(|line| node(cluster, line)).collect::<Vec<_>>(),
        "slots": slots.iter().map(|(range, at)| (bounds(*range).0, bounds(*range).1, at)).collect::<Vec<_>>(),
        "migrations": migrations.collect::<Vec<_>>(),
    })
}

fn node(cluster: &Cluster, line: &NodeLine<'_>) -> Value {
    let address = &line.info.address;
    let is_me = line.id == cluster.me();
    let is_cut = !is_me && cluster.control().contact(line.id).link == LinkState::Disconnected;
    json!({
        "id": line.id.to_string(),
        "address": format!("{}:{}", address.ip, address.port),
        "hostname": address.hostname,
        "zone": line.info.zone,
        "role": match line.role {
            Role::Master => "master",
            Role::ReplicaOf(_) => "replica",
        },
        "state": match (line.info.health, line.info.standing) {
            (Health::Failed { .. }, _) if !is_me => "failed",
            _ if is_cut => "out of reach",
            (_, Standing::Member) => "up",
            _ => "leaving",
        },
        "slot_count": line.slots.iter().map(|range| range.count()).sum::<usize>(),
    })
}

fn state(migration: &Migration) -> String {
    match &migration.phase {
        Phase::Copying(Stage::Starting) => "begins".to_owned(),
        Phase::Copying(Stage::Snapshot) => "copies".to_owned(),
        Phase::Copying(Stage::Tail | Stage::Sealed) => "catches up".to_owned(),
        Phase::Finishing(_) => "has moved, and is cleared away".to_owned(),
        Phase::Aborting { why: Failure::Cancelled, .. } => "is taken back".to_owned(),
        Phase::Aborting { why: Failure::Failed(why), .. } => format!("is taken back: {why}"),
        Phase::Ended(_) => "is over".to_owned(),
    }
}
