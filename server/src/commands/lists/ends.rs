//! List commands at the ends: pushing and popping.

use crate::commands::ctx::Ctx;
use crate::commands::parse;
use crate::commands::spec::{Flags, Group, Handler::Data, KeySpec, RW_ACCESS_DELETE, RW_INSERT, Spec};
use crate::commands::waiting::{MultiPop, first_filled, wait_for};
use crate::error::{CommandError, CommandResult};
use crate::notify::EventClass;
use crate::resp::{Args, ReplyBuf};
use basalt_storage::keyspace::Key;
use basalt_storage::types::{End, List};

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "lpush",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: &[KeySpec::first(RW_INSERT)],
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the number of elements added",
        summary: "Puts elements at the head of a list, one after the other; creates the list.",
        syntax: "key element [element ...]",
        handler: Data(lpush),
        ..Spec::DEFAULT
    },
    Spec {
        name: "rpush",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: &[KeySpec::first(RW_INSERT)],
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the number of elements added",
        summary: "Appends elements to a list; creates the list.",
        syntax: "key element [element ...]",
        handler: Data(rpush),
        ..Spec::DEFAULT
    },
    Spec {
        name: "lpushx",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: &[KeySpec::first(RW_INSERT)],
        group: Group::List,
        since: "2.2.0",
        complexity: "O(N), N being the number of elements added",
        summary: "Puts elements at the head of a list, if the list exists.",
        syntax: "key element [element ...]",
        handler: Data(lpushx),
        ..Spec::DEFAULT
    },
    Spec {
        name: "rpushx",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: &[KeySpec::first(RW_INSERT)],
        group: Group::List,
        since: "2.2.0",
        complexity: "O(N), N being the number of elements added",
        summary: "Appends elements to a list, if the list exists.",
        syntax: "key element [element ...]",
        handler: Data(rpushx),
        ..Spec::DEFAULT
    },
    Spec {
        name: "lpop",
        arity: -2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: &[KeySpec::first(RW_ACCESS_DELETE)],
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the number of elements removed",
        summary: "Removes and answers the first elements of a list.",
        syntax: "key [count]",
        handler: Data(lpop),
        ..Spec::DEFAULT
    },
    Spec {
        name: "rpop",
        arity: -2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: &[KeySpec::first(RW_ACCESS_DELETE)],
        group: Group::List,
        since: "1.0.0",
        complexity: "O(N), N being the number of elements removed",
        summary: "Removes and answers the last elements of a list.",
        syntax: "key [count]",
        handler: Data(rpop),
        ..Spec::DEFAULT
    },
    Spec {
        name: "lmpop",
        arity: -4,
        flags: Flags::WRITE.or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::counted(1, RW_ACCESS_DELETE)],
        group: Group::List,
        since: "7.0.0",
        complexity: "O(N+M), N being the number of keys, M the number of elements removed",
        summary: "Removes and answers elements of the first list that has any.",
        syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        handler: Data(lmpop),
        ..Spec::DEFAULT
    },
    Spec {
        name: "blpop",
        arity: -3,
        flags: Flags::WRITE.or(Flags::NOSCRIPT).or(Flags::BLOCKING),
        keys: &[KeySpec::range(1, -2, 1, RW_ACCESS_DELETE)],
        group: Group::List,
        since: "2.0.0",
        complexity: "O(N), N being the number of keys",
        summary: "Like LPOP on the first list that has an element; waits for one.",
        syntax: "key [key ...] timeout",
        handler: Data(blpop),
        ..Spec::DEFAULT
    },
    Spec {
        name: "brpop",
        arity: -3,
        flags: Flags::WRITE.or(Flags::NOSCRIPT).or(Flags::BLOCKING),
        keys: &[KeySpec::range(1, -2, 1, RW_ACCESS_DELETE)],
        group: Group::List,
        since: "2.0.0",
        complexity: "O(N), N being the number of keys",
        summary: "Like RPOP on the first list that has an element; waits for one.",
        syntax: "key [key ...] timeout",
        handler: Data(brpop),
        ..Spec::DEFAULT
    },
    Spec {
        name: "blmpop",
        arity: -5,
        flags: Flags::WRITE.or(Flags::BLOCKING).or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::counted(2, RW_ACCESS_DELETE)],
        group: Group::List,
        since: "7.0.0",
        complexity: "O(N+M), N being the number of keys, M the number of elements removed",
        summary: "Like LMPOP; waits for an element.",
        syntax: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        handler: Data(blmpop),
        ..Spec::DEFAULT
    },
];

fn lpush(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    push(ctx, args, End::Front)
}

fn rpush(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    push(ctx, args, End::Back)
}

#[inline]
fn push(ctx: &mut Ctx<'_, '_>, args: Args<'_>, end: End) -> CommandResult {
    let key = args.key(1);
    let mut list = ctx.view.existing_or_new::<List>(ctx.db, &key)?;
    let len = list.push(end, args.from(2));
    drop(list);
    ctx.notify(EventClass::List, push_event(end), key.bytes);
    ctx.out.count(len);
    Ok(())
}

fn lpushx(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    push_existing(ctx, args, End::Front)
}

fn rpushx(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    push_existing(ctx, args, End::Back)
}

fn push_existing(ctx: &mut Ctx<'_, '_>, args: Args<'_>, end: End) -> CommandResult {
    if ctx.view.existing::<List>(ctx.db, &args.key(1))?.is_some() {
        return push(ctx, args, end);
    }
    ctx.out.count(0);
    Ok(())
}

pub(super) fn push_event(end: End) -> &'static str {
    match end {
        End::Front => "lpush",
        End::Back => "rpush",
    }
}

pub(super) fn pop_event(end: End) -> &'static str {
    match end {
        End::Front => "lpop",
        End::Back => "rpop",
    }
}

fn lpop(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    pop_one_or_many(ctx, args, End::Front)
}

fn rpop(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    pop_one_or_many(ctx, args, End::Back)
}

#[inline]
fn pop_one_or_many(ctx: &mut Ctx<'_, '_>, args: Args<'_>, end: End) -> CommandResult {
    let key = args.key(1);
    match args.len() {
        2 => {
            if !pop(ctx, &key, end, 1, |_, _| {})? {
                ctx.out.null();
            }
        }
        3 => {
            let count = parse::positive(args.at(2))?;
            if !pop(ctx, &key, end, count, ReplyBuf::array)? {
                ctx.out.null_array();
            }
        }
        _ => return Err(CommandError::wrong_arity(pop_event(end))),
    }
    Ok(())
}

/// Pops up to `count` elements and answers them, behind what `header` writes for their number; `false` if there is no
/// list.
#[inline]
fn pop(
    ctx: &mut Ctx<'_, '_>,
    key: &Key<'_>,
    end: End,
    count: usize,
    header: impl FnOnce(&mut ReplyBuf, usize),
) -> Result<bool, CommandError> {
    let Some(mut list) = ctx.view.existing::<List>(ctx.db, key)? else { return Ok(false) };
    header(ctx.out, count.min(list.value().len()));
    let popped = list.pop(end, count, |element| ctx.out.bulk(element));
    let is_empty = list.value().is_empty();
    drop(list);
    if popped > 0 {
        ctx.notify(EventClass::List, pop_event(end), key.bytes);
    }
    if is_empty {
        ctx.notify(EventClass::Generic, "del", key.bytes);
    }
    Ok(true)
}

pub(super) fn parse_end(word: &[u8]) -> Option<End> {
    if word.eq_ignore_ascii_case(b"LEFT") {
        Some(End::Front)
    } else if word.eq_ignore_ascii_case(b"RIGHT") {
        Some(End::Back)
    } else {
        None
    }
}

fn lmpop(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (request, end) = MultiPop::parse(args, 1, parse_end)?;
    if !pop_from_first(ctx, &request, end)? {
        ctx.out.null_array();
    }
    Ok(())
}

fn blmpop(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (request, end) = MultiPop::parse(args, 2, parse_end)?;
    let timeout = parse::timeout(args.at(1))?;
    if !pop_from_first(ctx, &request, end)? {
        wait_for(ctx, request.keys(), timeout);
    }
    Ok(())
}

fn pop_from_first(ctx: &mut Ctx<'_, '_>, request: &MultiPop<'_>, end: End) -> Result<bool, CommandError> {
    let Some(key) = first_filled::<List>(ctx, request.keys())? else { return Ok(false) };
    pop(ctx, &Key::new(key), end, request.count, |out, popped| {
        out.array(2);
        out.bulk(key);
        out.array(popped);
    })
}

fn blpop(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    pop_or_wait(ctx, args, End::Front)
}

fn brpop(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    pop_or_wait(ctx, args, End::Back)
}

fn pop_or_wait(ctx: &mut Ctx<'_, '_>, args: Args<'_>, end: End) -> CommandResult {
    let last = args.len() - 1;
    let timeout = parse::timeout(args.at(last))?;
    let keys = args.from(1).take(last - 1);
    let Some(key) = first_filled::<List>(ctx, keys.clone())? else {
        wait_for(ctx, keys, timeout);
        return Ok(());
    };
    pop(ctx, &Key::new(key), end, 1, |out, _| {
        out.array(2);
        out.bulk(key);
    })?;
    Ok(())
}
