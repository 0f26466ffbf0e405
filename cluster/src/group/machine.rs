//! The seams between a group and what it serves: the data below it, and those who wait above it.

use std::ops::RangeInclusive;

use thiserror::Error;

use super::entry::CommittedEntry;
use super::ids::{LogIndex, Seq};
use super::role::Role;
use super::state::LogState;

/// Data that changes by applying committed entries, and by nothing else.
pub trait StateMachine: Send + Sync {
    /// The last entry that is applied. Zero for one that has never seen any.
    fn applied(&self) -> LogIndex;

    /// Applies all batches of these entries in order, and the last entry's index, in one write that a crash leaves
    /// whole or not at all. Each call goes on where the one before ended. An error ends the process.
    ///
    /// It need not be on the disk: the log keeps the entries until [`StateMachine::saved`] says that it is. But what is
    /// on the disk must never be ahead of the log there: it may get there only together with, or after, what was
    /// written to the log before.
    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), ApplyError>;

    /// The last entry whose outcome will be there after a restart: no later one leaves the log. That is
    /// [`StateMachine::applied`] for a machine whose writes lie behind those of the log in the same order, because the
    /// synced write which cuts the log is then also what puts them on the disk.
    fn saved(&self) -> LogIndex;

    /// Hands out a copy of everything, as it is after one entry, in chunks. `begin` is told that entry before the first
    /// chunk; there is at least one. Entries may be applied meanwhile, and are not in the copy; unless it is made while
    /// they are: then `begin` is told once more behind the last chunk, of the entry after which everything is as in the
    /// copy, and that one counts.
    fn export(
        &self,
        _begin: &mut dyn FnMut(LogIndex),
        _sink: &mut dyn FnMut(Vec<u8>) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        Err(ApplyError("this state machine makes no copies".into()))
    }

    /// A place for such a copy beside what is here.
    fn import(&self) -> Result<Box<dyn SnapshotSink>, ApplyError> {
        Err(ApplyError("this state machine takes no copies".into()))
    }
}

/// A copy that is being received. Dropped before [`SnapshotSink::install`], it leaves nothing behind, or something that
/// is cleaned up later.
pub trait SnapshotSink: Send {
    fn add(&mut self, chunk: &[u8]) -> Result<(), ApplyError>;

    /// All chunks are here: checks that nothing is missing, and puts it on the disk.
    fn complete(&mut self) -> Result<(), ApplyError>;

    /// For copies that say only at their end after which entry they are ([`StateMachine::export`]): the header that
    /// came behind the machine's last chunk, and that stands for the first one.
    fn last_header(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Makes the copy the state of the replica and this the state of its log, which has no entries from then on: in
    /// one synced write, so that a crash leaves the old replica or the new one. `state.truncated` is the last entry
    /// that is in the copy. From then on the group's [`StateMachine`] and [`super::LogStore`] show the new one. Called
    /// by the group thread while nothing is applied; an error ends the process.
    fn install(self: Box<Self>, state: &LogState) -> Result<(), ApplyError>;
}

/// Why entries could not be applied. There is no going on from here.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ApplyError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Told, by threads of the group and in order, what became of batches. Must return soon and never wait for the group.
pub trait Observer: Send + Sync {
    /// All batches up to this one are committed, but for those that were said to be unknown.
    fn committed(&self, up_to: Seq);

    /// All batches up to this one are in the state machine.
    fn applied(&self, up_to: Seq);

    /// This replica stopped leading before the batches of this group among these were committed. They may be or may not
    /// be, and nobody who waits for them must be told either. Said before any later batch is committed.
    fn unknown(&self, batches: RangeInclusive<Seq>);

    /// All batches up to this one are on the disk and survive the loss of power.
    fn synced(&self, _up_to: Seq) {}

    /// What this replica is in its group has changed. When it begins to serve, all that was committed before is
    /// applied; when it stops leading, this comes after [`Observer::unknown`] and before anything of the new leader is
    /// applied. While it is called the group thread waits: what must not go on has to end before it returns.
    fn role_changed(&self, _role: Role) {}

    /// There was no lease for reads, and now there is one: see [`super::Group::lease_valid`].
    fn lease_renewed(&self) {}

    /// It is known of a later moment than before that the state machine is not older: see
    /// [`super::Group::fresh_since`].
    fn proven(&self) {}

    /// The state machine has been replaced by a copy of another replica's, with everything up to this entry.
    fn installed(&self, _index: LogIndex) {}
}
