//! Writing whole strings: SET and its older relatives, GETSET, GETDEL, MSET.

use super::lifetime::{Lifetime, Term};
use super::read::answer_string;
use crate::commands::ctx::Ctx;
use crate::commands::spec::{KeyFlags, OW_UPDATE, RW_ACCESS_UPDATE};
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::clock::UnixMs;
use basalt_storage::keyspace::{Key, NewExpiry};

#[inline]
pub(super) fn set(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    if args.len() > 3 {
        return set_with_options(ctx, args);
    }
    put(ctx, &args.key(1), args, 2, NewExpiry::Clear);
    ctx.out.ok();
    Ok(())
}

/// Makes the key hold the argument at `index`.
#[inline]
fn put(ctx: &mut Ctx<'_, '_>, key: &Key<'_>, args: Args<'_>, index: usize, expiry: NewExpiry) {
    put_argument(ctx, key, args, index, expiry);
    ctx.notify(EventClass::String, "set", key.bytes);
}

/// Large arguments become values without being copied.
#[inline]
pub(super) fn put_argument(ctx: &mut Ctx<'_, '_>, key: &Key<'_>, args: Args<'_>, index: usize, expiry: NewExpiry) {
    match args.shared(index) {
        None => ctx.view.put_string(ctx.db, key, args.at(index), expiry),
        Some(value) => ctx.view.put_shared(ctx.db, key, value, expiry),
    }
}

/// Which keys SET changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

/// What SET answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// OK, or null if nothing was set.
    Done,
    /// The string that the key held, whether it was replaced or not.
    Former,
}

struct SetOptions<'a> {
    condition: Condition,
    answer: Answer,
    lifetime: Lifetime<'a>,
}

impl<'a> SetOptions<'a> {
    fn parse(args: Args<'a>) -> Result<SetOptions<'a>, CommandError> {
        let mut options = SetOptions { condition: Condition::Always, answer: Answer::Done, lifetime: Lifetime::Unsaid };
        let mut at = 3;
        while at < args.len() {
            if args.is(at, "NX") && options.condition != Condition::IfPresent {
                options.condition = Condition::IfAbsent;
            } else if args.is(at, "XX") && options.condition != Condition::IfAbsent {
                options.condition = Condition::IfPresent;
            } else if args.is(at, "GET") {
                options.answer = Answer::Former;
            } else {
                match options.lifetime.take(args, at, "KEEPTTL", Lifetime::Keep) {
                    0 => return Err(SYNTAX),
                    span => at += span - 1,
                }
            }
            at += 1;
        }
        Ok(options)
    }

    fn expiry(&self, now: UnixMs) -> Result<NewExpiry, CommandError> {
        match self.lifetime {
            Lifetime::Keep => Ok(NewExpiry::Keep),
            Lifetime::Given(term, number) => term.moment(number, now, "set").map(NewExpiry::At),
            Lifetime::Unsaid | Lifetime::Persist => Ok(NewExpiry::Clear),
        }
    }
}

fn set_with_options(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let options = SetOptions::parse(args)?;
    let expiry = options.expiry(ctx.now())?;
    let key = args.key(1);
    if options.answer == Answer::Former {
        answer_string(ctx, &key)?;
    }
    let permitted = match options.condition {
        Condition::Always => true,
        Condition::IfAbsent => ctx.view.glance(ctx.db, &key).is_none(),
        Condition::IfPresent => ctx.view.glance(ctx.db, &key).is_some(),
    };
    if permitted {
        put_with_expiry(ctx, &key, args, 2, expiry);
    }
    match (options.answer, permitted) {
        (Answer::Former, _) => {}
        (Answer::Done, true) => ctx.out.ok(),
        (Answer::Done, false) => ctx.out.null(),
    }
    Ok(())
}

fn put_with_expiry(ctx: &mut Ctx<'_, '_>, key: &Key<'_>, args: Args<'_>, index: usize, expiry: NewExpiry) {
    put(ctx, key, args, index, expiry);
    if let NewExpiry::At(_) = expiry {
        ctx.notify(EventClass::Generic, "expire", key.bytes);
    }
}

pub(super) fn set_if_absent(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let is_absent = ctx.view.glance(ctx.db, &args.key(1)).is_none();
    if is_absent {
        put(ctx, &args.key(1), args, 2, NewExpiry::Clear);
    }
    ctx.out.integer(i64::from(is_absent));
    Ok(())
}

/// SETEX and PSETEX.
pub(super) fn set_for(ctx: &mut Ctx<'_, '_>, args: Args<'_>, name: &str, term: Term) -> CommandResult {
    let at = term.moment(args.at(2), ctx.now(), name)?;
    put_with_expiry(ctx, &args.key(1), args, 3, NewExpiry::At(at));
    ctx.out.ok();
    Ok(())
}

pub(super) fn getset(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer_string(ctx, &args.key(1))?;
    put(ctx, &args.key(1), args, 2, NewExpiry::Clear);
    Ok(())
}

pub(super) fn getdel(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let key = args.key(1);
    answer_string(ctx, &key)?;
    if ctx.view.delete(ctx.db, &key) {
        ctx.notify(EventClass::Generic, "del", key.bytes);
    }
    Ok(())
}

pub(super) fn set_many(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    put_pairs(ctx, args, "mset")?;
    ctx.out.ok();
    Ok(())
}

pub(super) fn set_many_if_absent(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    refuse_half_pair(args, "msetnx")?;
    let is_any_there = (1..args.len()).step_by(2).any(|at| ctx.view.glance(ctx.db, &args.key(at)).is_some());
    if !is_any_there {
        put_pairs(ctx, args, "msetnx")?;
    }
    ctx.out.integer(i64::from(!is_any_there));
    Ok(())
}

fn put_pairs(ctx: &mut Ctx<'_, '_>, args: Args<'_>, name: &str) -> CommandResult {
    refuse_half_pair(args, name)?;
    for at in (1..args.len()).step_by(2) {
        put(ctx, &args.key(at), args, at + 1, NewExpiry::Clear);
    }
    Ok(())
}

fn refuse_half_pair(args: Args<'_>, name: &str) -> CommandResult {
    if args.len() % 2 == 1 { Ok(()) } else { Err(CommandError::wrong_arity(name)) }
}

/// SET reads its key only with GET.
pub fn set_access(args: Args<'_>) -> KeyFlags {
    if (3..args.len()).any(|at| args.is(at, "GET")) { RW_ACCESS_UPDATE } else { OW_UPDATE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedArgs;

    fn parse(words: &str) -> Option<(Condition, Answer, bool)> {
        let owned = OwnedArgs::of(words.split(' ').map(str::as_bytes));
        let options = SetOptions::parse(owned.as_args()).ok()?;
        Some((options.condition, options.answer, options.lifetime != Lifetime::Unsaid))
    }

    #[test]
    fn options_come_in_any_order_and_case() {
        assert_eq!(parse("set k v nx get"), Some((Condition::IfAbsent, Answer::Former, false)));
        assert_eq!(parse("set k v ex 1 XX"), Some((Condition::IfPresent, Answer::Done, true)));
        assert_eq!(parse("set k v keepttl keepttl"), Some((Condition::Always, Answer::Done, true)));
        assert_eq!(parse("set k v EX 1 EX 2"), Some((Condition::Always, Answer::Done, true)));
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        for words in ["nx xx", "xx nx", "ex", "ex 1 px 1", "ex 1 keepttl", "keepttl pxat 1", "persist", "nosuch"] {
            assert_eq!(parse(&format!("set k v {words}")), None, "{words}");
        }
    }
}
