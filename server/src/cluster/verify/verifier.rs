//! The leader's part: it has the replicas of a group compared, and says what came of it.

use super::figures::{Extent, Figures};
use super::report::{Report, Verdict};
use super::wire::{Found, Outcome, Question};
use super::{Digests, schedule};
use crate::cluster::migration::ground::Reigning;
use crate::cluster::migration::{Hitch, Reign};
use crate::cluster::stage::Stage;
use crate::durability::replicas::DB;
use crate::server::Server;
use basalt_cluster::ids::{GroupId, NodeId, ReplicaId};
use basalt_cluster::map::SlotRange;
use basalt_storage::effect::Check;
use basalt_storage::engine::Engine;
use basalt_storage::rng::Rng;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// A portion of slots has about so many entries.
const PORTION_ENTRIES: u64 = 2_000_000;

/// Between two rounds of questions, at first and in the end.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(2);

/// When the leader's own replica is done, the others may take so much longer to apply the check, and to read: as long
/// as it took here, several times over.
const APPLYING_MAX: Duration = Duration::from_secs(10);
const READING_MIN: Duration = Duration::from_secs(60);
const READING_FACTOR: u32 = 4;

pub struct Verifier {
    pub(super) server: Weak<Server>,
    pub(super) stage: Arc<Stage>,
    pub figures: Figures,
    /// Held by whoever leads a check.
    one_at_a_time: Mutex<()>,
}

/// A replica that is asked.
struct Member {
    node: NodeId,
    replica: ReplicaId,
    last: Outcome,
    /// Why it was not asked successfully.
    hitch: Option<String>,
}

impl Verifier {
    /// Starts the thread that compares now and then; it ends with the process.
    pub fn start(server: &Arc<Server>, stage: &Arc<Stage>) -> std::io::Result<Arc<Verifier>> {
        let verifier = Arc::new(Verifier {
            server: Arc::downgrade(server),
            stage: stage.clone(),
            figures: Figures::default(),
            one_at_a_time: Mutex::new(()),
        });
        let own = verifier.clone();
        std::thread::Builder::new().name("cluster-verify".into()).spawn(move || schedule::run(&own))?;
        Ok(verifier)
    }

    pub fn digests(&self) -> &Digests {
        &self.stage.digests
    }

    /// What another node asks. Blocks.
    pub fn answer(&self, question: &[u8]) -> Result<Vec<u8>, String> {
        match Question::decode(question).map_err(|malformed| malformed.to_string())? {
            Question::Digest { group, replica, check } => Ok(self.digests().outcome(group, replica, &check).encode()),
            Question::Verify { group, slots } => Ok(self.verify(group, slots).encode()),
        }
    }

    /// Compares the replicas of a group that this node leads. Blocks for as long as that takes.
    pub fn verify(&self, group: GroupId, slots: SlotRange) -> Report {
        let _alone = self.one_at_a_time.lock();
        let began = Instant::now();
        let Some(reign) = Reign::of(&self.stage.replicas, group) else {
            return Report::failed(group, "this node does not lead the group");
        };
        let mut report = Report::new(group);
        if let Err(hitch) = self.compare(&reign, slots, &mut report) {
            report.failure = Some(hitch.to_string());
        }
        report.took = began.elapsed();
        let extent = if slots == SlotRange::all() { Extent::All } else { Extent::Some };
        if let Some(server) = self.server.upgrade() {
            self.figures.note(&report, extent, server.now());
        }
        tell(&report);
        report
    }

    fn compare(&self, reign: &Reign, slots: SlotRange, report: &mut Report) -> Result<(), Hitch> {
        let group = reign.replica.id();
        let (Some(node), Some(map)) = (self.stage.node(), self.stage.map()) else {
            return Err(Hitch::new("this node is leaving the cluster"));
        };
        let me = node.id();
        report.leader = Some(me);
        let members = map.members(group).ok_or_else(|| Hitch::new("the group is in no map"))?;
        let others = members.replicas.iter().filter(|member| member.node != me);
        let mut members: Vec<(NodeId, ReplicaId)> = vec![(me, reign.replica.me())];
        members.extend(others.map(|member| (member.node, member.id)));
        report.compared = members.iter().map(|(node, _)| *node).collect();
        // In cache mode there is one copy, and no engine.
        let portions = reign.replica.engine().map(|engine| portions(&engine, slots)).unwrap_or_default();
        for portion in portions {
            // Nothing is read for nobody to compare it with.
            if report.compared.len() < 2 {
                break;
            }
            let check = Check { id: Rng::from_entropy().next_u64(), slots: portion.first()..=portion.last() };
            let seq = reign.propose(check.batch())?;
            reign.wait_applied(seq)?;
            let asked = members.iter().filter(|(node, _)| report.compared.contains(node));
            let asked = asked.map(|&(node, replica)| Member { node, replica, last: Outcome::Unknown, hitch: None });
            let mut asked: Vec<Member> = asked.collect();
            self.ask_all(reign, &check, &mut asked, |member| {
                let question = Question::Digest { group, replica: member.replica, check: check.clone() };
                let answer = node.ask(member.node, question.encode(), QUESTION)?;
                Outcome::decode(&answer).map_err(|malformed| malformed.to_string())
            })?;
            let mut found: Vec<(NodeId, Found)> = Vec::new();
            for member in asked {
                let node = member.node;
                let applied = found.first().map(|(_, own)| own.applied);
                match (member.found(), applied) {
                    (Ok(one), None) => found.push((node, one)),
                    (Ok(one), Some(applied)) if one.applied == applied => found.push((node, one)),
                    (Ok(_), Some(_)) => report.miss(node, "it has compared at another entry".to_owned()),
                    // The first one: without it there is nothing to compare with.
                    (Err(why), None) => return Err(Hitch::new(why)),
                    (Err(why), Some(_)) => report.miss(node, why),
                }
            }
            report.add(&found);
        }
        Ok(())
    }

    /// Asks the members, this node being the first, until all have found something or it makes no sense to go on.
    fn ask_all(
        &self,
        reign: &Reign,
        check: &Check,
        members: &mut [Member],
        ask: impl Fn(&Member) -> Result<Outcome, String>,
    ) -> Result<(), Hitch> {
        let (group, began) = (reign.replica.id(), Instant::now());
        let mut own_done: Option<Instant> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            if !reign.lasts() {
                return Err(Hitch::new("this node does not lead the group any more"));
            }
            let mut has_open = false;
            for (at, member) in members.iter_mut().enumerate() {
                if member.is_done() {
                    continue;
                }
                let answer = match at {
                    0 => Ok(self.digests().outcome(group, member.replica, check)),
                    _ => ask(member),
                };
                match answer {
                    Ok(outcome) => (member.last, member.hitch) = (outcome, None),
                    Err(why) => member.hitch = Some(why),
                }
                if at == 0 && member.last == Outcome::Unknown {
                    return Err(Hitch::new("this node could not begin to read its own replica"));
                }
                if at == 0 && member.is_done() {
                    own_done = Some(Instant::now());
                }
                let waits_until = own_done.map(|done| done + member.patience(done - began));
                has_open |= !member.is_done() && waits_until.is_none_or(|until| Instant::now() < until);
            }
            if !has_open {
                return Ok(());
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(LAST_PAUSE);
        }
    }
}

impl Member {
    fn is_done(&self) -> bool {
        matches!(self.last, Outcome::Found(_) | Outcome::Failed(_))
    }

    /// For how much longer than the leader it may take, which took so long itself.
    fn patience(&self, own: Duration) -> Duration {
        match self.last {
            Outcome::Pending if self.hitch.is_none() => (READING_FACTOR * own).max(READING_MIN),
            _ => APPLYING_MAX,
        }
    }

    fn found(self) -> Result<Found, String> {
        match (self.last, self.hitch) {
            (Outcome::Found(found), _) => Ok(found),
            (_, Some(hitch)) => Err(hitch),
            (Outcome::Failed(why), None) => Err(why),
            (Outcome::Unknown, None) => Err("it has not applied the check in time".to_owned()),
            (Outcome::Pending, None) => Err("it has not read its data in time".to_owned()),
        }
    }
}

/// Portions of the slots with about as many entries each, as there are now.
fn portions(engine: &Engine, slots: SlotRange) -> Vec<SlotRange> {
    divided(slots, |slot| engine.counts(DB, slot).entries)
}

fn divided(slots: SlotRange, entries: impl Fn(basalt_cluster::Slot) -> u64) -> Vec<SlotRange> {
    let (mut portions, mut first, mut count) = (Vec::new(), slots.first(), 0);
    let mut last = first;
    for slot in slots.slots() {
        let of_slot = entries(slot);
        if count > 0 && count + of_slot > PORTION_ENTRIES {
            portions.extend(SlotRange::new(first, last));
            (first, count) = (slot, 0);
        }
        count += of_slot;
        last = slot;
    }
    portions.extend(SlotRange::new(first, last));
    portions
}

/// Says in the log what came of a check.
fn tell(report: &Report) {
    let names = |nodes: &[NodeId]| nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" ");
    let missing = || report.missing.iter().map(|(node, why)| format!("{node}: {why}")).collect::<Vec<_>>().join("; ");
    let (group, applied, seconds) = (report.group, report.applied.0, report.took.as_secs_f64());
    match report.verdict() {
        Verdict::Equal => tracing::info!(
            %group, applied, seconds, bytes = report.bytes, replicas = report.compared.len(), "replicas are equal"
        ),
        Verdict::Different => {
            for (node, difference) in &report.differences {
                tracing::error!(
                    %group,
                    applied,
                    replica_on = %node,
                    slots = difference.text(),
                    compared = names(&report.compared),
                    "REPLICAS DIFFER: this one has other data than the others have at the same place of the log"
                );
            }
        }
        Verdict::Incomplete => {
            tracing::warn!(%group, applied, missing = missing(), "replicas were not compared; the others are equal");
        }
        Verdict::Alone => {}
        Verdict::Failed => {
            let why = report.failure.as_deref().unwrap_or_default();
            tracing::warn!(%group, why, "replicas were not compared");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_cover_all_slots_and_are_no_larger_than_need_be() {
        let all = SlotRange::all();
        assert_eq!(divided(all, |_| 1), [all]);
        let one_each = divided(all, |_| PORTION_ENTRIES);
        assert_eq!(one_each.len(), all.count());
        let some = divided(all, |slot| if slot.number() < 10 { PORTION_ENTRIES / 2 } else { 0 });
        assert_eq!(some.len(), 5);
        assert!(some.windows(2).all(|pair| pair[0].last().number() + 1 == pair[1].first().number()));
        assert_eq!((some[0].first(), some[4].last()), (all.first(), all.last()));
        let single = SlotRange::one(all.last());
        assert_eq!(divided(single, |_| 3 * PORTION_ENTRIES), [single]);
    }
}
