//! CLUSTER NODES and CLUSTER REPLICAS: a line for each node.

use super::{Scene, ip};
use crate::cluster::control::{Handshake, LinkState, Trust};
use basalt_cluster::ids::NodeId;
use basalt_cluster::map::{Health, NodeLine, Role, Towards};
use std::fmt::Write;

/// All nodes. Each line ends in a line feed, the last one too.
pub fn nodes(scene: &Scene<'_>) -> String {
    let mut text = String::new();
    for shown in scene.map.node_lines(scene.me) {
        text.push_str(&line(scene, &shown));
        text.push('\n');
    }
    for Handshake { node, ip, port, peer_port } in scene.handshakes {
        put(&mut text, format_args!("{node} {ip}:{port}@{peer_port} handshake - 0 0 0 disconnected\n"));
    }
    text
}

/// The lines of a master's replicas, without line feeds.
pub fn replicas(scene: &Scene<'_>, master: NodeId) -> Vec<String> {
    let lines = scene.map.node_lines(scene.me);
    let replicas = lines.iter().filter(|line| line.role == Role::ReplicaOf(master));
    replicas.map(|shown| line(scene, shown)).collect()
}

fn line(scene: &Scene<'_>, shown: &NodeLine<'_>) -> String {
    let NodeLine { id, info, role, epoch, slots, open } = shown;
    let address = &info.address;
    let contact = (scene.contact)(*id);
    let is_me = *id == scene.me;
    let mut flags = Vec::new();
    if is_me {
        flags.push("myself");
    }
    let (flag, master) = match role {
        Role::Master => ("master", "-".to_owned()),
        Role::ReplicaOf(master) => ("slave", master.to_string()),
    };
    flags.push(flag);
    match info.health {
        // A node does not call itself failed: it would know if it were.
        Health::Failed { .. } if !is_me => flags.push("fail"),
        Health::Up if contact.trust == Trust::Suspected && !is_me => flags.push("fail?"),
        Health::Up | Health::Failed { .. } => {}
    }
    let (ping, pong) = if is_me { (0, 0) } else { (contact.ping_sent_ms, contact.pong_received_ms) };
    let link = if is_me || contact.link == LinkState::Connected { "connected" } else { "disconnected" };
    let mut line = format!("{id} {}:{}@{}", ip(address), address.port, address.peer_port);
    if !address.hostname.is_empty() {
        put(&mut line, format_args!(",{}", address.hostname));
    }
    put(&mut line, format_args!(" {} {master} {ping} {pong} {epoch} {link}", flags.join(",")));
    slots.iter().for_each(|range| put(&mut line, format_args!(" {range}")));
    for open in open {
        let arrow = match open.towards {
            Towards::MigratingTo => "->-",
            Towards::ImportingFrom => "-<-",
        };
        put(&mut line, format_args!(" [{}{arrow}{}]", open.slot.number(), open.node));
    }
    line
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("writing to a string does not fail");
}
