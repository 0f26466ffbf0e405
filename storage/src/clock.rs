//! Time as the storage layer sees it: a number handed in, never read here.

/// Milliseconds since the Unix epoch. Signed, because clients may set expiries before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// Whether an entry with this expiry is gone at `now`.
    #[inline]
    pub fn is_due(self, now: UnixMs) -> bool {
        now.0 > self.0
    }
}
