//! Bugs that are put in on purpose, where the simulation does what a core asks for. Numbers in brackets are those of
//! the list of planted bugs in the test programme.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// What vouches for a write leaves before it is synced (01).
    SaidBeforeSync,
    /// Term and vote are written and not synced, and nobody waits for it (02).
    VoteNotSynced,
    /// The tail of an overruled leader stays (04).
    TailKept,
    /// The applied index is written after the data (05).
    AppliedAfterData,
    /// The log is cut before the state that covers it is on the disk (07).
    CompactBeforeSync,
    /// The copy of the data is older than the entry it is said to be for (08).
    SnapshotTooOld,
    /// A snapshot is installed in two writes (09).
    InstallInTwoWrites,
    /// Nobody is told that a snapshot was not delivered (10).
    DeliveryNotReported,
    /// Members do not get into the state record (12).
    MembersNotWritten,
    /// Votes do not get to replicas that are no members yet, or learners (16).
    NoVotesToLearners,
    /// A replica that lost its disk comes back under its old number (18).
    NumberUsedAgain,
    /// A leader serves reads as long as it takes itself for the leader (20).
    LeaseForever,
    /// The lease runs from the time at which the round is confirmed (22).
    LeaseFromTheEnd,
    /// What a follower learns is taken to hold for the time at which it learns it.
    ProofFromTheEnd,
    /// Reads are served before an entry of the leader's own term is applied (23).
    ReadsTooEarly,
    /// A commit notice is taken to cover all that was handed in.
    AckWholeQueue,
    /// Batches of unknown fate are acknowledged.
    UnknownAcknowledged,
    /// A lease stays when its leader has asked another one to take over (20).
    LeaseThroughTransfer,
    /// A replica that has just started votes at once: it does not know what it has promised.
    PromiseForgotten,
}

impl Bug {
    pub const ALL: [Bug; 19] = [
        Bug::SaidBeforeSync,
        Bug::VoteNotSynced,
        Bug::TailKept,
        Bug::AppliedAfterData,
        Bug::CompactBeforeSync,
        Bug::SnapshotTooOld,
        Bug::InstallInTwoWrites,
        Bug::DeliveryNotReported,
        Bug::MembersNotWritten,
        Bug::NoVotesToLearners,
        Bug::NumberUsedAgain,
        Bug::LeaseForever,
        Bug::LeaseFromTheEnd,
        Bug::ProofFromTheEnd,
        Bug::ReadsTooEarly,
        Bug::AckWholeQueue,
        Bug::UnknownAcknowledged,
        Bug::LeaseThroughTransfer,
        Bug::PromiseForgotten,
    ];
}
