//! What a replica is in its group, as others need to know it.

use super::ids::{ReplicaId, Term};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader {
        term: Term,
        /// The state machine holds all that earlier leaders have committed, and the lead is not being handed over.
        serves: bool,
    },
    /// Also a candidate, a learner, and one that waits for its first snapshot.
    Follower {
        term: Term,
        /// Who leads, as far as this replica knows.
        leader: Option<ReplicaId>,
    },
}

impl Role {
    pub fn term(self) -> Term {
        match self {
            Role::Leader { term, .. } | Role::Follower { term, .. } => term,
        }
    }

    /// The word for it in INFO, metrics and on the status page.
    pub fn name(self) -> &'static str {
        match self {
            Role::Leader { serves: true, .. } => "leader",
            Role::Leader { serves: false, .. } => "leader-elect",
            Role::Follower { .. } => "follower",
        }
    }

    /// Whether this replica leads, or knows who does.
    pub fn knows_leader(self) -> bool {
        !matches!(self, Role::Follower { leader: None, .. })
    }

    pub fn serves(self) -> bool {
        matches!(self, Role::Leader { serves: true, .. })
    }
}
