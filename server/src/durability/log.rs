//! The batches' way into the group, and what comes back from it.

use super::gate::CommitGate;
use super::relay;
use crate::server::Server;
use basalt_cluster::group::{self, ApplyError, CommittedEntry, Group, LogIndex, TooLate};
use basalt_storage::effect::{Batch, bytes_about, codec};
use basalt_storage::engine::Engine;
use basalt_storage::keyspace::BatchSink;
use basalt_storage::seq::Seq;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};

/// What a thread keeps to encode its next batch in.
const SCRATCH_BYTES_MAX: usize = 64 << 10;
/// Batches beyond this are written out by the group thread. Each of them is an entry of its own.
const WRITTEN_BYTES_MAX: usize = 256 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Encodes batches and proposes them; large ones are encoded by the group thread. Called under stripe locks. At the end
/// of the process evaluation may go on for longer than the group: nobody is told of what comes of that.
pub(super) struct Sink {
    pub(super) group: Arc<Group>,
}

impl BatchSink for Sink {
    fn propose(&self, batch: Batch) -> Seq {
        let seq = propose(&self.group, batch).unwrap_or_else(|TooLate(never)| never);
        // A network thread announces all that came out of one look at its connections together.
        if !relay::announce_soon() {
            self.group.announce();
        }
        Seq(seq.0)
    }
}

/// Hands a batch in; the group has to be announced afterwards.
pub(crate) fn propose(group: &Group, batch: Batch) -> Result<group::Seq, TooLate> {
    let about = bytes_about(&batch);
    if about > WRITTEN_BYTES_MAX {
        return group.propose_unwritten(about, Box::new(move |bytes| codec::encode(&batch, bytes)));
    }
    SCRATCH.with_borrow_mut(|bytes| {
        bytes.clear();
        codec::encode(&batch, bytes);
        let seq = group.propose_quietly(bytes);
        bytes.shrink_to(SCRATCH_BYTES_MAX);
        seq
    })
}

/// The same with a batch that is written already.
pub(crate) fn propose_written(group: &Group, batch: Vec<u8>) -> Result<group::Seq, TooLate> {
    if batch.len() > WRITTEN_BYTES_MAX {
        return group.propose_unwritten(batch.len(), Box::new(move |bytes| bytes.extend_from_slice(&batch)));
    }
    group.propose_quietly(&batch)
}

/// Applies committed entries to an engine.
pub(crate) fn apply(engine: &Engine, entries: &[CommittedEntry]) -> Result<(), ApplyError> {
    let batches = entries.iter().flat_map(|entry| {
        // A leader's first entry carries nothing, and is applied like any other.
        std::iter::once((entry.index, None)).chain(entry.batches().map(|batch| (entry.index, Some(batch))))
    });
    engine.apply_encoded(batches).map_err(|error| ApplyError(Box::new(error)))
}

/// The engine as the group sees it.
pub(super) struct Machine {
    pub(super) engine: Arc<Engine>,
}

impl group::StateMachine for Machine {
    fn applied(&self) -> LogIndex {
        self.engine.applied()
    }

    fn saved(&self) -> LogIndex {
        self.engine.saved()
    }

    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), ApplyError> {
        apply(&self.engine, &entries)
    }
}

/// Tells the server what became of its batches.
pub(super) struct Observer {
    pub(super) server: Weak<Server>,
}

impl Observer {
    fn with_gate(&self, f: impl FnOnce(&Server, &CommitGate)) {
        // While the server is put together and taken apart nobody waits.
        if let Some(server) = self.server.upgrade() {
            f(&server, &server.gate);
        }
    }
}

impl group::Observer for Observer {
    fn committed(&self, up_to: group::Seq) {
        self.with_gate(|_, gate| gate.note_committed(Seq(up_to.0)));
    }

    fn applied(&self, up_to: group::Seq) {
        self.with_gate(|server, gate| {
            server.keyspace.note_applied(Seq(up_to.0));
            gate.note_room();
        });
    }

    fn synced(&self, up_to: group::Seq) {
        self.with_gate(|server, _| {
            if let Some(durability) = server.durability() {
                durability.note_synced(server, Seq(up_to.0));
            }
        });
    }

    /// With one voter no leader is ever deposed.
    fn unknown(&self, batches: RangeInclusive<group::Seq>) {
        group::options::abort(&format!("the fate of the batches {batches:?} is unknown"));
    }
}
