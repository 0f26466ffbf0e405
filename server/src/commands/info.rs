//! INFO.

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, Locks, Spec};
use crate::error::CommandResult;
use crate::info;
use crate::resp::Args;

pub const COMMANDS: &[Spec] = &[Spec {
    name: "info",
    arity: -1,
    flags: Flags::LOADING.or(Flags::STALE).or(Flags::SENTINEL),
    group: Group::Server,
    categories: &["dangerous"],
    summary: "Tells the state of the server.",
    syntax: "[section [section ...]]",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    locks: Locks::Nothing,
    handler: Session(info),
    ..Spec::DEFAULT
}];

fn info(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let sections: Vec<&[u8]> = args.from(1).collect();
    ctx.out.verbatim("txt", info::render(ctx.server, &sections).as_bytes());
    Ok(())
}
