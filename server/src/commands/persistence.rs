//! SAVE, BGSAVE, LASTSAVE: dumps on disk, as a client asks for them.

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, Locks, Spec};
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::persistence::AlreadyRunning;
use crate::resp::Args;

const BASE: Spec = Spec { group: Group::Server, locks: Locks::Nothing, ..Spec::DEFAULT };
const ADMIN: Flags = Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::NO_ASYNC_LOADING);

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "bgsave",
        arity: -1,
        flags: ADMIN,
        summary: "Saves the data to disk in the background.",
        syntax: "[SCHEDULE]",
        handler: Session(bgsave),
        ..BASE
    },
    Spec {
        name: "lastsave",
        tips: &["nondeterministic_output"],
        arity: 1,
        flags: Flags::LOADING.or(Flags::STALE).or(Flags::FAST),
        summary: "Tells the second in which the data was last saved to disk.",
        categories: &["admin", "dangerous"],
        handler: Session(lastsave),
        ..BASE
    },
    Spec {
        name: "save",
        arity: 1,
        flags: ADMIN.or(Flags::NO_MULTI),
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Saves the data to disk, and answers when it is there.",
        handler: Session(save),
        ..BASE
    },
];

impl From<AlreadyRunning> for CommandError {
    fn from(_: AlreadyRunning) -> CommandError {
        CommandError::new("ERR Background save already in progress")
    }
}

fn save(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let result = ctx.server.persistence.save(ctx.server)?;
    result.map_err(|_| CommandError::new("ERR "))?;
    ctx.out.ok();
    Ok(())
}

/// With SCHEDULE Redis waits for the rewriting of an append-only file, of which there is none here. Within a
/// transaction the locks are held that fix a point in time, so there the dump is begun a moment later, as Redis does.
fn bgsave(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 || (args.len() == 2 && !args.is(1, "SCHEDULE")) {
        return Err(SYNTAX);
    }
    let persistence = &ctx.server.persistence;
    if ctx.held.is_some() {
        if persistence.is_saving_in_background() {
            return Err(AlreadyRunning.into());
        }
        persistence.schedule();
        ctx.out.simple("Background saving scheduled");
        return Ok(());
    }
    persistence.begin_in_background(ctx.server)?;
    ctx.out.simple("Background saving started");
    Ok(())
}

fn lastsave(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.integer(ctx.server.persistence.saved_at_s());
    Ok(())
}
