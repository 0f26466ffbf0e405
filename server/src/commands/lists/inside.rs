//! List commands that look at or change what is between the ends.

use crate::commands::ctx::Ctx;
use crate::commands::looks::{self, Looks};
use crate::commands::parse;
use crate::commands::spec::{
    Flags, Group, Handler::Data, KeySpec, RO_ACCESS, RO_NONE, RW_DELETE, RW_INSERT, RW_UPDATE, Spec,
};
use crate::error::{CommandError, CommandResult, INDEX_OUT_OF_RANGE, NO_SUCH_KEY, SYNTAX};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::keyspace::Partial;
use basalt_storage::types::List;
use basalt_storage::types::list::Direction;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "llen",
        looks: Looks::AtOutlines,
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::first(RO_NONE)],
        group: Group::List,
        since: "1.0.0",
        summary: "Answers the length of a list.",
        syntax: "key",
        handler: Data(llen),
        ..Spec::DEFAULT
    },
    Spec {
        name: "lindex",
        looks: Looks::AtParts(looks::element),
        arity: 3,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the distance from the nearer end; chunks are skipped, not elements",
        summary: "Answers the element at an index of a list.",
        syntax: "key index",
        handler: Data(lindex),
        ..Spec::DEFAULT
    },
    Spec {
        name: "lrange",
        looks: Looks::AtParts(looks::elements),
        arity: 4,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::List,
        since: "1.0.0",
        complexity: "O(S+N), S being the distance to the start, N the number of elements answered",
        summary: "Answers a range of a list.",
        syntax: "key start stop",
        handler: Data(lrange),
        ..Spec::DEFAULT
    },
    Spec {
        name: "lpos",
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::List,
        since: "6.0.6",
        complexity: "O(N), N being the number of elements compared",
        summary: "Finds an element in a list and answers where it is.",
        syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        handler: Data(lpos),
        ..Spec::DEFAULT
    },
    Spec {
        name: "lset",
        arity: 4,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: &[KeySpec::first(RW_UPDATE)],
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the distance from the nearer end",
        summary: "Replaces the element at an index of a list.",
        syntax: "key index element",
        handler: Data(lset),
        ..Spec::DEFAULT
    },
    Spec {
        name: "linsert",
        arity: 5,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: &[KeySpec::first(RW_INSERT)],
        group: Group::List,
        since: "2.2.0",
        complexity: "O(N), N being the number of elements before the pivot",
        summary: "Inserts an element next to another one of a list.",
        syntax: "key <BEFORE | AFTER> pivot element",
        handler: Data(linsert),
        ..Spec::DEFAULT
    },
    Spec {
        name: "lrem",
        arity: 4,
        flags: Flags::WRITE,
        keys: &[KeySpec::first(RW_DELETE)],
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N+M), N being the length of the list, M the number of elements removed",
        summary: "Removes elements of a list that are equal to one.",
        syntax: "key count element",
        handler: Data(lrem),
        ..Spec::DEFAULT
    },
    Spec {
        name: "ltrim",
        arity: 4,
        flags: Flags::WRITE,
        keys: &[KeySpec::first(RW_DELETE)],
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the number of elements removed",
        summary: "Keeps only a range of a list.",
        syntax: "key start stop",
        handler: Data(ltrim),
        ..Spec::DEFAULT
    },
];

fn llen(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let list = ctx.view.partial::<List>(ctx.db, &args.key(1))?;
    ctx.out.count(list.map_or(0, |list| list.len()));
    Ok(())
}

fn lindex(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    match ctx.view.partial::<List>(ctx.db, &args.key(1))? {
        None => ctx.out.null(),
        Some(list) => match parse::index(args.at(2), list.len())? {
            Some(index) => list.with_element(index, |element| ctx.out.bulk_or_null(element)),
            None => ctx.out.null(),
        },
    }
    Ok(())
}

fn lrange(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let range = parse::Ranks::parse(args.at(2), args.at(3))?;
    match ctx.view.partial::<List>(ctx.db, &args.key(1))? {
        None => ctx.out.array(0),
        Some(list @ Partial::Remote(_)) => {
            let range = range.of(list.len());
            ctx.out.array(range.len());
            range.for_each(|index| list.with_element(index, |element| ctx.out.bulk_or_null(element)));
        }
        Some(Partial::Whole(list)) => {
            let elements = list.range(range.of(list.len()));
            ctx.out.array(elements.len());
            elements.for_each(|element| ctx.out.bulk(element));
        }
    }
    Ok(())
}

/// The options of LPOS.
struct Search {
    direction: Direction,
    /// How many matches are passed over.
    skipped: usize,
    /// How many matches are answered, as an array.
    count: Option<usize>,
    compared_max: usize,
}

impl Search {
    fn parse(args: Args<'_>) -> Result<Search, CommandError> {
        const RANK_ZERO: CommandError = CommandError::new(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to \
             start from the end of the list",
        );
        const COUNT_NEGATIVE: CommandError = CommandError::new("ERR COUNT can't be negative");
        const MAXLEN_NEGATIVE: CommandError = CommandError::new("ERR MAXLEN can't be negative");
        let mut search = Search { direction: Direction::Forward, skipped: 0, count: None, compared_max: usize::MAX };
        // Zero stands for no limit, in COUNT and in MAXLEN.
        let unlimited = |number| if number == 0 { usize::MAX } else { number };
        for at in (3..args.len()).step_by(2) {
            let value = args.maybe(at + 1).ok_or(SYNTAX)?;
            if args.is(at, "RANK") {
                let rank = parse::magnitude(value)?;
                search.direction = if rank < 0 { Direction::Backward } else { Direction::Forward };
                search.skipped = (rank.unsigned_abs() as usize).checked_sub(1).ok_or(RANK_ZERO)?;
            } else if args.is(at, "COUNT") {
                search.count = Some(unlimited(parse::at_least(0, value, COUNT_NEGATIVE)?));
            } else if args.is(at, "MAXLEN") {
                search.compared_max = unlimited(parse::at_least(0, value, MAXLEN_NEGATIVE)?);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(search)
    }
}

fn lpos(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let search = Search::parse(args)?;
    let list = ctx.view.list(ctx.db, &args.key(1))?;
    let matches = list
        .into_iter()
        .flat_map(|list| list.positions(args.at(2), search.direction, search.compared_max).skip(search.skipped));
    let mut matches = matches.take(search.count.unwrap_or(1));
    match search.count {
        None => match matches.next() {
            Some(index) => ctx.out.count(index),
            None => ctx.out.null(),
        },
        Some(_) => {
            let array = ctx.out.deferred();
            let found = matches.inspect(|&index| ctx.out.count(index)).count();
            ctx.out.finish_array(array, found);
        }
    }
    Ok(())
}

fn lset(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let key = args.key(1);
    let mut list = ctx.view.existing::<List>(ctx.db, &key)?.ok_or(NO_SUCH_KEY)?;
    let index = parse::index(args.at(2), list.value().len())?.ok_or(INDEX_OUT_OF_RANGE)?;
    list.set(index, args.at(3));
    drop(list);
    ctx.notify(EventClass::List, "lset", key.bytes);
    ctx.out.ok();
    Ok(())
}

fn linsert(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let offset = match args.at(2) {
        word if word.eq_ignore_ascii_case(b"BEFORE") => 0,
        word if word.eq_ignore_ascii_case(b"AFTER") => 1,
        _ => return Err(SYNTAX),
    };
    let key = args.key(1);
    let Some(mut list) = ctx.view.existing::<List>(ctx.db, &key)? else {
        ctx.out.count(0);
        return Ok(());
    };
    let Some(pivot) = list.value().position(args.at(3), Direction::Forward) else {
        ctx.out.integer(-1);
        return Ok(());
    };
    list.insert(pivot + offset, args.at(4));
    let len = list.value().len();
    drop(list);
    ctx.notify(EventClass::List, "linsert", key.bytes);
    ctx.out.count(len);
    Ok(())
}

fn lrem(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let count = parse::integer(args.at(2))?;
    let key = args.key(1);
    let Some(mut list) = ctx.view.existing::<List>(ctx.db, &key)? else {
        ctx.out.count(0);
        return Ok(());
    };
    let removed = list.remove(count, args.at(3));
    let is_empty = list.value().is_empty();
    drop(list);
    if removed > 0 {
        ctx.notify(EventClass::List, "lrem", key.bytes);
    }
    if is_empty {
        ctx.notify(EventClass::Generic, "del", key.bytes);
    }
    ctx.out.count(removed);
    Ok(())
}

fn ltrim(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let range = parse::Ranks::parse(args.at(2), args.at(3))?;
    let key = args.key(1);
    let Some(mut list) = ctx.view.existing::<List>(ctx.db, &key)? else {
        ctx.out.ok();
        return Ok(());
    };
    let len = list.value().len();
    list.trim(range.of(len));
    let is_empty = list.value().is_empty();
    drop(list);
    ctx.notify(EventClass::List, "ltrim", key.bytes);
    if is_empty {
        ctx.notify(EventClass::Generic, "del", key.bytes);
    }
    ctx.out.ok();
    Ok(())
}
