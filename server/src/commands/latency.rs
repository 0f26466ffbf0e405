//! LATENCY: what the latency monitor and the latency histograms hold.

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, Locks, Spec};
use super::{Command, CommandId};
use crate::error::{CommandError, CommandResult};
use crate::latency::report;
use crate::resp::{Args, ReplyBuf};
use crate::server::Server;

const ADMIN: Flags = Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE);
const BASE: Spec = Spec { flags: ADMIN, group: Group::Server, since: "2.8.13", locks: Locks::Nothing, ..Spec::DEFAULT };

pub const COMMANDS: &[Spec] = &[Spec {
    name: "latency",
    arity: -2,
    flags: Flags::NONE,
    complexity: "Depends on subcommand.",
    summary: "Commands about what took long.",
    subcommands: SUBCOMMANDS,
    ..BASE
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "doctor",
        arity: 2,
        summary: "Explains the spikes in plain words.",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        handler: Session(doctor),
        ..BASE
    },
    Spec {
        name: "graph",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        arity: 3,
        summary: "Draws the spikes of an event.",
        syntax: "event",
        handler: Session(graph),
        ..BASE
    },
    Spec {
        name: "help",
        arity: 2,
        flags: Flags::LOADING.or(Flags::STALE),
        summary: "Lists the subcommands.",
        handler: Session(help),
        ..BASE
    },
    Spec {
        name: "histogram",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands with calls",
        summary: "Answers how many calls of commands took how long.",
        syntax: "[command [command ...]]",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        handler: Session(histogram),
        ..BASE
    },
    Spec {
        name: "history",
        arity: 3,
        summary: "Answers the spikes of an event.",
        syntax: "event",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        handler: Session(history),
        ..BASE
    },
    Spec {
        name: "latest",
        arity: 2,
        summary: "Answers the newest spike of each event.",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        handler: Session(latest),
        ..BASE
    },
    Spec {
        name: "reset",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: -2,
        summary: "Forgets the spikes of some events, or of all.",
        syntax: "[event [event ...]]",
        handler: Session(reset),
        ..BASE
    },
];

fn doctor(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let text = report::doctor(&ctx.server.latency, ctx.now.0 / 1000);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn graph(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let event = String::from_utf8_lossy(args.at(2));
    let history = ctx.server.latency.event(&event);
    let history =
        history.ok_or_else(|| CommandError::owned(format!("ERR No samples available for event '{event}'")))?;
    let drawing = report::graph(&event, &history, ctx.now.0 / 1000);
    ctx.out.verbatim("txt", drawing.as_bytes());
    Ok(())
}

fn history(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let history = ctx.server.latency.event(&String::from_utf8_lossy(args.at(2))).unwrap_or_default();
    ctx.out.array(history.samples.len());
    for (second, ms) in history.samples {
        ctx.out.array(2);
        ctx.out.integer(second);
        ctx.out.integer(ms as i64);
    }
    Ok(())
}

fn latest(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let events = ctx.server.latency.events();
    ctx.out.array(events.len());
    for (event, history) in events {
        let (second, ms) = history.samples.last().copied().unwrap_or_default();
        ctx.out.array(4);
        ctx.out.bulk_str(event);
        ctx.out.integer(second);
        ctx.out.integer(ms as i64);
        ctx.out.integer(history.max_ms as i64);
    }
    Ok(())
}

fn reset(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let names: Vec<_> = args.from(2).map(String::from_utf8_lossy).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    ctx.out.count(ctx.server.latency.reset(&names));
    Ok(())
}

/// Of the commands named, or of all, those that were called. A container stands for its subcommands.
fn histogram(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let commands: Vec<&Command> =
        if args.len() == 2 { super::all().to_vec() } else { args.from(2).flat_map(named).collect() };
    let map = ctx.out.deferred();
    let shown = commands.iter().filter(|command| show_histogram(ctx.server, ctx.out, command)).count();
    ctx.out.finish_map(map, shown);
    Ok(())
}

/// The command of this name (`get`, `config`, `config|get`), with its subcommands.
fn named(name: &[u8]) -> Vec<&'static Command> {
    let Some(command) = super::find_full(name) else { return Vec::new() };
    std::iter::once(command).chain(command.subcommands()).collect()
}

fn show_histogram(server: &Server, out: &mut ReplyBuf, command: &Command) -> bool {
    let id: CommandId = command.id;
    let totals = server.stats.totals(id);
    if totals.calls == 0 {
        return false;
    }
    let steps = report::cumulative_us(&totals.latency);
    out.bulk_str(command.full_name);
    out.map(2);
    out.bulk(b"calls");
    out.integer(totals.calls as i64);
    out.bulk(b"histogram_usec");
    out.map(steps.len());
    for (bound_us, calls) in steps {
        out.integer(bound_us as i64);
        out.integer(calls as i64);
    }
    true
}

fn help(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.help(
        "LATENCY",
        &[
            ("DOCTOR", "A report on latency in plain words."),
            ("GRAPH <event>", "A drawing of the spikes of <event>."),
            ("HISTORY <event>", "Times and lengths of the spikes of <event>."),
            ("LATEST", "The newest spike of each event."),
            ("RESET [<event> ...]", "Forget the spikes of these events (default: of all)."),
            (
                "HISTOGRAM [COMMAND ...]",
                "For each command, how many calls took at most how long (default: all commands).",
            ),
        ],
    );
    Ok(())
}
