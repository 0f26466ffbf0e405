//! Cores of three replicas that talk to each other: what a group with one voter never meets.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use basalt_storage::clock::UnixMs;

use super::*;
use crate::group::CommittedEntry;
use crate::group::log::{Durability, LogWrite};
use crate::group::memory_log::MemoryLog;

const REPLICAS: [ReplicaId; 3] = [ReplicaId(1), ReplicaId(2), ReplicaId(3)];

struct Replica {
    core: Core,
    disk: Arc<MemoryLog>,
    taken: u64,
    committed: Vec<String>,
    last_seq: Option<Seq>,
    unknown: Vec<RangeInclusive<Seq>>,
    proven: Vec<(Duration, LogIndex)>,
    /// Writes that are begun and do not end, while the disk hangs.
    hanging: Option<Vec<(LogWrite, Durability, WriteNumber)>>,
}

impl Replica {
    fn start(me: ReplicaId, disk: Arc<MemoryLog>, applied: LogIndex) -> Replica {
        Replica::start_as(Start::Found { voters: REPLICAS.to_vec() }, me, disk, applied)
    }

    fn start_as(start: Start, me: ReplicaId, disk: Arc<MemoryLog>, applied: LogIndex) -> Replica {
        // Different patience, so that it is known who is elected.
        let ticks = 20 + 2 * me.0 as usize;
        let options = CoreOptions {
            me,
            start,
            fsync: Fsync::Always,
            log_bytes_max: 1 << 20,
            election_ticks: ticks..ticks + 1,
            seed: 0,
        };
        let core = Core::start(&options, disk.clone(), applied).unwrap();
        Replica {
            core,
            disk,
            taken: 0,
            committed: vec![],
            last_seq: None,
            unknown: vec![],
            proven: vec![],
            hanging: None,
        }
    }

    fn propose(&mut self, text: &str) {
        self.taken += 1;
        let seq = Seq(self.taken);
        self.core.propose(seq, seq, UnixMs(0), [text.as_bytes()].into_iter().collect());
    }

    /// Does all that the core asks for, and returns what is to be sent.
    fn perform(&mut self) -> Vec<PeerMessage> {
        let mut sent = Vec::new();
        while let Some(action) = self.core.next_action() {
            match action {
                Action::Send(message) => sent.push(message),
                Action::Write { write, durability, number } => match &mut self.hanging {
                    Some(hanging) => hanging.push((write, durability, number)),
                    None => self.end_write(&write, durability, number),
                },
                Action::Commit { up_to, entries } => {
                    self.last_seq = up_to.or(self.last_seq);
                    let batches = entries.iter().flat_map(CommittedEntry::batches);
                    self.committed.extend(batches.map(|batch| String::from_utf8(batch.to_vec()).unwrap()));
                    self.core.on_applied(entries.last().unwrap().index);
                }
                Action::Unknown(batches) => self.unknown.push(batches),
                Action::Compact { before } => self.disk.compact(before).unwrap(),
                Action::Proven { since, index } => self.proven.push((since, index)),
                Action::Role(_) | Action::Lease { .. } => (),
                Action::Ship(_) | Action::Install { .. } => unreachable!("these logs are whole"),
            }
        }
        sent
    }

    fn end_write(&mut self, write: &LogWrite, durability: Durability, number: WriteNumber) {
        self.disk.write(write, durability).unwrap();
        self.core.on_written(number);
    }
}

struct Cluster {
    replicas: Vec<Replica>,
    cut_off: BTreeSet<ReplicaId>,
}

impl Cluster {
    fn start() -> Cluster {
        let replicas = REPLICAS.map(|me| {
            let disk = Arc::new(MemoryLog::new());
            Replica::start(me, disk, LogIndex(0))
        });
        Cluster { replicas: replicas.into(), cut_off: BTreeSet::new() }
    }

    fn at(&mut self, id: u64) -> &mut Replica {
        &mut self.replicas[id as usize - 1]
    }

    /// Carries messages to and fro until there are none.
    fn settle(&mut self) {
        let mut under_way = VecDeque::new();
        loop {
            for replica in &mut self.replicas {
                under_way.extend(replica.perform());
            }
            let Some(message) = under_way.pop_front() else { return };
            if !self.cut_off.contains(&message.from()) && !self.cut_off.contains(&message.to()) {
                self.at(message.to().0).core.receive(message);
            }
        }
    }

    /// Lets time pass for these replicas, until one of them leads.
    fn elect(&mut self, ids: &[u64]) -> u64 {
        for _ in 0..200 {
            ids.iter().for_each(|id| self.at(*id).core.tick());
            self.settle();
            if let Some(leader) = ids.iter().find(|id| self.at(**id).core.leads()) {
                return *leader;
            }
        }
        panic!("nobody was elected");
    }

    fn propose(&mut self, id: u64, text: &str) {
        self.at(id).propose(text);
        self.settle();
    }
}

#[test]
fn batches_are_committed_by_a_majority_and_reach_all() {
    let mut cluster = Cluster::start();
    let leader = cluster.elect(&[1, 2, 3]);
    cluster.propose(leader, "a");
    assert_eq!(cluster.at(leader).last_seq, Some(Seq(1)));
    // The next round tells the others what is committed.
    cluster.propose(leader, "b");
    for replica in &cluster.replicas {
        assert_eq!(replica.committed, ["a", "b"]);
    }
}

#[test]
fn a_leader_that_is_overruled_says_that_fates_are_unknown_and_loses_its_tail() {
    let mut cluster = Cluster::start();
    assert_eq!(cluster.elect(&[1, 2, 3]), 1);
    cluster.propose(1, "kept");
    cluster.cut_off.insert(ReplicaId(1));
    for text in ["lost", "lost too", "and this", "and that"] {
        cluster.propose(1, text);
    }
    assert_eq!((cluster.at(1).last_seq, cluster.at(1).unknown.len()), (Some(Seq(1)), 0));

    let leader = cluster.elect(&[2, 3]);
    cluster.propose(leader, "new");
    let end = cluster.at(leader).disk.bounds().unwrap();
    let overruled = cluster.at(1).disk.bounds().unwrap();
    assert!(overruled.unwrap().end() > end.as_ref().unwrap().end(), "the overruled log has to be the longer one");
    cluster.cut_off.clear();
    for _ in 0..5 {
        cluster.at(leader).core.tick();
        cluster.settle();
    }
    assert_eq!(cluster.at(1).unknown, [Seq(2)..=Seq(5)]);
    assert_eq!(cluster.at(1).disk.bounds().unwrap(), end);
    cluster.propose(1, "to a follower");
    assert_eq!(cluster.at(1).unknown, [Seq(2)..=Seq(5), Seq(6)..=Seq(6)]);
    cluster.propose(leader, "newer");
    for replica in &cluster.replicas {
        assert_eq!(replica.committed, ["kept", "new", "newer"]);
    }
    // Nothing of the overruled tail comes back.
    let disk = cluster.at(1).disk.clone();
    let mut again = Replica::start(ReplicaId(1), disk, LogIndex(0));
    again.perform();
    assert_eq!(again.committed[..2], ["kept", "new"]);
    assert!(!again.committed.iter().any(|text| text.contains("lost")));
}

#[test]
fn a_follower_learns_how_old_its_state_is_only_from_a_leader_that_still_leads() {
    let at = Duration::from_secs;
    let mut cluster = Cluster::start();
    assert_eq!(cluster.elect(&[1, 2, 3]), 1);
    cluster.propose(1, "a");
    assert!(!cluster.at(1).core.begin_proof(at(1)), "a leader has nobody to ask");
    assert!(cluster.at(2).core.begin_proof(at(1)));
    cluster.settle();
    let committed = cluster.at(1).core.positions().committed;
    assert_eq!(cluster.at(2).proven, [(at(1), committed)]);
    assert_eq!(cluster.at(2).core.applied(), committed, "the answer says what is committed");

    // Replica 2 still believes in replica 1, which cannot find a majority any more.
    cluster.cut_off.insert(ReplicaId(3));
    cluster.at(1).hanging = Some(Vec::new());
    assert!(cluster.at(2).core.begin_proof(at(2)));
    let questions = cluster.at(2).perform();
    assert_eq!(questions.len(), 1);
    cluster.cut_off.insert(ReplicaId(2));
    questions.into_iter().for_each(|question| cluster.at(1).core.receive(question));
    cluster.settle();
    assert!(cluster.at(2).core.awaits_proof());
    assert_eq!(cluster.at(2).proven.len(), 1);
}

#[test]
fn questions_that_nobody_asks_are_dropped() {
    use raft::eraftpb::{Entry, Message};
    let mut cluster = Cluster::start();
    assert_eq!(cluster.elect(&[1, 2, 3]), 1);
    let question = |contents: &[Vec<u8>]| {
        let mut message = Message { from: 2, to: 1, ..Message::default() };
        message.set_msg_type(MessageType::MsgReadIndex);
        let entry = |data: &Vec<u8>| Entry { data: data.clone().into(), ..Entry::default() };
        message.set_entries(contents.iter().map(entry).collect::<Vec<_>>().into());
        PeerMessage(message)
    };
    let sound = [2_u64, 9, 1].map(u64::to_be_bytes).concat();
    let of_another = [3_u64, 9, 1].map(u64::to_be_bytes).concat();
    for contents in [vec![], vec![sound[..8].to_vec()], vec![of_another], vec![sound.clone(), sound.clone()]] {
        cluster.at(1).core.receive(question(&contents));
        assert!(cluster.at(1).perform().is_empty(), "{contents:?}");
    }
    cluster.at(1).core.receive(question(std::slice::from_ref(&sound)));
    assert_eq!(cluster.at(1).perform().len(), 2, "it asks the others whether it leads");
    // A follower passes nothing on.
    cluster.at(3).core.receive(question(&[sound]));
    assert!(cluster.at(3).perform().is_empty());
}

#[test]
fn a_vote_leaves_only_when_it_is_written() {
    let mut cluster = Cluster::start();
    cluster.cut_off.insert(ReplicaId(3));
    cluster.at(2).hanging = Some(Vec::new());
    for _ in 0..23 {
        cluster.at(1).core.tick();
        cluster.settle();
    }
    assert!(!cluster.at(1).core.leads(), "elected by a vote that could be forgotten");
    let hanging = cluster.at(2).hanging.take().unwrap();
    assert!(hanging.iter().any(|(write, ..)| write.state.as_ref().unwrap().vote == Some(ReplicaId(1))));
    assert!(hanging.iter().all(|(_, durability, _)| *durability == Durability::Synced));
    for (write, durability, number) in hanging {
        cluster.at(2).end_write(&write, durability, number);
    }
    cluster.settle();
    assert!(cluster.at(1).core.leads());
}

#[test]
fn a_new_leader_serves_when_it_has_applied_an_entry_of_its_own_term() {
    let mut cluster = Cluster::start();
    cluster.cut_off.insert(ReplicaId(3));
    cluster.at(2).hanging = Some(Vec::new());
    for _ in 0..23 {
        cluster.at(1).core.tick();
        cluster.settle();
    }
    // The vote is written, the first entry of the new term is not.
    for (write, durability, number) in cluster.at(2).hanging.replace(Vec::new()).unwrap() {
        cluster.at(2).end_write(&write, durability, number);
    }
    cluster.settle();
    assert!(cluster.at(1).core.leads() && !cluster.at(1).core.serves());
    for (write, durability, number) in cluster.at(2).hanging.take().unwrap() {
        cluster.at(2).end_write(&write, durability, number);
    }
    cluster.settle();
    assert!(cluster.at(1).core.serves());
}

#[test]
fn a_newcomer_that_was_never_heard_gets_no_vote() {
    let mut alone = Replica::start_as(Start::Alone, ReplicaId(1), Arc::new(MemoryLog::new()), LogIndex(0));
    alone.perform();
    assert!(alone.core.serves());
    let desired = [1, 2].map(|id| (ReplicaId(id), Desired::Voter));
    alone.core.set_desired(desired.to_vec());
    for number in 0..30 {
        alone.propose(&number.to_string());
        alone.core.tick();
        // Whatever is said to the newcomer is lost.
        alone.perform();
    }
    assert_eq!(
        (alone.core.members().voters.as_slice(), alone.core.members().learners.as_slice()),
        (&[ReplicaId(1)][..], &[ReplicaId(2)][..])
    );
    assert_eq!(alone.committed.len(), 30);
}

#[test]
fn one_that_is_to_go_hands_over_when_it_leads_and_is_then_removed() {
    let mut cluster = Cluster::start();
    assert_eq!(cluster.elect(&[1, 2, 3]), 1);
    cluster.propose(1, "before");
    let without_three = [(1, Desired::Voter), (2, Desired::Voter), (3, Desired::Leaving)];
    let desired: Vec<_> = without_three.map(|(id, wanted)| (ReplicaId(id), wanted)).into();
    for id in [2, 3, 1] {
        cluster.at(id).core.set_desired(desired.clone());
    }
    // The others have it in their logs that the third one has no vote any more, and do not know that it is decided.
    for message in cluster.at(1).perform() {
        cluster.at(message.to().0).core.receive(message);
    }
    cluster.cut_off.insert(ReplicaId(1));
    assert_eq!(cluster.elect(&[2, 3]), 3);
    cluster.cut_off.clear();
    let voters = [ReplicaId(1), ReplicaId(2)];
    let is_done = |cluster: &Cluster| {
        let leader = cluster.replicas.iter().find(|replica| replica.core.serves());
        leader.is_some_and(|leader| leader.core.members().voters == voters && leader.core.members().learners.is_empty())
    };
    for _ in 0..500 {
        for replica in &mut cluster.replicas {
            replica.core.tick();
            replica.core.advance_transfer(Queue::Empty);
        }
        cluster.settle();
        if is_done(&cluster) {
            break;
        }
    }
    assert!(is_done(&cluster), "its vote was not taken");
    assert!(!cluster.at(3).core.leads());
    let leader = cluster.elect(&[1, 2]);
    cluster.propose(leader, "after");
    assert_eq!(cluster.at(leader).committed, ["before", "after"]);
}
