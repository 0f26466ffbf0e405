//! A node of a cluster as its clients see it: where they are sent, what becomes of those who wait when slots move, and
//! orders that change the map.
//!
//! The other nodes are names in the map only.

use crate::common::local::LocalControl;
use crate::common::{TestClient, TestServer, config};
use basalt_cluster::Slot;
use basalt_cluster::ids::{
    ClusterId, ConfigEpoch, GroupId, Incarnation, MigrationId, NodeId, ReplicaId, ShardId, Term,
};
use basalt_cluster::map::{
    Address, Change, ClusterMap, Founding, Job, Joining, Known, MigrationKind, Mode, Settings, SlotRange,
};
use basalt_server::cluster::admission::{Entry, Stay};
use basalt_server::cluster::control::Control;
use basalt_server::cluster::slots::Standing;
use basalt_server::commands;
use basalt_server::resp::OwnedArgs;
use basalt_storage::clock::UnixMs;
use basalt_storage::slot::StripeSet;
use std::sync::Arc;

const MOVED_A: &str = "-MOVED 15495 10.0.0.2:7002\r\n";

fn node(number: u8) -> NodeId {
    NodeId::new([number; NodeId::BYTES])
}

fn address(number: u8) -> Address {
    let port = 7000 + u16::from(number);
    Address { ip: [10, 0, 0, number].into(), port, tls_port: None, peer_port: port + 10000, hostname: String::new() }
}

fn founding(number: u8) -> Founding {
    Founding {
        cluster_id: ClusterId(1),
        root: GroupId(100),
        node: node(number),
        home: GroupId(number.into()),
        shard: ShardId::new([number; ShardId::BYTES]),
        address: address(number),
        incarnation: Incarnation(1),
        zone: String::new(),
        settings: Settings::default(),
        mode: Mode::Durable,
    }
}

fn joining(number: u8) -> Change {
    Change::Join(Box::new(Joining {
        node: node(number),
        incarnation: Incarnation(1),
        address: address(number),
        zone: String::new(),
        epoch: ConfigEpoch(0),
        home: GroupId(number.into()),
        shard: ShardId::new([number; ShardId::BYTES]),
        replica: ReplicaId(1),
        term: Term(1),
        claims: Vec::new(),
        mode: Mode::Durable,
    }))
}

fn slot(key: &str) -> Slot {
    Slot::of_key(key.as_bytes())
}

/// The first of three nodes: it has all slots but that of `far`, which is the second one's.
struct Node {
    server: TestServer,
    control: Arc<LocalControl>,
}

impl Node {
    fn start() -> Node {
        let mut map = ClusterMap::found(founding(1));
        let far = SlotRange::one(slot("far"));
        for change in [
            joining(2),
            joining(3),
            Change::AssignSlots { node: node(2), slots: vec![far] },
            Change::AssignSlots {
                node: node(1),
                slots: SlotRange::of_slots(Slot::all().filter(|s| *s != far.first())),
            },
        ] {
            map.apply(&change).expect("it fits the map");
        }
        let server = TestServer::with(config(&["--cluster-enabled", "yes"]));
        let control = LocalControl::with_map(map, node(1));
        control.attach(&server.server);
        Node { server, control }
    }

    fn apply(&self, change: Change) {
        self.control.apply(&change).expect("it fits the map");
    }

    /// A slot goes to the second node, with or without its keys.
    fn give_away(&self, key: &str) {
        let id = MigrationId::new([9; MigrationId::BYTES]);
        let job = Job {
            id,
            kind: MigrationKind::FromSource,
            slots: vec![SlotRange::one(slot(key))],
            from: Some(node(1)),
            to: node(2),
        };
        self.apply(Change::BeginMigrations { jobs: vec![job], at: UnixMs(1) });
        self.apply(Change::CommitMigration { id, seen: self.control.map().version(), at: UnixMs(2) });
    }

    /// What a change of the group's leader does: nobody leads it, or this node again.
    fn set_leader(&self, leader: Known) {
        struct Told(Known);
        impl Standing for Told {
            fn leader(&self, group: GroupId) -> Known {
                if group == GroupId(1) { self.0 } else { Known::AsMapped }
            }
        }
        let cluster = self.server.server.cluster().expect("it is a node of a cluster");
        cluster.update(&self.server.server, || cluster.picture().map.clone(), &Told(leader));
    }
}

fn say(client: &mut TestClient, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        assert_eq!(client.say(line), *expected, "{line}");
    }
}

#[test]
fn clients_are_sent_to_the_owner() {
    let node = Node::start();
    let mut client = node.server.client();
    let moved = format!("-MOVED {} 10.0.0.2:7002\r\n", slot("far").number());
    say(
        &mut client,
        &[
            ("SET a 1", "+OK\r\n"),
            ("GET far", &moved),
            ("MGET far a", "-CROSSSLOT Keys in request don't hash to the same slot\r\n"),
            ("MULTI", "+OK\r\n"),
            ("SET far 1", &moved),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"),
            ("MULTI", "+OK\r\n"),
            ("SET a 2", "+QUEUED\r\n"),
            ("EXEC", "*1\r\n+OK\r\n"),
            ("SPUBLISH far x", &moved),
            ("DBSIZE", ":1\r\n"),
        ],
    );
}

#[test]
fn a_transaction_whose_slot_leaves_is_told_where_it_is() {
    let node = Node::start();
    let mut client = node.server.client();
    say(&mut client, &[("MULTI", "+OK\r\n"), ("SET a 1", "+QUEUED\r\n")]);
    node.give_away("a");
    say(&mut client, &[("EXEC", MOVED_A), ("EXEC", "-ERR EXEC without MULTI\r\n")]);
}

#[test]
fn the_source_of_an_open_slot_asks_for_what_is_gone() {
    let this = Node::start();
    let mut client = this.server.client();
    say(&mut client, &[("SET {a}1 x", "+OK\r\n"), ("SET {a}2 x PX 1", "+OK\r\n")]);
    this.apply(Change::OpenMigrating { node: node(1), slot: slot("a"), to: node(2) });
    let try_again = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
    let ask = "-ASK 15495 10.0.0.2:7002\r\n";
    say(
        &mut client,
        &[
            ("GET {a}1", "$1\r\nx\r\n"),
            ("SET {a}3 x", ask),
            ("MGET {a}1 {a}3", try_again),
            ("MGET {a}3 {a}4", ask),
            ("MULTI", "+OK\r\n"),
            ("GET {a}3", ask),
            ("DISCARD", "+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("GET {a}1", "+QUEUED\r\n"),
            ("DEL {a}1", "+QUEUED\r\n"),
            ("EXEC", "*2\r\n$1\r\nx\r\n:1\r\n"),
            ("GET {a}1", ask),
            ("SPUBLISH a x", ":0\r\n"),
        ],
    );
}

#[test]
fn a_key_that_is_due_counts_as_gone() {
    let mut this = Node::start();
    let mut client = this.server.client();
    say(&mut client, &[("SET a x PX 10", "+OK\r\n")]);
    this.apply(Change::OpenMigrating { node: node(1), slot: slot("a"), to: node(2) });
    say(&mut client, &[("GET a", "$1\r\nx\r\n")]);
    this.server.advance(20);
    say(&mut client, &[("GET a", "-ASK 15495 10.0.0.2:7002\r\n")]);
}

#[test]
fn the_target_of_an_open_slot_serves_who_says_asking_once() {
    let this = Node::start();
    let mut client = this.server.client();
    this.apply(Change::OpenImporting { node: node(1), slot: slot("far"), from: node(2) });
    let moved = format!("-MOVED {} 10.0.0.2:7002\r\n", slot("far").number());
    let try_again = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
    say(
        &mut client,
        &[
            ("SET far 1", &moved),
            ("ASKING", "+OK\r\n"),
            ("SET far 1", "+OK\r\n"),
            ("GET far", &moved),
            ("ASKING", "+OK\r\n"),
            ("PING", "+PONG\r\n"),
            ("GET far", &moved),
            ("ASKING", "+OK\r\n"),
            ("MGET {far}1 {far}2", try_again),
            ("ASKING", "+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("GET far", "+QUEUED\r\n"),
            ("SET far 2", "+QUEUED\r\n"),
            ("EXEC", "*2\r\n$1\r\n1\r\n+OK\r\n"),
            ("GET far", &moved),
        ],
    );
}

#[test]
fn who_waits_or_listens_hears_that_the_slot_has_left() {
    let node = Node::start();
    let [mut waiter, mut listener, mut other] = [(); 3].map(|()| node.server.client());
    assert_eq!(waiter.call(&["BLPOP", "a", "0"]), None);
    assert_eq!(other.call(&["BLPOP", "b", "0"]), None);
    listener.say("SSUBSCRIBE a {a}2");
    listener.say("SSUBSCRIBE b");
    node.give_away("a");
    assert_eq!(String::from_utf8_lossy(&waiter.take_mail()), MOVED_A);
    assert!(!waiter.is_waiting() && other.is_waiting());
    let mail = listener.session.client.take_mail();
    let mut out = basalt_server::resp::ReplyBuf::default();
    listener.session.leave_channels(&mail.left_channels, &mut out);
    let text = String::from_utf8_lossy(&out.take()).into_owned();
    assert_eq!(text.matches("sunsubscribe").count(), 2, "{text}");
    assert!(text.ends_with(":1\r\n"), "{text}");
    assert_eq!(node.server.client().say("SPUBLISH b x"), ":1\r\n");
}

#[test]
fn without_a_leader_requests_wait_until_there_is_one() {
    let this = Node::start();
    let [mut client, mut other] = [(); 2].map(|()| this.server.client());
    client.say("SET a 1");
    this.set_leader(Known::Leaderless);
    client.call_held("GET a");
    assert_eq!(this.server.server.blocked_clients(), 1);
    assert!(other.say("PING").contains("PONG"), "what names no keys is answered");
    this.set_leader(Known::Leader(node(1)));
    assert!(client.session.client.take_mail().loaded.is_some(), "the client is told");
    assert_eq!(client.say("GET a"), "$1\r\n1\r\n");
    this.set_leader(Known::Leaderless);
    client.call_held("GET a");
    this.set_leader(Known::Leader(node(3)));
    client.session.client.take_mail();
    assert_eq!(client.say("GET a"), "-MOVED 15495 10.0.0.3:7003\r\n");
    assert_eq!(this.server.server.blocked_clients(), 0);
}

#[test]
fn nobody_evaluates_in_a_slot_that_has_left_since_it_was_asked() {
    let node = Node::start();
    let server = &node.server.server;
    let cluster = server.cluster().expect("it is a node of a cluster");
    let mut client = node.server.client();
    let request = OwnedArgs::of(["SET", "a", "1"].map(str::as_bytes));
    let args = request.as_args();
    let command = commands::find(b"set").expect("a command");
    let admit = |client: &mut TestClient| cluster.admit(server, &mut client.session, command, args);
    let confirm = |client: &mut TestClient| {
        let mut view = server.keyspace.lock(StripeSet::of(slot("a").stripe()), server.now());
        cluster.confirm(server, &mut client.session, &mut view, command, args)
    };
    assert_eq!(admit(&mut client), Ok(Entry::Now));
    assert!(confirm(&mut client).is_ok());
    assert_eq!(admit(&mut client), Ok(Entry::Now));
    // Another slot's leaving makes it look again, and changes nothing.
    node.give_away("b");
    assert!(confirm(&mut client).is_ok());
    assert_eq!(admit(&mut client), Ok(Entry::Now));
    node.set_leader(Known::Leaderless);
    assert!(matches!(confirm(&mut client), Err(Stay::Held)));
    node.set_leader(Known::Leader(self::node(1)));
    assert_eq!(admit(&mut client), Ok(Entry::Now));
    node.set_leader(Known::Leader(self::node(3)));
    let Err(Stay::Refused(error)) = confirm(&mut client) else { panic!("the slot has left") };
    assert_eq!(error.text(), b"MOVED 15495 10.0.0.3:7003");
}

#[test]
fn orders_change_the_map_before_they_are_answered() {
    let this = Node::start();
    let mut client = this.server.client();
    let far = slot("far").number();
    say(
        &mut client,
        &[
            (&format!("CLUSTER ADDSLOTS {far}"), &format!("-ERR Slot {far} is already busy\r\n")),
            ("CLUSTER DELSLOTS 5", "+OK\r\n"),
            ("CLUSTER DELSLOTS 5", "-ERR Slot 5 is already unassigned\r\n"),
            ("MULTI", "+OK\r\n"),
            (&format!("CLUSTER DELSLOTS {far}"), "+QUEUED\r\n"),
            (&format!("CLUSTER ADDSLOTS {far}"), "+QUEUED\r\n"),
            (&format!("CLUSTER SETSLOT {far} STABLE"), "+QUEUED\r\n"),
            ("CLUSTER BUMPEPOCH", "+QUEUED\r\n"),
        ],
    );
    let taken = client.say("EXEC");
    assert!(taken.starts_with("*4\r\n+OK\r\n+OK\r\n+OK\r\n+"), "{taken}");
    let three = node(3);
    say(
        &mut client,
        &[
            ("CLUSTER ADDSLOTS 5", "+OK\r\n"),
            ("SET far 1", "+OK\r\n"),
            (&format!("CLUSTER SETSLOT 7 MIGRATING {three}"), "+OK\r\n"),
            ("CLUSTER SETSLOT 7 STABLE", "+OK\r\n"),
            (&format!("CLUSTER FORGET {three}"), "+OK\r\n"),
            ("CLUSTER COUNTKEYSINSLOT 0", ":0\r\n"),
        ],
    );
}

#[test]
fn migrations_are_told_the_newest_first() {
    let this = Node::start();
    let mut client = this.server.client();
    let two = node(2);
    say(
        &mut client,
        &[
            ("CLUSTER CANCELSLOTMIGRATIONS", "-ERR No migrations ongoing\r\n"),
            (&format!("CLUSTER MIGRATESLOTS SLOTSRANGE 1 2 5 5 NODE {two}"), "+OK\r\n"),
            (&format!("CLUSTER MIGRATESLOTS SLOTSRANGE 2 2 NODE {two}"), "-ERR I am already migrating slot 2.\r\n"),
            ("CLUSTER MIGRATESLOTS SLOTSRANGE 2 2 NODE abc", "-ERR Invalid node name: abc\r\n"),
        ],
    );
    let told = client.say("CLUSTER GETSLOTMIGRATIONS");
    assert!(told.starts_with("*1\r\n*24\r\n$4\r\nname\r\n$40\r\n"), "{told}");
    assert!(told.contains("$11\r\nslot_ranges\r\n$7\r\n1-2 5-5\r\n"), "{told}");
    assert!(told.contains("EXPORT") && told.contains("connecting"), "{told}");
    assert_eq!(client.say("CLUSTER CANCELSLOTMIGRATIONS"), "+OK\r\n");
    let told = client.say("CLUSTER GETSLOTMIGRATIONS");
    assert!(told.contains("cancelled"), "{told}");
}
