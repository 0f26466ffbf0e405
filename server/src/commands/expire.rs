//! Commands about a key's time to live.

use super::ctx::Ctx;
use super::spec::{Flags, Handler::Data, KeySpec, RO_ACCESS, RW_UPDATE, Spec};
use crate::commands::looks::Looks;
use crate::error::{CommandError, CommandResult, NOT_INTEGER};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::clock::UnixMs;
use basalt_storage::number::parse_i64;

const CHANGED_KEY: &[KeySpec] = &[KeySpec::first(RW_UPDATE)];
const READ_KEY: &[KeySpec] = &[KeySpec::first(RO_ACCESS)];

const fn setter(name: &'static str, since: &'static str, summary: &'static str) -> Spec {
    Spec {
        name,
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: CHANGED_KEY,
        categories: &["keyspace"],
        since,
        summary,
        looks: Looks::AtOutlines,
        ..Spec::DEFAULT
    }
}

const fn getter(name: &'static str, since: &'static str, summary: &'static str) -> Spec {
    Spec {
        name,
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: READ_KEY,
        categories: &["keyspace"],
        since,
        summary,
        syntax: "key",
        looks: Looks::AtOutlines,
        ..Spec::DEFAULT
    }
}

pub const COMMANDS: &[Spec] = &[
    Spec {
        syntax: "key seconds [NX | XX | GT | LT]",
        handler: Data(|ctx, args| expire(ctx, args, "expire", Unit::Seconds, Base::Now)),
        ..setter("expire", "1.0.0", "Gives a key a time to live in seconds.")
    },
    Spec {
        syntax: "key unix-time-seconds [NX | XX | GT | LT]",
        handler: Data(|ctx, args| expire(ctx, args, "expireat", Unit::Seconds, Base::Epoch)),
        ..setter("expireat", "1.2.0", "Lets a key expire at a Unix time in seconds.")
    },
    Spec {
        syntax: "key milliseconds [NX | XX | GT | LT]",
        handler: Data(|ctx, args| expire(ctx, args, "pexpire", Unit::Milliseconds, Base::Now)),
        ..setter("pexpire", "2.6.0", "Gives a key a time to live in milliseconds.")
    },
    Spec {
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
        handler: Data(|ctx, args| expire(ctx, args, "pexpireat", Unit::Milliseconds, Base::Epoch)),
        ..setter("pexpireat", "2.6.0", "Lets a key expire at a Unix time in milliseconds.")
    },
    Spec {
        handler: Data(|ctx, args| tell(ctx, args, Unit::Seconds, Base::Now)),
        tips: &["nondeterministic_output"],
        ..getter("ttl", "1.0.0", "Tells how long a key still lives, in seconds.")
    },
    Spec {
        handler: Data(|ctx, args| tell(ctx, args, Unit::Milliseconds, Base::Now)),
        tips: &["nondeterministic_output"],
        ..getter("pttl", "2.6.0", "Tells how long a key still lives, in milliseconds.")
    },
    Spec {
        handler: Data(|ctx, args| tell(ctx, args, Unit::Seconds, Base::Epoch)),
        ..getter("expiretime", "7.0.0", "Tells the Unix time in seconds at which a key expires.")
    },
    Spec {
        handler: Data(|ctx, args| tell(ctx, args, Unit::Milliseconds, Base::Epoch)),
        ..getter("pexpiretime", "7.0.0", "Tells the Unix time in milliseconds at which a key expires.")
    },
    Spec {
        name: "persist",
        looks: Looks::AtOutlines,
        arity: 2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: CHANGED_KEY,
        categories: &["keyspace"],
        since: "2.2.0",
        summary: "Takes a key's time to live away.",
        syntax: "key",
        handler: Data(persist),
        ..Spec::DEFAULT
    },
];

/// What a number given or answered counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
}

/// Where it counts from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    Now,
    Epoch,
}

/// Under which circumstances a new expiry takes effect.
#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Conditions, CommandError> {
        let mut conditions = Conditions::default();
        for at in 3..args.len() {
            let flag = match args.at(at) {
                word if word.eq_ignore_ascii_case(b"nx") => &mut conditions.nx,
                word if word.eq_ignore_ascii_case(b"xx") => &mut conditions.xx,
                word if word.eq_ignore_ascii_case(b"gt") => &mut conditions.gt,
                word if word.eq_ignore_ascii_case(b"lt") => &mut conditions.lt,
                word => {
                    let word = CommandError::shown(word, word.len());
                    return Err(CommandError::of_bytes([b"ERR Unsupported option ", word].concat()));
                }
            };
            *flag = true;
        }
        let Conditions { nx, xx, gt, lt } = conditions;
        if nx && (xx || gt || lt) {
            return Err(CommandError::new("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if gt && lt {
            return Err(CommandError::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// A key without expiry counts as one that lives for ever.
    fn permit(&self, current: Option<UnixMs>, new: UnixMs) -> bool {
        !(self.nx && current.is_some()
            || self.xx && current.is_none()
            || self.gt && current.is_none_or(|current| new <= current)
            || self.lt && current.is_some_and(|current| new >= current))
    }
}

/// The moment that a number stands for, if it can be written in milliseconds.
fn moment(number: i64, unit: Unit, base: Base, now: UnixMs) -> Option<UnixMs> {
    let milliseconds = match unit {
        Unit::Seconds => number.checked_mul(1000)?,
        Unit::Milliseconds => number,
    };
    match base {
        Base::Now => milliseconds.checked_add(now.0).map(UnixMs),
        Base::Epoch => Some(UnixMs(milliseconds)),
    }
}

fn expire(ctx: &mut Ctx<'_, '_>, args: Args<'_>, name: &str, unit: Unit, base: Base) -> CommandResult {
    let conditions = Conditions::parse(args)?;
    let number = parse_i64(args.at(2)).ok_or(NOT_INTEGER)?;
    let now = ctx.now();
    let at = moment(number, unit, base, now).ok_or_else(|| CommandError::invalid_expire_time(name))?;
    let key = args.key(1);
    let permitted = ctx.view.glance(ctx.db, &key).is_some_and(|entry| conditions.permit(entry.expiry(), at));
    if permitted {
        // A moment that has passed already deletes the key, and that is what listeners hear.
        let event = if at <= now {
            ctx.view.delete(ctx.db, &key);
            "del"
        } else {
            ctx.view.put_expiry(ctx.db, &key, Some(at));
            "expire"
        };
        ctx.notify(EventClass::Generic, event, key.bytes);
    }
    ctx.out.integer(i64::from(permitted));
    Ok(())
}

fn tell(ctx: &mut Ctx<'_, '_>, args: Args<'_>, unit: Unit, base: Base) -> CommandResult {
    const NO_KEY: i64 = -2;
    const NO_EXPIRY: i64 = -1;
    let now = ctx.now();
    let answer = match ctx.view.inspect(ctx.db, &args.key(1)).map(|entry| entry.expiry()) {
        None => NO_KEY,
        Some(None) => NO_EXPIRY,
        Some(Some(at)) => {
            let milliseconds = match base {
                Base::Now => (at.0 - now.0).max(0),
                Base::Epoch => at.0,
            };
            match unit {
                Unit::Seconds => milliseconds.saturating_add(500) / 1000,
                Unit::Milliseconds => milliseconds,
            }
        }
    };
    ctx.out.integer(answer);
    Ok(())
}

fn persist(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let key = args.key(1);
    let is_volatile = ctx.view.glance(ctx.db, &key).is_some_and(|entry| entry.expiry().is_some());
    if is_volatile {
        ctx.view.put_expiry(ctx.db, &key, None);
        ctx.notify(EventClass::Generic, "persist", key.bytes);
    }
    ctx.out.integer(i64::from(is_volatile));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_that_milliseconds_cannot_hold_are_refused() {
        let now = UnixMs(1_700_000_000_000);
        assert_eq!(moment(5, Unit::Seconds, Base::Now, now), Some(UnixMs(now.0 + 5000)));
        assert_eq!(moment(-5, Unit::Milliseconds, Base::Epoch, now), Some(UnixMs(-5)));
        assert_eq!(moment(i64::MAX / 1000 + 1, Unit::Seconds, Base::Epoch, now), None);
        assert_eq!(moment(i64::MAX, Unit::Milliseconds, Base::Now, now), None);
    }

    #[test]
    fn a_key_without_expiry_lives_longest() {
        let permit = |conditions: Conditions, current: Option<i64>| conditions.permit(current.map(UnixMs), UnixMs(10));
        assert!(!permit(Conditions { gt: true, ..Conditions::default() }, None));
        assert!(permit(Conditions { lt: true, ..Conditions::default() }, None));
        assert!(permit(Conditions { gt: true, ..Conditions::default() }, Some(9)));
        assert!(!permit(Conditions { lt: true, ..Conditions::default() }, Some(10)));
        assert!(!permit(Conditions { xx: true, lt: true, ..Conditions::default() }, None));
    }
}
