//! Commands that walk over the keys of a database: KEYS, SCAN, RANDOMKEY.
//!
//! None of them holds a lock for longer than it takes to look at a bounded number of keys, so that others get in
//! between; within a transaction the locks are the transaction's. Walks follow slots in order.

use super::ctx::SessionCtx;
use super::spec::{Flags, Handler::Session, Locks, Spec};
use crate::algorithms::glob::{self, Case};
use crate::error::CommandResult;
use crate::resp::{Args, ReplyBuf};
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::{Key, View, with_rng};
use basalt_storage::slot::{Slot, StripeIndex, StripeSet};
use basalt_storage::table::ScanCursor;
use hashbrown::HashSet;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "keys",
        arity: 2,
        flags: Flags::READONLY,
        categories: &["keyspace", "dangerous"],
        summary: "Lists the keys that match a pattern.",
        syntax: "pattern",
        complexity: "O(N), N being the number of keys in the database",
        locks: Locks::PieceByPiece,
        handler: Session(keys),
        ..Spec::DEFAULT
    },
    Spec {
        name: "randomkey",
        arity: 1,
        flags: Flags::READONLY,
        categories: &["keyspace"],
        summary: "Answers any key.",
        locks: Locks::PieceByPiece,
        handler: Session(random_key),
        ..Spec::DEFAULT
    },
];

/// Keys that are looked at under one lock.
const PIECE: usize = 2048;

fn keys(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let db = ctx.session.db;
    let mut listing = Listing::new(args.at(1), ctx);
    for stripe in StripeIndex::all() {
        if ctx.server.keyspace.stripe_key_count(db, stripe) == 0 {
            continue;
        }
        let mut slots = stripe.slots().peekable();
        while slots.peek().is_some() {
            ctx.with_stripes(StripeSet::of(stripe), |view| listing.piece(view, db, &mut slots));
        }
    }
    ctx.out.array(listing.count);
    ctx.out.raw(listing.found.bytes());
    Ok(())
}

/// What KEYS has found so far.
struct Listing<'p> {
    pattern: &'p [u8],
    found: ReplyBuf,
    count: usize,
    /// Where the walk stands within its slot, and what it has shown of it: between two pieces the slot's table may
    /// change, and a walk may then come by some keys twice.
    cursor: ScanCursor,
    shown: HashSet<Box<[u8]>>,
}

impl<'p> Listing<'p> {
    fn new(pattern: &'p [u8], ctx: &SessionCtx<'_, '_>) -> Listing<'p> {
        let found = ReplyBuf::new(ctx.out.protocol);
        Listing { pattern, found, count: 0, cursor: ScanCursor::START, shown: HashSet::default() }
    }

    /// Goes on until it has looked at a piece's worth of keys, or the slots are at their end.
    fn piece(&mut self, view: &View<'_>, db: DbIndex, slots: &mut std::iter::Peekable<impl Iterator<Item = Slot>>) {
        let mut looked_at = 0;
        while looked_at < PIECE
            && let Some(&slot) = slots.peek()
        {
            let is_split = !self.cursor.is_end() || view.slot_len(db, slot) > PIECE - looked_at;
            self.cursor = view.scan_slot(db, slot, self.cursor, PIECE - looked_at, |entry| {
                looked_at += 1;
                let key = entry.key();
                let matches = self.pattern == b"*" || glob::matches(self.pattern, key, Case::Sensitive);
                if matches && !view.is_due(entry) && !(is_split && !self.shown.insert(key.into())) {
                    self.found.bulk(key);
                    self.count += 1;
                }
            });
            if self.cursor.is_end() {
                self.shown.clear();
                slots.next();
            }
        }
    }
}

fn random_key(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let (db, server) = (ctx.session.db, ctx.server);
    // Each turn that finds no key has deleted one that was due, or met one that somebody else has just deleted.
    while let Some(stripe) = with_rng(|rng| server.keyspace.random_stripe(db, rng)) {
        let key = ctx.with_stripes(StripeSet::of(stripe), |view| {
            view.random_key_of(db, stripe).filter(|key| view.survives(db, &Key::new(key)))
        });
        if let Some(key) = key {
            ctx.out.bulk(&key);
            return Ok(());
        }
    }
    ctx.out.null();
    Ok(())
}
