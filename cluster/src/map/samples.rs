//! Random maps and changes for tests: mostly such that make sense for the map at hand, since nonsense is refused early.

use super::*;
use crate::ids::{Incarnation, ShardId, SlotEpoch};
use basalt_storage::clock::UnixMs;
use basalt_storage::rng::Rng;
use core::net::{IpAddr, Ipv4Addr};

pub fn node_id(number: u8) -> NodeId {
    NodeId::new([number; NodeId::BYTES])
}

pub fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

pub fn range(first: u16, last: u16) -> SlotRange {
    SlotRange::new(slot(first), slot(last)).unwrap()
}

pub fn migration_id(number: u8) -> MigrationId {
    MigrationId::new([number; MigrationId::BYTES])
}

pub fn address(number: u8) -> Address {
    let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, number));
    Address { ip, port: 7000, tls_port: None, peer_port: 17000, hostname: String::new() }
}

/// Node `number` as a cluster by itself, with home group `number` and root group `100 + number`.
pub fn alone(number: u8) -> ClusterMap {
    alone_in(number, Mode::Durable)
}

pub fn alone_in(number: u8, mode: Mode) -> ClusterMap {
    ClusterMap::found(Founding {
        cluster_id: ClusterId(u64::from(number)),
        root: GroupId(1000 + u32::from(number)),
        node: node_id(number),
        home: GroupId(u32::from(number)),
        shard: ShardId::new([number; ShardId::BYTES]),
        address: address(number),
        incarnation: Incarnation(1),
        zone: String::new(),
        settings: Settings::default(),
        mode,
    })
}

pub fn joining(number: u8) -> Joining {
    Joining {
        node: node_id(number),
        incarnation: Incarnation(1),
        address: address(number),
        zone: String::new(),
        epoch: ConfigEpoch(0),
        home: GroupId(u32::from(number)),
        shard: ShardId::new([number; ShardId::BYTES]),
        replica: FIRST_REPLICA,
        term: Term(1),
        claims: Vec::new(),
        mode: Mode::Durable,
    }
}

/// A cluster of nodes `1..=count`, each master of its own group and without slots.
pub fn cluster(count: u8) -> ClusterMap {
    let mut map = alone(1);
    for number in 2..=count {
        map.apply(&Change::Join(Box::new(joining(number)))).unwrap();
    }
    map
}

/// Like [`cluster`], with the slots spread evenly.
pub fn serving(count: u8) -> ClusterMap {
    let mut map = cluster(count);
    let share = 16384 / u16::from(count);
    for number in 1..=count {
        let first = share * u16::from(number - 1);
        let last = if number == count { 16383 } else { first + share - 1 };
        map.apply(&Change::AssignSlots { node: node_id(number), slots: vec![range(first, last)] }).unwrap();
    }
    map
}

/// What the leader of a group reports when it has done all that is wanted.
pub fn all_done(map: &ClusterMap, group: GroupId) -> Change {
    let members = map.members(group).unwrap();
    let present = members
        .staying()
        .map(|replica| match replica.wanted {
            Wanted::Voter => (replica.id, ReplicaStatus::Voter),
            _ => (replica.id, ReplicaStatus::Learner),
        })
        .collect();
    let report = Report { term: members.leader.term, seen: map.version(), present };
    Change::ReportReplicas { group, report }
}

fn one_of<T: Copy>(rng: &mut Rng, choices: impl IntoIterator<Item = T>) -> Option<T> {
    let choices: Vec<T> = choices.into_iter().collect();
    (!choices.is_empty()).then(|| choices[rng.below(choices.len() as u64) as usize])
}

fn some_node(rng: &mut Rng, map: &ClusterMap) -> NodeId {
    match rng.below(12) {
        0 => node_id(rng.below(12) as u8),
        _ => one_of(rng, map.nodes().keys().copied()).unwrap(),
    }
}

fn some_group(rng: &mut Rng, map: &ClusterMap) -> GroupId {
    match rng.below(12) {
        0 => GroupId(rng.below(12) as u32),
        1 | 2 => map.root().id,
        _ => one_of(rng, map.groups().keys().copied()).unwrap(),
    }
}

/// Few slots, so that changes meet.
fn some_slot(rng: &mut Rng) -> Slot {
    slot(rng.below(24) as u16)
}

fn some_ranges(rng: &mut Rng) -> Vec<SlotRange> {
    (0..1 + rng.below(2))
        .map(|_| {
            let first = rng.below(24) as u16;
            range(first, first + rng.below(3) as u16)
        })
        .collect()
}

fn some_migration(rng: &mut Rng, map: &ClusterMap) -> MigrationId {
    let under_way: Vec<MigrationId> = map.migrations_under_way().map(|migration| migration.id).collect();
    one_of(rng, under_way).unwrap_or_else(|| migration_id(rng.below(256) as u8))
}

fn some_at(rng: &mut Rng) -> UnixMs {
    UnixMs(1_700_000_000_000 + rng.below(1_000_000) as i64)
}

fn fresh_migration(rng: &mut Rng) -> MigrationId {
    let mut bytes = [0; MigrationId::BYTES];
    bytes.fill_with(|| rng.below(256) as u8);
    MigrationId::new(bytes)
}

fn some_job(rng: &mut Rng, map: &ClusterMap) -> Job {
    let kind = [MigrationKind::FromSource, MigrationKind::ToTarget, MigrationKind::Balancing, MigrationKind::HandOver];
    let slots = some_ranges(rng);
    let from = if rng.below(2) == 0 { map.owner(slots[0].first()) } else { None };
    Job { id: fresh_migration(rng), kind: kind[rng.below(4) as usize], slots, from, to: some_node(rng, map) }
}

fn some_report(rng: &mut Rng, map: &ClusterMap, group: GroupId) -> Report {
    let Some(members) = map.members(group) else {
        return Report { term: Term(0), seen: MapVersion(0), present: Vec::new() };
    };
    let mut present = Vec::new();
    for replica in &members.replicas {
        let status = match (replica.wanted, rng.below(6)) {
            (Wanted::Leaving, 0..=3) => continue,
            (Wanted::Voter, 0..=4) => ReplicaStatus::Voter,
            (_, 5) => ReplicaStatus::Planned,
            _ => ReplicaStatus::Learner,
        };
        present.push((replica.id, status));
    }
    let seen = MapVersion(map.version().0 - rng.below(2));
    Report { term: Term(members.leader.term.0 + rng.below(8) / 7), seen, present }
}

fn some_joining(rng: &mut Rng, map: &ClusterMap) -> Joining {
    let number = 1 + rng.below(10) as u8;
    let mut joining = joining(number);
    // Each founding has other names, mostly.
    let founding = if rng.below(6) == 0 { 0 } else { rng.next_u64() };
    joining.home = GroupId(u32::from(number) + (founding as u32 % 100_000) * 10);
    joining.shard = ShardId::new([founding as u8; ShardId::BYTES]);
    joining.incarnation = Incarnation(rng.below(4));
    joining.epoch = ConfigEpoch(rng.below(map.current_epoch().0 + 3));
    joining.mode = if rng.below(8) == 0 { Mode::Cache } else { map.mode() };
    joining.zone = ["", "a", "b"][rng.below(3) as usize].to_owned();
    joining.claims = some_ranges(rng)
        .into_iter()
        .filter(|_| founding % 2 == 0)
        .map(|slots| SlotClaim { slots, epoch: SlotEpoch(founding % 7) })
        .collect();
    joining
}

/// A change that may well fit `map`.
pub fn change(rng: &mut Rng, map: &ClusterMap) -> Change {
    let node = some_node(rng, map);
    let other = some_node(rng, map);
    let group = some_group(rng, map);
    match rng.below(36) {
        0..=2 => Change::AssignSlots { node, slots: some_ranges(rng) },
        3 => Change::UnassignSlots { node, slots: some_ranges(rng) },
        4 if rng.below(4) == 0 => Change::FlushSlots { node },
        5 => Change::ForceOwn { node, slot: some_slot(rng) },
        6 | 7 => {
            let slot = some_slot(rng);
            Change::OpenMigrating { node: map.owner(slot).unwrap_or(node), slot, to: other }
        }
        8 => Change::OpenImporting { node, slot: some_slot(rng), from: other },
        9 => Change::CloseSlot { node, slot: some_slot(rng) },
        10 | 11 => {
            Change::GiveSlot { node, slot: some_slot(rng), to: other, id: fresh_migration(rng), at: some_at(rng) }
        }
        12 => Change::BumpEpoch { node },
        13 => Change::SetConfigEpoch { node, epoch: ConfigEpoch(rng.below(5)) },
        14..=16 => Change::Join(Box::new(some_joining(rng, map))),
        17 => {
            let incarnation = Incarnation(rng.below(6));
            Change::Register { node, incarnation, address: address(rng.below(9) as u8), zone: String::new() }
        }
        18 => {
            let health = if rng.below(2) == 0 { Health::Up } else { Health::Failed { since: some_at(rng) } };
            Change::SetHealth { node, health }
        }
        19 => {
            let removal = if rng.below(2) == 0 { Removal::Wanted } else { Removal::NotWanted };
            Change::Drain { node, removal }
        }
        20 => Change::Forget { node, target: other },
        21 => Change::Leave { node },
        22 | 23 => Change::Replicate { node, master: other },
        24 => {
            let force = if rng.below(2) == 0 { Force::HandOver } else { Force::Campaign };
            Change::Failover { node, force }
        }
        25 | 26 => {
            let members = map.members(group);
            let replica = members.and_then(|members| one_of(rng, members.replicas.iter().map(|replica| replica.id)));
            let term = members.map_or(0, |members| members.leader.term.0) + rng.below(3);
            Change::LeaderChanged { group, replica: replica.unwrap_or(ReplicaId(rng.below(9))), term: Term(term) }
        }
        27..=29 => Change::ReportReplicas { group, report: some_report(rng, map, group) },
        30 => {
            let wanted = [Wanted::Voter, Wanted::Voter, Wanted::Learner, Wanted::Leaving][rng.below(4) as usize];
            Change::AddReplica { group, node, wanted }
        }
        31 => match rng.below(4) {
            0 => Change::RestartReplica { group, node },
            1 => Change::Refound { group, node },
            2 => Change::SetPreferred { group, node },
            _ => Change::RemoveReplica { group, replica: ReplicaId(1 + rng.below(6)) },
        },
        32 => {
            let jobs = (0..1 + rng.below(2)).map(|_| some_job(rng, map)).collect();
            Change::BeginMigrations { jobs, at: some_at(rng) }
        }
        33 | 34 => {
            let (id, at) = (some_migration(rng, map), some_at(rng));
            match rng.below(9) {
                0 => Change::ReportStage { id, stage: Stage::Tail, at },
                1 => Change::AbortMigration { id, why: Failure::Cancelled, at },
                2 => Change::AbortMigration { id, why: Failure::Failed("no room".to_owned()), at },
                3 | 4 => Change::CommitMigration { id, seen: map.version(), at },
                8 => Change::RestartMigration { id, at },
                5 | 6 => Change::FinishMigration { id, side: Side::Source, seen: map.version(), at },
                _ => Change::FinishMigration { id, side: Side::Target, seen: map.version(), at },
            }
        }
        _ if rng.below(2) == 0 => Change::All((0..rng.below(3)).map(|_| change(rng, map)).collect()),
        _ => Change::Configure(Settings { replicas: rng.below(8) as u8, ..Settings::default() }),
    }
}
