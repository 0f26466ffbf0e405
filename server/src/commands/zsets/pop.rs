//! Sorted set commands that take members from either end, and may wait for one: ZPOPMIN, ZMPOP, BZPOPMIN and kin.

use super::{Scores, write_members, write_pairs};
use crate::commands::ctx::Ctx;
use crate::commands::parse;
use crate::commands::spec::{Flags, Group, Handler::Data, KeySpec, RW_ACCESS_DELETE, Spec};
use crate::commands::waiting::{MultiPop, first_filled, wait_for};
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::notify::EventClass;
use crate::resp::{Args, ReplyBuf};
use basalt_storage::keyspace::Key;
use basalt_storage::types::Zset;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "zpopmin",
        arity: -2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: &[KeySpec::first(RW_ACCESS_DELETE)],
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(M*log(N)), M being the number of members removed, N the size of the sorted set",
        summary: "Removes and answers the members with the lowest scores.",
        syntax: "key [count]",
        handler: Data(zpopmin),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zpopmax",
        arity: -2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: &[KeySpec::first(RW_ACCESS_DELETE)],
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(M*log(N)), M being the number of members removed, N the size of the sorted set",
        summary: "Removes and answers the members with the highest scores.",
        syntax: "key [count]",
        handler: Data(zpopmax),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zmpop",
        arity: -4,
        flags: Flags::WRITE.or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::counted(1, RW_ACCESS_DELETE)],
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(K)+O(M*log(N)), K being the number of keys, M that of members removed, N the size of the set",
        summary: "Removes and answers members of the first sorted set that has any.",
        syntax: "numkeys key [key ...] <MIN | MAX> [COUNT count]",
        handler: Data(zmpop),
        ..Spec::DEFAULT
    },
    Spec {
        name: "bzpopmin",
        arity: -3,
        flags: Flags::WRITE.or(Flags::NOSCRIPT).or(Flags::BLOCKING).or(Flags::FAST),
        keys: &[KeySpec::range(1, -2, 1, RW_ACCESS_DELETE)],
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)), N being the size of the sorted set",
        summary: "Like ZPOPMIN on the first sorted set that has a member; waits for one.",
        syntax: "key [key ...] timeout",
        handler: Data(bzpopmin),
        ..Spec::DEFAULT
    },
    Spec {
        name: "bzpopmax",
        arity: -3,
        flags: Flags::WRITE.or(Flags::NOSCRIPT).or(Flags::BLOCKING).or(Flags::FAST),
        keys: &[KeySpec::range(1, -2, 1, RW_ACCESS_DELETE)],
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)), N being the size of the sorted set",
        summary: "Like ZPOPMAX on the first sorted set that has a member; waits for one.",
        syntax: "key [key ...] timeout",
        handler: Data(bzpopmax),
        ..Spec::DEFAULT
    },
    Spec {
        name: "bzmpop",
        arity: -5,
        flags: Flags::WRITE.or(Flags::BLOCKING).or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::counted(2, RW_ACCESS_DELETE)],
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(K)+O(M*log(N)), K being the number of keys, M that of members removed, N the size of the set",
        summary: "Like ZMPOP; waits for a member.",
        syntax: "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
        handler: Data(bzmpop),
        ..Spec::DEFAULT
    },
];

/// One end of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Min,
    Max,
}

impl Side {
    fn parse(word: &[u8]) -> Option<Side> {
        if word.eq_ignore_ascii_case(b"MIN") {
            Some(Side::Min)
        } else if word.eq_ignore_ascii_case(b"MAX") {
            Some(Side::Max)
        } else {
            None
        }
    }

    fn event(self) -> &'static str {
        match self {
            Side::Min => "zpopmin",
            Side::Max => "zpopmax",
        }
    }
}

/// How popped members are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape<'a> {
    /// Members and scores in turn.
    Flat,
    Pairs,
    /// The key, and pairs.
    KeyAndPairs(&'a [u8]),
    /// The key, the only member and its score.
    Triple(&'a [u8]),
}

fn zpopmin(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    pop_one_or_many(ctx, args, Side::Min)
}

fn zpopmax(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    pop_one_or_many(ctx, args, Side::Max)
}

fn pop_one_or_many(ctx: &mut Ctx<'_, '_>, args: Args<'_>, side: Side) -> CommandResult {
    let (count, shape) = match args.len() {
        2 => (1, Shape::Flat),
        3 if ctx.out.is_resp3() => (parse::positive(args.at(2))?, Shape::Pairs),
        3 => (parse::positive(args.at(2))?, Shape::Flat),
        _ => return Err(SYNTAX),
    };
    if !pop(ctx, &args.key(1), side, count, shape)? {
        ctx.out.array(0);
    }
    Ok(())
}

/// Takes up to `count` members from one end and answers them; `false` if there is no sorted set.
fn pop(ctx: &mut Ctx<'_, '_>, key: &Key<'_>, side: Side, count: usize, shape: Shape<'_>) -> Result<bool, CommandError> {
    let Some(mut zset) = ctx.view.existing::<Zset>(ctx.db, key)? else { return Ok(false) };
    let len = zset.value().len();
    let count = count.min(len);
    let ranks = match side {
        Side::Min => 0..count,
        Side::Max => len - count..len,
    };
    let members = zset.value().by_rank(ranks.clone());
    match side {
        Side::Min => shape.write(ctx.out, members),
        Side::Max => shape.write(ctx.out, members.rev()),
    }
    zset.remove_by_rank(ranks, |_, _| {});
    drop(zset);
    if count > 0 {
        ctx.notify(EventClass::Zset, side.event(), key.bytes);
    }
    if count == len {
        ctx.notify(EventClass::Generic, "del", key.bytes);
    }
    Ok(true)
}

impl Shape<'_> {
    fn write<'m>(self, out: &mut ReplyBuf, mut members: impl ExactSizeIterator<Item = (&'m [u8], f64)>) {
        match self {
            Shape::Pairs => write_pairs(out, members),
            Shape::KeyAndPairs(key) => {
                out.array(2);
                out.bulk(key);
                write_pairs(out, members);
            }
            Shape::Flat if members.len() != 1 => write_members(out, members, Scores::With),
            Shape::Flat | Shape::Triple(_) => {
                let (member, score) = members.next().expect("a sorted set at a key has a member");
                match self {
                    Shape::Triple(key) => {
                        out.array(3);
                        out.bulk(key);
                    }
                    _ => out.array(2),
                }
                out.bulk(member);
                out.double(score);
            }
        }
    }
}

fn zmpop(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (request, side) = MultiPop::parse(args, 1, Side::parse)?;
    if !pop_from_first(ctx, &request, side)? {
        ctx.out.null_array();
    }
    Ok(())
}

fn bzmpop(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (request, side) = MultiPop::parse(args, 2, Side::parse)?;
    let timeout = parse::timeout(args.at(1))?;
    if !pop_from_first(ctx, &request, side)? {
        wait_for(ctx, request.keys(), timeout);
    }
    Ok(())
}

fn pop_from_first(ctx: &mut Ctx<'_, '_>, request: &MultiPop<'_>, side: Side) -> Result<bool, CommandError> {
    let Some(key) = first_filled::<Zset>(ctx, request.keys())? else { return Ok(false) };
    pop(ctx, &Key::new(key), side, request.count, Shape::KeyAndPairs(key))
}

fn bzpopmin(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    pop_or_wait(ctx, args, Side::Min)
}

fn bzpopmax(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    pop_or_wait(ctx, args, Side::Max)
}

fn pop_or_wait(ctx: &mut Ctx<'_, '_>, args: Args<'_>, side: Side) -> CommandResult {
    let last = args.len() - 1;
    let timeout = parse::timeout(args.at(last))?;
    let keys = args.from(1).take(last - 1);
    match first_filled::<Zset>(ctx, keys.clone())? {
        Some(key) => drop(pop(ctx, &Key::new(key), side, 1, Shape::Triple(key))?),
        None => wait_for(ctx, keys, timeout),
    }
    Ok(())
}
