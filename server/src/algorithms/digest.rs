//! Digests of data, for DEBUG DIGEST and DEBUG DIGEST-VALUE: equal data gives equal digests, however it is encoded
//! and in whatever order sets, hashes and keys are walked.
//!
//! The bytes are Redis's own, so that a dataset can be compared with one in redis-server. Two ways of adding
//! make it up: `mix` depends on the order, `join` does not. Invariant: whether a key expires counts, when it
//! does not.

use basalt_storage::number::format_f64;
use sha1::{Digest as _, Sha1};
use std::fmt;

const LEN: usize = 20;

/// What stands for an expiry time in the digest of a value.
const EXPIRES_MARK: &[u8] = b"!!expire!!";

/// A digest, or the sum of what went into one so far. Prints as 40 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; LEN]);

/// The type of a value, as Redis numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String = 0,
    List = 1,
    Set = 2,
    SortedSet = 3,
    Hash = 4,
}

/// Whether a key has an expiry time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    Forever,
    Expires,
}

impl Digest {
    /// Starts the part of one database of a dataset; empty databases have none.
    pub fn begin_database(&mut self, index: u32) {
        self.mix(&index.to_be_bytes());
    }

    /// Adds a key to the dataset. Keys of a database come in any order.
    pub fn add_key(&mut self, key: Digest) {
        self.join(&key.0);
    }

    /// Starts the digest of a key with its value: what DEBUG DIGEST adds up.
    pub fn of_key(key: &[u8], kind: Kind) -> Digest {
        let mut digest = Digest::default();
        digest.mix(key);
        digest.mix(&(kind as u32).to_be_bytes());
        digest
    }

    /// Starts the digest of a value alone: what DEBUG DIGEST-VALUE answers.
    pub fn of_value(kind: Kind) -> Digest {
        let mut digest = Digest::default();
        digest.mix(&(kind as u32).to_be_bytes());
        digest
    }

    /// Adds the content of a string, or the next element of a list.
    pub fn add_element(&mut self, element: &[u8]) {
        self.mix(element);
    }

    /// Adds a member of a set.
    pub fn add_member(&mut self, member: &[u8]) {
        self.join(member);
    }

    /// Adds a member of a sorted set.
    pub fn add_scored(&mut self, member: &[u8], score: f64) {
        self.add_pair(member, &format_f64(score));
    }

    /// Adds a field of a hash.
    pub fn add_field(&mut self, field: &[u8], value: &[u8]) {
        self.add_pair(field, value);
    }

    /// Ends the digest of a value.
    pub fn finish(mut self, lifetime: Lifetime) -> Digest {
        if lifetime == Lifetime::Expires {
            self.join(EXPIRES_MARK);
        }
        self
    }

    fn add_pair(&mut self, first: &[u8], second: &[u8]) {
        let mut pair = Digest::default();
        pair.mix(first);
        pair.mix(second);
        self.join(&pair.0);
    }

    /// Adds bytes so that the order of additions does not matter.
    fn join(&mut self, bytes: &[u8]) {
        let hash: [u8; LEN] = Sha1::digest(bytes).into();
        self.0.iter_mut().zip(hash).for_each(|(byte, with)| *byte ^= with);
    }

    /// Adds bytes so that the order of additions does matter.
    fn mix(&mut self, bytes: &[u8]) {
        self.join(bytes);
        self.0 = Sha1::digest(self.0).into();
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DEBUG DIGEST of redis-server 7.0.15 for the data that the test builds; databases 0 and 3.
    const DATASET: &str = "829dd01aef56d6ebaaf45bcbfc94f4d0a78bc2af";

    /// DEBUG DIGEST-VALUE of the same keys of database 0.
    const VALUES: [(&str, &str); 5] = [
        ("string", "e1cf90774e995ae03de66e8109dc5cb9d9c2dc83"),
        ("list", "b305d95ad5177199fcbd6188ebcab5f2377ae177"),
        ("set", "2a462a3f51a1db89738ebbeef0c47ce1bbc85246"),
        ("sorted", "191cfcebe33ebcc9915cefa720b29127bd1431e7"),
        ("hash", "a46d501e2b1d952bb881f8d7749a25cb9f494caa"),
    ];

    fn fill(mut start: impl FnMut(Kind) -> Digest) -> [Digest; 5] {
        let mut string = start(Kind::String);
        string.add_element(b"12345");
        let mut list = start(Kind::List);
        [&b"a"[..], b"b", b"10", b"a"].iter().for_each(|element| list.add_element(element));
        let mut set = start(Kind::Set);
        [&b"3"[..], b"1", b"2"].iter().for_each(|member| set.add_member(member));
        let mut sorted = start(Kind::SortedSet);
        [(&b"y"[..], 0.1), (b"x", 1.0), (b"z", f64::INFINITY)]
            .iter()
            .for_each(|(m, score)| sorted.add_scored(m, *score));
        let mut hash = start(Kind::Hash);
        [(&b"g"[..], &b"7"[..]), (b"f", b"v")].iter().for_each(|(field, value)| hash.add_field(field, value));
        let forever = [string, list, set, sorted].map(|digest| digest.finish(Lifetime::Forever));
        let [string, list, set, sorted] = forever;
        [string, list, set, sorted, hash.finish(Lifetime::Expires)]
    }

    #[test]
    fn digests_of_values_are_those_of_redis() {
        for (digest, (name, expected)) in fill(Digest::of_value).iter().zip(VALUES) {
            assert_eq!(digest.to_string(), expected, "{name}");
        }
    }

    #[test]
    fn digests_of_datasets_are_those_of_redis() {
        let mut names = VALUES.iter().map(|(name, _)| name.as_bytes());
        let keys = fill(|kind| Digest::of_key(names.next().expect("a name per value"), kind));
        let mut dataset = Digest::default();
        assert_eq!(dataset.to_string(), "0".repeat(40));
        dataset.begin_database(0);
        keys.iter().rev().for_each(|key| dataset.add_key(*key));
        dataset.begin_database(3);
        let mut other = Digest::of_key(b"k", Kind::String);
        other.add_element(b"v");
        dataset.add_key(other.finish(Lifetime::Forever));
        assert_eq!(dataset.to_string(), DATASET);
    }

    #[test]
    fn order_matters_in_lists_only() {
        let list = |elements: [&[u8]; 2]| {
            let mut digest = Digest::of_value(Kind::List);
            elements.iter().for_each(|element| digest.add_element(element));
            digest
        };
        let set = |members: [&[u8]; 2]| {
            let mut digest = Digest::of_value(Kind::Set);
            members.iter().for_each(|member| digest.add_member(member));
            digest
        };
        assert_ne!(list([b"a", b"b"]), list([b"b", b"a"]));
        assert_eq!(set([b"a", b"b"]), set([b"b", b"a"]));
        assert_ne!(set([b"a", b"b"]), set([b"a", b"c"]));
    }
}
