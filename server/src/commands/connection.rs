//! Commands about the connection itself.

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, Locks, Spec};
use crate::error::{CommandError, CommandResult, DB_INDEX_OUT_OF_RANGE, NOT_INTEGER};
use crate::resp::Args;
use basalt_storage::number;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "ping",
        arity: -1,
        flags: Flags::FAST,
        group: Group::Connection,
        summary: "Answers PONG, or what it was given.",
        syntax: "[message]",
        locks: Locks::Nothing,
        handler: Session(ping),
        ..Spec::DEFAULT
    },
    Spec {
        name: "select",
        arity: 2,
        flags: Flags::LOADING.or(Flags::STALE).or(Flags::FAST),
        group: Group::Connection,
        summary: "Chooses the database of the connection.",
        syntax: "index",
        locks: Locks::Nothing,
        handler: Session(select),
        ..Spec::DEFAULT
    },
    Spec {
        name: "quit",
        arity: -1,
        flags: Flags::FAST.or(Flags::NO_AUTH).or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
        group: Group::Connection,
        summary: "Closes the connection.",
        locks: Locks::Nothing,
        handler: Session(quit),
        ..Spec::DEFAULT
    },
];

fn ping(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 {
        return Err(CommandError::wrong_arity("ping"));
    }
    if !ctx.out.is_resp3() && !ctx.session.subscriptions.is_empty() {
        // A RESP2 subscriber reads nothing but messages, so this looks like one.
        ctx.out.array(2);
        ctx.out.bulk(b"pong");
        ctx.out.bulk(args.maybe(1).unwrap_or_default());
        return Ok(());
    }
    match args.maybe(1) {
        None => ctx.out.simple("PONG"),
        Some(message) => ctx.out.bulk(message),
    }
    Ok(())
}

fn select(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let index = number::parse_i64(args.at(1)).ok_or(NOT_INTEGER)?;
    let db = ctx.server.keyspace.database(index).ok_or(DB_INDEX_OUT_OF_RANGE)?;
    ctx.session.select(db);
    ctx.out.ok();
    Ok(())
}

fn quit(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.ok();
    ctx.session.closing = true;
    Ok(())
}
