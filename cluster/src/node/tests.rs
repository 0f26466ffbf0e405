//! Several nodes in one process, over loopback, with real databases and groups whose data is a list of texts.

use super::wire::Answer;
use super::*;
use crate::group::state::LogState;
use crate::group::{
    self, ApplyError, CommittedEntry, Group, GroupOptions, LogIndex, Observer, Role, SnapshotSink, StateMachine,
};
use crate::ids::{GroupId, NodeId};
use crate::map::{Address, Change, ClusterMap, Members, Mode, Settings, SlotRange};
use crate::peer::Timing;
use basalt_storage::clock::UnixMs;
use basalt_storage::engine::{Rocks, RocksOptions};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// How long anything may take. Nothing should come near it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says again and again what is asked, until it is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let (lock, never) = (Mutex::new(()), Condvar::new());
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not after {PATIENCE:?}");
        // There is no one event that all of these conditions follow from.
        never.wait_for(&mut lock.lock(), Duration::from_millis(5));
    }
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("basalt-node-{}-{number}", std::process::id()));
        // Left over from a run with the same process id.
        let _ = std::fs::remove_dir_all(&path);
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A list of texts, kept as one document.
struct ListMachine {
    place: Arc<Place>,
    state: Mutex<(LogIndex, Vec<String>)>,
}

impl ListMachine {
    fn open(place: Arc<Place>) -> ListMachine {
        let found = place.rocks().document(place.store()).unwrap();
        let state = found.map_or((LogIndex(0), Vec::new()), |(index, bytes)| (index, lines(&bytes)));
        ListMachine { place, state: Mutex::new(state) }
    }
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

/// As the group sees it.
struct Data(Arc<ListMachine>);

impl StateMachine for Data {
    fn applied(&self) -> LogIndex {
        self.0.state.lock().0
    }

    fn saved(&self) -> LogIndex {
        self.applied()
    }

    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), ApplyError> {
        let mut state = self.0.state.lock();
        for entry in entries {
            state.0 = entry.index;
            state.1.extend(entry.batches().flat_map(lines));
        }
        let place = &self.0.place;
        place.rocks().put_document(place.store(), state.0, state.1.join("\n").as_bytes()).unwrap();
        Ok(())
    }

    fn export(
        &self,
        begin: &mut dyn FnMut(LogIndex),
        sink: &mut dyn FnMut(Vec<u8>) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let state = self.0.state.lock().clone();
        begin(state.0);
        sink([&state.0.0.to_be_bytes(), state.1.join("\n").as_bytes()].concat())
    }

    fn import(&self) -> Result<Box<dyn SnapshotSink>, ApplyError> {
        Ok(Box::new(Import { machine: self.0.clone(), copy: Vec::new() }))
    }
}

struct Import {
    machine: Arc<ListMachine>,
    copy: Vec<u8>,
}

impl SnapshotSink for Import {
    fn add(&mut self, chunk: &[u8]) -> Result<(), ApplyError> {
        self.copy.extend_from_slice(chunk);
        Ok(())
    }

    fn complete(&mut self) -> Result<(), ApplyError> {
        Ok(())
    }

    fn install(self: Box<Self>, state: &LogState) -> Result<(), ApplyError> {
        let (index, text) = self.copy.split_first_chunk().unwrap();
        let index = LogIndex(u64::from_be_bytes(*index));
        let place = &self.machine.place;
        let store = place.rocks().new_store().unwrap();
        place.rocks().put_document(store, index, text).unwrap();
        place.move_to(store, state).unwrap();
        *self.machine.state.lock() = (index, lines(text));
        Ok(())
    }
}

/// What a group has that has nothing.
#[derive(Default)]
struct Nothing(AtomicU64);

impl StateMachine for Nothing {
    fn applied(&self) -> LogIndex {
        LogIndex(self.0.load(Ordering::Relaxed))
    }

    fn saved(&self) -> LogIndex {
        self.applied()
    }

    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), ApplyError> {
        entries.last().into_iter().for_each(|last| self.0.store(last.index.0, Ordering::Relaxed));
        Ok(())
    }
}

/// The front end of a node.
#[derive(Default)]
struct Front {
    node: OnceLock<Weak<Node>>,
    machines: Mutex<HashMap<GroupId, Arc<ListMachine>>>,
}

struct Watcher(Weak<Front>);

impl Observer for Watcher {
    fn committed(&self, _: group::Seq) {}

    fn applied(&self, _: group::Seq) {}

    fn unknown(&self, _: RangeInclusive<group::Seq>) {}

    fn role_changed(&self, _: Role) {
        let front = self.0.upgrade();
        if let Some(node) = front.and_then(|front| front.node.get().and_then(Weak::upgrade)) {
            node.note_role();
        }
    }
}

struct FrontStage(Arc<Front>);

impl Stage for FrontStage {
    fn host(&self, hosting: Hosting) -> Result<Arc<Group>, group::StartError> {
        let Hosting { group, replica, medium, start, transport } = hosting;
        let options = GroupOptions { me: replica, start, transport, ..GroupOptions::alone(group) };
        let observer = Arc::new(Watcher(Arc::downgrade(&self.0)));
        let clock = Arc::new(|| UnixMs(0));
        match medium {
            Medium::Disk(place) => {
                let machine = Arc::new(ListMachine::open(place.clone()));
                self.0.machines.lock().insert(group, machine.clone());
                Group::start(options, place, Arc::new(Data(machine)), observer, clock)
            }
            Medium::Memory(log) => Group::start(options, log, Arc::new(Nothing::default()), observer, clock),
        }
    }

    fn unhost(&self, group: GroupId) {
        self.0.machines.lock().remove(&group);
    }

    fn map_changed(&self, _: &Arc<ClusterMap>) {}
}

/// A node with all that belongs to it.
struct TestNode {
    node: Arc<Node>,
    front: Arc<Front>,
    listens: SocketAddr,
    rocks: Arc<Rocks>,
}

impl TestNode {
    fn start(directory: &Directory, join: &[&TestNode]) -> TestNode {
        let seeds: Vec<SocketAddr> = join.iter().map(|other| other.listens).collect();
        TestNode::start_with(directory, |_| (!seeds.is_empty()).then(|| -> Seeds { Arc::new(move || seeds.clone()) }))
    }

    /// `seeds` is told where the node listens.
    fn start_with(directory: &Directory, seeds: impl FnOnce(SocketAddr) -> Option<Seeds>) -> TestNode {
        TestNode::start_in(Mode::Durable, directory, seeds).unwrap()
    }

    fn start_in(
        mode: Mode,
        directory: &Directory,
        seeds: impl FnOnce(SocketAddr) -> Option<Seeds>,
    ) -> Result<TestNode, NodeError> {
        let options = RocksOptions { memory_bytes: 16 << 20, ..RocksOptions::default() };
        let rocks = Rocks::open(&directory.0, &options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listens = listener.local_addr().unwrap();
        let address = Address {
            ip: listens.ip(),
            port: listens.port() - 1,
            tls_port: None,
            peer_port: listens.port(),
            hostname: String::new(),
        };
        let front = Arc::new(Front::default());
        let options = NodeOptions {
            address,
            zone: String::new(),
            name: None,
            mode,
            settings: Settings { node_timeout_ms: 1000, replicas: 2, ..Settings::default() },
            listeners: vec![listener],
            timing: Timing::default(),
            secret: None,
            tls: None,
            join: seeds(listens),
            clock: Arc::new(|| UnixMs(0)),
        };
        let node = Node::start(&rocks, options, Arc::new(FrontStage(front.clone())))?;
        front.node.set(Arc::downgrade(&node)).unwrap();
        Ok(TestNode { node, front, listens, rocks })
    }

    fn id(&self) -> NodeId {
        self.node.id()
    }

    fn home(&self) -> GroupId {
        self.node.map().node(self.id()).unwrap().home
    }

    fn decide(&self, change: Change) {
        let decision = self.node.decide(change);
        assert!(matches!(decision, Decision::Made(_)), "{decision:?}");
    }

    fn members(&self, group: GroupId) -> Members {
        self.node.map().members(group).unwrap().clone()
    }

    fn leads(&self, group: GroupId) -> bool {
        self.node.hosted().of(group).is_some_and(|hosted| hosted.group.role().serves())
    }

    fn lines(&self, group: GroupId) -> Vec<String> {
        self.front.machines.lock().get(&group).map(|machine| machine.state.lock().1.clone()).unwrap_or_default()
    }

    /// Appends to a group that this node leads.
    fn append(&self, group: GroupId, text: &str) {
        let hosted = self.node.hosted().of(group).unwrap();
        hosted.group.propose(text.as_bytes()).unwrap();
        until("an append is applied", || self.lines(group).last().is_some_and(|last| last == text));
    }

    /// Ends it as a crash would: nothing is handed over.
    fn stop(self) {
        self.node.stop();
        for (_, hosted) in self.node.hosted().all() {
            hosted.group.stop();
        }
        self.front.machines.lock().clear();
        let TestNode { node, front, rocks, .. } = self;
        until("nobody uses the node any more", || Arc::strong_count(&node) == 1);
        drop((node, front));
        until("nobody uses the database any more", || Arc::strong_count(&rocks) == 1);
    }
}

fn all_slots_to(node: &TestNode) -> Change {
    Change::AssignSlots { node: node.id(), slots: vec![SlotRange::all()] }
}

#[test]
fn a_node_alone_is_a_cluster_and_stays_the_same_over_restarts() {
    let directory = Directory::new();
    let first = TestNode::start(&directory, &[]);
    first.decide(all_slots_to(&first));
    let again = first.node.decide(all_slots_to(&first));
    assert_eq!(again, Decision::Refused("Slot 0 is already busy".into()));
    let (id, home) = (first.id(), first.home());
    first.append(home, "one");
    let before = first.node.map();
    first.stop();
    let second = TestNode::start(&directory, &[]);
    assert_eq!((second.id(), second.home()), (id, home));
    assert_eq!(second.lines(home), ["one"]);
    assert_eq!(second.node.map().slots().count(home), 16384);
    until("it is registered where it is now", || {
        let map = second.node.map();
        let known = map.node(id).unwrap();
        known.incarnation > before.node(id).unwrap().incarnation && known.address.peer_port == second.listens.port()
    });
    second.stop();
}

/// What was in memory is gone, and nobody comes back under the number of a replica that had it.
#[test]
fn in_cache_mode_a_group_begins_anew_with_each_start() {
    let directory = Directory::new();
    let start = || TestNode::start_in(Mode::Cache, &directory, |_| None).unwrap();
    let first = start();
    let home = first.home();
    assert!(first.leads(home), "it is served when it has started");
    first.decide(all_slots_to(&first));
    first.stop();
    for replica in [2, 3] {
        let again = start();
        assert_eq!(again.home(), home);
        until("its group begins anew", || again.leads(home));
        let members = again.members(home);
        let numbers: Vec<u64> = members.replicas.iter().map(|there| there.id.0).collect();
        assert_eq!(numbers, [replica]);
        assert_eq!(again.node.map().slots().count(home), 16384);
        until("it is counted", || again.node.emptied().by_restart.load(Ordering::Relaxed) == 16384);
        again.stop();
    }
    let other = TestNode::start_in(Mode::Durable, &directory, |_| None);
    assert!(matches!(other, Err(NodeError::OtherMode { there: Mode::Cache })));
}

#[test]
fn a_decision_is_not_made_by_a_replica_that_is_stopping() {
    let directory = Directory::new();
    let node = TestNode::start(&directory, &[]);
    // As when the node joins another cluster while one of its threads is about to report something.
    node.node.root().unwrap().group.stop();
    assert_eq!(node.node.decide_here(all_slots_to(&node)), Answer::NotLeader(None));
    node.stop();
}

#[test]
fn nodes_join_by_being_told_of_one_and_all_know_what_is_decided() {
    let directories: Vec<Directory> = (0..3).map(|_| Directory::new()).collect();
    let a = TestNode::start(&directories[0], &[]);
    a.decide(all_slots_to(&a));
    let b = TestNode::start(&directories[1], &[&a]);
    let c = TestNode::start(&directories[2], &[&b, &a]);
    for node in [&a, &b, &c] {
        until("all know all", || node.node.map().member_count() == 3);
        assert_eq!(node.node.map().cluster_id(), a.node.map().cluster_id());
    }
    // What one has been told is decided, the others come to know, whoever has asked: usually they do already, but who
    // is silent for long is not waited for.
    let slots = SlotRange::of_slots((0..100).filter_map(crate::Slot::new));
    c.decide(Change::UnassignSlots { node: a.id(), slots: slots.clone() });
    for node in [&a, &b, &c] {
        until("it is known", || node.node.map().slots().assigned() == 16284);
    }
    b.decide(Change::AssignSlots { node: b.id(), slots });
    for node in [&a, &b, &c] {
        until("it is known", || node.node.map().slots().count(b.home()) == 100);
    }
    // Meeting somebody who is there already, or oneself, is no error.
    b.node.meet(a.listens).unwrap();
    b.node.meet(b.listens).unwrap();
    let id = c.id();
    // With two voters it could not do without one.
    until("each is a voter of the root", || {
        let map = a.node.map();
        map.root().members.replicas.len() == 3 && map.root().members.is_settled()
    });
    c.stop();
    until("it counts as failed", || !a.node.map().node(id).unwrap().is_up());
    let c = TestNode::start(&directories[2], &[]);
    assert_eq!(c.id(), id);
    until("it is up again", || a.node.map().node(id).unwrap().is_up());
    until("it knows what the others know", || c.node.map().slots().count(b.home()) == 100);
    [a, b, c].into_iter().for_each(TestNode::stop);
}

#[test]
fn names_of_nodes_to_join_are_looked_up_again_and_may_be_ones_own() {
    let directories: Vec<Directory> = (0..2).map(|_| Directory::new()).collect();
    let a = TestNode::start(&directories[0], &[]);
    let (known, asked) = (a.listens, AtomicU32::new(0));
    let b = TestNode::start_with(&directories[1], |own| {
        // As names of pods that start together: at first there is nobody, then only the node itself.
        Some(Arc::new(move || match asked.fetch_add(1, Ordering::SeqCst) {
            0 => vec![],
            1 => vec![own],
            _ => vec![known, own],
        }))
    });
    until("they are one cluster", || b.node.map().member_count() == 2);
    assert_eq!(b.node.map().cluster_id(), a.node.map().cluster_id());
    [a, b].into_iter().for_each(TestNode::stop);
}

#[test]
fn nodes_that_are_told_the_same_names_at_once_become_one_cluster() {
    let directories: Vec<Directory> = (0..5).map(|_| Directory::new()).collect();
    let (names, all_are_here) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU32::new(0)));
    let start = |directory| {
        TestNode::start_with(directory, |own| {
            names.lock().push(own);
            let (names, all_are_here) = (names.clone(), all_are_here.clone());
            // Two of them are not named, like those that come when a cluster grows.
            let named = move || names.lock().iter().take(3).copied().collect();
            Some(Arc::new(move || if all_are_here.load(Ordering::SeqCst) == 1 { named() } else { vec![] }))
        })
    };
    let nodes: Vec<TestNode> = directories.iter().map(start).collect();
    all_are_here.store(1, Ordering::SeqCst);
    for node in &nodes {
        until("all are in one cluster", || node.node.map().member_count() == 5);
    }
    nodes.into_iter().for_each(TestNode::stop);
}

#[test]
fn a_node_meets_one_that_is_alone_and_refuses_another_cluster() {
    let directories: Vec<Directory> = (0..4).map(|_| Directory::new()).collect();
    let [a, b, c, d] = [0, 1, 2, 3].map(|number| TestNode::start(&directories[number], &[]));
    // The one that is told joins the other, if both are alone.
    b.node.meet(a.listens).unwrap();
    assert_eq!(b.node.map().cluster_id(), a.node.map().cluster_id());
    // A cluster asks the one that is alone to come in.
    a.node.meet(c.listens).unwrap();
    until("it has come in", || c.node.map().member_count() == 3);
    let e = Directory::new();
    let e = TestNode::start(&e, &[]);
    d.node.meet(e.listens).unwrap();
    assert!(matches!(d.node.meet(a.listens), Err(MeetError::BothHaveOthers)));
    assert_eq!(a.node.map().member_count(), 3);
    [a, b, c, d, e].into_iter().for_each(TestNode::stop);
}

#[test]
fn groups_and_the_root_outlive_a_node() {
    let directories: Vec<Directory> = (0..3).map(|_| Directory::new()).collect();
    let a = TestNode::start(&directories[0], &[]);
    a.decide(all_slots_to(&a));
    let home = a.home();
    for number in 0..50 {
        a.append(home, &format!("before {number}"));
    }
    let b = TestNode::start(&directories[1], &[&a]);
    let c = TestNode::start(&directories[2], &[&a]);
    until("all are there", || [&a, &b, &c].iter().all(|node| node.node.map().member_count() == 3));
    let root = a.node.map().root().id;
    until("both groups have three voters", || {
        [root, home].iter().all(|group| a.members(*group).is_settled() && a.members(*group).voters().count() == 3)
    });
    a.append(home, "with others");
    until("the others have it", || b.lines(home) == a.lines(home) && c.lines(home) == a.lines(home));
    let lines = a.lines(home);
    let gone = a.id();
    a.stop();
    let leader = || [&b, &c].into_iter().find(|node| node.leads(home));
    until("somebody else leads the group", || leader().is_some());
    let leader = leader().unwrap();
    assert_eq!(leader.lines(home), lines);
    leader.append(home, "after");
    for node in [&b, &c] {
        until("all know who leads", || node.members(home).leader.node == leader.id());
        until("all know that the node has failed", || !node.node.map().node(gone).unwrap().is_up());
    }
    // It comes back as a follower, and learns what it has missed.
    let a = TestNode::start(&directories[0], &[]);
    until("it has what it has missed", || a.lines(home).last().is_some_and(|last| last == "after"));
    until("it is up again", || leader.node.map().node(gone).unwrap().is_up());
    // It is its home group, so it gets it back; and before it stops it gives it away.
    until("it leads again", || a.leads(home));
    a.append(home, "at home");
    a.node.hand_over();
    until("somebody else leads at once", || b.leads(home) || c.leads(home));
    [a, b, c].into_iter().for_each(TestNode::stop);
}
