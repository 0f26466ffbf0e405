//! Clients that wait until other nodes have what they have written: WAIT and WAITAOF, answered from Raft's progress.
//!
//! A write that was answered is with a majority already; WAIT asks for more, or for a number. It counts the other
//! replicas of each group that holds slots here whose log, on their disks, is as far as this node's was when all that
//! had been proposed was committed, and answers the smallest of these numbers.
//!
//! Bound: a client has one wait, so there are no more than `maxclients`.

use crate::blocked::End;
use crate::client::ClientId;
use crate::durability::replicas::Replicas;
use crate::resp::ReplyBuf;
use crate::server::Server;
use basalt_cluster::group::LogIndex;
use basalt_cluster::ids::GroupId;
use basalt_storage::seq::Seq;
use parking_lot::{Condvar, Mutex};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How often progress is looked at while somebody waits. Appends and their answers take about as long.
const PERIOD: Duration = Duration::from_millis(2);

/// What a client waits for.
#[derive(Clone, Copy, Debug)]
pub struct CopyWait {
    pub client: ClientId,
    pub wanted: usize,
    /// All batches up to this one.
    pub written: Seq,
    pub until: Option<Instant>,
    /// Tells the client how many copies there are.
    pub tell: fn(&mut ReplyBuf, i64),
}

struct Waiting {
    wait: CopyWait,
    /// How far the log of each group was when what was written was committed.
    marks: Option<Vec<(GroupId, LogIndex)>>,
}

pub struct Copies {
    replicas: Arc<Replicas>,
    waiting: Mutex<Vec<Waiting>>,
    more: Condvar,
}

impl Copies {
    /// Starts the thread that looks; it ends with the process.
    pub fn start(server: &Arc<Server>, replicas: Arc<Replicas>) -> std::io::Result<Arc<Copies>> {
        let copies = Arc::new(Copies { replicas, waiting: Mutex::default(), more: Condvar::new() });
        let (own, server) = (copies.clone(), Arc::downgrade(server));
        std::thread::Builder::new().name("copies".into()).spawn(move || own.run(&server))?;
        Ok(copies)
    }

    /// The client is blocked already.
    pub fn add(&self, wait: CopyWait) {
        self.waiting.lock().push(Waiting { wait, marks: None });
        self.more.notify_one();
    }

    /// How many other nodes have all that is in the logs at this moment.
    pub fn count(&self) -> usize {
        self.count_at(&self.marks())
    }

    fn run(&self, server: &Weak<Server>) {
        loop {
            {
                let mut waiting = self.waiting.lock();
                while waiting.is_empty() {
                    self.more.wait(&mut waiting);
                }
            }
            let Some(server) = server.upgrade() else { return };
            for (wait, count) in self.due(&server) {
                let answer = End::Answer(Box::new(move |out| (wait.tell)(out, count as i64)));
                // It may be gone, or have been woken by CLIENT UNBLOCK.
                server.blocked.end(&server, wait.client, answer);
            }
            drop(server);
            std::thread::sleep(PERIOD);
        }
    }

    /// Takes out those who have waited long enough, with what they are told.
    fn due(&self, server: &Server) -> Vec<(CopyWait, usize)> {
        let (committed, now) = (server.gate.committed(), Instant::now());
        let mut due = Vec::new();
        self.waiting.lock().retain_mut(|waiting| {
            if waiting.marks.is_none() && waiting.wait.written <= committed {
                waiting.marks = Some(self.marks());
            }
            let count = waiting.marks.as_ref().map_or(0, |marks| self.count_at(marks));
            let is_over = waiting.wait.until.is_some_and(|until| until <= now);
            let is_due = is_over || waiting.marks.is_some() && count >= waiting.wait.wanted;
            if is_due {
                due.push((waiting.wait, count));
            }
            !is_due
        });
        due
    }

    /// The ends of the logs of all groups that hold slots here.
    fn marks(&self) -> Vec<(GroupId, LogIndex)> {
        let last = |group: GroupId| Some((group, self.replicas.replica(group)?.group()?.positions().last));
        self.replicas.holding_groups().into_iter().filter_map(last).collect()
    }

    fn count_at(&self, marks: &[(GroupId, LogIndex)]) -> usize {
        let copies = |(group, last): &(GroupId, LogIndex)| {
            let replica = self.replicas.replica(*group)?;
            let own = replica.me();
            let progress = replica.group()?.replicas();
            Some(progress.iter().filter(|one| one.replica != own && one.matched >= *last).count())
        };
        marks.iter().map(|mark| copies(mark).unwrap_or(0)).min().unwrap_or(0)
    }
}
