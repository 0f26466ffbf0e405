//! Which key to evict: policies, scores, and the pool of the best candidates seen so far. Pure.
//!
//! Looking at all keys would be exact and far too slow, so a few are drawn at a time, and the best of them are kept for
//! the next time (Redis documentation, "Approximated LRU algorithm"). Before a candidate is evicted it is scored again
//! ([`crate::keyspace::View`] does that): what was used since it entered the pool is spared.

use crate::access;
use crate::clock::UnixMs;
use crate::effect::DbIndex;
use crate::entry::EntryRef;
use crate::keyspace::{AccessPolicy, Settings};

/// Candidates kept between two evictions.
const POOL_MAX: usize = 16;

/// Which keys may be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    /// Those with an expiry.
    Volatile,
}

/// Which of them goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// The one that was used longest ago.
    LeastRecent,
    /// The one that is used least.
    LeastFrequent,
    /// The one that would expire first.
    ShortestLife,
    Random,
}

/// A `maxmemory-policy` other than `noeviction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub scope: Scope,
    pub rank: Rank,
}

impl Policy {
    /// The policy of this name; `None` for `noeviction`, and for names that the table of settings does not let pass.
    pub fn named(name: &str) -> Option<Policy> {
        let (scope, rank) = name.split_once('-')?;
        let scope = match scope {
            "allkeys" => Scope::All,
            "volatile" => Scope::Volatile,
            _ => return None,
        };
        let rank = match rank {
            "lru" => Rank::LeastRecent,
            "lfu" => Rank::LeastFrequent,
            "ttl" => Rank::ShortestLife,
            "random" => Rank::Random,
            _ => return None,
        };
        Some(Policy { scope, rank })
    }

    /// What access stamps must hold for this policy.
    pub fn access(self) -> AccessPolicy {
        if self.rank == Rank::LeastFrequent { AccessPolicy::Lfu } else { AccessPolicy::Lru }
    }
}

/// How much an entry asks to be evicted: the higher, the sooner.
pub fn score(rank: Rank, entry: EntryRef<'_>, settings: &Settings, now: UnixMs) -> u64 {
    match rank {
        Rank::LeastRecent => access::idle_ms(entry.stamp(), now),
        Rank::LeastFrequent => u64::from(u8::MAX - access::frequency(entry.stamp(), settings, now)),
        Rank::ShortestLife => entry.expiry().map_or(0, |at| u64::MAX - at.0.max(0) as u64),
        Rank::Random => 0,
    }
}

/// A key that may be evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub score: u64,
    pub db: DbIndex,
    pub key: Box<[u8]>,
}

/// The best candidates so far, in ascending order of their scores.
#[derive(Default)]
pub struct Pool {
    candidates: Vec<Candidate>,
    /// What the scores mean; a pool of another rank is worth nothing.
    rank: Option<Rank>,
}

impl Pool {
    /// Prepares the pool for scores of this rank.
    pub fn rank_by(&mut self, rank: Rank) {
        if self.rank != Some(rank) {
            self.candidates.clear();
            self.rank = Some(rank);
        }
    }

    /// Takes the key in if it is better than the worst, or if there is room.
    pub fn offer(&mut self, score: u64, db: DbIndex, key: &[u8]) {
        if self.candidates.len() == POOL_MAX && score <= self.candidates[0].score {
            return;
        }
        if let Some(known) = self.candidates.iter().position(|other| other.db == db && *other.key == *key) {
            self.candidates.remove(known);
        } else if self.candidates.len() == POOL_MAX {
            self.candidates.remove(0);
        }
        let at = self.candidates.partition_point(|other| other.score < score);
        self.candidates.insert(at, Candidate { score, db, key: key.into() });
    }

    /// Takes the best candidate out.
    pub fn take_best(&mut self) -> Option<Candidate> {
        self.candidates.pop()
    }

    /// Bytes held, for the memory reports.
    pub fn heap_bytes(&self) -> usize {
        let keys: usize = self.candidates.iter().map(|candidate| candidate.key.len()).sum();
        self.candidates.capacity() * size_of::<Candidate>() + keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DB: DbIndex = DbIndex(0);

    #[test]
    fn names_are_those_of_the_directive() {
        let policy = |scope, rank| Some(Policy { scope, rank });
        assert_eq!(Policy::named("allkeys-lru"), policy(Scope::All, Rank::LeastRecent));
        assert_eq!(Policy::named("volatile-lfu"), policy(Scope::Volatile, Rank::LeastFrequent));
        assert_eq!(Policy::named("volatile-ttl"), policy(Scope::Volatile, Rank::ShortestLife));
        assert_eq!(Policy::named("allkeys-random"), policy(Scope::All, Rank::Random));
        assert_eq!(Policy::named("noeviction"), None);
    }

    #[test]
    fn the_pool_keeps_the_best_and_gives_the_best_first() {
        let mut pool = Pool::default();
        pool.rank_by(Rank::LeastRecent);
        for number in 0..100u64 {
            // Every number once, in an order that is neither ascending nor descending.
            let score = number * 37 % 100;
            pool.offer(score, DB, format!("{score}").as_bytes());
        }
        let scores: Vec<u64> = std::iter::from_fn(|| pool.take_best()).map(|candidate| candidate.score).collect();
        assert_eq!(scores, (84..100).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_key_is_in_the_pool_once_with_its_last_score() {
        let mut pool = Pool::default();
        pool.offer(5, DB, b"a");
        pool.offer(7, DB, b"b");
        pool.offer(9, DB, b"a");
        pool.offer(9, DbIndex(1), b"a");
        let order: Vec<_> = std::iter::from_fn(|| pool.take_best()).map(|best| (best.score, best.db.0)).collect();
        assert_eq!(order, [(9, 0), (9, 1), (7, 0)]);
    }

    #[test]
    fn another_rank_starts_with_an_empty_pool() {
        let mut pool = Pool::default();
        pool.rank_by(Rank::LeastRecent);
        pool.offer(5, DB, b"a");
        pool.rank_by(Rank::LeastFrequent);
        assert_eq!(pool.take_best(), None);
    }
}
