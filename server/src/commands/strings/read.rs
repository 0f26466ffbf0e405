//! Reading whole strings: GET, MGET, GETEX.

use super::lifetime::Lifetime;
use crate::commands::ctx::Ctx;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::notify::EventClass;
use crate::resp::{Args, ReplyBuf};
use basalt_storage::keyspace::{Key, StrRef};

#[inline]
pub(super) fn get(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer_string(ctx, &args.key(1))
}

/// Answers the string at `key`, or null.
#[inline]
pub(super) fn answer_string(ctx: &mut Ctx<'_, '_>, key: &Key<'_>) -> CommandResult {
    let string = ctx.view.string(ctx.db, key)?;
    write(ctx.out, string);
    Ok(())
}

#[inline]
fn write(out: &mut ReplyBuf, string: Option<StrRef<'_>>) {
    match string {
        None => out.null(),
        Some(StrRef::Bytes(bytes)) => out.bulk(bytes),
        Some(StrRef::Shared(bytes)) => out.shared_bulk(bytes, 0..bytes.len()),
        Some(StrRef::Int(number)) => out.bulk_int(number),
    }
}

/// What is no string is answered like a key that is not there.
pub(super) fn mget(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    ctx.out.array(args.len() - 1);
    for key in args.from(1) {
        let string = ctx.view.string(ctx.db, &Key::new(key)).unwrap_or(None);
        write(ctx.out, string);
    }
    Ok(())
}

/// GETEX. A wrong number is noticed only if there is a string.
pub(super) fn getex(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let lifetime = getex_options(args)?;
    let key = args.key(1);
    let now = ctx.now();
    let Some(string) = ctx.view.string(ctx.db, &key)? else {
        ctx.out.null();
        return Ok(());
    };
    let moment = match lifetime {
        Lifetime::Given(term, number) => Some((term, term.moment(number, now, "getex")?)),
        _ => None,
    };
    write(ctx.out, Some(string));
    match moment {
        Some((term, at)) if term.is_absolute() && at <= now => {
            ctx.view.delete(ctx.db, &key);
            ctx.notify(EventClass::Generic, "del", key.bytes);
        }
        Some((_, at)) => {
            ctx.view.put_expiry(ctx.db, &key, Some(at));
            ctx.notify(EventClass::Generic, "expire", key.bytes);
        }
        None if lifetime == Lifetime::Persist => {
            let is_volatile = ctx.view.peek(ctx.db, &key).is_some_and(|entry| entry.expiry().is_some());
            if is_volatile {
                ctx.view.put_expiry(ctx.db, &key, None);
                ctx.notify(EventClass::Generic, "persist", key.bytes);
            }
        }
        None => {}
    }
    Ok(())
}

fn getex_options(args: Args<'_>) -> Result<Lifetime<'_>, CommandError> {
    let mut lifetime = Lifetime::Unsaid;
    let mut at = 2;
    while at < args.len() {
        match lifetime.take(args, at, "PERSIST", Lifetime::Persist) {
            0 => return Err(SYNTAX),
            span => at += span,
        }
    }
    Ok(lifetime)
}
