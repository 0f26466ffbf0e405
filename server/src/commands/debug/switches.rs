//! Subcommands that turn a switch of the server, or stop it for a while.

use crate::commands::ctx::SessionCtx;
use crate::config::file::{self, Extent};
use crate::config::setting;
use crate::error::{CommandError, CommandResult, NOT_INTEGER};
use crate::resp::Args;
use crate::switches::PEAK_RESET_MS;
use basalt_storage::engine::split_collections_above;
use basalt_storage::number::{parse_f64_lenient, parse_i64};
use basalt_storage::slot::StripeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Read as C's atoi does: what is no number is zero.
fn is_on(text: &[u8]) -> bool {
    parse_i64(text).unwrap_or(0) != 0
}

pub fn active_expiry(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    ctx.server.switches.active_expiry.store(is_on(args.at(1)), Relaxed);
    ctx.out.ok();
    Ok(())
}

pub fn pause_cron(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    ctx.server.switches.cron.store(!is_on(args.at(1)), Relaxed);
    ctx.out.ok();
    Ok(())
}

pub fn skip_checksums(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    ctx.server.switches.checksums.store(!is_on(args.at(1)), Relaxed);
    ctx.out.ok();
    Ok(())
}

pub fn reply_buffer(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let switches = &ctx.server.switches;
    if args.is(1, "PEAK-RESET-TIME") {
        let milliseconds = match args.at(2) {
            word if word.eq_ignore_ascii_case(b"never") => -1,
            word if word.eq_ignore_ascii_case(b"reset") => PEAK_RESET_MS,
            number => parse_i64(number).ok_or(NOT_INTEGER)?,
        };
        switches.reply_buffer_peak_reset_ms.store(milliseconds, Relaxed);
    } else if args.is(1, "RESIZING") {
        switches.reply_buffer_resizing.store(is_on(args.at(2)), Relaxed);
    } else {
        let name = String::from_utf8_lossy(args.at(0)).into_owned();
        return Err(CommandError::owned(format!(
            "ERR unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP."
        )));
    }
    ctx.out.ok();
    Ok(())
}

/// Checks the size as Redis does. There is nothing to set: here a long element of a list is on its own by the list's
/// own measure.
pub fn packed_threshold(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    const TOO_LARGE: u64 = 4 << 30;
    match setting::memory(&String::from_utf8_lossy(args.at(1))) {
        Some(bytes) if bytes < TOO_LARGE => {
            ctx.out.ok();
            Ok(())
        }
        _ => Err(CommandError::new("ERR argument must be a memory value bigger than 1 and smaller than 4gb")),
    }
}

pub fn rewrite_all(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let failed = |reason: String| CommandError::owned(format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {reason}"));
    let path = ctx.server.config.file.as_ref().ok_or_else(|| failed("there is no configuration file".into()))?;
    file::rewrite(&ctx.server.config, path, Extent::Everything).map_err(|error| failed(error.to_string()))?;
    ctx.out.ok();
    Ok(())
}

/// Sleeps under all locks, because that is what the one thread of Redis does to everybody.
pub fn sleep(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let seconds = parse_f64_lenient(args.at(1)).unwrap_or(0.0).max(0.0);
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    ctx.with_stripes(StripeSet::ALL, |_| std::thread::sleep(duration));
    ctx.out.ok();
    Ok(())
}

/// With a number below the usual one, tests meet with small collections what clients meet with large ones.
pub fn outline_above(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let elements = parse_i64(args.at(1)).and_then(|number| usize::try_from(number).ok()).ok_or(NOT_INTEGER)?;
    split_collections_above(elements);
    ctx.server.keyspace.settings.outline_above.store(elements, Relaxed);
    ctx.out.ok();
    Ok(())
}

/// For tests of what a panic does: see [`crate::crash`].
pub fn panic(_: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    panic!("DEBUG PANIC was called")
}
