//! Bugs that are put in on purpose, to see that the checkers find them. The simulator makes them where it does what the
//! core asks for, so that nothing of them is in the code that is shipped.

/// Numbers in brackets are those of the list of planted bugs in the test programme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    /// Counted as synced when it is only written (01).
    AckAtWrite,
    /// Said to be written before the write begins (01).
    AckBeforeWrite,
    /// Term and vote are not synced (02).
    VoteNotSynced,
    /// The applied index is written after the data (05).
    AppliedAfterData,
    /// The applied index is written before the data (06).
    AppliedBeforeData,
    /// The log is cut before the state that covers it is on the disk (07).
    CompactBeforeSync,
    /// The log is cut further than the state record says.
    CompactTooMuch,
    /// A failed sync is tried again (34).
    FailedSyncRetried,
    /// A damaged entry is taken for the end of the log (35).
    DamageEndsLog,
    /// The last applied entry is applied again after a restart.
    ReplayFromApplied,
    /// The first entry after the applied one is left out after a restart.
    ReplaySkipsOne,
    /// Truncation forgets the term of the last truncated entry.
    TruncatedTermLost,
    /// Entries of a new term are written without the state that names the term.
    StateNotWithEntries,
    /// The data is flushed without the log that it was made of.
    StateInItsOwnOrder,
    /// The log is cut up to what is applied, whether that is flushed or not (07).
    CompactUnsaved,
    /// A commit notice is taken to cover all that was handed in.
    AckWholeQueue,
    /// Batches that waited together are proposed in the wrong order.
    QueueReversed,
    /// What was committed while the background sync ran counts as synced by it.
    SyncedByLaterSync,
    /// A write is not whole or not at all.
    TornWriteKept,
    /// A commit is handed to the state machine twice.
    AppliedTwice,
}

impl Planted {
    pub const ALL: [Planted; 20] = [
        Planted::AckAtWrite,
        Planted::AckBeforeWrite,
        Planted::VoteNotSynced,
        Planted::AppliedAfterData,
        Planted::AppliedBeforeData,
        Planted::CompactBeforeSync,
        Planted::CompactTooMuch,
        Planted::FailedSyncRetried,
        Planted::DamageEndsLog,
        Planted::ReplayFromApplied,
        Planted::ReplaySkipsOne,
        Planted::TruncatedTermLost,
        Planted::StateNotWithEntries,
        Planted::StateInItsOwnOrder,
        Planted::CompactUnsaved,
        Planted::AckWholeQueue,
        Planted::QueueReversed,
        Planted::SyncedByLaterSync,
        Planted::TornWriteKept,
        Planted::AppliedTwice,
    ];
}
