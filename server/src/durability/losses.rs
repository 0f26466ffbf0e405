//! Batches whose fate is unknown, because this node stopped to lead their group before they were committed.

use basalt_storage::keyspace::high_water::Span;
use basalt_storage::seq::Seq;
use parking_lot::RwLock;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many losses are remembered. Connections are closed within milliseconds, and leaders change within seconds.
const KEPT: usize = 256;

/// How often this node has lost the lead of a group. Whoever sees the same number before and after an evaluation has
/// seen no loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reign(u64);

/// Whether it is known by now who depends on what was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Further output may come to depend on it.
    Open,
    Settled,
}

#[derive(Debug, Default)]
pub struct Losses {
    count: AtomicU64,
    /// So many were noted. Those of other groups that lie between them count too, so it is about that.
    batches: AtomicU64,
    lost: RwLock<Vec<RangeInclusive<Seq>>>,
}

impl Losses {
    #[inline]
    pub fn reign(&self) -> Reign {
        Reign(self.count.load(Ordering::Acquire))
    }

    pub fn is_empty(&self) -> bool {
        self.reign() == Reign::default()
    }

    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    pub fn note(&self, batches: RangeInclusive<Seq>) {
        self.batches.fetch_add((batches.end().0 + 1).saturating_sub(batches.start().0), Ordering::Relaxed);
        let mut lost = self.lost.write();
        if lost.len() == KEPT {
            lost.remove(0);
        }
        lost.push(batches);
        drop(lost);
        self.note_deposed();
    }

    pub fn note_deposed(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether one of these batches is lost, or lies between batches that are.
    pub fn meet(&self, span: Span) -> bool {
        let Span { first, last } = span;
        last != Seq::NONE && self.lost.read().iter().any(|lost| *lost.start() <= last && first <= *lost.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, last: u64) -> Span {
        Span { first: Seq(first), last: Seq(last) }
    }

    #[test]
    fn what_depends_on_a_lost_batch_is_lost() {
        let losses = Losses::default();
        let before = losses.reign();
        assert!(losses.is_empty() && !losses.meet(span(1, 100)));
        losses.note(Seq(10)..=Seq(12));
        assert_ne!(losses.reign(), before);
        let met: Vec<bool> = [(1, 9), (1, 10), (11, 11), (12, 90), (13, 90), (5, 50)]
            .map(|(first, last)| losses.meet(span(first, last)))
            .into();
        assert_eq!(met, [false, true, true, true, false, true]);
        assert!(!losses.meet(span(0, 0)), "it depends on nothing");
    }

    #[test]
    fn the_number_of_remembered_losses_is_bounded() {
        let losses = Losses::default();
        (1..=2 * KEPT as u64).for_each(|seq| losses.note(Seq(seq)..=Seq(seq)));
        assert_eq!(losses.lost.read().len(), KEPT);
        assert!(losses.meet(span(2 * KEPT as u64, u64::MAX)));
    }
}
