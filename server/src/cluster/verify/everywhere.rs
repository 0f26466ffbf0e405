//! CLUSTER VERIFY: each group is compared by its leader, wherever that is; whoever was asked tells what all of them
//! say.

use super::report::{Report, Verdict};
use super::verifier::Verifier;
use super::wire::Question;
use basalt_cluster::ids::GroupId;
use basalt_cluster::map::SlotRange;
use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// How long a client waits at most.
const PATIENCE: Duration = Duration::from_secs(600);

/// For how long is tried to find the leader of a group, and to have it compare.
const SEARCH: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(200);

/// Has the groups that own any of these slots compared, and says what came of it, in the order of their numbers.
/// Blocks.
pub fn verify_all(verifier: &Arc<Verifier>, slots: SlotRange) -> Vec<Report> {
    let Some(map) = verifier.stage.map() else { return Vec::new() };
    let groups: BTreeSet<GroupId> = slots.slots().filter_map(|slot| map.slots().owner(slot)).collect();
    let (deadline, (sender, reports)) = (Instant::now() + PATIENCE, mpsc::channel());
    for group in &groups {
        let (own, sender, group) = (verifier.clone(), sender.clone(), *group);
        // Nobody may wait for it any more.
        let verify = move || drop(sender.send(verify_one(&own, group, slots, deadline)));
        if let Err(error) = Builder::new().name("cluster-verify".into()).spawn(verify) {
            tracing::error!(%error, "the system refused a thread");
        }
    }
    drop(sender);
    let mut all: Vec<Report> = Vec::new();
    while let Ok(report) = reports.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        all.push(report);
    }
    let known: BTreeSet<GroupId> = all.iter().map(|report| report.group).collect();
    let late = || "it takes longer; the log and the metrics of the group's leader will tell".to_owned();
    all.extend(groups.difference(&known).map(|group| Report::failed(*group, late())));
    all.sort_by_key(|report| report.group);
    all
}

/// Tries again for a while if the leader changes meanwhile.
fn verify_one(verifier: &Verifier, group: GroupId, slots: SlotRange, deadline: Instant) -> Report {
    let mut since = Instant::now();
    loop {
        let began = Instant::now();
        let report = attempt(verifier, group, slots, deadline);
        if report.verdict() != Verdict::Failed || since.elapsed() > SEARCH {
            return report;
        }
        // What took long and was cut off by a change of leaders may be tried again.
        if began.elapsed() > SEARCH {
            since = Instant::now();
        }
        if Instant::now() + PAUSE > deadline {
            return report;
        }
        std::thread::sleep(PAUSE);
    }
}

fn attempt(verifier: &Verifier, group: GroupId, slots: SlotRange, deadline: Instant) -> Report {
    let Some(node) = verifier.stage.node() else { return Report::failed(group, "this node is leaving the cluster") };
    let leader = verifier.server.upgrade().and_then(|server| server.cluster()?.picture().leader(group));
    match leader {
        None => Report::failed(group, "nobody is known to lead the group"),
        Some(leader) if leader == node.id() => verifier.verify(group, slots),
        Some(leader) => {
            let patience = deadline.saturating_duration_since(Instant::now());
            let answer = node.ask(leader, Question::Verify { group, slots }.encode(), patience);
            let report = answer.and_then(|bytes| Report::decode(&bytes).map_err(|malformed| malformed.to_string()));
            report.unwrap_or_else(|why| Report::failed(group, format!("{leader}: {why}")))
        }
    }
}
