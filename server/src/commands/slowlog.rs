//! SLOWLOG: what the log of slow commands holds.

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, Locks, Spec};
use crate::error::{CommandError, CommandResult};
use crate::resp::{Args, ReplyBuf};
use crate::slowlog::SlowEntry;
use basalt_storage::number;

/// Entries that SLOWLOG GET answers when it is not told how many.
const COUNT_DEFAULT: usize = 10;

const ADMIN: Flags = Flags::ADMIN.or(Flags::LOADING).or(Flags::STALE);
const BASE: Spec = Spec { group: Group::Server, since: "2.2.12", locks: Locks::Nothing, ..Spec::DEFAULT };

pub const COMMANDS: &[Spec] = &[Spec {
    name: "slowlog",
    arity: -2,
    complexity: "Depends on subcommand.",
    summary: "Commands about the log of slow commands.",
    subcommands: SUBCOMMANDS,
    ..BASE
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "get",
        arity: -2,
        flags: ADMIN,
        complexity: "O(N) where N is the number of entries returned",
        summary: "Answers the newest entries.",
        syntax: "[count]",
        tips: &["nondeterministic_output", "request_policy:all_nodes"],
        handler: Session(get),
        ..BASE
    },
    Spec {
        name: "help",
        arity: 2,
        flags: Flags::LOADING.or(Flags::STALE),
        since: "6.2.0",
        summary: "Lists the subcommands.",
        handler: Session(help),
        ..BASE
    },
    Spec {
        name: "len",
        arity: 2,
        flags: ADMIN,
        summary: "Counts the entries.",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:agg_sum"],
        handler: Session(len),
        ..BASE
    },
    Spec {
        name: "waits",
        arity: -2,
        flags: ADMIN,
        since: "7.2.0",
        complexity: "O(N) where N is the number of entries returned",
        summary: "Answers the newest entries of what commands have waited for.",
        syntax: "[count]",
        tips: &["nondeterministic_output", "request_policy:all_nodes"],
        handler: Session(waits),
        ..BASE
    },
    Spec {
        name: "reset",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: 2,
        flags: ADMIN,
        complexity: "O(N) where N is the number of entries in the log",
        summary: "Empties the log.",
        handler: Session(reset),
        ..BASE
    },
];

fn get(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let entries = ctx.server.slowlog.newest(count(args)?);
    let out = &mut *ctx.out;
    out.array(entries.len());
    for entry in entries {
        out.array(6);
        show(&entry, out);
    }
    Ok(())
}

/// Not in Redis, which waits for neither.
fn waits(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let entries = ctx.server.slowlog.newest_waits(count(args)?);
    let out = &mut *ctx.out;
    out.array(entries.len());
    for (entry, wait) in entries {
        out.array(7);
        show(&entry, out);
        out.bulk_str(wait.name());
    }
    Ok(())
}

/// How many entries are asked for.
fn count(args: Args<'_>) -> Result<usize, CommandError> {
    const INVALID_COUNT: CommandError = CommandError::new("ERR count should be greater than or equal to -1");
    match (args.len(), args.maybe(2)) {
        (_, None) => Ok(COUNT_DEFAULT),
        (3, Some(text)) => match number::parse_i64(text) {
            Some(-1) => Ok(usize::MAX),
            Some(count) if count >= 0 => Ok(count as usize),
            _ => Err(INVALID_COUNT),
        },
        _ => Err(CommandError::wrong_subcommand("SLOWLOG", args)),
    }
}

/// Six elements.
fn show(entry: &SlowEntry, out: &mut ReplyBuf) {
    out.integer(entry.id);
    out.integer(entry.unix_s);
    out.integer(entry.duration.as_micros() as i64);
    out.array(entry.arguments.len());
    entry.arguments.iter().for_each(|argument| out.bulk(argument));
    out.bulk_str(&entry.address);
    out.bulk_str(&entry.client_name);
}

fn len(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.count(ctx.server.slowlog.len());
    Ok(())
}

fn reset(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.server.slowlog.reset();
    ctx.out.ok();
    Ok(())
}

fn help(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.help(
        "SLOWLOG",
        &[
            (
                "GET [<count>]",
                "The newest <count> entries (default: 10, -1: all), each with\n\
                 id, time, microseconds, arguments, address and name of the client.",
            ),
            ("LEN", "Number of entries."),
            ("RESET", "Empty the log."),
            (
                "WAITS [<count>]",
                "The newest <count> entries (default: 10, -1: all) of what commands have waited for: as\n\
                 with GET, and then 'admission' (keys from disk, who serves the slot) or 'commit'.",
            ),
        ],
    );
    Ok(())
}
