//! CONFIG.

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, Locks, Spec};
use crate::config::{self, file};
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::resp::Args;

const FLAGS: Flags = Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE);

const SUB: Spec = Spec { flags: FLAGS, group: Group::Server, since: "2.0.0", locks: Locks::Nothing, ..Spec::DEFAULT };

pub const COMMANDS: &[Spec] = &[Spec {
    name: "config",
    arity: -2,
    group: Group::Server,
    since: "2.0.0",
    complexity: "Depends on subcommand.",
    summary: "Reads and changes settings.",
    locks: Locks::Nothing,
    subcommands: &[
        Spec {
            name: "get",
            arity: -3,
            complexity: "O(N*M), N being the number of settings and M that of patterns",
            summary: "Answers the settings that match patterns.",
            syntax: "parameter [parameter ...]",
            handler: Session(get),
            ..SUB
        },
        Spec {
            name: "set",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            arity: -4,
            complexity: "O(N), N being the number of settings given",
            summary: "Changes settings, all or none.",
            syntax: "parameter value [parameter value ...]",
            handler: Session(set),
            ..SUB
        },
        Spec {
            name: "resetstat",
            arity: 2,
            summary: "Sets the statistics of INFO back to zero.",
            handler: Session(resetstat),
            ..SUB
        },
        Spec {
            name: "rewrite",
            arity: 2,
            since: "2.8.0",
            summary: "Writes the present settings into the configuration file.",
            handler: Session(rewrite),
            ..SUB
        },
        Spec {
            name: "help",
            arity: 2,
            since: "5.0.0",
            flags: Flags::LOADING.or(Flags::STALE),
            summary: "Describes the subcommands.",
            handler: Session(help),
            ..SUB
        },
    ],
    ..Spec::DEFAULT
}];

fn get(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let patterns: Vec<&[u8]> = args.from(2).collect();
    let found = config::matching(ctx.server, &patterns);
    ctx.out.map(found.len());
    for (name, value) in found {
        ctx.out.bulk_str(name);
        ctx.out.bulk_str(&value);
    }
    Ok(())
}

fn set(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if !args.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs: Vec<_> = (2..args.len()).step_by(2).map(|at| (text(args.at(at)), text(args.at(at + 1)))).collect();
    config::set(ctx.server, ctx.session, &pairs)?;
    ctx.out.ok();
    Ok(())
}

fn resetstat(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.server.reset_stats();
    ctx.out.ok();
    Ok(())
}

fn rewrite(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let Some(path) = &ctx.server.config.file else {
        return Err(CommandError::new("ERR The server is running without a config file"));
    };
    file::rewrite(&ctx.server.config, path, file::Extent::Changed).map_err(|error| {
        tracing::warn!(%error, path = %path.display(), "CONFIG REWRITE failed");
        CommandError::owned(format!("ERR Rewriting config file: {error}"))
    })?;
    tracing::info!(path = %path.display(), "the configuration file was rewritten");
    ctx.out.ok();
    Ok(())
}

fn help(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.help(
        "CONFIG",
        &[
            ("GET <pattern> [<pattern> ...]", "Show the settings whose names match a glob-like pattern."),
            ("SET <directive> <value> [<directive> <value> ...]", "Change settings, all or none."),
            ("RESETSTAT", "Set the statistics of INFO back to zero."),
            ("REWRITE", "Write the present settings into the configuration file."),
        ],
    );
    Ok(())
}
