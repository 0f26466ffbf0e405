//! CLIENT subcommands that change how clients are treated: PAUSE, UNPAUSE, REPLY, NO-EVICT, NO-TOUCH, UNBLOCK, and the
//! switches of tracking, which is always off.

use crate::blocked::End;
use crate::client::ClientId;
use crate::commands::cluster::cluster_of;
use crate::commands::ctx::SessionCtx;
use crate::error::{CommandError, CommandResult, NOT_INTEGER, SYNTAX};
use crate::pause::Mode;
use crate::resp::Args;
use crate::session::{ReplyMode, Switch};
use basalt_storage::number;
use basalt_storage::slot::StripeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

fn switch(word: &[u8]) -> Result<Switch, CommandError> {
    match word.to_ascii_lowercase().as_slice() {
        b"on" => Ok(Switch::On),
        b"off" => Ok(Switch::Off),
        _ => Err(SYNTAX),
    }
}

pub fn no_evict(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let switch = switch(args.at(2))?;
    ctx.session.client.info.no_evict.store(switch == Switch::On, Relaxed);
    ctx.out.ok();
    Ok(())
}

pub fn no_touch(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    ctx.session.set_no_touch(switch(args.at(2))?);
    ctx.out.ok();
    Ok(())
}

pub fn reply(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let session = &mut *ctx.session;
    match args.at(2).to_ascii_lowercase().as_slice() {
        b"on" => {
            session.reply_mode = ReplyMode::On;
            ctx.out.ok();
        }
        b"off" => session.reply_mode = ReplyMode::Off,
        b"skip" if session.reply_mode == ReplyMode::Off => {}
        b"skip" => session.reply_mode = ReplyMode::SkipNext,
        _ => return Err(SYNTAX),
    }
    Ok(())
}

/// How old what a replica shows after READONLY may be. Without an argument the bound is answered; 0 stands for none.
pub fn read_staleness(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    cluster_of(ctx.server)?;
    let reads = &mut ctx.session.routing().reads;
    let Some(text) = args.maybe(2) else {
        ctx.out.integer(reads.bound.map_or(0, |bound| bound.as_millis() as i64));
        return Ok(());
    };
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    let milliseconds = number::parse_i64(text).ok_or(NOT_INTEGER)?;
    let milliseconds = u64::try_from(milliseconds).map_err(|_| CommandError::new("ERR read staleness is negative"))?;
    reads.bound = (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
    ctx.out.ok();
    Ok(())
}

pub fn pause(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let mode = match args.maybe(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        _ if args.len() > 4 => return Err(SYNTAX),
        None | Some(b"all") => Mode::All,
        Some(b"write") => Mode::Writes,
        Some(_) => return Err(CommandError::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let timeout =
        number::parse_i64(args.at(2)).ok_or(CommandError::new("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(CommandError::new("ERR timeout is negative"));
    }
    let until = ctx.now.0.checked_add(timeout).ok_or(CommandError::new("ERR timeout is out of range"))?;
    ctx.server.pause.start(ctx.server, until, mode);
    ctx.out.ok();
    Ok(())
}

pub fn unpause(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.server.pause.stop();
    ctx.out.ok();
    Ok(())
}

pub fn unblock(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    const UNBLOCKED: CommandError = CommandError::new("UNBLOCKED client unblocked via CLIENT UNBLOCK");
    let end = match args.maybe(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"timeout") => End::Timeout,
        Some(b"error") => End::Error(UNBLOCKED),
        Some(_) => return Err(CommandError::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let client = ClientId(number::parse_i64(args.at(2)).ok_or(NOT_INTEGER)?.cast_unsigned());
    let server = ctx.server;
    let unblocked = match ctx.held {
        Some(_) => ctx.with_stripes(StripeSet::ALL, |view| server.blocked.end_in(view, client, end)),
        None => server.blocked.end(server, client, end),
    };
    ctx.out.integer(i64::from(unblocked));
    Ok(())
}

const NOT_TRACKING: CommandError = CommandError::new(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);

pub fn caching(_: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    Err(NOT_TRACKING)
}

/// -1: tracking is off.
pub fn getredir(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.integer(-1);
    Ok(())
}

/// Tracking can be switched off, which it is.
pub fn tracking(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if switch(args.at(2))? == Switch::On || args.len() > 3 {
        return Err(CommandError::new("ERR unknown subcommand 'TRACKING'. Try CLIENT HELP."));
    }
    ctx.out.ok();
    Ok(())
}

pub fn tracking_info(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let out = &mut *ctx.out;
    out.map(3);
    out.bulk(b"flags");
    out.set(1);
    out.bulk(b"off");
    out.bulk(b"redirect");
    out.integer(-1);
    out.bulk(b"prefixes");
    out.array(0);
    Ok(())
}
