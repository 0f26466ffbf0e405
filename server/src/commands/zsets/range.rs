//! Sorted set commands about ranges of ranks, scores and names: ZRANGE and kin, ZCOUNT, ZREMRANGEBYSCORE and kin.

use super::bounds::{By, Selection};
use super::{Scores, write_members};
use crate::commands::ctx::Ctx;
use crate::commands::parse;
use crate::commands::spec::{Flags, Group, Handler::Data, KeySpec, OW_UPDATE, RO_ACCESS, RW_DELETE, Spec, Standing};
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::keyspace::Key;
use basalt_storage::types::Zset;
use basalt_storage::value::Value;
use std::ops::Range;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "zrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M), N being the size of the sorted set, M the number of members in the range",
        summary: "Answers the members in a range of ranks, scores or names.",
        syntax: "key start/string stop/string [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        handler: Data(zrange),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrangebyscore",
        arity: -4,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "1.0.5",
        complexity: "O(log(N)+M), N being the size of the sorted set, M the number of members in the range",
        summary: "Answers the members with scores in a range.",
        syntax: "key min/double max/double [WITHSCORES] [LIMIT offset count]",
        standing: Standing::Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with `BYSCORE`" },
        handler: Data(zrangebyscore),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrevrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M), N being the size of the sorted set, M the number of members in the range",
        summary: "Answers the members in a range of ranks counted from the highest score.",
        syntax: "key start stop [WITHSCORES]",
        standing: Standing::Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with `REV`" },
        handler: Data(zrevrange),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrevrangebyscore",
        arity: -4,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "2.2.0",
        complexity: "O(log(N)+M), N being the size of the sorted set, M the number of members in the range",
        summary: "Answers the members with scores in a range, highest first.",
        syntax: "key max/double min/double [WITHSCORES] [LIMIT offset count]",
        standing: Standing::Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with `REV` and `BYSCORE`" },
        handler: Data(zrevrangebyscore),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrangebylex",
        arity: -4,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M), N being the size of the sorted set, M the number of members in the range",
        summary: "Answers the members in a range of names.",
        syntax: "key min max [LIMIT offset count]",
        standing: Standing::Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with `BYLEX`" },
        handler: Data(zrangebylex),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrevrangebylex",
        arity: -4,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M), N being the size of the sorted set, M the number of members in the range",
        summary: "Answers the members in a range of names, last first.",
        syntax: "key max min [LIMIT offset count]",
        standing: Standing::Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with `REV` and `BYLEX`" },
        handler: Data(zrevrangebylex),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrangestore",
        arity: -5,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: &[KeySpec::first(OW_UPDATE), KeySpec::at(2, RO_ACCESS)],
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(log(N)+M), N being the size of the sorted set, M the number of members in the range",
        summary: "Stores the members of a range under another key.",
        syntax: "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        handler: Data(zrangestore),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zcount",
        arity: 4,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N)), N being the size of the sorted set",
        summary: "Counts the members with scores in a range.",
        syntax: "key min/double max/double",
        handler: Data(zcount),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zlexcount",
        arity: 4,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)), N being the size of the sorted set",
        summary: "Counts the members in a range of names, all scores being equal.",
        syntax: "key min max",
        handler: Data(zlexcount),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zremrangebyrank",
        arity: 4,
        flags: Flags::WRITE,
        keys: &[KeySpec::first(RW_DELETE)],
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N)+M), N being the size of the sorted set, M the number of members removed",
        summary: "Removes the members in a range of ranks.",
        syntax: "key start stop",
        handler: Data(zremrangebyrank),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zremrangebyscore",
        arity: 4,
        flags: Flags::WRITE,
        keys: &[KeySpec::first(RW_DELETE)],
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M), N being the size of the sorted set, M the number of members removed",
        summary: "Removes the members with scores in a range.",
        syntax: "key min/double max/double",
        handler: Data(zremrangebyscore),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zremrangebylex",
        arity: 4,
        flags: Flags::WRITE,
        keys: &[KeySpec::first(RW_DELETE)],
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M), N being the size of the sorted set, M the number of members removed",
        summary: "Removes the members in a range of names.",
        syntax: "key min max",
        handler: Data(zremrangebylex),
        ..Spec::DEFAULT
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Ascending,
    Descending,
}

/// What the command's name leaves open and options decide.
#[derive(Clone, Copy)]
struct Form {
    by: Option<By>,
    direction: Option<Direction>,
    /// Where the key stands; the range follows it.
    key_at: usize,
    may_have_scores: bool,
}

/// A range of one sorted set, in one direction.
struct Query<'a> {
    selection: Selection<'a>,
    direction: Direction,
    offset: i64,
    /// Negative for no limit.
    limit: i64,
    scores: Scores,
}

impl<'a> Query<'a> {
    fn parse(args: Args<'a>, form: Form) -> Result<Query<'a>, CommandError> {
        const LIMIT_BY_RANK: CommandError =
            CommandError::new("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
        const SCORES_BY_LEX: CommandError =
            CommandError::new("ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        let (mut by, mut direction) = (form.by, form.direction);
        let (mut offset, mut limit, mut scores) = (0, -1, Scores::Without);
        let mut at = form.key_at + 3;
        while at < args.len() {
            if form.may_have_scores && args.is(at, "WITHSCORES") {
                scores = Scores::With;
            } else if args.is(at, "LIMIT") && at + 2 < args.len() {
                offset = parse::integer(args.at(at + 1))?;
                limit = parse::integer(args.at(at + 2))?;
                at += 2;
            } else if form.direction.is_none() && args.is(at, "REV") {
                direction = Some(Direction::Descending);
            } else if form.by.is_none() && args.is(at, "BYSCORE") {
                by = Some(By::Score);
            } else if form.by.is_none() && args.is(at, "BYLEX") {
                by = Some(By::Lex);
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        let (by, direction) = (by.unwrap_or(By::Rank), direction.unwrap_or(Direction::Ascending));
        if limit != -1 && by == By::Rank {
            return Err(LIMIT_BY_RANK);
        }
        if scores == Scores::With && by == By::Lex {
            return Err(SCORES_BY_LEX);
        }
        let (first, second) = (args.at(form.key_at + 1), args.at(form.key_at + 2));
        // Backwards, ranges of scores and names are given from their upper end.
        let (min, max) = match (by, direction) {
            (By::Score | By::Lex, Direction::Descending) => (second, first),
            _ => (first, second),
        };
        Ok(Query { selection: Selection::parse(by, min, max)?, direction, offset, limit, scores })
    }

    /// The ranks to answer, counted upwards whatever the direction.
    fn ranks(&self, zset: &Zset) -> Range<usize> {
        let mut ranks = self.selection.ranks(zset);
        if self.direction == Direction::Descending && matches!(self.selection, Selection::Ranks(_)) {
            ranks = zset.len() - ranks.end..zset.len() - ranks.start;
        }
        // A negative offset is never reached.
        let skipped = usize::try_from(self.offset).unwrap_or(usize::MAX).min(ranks.len());
        let taken = usize::try_from(self.limit).unwrap_or(usize::MAX).min(ranks.len() - skipped);
        match self.direction {
            Direction::Ascending => ranks.start + skipped..ranks.start + skipped + taken,
            Direction::Descending => ranks.end - skipped - taken..ranks.end - skipped,
        }
    }
}

fn zrange(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, None, None)
}

fn zrangebyscore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Some(By::Score), Some(Direction::Ascending))
}

fn zrevrange(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Some(By::Rank), Some(Direction::Descending))
}

fn zrevrangebyscore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Some(By::Score), Some(Direction::Descending))
}

fn zrangebylex(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Some(By::Lex), Some(Direction::Ascending))
}

fn zrevrangebylex(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Some(By::Lex), Some(Direction::Descending))
}

fn answer(ctx: &mut Ctx<'_, '_>, args: Args<'_>, by: Option<By>, direction: Option<Direction>) -> CommandResult {
    let query = Query::parse(args, Form { by, direction, key_at: 1, may_have_scores: true })?;
    let Some(zset) = ctx.view.zset(ctx.db, &args.key(1))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let members = zset.by_rank(query.ranks(zset));
    match query.direction {
        Direction::Ascending => write_members(ctx.out, members, query.scores),
        Direction::Descending => write_members(ctx.out, members.rev(), query.scores),
    }
    Ok(())
}

fn zrangestore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let query = Query::parse(args, Form { by: None, direction: None, key_at: 2, may_have_scores: false })?;
    let limits = ctx.view.keyspace().settings.zset_limits();
    let mut result = Zset::new();
    if let Some(zset) = ctx.view.zset(ctx.db, &Key::new(args.at(2)))? {
        for (member, score) in zset.by_rank(query.ranks(zset)) {
            result.put(member, score, &limits);
        }
    }
    store(ctx, args.at(1), result, "zrangestore");
    Ok(())
}

/// Puts the result of a command at `target` and answers its size; an empty one deletes the key.
pub fn store(ctx: &mut Ctx<'_, '_>, target: &[u8], result: Zset, event: &'static str) {
    ctx.out.count(result.len());
    if !result.is_empty() {
        ctx.view.put(ctx.db, &Key::new(target), Value::Zset(result), None);
        ctx.notify(EventClass::Zset, event, target);
    } else if ctx.view.delete(ctx.db, &Key::new(target)) {
        ctx.notify(EventClass::Generic, "del", target);
    }
}

fn zcount(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    count(ctx, args, By::Score)
}

fn zlexcount(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    count(ctx, args, By::Lex)
}

fn count(ctx: &mut Ctx<'_, '_>, args: Args<'_>, by: By) -> CommandResult {
    let selection = Selection::parse(by, args.at(2), args.at(3))?;
    let zset = ctx.view.zset(ctx.db, &args.key(1))?;
    ctx.out.count(zset.map_or(0, |zset| selection.ranks(zset).len()));
    Ok(())
}

fn zremrangebyrank(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    remove(ctx, args, By::Rank, "zremrangebyrank")
}

fn zremrangebyscore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    remove(ctx, args, By::Score, "zremrangebyscore")
}

fn zremrangebylex(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    remove(ctx, args, By::Lex, "zremrangebylex")
}

fn remove(ctx: &mut Ctx<'_, '_>, args: Args<'_>, by: By, event: &'static str) -> CommandResult {
    let selection = Selection::parse(by, args.at(2), args.at(3))?;
    let key = args.key(1);
    let Some(mut zset) = ctx.view.existing::<Zset>(ctx.db, &key)? else {
        ctx.out.count(0);
        return Ok(());
    };
    let ranks = selection.ranks(zset.value());
    let removed = zset.remove_by_rank(ranks, |_, _| {});
    let is_empty = zset.value().is_empty();
    drop(zset);
    if removed > 0 {
        ctx.notify(EventClass::Zset, event, key.bytes);
    }
    if is_empty {
        ctx.notify(EventClass::Generic, "del", key.bytes);
    }
    ctx.out.count(removed);
    Ok(())
}
