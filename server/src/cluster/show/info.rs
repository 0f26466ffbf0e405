//! CLUSTER INFO: figures, one per line.

use super::Scene;
use crate::cluster::control::Trust;
use crate::cluster::route::Cover;
use std::fmt::{Display, Write};

/// The lines, each with CR and LF, which redis-cli relies on.
pub fn info(scene: &Scene<'_>) -> String {
    let is_suspected = |node| (scene.contact)(node).trust == Trust::Suspected;
    let summary = scene.map.summary(scene.me, is_suspected);
    let mut text = String::new();
    let mut put = |name: &str, value: &dyn Display| {
        write!(text, "{name}:{value}\r\n").expect("writing to a string does not fail");
    };
    put("cluster_state", &if scene.cover == Cover::Up { "ok" } else { "fail" });
    put("cluster_slots_assigned", &summary.slots_assigned);
    put("cluster_slots_ok", &summary.slots_ok);
    put("cluster_slots_pfail", &summary.slots_pfail);
    put("cluster_slots_fail", &summary.slots_fail);
    put("cluster_known_nodes", &(summary.known_nodes + scene.handshakes.len()));
    put("cluster_size", &summary.size);
    put("cluster_current_epoch", &summary.current_epoch);
    put("cluster_my_epoch", &summary.my_epoch);
    for (counts, direction) in [(&scene.traffic.sent, "sent"), (&scene.traffic.received, "received")] {
        for (kind, count) in counts.iter().filter(|(_, count)| *count > 0) {
            put(&format!("cluster_stats_messages_{kind}_{direction}"), count);
        }
        put(&format!("cluster_stats_messages_{direction}"), &counts.iter().map(|(_, count)| count).sum::<u64>());
    }
    put("total_cluster_links_buffer_limit_exceeded", &scene.traffic.cut_links);
    text
}
