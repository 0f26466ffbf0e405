//! The options about the time to live: EX, PX, EXAT, PXAT, KEEPTTL, PERSIST.

use crate::commands::parse;
use crate::error::CommandError;
use crate::resp::Args;
use basalt_storage::clock::UnixMs;

/// How a number tells the moment at which a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// EX
    Seconds,
    /// PX
    Milliseconds,
    /// EXAT
    UnixSeconds,
    /// PXAT
    UnixMilliseconds,
}

/// What the options say; of a term given twice the last number counts, two terms exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime<'a> {
    Unsaid,
    /// KEEPTTL
    Keep,
    /// PERSIST
    Persist,
    Given(Term, &'a [u8]),
}

impl Term {
    const WORDS: [(&'static str, Term); 4] = [
        ("EX", Term::Seconds),
        ("PX", Term::Milliseconds),
        ("EXAT", Term::UnixSeconds),
        ("PXAT", Term::UnixMilliseconds),
    ];

    /// The moment that `number` means, which need not lie ahead. `command` is named by the error.
    pub(super) fn moment(self, number: &[u8], now: UnixMs, command: &str) -> Result<UnixMs, CommandError> {
        let number = parse::integer(number)?;
        self.add_to(number, now).ok_or_else(|| CommandError::invalid_expire_time(command))
    }

    fn add_to(self, number: i64, now: UnixMs) -> Option<UnixMs> {
        if number <= 0 {
            return None;
        }
        let milliseconds = match self {
            Term::Seconds | Term::UnixSeconds => number.checked_mul(1000)?,
            Term::Milliseconds | Term::UnixMilliseconds => number,
        };
        match self {
            Term::Seconds | Term::Milliseconds => milliseconds.checked_add(now.0).map(UnixMs),
            Term::UnixSeconds | Term::UnixMilliseconds => Some(UnixMs(milliseconds)),
        }
    }

    /// Whether the moment does not depend on when the command runs.
    pub(super) fn is_absolute(self) -> bool {
        matches!(self, Term::UnixSeconds | Term::UnixMilliseconds)
    }
}

impl<'a> Lifetime<'a> {
    /// Takes in the option at position `at`, where a flag is called `flag`, as `KEEPTTL` and stands for `flagged`.
    /// Returns how many arguments it spans; none if the option is about something else or contradicts an earlier one.
    pub(super) fn take(&mut self, args: Args<'a>, at: usize, flag: &str, flagged: Lifetime<'a>) -> usize {
        let (new, span) = match Term::WORDS.iter().find(|(word, _)| args.is(at, word)) {
            Some((_, term)) => match args.maybe(at + 1) {
                Some(number) => (Lifetime::Given(*term, number), 2),
                None => return 0,
            },
            None if args.is(at, flag) => (flagged, 1),
            None => return 0,
        };
        if !new.may_follow(*self) {
            return 0;
        }
        *self = new;
        span
    }

    fn may_follow(self, earlier: Lifetime<'_>) -> bool {
        match (earlier, self) {
            (Lifetime::Unsaid, _) => true,
            (Lifetime::Given(earlier, _), Lifetime::Given(term, _)) => earlier == term,
            (earlier, new) => earlier == new,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positive_numbers_that_fit_are_moments() {
        let now = UnixMs(1_700_000_000_000);
        assert_eq!(Term::Seconds.add_to(5, now), Some(UnixMs(now.0 + 5000)));
        assert_eq!(Term::UnixSeconds.add_to(5, now), Some(UnixMs(5000)));
        assert_eq!(Term::UnixMilliseconds.add_to(i64::MAX, now), Some(UnixMs(i64::MAX)));
        for (term, number) in [
            (Term::Seconds, 0),
            (Term::UnixSeconds, -1),
            (Term::UnixSeconds, i64::MAX / 1000 + 1),
            (Term::Milliseconds, i64::MAX),
        ] {
            assert_eq!(term.add_to(number, now), None, "{term:?} {number}");
        }
    }
}
