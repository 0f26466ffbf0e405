//! Reads from a replica: what a client that has said READONLY is told by a node that follows in the slot's group.
//!
//! A follower holds nothing in memory. So each request, a command or a whole transaction, is evaluated in a keyspace of
//! its own ([`copy`]), which has the keys that it names as they were after one entry of the group's log. That is a
//! state that the leader once had. The node's own keyspace is neither looked at nor changed, and nothing expires, is
//! evicted or is written: what is due is not there.
//!
//! How old the state may be the client says (`CLIENT READ-STALENESS`); how old it is, is proven by a question to the
//! leader ([`Group::prove`](basalt_cluster::group::Group::prove)), counted on this node's own clock from before the
//! question was asked. No news, no proof: behind a partition the state grows older, and whoever has set a bound is sent
//! to the leader when it is reached. The proof is looked at before the evaluation and after it.
//!
//! What else must hold before anything is shown, with a bound or without one:
//! - The state is not older than the moment at which this node learnt that the slots are its group's
//!   ([`ReplicaReads::note_more_copied`]): one that lags behind might have nothing yet of what came with a migration.
//!   As that needs a proof, a replica that waits for its first snapshot shows nothing, and neither does one that has
//!   just started and has not yet found a leader.
//! - The slot does not leave the group, nor arrive: the state has no mark of it, and this node's map is new enough to
//!   know what has become of a seal that the state has seen. Between the seal and the time at which this node learns of
//!   the new owner, that one may have changed the keys; and behind that, the source clears them away.
//! - The slot is not open: some of its keys may be elsewhere.
//! - The state is not just being replaced by a snapshot ([`Replica::keep`]).
//!
//! Not promised: that two reads of one connection go forward in time. They do as long as it stays with one node, since
//! what is applied only grows.
//!
//! | file | owns |
//! |---|---|
//! | `copy` | the keyspace of one request, and filling it |
//! | `entry` | whether a request may be evaluated now, has to wait, or must go |
//! | `evaluation` | evaluating it |
//! | `keys` | what names no keys: DBSIZE, SCAN and their like |

mod copy;
mod entry;
mod evaluation;
mod keys;

pub use entry::{Admitted, Delivered, Reads};
pub use evaluation::run;
pub use keys::CopiedKeys;

use super::hold::Holds;
use crate::durability::replicas::{Replica, Replicas};
use crate::jobs::Jobs;
use crate::server::Server;
use basalt_storage::keyspace::Excerpt;
use entry::Job;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// Threads that read from disk for clients. They are apart from those that load keys for evaluation: a value that is
/// read whole for a replica's client is in memory only until it is answered, and there are never more of these than
/// threads and clients that are just being answered.
const THREADS: usize = 4;

/// Keyspaces that are kept for the next request.
const SPARE_MAX: usize = 32;

/// What is counted of reads from replicas.
#[derive(Default)]
pub struct Figures {
    pub served: AtomicU64,
    /// Sent to the leader because nothing proved the state to be as new as the client wants it.
    pub too_old: AtomicU64,
}

pub struct ReplicaReads {
    replicas: Arc<Replicas>,
    jobs: Jobs<Job>,
    spare: Mutex<Vec<Excerpt>>,
    /// Clients that wait for proof.
    waiting: Holds,
    /// When slots were last added to those that this node has a copy of.
    more_copied: Mutex<Instant>,
    pub figures: Figures,
}

impl ReplicaReads {
    pub fn new(replicas: Arc<Replicas>) -> ReplicaReads {
        ReplicaReads {
            replicas,
            jobs: Jobs::default(),
            spare: Mutex::default(),
            waiting: Holds::default(),
            more_copied: Mutex::new(Instant::now()),
            figures: Figures::default(),
        }
    }

    /// Starts the threads that may wait for the disk; they end with the process.
    pub fn start(&self, server: &Arc<Server>) -> std::io::Result<()> {
        self.jobs.serve(server, "replica-reads", THREADS, entry::fetch)
    }

    /// Slots are about to be shown as copied: nothing that is older is shown from now on.
    pub fn note_more_copied(&self) {
        *self.more_copied.lock() = Instant::now();
    }

    /// How old a replica's state is may be known better by now.
    pub fn note_proof(&self) {
        self.waiting.wake_all();
    }

    /// What slots are has changed.
    pub fn note_change(&self) {
        self.waiting.wake_all();
    }

    /// Ends the waiting of those whose time is over; called regularly.
    pub fn tick(&self) {
        self.waiting.wake_due(Instant::now());
    }

    /// Clients that wait for proof.
    pub fn waiting(&self) -> usize {
        self.waiting.count()
    }

    fn take_excerpt(&self, server: &Server) -> Excerpt {
        let spare = self.spare.lock().pop();
        let excerpt = spare.unwrap_or_else(|| Excerpt::beside(&server.keyspace));
        excerpt.adopt(&server.keyspace);
        excerpt
    }

    fn put_back(&self, server: &Server, mut excerpt: Excerpt) {
        excerpt.clear(&server.keyspace.stats);
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_MAX {
            spare.push(excerpt);
        }
    }

    /// The replica from which this node shows slots that it does not lead: that of its home group, if it is on disk.
    fn replica(&self, cluster: &super::Cluster) -> Option<Arc<Replica>> {
        let home = cluster.picture().map.node(cluster.me())?.home;
        self.replicas.replica(home).filter(|replica| replica.engine().is_some())
    }
}
