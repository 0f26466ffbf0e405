//! INFO's section `groups`: the Raft groups of which this node has a replica, the root group first.

use super::Fields;
use crate::cluster::control::GroupStatus;
use crate::server::Server;
use basalt_cluster::group::{Positions, ReplicaProgress, Role};
use std::sync::atomic::Ordering::Relaxed;

/// One line for each group, and one for each replica that follows this node.
pub fn groups(server: &Server, fields: &mut Fields) {
    let groups = server.cluster().map(|cluster| cluster.control().groups()).unwrap_or_default();
    fields.put("groups_hosted", groups.len());
    fields.put("groups_led", groups.iter().filter(|group| matches!(group.role, Role::Leader { .. })).count());
    for (number, group) in groups.iter().enumerate() {
        fields.put(&format!("group{number}"), line(group));
        for (follower, progress) in group.followers.iter().enumerate() {
            fields.put(&format!("group{number}_replica{follower}"), replica(group, progress));
        }
    }
}

fn line(status: &GroupStatus) -> String {
    let GroupStatus { group, kind, replica, role, positions, .. } = status;
    let leader = match role {
        Role::Leader { .. } => replica.0,
        Role::Follower { leader, .. } => leader.map_or(0, |leader| leader.0),
    };
    let Positions { last, committed, applied } = positions;
    format!(
        "id={group},kind={kind},replica={},role={},leader={leader},term={},last={last},committed={committed},\
         applied={applied},log_bytes={}",
        replica.0,
        role.name(),
        role.term(),
        status.figures.log_bytes.load(Relaxed)
    )
}

fn replica(status: &GroupStatus, progress: &ReplicaProgress) -> String {
    let ReplicaProgress { replica, matched, votes, knows_members: _, is_recent, awaits_snapshot } = progress;
    format!(
        "replica={},matched={matched},lag={},votes={},recent={},snapshot={}",
        replica.0,
        status.positions.last.0.saturating_sub(matched.0),
        u8::from(*votes),
        u8::from(*is_recent),
        u8::from(*awaits_snapshot)
    )
}
