//! What the parts of a migration make of a map that is not the newest: on a ground that is nothing but a map, what the
//! root group knows of it, and a group's log.

use super::arrival::Arrival;
use super::ground::{Clearing, Copying, Ground, Outgoing, Reigning, Walked};
use super::{Arrivals, Attempt, Figures, Header, Hitch, Opening, part};
use crate::cluster::show::samples;
use crate::durability::tap::Tapped;
use basalt_cluster::group::Term;
use basalt_cluster::ids::{GroupId, MigrationId, NodeId};
use basalt_cluster::map::{Change, ClusterMap, Failure, Job, Migration, MigrationKind, Mode, Side, Wanted};
use basalt_cluster::node::Decision;
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::{Batch, Effect, Mark};
use basalt_storage::seq::Seq;
use basalt_storage::slot::Slot;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

const ID: MigrationId = MigrationId::new([7; MigrationId::BYTES]);
const TARGET: GroupId = GroupId(2);
const AT: UnixMs = UnixMs(1);

/// What stands in the target's log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Done {
    Marked(Mark),
    Unmarked,
    Cleared(Slot),
}

/// A node that leads the target.
#[derive(Clone)]
struct Target(Arc<Inner>);

struct Inner {
    root: Mutex<ClusterMap>,
    known: Mutex<Arc<ClusterMap>>,
    log: Mutex<Vec<Done>>,
    term: Term,
    arrivals: Arrivals,
    figures: Figures,
}

impl Target {
    /// With what the leader before it has left in the log.
    fn new(map: &ClusterMap, log: Vec<Done>, term: u64) -> Target {
        Target(Arc::new(Inner {
            root: Mutex::new(map.clone()),
            known: Mutex::new(Arc::new(map.clone())),
            log: Mutex::new(log),
            term: Term(term),
            arrivals: Arrivals::default(),
            figures: Figures::default(),
        }))
    }

    /// Something is decided of which this node does not hear.
    fn decided_elsewhere(&self, change: &Change) {
        self.0.root.lock().apply(change).expect("the root group allows it");
    }

    fn log(&self) -> Vec<Done> {
        self.0.log.lock().clone()
    }

    fn begin(&self, begun: &Migration, source_term: u64) -> Result<(), Hitch> {
        let attempt = Attempt { begun: begun.changed, term: Term(source_term) };
        Arrival::begin(self, Header { id: ID, opening: Opening::Anew, attempt, target: TARGET }).map(drop)
    }
}

impl Ground for Target {
    type Reign = Target;
    type Source = Nothing;
    type Outgoing = Nothing;

    fn me(&self) -> Option<NodeId> {
        Some(samples::node(2))
    }

    fn map(&self) -> Option<Arc<ClusterMap>> {
        Some(self.0.known.lock().clone())
    }

    fn decide(&self, change: Change) -> Decision {
        let mut root = self.0.root.lock();
        match root.apply(&change) {
            Ok(applied) => {
                *self.0.known.lock() = Arc::new(root.clone());
                Decision::Made(applied)
            }
            Err(why) => Decision::Refused(why.to_string()),
        }
    }

    fn reign(&self, group: GroupId) -> Option<Target> {
        (group == TARGET).then(|| self.clone())
    }

    fn listen(&self, _: &Target, _: &Migration) -> Result<Nothing, Hitch> {
        Err(Hitch::new("nothing leaves here"))
    }

    fn open_stream(&self, _: NodeId, _: &[u8]) -> Result<Nothing, Hitch> {
        Err(Hitch::new("nothing leaves here"))
    }

    fn arrivals(&self) -> &Arrivals {
        &self.0.arrivals
    }

    fn figures(&self) -> &Figures {
        &self.0.figures
    }

    fn seal(&self, _: &Migration) {}

    fn unseal(&self, _: MigrationId) {}

    fn leaving<R>(&self, _: &Migration, body: impl FnOnce() -> R) -> R {
        body()
    }

    fn refresh(&self) {}

    fn outwait_flushes(&self) {}

    fn now(&self) -> UnixMs {
        AT
    }

    fn clock(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) {
        panic!("there is nothing to wait for");
    }
}

impl Reigning for Target {
    fn group(&self) -> GroupId {
        TARGET
    }

    fn term(&self) -> Term {
        self.0.term
    }

    fn lasts(&self) -> bool {
        true
    }

    fn propose(&self, batch: Batch) -> Result<Seq, Hitch> {
        let done = |effect| match effect {
            Effect::Mark(mark) => Done::Marked(mark),
            Effect::Unmark { .. } => Done::Unmarked,
            Effect::Clear { slot, .. } => Done::Cleared(slot),
            _ => panic!("an effect of another kind"),
        };
        self.0.log.lock().extend(batch.into_iter().map(done));
        Ok(Seq(0))
    }

    fn propose_written(&self, _: Vec<u8>) -> Result<Seq, Hitch> {
        Err(Hitch::new("no keys come"))
    }

    fn hurry(&self) {}

    fn wait_applied(&self, _: Seq) -> Result<(), Hitch> {
        Ok(())
    }

    fn marks(&self) -> Vec<Mark> {
        let mark = |done| if let Done::Marked(mark) = done { Some(mark) } else { None };
        self.log().into_iter().filter_map(mark).collect()
    }

    fn has_keys(&self, _: Slot) -> bool {
        true
    }

    fn clearing(&self) -> Clearing {
        Clearing::InPieces
    }

    fn walk(&self, _: Slot, _: u32, _: usize) -> Result<Walked, Hitch> {
        Ok(Walked { keys: 1, next: None })
    }
}

/// What is never there.
enum Nothing {}

impl Copying for Nothing {
    fn copy(&mut self, _: &Migration, _: impl FnMut(Vec<u8>) -> Result<(), Hitch>) -> Result<(), Hitch> {
        match *self {}
    }

    fn next(&self) -> Result<Option<Tapped>, Hitch> {
        match *self {}
    }
}

impl Outgoing for Nothing {
    fn send(&mut self, _: Bytes) -> Result<(), Hitch> {
        match *self {}
    }

    fn finish(self) -> Result<Bytes, Hitch> {
        match self {}
    }

    fn finish_within(self, _: Duration) -> Result<Option<Bytes>, Hitch> {
        match self {}
    }
}

/// A slot is on its way from the first node to the second.
fn copying() -> ClusterMap {
    copying_in(Mode::Durable)
}

fn copying_in(mode: Mode) -> ClusterMap {
    let mut map = samples::cluster_in(mode, 3);
    let [from, to] = [1, 2].map(samples::node);
    let slots = vec![samples::range(0, 0)];
    map.apply(&Change::AssignSlots { node: from, slots: slots.clone() }).expect("it is free");
    let job = Job { id: ID, kind: MigrationKind::FromSource, slots, from: Some(from), to };
    map.apply(&Change::BeginMigrations { jobs: vec![job], at: AT }).expect("it may go");
    map
}

/// Two leaders of the source may both take the same version for theirs; and what the first has sent may arrive when the
/// target has long taken in what the second has, and is led by another: it would clear that away.
#[test]
fn what_has_been_taken_in_is_not_begun_again_by_whom_comes_to_lead() {
    let mut map = copying();
    let begun = map.migrations()[&ID].clone();
    let first = Target::new(&map, Vec::new(), 1);
    assert_eq!(first.begin(&begun, 2), Ok(()));
    let log = first.log();
    assert!(matches!(log[..], [Done::Marked(_), Done::Cleared(_)]), "{log:?}");
    let second = Target::new(&map, log.clone(), 2);
    assert!(second.begin(&begun, 1).is_err());
    assert_eq!(second.log(), log);
    map.apply(&Change::RestartMigration { id: ID, at: AT }).expect("it is not committed");
    let third = Target::new(&map, log, 3);
    assert_eq!(third.begin(&map.migrations()[&ID], 1), Ok(()), "a later version is another copying");
}

#[test]
fn nothing_is_taken_in_by_an_old_map() {
    let map = copying();
    let target = Target::new(&map, Vec::new(), 2);
    target.decided_elsewhere(&Change::RestartMigration { id: ID, at: AT });
    assert!(target.begin(&map.migrations()[&ID], 1).is_err());
    assert_eq!(target.log(), []);
}

#[test]
fn nothing_is_cleared_away_by_an_old_map() {
    let mut map = copying();
    let why = Failure::Cancelled;
    map.apply(&Change::AbortMigration { id: ID, why, at: AT }).expect("it is not committed");
    let changed = map.migrations()[&ID].changed;
    let target = Target::new(&map, Vec::new(), 2);
    // Its predecessor has done all that is to be done, and the slot may have come here in another way since.
    for side in [Side::Source, Side::Target] {
        target.decided_elsewhere(&Change::FinishMigration { id: ID, side, seen: changed, at: AT });
    }
    part::play(&target, ID, Side::Target);
    assert_eq!(target.log(), []);
}

/// A group in memory is not copied while slots arrive, and they do not go on before it is.
#[test]
fn what_has_come_of_slots_goes_if_their_new_group_waits_for_copies() {
    let mut map = copying_in(Mode::Cache);
    let begun = map.migrations()[&ID].clone();
    let target = Target::new(&map, Vec::new(), 1);
    assert_eq!(target.begin(&begun, 1), Ok(()));
    let log = target.log();
    let Done::Marked(mark) = &log[0] else { panic!("{log:?}") };
    part::clear_away(&target, &map, TARGET, mark);
    assert_eq!(target.log(), log, "it has as many copies as there should be");
    for number in [2, 3] {
        let add = Change::AddReplica { group: GroupId(1), node: samples::node(number), wanted: Wanted::Voter };
        map.apply(&add).expect("it has none");
    }
    samples::catch_up(&mut map, GroupId(1));
    let target = Target::new(&map, log.clone(), 1);
    part::clear_away(&target, &map, TARGET, mark);
    assert_eq!(target.log()[log.len()..], [Done::Cleared(samples::slot(0)), Done::Unmarked]);
    let commit = Change::CommitMigration { id: ID, seen: begun.changed, at: AT };
    assert!(matches!(target.decide(commit), Decision::Refused(_)), "what was copied is not there any more");
}
