//! Sorted set commands that look members up: scores, ranks, random members, scanning.

use super::{Scores, write_members};
use crate::commands::ctx::Ctx;
use crate::commands::draw::{self, Draw};
use crate::commands::looks::{self, Looks};
use crate::commands::scan::scan_collection;
use crate::commands::spec::{Flags, Group, Handler::Data, KeySpec, RO_ACCESS, RO_NONE, Spec};
use crate::error::{CommandError, CommandResult, OUT_OF_RANGE, SYNTAX};
use crate::resp::{Args, ReplyBuf};
use basalt_storage::keyspace::with_rng;
use basalt_storage::types::Zset;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "zscore",
        looks: Looks::AtParts(looks::named),
        arity: 3,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "1.2.0",
        summary: "Answers the score of a member.",
        syntax: "key member",
        handler: Data(zscore),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zmscore",
        looks: Looks::AtParts(looks::named),
        arity: -3,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N), N being the number of members asked for",
        summary: "Answers the scores of several members.",
        syntax: "key member [member ...]",
        handler: Data(zmscore),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zcard",
        looks: Looks::AtOutlines,
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::first(RO_NONE)],
        group: Group::SortedSet,
        since: "1.2.0",
        summary: "Answers the number of members.",
        syntax: "key",
        handler: Data(zcard),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrank",
        arity: -3,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N)), N being the size of the sorted set",
        summary: "Answers how many members come before a member.",
        syntax: "key member [WITHSCORE]",
        handler: Data(zrank),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrevrank",
        arity: -3,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N)), N being the size of the sorted set",
        summary: "Answers how many members come after a member.",
        syntax: "key member [WITHSCORE]",
        handler: Data(zrevrank),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrandmember",
        tips: &["nondeterministic_output"],
        arity: -2,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N), N being the number of members answered",
        summary: "Answers members at random.",
        syntax: "key [count [WITHSCORES]]",
        handler: Data(zrandmember),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zscan",
        tips: &["nondeterministic_output"],
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "2.8.0",
        complexity: "O(1) for every call, O(N) for a whole walk",
        summary: "Walks through a sorted set in steps.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        looks: Looks::AtParts(looks::page),
        handler: Data(scan_collection::<Zset>),
        ..Spec::DEFAULT
    },
];

fn zscore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let zset = ctx.view.partial::<Zset>(ctx.db, &args.key(1))?;
    match zset.and_then(|zset| zset.score(args.at(2))) {
        Some(score) => ctx.out.double(score),
        None => ctx.out.null(),
    }
    Ok(())
}

fn zmscore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let zset = ctx.view.partial::<Zset>(ctx.db, &args.key(1))?;
    ctx.out.array(args.len() - 2);
    for member in args.from(2) {
        match zset.as_ref().and_then(|zset| zset.score(member)) {
            Some(score) => ctx.out.double(score),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

fn zcard(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let zset = ctx.view.partial::<Zset>(ctx.db, &args.key(1))?;
    ctx.out.count(zset.map_or(0, |zset| zset.len()));
    Ok(())
}

fn zrank(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    rank(ctx, args, "zrank", |_, rank| rank)
}

fn zrevrank(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    rank(ctx, args, "zrevrank", |zset, rank| zset.len() - 1 - rank)
}

/// WITHSCORE is an option since 7.2.
fn rank(ctx: &mut Ctx<'_, '_>, args: Args<'_>, name: &str, count: impl FnOnce(&Zset, usize) -> usize) -> CommandResult {
    if args.len() > 4 {
        return Err(CommandError::wrong_arity(name));
    }
    let with_score = args.len() == 4;
    if with_score && !args.is(3, "WITHSCORE") {
        return Err(SYNTAX);
    }
    let zset = ctx.view.zset(ctx.db, &args.key(1))?;
    let found = zset.and_then(|zset| zset.rank_and_score(args.at(2)).map(|(rank, score)| (count(zset, rank), score)));
    match found {
        None if with_score => ctx.out.null_array(),
        None => ctx.out.null(),
        Some((rank, score)) if with_score => {
            ctx.out.array(2);
            ctx.out.count(rank);
            ctx.out.double(score);
        }
        Some((rank, _)) => ctx.out.count(rank),
    }
    Ok(())
}

fn zrandmember(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let key = args.key(1);
    let Some(count) = args.maybe(2) else {
        let zset = ctx.view.zset(ctx.db, &key)?;
        let member = with_rng(|rng| zset.and_then(|zset| zset.random(rng)));
        ctx.out.bulk_or_null(member.map(|(member, _)| member));
        return Ok(());
    };
    let draw = Draw::parse(count)?;
    let scores = match args.len() {
        3 => Scores::Without,
        4 if args.is(3, "WITHSCORES") => Scores::With,
        _ => return Err(SYNTAX),
    };
    if scores == Scores::With && draw.count() > i64::MAX as usize / 2 {
        return Err(OUT_OF_RANGE);
    }
    match ctx.view.zset(ctx.db, &key)? {
        None => ctx.out.array(0),
        Some(zset) => write_drawn(ctx.out, zset, draw, scores),
    }
    Ok(())
}

fn write_drawn(out: &mut ReplyBuf, zset: &Zset, draw: Draw, scores: Scores) {
    match draw {
        Draw::Distinct(count) if count >= zset.len() => write_members(out, zset.iter(), scores),
        Draw::Distinct(count) => {
            let mut drawn = Vec::with_capacity(count);
            if draw::is_few(count, zset.len()) {
                let random = || with_rng(|rng| zset.random(rng));
                draw::distinct(count, random, |(member, _)| member, |&pair| drawn.push(pair));
            } else {
                with_rng(|rng| draw::sample(count, zset.len(), zset.iter(), rng, |pair| drawn.push(pair)));
            }
            write_members(out, drawn.into_iter(), scores);
        }
        Draw::WithRepeats(count) => {
            let repeats = Repeats { zset, left: count };
            write_members(out, repeats, scores);
        }
    }
}

/// Random members, any of them any number of times.
struct Repeats<'z> {
    zset: &'z Zset,
    left: usize,
}

impl<'z> Iterator for Repeats<'z> {
    type Item = (&'z [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        with_rng(|rng| self.zset.random(rng))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Repeats<'_> {}
