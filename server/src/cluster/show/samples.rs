//! Maps of a few nodes, for tests.

use basalt_cluster::Slot;
use basalt_cluster::ids::{ClusterId, ConfigEpoch, GroupId, Incarnation, NodeId, ReplicaId, ShardId, Term};
use basalt_cluster::map::{
    Address, Change, ClusterMap, Founding, Joining, Mode, ReplicaStatus, Report, Settings, SlotRange, Wanted,
};

pub fn node(number: u8) -> NodeId {
    NodeId::new([number; NodeId::BYTES])
}

pub fn slot(number: u16) -> Slot {
    Slot::new(number).expect("below 16384")
}

pub fn range(first: u16, last: u16) -> SlotRange {
    SlotRange::new(slot(first), slot(last)).expect("in order")
}

fn address(number: u8) -> Address {
    let ip = [10, 0, 0, number].into();
    Address {
        ip,
        port: 7000 + u16::from(number),
        tls_port: None,
        peer_port: 17000 + u16::from(number),
        hostname: String::new(),
    }
}

/// Masters without slots.
pub fn cluster(nodes: u8) -> ClusterMap {
    cluster_in(Mode::Durable, nodes)
}

pub fn cluster_in(mode: Mode, nodes: u8) -> ClusterMap {
    let mut map = ClusterMap::found(Founding {
        cluster_id: ClusterId(1),
        root: GroupId(100),
        node: node(1),
        home: GroupId(1),
        shard: ShardId::new([0x51; ShardId::BYTES]),
        address: address(1),
        incarnation: Incarnation(1),
        zone: String::new(),
        settings: Settings::default(),
        mode,
    });
    for number in 2..=nodes {
        let joining = Joining {
            node: node(number),
            incarnation: Incarnation(1),
            address: address(number),
            zone: String::new(),
            epoch: ConfigEpoch(0),
            home: GroupId(number.into()),
            shard: ShardId::new([0x50 + number; ShardId::BYTES]),
            replica: ReplicaId(1),
            term: Term(1),
            claims: Vec::new(),
            mode,
        };
        map.apply(&Change::Join(Box::new(joining))).expect("a new node may join");
    }
    map
}

/// A master with all slots, and this many nodes in all; the others are its replicas, and have caught up.
pub fn replicated(nodes: u8) -> ClusterMap {
    let mut map = cluster(nodes);
    map.apply(&Change::AssignSlots { node: node(1), slots: vec![SlotRange::all()] }).expect("nobody has them");
    for number in 2..=nodes {
        map.apply(&Change::Replicate { node: node(number), master: node(1) }).expect("it is empty");
    }
    catch_up(&mut map, GroupId(1));
    map
}

/// All replicas of a group are what they should be.
pub fn catch_up(map: &mut ClusterMap, group: GroupId) {
    let members = map.members(group).expect("there is such a group");
    let status = |wanted| if wanted == Wanted::Voter { ReplicaStatus::Voter } else { ReplicaStatus::Learner };
    let present = members.staying().map(|replica| (replica.id, status(replica.wanted))).collect();
    let report = Report { term: members.leader.term, seen: map.version(), present };
    map.apply(&Change::ReportReplicas { group, report }).expect("the leader reports");
}
