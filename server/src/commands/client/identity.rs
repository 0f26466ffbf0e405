//! CLIENT subcommands about who a connection is: ID, GETNAME, SETNAME, SETINFO.

use crate::commands::connection::{client_name, printable};
use crate::commands::ctx::SessionCtx;
use crate::error::{CommandError, CommandResult};
use crate::resp::Args;

pub fn id(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.integer(ctx.session.client.id.0 as i64);
    Ok(())
}

pub fn getname(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let name = ctx.session.client.info.name.lock();
    ctx.out.bulk_or_null((!name.is_empty()).then_some(name.as_bytes()));
    Ok(())
}

pub fn setname(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    *ctx.session.client.info.name.lock() = client_name(args.at(2))?;
    ctx.out.ok();
    Ok(())
}

/// As in Valkey: capabilities that nobody knows do no harm.
pub fn capa(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if args.from(2).any(|capability| capability.eq_ignore_ascii_case(b"redirect")) {
        ctx.session.stop_forwarding();
    }
    ctx.out.ok();
    Ok(())
}

pub fn setinfo(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let option = String::from_utf8_lossy(args.at(2));
    let info = &ctx.session.client.info;
    let field = match option.to_ascii_lowercase().as_str() {
        "lib-name" => &info.library_name,
        "lib-ver" => &info.library_version,
        _ => return Err(CommandError::owned(format!("ERR Unrecognized option '{option}'"))),
    };
    let value = printable(args.at(3)).ok_or_else(|| {
        CommandError::owned(format!("ERR {option} cannot contain spaces, newlines or special characters."))
    })?;
    *field.lock() = value;
    ctx.out.ok();
    Ok(())
}
