//! Bugs that are put in on purpose, in the ground on which real code stands here, to see that the checkers find them.
//! Nothing of them is in the code that is shipped. Numbers in brackets are those of the list of planted bugs in the
//! test programme.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// The commit is asked for without a seal: neither in memory nor in the log.
    CommitWithoutSeal,
    /// The seal is in the memory of the leader alone.
    SealNotLogged,
    /// The source goes on serving slots that it has sealed (32).
    SealIgnored,
    /// Who comes to lead believes an old map about slots that another leader has sealed and given away.
    SealsForgotten,
    /// Sealed slots are served again when the answer to the commit takes long.
    UnsealedByTimeout,
    /// The target says that all is applied when it has only been handed in.
    SaidBeforeApplied,
    /// The source does not wait for the target's word.
    AnswerNotAwaited,
    /// The source clears the slots before it asks for the commit.
    ClearedBeforeCommit,
    /// What changes while slots are copied is forgotten.
    TailForgotten,
    /// What was applied just before the seal is forgotten.
    LastOfTailForgotten,
    /// What was in the snapshot is sent again with the tail.
    TailFromTheBeginning,
    /// Who takes over from another source's leader does not have the copying begun anew.
    RestartSkipped,
    /// What was there of arriving slots stays.
    NotCleared,
    /// A node takes over a map that is older than its own.
    MapGoesBack,
    /// A node serves slots by the map while its replica does not serve yet (33).
    ServedTooEarly,
    /// A node that leads no more keeps its slots' keys for when it leads again.
    SlotsKept,
    /// Writes are acknowledged when they are evaluated.
    AckedAtOnce,
}

impl Bug {
    /// Those that it takes thousands of seeds to find, which is done by name.
    pub const RARE: [Bug; 1] = [Bug::SealsForgotten];

    pub const ALL: [Bug; 16] = [
        Bug::CommitWithoutSeal,
        Bug::SealNotLogged,
        Bug::SealIgnored,
        Bug::UnsealedByTimeout,
        Bug::SaidBeforeApplied,
        Bug::AnswerNotAwaited,
        Bug::ClearedBeforeCommit,
        Bug::TailForgotten,
        Bug::LastOfTailForgotten,
        Bug::TailFromTheBeginning,
        Bug::RestartSkipped,
        Bug::NotCleared,
        Bug::MapGoesBack,
        Bug::ServedTooEarly,
        Bug::SlotsKept,
        Bug::AckedAtOnce,
    ];
}
