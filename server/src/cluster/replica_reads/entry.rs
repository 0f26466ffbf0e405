//! Whether a request may be evaluated in a copy: now, when somebody has read what it names, when there is proof that
//! the state is new enough; or not here.
//!
//! What is in memory is put into a copy at once, on the network thread. What is not goes to threads that may wait for
//! the disk, while the connection waits; then the request is looked at anew.

use super::ReplicaReads;
use super::copy::{Attempt, Copy, Extent};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::cluster::admission::NOT_SERVED;
use crate::commands::Command;
use crate::durability::admission::refuse;
use crate::error::CommandError;
use crate::resp::{Args, OwnedArgs};
use crate::server::Server;
use crate::session::Session;
use crate::transaction::Phase;
use basalt_storage::engine::Tier;
use basalt_storage::keyspace::Unreadable;
use basalt_storage::slot::Slot;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long a request waits for proof: as long as the state may be old, within these limits. A question to the leader
/// takes some milliseconds, and an election a second.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What a connection remembers of its reads from replicas.
#[derive(Default)]
pub struct Reads {
    /// How old a state may be; none: however old it is.
    pub bound: Option<Duration>,
    /// Until when the request at hand may wait for proof.
    until: Option<Instant>,
    /// Counts what was asked for, so that what comes late is not taken for what another request has asked for.
    asked: u64,
    delivered: Option<Result<Attempt, Unreadable>>,
    pub(super) ready: Option<Box<Copy>>,
    pub(super) extent: Extent,
}

/// Mail: what came of filling a copy.
pub struct Delivered {
    asked: u64,
    result: Result<Attempt, Unreadable>,
}

impl Reads {
    pub fn take(&mut self, delivered: Delivered) {
        if delivered.asked == self.asked {
            self.delivered = Some(delivered.result);
        }
    }

    /// A request was answered.
    #[inline]
    pub fn end_request(&mut self) {
        if let Reads { until: None, delivered: None, ready: None, extent: Extent::AsNamed, .. } = self {
            self.asked += 1;
            return;
        }
        *self = Reads { bound: self.bound, asked: self.asked + 1, ..Reads::default() };
    }
}

/// A copy to be filled by a thread that may wait.
pub(super) struct Job {
    client: Arc<Client>,
    asked: u64,
    slot: Slot,
    commands: Vec<(&'static Command, OwnedArgs)>,
    extent: Extent,
}

/// What a request may do that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// [`super::run`] evaluates it.
    Now,
    /// It is looked at again when the client gets mail.
    AfterMail,
}

impl ReplicaReads {
    /// Looks whether a request that reads a slot of which this node has a copy may be evaluated.
    pub fn admit(
        &self,
        server: &Server,
        cluster: &Cluster,
        session: &mut Session,
        slot: Slot,
        command: &'static Command,
        args: Args<'_>,
    ) -> Result<Admitted, CommandError> {
        let (delivered, bound, extent) = {
            let reads = &mut session.routing().reads;
            (reads.delivered.take(), reads.bound, reads.extent)
        };
        let attempt = match delivered {
            Some(result) => result,
            None => {
                let (mut commands, extent) = named_by(session, command, args, extent);
                self.fill(server, cluster, slot, &mut commands, extent, Tier::Memory)
            }
        };
        match attempt.map_err(refuse)? {
            Attempt::Filled(copy) if copy.is_fresh(bound) => {
                self.look_ahead(cluster, &copy, bound);
                session.routing().reads.ready = Some(copy);
                Ok(Admitted::Now)
            }
            Attempt::Filled(copy) => {
                self.put_back(server, copy.excerpt);
                self.wait_for_proof(server, cluster, session, slot)
            }
            Attempt::Unproven => self.wait_for_proof(server, cluster, session, slot),
            Attempt::Elsewhere => Err(elsewhere(server, cluster, slot)),
            Attempt::NeedsDisk => {
                let (commands, extent) = named_by(session, command, args, extent);
                let commands = commands.map(|(command, args)| (command, args.to_owned())).collect();
                let asked = session.routing().reads.asked;
                self.jobs.submit(Job { client: session.client.clone(), asked, slot, commands, extent });
                Ok(Admitted::AfterMail)
            }
        }
    }

    /// Has what the next reads need under way before they come.
    fn look_ahead(&self, cluster: &Cluster, copy: &Copy, bound: Option<Duration>) {
        let replica = self.replica(cluster);
        let Some(group) = replica.as_ref().and_then(|replica| replica.group()) else { return };
        group.be_eager();
        if bound.is_some_and(|bound| copy.since.elapsed() > bound / 2) {
            group.prove();
        }
    }

    /// Has the leader asked, and the request wait; for so long, and then it has to go there.
    fn wait_for_proof(
        &self,
        server: &Server,
        cluster: &Cluster,
        session: &mut Session,
        slot: Slot,
    ) -> Result<Admitted, CommandError> {
        let reads = &mut session.routing().reads;
        let now = Instant::now();
        let patience = reads.bound.map_or(WAIT_MAX, |bound| bound.clamp(WAIT_MIN, WAIT_MAX));
        let (bound, until) = (reads.bound, *reads.until.get_or_insert(now + patience));
        let replica = self.replica(cluster).filter(|_| now < until);
        let Some((replica, group)) = replica.as_ref().and_then(|replica| Some((replica, replica.group()?))) else {
            self.figures.too_old.fetch_add(1, Relaxed);
            return Err(elsewhere(server, cluster, slot));
        };
        let states = cluster.states();
        self.waiting.add(states, states.epoch(), &session.client, until);
        group.prove();
        // Looked at again after the client is among those that are woken, so that no proof slips by.
        if self.is_proven(replica, bound) {
            self.waiting.wake(&session.client);
        }
        Ok(Admitted::AfterMail)
    }

    /// Has a request looked at anew whose copy was not good enough after all.
    pub(super) fn come_again(&self, session: &mut Session, extent: Extent) {
        session.routing().reads.extent = extent;
        session.client.post(|inbox| inbox.loaded = Some(Ok(())));
    }
}

/// The commands of a request whose keys have to be there, and how much of them.
fn named_by<'a>(
    session: &'a Session,
    command: &'static Command,
    args: Args<'a>,
    extent: Extent,
) -> (Box<dyn Iterator<Item = (&'static Command, Args<'a>)> + 'a>, Extent) {
    match &session.transaction.phase {
        // What one command sees of a value another one must not miss.
        Phase::Queueing { queue, .. } => {
            (Box::new(queue.iter().map(|queued| (queued.command, queued.args.as_args()))), Extent::Whole)
        }
        Phase::None => (Box::new(std::iter::once((command, args))), extent),
    }
}

/// Where the leader is, as far as this node knows.
pub(super) fn elsewhere(server: &Server, cluster: &Cluster, slot: Slot) -> CommandError {
    cluster.moved(server, slot).unwrap_or(NOT_SERVED)
}

/// On a thread of its own: fills a copy.
pub(super) fn fetch(server: &Server, job: Job) {
    let Some((cluster, reads)) = server.cluster().and_then(|cluster| Some((cluster, cluster.replica_reads()?))) else {
        return;
    };
    let Job { client, asked, slot, commands, extent } = job;
    let mut named = commands.iter().map(|(command, args)| (*command, args.as_args()));
    let result = reads.fill(server, cluster, slot, &mut named, extent, Tier::Disk);
    client.post(|inbox| {
        inbox.copy = Some(Delivered { asked, result });
        inbox.loaded = Some(Ok(()));
    });
}
