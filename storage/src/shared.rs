//! Bytes of a large string that several may hold at once: its entry, a request that brings it, replies on their way to
//! slow clients, effects. None of them copies it, since copying hundreds of megabytes under a lock stops everybody.
//!
//! Whoever changes such bytes has a copy of their own from then on, unless nobody else holds them ([`to_mut`]).
//!
//! [`to_mut`]: SharedBytes::to_mut

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Strings from this length on are shared. Copying a shorter one costs less than what sharing adds.
pub const SHARED_MIN: usize = 64 << 10;

/// Bytes that are freed when the last of those who hold them lets go.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedBytes(Arc<Vec<u8>>);

impl SharedBytes {
    /// The bytes to change: those that the others hold stay as they are.
    pub fn to_mut(&mut self) -> &mut Vec<u8> {
        Arc::make_mut(&mut self.0)
    }

    /// Whether this is the last one who holds them.
    pub fn has_one_holder(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The bytes, copied only if others hold them too.
    pub fn into_vec(self) -> Vec<u8> {
        Arc::unwrap_or_clone(self.0)
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> SharedBytes {
        SharedBytes(Arc::new(bytes))
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.len())
    }
}
