//! Settings that the keyspace looks at while it evaluates; changed at run time without a lock.

use crate::types::{HashLimits, ListLimits, SetLimits, ZsetLimits};
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicUsize, Ordering::Relaxed};

/// A collection of as many elements is quick to load, and is then in memory for all that comes.
const OUTLINE_ABOVE: usize = 1024;

/// How access stamps are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AccessPolicy {
    /// The stamp is the time of the last access.
    Lru = 0,
    /// The stamp is a decaying counter of accesses.
    Lfu = 1,
}

/// Encoding limits and access policy, as the directives of the same names set them.
pub struct Settings {
    pub hash_max_listpack_entries: AtomicUsize,
    pub hash_max_listpack_value: AtomicUsize,
    pub set_max_intset_entries: AtomicUsize,
    pub set_max_listpack_entries: AtomicUsize,
    pub set_max_listpack_value: AtomicUsize,
    pub zset_max_listpack_entries: AtomicUsize,
    pub zset_max_listpack_value: AtomicUsize,
    pub list_max_listpack_size: AtomicI64,
    pub lfu_log_factor: AtomicUsize,
    /// Minutes per halving step of the LFU counter.
    pub lfu_decay_time: AtomicUsize,
    /// Of a cold value in more parts than this only the outline is loaded, if that is enough.
    pub outline_above: AtomicUsize,
    access: AtomicU8,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hash_max_listpack_entries: AtomicUsize::new(128),
            hash_max_listpack_value: AtomicUsize::new(64),
            set_max_intset_entries: AtomicUsize::new(512),
            set_max_listpack_entries: AtomicUsize::new(128),
            set_max_listpack_value: AtomicUsize::new(64),
            zset_max_listpack_entries: AtomicUsize::new(128),
            zset_max_listpack_value: AtomicUsize::new(64),
            list_max_listpack_size: AtomicI64::new(-2),
            lfu_log_factor: AtomicUsize::new(10),
            lfu_decay_time: AtomicUsize::new(1),
            outline_above: AtomicUsize::new(OUTLINE_ABOVE),
            access: AtomicU8::new(AccessPolicy::Lru as u8),
        }
    }
}

impl Settings {
    /// Takes over what others have set.
    pub(super) fn copy(&self, other: &Settings) {
        let both = [
            (&self.hash_max_listpack_entries, &other.hash_max_listpack_entries),
            (&self.hash_max_listpack_value, &other.hash_max_listpack_value),
            (&self.set_max_intset_entries, &other.set_max_intset_entries),
            (&self.set_max_listpack_entries, &other.set_max_listpack_entries),
            (&self.set_max_listpack_value, &other.set_max_listpack_value),
            (&self.zset_max_listpack_entries, &other.zset_max_listpack_entries),
            (&self.zset_max_listpack_value, &other.zset_max_listpack_value),
            (&self.lfu_log_factor, &other.lfu_log_factor),
            (&self.lfu_decay_time, &other.lfu_decay_time),
            (&self.outline_above, &other.outline_above),
        ];
        both.iter().for_each(|(own, other)| own.store(other.load(Relaxed), Relaxed));
        self.list_max_listpack_size.store(other.list_max_listpack_size.load(Relaxed), Relaxed);
        self.put_access_policy(other.access_policy());
    }

    pub fn hash_limits(&self) -> HashLimits {
        HashLimits {
            max_listpack_entries: self.hash_max_listpack_entries.load(Relaxed),
            max_listpack_value: self.hash_max_listpack_value.load(Relaxed),
        }
    }

    pub fn set_limits(&self) -> SetLimits {
        SetLimits {
            max_intset_entries: self.set_max_intset_entries.load(Relaxed),
            max_listpack_entries: self.set_max_listpack_entries.load(Relaxed),
            max_listpack_value: self.set_max_listpack_value.load(Relaxed),
        }
    }

    pub fn zset_limits(&self) -> ZsetLimits {
        ZsetLimits {
            max_listpack_entries: self.zset_max_listpack_entries.load(Relaxed),
            max_listpack_value: self.zset_max_listpack_value.load(Relaxed),
        }
    }

    #[inline]
    pub fn list_limits(&self) -> ListLimits {
        ListLimits::new(self.list_max_listpack_size.load(Relaxed))
    }

    #[inline]
    pub fn access_policy(&self) -> AccessPolicy {
        if self.access.load(Relaxed) == AccessPolicy::Lfu as u8 { AccessPolicy::Lfu } else { AccessPolicy::Lru }
    }

    pub fn put_access_policy(&self, policy: AccessPolicy) {
        self.access.store(policy as u8, Relaxed);
    }
}
