//! Parts of strings: APPEND, STRLEN, GETRANGE, SETRANGE.

use super::write::put_argument;
use crate::commands::ctx::Ctx;
use crate::commands::parse;
use crate::error::{CommandError, CommandResult, STRING_TOO_LONG};
use crate::notify::EventClass;
use crate::resp::Args;
use crate::server::Server;
use basalt_storage::keyspace::{NewExpiry, StrRef};
use basalt_storage::shared::SHARED_MIN;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

const OFFSET_OUT_OF_RANGE: CommandError = CommandError::new("ERR offset is out of range");

/// Refuses what would make a string longer than any client may send.
fn check_length(server: &Server, len: u64) -> CommandResult {
    if len > server.config.hot.proto_max_bulk_len.load(Relaxed) { Err(STRING_TOO_LONG) } else { Ok(()) }
}

pub(super) fn append(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (key, tail) = (args.key(1), args.at(2));
    let len = match ctx.view.string_to_change(ctx.db, &key)? {
        // A string that APPEND creates is like one that SET creates: an integer, if it looks like one.
        None => {
            put_argument(ctx, &key, args, 2, NewExpiry::Clear);
            tail.len()
        }
        Some(string) => {
            let old_len = string.len();
            check_length(ctx.server, (old_len + tail.len()) as u64)?;
            ctx.view.splice_string(ctx.db, &key, old_len, tail);
            old_len + tail.len()
        }
    };
    ctx.notify(EventClass::String, "append", key.bytes);
    ctx.out.count(len);
    Ok(())
}

pub(super) fn length(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let len = ctx.view.partial_string(ctx.db, &args.key(1))?.map_or(0, |string| string.len());
    ctx.out.count(len);
    Ok(())
}

/// GETRANGE and SUBSTR.
pub(super) fn part(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (start, end) = (parse::integer(args.at(2))?, parse::integer(args.at(3))?);
    match ctx.view.partial_string(ctx.db, &args.key(1))? {
        None => ctx.out.bulk(b""),
        Some(string) => {
            let range = resolve(start, end, string.len());
            match string.shared().filter(|_| range.len() >= SHARED_MIN) {
                Some(bytes) => ctx.out.shared_bulk(bytes, range),
                None => string.with_range(range, |bytes| ctx.out.bulk(bytes)),
            }
        }
    }
    Ok(())
}

/// The range from `start` to `end`, both included; negative indexes count from the end of the string.
pub fn resolve(start: i64, end: i64, len: usize) -> Range<usize> {
    // Out of order from the end stays empty even where clamping to the start would make it a range of one.
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_start = |index: i64| if index < 0 { index.saturating_add(len as i64).max(0) } else { index } as usize;
    let (start, end) = (from_start(start), from_start(end).saturating_add(1).min(len));
    if start < end { start..end } else { 0..0 }
}

/// SETRANGE. Writing nothing creates and extends nothing.
pub(super) fn overwrite(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (key, bytes) = (args.key(1), args.at(3));
    let offset = usize::try_from(parse::integer(args.at(2))?).map_err(|_| OFFSET_OUT_OF_RANGE)?;
    let old_len = ctx.view.string_to_change(ctx.db, &key)?.map_or(0, StrRef::len);
    if bytes.is_empty() {
        ctx.out.count(old_len);
        return Ok(());
    }
    check_length(ctx.server, (offset as u64).saturating_add(bytes.len() as u64))?;
    ctx.view.splice_string(ctx.db, &key, offset, bytes);
    ctx.notify(EventClass::String, "setrange", key.bytes);
    ctx.out.count(old_len.max(offset + bytes.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clamped_to_the_string() {
        for (start, end, range) in [
            (0, -1, 0..5),
            (1, 3, 1..4),
            (-3, -2, 2..4),
            (-100, 1, 0..2),
            (3, 100, 3..5),
            (5, 6, 0..0),
            (3, 2, 0..0),
            (-1, -5, 0..0),
            (-100, -101, 0..0),
            (i64::MIN, i64::MAX, 0..5),
        ] {
            assert_eq!(resolve(start, end, 5), range, "{start} {end}");
        }
        assert_eq!(resolve(0, -1, 0), 0..0);
    }
}
