//! Commands that walk over the keys of a database: KEYS, SCAN, RANDOMKEY; and steps of walks over collections.
//!
//! None of them holds a lock for longer than it takes to look at a bounded number of keys, so that others get in
//! between; within a transaction the locks are the transaction's. Walks follow slots in order. If keys are cold, the
//! command runs on another thread, and each page is read from disk before the lock is taken.

use super::ctx::{Ctx, SessionCtx};
use super::parse::{self, ScanOf, ScanOptions};
use super::spec::{Flags, Handler::Session, Locks, Spec};
use crate::algorithms::glob::{self, Case};
use crate::cluster::replica_reads::CopiedKeys;
use crate::commands::ctx::{self, Outcome};
use crate::durability::admission::refuse;
use crate::durability::errand::Errand;
use crate::error::{CommandError, CommandResult};
use crate::resp::{Args, ReplyBuf};
use crate::server::Server;
use crate::session::ReplyMode;
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::{
    Belongs, Collection, Drawn, Key, Met, Place, Scanned, Stored, Unreadable, View, with_rng,
};
use basalt_storage::number::format_f64;
use basalt_storage::slot::{SLOTS_PER_STRIPE, Slot, StripeIndex, StripeSet};
use basalt_storage::value::Type;
use hashbrown::HashSet;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "keys",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        arity: 2,
        flags: Flags::READONLY,
        categories: &["keyspace", "dangerous"],
        summary: "Lists the keys that match a pattern.",
        syntax: "pattern",
        complexity: "O(N), N being the number of keys in the database",
        locks: Locks::PieceByPiece,
        handler: Session(|ctx, args| here_or_elsewhere(ctx, args, keys)),
        ..Spec::DEFAULT
    },
    Spec {
        name: "scan",
        tips: &["nondeterministic_output", "request_policy:special"],
        arity: -2,
        flags: Flags::READONLY,
        categories: &["keyspace"],
        since: "2.8.0",
        summary: "Walks over the keys of the database, a few at a time.",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        complexity: "O(1) for every call; O(N) for all of a walk, N being the number of keys",
        locks: Locks::PieceByPiece,
        handler: Session(|ctx, args| here_or_elsewhere(ctx, args, scan)),
        ..Spec::DEFAULT
    },
    Spec {
        name: "randomkey",
        tips: &["request_policy:all_shards", "nondeterministic_output"],
        arity: 1,
        flags: Flags::READONLY,
        categories: &["keyspace"],
        summary: "Answers any key.",
        locks: Locks::PieceByPiece,
        handler: Session(|ctx, args| here_or_elsewhere(ctx, args, random_key)),
        ..Spec::DEFAULT
    },
];

/// Keys that are looked at under one lock.
const PIECE: usize = 2048;

/// What a command needs that walks over keys.
pub struct Walk<'c, 'k> {
    pub server: &'k Server,
    pub db: DbIndex,
    pub out: &'c mut ReplyBuf,
    pub now: UnixMs,
    /// The locks of the transaction that the command is part of.
    pub held: Option<&'c mut View<'k>>,
    pub outcome: &'c mut Outcome,
    /// What this node has a copy of. It is walked over without locks.
    copied: Option<CopiedKeys<'k>>,
}

impl<'c, 'k> Walk<'c, 'k> {
    pub fn new(
        server: &'k Server,
        db: DbIndex,
        now: UnixMs,
        out: &'c mut ReplyBuf,
        held: Option<&'c mut View<'k>>,
        outcome: &'c mut Outcome,
    ) -> Walk<'c, 'k> {
        Walk { server, db, out, now, held, outcome, copied: CopiedKeys::of(server) }
    }

    /// Runs `f` on the stripe of a slot.
    fn with_stripe<R>(&mut self, stripe: StripeIndex, f: impl FnOnce(&mut View<'k>) -> R) -> R {
        let held = self.held.as_deref_mut();
        ctx::with_stripes(self.server, held, self.now, self.outcome, StripeSet::of(stripe), f)
    }

    /// Has the disk read, without a lock, for what a look at these keys needs.
    fn read_ahead(&self, slot: Slot, place: Place, count: usize) -> CommandResult {
        if self.held.is_some() {
            return Ok(());
        }
        self.server.keyspace.read_ahead(self.db, slot, place, count).map_err(refuse)
    }

    /// Keys that are looked at under one lock. Where keys are cold, that is also what is read from disk at once.
    fn slots_at_once(&self) -> usize {
        let reads_ahead = self.server.keyspace.has_cold() && self.held.is_none();
        if reads_ahead || self.copied.is_some() { 1 } else { usize::MAX }
    }

    fn is_copied(&self, slot: Slot) -> bool {
        self.copied.as_ref().is_some_and(|copied| copied.has(slot))
    }

    /// Shows about `count` keys of a slot that this node has a copy of; returns where to go on.
    fn walk_copied(
        &self,
        slot: Slot,
        place: Place,
        count: usize,
        mut visit: impl FnMut(Met<'_>),
    ) -> Result<Option<Place>, CommandError> {
        let Some(copied) = &self.copied else { return Ok(None) };
        // A place in a table is one of a time when this node led the slot.
        let from = if let Place::Engine(from) = place { from } else { 0 };
        let now = self.now;
        let next = copied.walk(slot, from, count, |Stored { key, value_type, expiry }| {
            visit(Met { key, value_type, is_due: expiry.is_some_and(|at| at.is_due(now)) });
        });
        Ok(next.map_err(refuse)?.map(Place::Engine))
    }

    /// Keys of a stripe, without its lock.
    fn stripe_key_count(&self, stripe: StripeIndex) -> u64 {
        let copied = self.copied.as_ref().map_or(0, |copied| copied.count_in_stripe(stripe));
        self.server.keyspace.stripe_key_count(self.db, stripe) + copied
    }
}

/// Runs a walk on this thread, or on one that may wait for the disk. A transaction has its locks here, and a client
/// that wants no reply gets none for sure only here.
fn here_or_elsewhere(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>, walk: Errand) -> CommandResult {
    let SessionCtx { server, session, out, now, held, outcome } = ctx;
    let may_wait = held.is_none() && session.reply_mode == ReplyMode::On && server.durability().is_some();
    let is_on_disk = || server.keyspace.has_cold() || CopiedKeys::of(server).is_some();
    if may_wait && is_on_disk() {
        outcome.send(walk);
        return Ok(());
    }
    walk(&mut Walk::new(server, session.db, *now, out, held.as_deref_mut(), outcome), args)
}

fn keys(ctx: &mut Walk<'_, '_>, args: Args<'_>) -> CommandResult {
    let db = ctx.db;
    let mut listing = Listing::new(args.at(1), ctx);
    for stripe in StripeIndex::all() {
        if ctx.stripe_key_count(stripe) == 0 {
            continue;
        }
        let mut slots = stripe.slots().peekable();
        // What is too much for the client is not looked for: it will be closed.
        while slots.peek().is_some() && !listing.found.is_excessive() {
            let (slot, most) = (*slots.peek().expect("it was just looked at"), ctx.slots_at_once());
            if ctx.is_copied(slot) {
                listing.place =
                    ctx.walk_copied(slot, listing.place, PIECE, |met| listing.note(met))?.unwrap_or(Place::START);
                if listing.place == Place::START {
                    slots.next();
                }
                continue;
            }
            ctx.read_ahead(slot, listing.place, PIECE)?;
            ctx.with_stripe(stripe, |view| listing.piece(view, db, &mut slots, most)).map_err(refuse)?;
        }
    }
    ctx.out.array(listing.count);
    ctx.out.append(listing.found);
    Ok(())
}

/// What KEYS has found so far.
struct Listing<'p> {
    pattern: &'p [u8],
    found: ReplyBuf,
    count: usize,
    /// Where the walk stands within its slot, and what it has shown of it: between two pieces the slot's table may
    /// change, and a walk may then come by some keys twice.
    place: Place,
    shown: HashSet<Box<[u8]>>,
}

impl<'p> Listing<'p> {
    fn new(pattern: &'p [u8], ctx: &Walk<'_, '_>) -> Listing<'p> {
        let found = ctx.out.part();
        Listing { pattern, found, count: 0, place: Place::START, shown: HashSet::default() }
    }

    /// A key of a slot that is walked over without coming by any key twice.
    fn note(&mut self, met: Met<'_>) {
        let matches = self.pattern == b"*" || glob::matches(self.pattern, met.key, Case::Sensitive);
        if matches && !met.is_due {
            self.found.bulk(met.key);
            self.count += 1;
        }
    }

    /// Goes on until it has looked at a piece's worth of keys, or at the end of as many slots.
    fn piece(
        &mut self,
        view: &View<'_>,
        db: DbIndex,
        slots: &mut std::iter::Peekable<impl Iterator<Item = Slot>>,
        slots_max: usize,
    ) -> Result<(), Unreadable> {
        let (mut looked_at, mut slots_left) = (0, slots_max);
        while looked_at < PIECE
            && slots_left > 0
            && let Some(&slot) = slots.peek()
        {
            let is_split = self.place != Place::START || view.slot_len(db, slot) > PIECE - looked_at;
            let next = view.walk_slot(db, slot, self.place, PIECE - looked_at, |met| {
                looked_at += 1;
                let matches = self.pattern == b"*" || glob::matches(self.pattern, met.key, Case::Sensitive);
                if matches && !met.is_due && (!is_split || self.shown.insert(met.key.into())) {
                    self.found.bulk(met.key);
                    self.count += 1;
                }
            })?;
            self.place = next.unwrap_or(Place::START);
            if next.is_none() {
                self.shown.clear();
                slots.next();
                slots_left -= 1;
            }
        }
        Ok(())
    }
}

/// Where a SCAN stands: a slot, and a place in its table. As a number it has at most 52 bits, since some clients keep
/// cursors in a double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    slot: u16,
    place: Place,
}

const _: () = assert!(Place::BITS + Slot::BITS <= 53, "every cursor is a whole number of a double");

impl Position {
    /// Any number is a position, since clients may send any.
    fn from_number(number: u64) -> Position {
        let slot = (number >> Place::BITS) as u16 & ((1 << Slot::BITS) - 1);
        Position { slot, place: Place::from_number(number) }
    }

    /// Where to go on after a piece of a slot; its end leads to the next slot, if there is one.
    fn behind(slot: Slot, next: Option<Place>) -> Option<Position> {
        match next {
            Some(place) => Some(Position { slot: slot.number(), place }),
            None => Slot::new(slot.number() + 1).map(|next| Position { slot: next.number(), place: Place::START }),
        }
    }

    fn number(self) -> u64 {
        u64::from(self.slot) << Place::BITS | self.place.number()
    }

    /// The next place worth looking at: stripes without keys are passed over. None at the end of the database.
    fn skip_empty(self, walk: &Walk<'_, '_>) -> Option<Position> {
        let mut slot = Slot::new(self.slot)?;
        if walk.stripe_key_count(slot.stripe()) > 0 {
            return Some(self);
        }
        while walk.stripe_key_count(slot.stripe()) == 0 {
            slot = Slot::new(slot.stripe().slot(SLOTS_PER_STRIPE - 1).number() + 1)?;
        }
        Some(Position { slot: slot.number(), place: Place::START })
    }
}

fn scan(ctx: &mut Walk<'_, '_>, args: Args<'_>) -> CommandResult {
    let start = Position::from_number(parse::scan_cursor(args.at(1))?);
    let options = ScanOptions::parse(args, 2, ScanOf::Keyspace)?;
    let db = ctx.db;
    let mut page = Page { options, found: ReplyBuf::new(ctx.out.protocol), count: 0, left: options.count };
    let mut position = start.skip_empty(ctx);
    while let Some(from) = position
        && page.left > 0
    {
        let (slot, most) = (Slot::new(from.slot).expect("a position is at a slot"), ctx.slots_at_once());
        let next = if ctx.is_copied(slot) {
            let most = page.left.min(PIECE);
            let mut looked_at = 0;
            let next = ctx.walk_copied(slot, from.place, most, |met| {
                looked_at += 1;
                page.note(met);
            })?;
            page.left = page.left.saturating_sub(looked_at);
            Position::behind(slot, next)
        } else {
            ctx.read_ahead(slot, from.place, page.left.min(PIECE))?;
            ctx.with_stripe(slot.stripe(), |view| page.piece(view, db, from, most)).map_err(refuse)?
        };
        position = next.and_then(|next| next.skip_empty(ctx));
    }
    ctx.out.scan_page(position.map_or(0, Position::number), page.count, page.found);
    Ok(())
}

/// What one SCAN has found so far.
struct Page<'a> {
    options: ScanOptions<'a>,
    found: ReplyBuf,
    count: usize,
    /// How many keys are still to be looked at.
    left: usize,
}

impl Page<'_> {
    /// Looks at keys of one stripe from `from` on, at most a piece's worth or so many slots; returns where to go on.
    fn piece(
        &mut self,
        view: &mut View<'_>,
        db: DbIndex,
        from: Position,
        slots_max: usize,
    ) -> Result<Option<Position>, Unreadable> {
        let most = self.left.min(PIECE);
        let mut looked_at = 0;
        let mut due = Vec::new();
        let mut position = from;
        let Some(mut slot) = Slot::new(from.slot) else { return Ok(None) };
        let (stripe, first) = (slot.stripe(), slot.number());
        while looked_at < most && slot.stripe() == stripe && usize::from(slot.number() - first) < slots_max {
            let next = view.walk_slot(db, slot, position.place, most - looked_at, |met| {
                looked_at += 1;
                if !self.options.admits(met.key) || !self.admits_type(met.value_type) {
                    return;
                }
                if met.is_due {
                    due.push(met.key.to_vec());
                } else {
                    self.found.bulk(met.key);
                    self.count += 1;
                }
            })?;
            position.place = next.unwrap_or(Place::START);
            if next.is_none() {
                let Some(next) = Slot::new(slot.number() + 1) else {
                    self.finish_piece(view, db, looked_at, &due);
                    return Ok(None);
                };
                slot = next;
                position.slot = next.number();
            }
        }
        self.finish_piece(view, db, looked_at, &due);
        Ok(Some(position))
    }

    /// A key of a slot in which nothing is deleted here.
    fn note(&mut self, met: Met<'_>) {
        if !met.is_due && self.options.admits(met.key) && self.admits_type(met.value_type) {
            self.found.bulk(met.key);
            self.count += 1;
        }
    }

    /// Keys that are due are deleted once they are met, like everywhere else.
    fn finish_piece(&mut self, view: &mut View<'_>, db: DbIndex, looked_at: usize, due: &[Vec<u8>]) {
        self.left = self.left.saturating_sub(looked_at);
        for key in due {
            view.survives(db, &Key::new(key));
        }
    }

    fn admits_type(&self, value_type: Type) -> bool {
        let name = value_type.name();
        self.options.type_name.is_none_or(|wanted| wanted.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// HSCAN, SSCAN and ZSCAN.
pub fn scan_collection<T: Collection + Scanned>(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let place = Place::from_number(parse::scan_cursor(args.at(2))?);
    let mut elements = ReplyBuf::new(ctx.out.protocol);
    // The options of a scan of nothing are not even looked at, as in Redis.
    let Some(collection) = ctx.view.partial::<T>(ctx.db, &args.key(1))? else {
        ctx.out.scan_page(0, 0, elements);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, ScanOf::Collection)?;
    let mut count = 0;
    let next = collection.scan(place, options.count, &mut |name, belongs| {
        if options.admits(name) {
            elements.bulk(name);
            count += 1;
            match belongs {
                Belongs::Nothing => return,
                Belongs::Value(value) => elements.bulk(value),
                Belongs::Score(score) => elements.bulk(&format_f64(score)),
            }
            count += 1;
        }
    });
    ctx.out.scan_page(next.map_or(0, Place::number), count, elements);
    Ok(())
}

fn random_key(ctx: &mut Walk<'_, '_>, _: Args<'_>) -> CommandResult {
    /// Keys that are due are drawn again this often while expiry is suspended; then one of them is the answer.
    const DRAWS_MAX: usize = 100;
    let (db, server) = (ctx.db, ctx.server);
    if let Some(key) = copied_key(ctx)? {
        ctx.out.bulk(&key);
        return Ok(());
    }
    let mut draws = 0;
    // Each turn that finds no key has deleted one that was due, or met one that somebody else has just deleted.
    while let Some(stripe) = with_rng(|rng| server.keyspace.random_stripe(db, rng)) {
        draws += 1;
        let may_be_due = draws >= DRAWS_MAX && server.pause.stops_expiry(server);
        let drawn = ctx.with_stripe(stripe, |view| view.random_place_of(db, stripe));
        let key = match drawn {
            None => None,
            Some(Drawn::Key(key)) => {
                let is_there = |view: &mut View<'_>| may_be_due || view.survives(db, &Key::new(&key));
                ctx.with_stripe(stripe, is_there).then_some(key)
            }
            Some(Drawn::Cold { slot, from }) => match cold_key(ctx, slot, from)? {
                Some((key, is_due)) if is_due && !may_be_due => {
                    ctx.with_stripe(stripe, |view| view.survives(db, &Key::new(&key))).then_some(key)
                }
                found => found.map(|(key, _)| key),
            },
        };
        if let Some(key) = key {
            ctx.out.bulk(&key);
            return Ok(());
        }
    }
    ctx.out.null();
    Ok(())
}

/// Any key of those that this node has a copy of. None if there are none, or if all that were met are due.
fn copied_key(ctx: &Walk<'_, '_>) -> Result<Option<Vec<u8>>, CommandError> {
    /// Slots that are looked at for a key that is not due.
    const DRAWS_MAX: usize = 100;
    let Some(copied) = &ctx.copied else { return Ok(None) };
    for _ in 0..DRAWS_MAX {
        let Some(last) = copied.count().entries.checked_sub(1) else { return Ok(None) };
        let mut rank = with_rng(|rng| rng.below(last + 1));
        let slot = Slot::all().find(|slot| {
            let count = copied.count_in(*slot) as u64;
            let is_here = rank < count;
            rank = rank.saturating_sub(count);
            is_here
        });
        let Some(slot) = slot else { continue };
        for from in [with_rng(|rng| rng.below(1 << 32)) as u32, 0] {
            let mut found = None;
            ctx.walk_copied(slot, Place::Engine(from), 1, |met| {
                if !met.is_due {
                    found.get_or_insert_with(|| met.key.to_vec());
                }
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

/// A cold key behind a hash, or if there is none, the first of its slot; and whether it is due.
fn cold_key(ctx: &mut Walk<'_, '_>, slot: Slot, from: u32) -> Result<Option<(Vec<u8>, bool)>, CommandError> {
    let db = ctx.db;
    for from in [from, 0] {
        ctx.read_ahead(slot, Place::Engine(from), 1)?;
        let found = ctx.with_stripe(slot.stripe(), |view| view.key_behind(db, slot, from)).map_err(refuse)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back_from_its_number() {
        let last = Position { slot: 16383, place: Place::from_number(u64::MAX) };
        for position in [Position::from_number(0), Position { slot: 1, place: Place::START }, last] {
            assert_eq!(Position::from_number(position.number()), position);
            assert!(position.number() < 1 << 53);
        }
        assert_eq!(last.place, Place::Engine(u32::MAX));
    }
}
