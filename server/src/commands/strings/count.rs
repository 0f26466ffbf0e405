//! Strings as numbers: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.

use crate::algorithms::long_double::LongDouble;
use crate::commands::ctx::Ctx;
use crate::commands::parse;
use crate::error::{CommandError, CommandResult, INCREMENT_NAN, INCREMENT_OVERFLOW, NOT_FLOAT, NOT_INTEGER};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::keyspace::{NewExpiry, StrRef};
use basalt_storage::number::{self, parse_i64};

/// The smallest number has no opposite.
const DECREMENT_OVERFLOW: CommandError = CommandError::new("ERR decrement would overflow");

pub(super) fn increment(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    add(ctx, args, 1)
}

pub(super) fn decrement(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    add(ctx, args, -1)
}

pub(super) fn increment_by(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    add(ctx, args, parse::integer(args.at(2))?)
}

pub(super) fn decrement_by(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let decrement = parse::integer(args.at(2))?;
    add(ctx, args, decrement.checked_neg().ok_or(DECREMENT_OVERFLOW)?)
}

#[inline]
fn add(ctx: &mut Ctx<'_, '_>, args: Args<'_>, increment: i64) -> CommandResult {
    let key = args.key(1);
    let new = ctx.view.change_to_int(ctx.db, &key, |old| {
        let old = match old {
            None => 0,
            Some(StrRef::Int(number)) => number,
            Some(StrRef::Bytes(bytes)) => parse_i64(bytes).ok_or(NOT_INTEGER)?,
            Some(StrRef::Shared(_)) => return Err(NOT_INTEGER),
        };
        old.checked_add(increment).ok_or(INCREMENT_OVERFLOW)
    })?;
    // One name for all of them, whatever the sign.
    ctx.notify(EventClass::String, "incrby", key.bytes);
    ctx.out.integer(new);
    Ok(())
}

/// The result stays text even if it looks like an integer: that is what OBJECT ENCODING shows in Redis.
pub(super) fn increment_by_float(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let key = args.key(1);
    let old = match ctx.view.string_to_change(ctx.db, &key)? {
        None => long_double(b"0")?,
        Some(string) => long_double(string.bytes(&mut number::format_i64(0)))?,
    };
    let new = old.checked_add(long_double(args.at(2))?).ok_or(INCREMENT_NAN)?.to_text();
    ctx.view.put_bytes(ctx.db, &key, &new, NewExpiry::Keep);
    ctx.notify(EventClass::String, "incrbyfloat", key.bytes);
    ctx.out.bulk(&new);
    Ok(())
}

fn long_double(text: &[u8]) -> Result<LongDouble, CommandError> {
    LongDouble::parse(text).ok_or(NOT_FLOAT)
}
