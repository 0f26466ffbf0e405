//! How large the log is, and up to where it may go.
//!
//! Marks at every [`MARK_BYTES`] of log instead of a size per entry: a log of many small entries must not take memory
//! for each of them.

use std::collections::VecDeque;

use crate::group::ids::LogIndex;

const MARK_BYTES: u64 = 256 << 10;

pub(super) struct LogSize {
    /// Entries, and how many bytes have been written up to and with them, ascending in both.
    marks: VecDeque<(LogIndex, u64)>,
    /// Bytes of all entries that ever were in the log.
    total: u64,
    /// Bytes of those that are no longer in it.
    gone: u64,
    bytes_max: u64,
}

/// What is to be left of a log for replicas that lag behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Of the bound.
    Half,
    Nothing,
}

impl LogSize {
    pub(super) fn new(bytes_max: u64) -> LogSize {
        LogSize { marks: VecDeque::new(), total: 0, gone: 0, bytes_max }
    }

    /// Overwritten entries are counted again, which makes the log look longer than it is and is harmless.
    pub(super) fn add(&mut self, index: LogIndex, bytes: usize) {
        self.total += bytes as u64;
        let step = MARK_BYTES.min(self.bytes_max / 8);
        let marked = self.marks.back().map_or(self.gone, |(_, total)| *total);
        if self.total - marked >= step {
            while self.marks.back().is_some_and(|(marked, _)| *marked >= index) {
                self.marks.pop_back();
            }
            self.marks.push_back((index, self.total));
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.total - self.gone
    }

    /// When the log is too large, the last entry that should go so that no more is left than should be kept, or than
    /// is not saved. Takes what goes for gone.
    pub(super) fn take_excess(&mut self, saved: LogIndex, keep: Keep) -> Option<LogIndex> {
        let (begin, end) = match keep {
            Keep::Half => (self.bytes_max, self.bytes_max / 2),
            Keep::Nothing => (self.bytes_max / 8, 0),
        };
        if self.bytes() <= begin {
            return None;
        }
        let mut excess = None;
        while self.bytes() > end {
            let Some((index, total)) = self.marks.front().copied().filter(|(index, _)| *index <= saved) else {
                break;
            };
            (excess, self.gone) = (Some(index), total);
            self.marks.pop_front();
        }
        excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_cut_to_half_its_bound() {
        let mut size = LogSize::new(800);
        for index in 1..=8 {
            size.add(LogIndex(index), 100);
        }
        assert_eq!(size.take_excess(LogIndex(8), Keep::Half), None);
        size.add(LogIndex(9), 100);
        assert_eq!(size.take_excess(LogIndex(9), Keep::Half), Some(LogIndex(5)));
        assert_eq!(size.bytes(), 400);
        assert_eq!(size.take_excess(LogIndex(8), Keep::Nothing), Some(LogIndex(8)));
        assert_eq!((size.bytes(), size.take_excess(LogIndex(9), Keep::Nothing)), (100, None));
    }

    #[test]
    fn what_is_not_saved_stays() {
        let mut size = LogSize::new(800);
        for index in 1..=9 {
            size.add(LogIndex(index), 100);
        }
        assert_eq!(size.take_excess(LogIndex(0), Keep::Half), None);
        assert_eq!(size.take_excess(LogIndex(2), Keep::Half), Some(LogIndex(2)));
        assert_eq!(size.bytes(), 700);
    }

    #[test]
    fn an_entry_larger_than_the_bound_goes_when_it_is_saved() {
        let mut size = LogSize::new(800);
        size.add(LogIndex(1), 5000);
        size.add(LogIndex(2), 10);
        assert_eq!(size.take_excess(LogIndex(2), Keep::Half), Some(LogIndex(1)));
        assert_eq!(size.bytes(), 10);
    }
}
