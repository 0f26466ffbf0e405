//! Groups of several replicas with their threads, in one process: what the simulation of cores cannot see.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use basalt_storage::clock::UnixMs;
use parking_lot::{Condvar, Mutex};

use super::core::BOOTSTRAP;
use super::log::{Durability, LogWrite};
use super::memory_log::MemoryLog;
use super::state::LogState;
use super::tests::Contents;
use super::*;

/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that threads wait for.
#[derive(Default)]
struct Bell {
    rung: Mutex<u64>,
    change: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock() += 1;
        self.change.notify_all();
    }

    /// Looks again whenever something has happened, and now and then, because time is a condition as well.
    fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what} did not happen");
            let mut rung = self.rung.lock();
            self.change.wait_for(&mut rung, Duration::from_millis(20));
        }
    }
}

struct Machine {
    log: Arc<MemoryLog>,
    contents: Arc<Mutex<Contents>>,
    bell: Arc<Bell>,
}

impl StateMachine for Machine {
    fn applied(&self) -> LogIndex {
        self.contents.lock().index
    }

    fn saved(&self) -> LogIndex {
        self.applied()
    }

    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), ApplyError> {
        let mut contents = self.contents.lock();
        let first = entries.first().map(|entry| entry.index);
        assert!(first.is_none_or(|first| first == contents.index.max(BOOTSTRAP.index).next()), "there is a gap");
        contents.apply(entries);
        self.bell.ring();
        Ok(())
    }

    fn export(
        &self,
        begin: &mut dyn FnMut(LogIndex),
        sink: &mut dyn FnMut(Vec<u8>) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let Contents { index, texts } = self.contents.lock().clone();
        begin(index);
        texts.into_iter().try_for_each(|text| sink(text.into_bytes()))
    }

    fn import(&self) -> Result<Box<dyn SnapshotSink>, ApplyError> {
        let (log, contents) = (self.log.clone(), self.contents.clone());
        Ok(Box::new(Import { log, contents, texts: Vec::new(), is_complete: false }))
    }
}

struct Import {
    log: Arc<MemoryLog>,
    contents: Arc<Mutex<Contents>>,
    texts: Vec<String>,
    is_complete: bool,
}

impl SnapshotSink for Import {
    fn add(&mut self, chunk: &[u8]) -> Result<(), ApplyError> {
        self.texts.push(String::from_utf8(chunk.to_vec()).unwrap());
        Ok(())
    }

    fn complete(&mut self) -> Result<(), ApplyError> {
        self.is_complete = true;
        Ok(())
    }

    fn install(self: Box<Self>, state: &LogState) -> Result<(), ApplyError> {
        assert!(self.is_complete);
        *self.contents.lock() = Contents { index: state.truncated.index, texts: self.texts };
        let all = Some(0..u64::from(u16::MAX));
        let write = LogWrite { delete_tail: all, state: Some(state.clone()), entries: Vec::new() };
        self.log.write(&write, Durability::Synced).map_err(|error| ApplyError(Box::new(error)))
    }
}

struct Told(Arc<Bell>);

impl Observer for Told {
    fn committed(&self, _up_to: Seq) {
        self.0.ring();
    }

    fn applied(&self, _up_to: Seq) {
        self.0.ring();
    }

    fn unknown(&self, _batches: std::ops::RangeInclusive<Seq>) {
        self.0.ring();
    }

    fn role_changed(&self, _role: Role) {
        self.0.ring();
    }

    fn lease_renewed(&self) {
        self.0.ring();
    }

    fn proven(&self) {
        self.0.ring();
    }
}

/// Connects the groups of a test. A replica that is taken out is cut off.
#[derive(Default)]
struct Wires {
    groups: Mutex<BTreeMap<ReplicaId, Weak<Group>>>,
}

impl Wires {
    fn group(&self, replica: ReplicaId) -> Option<Arc<Group>> {
        self.groups.lock().get(&replica).and_then(Weak::upgrade)
    }
}

struct Wire(Arc<Wires>);

impl Transport for Wire {
    fn send(&self, _group: GroupId, message: PeerMessage) {
        let is_connected = self.0.groups.lock().contains_key(&message.from());
        if let Some(group) = self.0.group(message.to()).filter(|_| is_connected) {
            group.receive(&message.encode());
        }
    }

    fn ship(&self, _group: GroupId, shipment: Shipment) {
        let wires = self.0.clone();
        std::thread::spawn(move || {
            let mut pieces = Vec::new();
            let exported = shipment.export(&mut |piece| {
                pieces.push(piece);
                Ok(())
            });
            let delivery = exported.ok().and_then(|()| {
                let mut installation = wires.group(shipment.to())?.begin_install(&pieces[0]).ok()?;
                pieces[1..].iter().for_each(|piece| installation.add(piece).unwrap());
                installation.finish().ok()
            });
            shipment.finish(delivery.unwrap_or(Delivery::Failed));
        });
    }
}

#[derive(Clone)]
struct Replica {
    group: Arc<Group>,
    contents: Arc<Mutex<Contents>>,
}

impl Replica {
    fn texts(&self) -> Vec<String> {
        self.contents.lock().texts.clone()
    }
}

#[derive(Default)]
struct Cluster {
    wires: Arc<Wires>,
    bell: Arc<Bell>,
    replicas: BTreeMap<ReplicaId, Replica>,
}

impl Cluster {
    fn of(count: u64) -> Cluster {
        let mut cluster = Cluster::default();
        let voters: Vec<_> = (1..=count).map(ReplicaId).collect();
        for me in voters.clone() {
            cluster.start(me, Start::Found { voters: voters.clone() });
        }
        cluster
    }

    fn start(&mut self, me: ReplicaId, start: Start) {
        let log = Arc::new(MemoryLog::new());
        let contents = Arc::<Mutex<Contents>>::default();
        let machine = Arc::new(Machine { log: log.clone(), contents: contents.clone(), bell: self.bell.clone() });
        let transport = Arc::new(Wire(self.wires.clone()));
        let options = GroupOptions { me, start, transport, log_bytes_max: 4 << 10, ..GroupOptions::alone(GroupId(7)) };
        let told = Arc::new(Told(self.bell.clone()));
        let group = Group::start(options, log, machine, told, Arc::new(|| UnixMs(1000))).unwrap();
        self.wires.groups.lock().insert(me, Arc::downgrade(&group));
        self.replicas.insert(me, Replica { group, contents });
    }

    /// Waits for one that serves.
    fn leader(&self) -> (ReplicaId, Replica) {
        let mut found = None;
        self.bell.wait_until("an election", || {
            let serving = self.replicas.iter().find(|(_, replica)| replica.group.role().serves());
            found = serving.map(|(id, replica)| (*id, replica.clone()));
            found.is_some()
        });
        found.unwrap()
    }

    fn propose(&self, texts: &[&str]) {
        let (_, leader) = self.leader();
        let seqs: Vec<Seq> = texts.iter().map(|text| leader.group.propose(text.as_bytes()).unwrap()).collect();
        leader.group.wait_applied(*seqs.last().unwrap()).unwrap();
    }

    fn wait_all_have(&self, texts: &[&str]) {
        self.bell.wait_until("replication", || self.replicas.values().all(|replica| replica.texts() == texts));
    }

    fn desire(&self, desired: &[(u64, Desired)]) {
        let desired: Vec<_> = desired.iter().map(|(id, wanted)| (ReplicaId(*id), *wanted)).collect();
        self.replicas.values().for_each(|replica| replica.group.set_desired(desired.clone()));
    }

    fn wait_voters(&self, voters: &[u64]) {
        self.bell.wait_until("the change of members", || {
            let (_, leader) = self.leader();
            let replicas = leader.group.replicas();
            let votes: Vec<u64> = replicas.iter().filter(|one| one.votes).map(|one| one.replica.0).collect();
            votes == voters && replicas.len() == voters.len()
        });
    }
}

#[test]
fn what_the_leader_commits_reaches_all_and_outlives_the_leader() {
    let mut cluster = Cluster::of(3);
    cluster.propose(&["a", "b"]);
    cluster.wait_all_have(&["a", "b"]);
    let (leader, _) = cluster.leader();
    cluster.wires.groups.lock().remove(&leader);
    cluster.replicas.remove(&leader);
    cluster.propose(&["c"]);
    cluster.wait_all_have(&["a", "b", "c"]);
}

#[test]
fn a_leader_has_a_lease_while_somebody_asks() {
    let cluster = Cluster::of(3);
    let (_, leader) = cluster.leader();
    cluster.bell.wait_until("a lease", || leader.group.lease_valid(Instant::now()));
    // By itself it ends.
    assert!(!leader.group.lease_valid(Instant::now() + Duration::from_secs(1)));
    let mut others = cluster.replicas.values().filter(|replica| !replica.group.role().serves());
    assert!(others.all(|replica| !replica.group.lease_valid(Instant::now())));
}

#[test]
fn a_follower_learns_since_when_its_state_is_current_and_not_without_a_majority() {
    let mut cluster = Cluster::of(3);
    cluster.propose(&["a"]);
    let (leader, _) = cluster.leader();
    let asker = ReplicaId(leader.0 % 3 + 1);
    let asker = cluster.replicas[&asker].clone();
    let since = |asker: &Replica| asker.group.fresh_since(asker.contents.lock().index);
    assert_eq!(since(&asker), None, "nobody has asked");
    let asked = Instant::now();
    cluster.bell.wait_until("proof", || {
        asker.group.prove();
        since(&asker).is_some_and(|since| since >= asked)
    });
    assert_eq!(asker.texts(), ["a"], "what was committed when it asked is applied");

    cluster.wires.groups.lock().retain(|id, _| *id == asker.group.me());
    let cut = Instant::now();
    cluster.replicas.retain(|id, _| *id == asker.group.me());
    asker.group.prove();
    // By then it knows that it has no leader.
    cluster.bell.wait_until("an election that fails", || !asker.group.role().knows_leader());
    asker.group.prove();
    assert!(since(&asker).is_none_or(|since| since < cut));
}

#[test]
fn the_lead_is_handed_over() {
    let cluster = Cluster::of(3);
    cluster.propose(&["a"]);
    cluster.wait_all_have(&["a"]);
    let (leader, replica) = cluster.leader();
    let to = ReplicaId(leader.0 % 3 + 1);
    assert_eq!(replica.group.transfer_leadership(leader), Err(TransferRefused::NotAFollower));
    assert_eq!(cluster.replicas[&to].group.transfer_leadership(leader), Err(TransferRefused::NotLeader));
    replica.group.transfer_leadership(to).unwrap();
    cluster.bell.wait_until("the transfer", || cluster.replicas[&to].group.role().serves());
    cluster.propose(&["b"]);
    cluster.wait_all_have(&["a", "b"]);
}

#[test]
fn a_group_grows_and_shrinks_and_newcomers_get_a_snapshot() {
    let mut cluster = Cluster::of(1);
    let texts: Vec<String> = (0..100).map(|count| format!("{count}-{}", "x".repeat(100))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    texts.iter().for_each(|text| cluster.propose(&[text]));
    let (_, first) = cluster.leader();
    assert!(first.group.figures().compactions.load(Relaxed) > 0, "the log has to be cut, or it needs no snapshot");
    cluster.start(ReplicaId(2), Start::Empty);
    cluster.start(ReplicaId(3), Start::Empty);
    cluster.desire(&[(1, Desired::Voter), (2, Desired::Voter), (3, Desired::Voter)]);
    cluster.wait_voters(&[1, 2, 3]);
    cluster.wait_all_have(&texts);
    // The one that leads goes: it has to hand over first.
    let (leader, _) = cluster.leader();
    let stays: Vec<u64> = (1..=3).filter(|id| *id != leader.0).collect();
    cluster.desire(&[(stays[0], Desired::Voter), (stays[1], Desired::Voter)]);
    cluster.wait_voters(&stays);
    cluster.desire(&[(stays[0], Desired::Voter)]);
    cluster.wait_voters(&stays[..1]);
    cluster.propose(&["the end"]);
    let (last, replica) = cluster.leader();
    assert_eq!((last.0, replica.texts().len()), (stays[0], texts.len() + 1));
}
