//! Replies for small clusters, written out.

use super::samples::{catch_up, cluster, node, range, replicated, slot};
use super::*;
use crate::cluster::control::{Direction, Link, LinkState, Trust};
use crate::resp::{Protocol, ReplyBuf};
use basalt_cluster::ids::GroupId;
use basalt_cluster::map::{Change, Health, SlotRange};
use basalt_storage::clock::UnixMs;

fn with_scene<R>(map: &ClusterMap, me: u8, endpoint: Endpoint, f: impl FnOnce(&Scene<'_>) -> R) -> R {
    let contact = |other: NodeId| Contact {
        ping_sent_ms: 0,
        pong_received_ms: 1_700_000_000_000,
        link: if other == node(3) { LinkState::Disconnected } else { LinkState::Connected },
        trust: if other == node(3) { Trust::Suspected } else { Trust::Trusted },
        offset: 42,
    };
    let traffic = Traffic {
        sent: vec![("ping", 3), ("pong", 0)],
        received: vec![("ping", 2)],
        cut_links: 1,
        ..Traffic::default()
    };
    let scene =
        Scene { map, me: node(me), endpoint, cover: Cover::Up, contact: &contact, handshakes: &[], traffic: &traffic };
    f(&scene)
}

fn text(protocol: Protocol, write: impl FnOnce(&mut ReplyBuf)) -> String {
    let mut out = ReplyBuf::new(protocol);
    write(&mut out);
    String::from_utf8(out.take()).expect("these replies are text").replace("\r\n", " ")
}

fn hex(number: u8) -> String {
    format!("{number:02x}").repeat(20)
}

/// Three masters; slots are open between the first two, and the second is known by a name.
fn three_masters() -> ClusterMap {
    let mut map = cluster(3);
    let mut address = map.node(node(2)).expect("a member").address.clone();
    address.hostname = "two.example".to_owned();
    let incarnation = map.node(node(2)).expect("a member").incarnation;
    for change in [
        Change::AssignSlots { node: node(1), slots: vec![range(0, 5000), range(6000, 6000)] },
        Change::AssignSlots { node: node(2), slots: vec![range(5001, 5999), range(6001, 16382)] },
        Change::AssignSlots { node: node(3), slots: vec![range(16383, 16383)] },
        Change::Register { node: node(2), incarnation, address, zone: String::new() },
        Change::OpenMigrating { node: node(1), slot: slot(17), to: node(2) },
        Change::OpenMigrating { node: node(1), slot: slot(9), to: node(3) },
        Change::OpenImporting { node: node(1), slot: slot(7000), from: node(2) },
    ] {
        map.apply(&change).expect("it fits");
    }
    map
}

#[test]
fn nodes_have_lines_as_redis_cli_reads_them() {
    let map = three_masters();
    let (one, two, three) = (hex(1), hex(2), hex(3));
    let lines = with_scene(&map, 1, Endpoint::Ip, nodes);
    let epoch = |number| map.shown_epoch(node(number));
    assert_eq!(
        lines,
        format!(
            "{one} 10.0.0.1:7001@17001 myself,master - 0 0 {} connected 0-5000 6000 [9->-{three}] [17->-{two}] \
             [7000-<-{two}]\n\
             {two} 10.0.0.2:7002@17002,two.example master - 0 1700000000000 {} connected 5001-5999 6001-16382\n\
             {three} 10.0.0.3:7003@17003 master,fail? - 0 1700000000000 {} disconnected 16383\n",
            epoch(1),
            epoch(2),
            epoch(3)
        )
    );
}

#[test]
fn replicas_name_their_master_and_the_failed_are_called_so() {
    let mut map = replicated(3);
    let health = Health::Failed { since: UnixMs(1) };
    map.apply(&Change::SetHealth { node: node(3), health }).expect("a member");
    let (one, two, three) = (hex(1), hex(2), hex(3));
    let epoch = map.shown_epoch(node(1));
    let lines = with_scene(&map, 2, Endpoint::Ip, nodes);
    assert_eq!(
        lines,
        format!(
            "{one} 10.0.0.1:7001@17001 master - 0 1700000000000 {epoch} connected 0-16383\n\
             {two} 10.0.0.2:7002@17002 myself,slave {one} 0 0 {epoch} connected\n\
             {three} 10.0.0.3:7003@17003 slave,fail {one} 0 1700000000000 {epoch} disconnected\n"
        )
    );
    let of_master = with_scene(&map, 1, Endpoint::Ip, |scene| replicas(scene, node(1)));
    assert_eq!(of_master.len(), 2);
    assert!(of_master[0].starts_with(&format!("{two} 10.0.0.2:7002@17002 slave {one} ")), "{}", of_master[0]);
    let slots = text(Protocol::Resp2, |out| with_scene(&map, 1, Endpoint::Ip, |scene| slots(scene, out)));
    assert_eq!(
        slots,
        format!("*1 *5 :0 :16383 *4 $8 10.0.0.1 :7001 $40 {one} *0 *4 $8 10.0.0.2 :7002 $40 {two} *0 ",)
            .replace("*5", "*4")
    );
}

#[test]
fn somebody_who_is_met_is_shown_as_not_connected_yet() {
    let map = cluster(1);
    let handshake = Handshake { node: node(9), ip: [10, 0, 0, 9].into(), port: 7009, peer_port: 17009 };
    let lines = with_scene(&map, 1, Endpoint::Ip, |scene| {
        let handshakes = [handshake];
        nodes(&Scene { handshakes: &handshakes, ..*scene })
    });
    let last = lines.lines().last().expect("a line");
    assert_eq!(last, format!("{} 10.0.0.9:7009@17009 handshake - 0 0 0 disconnected", hex(9)));
}

#[test]
fn slots_name_endpoints_as_preferred() {
    let map = three_masters();
    let (one, two, three) = (hex(1), hex(2), hex(3));
    let reply = |endpoint, protocol| text(protocol, |out| with_scene(&map, 1, endpoint, |scene| slots(scene, out)));
    assert_eq!(
        reply(Endpoint::Ip, Protocol::Resp2),
        format!(
            "*5 *3 :0 :5000 *4 $8 10.0.0.1 :7001 $40 {one} *0 \
             *3 :5001 :5999 *4 $8 10.0.0.2 :7002 $40 {two} *2 $8 hostname $11 two.example \
             *3 :6000 :6000 *4 $8 10.0.0.1 :7001 $40 {one} *0 \
             *3 :6001 :16382 *4 $8 10.0.0.2 :7002 $40 {two} *2 $8 hostname $11 two.example \
             *3 :16383 :16383 *4 $8 10.0.0.3 :7003 $40 {three} *0 "
        )
    );
    let by_name = reply(Endpoint::Hostname, Protocol::Resp3);
    assert!(by_name.contains(&format!("*4 $11 two.example :7002 $40 {two} %1 $2 ip $8 10.0.0.2 ")), "{by_name}");
    assert!(by_name.contains(&format!("*4 $1 ? :7001 $40 {one} %1 $2 ip $8 10.0.0.1 ")), "{by_name}");
    let unknown = reply(Endpoint::Unknown, Protocol::Resp2);
    assert!(
        unknown.contains(&format!("*4 $-1 :7002 $40 {two} *4 $2 ip $8 10.0.0.2 $8 hostname $11 two.example ")),
        "{unknown}"
    );
}

#[test]
fn endpoints_of_redirections_may_be_nothing() {
    let map = three_masters();
    let address = &map.node(node(2)).expect("a member").address;
    assert_eq!(Endpoint::Ip.in_redirection(address), "10.0.0.2");
    assert_eq!(Endpoint::Hostname.in_redirection(address), "two.example");
    assert_eq!(Endpoint::Unknown.in_redirection(address), "");
    let nameless = &map.node(node(1)).expect("a member").address;
    assert_eq!(Endpoint::Hostname.in_redirection(nameless), "?");
}

#[test]
fn shards_list_masters_without_slots_and_nodes_that_failed() {
    let mut map = replicated(2);
    map.apply(&Change::SetHealth { node: node(1), health: Health::Failed { since: UnixMs(1) } }).expect("a member");
    let (one, two) = (hex(1), hex(2));
    let reply = text(Protocol::Resp2, |out| with_scene(&map, 2, Endpoint::Ip, |scene| shards(scene, out)));
    let shown = |id: &str, number: u8, role: &str, health: &str| {
        format!(
            "*14 $2 id $40 {id} $4 port :{} $2 ip $8 10.0.0.{number} $8 endpoint $8 10.0.0.{number} $4 role ${} {role} \
             $18 replication-offset :42 $6 health ${} {health} ",
            7000 + u16::from(number),
            role.len(),
            health.len()
        )
    };
    let expected = format!(
        "*1 *4 $5 slots *2 :0 :16383 $5 nodes *2 {}{}",
        shown(&one, 1, "master", "fail"),
        shown(&two, 2, "replica", "online")
    );
    assert_eq!(reply, expected);
    let empty = text(Protocol::Resp3, |out| with_scene(&cluster(1), 1, Endpoint::Ip, |scene| shards(scene, out)));
    assert!(empty.starts_with("*1 %2 $5 slots *0 $5 nodes *1 %7 $2 id "), "{empty}");
}

#[test]
fn a_replica_that_has_no_full_copy_yet_is_loading_and_not_among_the_slots() {
    let mut map = cluster(2);
    map.apply(&Change::AssignSlots { node: node(1), slots: vec![SlotRange::all()] }).expect("nobody has them");
    map.apply(&Change::Replicate { node: node(2), master: node(1) }).expect("it is empty");
    let shards = |map: &ClusterMap| {
        text(Protocol::Resp2, |out| with_scene(map, 1, Endpoint::Ip, |scene| super::shards(scene, out)))
    };
    let slots = |map: &ClusterMap| {
        text(Protocol::Resp2, |out| with_scene(map, 1, Endpoint::Ip, |scene| super::slots(scene, out)))
    };
    assert!(shards(&map).ends_with("$6 health $7 loading "), "{}", shards(&map));
    assert!(slots(&map).starts_with("*1 *3 "), "{}", slots(&map));
    catch_up(&mut map, GroupId(1));
    assert!(shards(&map).ends_with("$6 health $6 online "), "{}", shards(&map));
    assert!(slots(&map).starts_with("*1 *4 "), "{}", slots(&map));
}

#[test]
fn figures_have_a_line_each() {
    let map = three_masters();
    let epoch = map.current_epoch();
    let mine = map.shown_epoch(node(1));
    assert_eq!(
        with_scene(&map, 1, Endpoint::Ip, info),
        format!(
            "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16383\r\ncluster_slots_pfail:1\r\n\
             cluster_slots_fail:0\r\ncluster_known_nodes:3\r\ncluster_size:3\r\ncluster_current_epoch:{epoch}\r\n\
             cluster_my_epoch:{mine}\r\ncluster_stats_messages_ping_sent:3\r\ncluster_stats_messages_sent:3\r\n\
             cluster_stats_messages_ping_received:2\r\ncluster_stats_messages_received:2\r\n\
             total_cluster_links_buffer_limit_exceeded:1\r\n"
        )
    );
}

#[test]
fn links_are_maps_of_six() {
    let link = Link {
        direction: Direction::From,
        node: node(2),
        created_ms: 7,
        events: "r",
        buffer_allocated: 4512,
        buffer_used: 0,
    };
    assert_eq!(
        text(Protocol::Resp3, |out| links(&[link], out)),
        format!(
            "*1 %6 $9 direction $4 from $4 node $40 {} $11 create-time :7 $6 events $1 r \
             $21 send-buffer-allocated :4512 $16 send-buffer-used :0 ",
            hex(2)
        )
    );
}
