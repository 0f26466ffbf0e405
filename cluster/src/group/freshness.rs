//! Since when a follower's state is known to have been its leader's, for those who read from it.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::Mutex;

use super::ids::LogIndex;

/// Proofs that wait for entries to be applied. Of more, the newest takes the place of the one before it.
const PROOFS_MAX: usize = 16;

/// What had been committed at `since` ends at `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub since: Instant,
    pub index: LogIndex,
}

/// See [`super::core::Action::Proven`], which tells why a proof holds.
#[derive(Default)]
pub(super) struct Freshness {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// In order. The first is the newest of those that are applied, if any is.
    proofs: VecDeque<Proof>,
    applied: LogIndex,
}

/// Whether something that was waited for has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Yes,
    No,
}

impl Freshness {
    /// Takes a proof; says whether what it speaks of is applied. `applied` is asked for in here, so that either this or
    /// the [`Freshness::note_applied`] that follows the application says so.
    pub(super) fn add(&self, proof: Proof, applied: impl Fn() -> LogIndex) -> News {
        let mut known = self.known.lock();
        if known.proofs.back().is_some_and(|last| last.since >= proof.since) {
            return News::No;
        }
        if known.proofs.len() >= PROOFS_MAX {
            known.proofs.pop_back();
        }
        known.proofs.push_back(proof);
        known.advance(applied());
        if proof.index <= known.applied { News::Yes } else { News::No }
    }

    /// Entries are applied; says whether a proof has become good by that.
    pub(super) fn note_applied(&self, applied: LogIndex) -> News {
        self.known.lock().advance(applied)
    }

    /// Not older than this is a state in which everything up to `applied` is applied.
    pub(super) fn since(&self, applied: LogIndex) -> Option<Instant> {
        let known = self.known.lock();
        known.proofs.iter().rev().find(|proof| proof.index <= applied).map(|proof| proof.since)
    }
}

impl Known {
    /// Forgets the proofs that a later one makes useless.
    fn advance(&mut self, applied: LogIndex) -> News {
        let has_come = |proof: &Proof| proof.index > self.applied && proof.index <= applied;
        let news = if self.proofs.iter().any(has_come) { News::Yes } else { News::No };
        self.applied = self.applied.max(applied);
        while self.proofs.get(1).is_some_and(|next| next.index <= self.applied) {
            self.proofs.pop_front();
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_proof_is_good_when_what_it_speaks_of_is_applied() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let proof = |seconds, index| Proof { since: at(seconds), index: LogIndex(index) };
        let freshness = Freshness::default();
        assert_eq!(freshness.since(LogIndex(100)), None, "nobody has said anything");
        assert_eq!(freshness.add(proof(1, 5), || LogIndex(5)), News::Yes);
        assert_eq!(freshness.add(proof(2, 8), || LogIndex(5)), News::No);
        assert_eq!(freshness.since(LogIndex(7)), Some(at(1)), "the later one waits for entry 8");
        assert_eq!(freshness.note_applied(LogIndex(7)), News::No);
        assert_eq!(freshness.note_applied(LogIndex(9)), News::Yes);
        assert_eq!(freshness.since(LogIndex(9)), Some(at(2)));
        assert_eq!(freshness.note_applied(LogIndex(10)), News::No, "it was said once");
        assert_eq!(freshness.add(proof(1, 10), || LogIndex(10)), News::No, "an answer that is late proves nothing new");
    }

    #[test]
    fn a_state_that_lags_behind_keeps_what_it_will_reach_first() {
        let began = Instant::now();
        let freshness = Freshness::default();
        let count = 3 * PROOFS_MAX as u64;
        for number in 1..=count {
            let proof = Proof { since: began + Duration::from_secs(number), index: LogIndex(number) };
            assert_eq!(freshness.add(proof, || LogIndex(0)), News::No);
        }
        assert_eq!(freshness.known.lock().proofs.len(), PROOFS_MAX);
        assert_eq!(freshness.note_applied(LogIndex(1)), News::Yes);
        assert_eq!(freshness.since(LogIndex(1)), Some(began + Duration::from_secs(1)));
        assert_eq!(freshness.note_applied(LogIndex(count)), News::Yes);
        assert_eq!(freshness.since(LogIndex(count)), Some(began + Duration::from_secs(count)));
    }
}
