//! The settings of a group, and the bounds of all its queues.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::ids::{GroupId, ReplicaId, SeqCounter};
use super::transport::{NoTransport, Transport};

/// What goes into one log entry at most, unless a single batch is larger. An entry is one write and one sync; a longer
/// one makes the batches at its front wait for those at its end.
pub const ENTRY_BYTES_MAX: usize = 4 << 20;

/// The longest batch. Longer ones do not fit the length that precedes them.
pub const BATCH_BYTES_MAX: usize = u32::MAX as usize;

/// Batches that wait for the log. Above this, a group is congested: callers stop evaluating writes.
pub const PROPOSAL_QUEUE_BYTES_MAX: usize = 32 << 20;

/// Entries that are proposed and not yet committed. Above this, no further ones are made; batches wait in their queue.
pub const UNCOMMITTED_BYTES_MAX: usize = 64 << 20;

/// Committed entries that wait to be applied. Above this, a group is congested.
pub const APPLY_LAG_BYTES_MAX: usize = 64 << 20;

/// Committed entries that wait to be applied. Above this, the group thread waits: nothing further is committed.
pub const APPLY_QUEUE_BYTES_MAX: usize = 256 << 20;

/// Committed entries gather to this much before they are applied together, or for this long, unless somebody waits for
/// them. More of them would be cheaper still, but whoever comes to wait would wait longer.
pub const APPLY_GATHER_BYTES: usize = 16 << 20;
pub const APPLY_DELAY_MAX: Duration = Duration::from_millis(100);

/// What the state machine is given in one call at most, unless a single entry is larger.
pub const APPLY_BYTES_MAX: usize = APPLY_GATHER_BYTES;

/// Messages of other replicas that wait for the group thread. Above this they are dropped, and sent again later.
pub const MAILBOX_BYTES_MAX: usize = 64 << 20;

/// The log is cut to half of this when it has grown to it. What is left serves replicas that lag behind.
pub const LOG_BYTES_MAX: u64 = 64 << 20;

/// When the log is put on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before a batch counts as committed. An acknowledged write survives the loss of power.
    #[default]
    Always,
    /// Once a second. The loss of power may take about the last second of acknowledged writes.
    EverySecond,
    /// When the system likes to. The loss of power may take any number of acknowledged writes of the last minutes.
    Never,
}

impl FromStr for Fsync {
    type Err = ();

    fn from_str(name: &str) -> Result<Fsync, ()> {
        match name {
            "always" => Ok(Fsync::Always),
            "everysec" => Ok(Fsync::EverySecond),
            "no" => Ok(Fsync::Never),
            _ => Err(()),
        }
    }
}

impl Fsync {
    pub fn name(self) -> &'static str {
        match self {
            Fsync::Always => "always",
            Fsync::EverySecond => "everysec",
            Fsync::Never => "no",
        }
    }
}

/// How a replica begins of which nothing is there. What is there goes on as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// As the only member of a new group.
    Alone,
    /// As one of several that found a group, all in the same way.
    Found { voters: Vec<ReplicaId> },
    /// As one that waits for a snapshot. It votes, because those who know it as a voter may need that.
    Empty,
    /// Not at all.
    Resume,
}

/// Called once with what went wrong, from a thread of the group that then ends. Must not return to serving: a group
/// that could not write must not go on, see [`abort`].
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

#[derive(Clone)]
pub struct GroupOptions {
    pub group: GroupId,
    pub me: ReplicaId,
    pub start: Start,
    pub fsync: Fsync,
    pub log_bytes_max: u64,
    /// How long committed entries may gather before they are applied; zero where somebody waits for each of them.
    pub apply_delay_max: Duration,
    pub transport: Arc<dyn Transport>,
    /// The same for all groups of a node.
    pub seqs: SeqCounter,
    pub on_fatal: OnFatal,
}

impl GroupOptions {
    /// The options of a group whose only replica is here.
    pub fn alone(group: GroupId) -> GroupOptions {
        GroupOptions {
            group,
            me: ReplicaId(1),
            start: Start::Alone,
            transport: Arc::new(NoTransport),
            seqs: SeqCounter::default(),
            fsync: Fsync::Always,
            log_bytes_max: LOG_BYTES_MAX,
            apply_delay_max: APPLY_DELAY_MAX,
            on_fatal: Arc::new(abort),
        }
    }
}

impl fmt::Debug for GroupOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GroupOptions { group, me, start, fsync, log_bytes_max, .. } = self;
        write!(f, "GroupOptions {{ {group:?}, {me:?}, {start:?}, {fsync:?}, log_bytes_max: {log_bytes_max} }}")
    }
}

/// Ends the process at once: threads that hold replies must not get to send them.
pub fn abort(what: &str) {
    tracing::error!("{what}; stopping at once, because what could not be written must not be acknowledged");
    std::process::abort();
}
