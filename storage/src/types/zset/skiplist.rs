//! A large sorted set: a table that owns the members and finds their scores, and a tree that orders them.
//!
//! Named after its encoding; there is no skip list inside. Invariant: the tree holds an entry for each member of the
//! table and for nothing else. Every entry that is made here is in the tree only while its member is in the table,
//! which neither moves nor changes members on its own; this is what `Scored::entry` asks for.

use std::ops::Range;

use super::member::Scored;
use super::tree::Tree;
use super::{Outcome, assert_score};
use crate::table::{self, ScanCursor, Table};

pub(super) struct Skiplist {
    table: Table<Scored>,
    tree: Tree,
    /// Bytes of all members' allocations.
    member_bytes: usize,
}

impl Skiplist {
    pub fn prefetch<'a>(&self, members: impl Iterator<Item = &'a [u8]>) {
        self.table.prefetch(members);
    }

    pub fn new() -> Skiplist {
        Skiplist { table: Table::new(), tree: Tree::new(), member_bytes: 0 }
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn len(&self) -> usize {
        self.tree.len()
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.table.get(member).map(|item| item.score())
    }

    /// The rank and the score of a member.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let item = self.table.get(member)?;
        // SAFETY: the entry is used while `self` is borrowed, so its member stays.
        let entry = unsafe { item.entry() };
        Some((self.tree.rank(entry), item.score()))
    }

    /// Sets a member's score to what `decide` makes of the present one; `None` leaves things as they are.
    pub fn put_with(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) -> Outcome {
        let hash = table::hash(member);
        let Some(loc) = self.table.find(hash, member) else {
            let Some(score) = decide(None) else {
                return Outcome::Unchanged;
            };
            self.insert_new(hash, member, score);
            return Outcome::Added;
        };
        let item = self.table.at(loc);
        let old = item.score();
        let Some(score) = decide(Some(old)).filter(|&score| score != old) else {
            return Outcome::Unchanged;
        };
        assert_score(score);
        // SAFETY: the member stays in the table; its score changes only below, when nobody reads through the entry.
        let entry = unsafe { item.entry() };
        if self.tree.rescore_in_place(entry, score) {
            self.table.update(loc, |item| item.set_score(score));
        } else {
            self.tree.remove(entry);
            self.table.update(loc, |item| item.set_score(score));
            self.tree.insert(entry);
        }
        Outcome::Updated
    }

    /// Adds a member that is not there.
    pub fn insert_new(&mut self, hash: u64, member: &[u8], score: f64) {
        assert_score(score);
        let item = Scored::new(member, score);
        self.member_bytes += item.heap_bytes();
        // SAFETY: the member goes to the table at once; `remove` and `remove_at` take the entry out of the tree first.
        let entry = unsafe { item.entry() };
        self.table.insert_new(hash, item);
        self.tree.insert(entry);
    }

    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let loc = self.table.find(table::hash(member), member)?;
        // SAFETY: the entry is used before the member leaves the table.
        let entry = unsafe { self.table.at(loc).entry() };
        self.tree.remove(entry);
        let item = self.table.remove(loc);
        self.member_bytes -= item.heap_bytes();
        Some(item.score())
    }

    /// Takes out the member of this rank.
    pub fn remove_at(&mut self, rank: usize) -> Scored {
        let entry = self.tree.remove_at(rank);
        let member = entry.member();
        let loc = self.table.find(table::hash(member), member);
        let item = self.table.remove(loc.expect("every entry's member is in the table"));
        self.member_bytes -= item.heap_bytes();
        item
    }

    pub fn remove_range(&mut self, ranks: Range<usize>, mut visit: impl FnMut(&[u8], f64)) {
        for _ in 0..ranks.len() {
            let item = self.remove_at(ranks.start);
            visit(item.member(), item.score());
        }
    }

    pub fn scan(&self, cursor: ScanCursor, count: usize, mut visit: impl FnMut(&[u8], f64)) -> ScanCursor {
        self.table.scan(cursor, count, |item| visit(item.member(), item.score()))
    }

    pub fn heap_bytes(&self) -> usize {
        size_of::<Skiplist>() + self.table.heap_bytes() + self.tree.heap_bytes() + self.member_bytes
    }
}

impl<'a> FromIterator<(&'a [u8], f64)> for Skiplist {
    /// Members are distinct; in ascending order they leave full leaves.
    fn from_iter<I: IntoIterator<Item = (&'a [u8], f64)>>(members: I) -> Skiplist {
        let mut skiplist = Skiplist::new();
        for (member, score) in members {
            skiplist.insert_new(table::hash(member), member, score);
        }
        skiplist
    }
}
