//! SLOWLOG: what the log of slow commands holds.

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, Locks, Spec};
use crate::error::{CommandError, CommandResult};
use crate::resp::Args;
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
    const INVALID_COUNT: CommandError = CommandError::new("ERR count should be greater than or equal to -1");
    let count = match (args.len(), args.maybe(2)) {
        (_, None) => COUNT_DEFAULT,
        (3, Some(text)) => match number::parse_i64(text) {
            Some(-1) => usize::MAX,
            Some(count) if count >= 0 => count as usize,
            _ => return Err(INVALID_COUNT),
        },
        _ => return Err(CommandError::wrong_subcommand("SLOWLOG", args)),
    };
    let entries = ctx.server.slowlog.newest(count);
    let out = &mut *ctx.out;
    out.array(entries.len());
    for entry in entries {
        out.array(6);
        out.integer(entry.id);
        out.integer(entry.unix_s);
        out.integer(entry.duration.as_micros() as i64);
        out.array(entry.arguments.len());
        entry.arguments.iter().for_each(|argument| out.bulk(argument));
        out.bulk_str(&entry.address);
        out.bulk_str(&entry.client_name);
    }
    Ok(())
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
        ],
    );
    Ok(())
}
