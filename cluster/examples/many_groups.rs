//! What groups cost that nobody asks anything, three replicas of each: `cargo run -p basalt-cluster --example
//! many_groups [groups with threads] [cores alone]`.
//!
//! First cores alone, on one thread and without a log on disk: what a tick takes a node that leads all its groups, and
//! one that follows in all of them. Then groups with their threads in one process, whose messages are encoded, but pass
//! no network: their CPU time, divided by three, is a node's.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use basalt_cluster::group::core::{Action, Core, CoreOptions, ELECTION_TICKS, TICK};
use basalt_cluster::group::memory_log::MemoryLog;
use basalt_cluster::group::{
    ApplyError, CommittedEntry, Delivery, Fsync, Group, GroupId, GroupOptions, LogIndex, LogStore, Observer,
    PeerMessage, ReplicaId, Seq, Shipment, Start, StateMachine, Transport,
};
use basalt_storage::clock::UnixMs;

const REPLICAS: usize = 3;
/// Ticks over which cores are measured: ten heartbeats of a second each.
const TICKS: u32 = 200;
/// How long groups with threads are measured.
const WINDOW: Duration = Duration::from_secs(20);

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse().expect("a number of groups"));
    let (threaded, alone) = (numbers.next().unwrap_or(64), numbers.next().unwrap_or(1000));
    cores(alone);
    threads(threaded);
}

/// One replica, with a log in memory.
struct Replica {
    core: Core,
    log: Arc<MemoryLog>,
}

impl Replica {
    fn start(me: ReplicaId, seed: u64) -> Replica {
        let voters = (1..=REPLICAS as u64).map(ReplicaId).collect();
        let options = CoreOptions {
            me,
            start: Start::Found { voters },
            fsync: Fsync::Always,
            log_bytes_max: 1 << 20,
            election_ticks: ELECTION_TICKS,
            seed,
        };
        let log = Arc::new(MemoryLog::new());
        let core = Core::start(&options, log.clone(), LogIndex(0)).expect("an empty log is a good one");
        Replica { core, log }
    }

    /// Does what the core asks for; what it sends goes to `outbox`.
    fn perform(&mut self, outbox: &mut VecDeque<PeerMessage>) {
        while let Some(action) = self.core.next_action() {
            match action {
                Action::Send(message) => outbox.push_back(message),
                Action::Write { write, durability, number } => {
                    self.log.write(&write, durability).expect("memory does not fail");
                    self.core.on_written(number);
                }
                Action::Commit { entries, .. } => {
                    let last = entries.last().expect("something is committed").index;
                    self.core.on_applied(last);
                }
                Action::Compact { before } => self.log.compact(before).expect("memory does not fail"),
                Action::Unknown(_) | Action::Proven { .. } | Action::Role(_) | Action::Lease { .. } => {}
                Action::Ship(_) | Action::Install { .. } => unreachable!("these logs are whole"),
            }
        }
    }
}

/// What one of the three nodes has spent.
#[derive(Clone, Copy, Default)]
struct Spent {
    time: Duration,
    messages: u64,
    bytes: usize,
}

fn cores(groups: usize) {
    let mut nodes: Vec<Vec<Replica>> = (1..=REPLICAS as u64)
        .map(|me| (0..groups).map(|group| Replica::start(ReplicaId(me), group as u64)).collect())
        .collect();
    // The first node is to lead everything, so only its time passes until it does.
    let mut spent = [Spent::default(); REPLICAS];
    while nodes[0].iter().any(|replica| !replica.core.leads()) {
        round(&mut nodes, &[0], &mut spent);
    }
    let mut spent = [Spent::default(); REPLICAS];
    for _ in 0..TICKS {
        round(&mut nodes, &[0, 1, 2], &mut spent);
    }
    assert!(nodes[0].iter().all(|replica| replica.core.leads()), "nobody else was elected meanwhile");
    println!("{groups} groups, cores alone, one tick of {TICK:?}:");
    for (node, Spent { time, messages, bytes }) in spent.into_iter().enumerate() {
        let what = if node == 0 { "leads all" } else { "follows all" };
        let tick = time / TICKS;
        println!(
            "  {what}: {tick:.0?}, {:.2} us a group, {:.2} % of a core; sends {:.0} messages, {:.1} KB",
            tick.as_secs_f64() * 1e6 / groups as f64,
            tick.as_secs_f64() / TICK.as_secs_f64() * 100.0,
            messages as f64 / f64::from(TICKS),
            bytes as f64 / f64::from(TICKS) / 1e3,
        );
    }
}

/// Time passes for these nodes, and messages go to and fro until there are none.
fn round(nodes: &mut [Vec<Replica>], awake: &[usize], spent: &mut [Spent; REPLICAS]) {
    let mut inboxes: Vec<VecDeque<(usize, PeerMessage)>> = vec![VecDeque::new(); REPLICAS];
    let mut is_first = true;
    while std::mem::take(&mut is_first) || inboxes.iter().any(|inbox| !inbox.is_empty()) {
        let ticks = inboxes.iter().all(VecDeque::is_empty);
        for node in 0..REPLICAS {
            let mut sent = VecDeque::new();
            let inbox = std::mem::take(&mut inboxes[node]);
            let began = Instant::now();
            let mut touched: Vec<usize> = Vec::new();
            for (group, message) in inbox {
                nodes[node][group].core.receive(message);
                touched.push(group);
            }
            if ticks && awake.contains(&node) {
                nodes[node].iter_mut().for_each(|replica| replica.core.tick());
                touched = (0..nodes[node].len()).collect();
            }
            for group in touched {
                let mut outbox = VecDeque::new();
                nodes[node][group].perform(&mut outbox);
                sent.extend(outbox.into_iter().map(|message| (group, message)));
            }
            let encoded: usize = sent.iter().map(|(_, message)| message.encode().len()).sum();
            spent[node].time += began.elapsed();
            spent[node].messages += sent.len() as u64;
            spent[node].bytes += encoded;
            for (group, message) in sent {
                inboxes[message.to().0 as usize - 1].push_back((group, message));
            }
        }
    }
}

/// Keeps nothing.
struct Nowhere;

impl StateMachine for Nowhere {
    fn applied(&self) -> LogIndex {
        LogIndex(0)
    }

    fn saved(&self) -> LogIndex {
        LogIndex(0)
    }

    fn apply(&self, _entries: Vec<CommittedEntry>) -> Result<(), ApplyError> {
        Ok(())
    }
}

struct Silent;

impl Observer for Silent {
    fn committed(&self, _up_to: Seq) {}

    fn applied(&self, _up_to: Seq) {}

    fn unknown(&self, _batches: RangeInclusive<Seq>) {}
}

/// The replicas of all groups, group after group.
type Place = OnceLock<Weak<Group>>;

struct HandOver(Arc<Vec<Place>>);

impl Transport for HandOver {
    fn send(&self, group: GroupId, message: PeerMessage) {
        let place = group.0 as usize * REPLICAS + message.to().0 as usize - 1;
        if let Some(group) = self.0[place].get().and_then(Weak::upgrade) {
            group.receive(&message.encode());
        }
    }

    fn ship(&self, _group: GroupId, shipment: Shipment) {
        shipment.finish(Delivery::Failed);
    }
}

fn threads(groups: usize) {
    let places: Arc<Vec<Place>> = Arc::new((0..groups * REPLICAS).map(|_| OnceLock::new()).collect());
    let voters: Vec<ReplicaId> = (1..=REPLICAS as u64).map(ReplicaId).collect();
    let mut running = Vec::new();
    for place in 0..groups * REPLICAS {
        let group = GroupId(u32::try_from(place / REPLICAS).expect("few groups"));
        let options = GroupOptions {
            me: voters[place % REPLICAS],
            start: Start::Found { voters: voters.clone() },
            transport: Arc::new(HandOver(places.clone())),
            ..GroupOptions::alone(group)
        };
        let started = Group::start(
            options,
            Arc::new(MemoryLog::new()),
            Arc::new(Nowhere),
            Arc::new(Silent),
            Arc::new(|| UnixMs(0)),
        );
        let started = started.expect("threads for all groups");
        places[place].set(Arc::downgrade(&started)).expect("each place is filled once");
        running.push(started);
    }
    let leaders = || running.iter().filter(|group| group.role().serves()).count();
    while leaders() < groups {
        std::thread::sleep(TICK);
    }
    let before = cpu_time();
    std::thread::sleep(WINDOW);
    let spent = (cpu_time() - before) / REPLICAS as u32;
    println!(
        "{groups} groups with their threads: {:.2} % of a core a node, {:.2} us a tick and replica",
        spent.as_secs_f64() / WINDOW.as_secs_f64() * 100.0,
        spent.as_secs_f64() * 1e6 / (WINDOW.as_secs_f64() / TICK.as_secs_f64()) / groups as f64,
    );
    running.iter().for_each(|group| group.stop());
}

/// Of this process, from the files of Linux: fields 14 and 15, in hundredths of a second.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in brackets");
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}
