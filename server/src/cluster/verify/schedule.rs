//! When groups are compared without anybody asking for it: once in each period, by whoever leads then.
//!
//! Turns follow from the clock and the group's number alone, so nobody has to remember when the last one was, groups
//! have theirs at different times, and a change of leaders neither repeats a turn nor leaves one out for long.

use super::report::Verdict;
use super::verifier::Verifier;
use basalt_cluster::ids::GroupId;
use basalt_cluster::map::SlotRange;
use basalt_storage::clock::UnixMs;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often is looked whose turn it is.
const LOOK: Duration = Duration::from_secs(1);

/// What did not come off is tried again after this part of the period.
const AGAIN_PART: u32 = 16;

/// The body of the thread. Ends with the server.
pub fn run(verifier: &Verifier) {
    let mut turns: BTreeMap<GroupId, u64> = BTreeMap::new();
    let mut again: BTreeMap<GroupId, Instant> = BTreeMap::new();
    loop {
        std::thread::sleep(LOOK);
        let Some(server) = verifier.server.upgrade() else { return };
        let period = u64::try_from(server.config.int("cluster-verify-period")).unwrap_or(0);
        if period == 0 {
            turns.clear();
            continue;
        }
        let period = Duration::from_secs(period);
        for replica in verifier.stage.replicas.all() {
            let group = replica.id();
            let turn = turn(group, server.now(), period);
            let former = turns.insert(group, turn);
            let is_due = former.is_some_and(|former| former != turn)
                || again.get(&group).is_some_and(|at| *at <= Instant::now());
            if !is_due || !replica.serves() || !has_others(verifier, group) {
                continue;
            }
            again.remove(&group);
            match verifier.verify(group, SlotRange::all()).verdict() {
                Verdict::Equal | Verdict::Different | Verdict::Alone => {}
                Verdict::Incomplete | Verdict::Failed => {
                    again.insert(group, Instant::now() + (period / AGAIN_PART).max(LOOK));
                }
            }
        }
        turns.retain(|group, _| verifier.stage.replicas.replica(*group).is_some());
        again.retain(|group, _| turns.contains_key(group));
    }
}

fn has_others(verifier: &Verifier, group: GroupId) -> bool {
    let map = verifier.stage.map();
    map.and_then(|map| map.members(group).map(|members| members.replicas.len())).is_some_and(|count| count > 1)
}

/// The number of the turn that a group has at this time.
fn turn(group: GroupId, now: UnixMs, period: Duration) -> u64 {
    let period = period.as_millis() as u64;
    // Spreads groups over the period, whatever their numbers have in common.
    let spread = u64::from(group.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    (now.0.max(0) as u64 + spread % period) / period
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_one_turn_in_a_period_and_not_all_at_once() {
        let period = Duration::from_secs(86400);
        let (start, end) = (UnixMs(1_700_000_000_000), UnixMs(1_700_086_400_000));
        let groups = (1..200).map(GroupId);
        assert!(groups.clone().all(|group| turn(group, end, period) == turn(group, start, period) + 1));
        let half = UnixMs(i64::midpoint(start.0, end.0));
        let early = groups.filter(|group| turn(*group, half, period) != turn(*group, start, period)).count();
        assert!((60..140).contains(&early), "{early} of 199 in the first half");
    }
}
