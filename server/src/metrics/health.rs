//! `/health`: is the process alive, or should somebody restart it? `/ready`: does it serve, or should clients go
//! elsewhere? Both are cheap, and say nothing that is not known to who may connect.

use crate::cluster::Cluster;
use crate::cluster::control::Quorum;
use crate::cluster::route::Cover;
use crate::server::Server;
use std::time::Duration;

/// The periodic work of the first network thread runs ten times a second: without it for so long, that thread hangs.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// Why not; empty if all is well.
pub type Reasons = Vec<String>;

/// What speaks against the process being alive.
pub fn health(server: &Server) -> Reasons {
    let silence = server.sampler.silence().unwrap_or_else(|| server.uptime());
    match silence > STUCK_AFTER {
        true => vec![format!("the first network thread has done nothing for {} seconds", silence.as_secs())],
        false => Vec::new(),
    }
}

/// What speaks against sending clients here.
pub fn readiness(server: &Server) -> Reasons {
    let mut reasons = health(server);
    if !server.is_running() {
        reasons.push("the server starts".to_owned());
    }
    if server.shutdown.is_under_way() {
        reasons.push("the server is about to end".to_owned());
    }
    if let Some(loading) = server.persistence.loading.report(server.now()) {
        reasons.push(format!("a dump is being loaded: {:.2} % so far", loading.percent));
    }
    if let Some(cluster) = server.cluster() {
        reasons.extend(of_cluster(cluster));
    }
    reasons
}

fn of_cluster(cluster: &Cluster) -> Reasons {
    let mut reasons = Vec::new();
    let control = cluster.control();
    if control.quorum() == Quorum::Lost {
        reasons.push("this node is out of touch with the cluster's root group".to_owned());
    }
    if cluster.cover() == Cover::Down {
        reasons.push("the cluster is down: see CLUSTER INFO".to_owned());
    }
    for group in control.groups() {
        if !group.role.knows_leader() {
            reasons.push(format!("group {} ({}) has no leader", group.group, group.kind));
        }
    }
    reasons
}
