//! Replicas at the same applied index hold the same data: here that is proved while they run.
//!
//! 1. The leader of a group puts a check into the group's log ([`basalt_storage::effect::Check`]).
//! 2. Each replica that applies it takes a snapshot of its engine at exactly that entry, while the apply thread waits.
//!    That is all that is done for a check until the leader asks for its outcome.
//! 3. The leader asks each replica, itself too, again and again. The first question has a thread of the replica read
//!    the slots, no faster than `cluster-verify-max-bytes-per-second`, and sum them up
//!    ([`basalt_storage::engine::EngineSnapshot::digest`]); later ones hear how it goes, and that it is still wanted.
//! 4. It compares the digests slot by slot. Who has not answered was not compared, which is no difference.
//!
//! So nothing but the log says what is compared, and whoever is behind, is founded anew meanwhile or runs an older
//! version is left out and named. A large group is compared in portions of slots, so that no snapshot is kept for long:
//! it keeps what was overwritten on the disk.
//!
//! Bounds: a replica has at most one check, and a newer one ends it; an outcome is a number for each slot. A node leads
//! one check at a time.
//!
//! | file | owns |
//! |---|---|
//! | `digests` | a replica's part: snapshots, and what comes of them |
//! | `verifier` | the leader's part, for one group |
//! | `everywhere` | all groups of the cluster, for CLUSTER VERIFY |
//! | `schedule` | when it is done without being asked for |
//! | `report` | what came of it; pure |
//! | `wire` | what nodes ask each other; pure |
//! | `figures` | what is counted |

mod digests;
mod everywhere;
mod figures;
mod report;
mod schedule;
mod verifier;
mod wire;

pub use digests::Digests;
pub use everywhere::verify_all;
pub use figures::{Figures, Known};
pub use report::{Difference, Report, Verdict};
pub use verifier::Verifier;
